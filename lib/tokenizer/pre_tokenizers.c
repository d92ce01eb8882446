#include "lib/tokenizer/pre_tokenizers.h"

#include "lib/tokenizer/byte_level.h"

static attn_status read_sequence(struct attn_reader *reader, const json_t *object, void **data);

static attn_status apply_sequence(const void *data, struct attn_pieces *pieces, struct attn_error *error) {
    const struct attn_sequence *sequence = data;
    for (size_t i = 0; i < sequence->count; i++) {
        const struct attn_pre_tokenizer part = {sequence->parts[i].kind, sequence->parts[i].data};
        attn_status status = attn_pre_tokenizer_apply(&part, pieces, error);
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

static const struct attn_kinds table = {"pre-tokenizer", kinds, sizeof kinds / sizeof *kinds, sizeof *kinds,
                                        "pretokenizers"};

static attn_status read_sequence(struct attn_reader *reader, const json_t *object, void **data) {
    return attn_read_sequence(reader, object, &table, data);
}

attn_status attn_pre_tokenizer_read(struct attn_reader *reader, const json_t *json,
                                    struct attn_pre_tokenizer *pre_tokenizer) {
    struct attn_part part;
    attn_status status = attn_read_part(reader, json, &table, &part);
    *pre_tokenizer = (struct attn_pre_tokenizer){part.kind, part.data};
    return status;
}

attn_status attn_pre_tokenizer_apply(const struct attn_pre_tokenizer *pre_tokenizer, struct attn_pieces *pieces,
                                     struct attn_error *error) {
    if (pre_tokenizer->kind == NULL)
        return ATTN_OK;
    return pre_tokenizer->kind->apply(pre_tokenizer->data, pieces, error);
}
