/** @file pre_tokenizers.h The functions of the rows of pre_tokenizers.c, by file. */
#ifndef LIB_TOKENIZER_PRE_TOKENIZERS_H
#define LIB_TOKENIZER_PRE_TOKENIZERS_H

#include "lib/tokenizer/parts.h"

/* pre_tokenize_simple.c */
attn_status attn_bert_pre_tokenizer_apply(const void *data, struct attn_pieces *pieces, struct attn_error *error);
attn_status attn_whitespace_apply(const void *data, struct attn_pieces *pieces, struct attn_error *error);
attn_status attn_whitespace_split_apply(const void *data, struct attn_pieces *pieces, struct attn_error *error);
attn_status attn_punctuation_read(struct attn_reader *reader, const json_t *object, void **data);
attn_status attn_punctuation_apply(const void *data, struct attn_pieces *pieces, struct attn_error *error);
attn_status attn_digits_read(struct attn_reader *reader, const json_t *object, void **data);
attn_status attn_digits_apply(const void *data, struct attn_pieces *pieces, struct attn_error *error);
attn_status attn_char_delimiter_read(struct attn_reader *reader, const json_t *object, void **data);
attn_status attn_char_delimiter_apply(const void *data, struct attn_pieces *pieces, struct attn_error *error);
attn_status attn_fixed_length_read(struct attn_reader *reader, const json_t *object, void **data);
attn_status attn_fixed_length_apply(const void *data, struct attn_pieces *pieces, struct attn_error *error);
attn_status attn_split_read(struct attn_reader *reader, const json_t *object, void **data);
attn_status attn_split_apply(const void *data, struct attn_pieces *pieces, struct attn_error *error);

/* metaspace.c */
attn_status attn_metaspace_read(struct attn_reader *reader, const json_t *object, void **data);
attn_status attn_metaspace_apply(const void *data, struct attn_pieces *pieces, struct attn_error *error);

#endif
