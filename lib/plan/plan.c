#include "lib/plan/plan.h"
#include "lib/aggregate/lane.h"
#include "lib/aggregate/tables.h"
#include "lib/tensor/error.h"
#include "lib/tensor/shape.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool has_out_weight(const struct attn_plan *plan) {
    return plan->has_layer && plan->layer.out_weight.data != NULL;
}

bool attn_plan_writes_per_head(const struct attn_plan *plan) {
    const struct attn_collect *collect = &plan->collects[0];
    if (plan->is_given || !attn_has(collect->forms, ATTN_FORM_PER_HEAD) || collect->stage != ATTN_STAGE_SOFTMAX ||
        collect->top_k > 0 || collect->chosen_count != collect->heads)
        return false;
    for (size_t i = 0; i < collect->chosen_count; i++)
        if (collect->chosen[i] != i)
            return false;
    return collect->query_begin == 0 && collect->query_end == collect->query_length && collect->key_begin == 0 &&
           collect->key_end == collect->columns;
}

bool attn_plan_needs_blocks(const struct attn_plan *plan) {
    const struct attn_collect *collect = &plan->collects[0];
    unsigned forms = collect->forms;
    if (attn_plan_writes_per_head(plan))
        forms &= ~ATTN_BIT(ATTN_FORM_PER_HEAD);
    return forms != 0 || collect->analyses != 0;
}

static attn_status add_tensor(struct attn_plan *plan, attn_group group, const char *name, const char *field, int rank,
                              const size_t *shape) {
    struct attn_tensor_spec *spec = attn_plan_add_spec(plan);
    if (spec == NULL)
        return ATTN_ENOMEM;
    *spec = (struct attn_tensor_spec){.group = group,
                                      .dtype = plan->dtype,
                                      .name = name,
                                      .field = field,
                                      .stack = -1,
                                      .layer = -1,
                                      .head = -1,
                                      .rank = rank};
    memcpy(spec->shape, shape, (size_t)rank * sizeof *shape);
    return ATTN_OK;
}

static attn_status add_output(struct attn_plan *plan) {
    const struct attn_plan_sizes *s = &plan->sizes;
    if (plan->rank == 4)
        return add_tensor(plan, ATTN_GROUP_OUTPUT, "output", "query", 4,
                          (size_t[]){s->batch, s->heads, s->query_length, s->value_dim});
    return add_tensor(plan, ATTN_GROUP_OUTPUT, "output", "query", 3,
                      (size_t[]){s->batch, s->query_length, s->output_width});
}

static attn_status add_internals(struct attn_plan *plan) {
    const struct attn_plan_sizes *s = &plan->sizes;
    const struct {
        int rank;
        size_t shape[4];
    } shapes[ATTN_INTERNAL_COUNT] = {
        [ATTN_INTERNAL_QUERY] = {4, {s->batch, s->heads, s->query_length, s->head_dim}},
        [ATTN_INTERNAL_KEY] = {4, {s->batch, s->kv_heads, s->columns, s->head_dim}},
        [ATTN_INTERNAL_VALUE] = {4, {s->batch, s->kv_heads, s->columns, s->value_dim}},
        [ATTN_INTERNAL_CONTEXT] = {4, {s->batch, s->heads, s->query_length, s->value_dim}},
        [ATTN_INTERNAL_LOGSUMEXP] = {3, {s->batch, s->heads, s->query_length, 0}},
        [ATTN_INTERNAL_MAX_SCORE] = {3, {s->batch, s->heads, s->query_length, 0}},
    };
    for (unsigned i = 0; i < ATTN_INTERNAL_COUNT; i++)
        if (attn_has(plan->internals, i) && add_tensor(plan, ATTN_GROUP_INTERNALS, attn_internal_name((attn_internal)i),
                                                       "internals", shapes[i].rank, shapes[i].shape) != ATTN_OK)
            return ATTN_ENOMEM;
    return ATTN_OK;
}

static attn_status add_present(struct attn_plan *plan) {
    const struct attn_plan_sizes *s = &plan->sizes;
    const size_t key[] = {s->batch, s->kv_heads, s->key_length, s->head_dim};
    const size_t value[] = {s->batch, s->kv_heads, s->key_length, s->value_dim};
    attn_status status = add_tensor(plan, ATTN_GROUP_EXTRA, "present_key", "return_present", 4, key);
    return status != ATTN_OK ? status : add_tensor(plan, ATTN_GROUP_EXTRA, "present_value", "return_present", 4, value);
}

