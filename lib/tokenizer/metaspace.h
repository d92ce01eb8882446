/** @file metaspace.h The pre-tokeniser Metaspace: an attn_pre_tokenizer_kind's functions. */
#ifndef LIB_TOKENIZER_METASPACE_H
#define LIB_TOKENIZER_METASPACE_H

#include "lib/tokenizer/parts.h"

attn_status attn_metaspace_read(struct attn_reader *reader, const json_t *object, void **data);
attn_status attn_metaspace_apply(const void *data, struct attn_pieces *pieces, struct attn_error *error);

#endif
