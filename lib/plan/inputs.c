/* The tensors of attn_inputs: defaults, ranks, dtypes and shapes. */
#include "lib/plan/plan.h"
#include "lib/tensor/error.h"
#include "lib/tensor/shape.h"

static attn_status fail_shape(struct attn_error *error, const char *field, const char *expected,
                              const struct attn_view *found) {
    char text[ATTN_SHAPE_TEXT];
    return attn_fail(error, ATTN_ESHAPE, field, "expected %s, found %s", expected,
                     attn_shape_text(text, found->rank, found->shape));
}

static attn_status check_tensor(const struct attn_plan *plan, const struct attn_view *view, const char *field,
                                struct attn_error *error) {
    if (view->rank != plan->rank)
        return attn_fail(error, ATTN_ESHAPE, field, "expected the query's rank, %d, found %d", plan->rank, view->rank);
    if (view->dtype != plan->dtype)
        return attn_fail(error, ATTN_EDTYPE, field, "expected %s as in the query, found %s",
                         attn_dtype_name(plan->dtype), attn_dtype_name(view->dtype));
    for (int axis = 0; axis < view->rank; axis++)
        if (view->shape[axis] == 0)
            return fail_shape(error, field, "every axis to be at least 1", view);
    if (!attn_shape_fits_memory(view->shape, view->rank))
        return fail_shape(error, field, "a tensor that fits memory", view);
    return ATTN_OK;
}

static attn_status check_tensors(struct attn_plan *plan, struct attn_error *error) {
    struct attn_inputs *inputs = &plan->inputs;
    attn_status status;
    if (inputs->query.data == NULL)
        return attn_fail(error, ATTN_ECONFLICT, "query", "expected a tensor, found none");
    if (inputs->query.rank < 2 || inputs->query.rank > 4)
        return fail_shape(error, "query", "shape (L, E), (N, L, E) or (N, H, L, D)", &inputs->query);
    if (inputs->query.dtype != ATTN_FLOAT32 && inputs->query.dtype != ATTN_FLOAT64)
        return attn_fail(error, ATTN_EDTYPE, "query", "expected float32 or float64, found %s",
                         attn_dtype_name(inputs->query.dtype));
    plan->rank = inputs->query.rank;
    plan->dtype = inputs->query.dtype;
    plan->has_batch = plan->rank > 2;
    if (inputs->key.data == NULL)
        inputs->key = inputs->query;
    if (inputs->value.data == NULL)
        inputs->value = inputs->key;
    if ((status = check_tensor(plan, &inputs->query, "query", error)) != ATTN_OK ||
        (status = check_tensor(plan, &inputs->key, "key", error)) != ATTN_OK ||
        (status = check_tensor(plan, &inputs->value, "value", error)) != ATTN_OK)
        return status;
    return ATTN_OK;
}

static size_t axis_from_end(const struct attn_view *view, int from_end) {
    return view->shape[view->rank - from_end];
}

static attn_status take_lengths(struct attn_plan *plan, struct attn_error *error) {
    const struct attn_inputs *inputs = &plan->inputs;
    struct attn_plan_sizes *sizes = &plan->sizes;
    sizes->batch = plan->has_batch ? inputs->query.shape[0] : 1;
    sizes->query_length = axis_from_end(&inputs->query, 2);
    sizes->new_length = axis_from_end(&inputs->key, 2);
    const struct attn_view *others[] = {&inputs->key, &inputs->value};
    const char *names[] = {"key", "value"};
    for (int i = 0; i < 2 && plan->has_batch; i++)
        if (others[i]->shape[0] != sizes->batch)
            return attn_fail(error, ATTN_ESHAPE, names[i], "expected the query's batch of %zu, found %zu", sizes->batch,
                             others[i]->shape[0]);
    if (axis_from_end(&inputs->value, 2) != sizes->new_length)
        return attn_fail(error, ATTN_ESHAPE, "value", "expected as many values as keys, %zu, found %zu",
                         sizes->new_length, axis_from_end(&inputs->value, 2));
    return ATTN_OK;
}

static attn_status take_given_heads(size_t given, size_t own, const char *field, const char *source,
                                    struct attn_error *error) {
    if (given == 0 || given == own)
        return ATTN_OK;
    return attn_fail(error, ATTN_ESHAPE, field, "expected %zu, as %s, found %zu", own, source, given);
}

/* @param field what says how many key heads there are */
static attn_status check_groups(const struct attn_plan_sizes *sizes, const char *field, struct attn_error *error) {
    if (sizes->kv_heads > 0 && sizes->heads % sizes->kv_heads == 0)
        return ATTN_OK;
    return attn_fail(error, ATTN_ESHAPE, field,
                     "expected a number of key heads that divides the %zu query heads, found %zu", sizes->heads,
                     sizes->kv_heads);
}

