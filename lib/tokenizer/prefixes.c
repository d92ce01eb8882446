#include "lib/tokenizer/prefixes.h"

#include <stdlib.h>
#include <string.h>

static int compare(const void *left, const void *right) {
    const struct attn_string *a = &((const struct attn_prefix_entry *)left)->text;
    const struct attn_string *b = &((const struct attn_prefix_entry *)right)->text;
    int order = memcmp(a->bytes, b->bytes, a->length < b->length ? a->length : b->length);
    return order != 0 ? order : (a->length > b->length) - (a->length < b->length);
}

static void index_first_bytes(struct attn_prefixes *prefixes) {
    size_t at = 0;
    for (unsigned byte = 0; byte <= 256; byte++) {
        while (at < prefixes->count && (unsigned char)prefixes->entries[at].text.bytes[0] < byte)
            at++;
        prefixes->first[byte] = (uint32_t)at;
    }
}

bool attn_prefixes_build(struct attn_pool *pool, const struct attn_vocabulary *vocabulary,
                         struct attn_prefixes *prefixes) {
    prefixes->entries = attn_pool_take(pool, vocabulary->count, sizeof *prefixes->entries);
    if (prefixes->entries == NULL)
        return false;
    for (size_t i = 0; i < vocabulary->count; i++) {
        const struct attn_vocabulary_entry *entry = &vocabulary->entries[i];
        if (entry->text.length > 0)
            prefixes->entries[prefixes->count++] = (struct attn_prefix_entry){entry->text, entry->id};
    }
    if (prefixes->count > 0)
        qsort(prefixes->entries, prefixes->count, sizeof *prefixes->entries, compare);
    index_first_bytes(prefixes);
    return true;
}

/* @return the first of low..high whose byte at `depth` is `byte` or larger. */
static size_t lower_bound(const struct attn_prefixes *prefixes, size_t low, size_t high, size_t depth, unsigned byte) {
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((unsigned char)prefixes->entries[middle].text.bytes[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Keeps the tokens whose byte at the depth is `byte`; a token that ends there is the first and is left out. */
static void narrow(const struct attn_prefixes *prefixes, struct attn_prefix_search *search, unsigned char byte) {
    size_t depth = search->depth;
    if (depth == 0) {
        search->low = prefixes->first[byte];
        search->high = prefixes->first[byte + 1];
    } else {
        if (prefixes->entries[search->low].text.length == depth)
            search->low++;
        search->low = lower_bound(prefixes, search->low, search->high, depth, byte);
        search->high = lower_bound(prefixes, search->low, search->high, depth, byte + 1U);
    }
    search->depth++;
}

const struct attn_prefix_entry *attn_prefixes_next(const struct attn_prefixes *prefixes,
                                                   struct attn_prefix_search *search, const char *text, size_t length) {
    while (search->depth < length && (search->depth == 0 || search->low < search->high)) {
        narrow(prefixes, search, (unsigned char)text[search->depth]);
        if (search->low < search->high && prefixes->entries[search->low].text.length == search->depth)
            return &prefixes->entries[search->low];
    }
    return NULL;
}
