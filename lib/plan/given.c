/* Plans over weights that were computed elsewhere. */
#include "lib/aggregate/lane.h"
#include "lib/aggregate/tables.h"
#include "lib/plan/attend.h"
#include "lib/tensor/error.h"
#include "lib/tensor/shape.h"

#include <stdlib.h>

static attn_status check_weights(const struct attn_view *weights, struct attn_error *error) {
    char text[ATTN_SHAPE_TEXT];
    if (weights->data == NULL)
        return attn_fail(error, ATTN_ECONFLICT, "attention_weights", "expected a tensor, found none");
    if (weights->rank < 3 || weights->rank > 5)
        return attn_fail(error, ATTN_ESHAPE, "attention_weights",
                         "expected shape (H, L, T), (N, H, L, T) or (layers, N, H, L, T), found %s",
                         attn_shape_text(text, weights->rank, weights->shape));
    if (weights->dtype != ATTN_FLOAT32 && weights->dtype != ATTN_FLOAT64)
        return attn_fail(error, ATTN_EDTYPE, "attention_weights", "expected float32 or float64, found %s",
                         attn_dtype_name(weights->dtype));
    for (int axis = 0; axis < weights->rank; axis++)
        if (weights->shape[axis] == 0)
            return attn_fail(error, ATTN_ESHAPE, "attention_weights", "expected every axis to be at least 1, found %s",
                             attn_shape_text(text, weights->rank, weights->shape));
    if (!attn_shape_fits_memory(weights->shape, weights->rank))
        return attn_fail(error, ATTN_ESHAPE, "attention_weights", "expected a tensor that fits memory, found %s",
                         attn_shape_text(text, weights->rank, weights->shape));
    return ATTN_OK;
}

static attn_status check_tokens(const struct attn_view *tokens, size_t batch, size_t length, bool has_batch,
                                const char *field, struct attn_error *error) {
    char found[ATTN_SHAPE_TEXT];
    if (tokens->data == NULL)
        return ATTN_OK;
    if (tokens->dtype != ATTN_INT64)
        return attn_fail(error, ATTN_EDTYPE, field, "expected int64, found %s", attn_dtype_name(tokens->dtype));
    bool is_flat = !has_batch && tokens->rank == 1;
    bool fits = is_flat ? tokens->shape[0] == length
                        : tokens->rank == 2 && tokens->shape[0] == batch && tokens->shape[1] == length;
    if (fits && attn_view_is_contiguous(tokens))
        return ATTN_OK;
    return attn_fail(error, ATTN_ESHAPE, field, "expected %zu tokens for each of %zu items, contiguous, found shape %s",
                     length, batch, attn_shape_text(found, tokens->rank, tokens->shape));
}

static attn_status check_wishes(const struct attn_want *want, struct attn_error *error) {
    if (want->internals != 0)
        return attn_fail(error, ATTN_ECONFLICT, "internals", "given weights have no internals");
    if (want->present)
        return attn_fail(error, ATTN_ECONFLICT, "return_present", "given weights have no keys to return");
    if (want->stage != ATTN_STAGE_SOFTMAX)
        return attn_fail(error, ATTN_ECONFLICT, "weights_stage", "given weights are taken as the softmax's, found %s",
                         attn_stage_name(want->stage));
    return ATTN_OK;
}

/* The weights as (layers, N, H, L, T). */
static struct attn_view with_all_axes(const struct attn_view *weights) {
    struct attn_view all = {.data = weights->data, .dtype = weights->dtype, .rank = 5};
    int missing = 5 - weights->rank;
    for (int axis = 0; axis < 5; axis++) {
        all.shape[axis] = axis < missing ? 1 : weights->shape[axis - missing];
        all.stride[axis] = axis < missing ? 0 : weights->stride[axis - missing];
    }
    return all;
}

static attn_status take_given(struct attn_plan *plan, const struct attn_given *given, const struct attn_want *want,
                              struct attn_error *error) {
    attn_status status;
    if ((status = check_weights(&given->weights, error)) != ATTN_OK || (status = check_wishes(want, error)) != ATTN_OK)
        return status;
    struct attn_view weights = with_all_axes(&given->weights);
    const size_t *shape = weights.shape;
    size_t layers = given->weights.rank == 5 ? shape[0] : 0;
    plan->kind = ATTN_PLAN_GIVEN;
    plan->has_batch = given->weights.rank > 3;
    plan->dtype = weights.dtype;
    plan->rank = given->weights.rank;
    plan->given = *given;
    if ((status = check_tokens(&given->query_tokens, shape[1], shape[3], plan->has_batch, "tokens", error)) !=
            ATTN_OK ||
        (status = check_tokens(&given->key_tokens, shape[1], shape[4], plan->has_batch, "key_tokens", error)) !=
            ATTN_OK)
        return status;
    plan->sizes = (struct attn_plan_sizes){.batch = shape[1],
                                           .heads = shape[2],
                                           .kv_heads = shape[2],
                                           .query_length = shape[3],
                                           .key_length = shape[4],
                                           .columns = shape[4]};
    plan->dims = (struct attn_dims){
        .batch = shape[1], .heads = shape[2], .kv_heads = shape[2], .query_length = shape[3], .key_length = shape[4]};
    struct attn_want_facts facts = {.batch = shape[1],
                                    .heads = shape[2],
                                    .layers = layers,
                                    .query_length = shape[3],
                                    .columns = shape[4],
                                    .key_length = shape[4],
                                    .dtype = weights.dtype,
                                    .stack_label = -1,
                                    .has_tokens = given->query_tokens.data != NULL && given->key_tokens.data != NULL};
    if ((status = attn_wishes_take(&plan->wishes[0], want, &facts, error)) != ATTN_OK)
        return status;
    if (attn_plan_add_collected(plan, &plan->wishes[0]) != ATTN_OK)
        return attn_fail(error, ATTN_ENOMEM, "", "out of memory");
    attn_plan_add_collecting_cost(plan, &plan->wishes[0], &plan->sizes);
    return attn_plan_check_limits(plan, want->max_elements, error);
}

