/**
 * @file forward.h
 * Running a model, with every attention handed to whoever asked for the run: the transformer makes queries, keys and
 * values and says how they are to attend; the caller computes the attention (attn_sdpa) and looks at its weights.
 */
#ifndef LIB_TRANSFORMER_FORWARD_H
#define LIB_TRANSFORMER_FORWARD_H

#include <attn/execution.h>
#include <attn/model.h>
#include <attn/sdpa.h>

/** One attention of a run. Views are gone when attend returns. */
struct attn_site {
    attn_stack stack;
    size_t layer;                            /**< within its stack */
    struct attn_view query;                  /**< (N, H, L, D) as it enters the product, in the run's dtype */
    struct attn_view key, value;             /**< (N, Hkv, T, D), (N, Hkv, T, Dv) */
    const struct attn_sdpa_options *options; /**< masks, scale, windows, biases, sinks; padding by query_mask and
                                                  key_padding_mask */
    struct attn_view output;                 /**< (N, H, L, Dv): to be written; data NULL where nothing reads it */
    struct attn_view out_weight; /**< (hidden, H*Dv), any floating dtype, any strides; data NULL where there is none */
};

/** Computes one attention. @return ATTN_OK, or a failure that ends the run. */
typedef attn_status (*attn_attend)(void *context, const struct attn_site *site, const struct attn_execution *execution,
                                   struct attn_error *error);

/** One run. */
struct attn_forward {
    const struct attn_model *model;
    attn_dtype dtype; /**< ATTN_FLOAT32 or ATTN_FLOAT64 */
    struct attn_model_inputs inputs;
    /**
     * Attention is wanted of so many first layers of each stack; cross rides along with the decoder. More than a stack
     * has is all of it (SIZE_MAX), any number of a stack that the model does not have is none.
     */
    size_t layers[ATTN_STACK_COUNT];
    bool wants_output;         /**< the last hidden state: all layers are run, whatever `layers` says */
    bool wants_encoder_output; /**< the encoder's, likewise, where there are two stacks */
    size_t predictions;        /**< k; 0: none */
    attn_attend attend;
    void *attend_context;
};

/** The sizes of one stack's attention. All zero: the run does not have the stack. */
struct attn_stack_sizes {
    size_t layers; /**< that the model has in it, run or not */
    size_t heads, kv_heads, head_dim, value_dim;
    size_t query_length, key_length;
    size_t width;  /**< E: of the last hidden state */
    size_t hidden; /**< of the layers' hidden states, and what out_weight makes; another one in OPT-350M */
    bool has_out_weight;
};

/** What a run is, known before it. */
struct attn_forward_facts {
    bool has_batch;
    size_t batch;
    struct attn_stack_sizes stacks[ATTN_STACK_COUNT];
    attn_stack main_stack; /**< whose hidden state is `output`: the decoder's where there are two */
    size_t scratch_bytes, scratch_bytes_per_lane;
    double flops, exponentials; /**< without the attentions themselves, which attend computes */
    size_t largest_tensor;      /**< elements of the largest activation held, to be held against limits */
    /** (N, L) of the main stack and of the encoder: 0 is padding; NULL: none is. Views of inputs' masks. */
    struct attn_view padding[ATTN_STACK_COUNT];
};

/** Where a run writes. Data NULL: not wanted. Rows of padding become 0. */
struct attn_forward_result {
    struct attn_view output;         /**< (N, L, E), contiguous */
    struct attn_view encoder_output; /**< (N, encoder L, E), contiguous */
    struct attn_view ids;            /**< int64 (N, L, k), contiguous: likeliest first, ties to the lower id */
    struct attn_view probabilities;  /**< (N, L, k), contiguous */
};

/**
 * Checks inputs against the model: which are there, shapes, dtypes, ids in range, lengths.
 * @return ATTN_OK; ATTN_ESHAPE, ATTN_EDTYPE, ATTN_ERANGE, ATTN_ECONFLICT, with fields as attn_plan_create_model says
 */
attn_status attn_forward_check(const struct attn_forward *forward, struct attn_forward_facts *facts,
                               struct attn_error *error);

/**
 * Runs. All activations live in one allocation, made here.
 * @return ATTN_OK; ATTN_ENOMEM; ATTN_ECANCELLED; what attend returns. Thread safe for different results.
 */
attn_status attn_forward_run(const struct attn_forward *forward, const struct attn_forward_result *result,
                             const struct attn_execution *execution, struct attn_error *error);

#endif
