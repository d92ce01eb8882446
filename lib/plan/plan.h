/** @file plan.h A plan from within: what create resolves and run reads. Letters as in attn/tensor.h. */
#ifndef LIB_PLAN_PLAN_H
#define LIB_PLAN_PLAN_H

#include "lib/aggregate/collector.h"
#include "lib/transformer/forward.h"
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
    ATTN_BUFFER_PROJECTED_VALUES, /**< (N, columns, out_projected): one head's values by its part of out_weight */
    ATTN_BUFFER_OFFSETS,          /**< (N) long long */
    ATTN_BUFFER_KEY_EXISTS,       /**< (N, T) bytes */
    ATTN_BUFFER_QUERY_EXISTS,     /**< (N, L) bytes, by query_mask */
    ATTN_BUFFER_ROW_EXISTS,       /**< (N, L) bytes, of a stack's queries */
    ATTN_BUFFER_QUERY_TOKENS,     /**< (N, L) int64 */
    ATTN_BUFFER_KEY_TOKENS,       /**< (N, T) int64, those of padding none that a query has */
    ATTN_BUFFER_OUT_WEIGHT,       /**< (out_projected, H*Dv), a model's output projection in the dtype of the run */
    ATTN_BUFFER_HIDDEN,           /**< (N, L, E), the last hidden state where only its pooling is handed out */
    ATTN_BUFFER_COUNT
};

struct attn_plan_sizes {
    size_t batch, heads, kv_heads;
    size_t query_length, new_length, past_length, key_length; /**< L, S, P, T */
    size_t tail, columns;                                     /**< behind the T keys; T + tail */
    size_t head_dim, value_dim;
    size_t output_width;  /**< of `output` at rank 2 and 3 */
    size_t out_projected; /**< rows of the output projection, where there is one: output_width but in some models */
};

/** What is collected from one attention, from weights computed elsewhere, or from one stack of a model's layers. */
struct attn_wishes {
    size_t layer_count; /**< that rollout and flow go over; 1 where there is no layers axis */
    size_t at_once;     /**< collections that run at the same time */
    /** One for each layer or pair; one where there is no layers axis. */
    size_t collect_count;
    struct attn_collect *collects;
    bool has_across_layers; /**< rollout or flow over all layers, collected apart */
    struct attn_collect across_layers;
    size_t *head_lists; /**< what collects' chosen and positions point into */
    double *head_weights;
};

#define ATTN_NO_TENSOR SIZE_MAX

/** Where the tensors of one of a model's collections stand in the result. */
struct attn_plan_place {
    size_t collected;
    size_t internals; /**< ATTN_NO_TENSOR: there are none, or another collection of the same layer has them */
};

/** What only a plan over a whole model has. */
struct attn_plan_model {
    struct attn_forward forward; /**< attend is set by each run */
    struct attn_forward_facts facts;
    struct attn_plan_sizes sizes[ATTN_STACK_COUNT];
    struct attn_plan_place *places[ATTN_STACK_COUNT]; /**< one a collection */
    size_t across[ATTN_STACK_COUNT];                  /**< where rollout and flow stand */
    size_t runs[ATTN_STACK_COUNT];                    /**< the most first layers whose attention is computed */
    /** Where in the result they stand; ATTN_NO_TENSOR: they are not wanted. */
    size_t output, encoder_output, embedding, predictions;
    bool is_encoder_decoder; /**< tensors are labelled by their stacks */
    attn_pooling pooling;
    bool normalizes;
};

enum attn_plan_kind { ATTN_PLAN_ATTENTION, ATTN_PLAN_GIVEN, ATTN_PLAN_MODEL };

struct attn_plan {
    enum attn_plan_kind kind;
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

    struct attn_wishes wishes[ATTN_STACK_COUNT]; /**< of a model's stacks; else the first alone */
    struct attn_plan_model model;

    size_t spec_count, spec_capacity;
    struct attn_tensor_spec *specs;
    size_t warning_count;
    struct attn_warning warnings[ATTN_MAX_WARNINGS];
};

/** What wishes are checked against. */
struct attn_want_facts {
    size_t batch, heads, layers; /**< layers 0: there is no such axis */
    size_t query_length, columns, key_length;
    attn_dtype dtype;
    const char *stack; /**< its name where a model has several, for errors; else NULL */
    int stack_label;   /**< of the tensors; -1: none */
    bool has_values, has_out_weight, has_tokens;
};

