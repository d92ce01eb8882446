/** @file models.h The functions of the rows of models.c, by file. */
#ifndef LIB_TOKENIZER_MODELS_H
#define LIB_TOKENIZER_MODELS_H

#include "lib/tokenizer/parts.h"

/* wordpiece.c */
attn_status attn_wordpiece_read(struct attn_reader *reader, const json_t *object, struct attn_vocabulary *vocabulary,
                                void **data);
attn_status attn_wordpiece_tokenize(const void *data, struct attn_run *run);
attn_status attn_wordlevel_read(struct attn_reader *reader, const json_t *object, struct attn_vocabulary *vocabulary,
                                void **data);
attn_status attn_wordlevel_tokenize(const void *data, struct attn_run *run);

/* bpe.c */
attn_status attn_bpe_read(struct attn_reader *reader, const json_t *object, struct attn_vocabulary *vocabulary,
                          void **data);
attn_status attn_bpe_tokenize(const void *data, struct attn_run *run);

/* unigram.c */
attn_status attn_unigram_read(struct attn_reader *reader, const json_t *object, struct attn_vocabulary *vocabulary,
                              void **data);
attn_status attn_unigram_tokenize(const void *data, struct attn_run *run);

#endif
