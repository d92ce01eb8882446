/**
 * @file plan.h
 * One whole attention call: inputs as users give them, projections, attention, forms of the weights and analyses.
 * A plan checks everything and says what it will cost before anything is computed; running it makes a result.
 */
#ifndef ATTN_PLAN_H
#define ATTN_PLAN_H

#include <attn/aggregate.h>
#include <attn/layer.h>
#include <attn/model.h>
#include <attn/result.h>
#include <attn/sdpa.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Tensors to attend over. Views stay the caller's and must outlive the plan. float32 or float64, all alike, any
 * strides.
 *
 * The columns that a layer's bias_k and add_zero_attn add stand behind the T keys: the last axis of the weights is then
 * longer than attn_dims.key_length, as it is in PyTorch.
 */
struct attn_inputs {
    struct attn_view query;         /**< rank 2 (L, E), 3 (N, L, E) or 4 (N, H, L, D) */
    struct attn_view key;           /**< the query's rank, or not given: the query */
    struct attn_view value;         /**< the query's rank, or not given: the key */
    size_t num_heads;               /**< 0: 1 at rank 2 and 3, the shape's at rank 4; with a layer, the layer's */
    size_t num_kv_heads;            /**< 0: num_heads */
    struct attn_view past_key;      /**< (N, Hkv, P, D), put before key; without N where the query has no batch axis */
    struct attn_view past_value;    /**< (N, Hkv, P, Dv), put before value; likewise */
    const struct attn_layer *layer; /**< NULL: no projections */
    struct attn_sdpa_options options; /**< past_length and unmasked_tail are set by the plan */
};

/** Weights that were computed elsewhere, taken as a softmax's. attn_want.output means nothing here. */
struct attn_given {
    struct attn_view weights; /**< (H, L, T), (N, H, L, T) or (layers, N, H, L, T), any strides */
    /** int64 token numbers, (N, L): equal numbers are equal tokens; for duplicate and induction. */
    struct attn_view query_tokens;
    struct attn_view key_tokens; /**< int64 token numbers, (N, T) */
};

/** A checked computation, ready to run. Opaque. */
struct attn_plan;

/**
 * What a plan will take. Of a whole model attention is counted without masks and with all heads, which is the most that
 * it can be; weights that its first run packs are not counted (attn_model_packed_bytes).
 */
struct attn_plan_cost {
    double flops;                  /**< multiplications and additions */
    double exponentials;           /**< and logarithms */
    size_t result_elements;        /**< all tensors of the result together */
    size_t result_bytes;           /**< memory of the result */
    size_t result_arrays;          /**< its tensors, those with indices counted twice */
    size_t scratch_bytes;          /**< held while it runs, beside a lane's */
    size_t scratch_bytes_per_lane; /**< held by each lane while it runs */
};

/**
 * Checks inputs and wishes against each other.
 *
 * @param plan   receives the plan, to be freed by attn_plan_destroy
 * @param error  field is a name of attn_inputs' or attn_want's HTTP field: "query", "num_heads", "attn_mask",
 *               "heads/1", "weights", "analyses", "internals", "top_k", "components", …
 * @return ATTN_OK; ATTN_ESHAPE, ATTN_EDTYPE, ATTN_ERANGE, ATTN_ECONFLICT, ATTN_ELIMIT, ATTN_ENOMEM. Thread safe.
 */
ATTN_API attn_status attn_plan_create(struct attn_plan **plan, const struct attn_inputs *inputs,
                                      const struct attn_want *want, struct attn_error *error);

/** The same for weights computed elsewhere: forms and analyses of them, across layers too (rollout, flow). */
ATTN_API attn_status attn_plan_create_given(struct attn_plan **plan, const struct attn_given *given,
                                            const struct attn_want *want, struct attn_error *error);

/**
 * The same for a whole model over text ids, embeddings, pictures or speech. Layers' tensors carry their layer (and
 * their stack where the model has several), in the order encoder, decoder, cross; `layers`, `heads` and `pairs` choose
 * within each wanted stack; layers behind the last that is needed are not run, and of an attention whose output nobody
 * reads only the heads between the first and the last chosen. `output` is the last hidden state (the decoder's, with
 * `encoder_output` beside it), `embedding` what pooling makes of it; `predictions` has ids as indices and probabilities
 * as values, (N, L, k), likeliest first. Rollout and flow go over all layers of the one wanted self-attention stack. In
 * rows and columns of padding, weights, internals and outputs are 0 (logsumexp and max_score -Infinity); padding counts
 * in no analysis, is no sample of pca, and is like no token. `embedding` and `predictions` can be had without `output`.
 * With pairs, a layer's internals come once. What a plan costs is counted as if nothing were masked, which only the run
 * sees.
 *
 * @param model  must outlive the plan
 * @param inputs views are read when the plan runs; ids are checked here
 * @return as attn_plan_create; error->field also "input_ids/0/3", "attention_mask", "token_type_ids", "inputs_embeds",
 *         "pixel_values", "input_features", "decoder_input_ids", "decoder_attention_mask", "decoder_inputs_embeds",
 *         "stacks", "dtype", "pooling", "normalize", "predictions", "layers/1", "pairs/0". Thread safe.
 */
ATTN_API attn_status attn_plan_create_model(struct attn_plan **plan, const struct attn_model *model,
                                            const struct attn_model_inputs *inputs, const struct attn_want *want,
                                            const struct attn_model_want *model_want, struct attn_error *error);

/** What running the plan takes. Thread safe. */
ATTN_API struct attn_plan_cost attn_plan_cost(const struct attn_plan *plan);

/** The sizes the plan works with. Thread safe. */
ATTN_API struct attn_dims attn_plan_dims(const struct attn_plan *plan);

/**
 * Computes. May be called again; each call makes a new result.
 *
 * The same plan gives the same bits each time on the same number of lanes, but for the means over rows of analyses: the
 * lanes add rows up in the order in which they come to them, which may change the last bit of a double. Projections
 * are tiled by the number of lanes, which may change their last bits.
 *
 * A whole model's weights are packed by the first float32 runs that multiply with them; other runs wait for that.
 * Whether to go on is asked between blocks, and not while a weight is packed.
 *
 * @param execution threads and cancellation; NULL is one thread
 * @param result    receives the result, to be freed by attn_result_destroy; untouched on failure
 * @return ATTN_OK; ATTN_ENOMEM; ATTN_ECANCELLED; ATTN_ERANGE for values that only the computation sees (negative
 *         weights where an analysis cannot use them). Thread safe for different results.
 */
ATTN_API attn_status attn_plan_run(const struct attn_plan *plan, const struct attn_execution *execution,
                                   struct attn_result **result, struct attn_error *error);

/** Frees a plan; results stay. NULL is allowed. */
ATTN_API void attn_plan_destroy(struct attn_plan *plan);

#ifdef __cplusplus
}
#endif
#endif
