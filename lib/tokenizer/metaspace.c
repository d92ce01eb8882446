/*
 * The pre-tokeniser Metaspace: spaces become a sign that can be seen (U+2581 as a rule), one is put before the text,
 * and the text is cut before each sign.
 */
#include "lib/tokenizer/pre_tokenizers.h"

#include "lib/tensor/error.h"
#include "lib/tokenizer/tokenizer.h"
#include "lib/tokenizer/unicode.h"

#include <string.h>

enum prepend { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER };
static const char *const prepend_names[] = {"always", "first", "never"};

struct metaspace {
    char sign[4];
    size_t sign_length;
    size_t prepend; /* before every stretch between added tokens, before the text only, or not at all */
    bool split;
};

attn_status attn_metaspace_read(struct attn_reader *reader, const json_t *object, void **data) {
    struct metaspace *metaspace = attn_pool_take(reader->pool, 1, sizeof *metaspace);
    if (metaspace == NULL)
        return attn_reader_no_memory(reader);
    *data = metaspace;
    metaspace->split = true;
    uint32_t sign = 0;
    bool add_prefix_space = true;
    attn_status status = attn_read_char(reader, object, "replacement", ATTN_REQUIRED, &sign);
    if (status == ATTN_OK)
        status =
            attn_read_choice(reader, object, "prepend_scheme", ATTN_OPTIONAL, prepend_names, 3, &metaspace->prepend);
    if (status == ATTN_OK)
        status = attn_read_bool(reader, object, "split", ATTN_OPTIONAL, &metaspace->split);
    if (status == ATTN_OK) /* how it was said before there was prepend_scheme */
        status = attn_read_bool(reader, object, "add_prefix_space", ATTN_OPTIONAL, &add_prefix_space);
    if (status != ATTN_OK)
        return status;
    if (!add_prefix_space)
        metaspace->prepend = PREPEND_NEVER;
    metaspace->sign_length = attn_utf8_write(metaspace->sign, sign);
    reader->tokenizer->space_sign = sign;
    return ATTN_OK;
}

static bool begins_with_sign(const struct metaspace *metaspace, const struct attn_slice *piece) {
    return piece->length >= metaspace->sign_length &&
           memcmp(piece->bytes, metaspace->sign, metaspace->sign_length) == 0;
}

/* Appends a piece with signs for its spaces, and one before it where that is wanted. */
static bool rewrite(const void *data, const struct attn_slice *piece, struct attn_text *out) {
    const struct metaspace *metaspace = data;
    bool is_prepended =
        metaspace->prepend == PREPEND_ALWAYS || (metaspace->prepend == PREPEND_FIRST && piece->first == 0);
    bool begins = piece->length > 0 && (piece->bytes[0] == ' ' || begins_with_sign(metaspace, piece));
    bool has_memory = true;
    if (is_prepended && !begins && piece->length > 0)
        has_memory = attn_text_append_bytes(out, metaspace->sign, metaspace->sign_length, piece->origins[0]);
    for (size_t at = 0, end; has_memory && at < piece->length; at = end) {
        const char *space = memchr(piece->bytes + at, ' ', piece->length - at);
        end = space != NULL ? (size_t)(space - piece->bytes) : piece->length;
        struct attn_slice before = {.bytes = piece->bytes + at, .origins = piece->origins + at, .length = end - at};
        has_memory = attn_text_append(out, &before);
        if (space != NULL)
            has_memory &= attn_text_append_bytes(out, metaspace->sign, metaspace->sign_length, piece->origins[end++]);
    }
    return has_memory;
}

static attn_status find_signs(const void *data, const char *text, size_t length, struct attn_matches *matches,
                              struct attn_error *error) {
    const struct metaspace *metaspace = data;
    const char *at = text, *end = text + length;
    while ((at = memmem(at, (size_t)(end - at), metaspace->sign, metaspace->sign_length)) != NULL) {
        size_t begin = (size_t)(at - text);
        if (!attn_matches_push(matches, begin, begin + metaspace->sign_length))
            return attn_fail(error, ATTN_ENOMEM, "text", "no memory for the pieces of the text");
        at += metaspace->sign_length;
    }
    return ATTN_OK;
}

attn_status attn_metaspace_apply(const void *data, struct attn_pieces *pieces, struct attn_error *error) {
    const struct metaspace *metaspace = data;
    attn_status status = attn_pieces_rewrite(pieces, rewrite, metaspace, error);
    if (status != ATTN_OK || !metaspace->split)
        return status;
    return attn_pieces_split(pieces, find_signs, metaspace, ATTN_SPLIT_MERGED_WITH_NEXT, false, error);
}
