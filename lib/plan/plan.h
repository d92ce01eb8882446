/** @file plan.h A plan from within: what create resolves and run reads. Letters as in attn/tensor.h. */
#ifndef LIB_PLAN_PLAN_H
#define LIB_PLAN_PLAN_H

#include "lib/aggregate/collector.h"
#include <attn/plan.h>

/** What a run holds besides its result; all of it in one allocation. */
enum attn_plan_buffer {
    ATTN_BUFFER_INPUT_QUERY, /**< inputs whose columns are not contiguous, copied so that they are */
    ATTN_BUFFER_INPUT_KEY,
    ATTN_BUFFER_INPUT_VALUE,
    ATTN_BUFFER_QUERY, /**< (N, L, H*D), projected; or query, key and value side by side */
    ATTN_BUFFER_KEY,   /**< (N, columns, Hkv*D), projected and joined */
    ATTN_BUFFER_VALUE,
    ATTN_BUFFER_CONTEXT,          /**< (N, L, H*Dv), before the output projection */
    ATTN_BUFFER_LOGSUMEXP,        /**< (N, H, L), to find rows that attend to nothing */
    ATTN_BUFFER_VALUE_NORMS,      /**< (N, H, columns) */
    ATTN_BUFFER_OUTPUT_NORMS,     /**< (N, H, columns) */
    ATTN_BUFFER_PROJECTED_VALUES, /**< (N, columns, output width): one head's values by its part of out_weight */
    ATTN_BUFFER_OFFSETS,          /**< (N) long long */
    ATTN_BUFFER_KEY_EXISTS,       /**< (N, T) bytes */
    ATTN_BUFFER_COUNT
};

struct attn_plan_sizes {
    size_t batch, heads, kv_heads;
    size_t query_length, new_length, past_length, key_length; /**< L, S, P, T */
    size_t tail, columns;                                     /**< behind the T keys; T + tail */
    size_t head_dim, value_dim;
    size_t output_width; /**< of `output` at rank 2 and 3 */
};

struct attn_plan {
    bool is_given;
    bool has_batch;
    bool has_layer;
    bool wants_output, wants_present;
    bool projects_at_once; /**< query, key and value in one product */
    unsigned internals;
    attn_dtype dtype;
    int rank;
    struct attn_plan_sizes sizes;
    struct attn_dims dims;
    struct attn_plan_cost cost;
    struct attn_inputs inputs;
    struct attn_layer layer;
    struct attn_given given;
    size_t buffer_bytes[ATTN_BUFFER_COUNT];

    /** One for each layer or pair; one where there is no layers axis. */
    size_t collect_count;
    struct attn_collect *collects;
    size_t first_collected; /**< specs before it are no collection's */
    bool has_across_layers; /**< rollout or flow over all layers, collected apart */
    struct attn_collect across_layers;

    size_t spec_count, spec_capacity;
    struct attn_tensor_spec *specs;
    size_t *head_lists; /**< what collects' chosen and positions point into */
    double *head_weights;
    size_t warning_count;
    struct attn_warning warnings[ATTN_MAX_WARNINGS];
};

/** What wishes are checked against. */
struct attn_want_facts {
    size_t batch, heads, layers; /**< layers 0: there is no such axis */
    size_t query_length, columns, key_length;
    attn_dtype dtype;
    bool has_values, has_out_weight, has_tokens;
};

/* want.c */

/** Checks wishes and resolves them to the plan's collects. */
attn_status attn_plan_take_want(struct attn_plan *plan, const struct attn_want *want,
                                const struct attn_want_facts *facts, struct attn_error *error);
/** Appends a tensor. @return NULL out of memory. */
struct attn_tensor_spec *attn_plan_add_spec(struct attn_plan *plan);
/** Appends the tensors of all collects. */
attn_status attn_plan_add_collected(struct attn_plan *plan);
/** Holds every tensor of the result, and what collectors hold, against max_elements; fills the result's cost. */
attn_status attn_plan_check_limits(struct attn_plan *plan, size_t max_elements, struct attn_error *error);
attn_status attn_plan_check_held(size_t elements, size_t max_elements, const char *field, struct attn_error *error);

/* inputs.c */

/** Checks the tensors of attn_inputs, fills in defaults, and takes their sizes. */
attn_status attn_plan_take_inputs(struct attn_plan *plan, const struct attn_inputs *inputs, struct attn_error *error);

/* warnings.c */

ATTN_PRINTF(3, 4)
void attn_warn(struct attn_result *result, const char *field, const char *format, ...);
/** Warnings that the options alone give. */
void attn_plan_warn_of_options(const struct attn_plan *plan, struct attn_result *result);
/** @return whether some row may be left with nothing to attend to. */
bool attn_plan_may_leave_rows_empty(const struct attn_plan *plan);
/** Counts rows that attend to nothing, by their logsumexp (N, H, L). */
void attn_plan_warn_of_rows(const struct attn_plan *plan, const void *logsumexp, struct attn_result *result);

/* given.c, run.c */

attn_status attn_plan_run_given(const struct attn_plan *plan, const struct attn_execution *execution,
                                struct attn_result *result, struct attn_error *error);
attn_status attn_plan_run_attention(const struct attn_plan *plan, const struct attn_execution *execution,
                                    struct attn_result *result, struct attn_error *error);

/** @return whether blocks of weights are needed, or attn_sdpa writes all that is wanted of them by itself. */
bool attn_plan_needs_blocks(const struct attn_plan *plan);
/** @return whether attn_sdpa can write the per-head weights straight into the result. */
bool attn_plan_writes_per_head(const struct attn_plan *plan);

#endif
