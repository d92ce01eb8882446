/** @file post_processors.h The functions of the rows of post_processors.c, by file. */
#ifndef LIB_TOKENIZER_POST_PROCESSORS_H
#define LIB_TOKENIZER_POST_PROCESSORS_H

#include "lib/tokenizer/parts.h"

/** Takes the blanks that byte-level tokens begin and end with out of their places. */
void attn_trim_offsets(struct attn_cuts *cuts, bool add_prefix_space);

/** A special token that a post-processor adds. */
struct attn_special {
    struct attn_string text;
    int32_t id;
};

/** Appends a special token. @return false without memory. */
bool attn_special_push(struct attn_cuts *cuts, const struct attn_special *special, uint32_t type_id);

/* post_process_bert.c */
attn_status attn_bert_processing_read(struct attn_reader *reader, const json_t *object, void **data);
attn_status attn_bert_processing_apply(const void *data, struct attn_segments *segments, bool add_special_tokens,
                                       struct attn_error *error);
size_t attn_bert_processing_added(const void *data, bool is_pair);
attn_status attn_roberta_processing_read(struct attn_reader *reader, const json_t *object, void **data);
attn_status attn_roberta_processing_apply(const void *data, struct attn_segments *segments, bool add_special_tokens,
                                          struct attn_error *error);
size_t attn_roberta_processing_added(const void *data, bool is_pair);

/* post_process_template.c */
attn_status attn_template_read(struct attn_reader *reader, const json_t *object, void **data);
attn_status attn_template_apply(const void *data, struct attn_segments *segments, bool add_special_tokens,
                                struct attn_error *error);
size_t attn_template_added(const void *data, bool is_pair);

#endif
