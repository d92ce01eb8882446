/* The tensors of a plan's result, the buffers of its runs, and the limits that both are held against. */
#include "lib/aggregate/lane.h"
#include "lib/plan/plan.h"
#include "lib/tensor/error.h"
#include "lib/tensor/shape.h"

#include <stdlib.h>
#include <string.h>

static bool reserve_specs(struct attn_plan *plan, size_t more) {
    if (plan->spec_count + more <= plan->spec_capacity)
        return true;
    size_t capacity = 2 * (plan->spec_count + more), bytes;
    if (!attn_size_multiply(capacity, sizeof *plan->specs, &bytes))
        return false;
    struct attn_tensor_spec *specs = realloc(plan->specs, bytes);
    if (specs == NULL)
        return false;
    plan->specs = specs;
    plan->spec_capacity = capacity;
    return true;
}

struct attn_tensor_spec *attn_plan_add_tensor(struct attn_plan *plan, attn_group group, const char *name,
                                              const char *field, int rank, const size_t *shape) {
    if (!reserve_specs(plan, 1))
        return NULL;
    struct attn_tensor_spec *spec = &plan->specs[plan->spec_count++];
    *spec = (struct attn_tensor_spec){.group = group,
                                      .dtype = plan->dtype,
                                      .name = name,
                                      .field = field,
                                      .stack = -1,
                                      .layer = -1,
                                      .head = -1,
                                      .rank = rank};
    memcpy(spec->shape, shape, (size_t)rank * sizeof *shape);
    return spec;
}

attn_status attn_plan_add_internals(struct attn_plan *plan, const struct attn_plan_sizes *s, int stack, int layer) {
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
    for (unsigned i = 0; i < ATTN_INTERNAL_COUNT; i++) {
        if (!attn_has(plan->internals, i))
            continue;
        struct attn_tensor_spec *spec =
            attn_plan_add_tensor(plan, ATTN_GROUP_INTERNALS, attn_internal_name((attn_internal)i), "internals",
                                 shapes[i].rank, shapes[i].shape);
        if (spec == NULL)
            return ATTN_ENOMEM;
        spec->stack = stack;
        spec->layer = layer;
    }
    return ATTN_OK;
}

attn_status attn_plan_add_collect(struct attn_plan *plan, const struct attn_collect *collect) {
    if (!reserve_specs(plan, ATTN_COLLECT_TENSORS))
        return ATTN_ENOMEM;
    plan->spec_count += attn_collect_specs(collect, plan->specs + plan->spec_count);
    return ATTN_OK;
}

attn_status attn_plan_add_collected(struct attn_plan *plan, const struct attn_wishes *wishes) {
    attn_status status = ATTN_OK;
    if (wishes->has_across_layers)
        status = attn_plan_add_collect(plan, &wishes->across_layers);
    for (size_t i = 0; i < wishes->collect_count && status == ATTN_OK; i++)
        status = attn_plan_add_collect(plan, &wishes->collects[i]);
    return status;
}

attn_status attn_plan_check_held(size_t elements, size_t max_elements, const char *field, struct attn_error *error) {
    if (max_elements == 0 || elements <= max_elements)
        return ATTN_OK;
    return attn_fail(error, ATTN_ELIMIT, field, "expected at most %zu elements in a tensor, found %zu", max_elements,
                     elements);
}

static size_t larger(size_t left, size_t right) {
    return left > right ? left : right;
}