/* (N, H, L, D): the shapes say everything. */
static attn_status take_split_heads(struct attn_plan *plan, struct attn_error *error) {
    const struct attn_inputs *inputs = &plan->inputs;
    struct attn_plan_sizes *sizes = &plan->sizes;
    attn_status status;
    sizes->heads = inputs->query.shape[1];
    sizes->kv_heads = inputs->key.shape[1];
    sizes->head_dim = inputs->query.shape[3];
    sizes->value_dim = inputs->value.shape[3];
    if (inputs->value.shape[1] != sizes->kv_heads)
        return attn_fail(error, ATTN_ESHAPE, "value", "expected as many heads as the key, %zu, found %zu",
                         sizes->kv_heads, inputs->value.shape[1]);
    if (inputs->key.shape[3] != sizes->head_dim)
        return attn_fail(error, ATTN_ESHAPE, "key", "expected the query's head width of %zu, found %zu",
                         sizes->head_dim, inputs->key.shape[3]);
    if ((status = take_given_heads(inputs->num_heads, sizes->heads, "num_heads", "the query has", error)) != ATTN_OK ||
        (status = take_given_heads(inputs->num_kv_heads, sizes->kv_heads, "num_kv_heads", "the key has", error)) !=
            ATTN_OK)
        return status;
    return check_groups(sizes, "key", error);
}

static attn_status split_width(const struct attn_view *view, size_t heads, const char *field, size_t *width,
                               struct attn_error *error) {
    size_t whole = axis_from_end(view, 1);
    if (whole % heads != 0)
        return attn_fail(error, ATTN_ESHAPE, field, "expected a width that %zu heads divide, found %zu", heads, whole);
    *width = whole / heads;
    return ATTN_OK;
}

/* (L, E) and (N, L, E): the last axis holds the heads side by side. */
static attn_status take_joined_heads(struct attn_plan *plan, struct attn_error *error) {
    const struct attn_inputs *inputs = &plan->inputs;
    struct attn_plan_sizes *sizes = &plan->sizes;
    size_t key_dim = 0;
    attn_status status;
    sizes->heads = inputs->num_heads > 0 ? inputs->num_heads : 1;
    sizes->kv_heads = inputs->num_kv_heads > 0 ? inputs->num_kv_heads : sizes->heads;
    if ((status = check_groups(sizes, "num_kv_heads", error)) != ATTN_OK ||
        (status = split_width(&inputs->query, sizes->heads, "num_heads", &sizes->head_dim, error)) != ATTN_OK ||
        (status = split_width(&inputs->key, sizes->kv_heads, "key", &key_dim, error)) != ATTN_OK ||
        (status = split_width(&inputs->value, sizes->kv_heads, "value", &sizes->value_dim, error)) != ATTN_OK)
        return status;
    if (key_dim != sizes->head_dim)
        return attn_fail(error, ATTN_ESHAPE, "key", "expected a width of %zu (%zu heads of %zu), found %zu",
                         sizes->kv_heads * sizes->head_dim, sizes->kv_heads, sizes->head_dim,
                         axis_from_end(&inputs->key, 1));
    return ATTN_OK;
}

static attn_status check_width(const struct attn_view *view, size_t width, const char *field,
                               struct attn_error *error) {
    if (axis_from_end(view, 1) == width)
        return ATTN_OK;
    return attn_fail(error, ATTN_ESHAPE, field, "expected the layer's width of %zu, found %zu", width,
                     axis_from_end(view, 1));
}

static attn_status take_layer(struct attn_plan *plan, struct attn_error *error) {
    const struct attn_inputs *inputs = &plan->inputs;
    const struct attn_layer *layer = &plan->layer;
    attn_status status;
    if (plan->rank > 3)
        return fail_shape(error, "query", "shape (L, E) or (N, L, E) for a layer with projections", &inputs->query);
    if (layer->q_weight.dtype != plan->dtype)
        return attn_fail(error, ATTN_EDTYPE, "query", "expected %s as the layer's weights, found %s",
                         attn_dtype_name(layer->q_weight.dtype), attn_dtype_name(plan->dtype));
    if ((status = take_given_heads(inputs->num_heads, layer->num_heads, "num_heads", "the layer has", error)) !=
            ATTN_OK ||
        (status = take_given_heads(inputs->num_kv_heads, layer->num_kv_heads, "num_kv_heads", "the layer has",
                                   error)) != ATTN_OK ||
        (status = check_width(&inputs->query, layer->query_width, "query", error)) != ATTN_OK ||
        (status = check_width(&inputs->key, layer->key_width, "key", error)) != ATTN_OK ||
        (status = check_width(&inputs->value, layer->value_width, "value", error)) != ATTN_OK)
        return status;
    plan->sizes.heads = layer->num_heads;
    plan->sizes.kv_heads = layer->num_kv_heads;
    plan->sizes.head_dim = layer->head_dim;
    plan->sizes.value_dim = layer->value_head_dim;
    plan->sizes.tail = (layer->bias_k.data != NULL ? 1U : 0U) + (layer->add_zero_attn ? 1U : 0U);
    return check_groups(&plan->sizes, "num_kv_heads", error);
}

