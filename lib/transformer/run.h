/**
 * @file run.h
 * One run of a model: what each stack reads, which of its layers are run, and where its activations lie. Checking a run
 * and running it make the same struct attn_run; checking only adds up what the allocation would be.
 */
#ifndef LIB_TRANSFORMER_RUN_H
#define LIB_TRANSFORMER_RUN_H

#include "lib/transformer/forward.h"
#include "lib/transformer/model.h"

#include <string.h>

/** Places in the run's one allocation. Rows are N * L of them, contiguous. */
struct attn_activations {
    void *embedded;    /**< (rows, embedding), where a projection follows */
    void *hidden;      /**< (rows, hidden): the residual stream */
    void *normed;      /**< (rows, hidden): a sub-layer's input, or its branch */
    void *joined;      /**< (rows, the attention's row_width): queries, keys, values */
    void *context;     /**< (rows, H * Dv) */
    void *memory;      /**< (encoder rows, memory_width): keys and values of cross attention */
    void *inner;       /**< (rows, width of the FFN); shares its place with joined and context */
    void *output;      /**< (rows, output_width), where a projection makes it; else hidden */
    uint8_t *padding;  /**< (N, L): 0 is padding; NULL: none is */
    void *rotation[2]; /**< a table each of the stack's rotations */
    void *bias;        /**< (H, 2 L - 1): the relative bias by distance, farthest to the left first */
    double *inverse;   /**< working memory of a rotation */
    void *router, *expert_in, *expert_gate, *expert_up, *expert_out; /**< of rows that one expert gets; of all */
    void *stem;                                                      /**< of pictures or speech */
    size_t *expert_rows;
    double *expert_shares;
};

/** One stack of a run. stack NULL: the run does not have it. */
struct attn_stack_run {
    const struct attn_transformer_stack *stack;
    size_t batch, length, rows;
    size_t attended;                           /**< so many first layers are asked for their self-attention */
    size_t cross_attended;                     /**< likewise for cross attention */
    bool runs_whole;                           /**< the last hidden state is wanted */
    struct attn_view ids, embeds, types, mask; /**< with a batch axis; data NULL: not given */
    struct attn_view signal;                   /**< pictures or speech, likewise */
    struct attn_activations at;
    const struct attn_stack_run *encoder; /**< of the decoder of two stacks */
};

struct attn_run {
    const struct attn_forward *forward;
    const struct attn_forward_result *result;
    const struct attn_model *model;
    attn_dtype dtype;
    size_t bytes; /**< of an element */
    struct attn_stack_run encoder, decoder;
    void *head, *logits; /**< of a block of rows: (block, width), (block, V) */
    size_t head_rows;    /**< of a block; 0: no predictions */
    struct attn_lanes lanes;
    size_t lane_count;
    const struct attn_execution *execution;
    struct attn_error *error;
};

/** Reads and checks inputs: fills the stacks of *run (all but places) and the facts that follow from them. */
attn_status attn_run_inputs(struct attn_run *run, const struct attn_forward *forward, struct attn_forward_facts *facts,
                            struct attn_error *error);

/** A run's one allocation, handed out from front to back; with base NULL it only counts. */
struct attn_space {
    char *base;
    size_t used, largest;
    bool has_overflown;
};

/** @return room for rows * columns * bytes, aligned to 64; NULL while counting. */
void *attn_space_take(struct attn_space *space, size_t rows, size_t columns, size_t bytes);

/** Gives every activation its place. */
void attn_run_places(struct attn_run *run, struct attn_space *space);

/** at.hidden = embeddings of the stack's inputs. */
attn_status attn_run_embed(struct attn_run *run, struct attn_stack_run *stack);

/**
 * One layer's attention with everything around it, self or cross.
 * @param is_last its output is wanted by nobody: attention is handed out, and nothing more is done
 */
attn_status attn_run_attention(struct attn_run *run, struct attn_stack_run *stack, size_t layer, bool is_cross,
                               bool is_last);
/** One layer's feed-forward with everything around it. */
attn_status attn_run_ffn(struct attn_run *run, struct attn_stack_run *stack, size_t layer);
/** What experts make of at.normed or at.hidden (`in`), in `out`, which is not added to anything. */
attn_status attn_run_experts(struct attn_run *run, struct attn_stack_run *stack, const struct attn_feed_forward *ffn,
                             const void *in, void *out);

/** x = after(x + scale * out(branch)), where the branch is in at.normed. */
attn_status attn_run_join_branch(struct attn_run *run, struct attn_stack_run *stack,
                                 const struct attn_wrapping *around);

/** The likeliest tokens at each row of the main stack, from its last hidden state. */
attn_status attn_run_predict(struct attn_run *run, const struct attn_stack_run *stack);

/** @return element (row, column) of rows so wide. */
static inline void *attn_run_at(const struct attn_run *run, void *rows, size_t row, size_t width, size_t column) {
    return (char *)rows + (row * width + column) * run->bytes;
}

/** @return entry (n, i) of ids or of a mask; caller's buffers need not be aligned. */
static inline long long attn_run_integer(const struct attn_view *view, size_t n, size_t i) {
    const ptrdiff_t at = (ptrdiff_t)n * view->stride[0] + (ptrdiff_t)i * view->stride[1];
    if (view->dtype != ATTN_INT64)
        return ((const uint8_t *)view->data)[at];
    int64_t entry;
    memcpy(&entry, (const char *)view->data + at * (ptrdiff_t)sizeof entry, sizeof entry);
    return entry;
}

/** Whose last hidden state is `output`. */
static inline struct attn_stack_run *attn_run_main(struct attn_run *run) {
    return run->decoder.stack != NULL ? &run->decoder : &run->encoder;
}

#endif
