/**
 * @file attend.h
 * One attention of a plan: what collectors must know beforehand is found, it is computed, and its weights are streamed
 * into as many collectors as there are. The same for a call over tensors and for each layer of a model.
 */
#ifndef LIB_PLAN_ATTEND_H
#define LIB_PLAN_ATTEND_H

#include "lib/aggregate/layers.h"
#include "lib/plan/plan.h"

/** One collection from an attention. */
struct attn_collecting {
    const struct attn_collect *collect;
    struct attn_result_tensor *tensors; /**< those of attn_collect_specs */
    struct attn_layers *layers;         /**< not NULL: what is fused is put among these, as `layer` */
    size_t layer;
    struct attn_collector collector;
};

struct attn_attending {
    attn_dtype dtype;
    const struct attn_plan_sizes *sizes;
    struct attn_view query, key, value; /**< (N, H, L, D), (N, Hkv, columns, D), (N, Hkv, columns, Dv) */
    struct attn_view output;            /**< (N, H, L, Dv); data NULL: not wanted */
    struct attn_view out_weight;        /**< (out_projected, H*Dv) for output_norm, last stride 1 */
    const struct attn_sdpa_options *options;
    bool clears_padding;                      /**< of internals, by query_mask and the keys' masks */
    const int64_t *query_tokens, *key_tokens; /**< NULL: there are none */
    struct attn_result_tensor *internals[ATTN_INTERNAL_COUNT];
    void *const *buffers; /**< (ATTN_BUFFER_COUNT) */
    struct attn_collecting *collecting;
    size_t collecting_count;
    const struct attn_execution *execution;
};

/** Makes the collectors' inputs but what only an attention knows. */
struct attn_collect_inputs attn_plan_collect_inputs(const struct attn_execution *execution);

/** Makes a collection's collector. attn_collector_reset is due in any case. */
attn_status attn_plan_begin_collecting(struct attn_collecting *collecting, const struct attn_collect_inputs *inputs,
                                       struct attn_error *error);

/** Ends it, where all has been consumed: finishes its tensors, or puts what is fused into its place among layers. */
attn_status attn_plan_end_collecting(struct attn_collecting *collecting, const struct attn_execution *execution,
                                     struct attn_error *error);

/**
 * Attends, collects, and copies internals out.
 * @return ATTN_OK; ATTN_ENOMEM, ATTN_ECANCELLED, and what attn_sdpa and the collectors return
 */
attn_status attn_plan_attend(struct attn_attending *attending, struct attn_error *error);

/** Makes rollout and flow, of which `tensors` are the wanted ones, of all layers. */
attn_status attn_plan_finish_across_layers(const struct attn_layers *layers, struct attn_result_tensor *tensors,
                                           const struct attn_execution *execution, struct attn_error *error);

/** Takes a plan's buffers, all in one allocation (*scratch, to be freed); those that it does not need are NULL. */
attn_status attn_plan_take_buffers(const struct attn_plan *plan, void **buffers, void **scratch);

#endif
