#include "lib/tokenizer/pre_tokenizers.h"

#include "lib/tokenizer/byte_level.h"

struct sequence {
    struct attn_pre_tokenizer *parts;
    size_t count;
};

static attn_status read_sequence(struct attn_reader *reader, const json_t *object, void **data) {
    const json_t *array;
    attn_status status = attn_read_array(reader, object, "pretokenizers", ATTN_REQUIRED, &array);
    if (status != ATTN_OK)
        return status;
    struct sequence *sequence = attn_pool_take(reader->pool, 1, sizeof *sequence);
    if (sequence == NULL)
        return attn_reader_no_memory(reader);
    sequence->count = json_array_size(array);
    sequence->parts = attn_pool_take(reader->pool, sequence->count, sizeof *sequence->parts);
    if (sequence->parts == NULL)
        return attn_reader_no_memory(reader);
    size_t outer = attn_reader_enter(reader, "pretokenizers");
    for (size_t i = 0; i < sequence->count; i++) {
        size_t inner = attn_reader_enter_index(reader, i);
        status = attn_pre_tokenizer_read(reader, json_array_get(array, i), &sequence->parts[i]);
        if (status != ATTN_OK)
            return status;
        attn_reader_leave(reader, inner);
    }
    attn_reader_leave(reader, outer);
    *data = sequence;
    return ATTN_OK;
}

static attn_status apply_sequence(const void *data, struct attn_pieces *pieces, struct attn_error *error) {
    const struct sequence *sequence = data;
    for (size_t i = 0; i < sequence->count; i++) {
        attn_status status = attn_pre_tokenizer_apply(&sequence->parts[i], pieces, error);
        if (status != ATTN_OK)
            return status;
    }
    return ATTN_OK;
}

static const struct attn_pre_tokenizer_kind kinds[] = {
    {"BertPreTokenizer", NULL, attn_bert_pre_tokenizer_apply},
    {"ByteLevel", attn_byte_level_read, attn_byte_level_apply},
    {"Whitespace", NULL, attn_whitespace_apply},
    {"WhitespaceSplit", NULL, attn_whitespace_split_apply},
    {"Punctuation", attn_punctuation_read, attn_punctuation_apply},
    {"Digits", attn_digits_read, attn_digits_apply},
    {"Split", attn_split_read, attn_split_apply},
    {"CharDelimiterSplit", attn_char_delimiter_read, attn_char_delimiter_apply},
    {"FixedLength", attn_fixed_length_read, attn_fixed_length_apply},
    {"Metaspace", attn_metaspace_read, attn_metaspace_apply},
    {"Sequence", read_sequence, apply_sequence},
};

attn_status attn_pre_tokenizer_read(struct attn_reader *reader, const json_t *json,
                                    struct attn_pre_tokenizer *pre_tokenizer) {
    static const struct attn_kinds table = {"pre-tokenizer", kinds, sizeof kinds / sizeof *kinds, sizeof *kinds};
    const void *row = NULL;
    attn_status status = attn_read_kind(reader, json, &table, &row);
    if (status != ATTN_OK)
        return status;
    pre_tokenizer->kind = row;
    return pre_tokenizer->kind->read != NULL ? pre_tokenizer->kind->read(reader, json, &pre_tokenizer->data) : ATTN_OK;
}

attn_status attn_pre_tokenizer_apply(const struct attn_pre_tokenizer *pre_tokenizer, struct attn_pieces *pieces,
                                     struct attn_error *error) {
    if (pre_tokenizer->kind == NULL)
        return ATTN_OK;
    return pre_tokenizer->kind->apply(pre_tokenizer->data, pieces, error);
}