/* The order in which run.c takes them: output, internals, present, then what the collector fills. */
static attn_status add_tensors(struct attn_plan *plan) {
    if ((plan->wants_output && add_output(plan) != ATTN_OK) || add_internals(plan) != ATTN_OK ||
        (plan->wants_present && add_present(plan) != ATTN_OK) || attn_plan_add_collected(plan) != ATTN_OK)
        return ATTN_ENOMEM;
    return ATTN_OK;
}

static bool follows(const struct attn_view *first, const struct attn_view *second) {
    return (char *)first->data + first->shape[0] * (size_t)first->stride[0] * attn_dtype_bytes(first->dtype) ==
               (char *)second->data &&
           first->stride[0] == second->stride[0];
}

static bool is_same(const struct attn_view *left, const struct attn_view *right) {
    return left->data == right->data && left->rank == right->rank &&
           memcmp(left->shape, right->shape, (size_t)left->rank * sizeof *left->shape) == 0 &&
           memcmp(left->stride, right->stride, (size_t)left->rank * sizeof *left->stride) == 0;
}

/* One product makes query, key and value where they come from one input and one matrix (in_proj_weight). */
static bool can_project_at_once(const struct attn_plan *plan) {
    const struct attn_layer *layer = &plan->layer;
    const struct attn_inputs *inputs = &plan->inputs;
    if (!plan->has_layer || plan->sizes.past_length + plan->sizes.tail > 0 || !is_same(&inputs->query, &inputs->key) ||
        !is_same(&inputs->key, &inputs->value) || layer->q_weight.shape[1] != layer->k_weight.shape[1] ||
        layer->k_weight.shape[1] != layer->v_weight.shape[1] || !follows(&layer->q_weight, &layer->k_weight) ||
        !follows(&layer->k_weight, &layer->v_weight))
        return false;
    if (layer->q_bias.data == NULL)
        return layer->k_bias.data == NULL && layer->v_bias.data == NULL;
    return layer->k_bias.data != NULL && layer->v_bias.data != NULL && follows(&layer->q_bias, &layer->k_bias) &&
           follows(&layer->k_bias, &layer->v_bias);
}

static bool needs_copy(const struct attn_view *view) {
    return view->shape[view->rank - 1] != 1 && view->stride[view->rank - 1] != 1;
}

struct buffer_wish {
    enum attn_plan_buffer buffer;
    bool is_wanted;
    const char *field;
    size_t factors[3];
};

static attn_status reserve_buffer(struct attn_plan *plan, const struct buffer_wish *wish, size_t max_elements,
                                  struct attn_error *error) {
    size_t elements, bytes;
    if (!wish->is_wanted)
        return ATTN_OK;
    if (!attn_size_product(wish->factors, 3, &elements) ||
        !attn_size_multiply(elements, attn_dtype_bytes(plan->dtype), &bytes) || bytes > SIZE_MAX / 64)
        return attn_fail(error, ATTN_ELIMIT, wish->field, "expected sizes that fit memory");
    attn_status status = attn_plan_check_held(elements, max_elements, wish->field, error);
    plan->buffer_bytes[wish->buffer] = bytes;
    return status;
}

