#include "server/routes/attention_request.h"
#include "server/routes/json_value.h"
#include <stdio.h>
#include <string.h>

/** The library names a tensor of the state dict, or a head count: the first stands under /params. */
static void problem_from_layer(struct problem *problem, const struct attn_error *error) {
    problem_from_attn(problem, error);
    if (error->field[0] == '\0') {
        snprintf(problem->pointer, sizeof problem->pointer, "/params");
    } else if (strcmp(error->field, "num_heads") != 0 && strcmp(error->field, "num_kv_heads") != 0) {
        snprintf(problem->pointer, sizeof problem->pointer, "/params");
        problem_pointer_append(problem->pointer, sizeof problem->pointer, error->field, strlen(error->field));
    }
}

static bool resolve_params(struct attention_request *request, struct problem *problem) {
    const struct field *params = document_find(&request->document, "params");
    const json_t *add_zero_attn = attention_json(request, "add_zero_attn");
    struct attn_layer_config config = {.num_heads = request->inputs.num_heads,
                                       .num_kv_heads = request->inputs.num_kv_heads};
    struct attn_error error = {0};
    if (add_zero_attn != NULL && !json_value_bool(add_zero_attn, "/add_zero_attn", &config.add_zero_attn, problem)) {
        return false;
    }
    struct attn_named_view *tensors =
        arena_alloc(request->document.arena, (params->member_count + 1) * sizeof *tensors);
    if (tensors == NULL) {
        return attention_out_of_memory(problem);
    }
    for (size_t i = 0; i < params->member_count; i++) {
        tensors[i] = (struct attn_named_view){params->members[i].name, params->members[i].tensor};
    }
    if (attn_layer_resolve(tensors, params->member_count, &config, &request->layer, &error) != ATTN_OK) {
        problem_from_layer(problem, &error);
        return false;
    }
    return true;
}

/** Replaces a view by a copy of the wanted dtype in the arena. */
static bool convert_view(struct attn_view *view, attn_dtype dtype, struct arena *arena, struct problem *problem) {
    size_t elements;
    struct attn_error error = {0};
    if (view->data == NULL || view->dtype == dtype) {
        return true;
    }
    elements = attn_view_elements(view);
    void *data = arena_alloc(arena, elements * attn_dtype_bytes(dtype));
    if (data == NULL) {
        return attention_out_of_memory(problem);
    }
    struct attn_view copy = attn_view_contiguous(data, dtype, view->rank, view->shape);
    if (attn_view_convert(view, &copy, &error) != ATTN_OK) {
        problem_from_attn(problem, &error);
        return false;
    }
    *view = copy;
    return true;
}

/** A model is kept in one dtype; a request in the other gets a converted copy. */
static bool convert_layer(struct attn_layer *layer, attn_dtype dtype, struct arena *arena, struct problem *problem) {
    struct attn_view *views[] = {&layer->q_weight, &layer->k_weight, &layer->v_weight, &layer->out_weight,
                                 &layer->q_bias,   &layer->k_bias,   &layer->v_bias,   &layer->out_bias,
                                 &layer->bias_k,   &layer->bias_v};
    for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
        if (!convert_view(views[i], dtype, arena, problem)) {
            return false;
        }
    }
    return true;
}

bool attention_read_layer(struct attention_request *request, struct problem *problem) {
    if (request->mode == ATTENTION_RAW) {
        return true;
    }
    request->inputs.layer = &request->layer;
    if (request->mode == ATTENTION_PARAMS) {
        return resolve_params(request, problem);
    }
    request->layer = request->model->layer;
    return convert_layer(&request->layer, request->document.dtype, request->document.arena, problem);
}
