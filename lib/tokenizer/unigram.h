/** @file unigram.h The model Unigram: an attn_model_kind's functions. */
#ifndef LIB_TOKENIZER_UNIGRAM_H
#define LIB_TOKENIZER_UNIGRAM_H

#include "lib/tokenizer/parts.h"

attn_status attn_unigram_read(struct attn_reader *reader, const json_t *object, struct attn_vocabulary *vocabulary,
                              void **data);
attn_status attn_unigram_tokenize(const void *data, struct attn_run *run);

#endif
