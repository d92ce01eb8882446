#include "lib/tensor/error.h"
#include "lib/tokenizer/normalizers.h"
#include "lib/tokenizer/regex.h"

static attn_status read_sequence(struct attn_reader *reader, const json_t *object, void **data);

static attn_status apply_sequence(const void *data, struct attn_normal *normal, struct attn_error *error) {
    const struct attn_sequence *sequence = data;
    for (size_t i = 0; i < sequence->count; i++) {
        const struct attn_normalizer part = {sequence->parts[i].kind, sequence->parts[i].data};
        attn_status status = attn_normalizer_apply(&part, normal, error);
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
    {"Replace", attn_replacement_read, attn_replace_apply},
    {"Prepend", attn_prepend_read, attn_prepend_apply},
    {"Nmt", NULL, attn_nmt_apply},
    {"ByteLevel", attn_byte_level_normalizer_read, attn_byte_level_normalizer_apply},
    {"Precompiled", attn_precompiled_read, attn_precompiled_apply},
    {"Sequence", read_sequence, apply_sequence},
};

static const struct attn_kinds table = {"normalizer", kinds, sizeof kinds / sizeof *kinds, sizeof *kinds,
                                        "normalizers"};

static attn_status read_sequence(struct attn_reader *reader, const json_t *object, void **data) {
    return attn_read_sequence(reader, object, &table, data);
}

attn_status attn_normalizer_read(struct attn_reader *reader, const json_t *json, struct attn_normalizer *normalizer) {
    struct attn_part part;
    attn_status status = attn_read_part(reader, json, &table, &part);
    *normalizer = (struct attn_normalizer){part.kind, part.data};
    return status;
}

attn_status attn_normalizer_apply(const struct attn_normalizer *normalizer, struct attn_normal *normal,
                                  struct attn_error *error) {
    if (normalizer->kind == NULL || normal->text.length == 0)
        return ATTN_OK;
    return normalizer->kind->apply(normalizer->data, normal, error);
}
