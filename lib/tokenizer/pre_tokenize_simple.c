/* Pre-tokenisers of a few lines each. */
#include "lib/tensor/error.h"
#include "lib/tokenizer/pre_tokenizers.h"
#include "lib/tokenizer/regex.h"
#include "lib/tokenizer/unicode.h"

static attn_status no_memory(struct attn_error *error) {
    return attn_fail(error, ATTN_ENOMEM, "text", "no memory for the pieces of the text");
}

/* Blanks are left out, punctuation stands alone: both cuts of BertPreTokenizer in one walk. */
static attn_status find_bert_words(const void *data, const char *text, size_t length, struct attn_matches *matches,
                                   struct attn_error *error) {
    (void)data;
    size_t size, begin = 0;
    for (size_t at = 0; at < length; at += size) {
        uint32_t code_point = attn_utf8_read(text + at, &size);
        bool is_punctuation = attn_is_punctuation(code_point);
        if (!is_punctuation && !attn_is_whitespace(code_point))
            continue;
        if (begin < at && !attn_matches_push(matches, begin, at))
            return no_memory(error);
        if (is_punctuation && !attn_matches_push(matches, at, at + size))
            return no_memory(error);
        begin = at + size;
    }
    return begin == length || attn_matches_push(matches, begin, length) ? ATTN_OK : no_memory(error);
}

attn_status attn_bert_pre_tokenizer_apply(const void *data, struct attn_pieces *pieces, struct attn_error *error) {
    return attn_pieces_split(pieces, find_bert_words, data, ATTN_SPLIT_REMOVED, true, error);
}

/* \w+|[^\w\s]+ */
static attn_status find_words(const void *data, const char *text, size_t length, struct attn_matches *matches,
                              struct attn_error *error) {
    (void)data;
    enum { NONE, WORD, SIGNS } run = NONE;
    size_t size, begin = 0;
    for (size_t at = 0; at < length; at += size) {
        uint32_t code_point = attn_utf8_read(text + at, &size);
        int now = attn_is_word(code_point) ? WORD : attn_is_whitespace(code_point) ? NONE : SIGNS;
        if (now == (int)run)
            continue;
        if (run != NONE && !attn_matches_push(matches, begin, at))
            return no_memory(error);
        run = now;
        begin = at;
    }
    return run == NONE || attn_matches_push(matches, begin, length) ? ATTN_OK : no_memory(error);
}

attn_status attn_whitespace_apply(const void *data, struct attn_pieces *pieces, struct attn_error *error) {
    return attn_pieces_split(pieces, find_words, data, ATTN_SPLIT_REMOVED, true, error);
}

attn_status attn_whitespace_split_apply(const void *data, struct attn_pieces *pieces, struct attn_error *error) {
    (void)data;
    return attn_pieces_split_at(pieces, attn_is_whitespace, ATTN_SPLIT_REMOVED, error);
}

/* Names that a setting may have. */
static attn_status read_behavior(struct attn_reader *reader, const json_t *object, enum attn_presence presence,
                                 size_t *behavior) {
    return attn_read_choice(reader, object, "behavior", presence, attn_split_behavior_names, 5, behavior);
}

attn_status attn_punctuation_read(struct attn_reader *reader, const json_t *object, void **data) {
    size_t *behavior = attn_pool_take(reader->pool, 1, sizeof *behavior);
    if (behavior == NULL)
        return attn_reader_no_memory(reader);
    *data = behavior;
    *behavior = ATTN_SPLIT_ISOLATED;
    return read_behavior(reader, object, ATTN_OPTIONAL, behavior);
}

attn_status attn_punctuation_apply(const void *data, struct attn_pieces *pieces, struct attn_error *error) {
    const size_t *behavior = data;
    return attn_pieces_split_at(pieces, attn_is_punctuation, (enum attn_split_behavior) * behavior, error);
}

attn_status attn_digits_read(struct attn_reader *reader, const json_t *object, void **data) {
    bool *individual = attn_pool_take(reader->pool, 1, sizeof *individual);
    if (individual == NULL)
        return attn_reader_no_memory(reader);
    *data = individual;
    return attn_read_bool(reader, object, "individual_digits", ATTN_REQUIRED, individual);
}

attn_status attn_digits_apply(const void *data, struct attn_pieces *pieces, struct attn_error *error) {
    const bool *individual = data;
    return attn_pieces_split_at(pieces, attn_is_numeric, *individual ? ATTN_SPLIT_ISOLATED : ATTN_SPLIT_CONTIGUOUS,
                                error);
}

attn_status attn_char_delimiter_read(struct attn_reader *reader, const json_t *object, void **data) {
    struct attn_pattern *pattern = attn_pool_take(reader->pool, 1, sizeof *pattern);
    uint32_t delimiter = 0;
    if (pattern == NULL)
        return attn_reader_no_memory(reader);
    *data = pattern;
    attn_status status = attn_read_char(reader, object, "delimiter", ATTN_REQUIRED, &delimiter);
    return status == ATTN_OK ? attn_read_string(reader, object, "delimiter", ATTN_REQUIRED, &pattern->literal) : status;
}

attn_status attn_char_delimiter_apply(const void *data, struct attn_pieces *pieces, struct attn_error *error) {
    return attn_pieces_split(pieces, attn_pattern_find, data, ATTN_SPLIT_REMOVED, false, error);
}

attn_status attn_fixed_length_read(struct attn_reader *reader, const json_t *object, void **data) {
    size_t *length = attn_pool_take(reader->pool, 1, sizeof *length);
    if (length == NULL)
        return attn_reader_no_memory(reader);
    *data = length;
    *length = 5;
    attn_status status = attn_read_size(reader, object, "length", ATTN_OPTIONAL, INT32_MAX, length);
    if (status == ATTN_OK && *length == 0)
        return attn_reader_fail(reader, "length", "a piece has at least one character");
    return status;
}

static attn_status find_chunks(const void *data, const char *text, size_t length, struct attn_matches *matches,
                               struct attn_error *error) {
    const size_t *characters = data;
    for (size_t at = 0, end = 0; at < length; at = end) {
        for (size_t i = 0; i < *characters && end < length; i++)
            end += attn_utf8_size(text[end]);
        if (!attn_matches_push(matches, at, end))
            return no_memory(error);
    }
    return ATTN_OK;
}

attn_status attn_fixed_length_apply(const void *data, struct attn_pieces *pieces, struct attn_error *error) {
    return attn_pieces_split(pieces, find_chunks, data, ATTN_SPLIT_ISOLATED, false, error);
}

struct split {
    struct attn_pattern pattern;
    size_t behavior;
    bool invert;
};

attn_status attn_split_read(struct attn_reader *reader, const json_t *object, void **data) {
    struct split *split = attn_pool_take(reader->pool, 1, sizeof *split);
    if (split == NULL)
        return attn_reader_no_memory(reader);
    *data = split;
    attn_status status = attn_read_pattern(reader, object, "pattern", &split->pattern);
    if (status == ATTN_OK)
        status = read_behavior(reader, object, ATTN_REQUIRED, &split->behavior);
    if (status == ATTN_OK)
        status = attn_read_bool(reader, object, "invert", ATTN_REQUIRED, &split->invert);
    return status;
}

attn_status attn_split_apply(const void *data, struct attn_pieces *pieces, struct attn_error *error) {
    const struct split *split = data;
    return attn_pieces_split(pieces, attn_pattern_find, &split->pattern, (enum attn_split_behavior)split->behavior,
                             split->invert, error);
}
