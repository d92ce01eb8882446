/** @file decoders.h The functions of the rows of decoders.c, by file. */
#ifndef LIB_TOKENIZER_DECODERS_H
#define LIB_TOKENIZER_DECODERS_H

#include "lib/tokenizer/parts.h"

/* decode_simple.c */
attn_status attn_wordpiece_decoder_read(struct attn_reader *reader, const json_t *object, void **data);
attn_status attn_wordpiece_decoder_apply(const void *data, const struct attn_tokens *in, struct attn_tokens *out,
                                         struct attn_error *error);
attn_status attn_bpe_decoder_read(struct attn_reader *reader, const json_t *object, void **data);
attn_status attn_bpe_decoder_apply(const void *data, const struct attn_tokens *in, struct attn_tokens *out,
                                   struct attn_error *error);
attn_status attn_ctc_decoder_read(struct attn_reader *reader, const json_t *object, void **data);
attn_status attn_ctc_decoder_apply(const void *data, const struct attn_tokens *in, struct attn_tokens *out,
                                   struct attn_error *error);
attn_status attn_replace_decoder_read(struct attn_reader *reader, const json_t *object, void **data);
attn_status attn_replace_decoder_apply(const void *data, const struct attn_tokens *in, struct attn_tokens *out,
                                       struct attn_error *error);
attn_status attn_strip_decoder_read(struct attn_reader *reader, const json_t *object, void **data);
attn_status attn_strip_decoder_apply(const void *data, const struct attn_tokens *in, struct attn_tokens *out,
                                     struct attn_error *error);
attn_status attn_metaspace_decoder_read(struct attn_reader *reader, const json_t *object, void **data);
attn_status attn_metaspace_decoder_apply(const void *data, const struct attn_tokens *in, struct attn_tokens *out,
                                         struct attn_error *error);
attn_status attn_fuse_decoder_apply(const void *data, const struct attn_tokens *in, struct attn_tokens *out,
                                    struct attn_error *error);

/* decode_bytes.c */
attn_status attn_byte_level_decoder_read(struct attn_reader *reader, const json_t *object, void **data);
attn_status attn_byte_level_decoder_apply(const void *data, const struct attn_tokens *in, struct attn_tokens *out,
                                          struct attn_error *error);
attn_status attn_byte_fallback_decoder_apply(const void *data, const struct attn_tokens *in, struct attn_tokens *out,
                                             struct attn_error *error);

/** Appends a byte-level token's bytes; those of the token itself where it has other characters. */
bool attn_tokens_put_byte_level(struct attn_tokens *tokens, struct attn_string token);
/** Appends bytes, U+FFFD for each stretch that is no UTF-8. */
bool attn_tokens_put_lossy(struct attn_tokens *tokens, const char *bytes, size_t length);

#endif
