#include "lib/tokenizer/charsmap.h"

#include "lib/tokenizer/unicode.h"

#include <string.h>

static uint32_t read_little_endian(const char *bytes) {
    const unsigned char *byte = (const unsigned char *)bytes;
    return (uint32_t)byte[0] | (uint32_t)byte[1] << 8 | (uint32_t)byte[2] << 16 | (uint32_t)byte[3] << 24;
}

const char *attn_charsmap_read(struct attn_pool *pool, const char *bytes, size_t length,
                               struct attn_charsmap *charsmap) {
    if (length < 4)
        return "the map is cut short";
    size_t trie = read_little_endian(bytes);
    if (trie % 4 != 0 || trie == 0 || trie > length - 4)
        return "the map's tree does not fit into the map";
    charsmap->unit_count = trie / 4;
    charsmap->units = attn_pool_take(pool, charsmap->unit_count, sizeof *charsmap->units);
    charsmap->replacements_length = length - 4 - trie;
    charsmap->replacements = attn_pool_copy(pool, bytes + 4 + trie, charsmap->replacements_length);
    if (charsmap->units == NULL || charsmap->replacements == NULL)
        return "no memory for the map";
    for (size_t i = 0; i < charsmap->unit_count; i++)
        charsmap->units[i] = read_little_endian(bytes + 4 + i * 4);
    if (attn_utf8_valid(charsmap->replacements, charsmap->replacements_length) != charsmap->replacements_length)
        return "the map's replacements are no UTF-8";
    return NULL;
}

/* Parts of a unit: bits 31 and 7 to 0 are the byte it stands for, 8 whether an entry ends, 9 to 30 the next's place. */
static uint32_t unit_label(uint32_t unit) {
    return unit & (1U << 31 | 0xffU);
}
static bool unit_has_leaf(uint32_t unit) {
    return (unit >> 8 & 1) != 0;
}
static size_t unit_offset(uint32_t unit) {
    return (size_t)(unit >> 10) << ((unit & 1U << 9) >> 6);
}
static uint32_t unit_value(uint32_t unit) {
    return unit & ((1U << 31) - 1);
}

static struct attn_string replacement_at(const struct attn_charsmap *charsmap, size_t at) {
    if (at > charsmap->replacements_length || (charsmap->replacements[at] & 0xc0) == 0x80)
        return (struct attn_string){0};
    const char *begin = charsmap->replacements + at;
    return (struct attn_string){begin, strlen(begin)}; /* the pool's copies end in a NUL */
}

struct attn_string attn_charsmap_find(const struct attn_charsmap *charsmap, const char *text, size_t length) {
    size_t at = unit_offset(charsmap->units[0]);
    for (size_t i = 0; i < length && text[i] != '\0'; i++) {
        unsigned char byte = (unsigned char)text[i];
        at ^= byte;
        if (at >= charsmap->unit_count || unit_label(charsmap->units[at]) != byte)
            break;
        uint32_t unit = charsmap->units[at];
        at ^= unit_offset(unit);
        if (at >= charsmap->unit_count)
            break;
        if (unit_has_leaf(unit))
            return replacement_at(charsmap, unit_value(charsmap->units[at]));
    }
    return (struct attn_string){0};
}