/* One of past_key and past_value, as (N, Hkv, P, width); the batch axis may be missing where the input has none. */
static attn_status take_past(const struct attn_plan *plan, struct attn_view *past, size_t width, const char *field,
                             struct attn_error *error) {
    if (past->rank == 3 && !plan->has_batch) {
        for (int axis = 3; axis > 0; axis--) {
            past->shape[axis] = past->shape[axis - 1];
            past->stride[axis] = past->stride[axis - 1];
        }
        past->rank = 4;
        past->shape[0] = 1;
        past->stride[0] = 0;
    }
    const size_t expected[] = {plan->sizes.batch, plan->sizes.kv_heads, past->rank == 4 ? past->shape[2] : 1, width};
    bool fits = past->rank == 4;
    for (int axis = 0; axis < 4 && fits; axis++)
        fits = past->shape[axis] == expected[axis] && past->shape[axis] > 0;
    if (!fits) {
        char text[ATTN_SHAPE_TEXT], found[ATTN_SHAPE_TEXT];
        return attn_fail(error, ATTN_ESHAPE, field, "expected shape %s with any P of at least 1, found %s",
                         attn_shape_text(text, 4, expected), attn_shape_text(found, past->rank, past->shape));
    }
    if (past->dtype != plan->dtype)
        return attn_fail(error, ATTN_EDTYPE, field, "expected %s as in the query, found %s",
                         attn_dtype_name(plan->dtype), attn_dtype_name(past->dtype));
    return ATTN_OK;
}

static attn_status take_pasts(struct attn_plan *plan, struct attn_error *error) {
    struct attn_inputs *inputs = &plan->inputs;
    attn_status status;
    if (inputs->past_key.data == NULL && inputs->past_value.data == NULL)
        return ATTN_OK;
    if (inputs->past_key.data == NULL || inputs->past_value.data == NULL)
        return attn_fail(error, ATTN_ECONFLICT, inputs->past_key.data == NULL ? "past_key" : "past_value",
                         "past_key and past_value go together");
    if (inputs->options.key_lengths.data != NULL)
        return attn_fail(error, ATTN_ECONFLICT, "key_lengths", "key_lengths and past_key do not go together");
    if ((status = take_past(plan, &inputs->past_key, plan->sizes.head_dim, "past_key", error)) != ATTN_OK ||
        (status = take_past(plan, &inputs->past_value, plan->sizes.value_dim, "past_value", error)) != ATTN_OK)
        return status;
    if (inputs->past_key.shape[2] != inputs->past_value.shape[2])
        return attn_fail(error, ATTN_ESHAPE, "past_value", "expected as many as past keys, %zu, found %zu",
                         inputs->past_key.shape[2], inputs->past_value.shape[2]);
    plan->sizes.past_length = inputs->past_key.shape[2];
    return ATTN_OK;
}

attn_status attn_plan_take_inputs(struct attn_plan *plan, const struct attn_inputs *inputs, struct attn_error *error) {
    struct attn_plan_sizes *sizes = &plan->sizes;
    attn_status status;
    plan->inputs = *inputs;
    plan->has_layer = inputs->layer != NULL;
    if (plan->has_layer)
        plan->layer = *inputs->layer;
    if ((status = check_tensors(plan, error)) != ATTN_OK || (status = take_lengths(plan, error)) != ATTN_OK)
        return status;
    if (plan->has_layer)
        status = take_layer(plan, error);
    else
        status = plan->rank == 4 ? take_split_heads(plan, error) : take_joined_heads(plan, error);
    if (status != ATTN_OK || (status = take_pasts(plan, error)) != ATTN_OK)
        return status;
    if (__builtin_add_overflow(sizes->past_length, sizes->new_length, &sizes->key_length) ||
        __builtin_add_overflow(sizes->key_length, sizes->tail, &sizes->columns))
        return fail_shape(error, "key", "a length that fits memory", &plan->inputs.key);
    sizes->output_width = sizes->heads * sizes->value_dim;
    if (plan->has_layer && plan->layer.out_weight.data != NULL)
        sizes->output_width = plan->layer.output_width;
    sizes->out_projected = sizes->output_width;
    plan->inputs.options.past_length = sizes->past_length;
    plan->inputs.options.unmasked_tail = sizes->tail;
    return ATTN_OK;
}