static attn_status reserve_buffers(struct attn_plan *plan, size_t max_elements, struct attn_error *error) {
    const struct attn_plan_sizes *s = &plan->sizes;
    const struct attn_inputs *in = &plan->inputs;
    const struct attn_collect *collect = &plan->collects[0];
    bool joins = s->past_length + s->tail > 0, at_once = plan->projects_at_once;
    bool fills_keys = (plan->has_layer && !at_once) || joins;
    size_t width = s->heads * s->head_dim + (at_once ? s->kv_heads * (s->head_dim + s->value_dim) : 0);
    bool has_norms = attn_has(collect->forms, ATTN_FORM_OUTPUT_NORM);
    bool has_logsumexp = attn_has(plan->internals, ATTN_INTERNAL_LOGSUMEXP);
    const struct buffer_wish wishes[] = {
        {ATTN_BUFFER_INPUT_QUERY, needs_copy(&in->query), "query", {attn_view_elements(&in->query), 1, 1}},
        {ATTN_BUFFER_INPUT_KEY, needs_copy(&in->key), "key", {attn_view_elements(&in->key), 1, 1}},
        {ATTN_BUFFER_INPUT_VALUE, needs_copy(&in->value), "value", {attn_view_elements(&in->value), 1, 1}},
        {ATTN_BUFFER_QUERY, plan->has_layer, "query", {s->batch, s->query_length, width}},
        {ATTN_BUFFER_KEY, fills_keys, "key", {s->batch, s->columns, s->kv_heads * s->head_dim}},
        {ATTN_BUFFER_VALUE, fills_keys, "value", {s->batch, s->columns, s->kv_heads * s->value_dim}},
        {ATTN_BUFFER_CONTEXT,
         plan->wants_output && has_out_weight(plan),
         "query",
         {s->batch, s->query_length, s->heads * s->value_dim}},
        {ATTN_BUFFER_LOGSUMEXP,
         !has_logsumexp && attn_plan_may_leave_rows_empty(plan),
         "query",
         {s->batch, s->heads, s->query_length}},
        {ATTN_BUFFER_VALUE_NORMS,
         attn_has(collect->forms, ATTN_FORM_VALUE_NORM),
         "weights",
         {s->batch, s->heads, s->columns}},
        {ATTN_BUFFER_OUTPUT_NORMS, has_norms, "weights", {s->batch, s->heads, s->columns}},
        {ATTN_BUFFER_PROJECTED_VALUES, has_norms, "weights", {s->batch, s->columns, s->output_width}},
    };
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++) {
        attn_status status = reserve_buffer(plan, &wishes[i], max_elements, error);
        if (status != ATTN_OK)
            return status;
    }
    bool has_padding = in->options.key_lengths.data != NULL || in->options.key_padding_mask.data != NULL;
    if (collect->analyses != 0)
        plan->buffer_bytes[ATTN_BUFFER_OFFSETS] = s->batch * sizeof(long long);
    if (collect->analyses != 0 && has_padding)
        plan->buffer_bytes[ATTN_BUFFER_KEY_EXISTS] = s->batch * s->key_length;
    for (size_t i = 0; i < ATTN_BUFFER_COUNT; i++)
        plan->cost.scratch_bytes += (plan->buffer_bytes[i] + 63) & ~(size_t)63;
    return ATTN_OK;
}

/* Lets attn_sdpa check its part: masks, options, and what it all costs. Shapes are read, not data. */
static attn_status check_attention(struct attn_plan *plan, struct attn_error *error) {
    const struct attn_plan_sizes *s = &plan->sizes;
    void *any = plan->inputs.query.data;
    size_t query_shape[] = {s->batch, s->heads, s->query_length, s->head_dim};
    size_t key_shape[] = {s->batch, s->kv_heads, s->columns, s->head_dim};
    size_t value_shape[] = {s->batch, s->kv_heads, s->columns, s->value_dim};
    size_t output_shape[] = {s->batch, s->heads, s->query_length, s->value_dim};
    size_t weights_shape[] = {s->batch, s->heads, s->query_length, s->columns};
    struct attn_view query = attn_view_contiguous(any, plan->dtype, 4, query_shape);
    struct attn_view key = attn_view_contiguous(any, plan->dtype, 4, key_shape);
    struct attn_view value = attn_view_contiguous(any, plan->dtype, 4, value_shape);
    struct attn_sdpa_result result = {0};
    if (plan->wants_output || attn_has(plan->internals, ATTN_INTERNAL_CONTEXT))
        result.output = attn_view_contiguous(any, plan->dtype, 4, output_shape);
    if (attn_plan_writes_per_head(plan))
        result.weights = attn_view_contiguous(any, plan->dtype, 4, weights_shape);
    if (attn_plan_needs_blocks(plan))
        result.sinks[plan->collects[0].stage].consume = attn_collector_consume;
    struct attn_sdpa_cost cost;
    attn_status status = attn_sdpa_check(&query, &key, &value, &plan->inputs.options, &result, &cost, error);
    if (status != ATTN_OK)
        return status;
    plan->cost.flops += cost.flops;
    plan->cost.exponentials += cost.exponentials;
    plan->cost.scratch_bytes_per_lane += cost.scratch_bytes_per_lane;
    return ATTN_OK;
}

static void add_collecting_cost(struct attn_plan *plan) {
    const struct attn_plan_sizes *s = &plan->sizes;
    const struct attn_collect *collect = &plan->collects[0];
    double cells = (double)s->batch * (double)collect->chosen_count * (double)s->query_length * (double)s->columns;
    if (attn_plan_needs_blocks(plan))
        plan->cost.flops += 4 * cells;
    if (attn_has(collect->analyses, ATTN_ANALYSIS_ENTROPY))
        plan->cost.exponentials += cells;
    if (attn_has(collect->analyses, ATTN_ANALYSIS_HEAD_DISTANCE))
        plan->cost.exponentials += cells * (double)collect->chosen_count;
    if (attn_has(collect->forms, ATTN_FORM_PCA))
        plan->cost.flops += cells * (double)(collect->chosen_count + 2 * collect->components) +
                            9 * (double)s->batch * pow((double)collect->chosen_count, 3);
}

