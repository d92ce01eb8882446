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

static bool add_output(struct attn_plan *plan) {
    const struct attn_plan_sizes *s = &plan->sizes;
    const size_t split[] = {s->batch, s->heads, s->query_length, s->value_dim};
    const size_t joined[] = {s->batch, s->query_length, s->output_width};
    const bool is_split = plan->rank == 4;
    return attn_plan_add_tensor(plan, ATTN_GROUP_OUTPUT, "output", "query", is_split ? 4 : 3,
                                is_split ? split : joined) != NULL;
}

static bool add_present(struct attn_plan *plan) {
    const struct attn_plan_sizes *s = &plan->sizes;
    const size_t key[] = {s->batch, s->kv_heads, s->key_length, s->head_dim};
    const size_t value[] = {s->batch, s->kv_heads, s->key_length, s->value_dim};
    return attn_plan_add_tensor(plan, ATTN_GROUP_EXTRA, "present_key", "return_present", 4, key) != NULL &&
           attn_plan_add_tensor(plan, ATTN_GROUP_EXTRA, "present_value", "return_present", 4, value) != NULL;
}

/* The order in which run.c takes them: output, internals, present, then what the collector fills. */
static attn_status add_tensors(struct attn_plan *plan) {
    if ((plan->wants_output && !add_output(plan)) || attn_plan_add_internals(plan, &plan->sizes, -1, -1) != ATTN_OK ||
        (plan->wants_present && !add_present(plan)) || attn_plan_add_collected(plan, &plan->wishes[0]) != ATTN_OK)
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

static attn_status reserve_buffers(struct attn_plan *plan, size_t max_elements, struct attn_error *error) {
    const struct attn_plan_sizes *s = &plan->sizes;
    const struct attn_inputs *in = &plan->inputs;
    const struct attn_collect *collect = &plan->wishes[0].collects[0];
    bool joins = s->past_length + s->tail > 0, at_once = plan->projects_at_once;
    bool fills_keys = (plan->has_layer && !at_once) || joins;
    size_t width = s->heads * s->head_dim + (at_once ? s->kv_heads * (s->head_dim + s->value_dim) : 0);
    bool has_norms = attn_has(collect->forms, ATTN_FORM_OUTPUT_NORM);
    bool has_value_norms = attn_has(collect->forms, ATTN_FORM_VALUE_NORM), has_analyses = collect->analyses != 0;
    bool has_context = plan->wants_output && has_out_weight(plan);
    bool has_padding = in->options.key_lengths.data != NULL || in->options.key_padding_mask.data != NULL;
    bool has_logsumexp = !attn_has(plan->internals, ATTN_INTERNAL_LOGSUMEXP) && attn_plan_may_leave_rows_empty(plan);
    const size_t element = attn_dtype_bytes(plan->dtype);
    const struct attn_buffer_wish wishes[] = {
        {ATTN_BUFFER_INPUT_QUERY, needs_copy(&in->query), "query", element, {attn_view_elements(&in->query), 1, 1}},
        {ATTN_BUFFER_INPUT_KEY, needs_copy(&in->key), "key", element, {attn_view_elements(&in->key), 1, 1}},
        {ATTN_BUFFER_INPUT_VALUE, needs_copy(&in->value), "value", element, {attn_view_elements(&in->value), 1, 1}},
        {ATTN_BUFFER_QUERY, plan->has_layer, "query", element, {s->batch, s->query_length, width}},
        {ATTN_BUFFER_KEY, fills_keys, "key", element, {s->batch, s->columns, s->kv_heads * s->head_dim}},
        {ATTN_BUFFER_VALUE, fills_keys, "value", element, {s->batch, s->columns, s->kv_heads * s->value_dim}},
        {ATTN_BUFFER_CONTEXT, has_context, "query", element, {s->batch, s->query_length, s->heads * s->value_dim}},
        {ATTN_BUFFER_LOGSUMEXP, has_logsumexp, "query", element, {s->batch, s->heads, s->query_length}},
        {ATTN_BUFFER_VALUE_NORMS, has_value_norms, "weights", element, {s->batch, s->heads, s->columns}},
        {ATTN_BUFFER_OUTPUT_NORMS, has_norms, "weights", element, {s->batch, s->heads, s->columns}},
        {ATTN_BUFFER_PROJECTED_VALUES, has_norms, "weights", element, {s->batch, s->columns, s->out_projected}},
        {ATTN_BUFFER_OFFSETS, has_analyses, "query", sizeof(long long), {s->batch, 1, 1}},
        {ATTN_BUFFER_KEY_EXISTS, has_analyses && has_padding, "key", 1, {s->batch, s->key_length, 1}},
    };
    attn_status status = attn_plan_reserve(plan, wishes, sizeof wishes / sizeof *wishes, max_elements, error);
    attn_plan_count_buffers(plan);
    return status;
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
                                    .stack_label = -1,
                                    .has_values = true,
                                    .has_out_weight = has_out_weight(plan)};
    bool has_output = want->output || attn_has(want->internals, ATTN_INTERNAL_CONTEXT);
    if ((status = attn_wishes_take(&plan->wishes[0], want, &facts, error)) != ATTN_OK ||
        (status = attn_plan_check_attention(plan, &plan->wishes[0], s, &plan->inputs.options, has_output, 1, error)) !=
            ATTN_OK)
        return status;
    if (add_tensors(plan) != ATTN_OK)
        return attn_fail(error, ATTN_ENOMEM, "", "out of memory");
    if ((status = attn_plan_check_limits(plan, want->max_elements, error)) != ATTN_OK ||
        (status = reserve_buffers(plan, want->max_elements, error)) != ATTN_OK)
        return status;
    add_projection_cost(plan);
    attn_plan_add_collecting_cost(plan, &plan->wishes[0], s);
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
    for (size_t i = 0; i < ATTN_STACK_COUNT; i++) {
        attn_wishes_reset(&plan->wishes[i]);
        free(plan->model.places[i]);
    }
    free(plan->specs);
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
    static attn_status (*const run[])(const struct attn_plan *, const struct attn_execution *, struct attn_result *,
                                      struct attn_error *) = {
        [ATTN_PLAN_ATTENTION] = attn_plan_run_attention,
        [ATTN_PLAN_GIVEN] = attn_plan_run_given,
        [ATTN_PLAN_MODEL] = attn_plan_run_model,
    };
    attn_status status = run[plan->kind](plan, execution, made, error);
    if (status != ATTN_OK) {
        attn_result_destroy(made);
        return status;
    }
    *result = made;
    return ATTN_OK;
}