/* want.c */

/** Checks wishes and resolves them to collections, to be freed by attn_wishes_reset in any case. */
attn_status attn_wishes_take(struct attn_wishes *wishes, const struct attn_want *want,
                             const struct attn_want_facts *facts, struct attn_error *error);
void attn_wishes_reset(struct attn_wishes *wishes);

/* tensors.c */

/** Appends a tensor of the plan's dtype without a layer. @return NULL out of memory. */
struct attn_tensor_spec *attn_plan_add_tensor(struct attn_plan *plan, attn_group group, const char *name,
                                              const char *field, int rank, const size_t *shape);
/** Appends the tensors of internals, labelled. */
attn_status attn_plan_add_internals(struct attn_plan *plan, const struct attn_plan_sizes *sizes, int stack, int layer);
/** Appends the tensors of one collection. */
attn_status attn_plan_add_collect(struct attn_plan *plan, const struct attn_collect *collect);
/** Appends the tensors of all collections. */
attn_status attn_plan_add_collected(struct attn_plan *plan, const struct attn_wishes *wishes);
/** Holds every tensor of the result, and what collectors hold, against max_elements; fills the result's cost. */
attn_status attn_plan_check_limits(struct attn_plan *plan, size_t max_elements, struct attn_error *error);
attn_status attn_plan_check_held(size_t elements, size_t max_elements, const char *field, struct attn_error *error);

/** A buffer that may be wanted: the product of the factors in elements of element_bytes. */
struct attn_buffer_wish {
    enum attn_plan_buffer buffer;
    bool is_wanted;
    const char *field;
    size_t element_bytes;
    size_t factors[3];
};

/** Makes room for buffers, each at least as large as it was; attn_plan_count_buffers adds them to the cost. */
attn_status attn_plan_reserve(struct attn_plan *plan, const struct attn_buffer_wish *wishes, size_t count,
                              size_t max_elements, struct attn_error *error);
void attn_plan_count_buffers(struct attn_plan *plan);

/** Adds what collecting costs. @param sizes of the attention that is collected from */
void attn_plan_add_collecting_cost(struct attn_plan *plan, const struct attn_wishes *wishes,
                                   const struct attn_plan_sizes *sizes);
/** Lets attn_sdpa check its part (shapes are read, not data) and adds what `times` of it cost. */
attn_status attn_plan_check_attention(struct attn_plan *plan, const struct attn_wishes *wishes,
                                      const struct attn_plan_sizes *sizes, const struct attn_sdpa_options *options,
                                      bool has_output, size_t times, struct attn_error *error);

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

/* given.c, run.c, model_run.c */

attn_status attn_plan_run_given(const struct attn_plan *plan, const struct attn_execution *execution,
                                struct attn_result *result, struct attn_error *error);
attn_status attn_plan_run_attention(const struct attn_plan *plan, const struct attn_execution *execution,
                                    struct attn_result *result, struct attn_error *error);
attn_status attn_plan_run_model(const struct attn_plan *plan, const struct attn_execution *execution,
                                struct attn_result *result, struct attn_error *error);

/* model.c */

/** The ids of a stack's queries and of its keys, (N, ·); NULL: there are none. */
const struct attn_view *attn_plan_query_tokens(const struct attn_plan *plan, attn_stack stack);
const struct attn_view *attn_plan_key_tokens(const struct attn_plan *plan, attn_stack stack);
/** Whose padding a stack's queries have: (N, L), data NULL where none is. */
const struct attn_view *attn_plan_query_padding(const struct attn_plan *plan, attn_stack stack);

/* attend.c */

/** @return whether blocks of weights are needed, or attn_sdpa writes all that is wanted of them by itself. */
bool attn_plan_needs_blocks(const struct attn_collect *collect);
/** @return whether attn_sdpa can write the per-head weights straight into the result. */
bool attn_plan_writes_per_head(const struct attn_collect *collect);

/* pooling.c */

/**
 * Makes one vector of each item's hidden states.
 * @param hidden (N, L, E) and pooled (N, E), contiguous, of the same floating dtype
 * @param exists (N, L): 0 is padding; NULL: none is
 */
void attn_pool(attn_pooling pooling, bool normalizes, const struct attn_view *hidden, const uint8_t *exists,
               const struct attn_view *pooled);

#endif