/* What collectors hold: those of one attention at once, and what is fused of all layers beside them. */
static attn_status check_collectors(struct attn_plan *plan, const struct attn_wishes *wishes, size_t max_elements,
                                    size_t *bytes, size_t *bytes_per_lane, struct attn_error *error) {
    size_t held, own, own_per_lane, most = 0, most_per_lane = 0;
    for (size_t i = 0; i < wishes->collect_count; i++) {
        if (!attn_collect_held(&wishes->collects[i], &held))
            held = SIZE_MAX;
        attn_status status = attn_plan_check_held(held, max_elements, "weights", error);
        if (status != ATTN_OK)
            return status;
        attn_collect_memory(&wishes->collects[i], 1, &own, &own_per_lane);
        most = larger(most, own);
        most_per_lane = larger(most_per_lane, own_per_lane);
    }
    own = own_per_lane = 0;
    if (wishes->has_across_layers) {
        const size_t kept = attn_has(wishes->across_layers.forms, ATTN_FORM_FLOW) ? wishes->layer_count : 1;
        if (!attn_collect_held(&wishes->across_layers, &held) || !attn_size_multiply(held, kept, &held))
            held = SIZE_MAX;
        attn_status status = attn_plan_check_held(held, max_elements, "weights", error);
        if (status != ATTN_OK)
            return status;
        attn_collect_memory(&wishes->across_layers, wishes->layer_count, &own, &own_per_lane);
    }
    bool is_together = plan->kind == ATTN_PLAN_MODEL;
    most *= wishes->at_once;
    most_per_lane *= wishes->at_once;
    *bytes = larger(*bytes, is_together ? most + own : larger(most, own));
    *bytes_per_lane =
        larger(*bytes_per_lane, is_together ? most_per_lane + own_per_lane : larger(most_per_lane, own_per_lane));
    return ATTN_OK;
}

attn_status attn_plan_check_limits(struct attn_plan *plan, size_t max_elements, struct attn_error *error) {
    size_t bytes = 0, bytes_per_lane = 0;
    for (size_t i = 0; i < plan->spec_count; i++) {
        size_t elements;
        if (!attn_spec_elements(&plan->specs[i], &elements))
            return attn_fail(error, ATTN_ELIMIT, plan->specs[i].field, "expected a tensor that fits memory");
        attn_status status = attn_plan_check_held(elements, max_elements, plan->specs[i].field, error);
        if (status != ATTN_OK)
            return status;
        plan->cost.result_arrays += plan->specs[i].has_indices ? 2 : 1;
    }
    if (!attn_result_size(plan->specs, plan->spec_count, &plan->cost.result_elements, &plan->cost.result_bytes))
        return attn_fail(error, ATTN_ELIMIT, plan->specs[0].field, "expected a result that fits memory");
    for (size_t i = 0; i < ATTN_STACK_COUNT; i++) {
        attn_status status = check_collectors(plan, &plan->wishes[i], max_elements, &bytes, &bytes_per_lane, error);
        if (status != ATTN_OK)
            return status;
    }
    plan->cost.scratch_bytes += bytes;
    plan->cost.scratch_bytes_per_lane += bytes_per_lane;
    return ATTN_OK;
}

attn_status attn_plan_reserve(struct attn_plan *plan, const struct attn_buffer_wish *wishes, size_t count,
                              size_t max_elements, struct attn_error *error) {
    for (size_t i = 0; i < count; i++) {
        const struct attn_buffer_wish *wish = &wishes[i];
        size_t elements, bytes;
        if (!wish->is_wanted)
            continue;
        if (!attn_size_product(wish->factors, 3, &elements) ||
            !attn_size_multiply(elements, wish->element_bytes, &bytes) || bytes > SIZE_MAX / 64)
            return attn_fail(error, ATTN_ELIMIT, wish->field, "expected sizes that fit memory");
        attn_status status = attn_plan_check_held(elements, max_elements, wish->field, error);
        if (status != ATTN_OK)
            return status;
        plan->buffer_bytes[wish->buffer] = larger(plan->buffer_bytes[wish->buffer], bytes);
    }
    return ATTN_OK;
}

void attn_plan_count_buffers(struct attn_plan *plan) {
    for (size_t i = 0; i < ATTN_BUFFER_COUNT; i++)
        plan->cost.scratch_bytes += (plan->buffer_bytes[i] + 63) & ~(size_t)63;
}
