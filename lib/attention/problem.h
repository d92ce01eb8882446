/**
 * @file problem.h
 * One checked call of attn_sdpa: everything that its blocks need, resolved. Letters as in attn/tensor.h; M is the keys
 * that masks speak of (T in the public header), T all of them, the unmasked tail included.
 */
#ifndef LIB_ATTENTION_PROBLEM_H
#define LIB_ATTENTION_PROBLEM_H

#include "lib/kernels/kernels.h"
#include <attn/sdpa.h>

/** Bytes of what a block remembers of one row. */
#define SDPA_STATE_BYTES (2 * sizeof(double) + 2 * sizeof(size_t))

/** Keys begin .. end-1. */
struct key_span {
    size_t begin, end;
};

/** The span of a row that is padding: it sees no key, not even of the unmasked tail. */
#define SDPA_NO_KEYS ((struct key_span){SIZE_MAX, SIZE_MAX})

struct sdpa_problem {
    const struct attn_row_kernels *kernels;
    attn_dtype dtype;
    size_t element_bytes;
    size_t batch, heads, kv_heads, query_length, key_length, masked_length, head_dim, value_dim;
    struct attn_view query, key, value;
    double scale;
    struct attn_sdpa_options options;
    struct attn_view mask;             /**< (N, H, L, up to M) by strides; data NULL: none */
    struct attn_view padding;          /**< (N, M) by strides; data NULL: none */
    struct attn_view query_mask;       /**< (N, L) by strides; data NULL: no row is padding */
    bool has_ranges;                   /**< some rule hides keys by their place alone */
    const struct key_span *item_spans; /**< (N) of padding masks; NULL: not prepared */
    const struct key_span *row_spans;  /**< (N, L); NULL: not prepared */
    struct attn_sdpa_result result;
    bool wants_stages;  /**< a sink wants a matrix from before the softmax */
    bool wants_sinks;   /**< some sink is there: one lane takes all heads of a block */
    bool holds_rows;    /**< whole rows of weights are needed, by a caller or a sink */
    size_t block_rows;  /**< queries a block */
    size_t block_keys;  /**< keys a step of a block; T where rows are held */
    size_t block_count; /**< blocks along the queries */
    size_t lane_scores; /**< bytes of a lane's scratch: scores, */
    size_t lane_states; /**< rows' running states, */
    size_t lane_mask;   /**< and one row of a mask whose columns are not contiguous */
};

/** Checks a call and resolves it. @return as attn_sdpa_check. */
attn_status attn_sdpa_resolve(struct sdpa_problem *problem, const struct attn_view *query, const struct attn_view *key,
                              const struct attn_view *value, const struct attn_sdpa_options *options,
                              const struct attn_sdpa_result *result, struct attn_error *error);

/** Chooses the sizes of blocks. */
void attn_sdpa_plan_blocks(struct sdpa_problem *problem);

/** @return element (i, j, …) of an int64 view. */
static inline long long view_integer(const struct attn_view *view, size_t i, size_t j) {
    const int64_t *data = view->data;
    ptrdiff_t offset = (ptrdiff_t)i * view->stride[0] + (view->rank > 1 ? (ptrdiff_t)j * view->stride[1] : 0);
    return data[offset];
}

/** @return element i of a floating view of rank 1. */
double attn_view_real(const struct attn_view *view, size_t i);

/** @return whether a span is SDPA_NO_KEYS. */
static inline bool attn_sdpa_is_padding(struct key_span span) {
    return span.begin == SIZE_MAX;
}

/** @return whether a row's span takes a look at a mask or at segments, key by key. */
bool attn_sdpa_spans_are_dear(const struct sdpa_problem *problem);

/** What a row's span leaves of a mask that differs between heads: the part between the ends that `head` sees. */
struct key_span attn_sdpa_head_span(const struct sdpa_problem *problem, size_t batch, size_t head, size_t row,
                                    struct key_span span);

/** The keys between the first and the last that the padding mask lets item `batch` see. */
struct key_span attn_sdpa_item_span(const struct sdpa_problem *problem, size_t batch);

/** attn_sdpa_row_span where the item's span (of a padding mask) is known. */
struct key_span attn_sdpa_row_span_within(const struct sdpa_problem *problem, size_t batch, size_t row,
                                          struct key_span item);

/**
 * The masked keys that query `row` of batch item `batch` may see as far as their places say (and padding at ends);
 * SDPA_NO_KEYS for a row that is padding.
 */
struct key_span attn_sdpa_row_span(const struct sdpa_problem *problem, size_t batch, size_t row);

/**
 * Applies biases and masks to the scores of one row.
 * @param scores     of keys span.begin .. span.end-1, all below M
 * @param mask_row   scratch of lane_mask bytes
 */
void attn_sdpa_mask_row(const struct sdpa_problem *problem, size_t batch, size_t head, size_t row, struct key_span span,
                        void *scores, void *mask_row);

/** attn_sdpa with a chosen table of kernels. */
attn_status attn_sdpa_with(const struct attn_kernels *kernels, const struct attn_view *query,
                           const struct attn_view *key, const struct attn_view *value,
                           const struct attn_sdpa_options *options, const struct attn_sdpa_result *result,
                           const struct attn_execution *execution, struct attn_error *error);

#endif
