/** @file stem.h The first hidden state of models that read pictures or speech. */
#ifndef LIB_TRANSFORMER_STEM_H
#define LIB_TRANSFORMER_STEM_H

#include "lib/transformer/model.h"

#include <attn/model.h>

/** @return whether the stack begins with pictures or speech. */
static inline bool attn_stem_is_there(const struct attn_transformer_stack *stack) {
    return stack->patches != NULL || stack->convolution[0] != NULL;
}

/** What the stack reads, one item's shape: (channels, height, width), or (mel bins, frames). @return its rank */
int attn_stem_shape(const struct attn_transformer_stack *stack, size_t shape[3]);

/** @return whether the input, (N, item) or an item alone, is what the stack reads; says so in `error`. */
attn_status attn_stem_check(const struct attn_transformer_stack *stack, const struct attn_view *input,
                            const char *field, struct attn_error *error);

/** @return bytes of working memory, or SIZE_MAX where they overflow. */
size_t attn_stem_bytes(const struct attn_transformer_stack *stack, attn_dtype dtype);

/** One run. */
struct attn_stem {
    const struct attn_transformer_stack *stack;
    attn_dtype dtype;              /**< of the run */
    const struct attn_view *input; /**< (N, item), checked; any floating dtype, any strides */
    void *working;                 /**< attn_stem_bytes, aligned as a double */
    void *out;                     /**< (N, positions, hidden), contiguous */
};

/**
 * Patches or convolutions, and the tokens that stand before them; positions are yet to be added.
 * @return ATTN_OK, ATTN_ENOMEM, ATTN_ECANCELLED
 */
attn_status attn_stem_run(const struct attn_stem *stem, const struct attn_lanes *lanes,
                          const struct attn_execution *execution);

#endif
