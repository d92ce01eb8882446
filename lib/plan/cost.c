/* What a plan's computations cost. */
#include "lib/aggregate/lane.h"
#include "lib/plan/plan.h"

#include <math.h>

static void add_collect_cost(struct attn_plan *plan, const struct attn_collect *collect,
                             const struct attn_plan_sizes *s) {
    double heads = (double)collect->chosen_count, rows = (double)s->batch * (double)s->columns;
    double cells = rows * heads * (double)s->query_length;
    if (plan->kind == ATTN_PLAN_GIVEN || attn_plan_needs_blocks(collect))
        plan->cost.flops += 4 * cells;
    if (attn_has(collect->analyses, ATTN_ANALYSIS_ENTROPY))
        plan->cost.exponentials += cells;
    if (attn_has(collect->analyses, ATTN_ANALYSIS_HEAD_DISTANCE))
        plan->cost.exponentials += cells * heads;
    if (attn_has(collect->forms, ATTN_FORM_PCA))
        plan->cost.flops += cells * (heads + 2 * (double)collect->components) + 9 * (double)s->batch * pow(heads, 3);
    if (attn_has(collect->forms, ATTN_FORM_OUTPUT_NORM))
        plan->cost.flops += 2 * rows * (double)(s->heads * s->value_dim) * (double)s->out_projected;
}

static void add_cost_across_layers(struct attn_plan *plan, const struct attn_wishes *wishes,
                                   const struct attn_plan_sizes *s) {
    double length = (double)s->query_length, depth = (double)wishes->layer_count;
    plan->cost.flops += 2 * depth * (double)s->batch * (double)s->heads * length * length;
    if (attn_has(wishes->across_layers.forms, ATTN_FORM_ROLLOUT))
        plan->cost.flops += 2 * depth * length * length * length * (double)s->batch;
    if (attn_has(wishes->across_layers.forms, ATTN_FORM_FLOW) && wishes->layer_count > 1)
        plan->cost.flops += 16 * depth * depth * length * length * length * length * (double)s->batch;
}

void attn_plan_add_collecting_cost(struct attn_plan *plan, const struct attn_wishes *wishes,
                                   const struct attn_plan_sizes *sizes) {
    for (size_t i = 0; i < wishes->collect_count; i++)
        add_collect_cost(plan, &wishes->collects[i], sizes);
    if (wishes->has_across_layers)
        add_cost_across_layers(plan, wishes, sizes);
}

attn_status attn_plan_check_attention(struct attn_plan *plan, const struct attn_wishes *wishes,
                                      const struct attn_plan_sizes *s, const struct attn_sdpa_options *options,
                                      bool has_output, size_t times, struct attn_error *error) {
    static float somewhere;
    void *any = &somewhere;
    const size_t query_shape[] = {s->batch, s->heads, s->query_length, s->head_dim};
    const size_t key_shape[] = {s->batch, s->kv_heads, s->columns, s->head_dim};
    const size_t value_shape[] = {s->batch, s->kv_heads, s->columns, s->value_dim};
    const size_t output_shape[] = {s->batch, s->heads, s->query_length, s->value_dim};
    const size_t weights_shape[] = {s->batch, s->heads, s->query_length, s->columns};
    const struct attn_view query = attn_view_contiguous(any, plan->dtype, 4, query_shape);
    const struct attn_view key = attn_view_contiguous(any, plan->dtype, 4, key_shape);
    const struct attn_view value = attn_view_contiguous(any, plan->dtype, 4, value_shape);
    struct attn_sdpa_result result = {0};
    if (has_output)
        result.output = attn_view_contiguous(any, plan->dtype, 4, output_shape);
    for (size_t i = 0; i < wishes->collect_count + (wishes->has_across_layers ? 1 : 0); i++) {
        const struct attn_collect *collect = i < wishes->collect_count ? &wishes->collects[i] : &wishes->across_layers;
        if (attn_plan_writes_per_head(collect))
            result.weights = attn_view_contiguous(any, plan->dtype, 4, weights_shape);
        if (attn_plan_needs_blocks(collect))
            result.sinks[collect->stage].consume = attn_collector_consume;
    }
    struct attn_sdpa_cost cost;
    attn_status status = attn_sdpa_check(&query, &key, &value, options, &result, &cost, error);
    if (status != ATTN_OK)
        return status;
    plan->cost.flops += (double)times * cost.flops;
    plan->cost.exponentials += (double)times * cost.exponentials;
    plan->cost.scratch_bytes_per_lane += cost.scratch_bytes_per_lane;
    return ATTN_OK;
}
