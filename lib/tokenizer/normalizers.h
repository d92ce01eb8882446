/** @file normalizers.h The functions of the rows of normalizers.c, by file. */
#ifndef LIB_TOKENIZER_NORMALIZERS_H
#define LIB_TOKENIZER_NORMALIZERS_H

#include "lib/tokenizer/parts.h"

/* normalize_bert.c */
attn_status attn_bert_normalizer_read(struct attn_reader *reader, const json_t *object, void **data);
attn_status attn_bert_normalizer_apply(const void *data, struct attn_normal *normal, struct attn_error *error);

/* normalize_unicode.c */
attn_status attn_nfc_apply(const void *data, struct attn_normal *normal, struct attn_error *error);
attn_status attn_nfd_apply(const void *data, struct attn_normal *normal, struct attn_error *error);
attn_status attn_nfkc_apply(const void *data, struct attn_normal *normal, struct attn_error *error);
attn_status attn_nfkd_apply(const void *data, struct attn_normal *normal, struct attn_error *error);

/* normalize_simple.c */
attn_status attn_lowercase_apply(const void *data, struct attn_normal *normal, struct attn_error *error);
attn_status attn_strip_accents_apply(const void *data, struct attn_normal *normal, struct attn_error *error);
attn_status attn_strip_read(struct attn_reader *reader, const json_t *object, void **data);
attn_status attn_strip_apply(const void *data, struct attn_normal *normal, struct attn_error *error);
attn_status attn_replace_apply(const void *data, struct attn_normal *normal, struct attn_error *error);
attn_status attn_prepend_read(struct attn_reader *reader, const json_t *object, void **data);
attn_status attn_prepend_apply(const void *data, struct attn_normal *normal, struct attn_error *error);
attn_status attn_nmt_apply(const void *data, struct attn_normal *normal, struct attn_error *error);

/* byte_level.c */
attn_status attn_byte_level_normalizer_read(struct attn_reader *reader, const json_t *object, void **data);
attn_status attn_byte_level_normalizer_apply(const void *data, struct attn_normal *normal, struct attn_error *error);

/* precompiled.c */
attn_status attn_precompiled_read(struct attn_reader *reader, const json_t *object, void **data);
attn_status attn_precompiled_apply(const void *data, struct attn_normal *normal, struct attn_error *error);

/** Keeps the characters that `keep` likes, each with its place. */
attn_status attn_normal_filter(struct attn_normal *normal, bool (*keep)(uint32_t code_point), struct attn_error *error);
/** Fails for want of memory. */
attn_status attn_normal_no_memory(struct attn_error *error);

#endif
