/**
 * @file collector.h
 * Turns blocks of weights, as attn_sdpa lends them or as they are cut from a given tensor, into the forms and analyses
 * that are wanted. What can stream does: a block is read while it is warm, and never kept.
 */
#ifndef LIB_AGGREGATE_COLLECTOR_H
#define LIB_AGGREGATE_COLLECTOR_H

#include "lib/aggregate/result.h"
#include "lib/tensor/execution.h"
#include <attn/aggregate.h>
#include <stdatomic.h>

#define ATTN_NOT_CHOSEN SIZE_MAX

/** What to collect from the weights of one layer; known before anything is computed. */
struct attn_collect {
    attn_dtype dtype;
    size_t batch, heads, query_length;
    size_t columns;    /**< of the weights: the keys, and what stands behind them */
    size_t key_length; /**< T: columns that are places among the keys */
    attn_stage stage;
    unsigned forms, analyses;
    size_t chosen_count;
    const size_t *chosen;                              /**< heads in the order wanted */
    const size_t *positions;                           /**< (heads): a head's place in `chosen`, or ATTN_NOT_CHOSEN */
    size_t first_head, last_head;                      /**< the least and the greatest chosen head */
    size_t query_begin, query_end, key_begin, key_end; /**< the part handed out */
    size_t top_k;                                      /**< cut down to the columns handed out; 0 is dense */
    size_t components;
    attn_fusion fusion;
    const double *head_weights; /**< (chosen_count), of sum 1 */
    int stack, layer, head;     /**< labels of the tensors */
};

/** The most tensors of one collection. */
enum { ATTN_COLLECT_TENSORS = ATTN_FORM_COUNT + ATTN_ANALYSIS_COUNT + 2 };

/** The most heads of a collection that principal components are made of: the work grows with their cube. */
enum { ATTN_PCA_MOST_HEADS = 1024 };

/** Lists the tensors that a collection fills, in order. @return their count. */
size_t attn_collect_specs(const struct attn_collect *collect, struct attn_tensor_spec *specs);

/** Elements that a collection holds beside its results, the largest single tensor. @return false on overflow. */
bool attn_collect_held(const struct attn_collect *collect, size_t *elements);

/**
 * Bytes of the collector's own memory, all and for each lane, to be planned for.
 * @param layer_count that rollout and flow go over
 */
void attn_collect_memory(const struct attn_collect *collect, size_t layer_count, size_t *bytes, size_t *bytes_per_lane);

/** What is known only when it runs. Zero is "nothing". */
struct attn_collect_inputs {
    const long long *offsets;  /**< (N): place of query 0; NULL: 0 */
    const uint8_t *key_exists; /**< (N, key_length): 0 for padding; NULL: all */
    /** (N, L), (N, T): cells of rows or keys that are 0 here are no samples of pca, and 0 in it; NULL: all are. */
    const uint8_t *cell_rows, *cell_keys;
    const int64_t *query_tokens, *key_tokens; /**< (N, L), (N, key_length) */
    const void *value_norms, *output_norms;   /**< (N, heads, columns), in the dtype */
    bool per_head_is_written;                 /**< someone else writes the per-head weights */
    bool refuses_negative;                    /**< negative weights are an error */
    const struct attn_execution *execution;   /**< asked whether to go on where one block is much work */
    size_t lanes;
};

struct attn_lane; /* collector.c */

enum { ATTN_ACCUMULATORS = 5 };

/** A matrix fused over heads: a form's, or the one that rollout and flow start from. */
struct attn_accumulator {
    attn_fusion fusion;
    const double *factors; /**< (chosen_count); NULL: 1 / chosen_count */
    size_t query_begin, query_end, key_begin, key_end;
    char *rows;                         /**< (N, queries, keys); NULL: kept in the lane until the last head */
    struct attn_result_tensor *kept_by; /**< then: where the top k of each row go */
};

struct attn_collector {
    struct attn_collect collect;
    struct attn_collect_inputs inputs;
    struct attn_result_tensor *forms[ATTN_FORM_COUNT], *analyses[ATTN_ANALYSIS_COUNT];
    struct attn_result_tensor *pca_loadings, *explained_variance_ratio;
    struct attn_accumulator accumulators[ATTN_ACCUMULATORS];
    size_t accumulator_count;
    char *fused; /**< (N, L, L) in the dtype, for rollout and flow; NULL where they are not wanted */
    char *cells; /**< (N, chosen, L * T) in the dtype, for pca */
    struct attn_lane *lanes;
    _Atomic int failure; /**< an attn_status */
};

/**
 * @param tensors those of attn_collect_specs, with their memory
 * @return ATTN_OK or ATTN_ENOMEM; attn_collector_reset is due in either case
 */
attn_status attn_collector_init(struct attn_collector *collector, const struct attn_collect *collect,
                                const struct attn_collect_inputs *inputs, struct attn_result_tensor *tensors);

/** Frees what the collector holds. */
void attn_collector_reset(struct attn_collector *collector);

/** An attn_block_sink's consume: context is the collector. Blocks of other stages than the wanted one are an error. */
void attn_collector_consume(void *context, const struct attn_block *block);

/** Cuts weights (N, H, L, T), any strides, into blocks and consumes them. @return ATTN_OK, ATTN_ECANCELLED. */
attn_status attn_collector_consume_given(struct attn_collector *collector, const struct attn_view *weights,
                                         const struct attn_execution *execution);

/**
 * Makes what needs all blocks: means, principal components, and rollout and flow where this is the only layer.
 * @return ATTN_OK; ATTN_ENOMEM; ATTN_ERANGE (negative weights); ATTN_ECANCELLED
 */
attn_status attn_collector_finish(struct attn_collector *collector, const struct attn_execution *execution,
                                  struct attn_error *error);

/** @return ATTN_OK, or why consuming blocks has failed. */
attn_status attn_collector_status(struct attn_collector *collector, struct attn_error *error);

/** Writes rows of an (L, columns) matrix of doubles as that item of a form's tensor, cut and with its top k. @return
 * ATTN_OK, ATTN_ENOMEM. */
attn_status attn_collect_emit(const struct attn_collect *collect, struct attn_result_tensor *tensor, size_t item,
                              const double *matrix);

#endif