static void add_projection_cost(struct attn_plan *plan) {
    const struct attn_plan_sizes *s = &plan->sizes;
    if (!plan->has_layer)
        return;
    const struct attn_layer *layer = &plan->layer;
    double rows = (double)s->batch * (double)s->query_length, key_rows = (double)s->batch * (double)s->new_length;
    plan->cost.flops += 2 * rows * (double)layer->query_width * (double)(s->heads * s->head_dim);
    plan->cost.flops += 2 * key_rows * (double)layer->key_width * (double)(s->kv_heads * s->head_dim);
    plan->cost.flops += 2 * key_rows * (double)layer->value_width * (double)(s->kv_heads * s->value_dim);
    double per_row = 2 * (double)(s->heads * s->value_dim) * (double)s->output_width;
    if (plan->wants_output && has_out_weight(plan))
        plan->cost.flops += rows * per_row;
    if (attn_has(plan->collects[0].forms, ATTN_FORM_OUTPUT_NORM))
        plan->cost.flops += (double)s->batch * (double)s->columns * per_row;
}

static attn_status take_attention(struct attn_plan *plan, const struct attn_inputs *inputs,
                                  const struct attn_want *want, struct attn_error *error) {
    const struct attn_plan_sizes *s = &plan->sizes;
    attn_status status = attn_plan_take_inputs(plan, inputs, error);
    if (status != ATTN_OK)
        return status;
    plan->wants_output = want->output;
    plan->wants_present = want->present;
    plan->internals = want->internals;
    plan->projects_at_once = can_project_at_once(plan);
    plan->dims = (struct attn_dims){.batch = s->batch,
                                    .heads = s->heads,
                                    .kv_heads = s->kv_heads,
                                    .query_length = s->query_length,
                                    .key_length = s->key_length,
                                    .head_dim = s->head_dim};
    struct attn_want_facts facts = {.batch = s->batch,
                                    .heads = s->heads,
                                    .query_length = s->query_length,
                                    .columns = s->columns,
                                    .key_length = s->key_length,
                                    .dtype = plan->dtype,
                                    .has_values = true,
                                    .has_out_weight = has_out_weight(plan)};
    if ((status = attn_plan_take_want(plan, want, &facts, error)) != ATTN_OK ||
        (status = check_attention(plan, error)) != ATTN_OK)
        return status;
    if (add_tensors(plan) != ATTN_OK)
        return attn_fail(error, ATTN_ENOMEM, "", "out of memory");
    if ((status = attn_plan_check_limits(plan, want->max_elements, error)) != ATTN_OK ||
        (status = reserve_buffers(plan, want->max_elements, error)) != ATTN_OK)
        return status;
    add_projection_cost(plan);
    add_collecting_cost(plan);
    return ATTN_OK;
}

attn_status attn_plan_create(struct attn_plan **plan, const struct attn_inputs *inputs, const struct attn_want *want,
                             struct attn_error *error) {
    struct attn_plan *made = calloc(1, sizeof *made);
    if (made == NULL)
        return attn_fail(error, ATTN_ENOMEM, "", "out of memory");
    attn_status status = take_attention(made, inputs, want, error);
    if (status != ATTN_OK) {
        attn_plan_destroy(made);
        return status;
    }
    *plan = made;
    return ATTN_OK;
}

void attn_plan_destroy(struct attn_plan *plan) {
    if (plan == NULL)
        return;
    free(plan->collects);
    free(plan->specs);
    free(plan->head_lists);
    free(plan->head_weights);
    free(plan);
}

struct attn_plan_cost attn_plan_cost(const struct attn_plan *plan) {
    return plan->cost;
}

struct attn_dims attn_plan_dims(const struct attn_plan *plan) {
    return plan->dims;
}

attn_status attn_plan_run(const struct attn_plan *plan, const struct attn_execution *execution,
                          struct attn_result **result, struct attn_error *error) {
    struct attn_result *made;
    if (attn_result_create(&made, plan->specs, plan->spec_count, plan->has_batch) != ATTN_OK)
        return attn_fail(error, ATTN_ENOMEM, "", "out of memory");
    made->dims = plan->dims;
    attn_status status = plan->is_given ? attn_plan_run_given(plan, execution, made, error)
                                        : attn_plan_run_attention(plan, execution, made, error);
    if (status != ATTN_OK) {
        attn_result_destroy(made);
        return status;
    }
    *result = made;
    return ATTN_OK;
}
