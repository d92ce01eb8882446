#include "lib/tensor/error.h"
#include "lib/tokenizer/normalizers.h"

struct sequence {
    struct attn_normalizer *parts;
    size_t count;
};

static attn_status read_sequence(struct attn_reader *reader, const json_t *object, void **data) {
    const json_t *array;
    attn_status status = attn_read_array(reader, object, "normalizers", ATTN_REQUIRED, &array);
    if (status != ATTN_OK)
        return status;
    struct sequence *sequence = attn_pool_take(reader->pool, 1, sizeof *sequence);
    if (sequence == NULL)
        return attn_reader_no_memory(reader);
    sequence->count = json_array_size(array);
    sequence->parts = attn_pool_take(reader->pool, sequence->count, sizeof *sequence->parts);
    if (sequence->parts == NULL)
        return attn_reader_no_memory(reader);
    size_t outer = attn_reader_enter(reader, "normalizers");
    for (size_t i = 0; i < sequence->count; i++) {
        size_t inner = attn_reader_enter_index(reader, i);
        status = attn_normalizer_read(reader, json_array_get(array, i), &sequence->parts[i]);
        if (status != ATTN_OK)
            return status;
        attn_reader_leave(reader, inner);
    }
    attn_reader_leave(reader, outer);
    *data = sequence;
    return ATTN_OK;
}

static attn_status apply_sequence(const void *data, struct attn_normal *normal, struct attn_error *error) {
    const struct sequence *sequence = data;
    for (size_t i = 0; i < sequence->count; i++) {
        attn_status status = attn_normalizer_apply(&sequence->parts[i], normal, error);
        if (status != ATTN_OK)
            return status;
    }
    return ATTN_OK;
}

static const struct attn_normalizer_kind kinds[] = {
    {"BertNormalizer", attn_bert_normalizer_read, attn_bert_normalizer_apply},
    {"NFC", NULL, attn_nfc_apply},
    {"NFD", NULL, attn_nfd_apply},
    {"NFKC", NULL, attn_nfkc_apply},
    {"NFKD", NULL, attn_nfkd_apply},
    {"Lowercase", NULL, attn_lowercase_apply},
    {"StripAccents", NULL, attn_strip_accents_apply},
    {"Strip", attn_strip_read, attn_strip_apply},
    {"Replace", attn_replace_read, attn_replace_apply},
    {"Prepend", attn_prepend_read, attn_prepend_apply},
    {"Nmt", NULL, attn_nmt_apply},
    {"ByteLevel", attn_byte_level_normalizer_read, attn_byte_level_normalizer_apply},
    {"Precompiled", attn_precompiled_read, attn_precompiled_apply},
    {"Sequence", read_sequence, apply_sequence},
};

attn_status attn_normalizer_read(struct attn_reader *reader, const json_t *json, struct attn_normalizer *normalizer) {
    static const struct attn_kinds table = {"normalizer", kinds, sizeof kinds / sizeof *kinds, sizeof *kinds};
    const void *row = NULL;
    attn_status status = attn_read_kind(reader, json, &table, &row);
    if (status != ATTN_OK)
        return status;
    normalizer->kind = row;
    return normalizer->kind->read != NULL ? normalizer->kind->read(reader, json, &normalizer->data) : ATTN_OK;
}

attn_status attn_normalizer_apply(const struct attn_normalizer *normalizer, struct attn_normal *normal,
                                  struct attn_error *error) {
    if (normalizer->kind == NULL || normal->text.length == 0)
        return ATTN_OK;
    return normalizer->kind->apply(normalizer->data, normal, error);
}