attn_status attn_plan_create_given(struct attn_plan **plan, const struct attn_given *given,
                                   const struct attn_want *want, struct attn_error *error) {
    struct attn_plan *made = calloc(1, sizeof *made);
    if (made == NULL)
        return attn_fail(error, ATTN_ENOMEM, "", "out of memory");
    attn_status status = take_given(made, given, want, error);
    if (status != ATTN_OK) {
        attn_plan_destroy(made);
        return status;
    }
    *plan = made;
    return ATTN_OK;
}

static bool refuses_negative(const struct attn_collect *collect) {
    for (unsigned form = 0; form < ATTN_FORM_COUNT; form++)
        if (attn_has(collect->forms, form) && (attn_forms[form].needs & ATTN_NEEDS_NON_NEGATIVE) != 0)
            return true;
    for (unsigned analysis = 0; analysis < ATTN_ANALYSIS_COUNT; analysis++)
        if (attn_has(collect->analyses, analysis) && (attn_analyses[analysis].needs & ATTN_NEEDS_NON_NEGATIVE) != 0)
            return true;
    return false;
}

static struct attn_view layer_weights(const struct attn_plan *plan, size_t layer) {
    struct attn_view all = with_all_axes(&plan->given.weights);
    struct attn_view one = {.dtype = all.dtype, .rank = 4};
    one.data = (char *)all.data + (ptrdiff_t)layer * all.stride[0] * (ptrdiff_t)attn_dtype_bytes(all.dtype);
    for (int axis = 0; axis < 4; axis++) {
        one.shape[axis] = all.shape[axis + 1];
        one.stride[axis] = all.stride[axis + 1];
    }
    return one;
}

/* Collects from one layer, or fuses it and puts it into its place among the layers. */
static attn_status run_layer(const struct attn_plan *plan, struct attn_collecting *collecting, size_t layer,
                             const struct attn_execution *execution, struct attn_error *error) {
    struct attn_collect_inputs inputs = attn_plan_collect_inputs(execution);
    struct attn_view weights = layer_weights(plan, layer);
    inputs.query_tokens = plan->given.query_tokens.data;
    inputs.key_tokens = plan->given.key_tokens.data;
    inputs.refuses_negative = refuses_negative(collecting->collect);
    attn_status status = attn_plan_begin_collecting(collecting, &inputs, error);
    if (status == ATTN_OK) {
        attn_collector_consume_given(&collecting->collector, &weights, execution);
        status = attn_plan_end_collecting(collecting, execution, error);
    }
    attn_collector_reset(&collecting->collector);
    return status;
}

static attn_status run_across_layers(const struct attn_plan *plan, struct attn_result_tensor *tensors,
                                     const struct attn_execution *execution, struct attn_error *error) {
    const struct attn_wishes *wishes = &plan->wishes[0];
    struct attn_layers layers;
    attn_status status = attn_layers_init(&layers, wishes->layer_count, &wishes->across_layers);
    if (status != ATTN_OK)
        attn_fail(error, status, "", "out of memory");
    for (size_t layer = 0; layer < wishes->layer_count && status == ATTN_OK; layer++) {
        struct attn_collecting collecting = {
            .collect = &wishes->across_layers, .tensors = tensors, .layers = &layers, .layer = layer};
        status = run_layer(plan, &collecting, layer, execution, error);
    }
    if (status == ATTN_OK)
        status = attn_plan_finish_across_layers(&layers, tensors, execution, error);
    attn_layers_reset(&layers);
    return status;
}

attn_status attn_plan_run_given(const struct attn_plan *plan, const struct attn_execution *execution,
                                struct attn_result *result, struct attn_error *error) {
    const struct attn_wishes *wishes = &plan->wishes[0];
    struct attn_result_tensor *next = result->tensors;
    struct attn_tensor_spec specs[ATTN_COLLECT_TENSORS];
    attn_status status = ATTN_OK;
    if (wishes->has_across_layers) {
        status = run_across_layers(plan, next, execution, error);
        next += attn_collect_specs(&wishes->across_layers, specs);
    }
    for (size_t i = 0; i < wishes->collect_count && status == ATTN_OK; i++) {
        const struct attn_collect *collect = &wishes->collects[i];
        struct attn_collecting collecting = {.collect = collect, .tensors = next};
        status = run_layer(plan, &collecting, collect->layer >= 0 ? (size_t)collect->layer : 0, execution, error);
        next += attn_collect_specs(collect, specs);
    }
    return status;
}
