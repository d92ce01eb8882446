/* BertProcessing: [CLS] A [SEP], and B [SEP] behind it. RobertaProcessing: <s> A </s>, and </s> B </s> behind it. */
#include "lib/tokenizer/post_processors.h"

#include "lib/tensor/error.h"

#include <stdlib.h>

struct bert {
    struct attn_special sep, cls;
    bool trim_offsets, add_prefix_space; /* RoBERTa's */
};

/* ["[SEP]", 102] */
static attn_status read_special(struct attn_reader *reader, const json_t *object, const char *key,
                                struct attn_special *special) {
    const json_t *array;
    attn_status status = attn_read_array(reader, object, key, ATTN_REQUIRED, &array);
    if (status != ATTN_OK)
        return status;
    const json_t *text = json_array_get(array, 0), *id = json_array_get(array, 1);
    json_int_t number = json_integer_value(id);
    if (json_array_size(array) != 2 || !json_is_string(text) || !json_is_integer(id) || number < 0 ||
        number >= ATTN_VOCABULARY_LIMIT)
        return attn_reader_fail(reader, key, "an array of a token and its id is needed");
    special->id = (int32_t)number;
    special->text.length = json_string_length(text);
    special->text.bytes = attn_pool_copy(reader->pool, json_string_value(text), special->text.length);
    return special->text.bytes != NULL ? ATTN_OK : attn_reader_no_memory(reader);
}

attn_status attn_bert_processing_read(struct attn_reader *reader, const json_t *object, void **data) {
    struct bert *bert = attn_pool_take(reader->pool, 1, sizeof *bert);
    if (bert == NULL)
        return attn_reader_no_memory(reader);
    *data = bert;
    attn_status status = read_special(reader, object, "sep", &bert->sep);
    return status == ATTN_OK ? read_special(reader, object, "cls", &bert->cls) : status;
}

attn_status attn_roberta_processing_read(struct attn_reader *reader, const json_t *object, void **data) {
    attn_status status = attn_bert_processing_read(reader, object, data);
    struct bert *bert = *data;
    if (status == ATTN_OK)
        status = attn_read_bool(reader, object, "trim_offsets", ATTN_REQUIRED, &bert->trim_offsets);
    if (status == ATTN_OK)
        status = attn_read_bool(reader, object, "add_prefix_space", ATTN_REQUIRED, &bert->add_prefix_space);
    return status;
}

/* Puts special tokens around a segment; `before` may be NULL. */
static attn_status surround(struct attn_cuts *segment, const struct attn_special *before,
                            const struct attn_special *behind, uint32_t type_id, struct attn_error *error) {
    struct attn_cuts cuts = {0};
    bool has_memory = before == NULL || attn_special_push(&cuts, before, type_id);
    for (size_t i = 0; has_memory && i < segment->count; i++)
        has_memory = attn_cuts_push(&cuts, &segment->entries[i]);
    has_memory = has_memory && attn_special_push(&cuts, behind, type_id);
    if (!has_memory) {
        free(cuts.entries);
        return attn_fail(error, ATTN_ENOMEM, "text", "no memory for the tokens");
    }
    free(segment->entries);
    *segment = cuts;
    return ATTN_OK;
}

attn_status attn_bert_processing_apply(const void *data, struct attn_segments *segments, bool add_special_tokens,
                                       struct attn_error *error) {
    const struct bert *bert = data;
    attn_status status = ATTN_OK;
    for (size_t i = 0; add_special_tokens && status == ATTN_OK && i < segments->count; i++)
        status = surround(&segments->entries[i], i == 0 ? &bert->cls : NULL, &bert->sep, i > 0, error);
    return status;
}

size_t attn_bert_processing_added(const void *data, bool is_pair) {
    (void)data;
    return is_pair ? 3 : 2;
}

attn_status attn_roberta_processing_apply(const void *data, struct attn_segments *segments, bool add_special_tokens,
                                          struct attn_error *error) {
    const struct bert *bert = data;
    attn_status status = ATTN_OK;
    for (size_t i = 0; status == ATTN_OK && i < segments->count; i++) {
        struct attn_cuts *cuts = &segments->entries[i];
        if (bert->trim_offsets)
            attn_trim_offsets(cuts, bert->add_prefix_space);
        for (size_t j = 0; j < cuts->count; j++) /* RoBERTa has one type */
            cuts->entries[j].type_id = 0;
        if (add_special_tokens)
            status = surround(cuts, i == 0 ? &bert->cls : &bert->sep, &bert->sep, 0, error);
    }
    return status;
}

size_t attn_roberta_processing_added(const void *data, bool is_pair) {
    (void)data;
    return is_pair ? 4 : 2;
}
