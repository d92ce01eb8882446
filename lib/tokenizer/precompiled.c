/*
 * The normaliser Precompiled. A cluster of characters that is seen as one (UAX #29) is looked up as a whole if it is
 * short, then its characters one by one. The last character written is held back, since one that is dropped is counted
 * as dropped behind it.
 */
#include "lib/tensor/error.h"
#include "lib/tokenizer/charsmap.h"
#include "lib/tokenizer/normalizers.h"
#include "lib/tokenizer/unicode.h"

#include <string.h>
#include <utf8proc.h>

/* Clusters of fewer bytes are looked up as a whole. */
enum { CLUSTER = 6 };
enum { STEPS_A_BYTE = 8 };

struct writer {
    struct attn_transform transform;
    uint32_t held;
    ptrdiff_t held_change;
    bool is_holding, is_modified;
};

static int sextet(char digit) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = digit != '\0' ? strchr(digits, digit) : NULL;
    return found != NULL ? (int)(found - digits) : -1;
}

/* Decodes base 64 (RFC 4648) in place. @return false for anything else. */
static bool decode_base64(char *text, size_t *length) {
    size_t digits = *length, written = 0;
    while (digits > 0 && *length - digits < 2 && text[digits - 1] == '=')
        digits--;
    if (*length % 4 != 0 || digits % 4 == 1)
        return false;
    uint32_t bits = 0;
    for (size_t i = 0; i < digits; i++) {
        int value = sextet(text[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        if (i % 4 != 0)
            text[written++] = (char)(bits >> (6 - 2 * (i % 4)));
    }
    *length = written;
    return true;
}

attn_status attn_precompiled_read(struct attn_reader *reader, const json_t *object, void **data) {
    struct attn_charsmap *charsmap = attn_pool_take(reader->pool, 1, sizeof *charsmap);
    const char *text = json_string_value(json_object_get(object, "precompiled_charsmap"));
    if (charsmap == NULL)
        return attn_reader_no_memory(reader);
    if (text == NULL)
        return attn_reader_fail(reader, "precompiled_charsmap", "a string is needed");
    *data = charsmap;
    size_t length = strlen(text);
    char *bytes = strdup(text);
    if (bytes == NULL)
        return attn_reader_no_memory(reader);
    const char *wrong = "the map is no base 64";
    if (decode_base64(bytes, &length))
        wrong = attn_charsmap_read(reader->pool, bytes, length, charsmap);
    free(bytes);
    return wrong == NULL ? ATTN_OK : attn_reader_fail(reader, "precompiled_charsmap", "%s", wrong);
}

static bool flush(struct writer *writer) {
    bool has_memory = !writer->is_holding || attn_transform_put(&writer->transform, writer->held, writer->held_change);
    writer->is_holding = false;
    return has_memory;
}

static bool put(struct writer *writer, uint32_t code_point, ptrdiff_t change) {
    bool has_memory = flush(writer);
    writer->held = code_point;
    writer->held_change = change;
    writer->is_holding = true;
    return has_memory;
}

static size_t count_characters(const char *text, size_t length) {
    size_t count = 0;
    for (size_t i = 0; i < length; i++)
        count += (text[i] & 0xc0) != 0x80;
    return count;
}

/* Writes a replacement for `replaced` characters: what is more is new, what is less is dropped behind the last. */
static bool put_replacement(struct writer *writer, struct attn_string replacement, size_t replaced) {
    size_t count = count_characters(replacement.bytes, replacement.length), size, written = 0;
    bool has_memory = true;
    for (size_t at = 0; at < replacement.length; at += size) {
        uint32_t code_point = attn_utf8_read(replacement.bytes + at, &size);
        has_memory &= put(writer, code_point, count > replaced && written >= replaced);
        written++;
    }
    if (count < replaced && writer->is_holding)
        writer->held_change -= (ptrdiff_t)(replaced - count);
    writer->is_modified = true;
    return has_memory;
}

static bool put_cluster(struct writer *writer, const struct attn_charsmap *charsmap, const char *text, size_t length) {
    if (length < CLUSTER) {
        struct attn_string replacement = attn_charsmap_find(charsmap, text, length);
        if (replacement.bytes != NULL)
            return put_replacement(writer, replacement, count_characters(text, length));
    }
    bool has_memory = true;
    size_t size;
    for (size_t at = 0; has_memory && at < length; at += size) {
        uint32_t code_point = attn_utf8_read(text + at, &size);
        struct attn_string replacement = attn_charsmap_find(charsmap, text + at, size);
        has_memory = replacement.bytes != NULL ? put_replacement(writer, replacement, 1) : put(writer, code_point, 0);
    }
    return has_memory;
}

/* @return the length of the cluster that a text, which is not empty, begins with. */
static size_t cluster_length(const char *text, size_t length) {
    size_t at, size;
    utf8proc_int32_t state = 0, previous = (utf8proc_int32_t)attn_utf8_read(text, &at);
    for (; at < length; at += size) {
        bool is_ascii = previous < 0x80 && (unsigned char)text[at] < 0x80;
        if (is_ascii && previous != '\r')
            break;
        utf8proc_int32_t next = (utf8proc_int32_t)attn_utf8_read(text + at, &size);
        if (utf8proc_grapheme_break_stateful(previous, next, &state))
            break;
        previous = next;
    }
    return at;
}

attn_status attn_precompiled_apply(const void *data, struct attn_normal *normal, struct attn_error *error) {
    struct writer writer = {.transform = {.in = attn_normal_slice(normal), .out = &normal->next}};
    const struct attn_slice *in = &writer.transform.in;
    bool has_memory = true;
    for (size_t at = 0, length; has_memory && at < in->length; at += length) {
        length = cluster_length(in->bytes + at, in->length - at);
        has_memory = put_cluster(&writer, data, in->bytes + at, length) &&
                     attn_patience_spend(normal->patience, STEPS_A_BYTE * length);
    }
    if (!has_memory || !flush(&writer))
        return attn_fail(error, ATTN_ENOMEM, "text", "no memory for the normalised text");
    if (writer.is_modified)
        attn_normal_swap(normal);
    else
        normal->next.length = 0;
    return ATTN_OK;
}
