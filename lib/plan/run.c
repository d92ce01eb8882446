/*
 * Running a plan, in order:
 *   1. inputs whose columns are not contiguous are copied
 *   2. query, key and value are projected, past ones and the columns behind are joined
 *   3. attention, its weights streamed into the collector (attend.c)
 *   4. the output projection
 *   5. present keys are copied out, rows that attend to nothing counted
 * Buffers are laid out (N, L, H*D) and viewed as (N, H, L, D).
 */
#include "lib/aggregate/lane.h"
#include "lib/aggregate/loops.h"
#include "lib/attention/projection.h"
#include "lib/plan/attend.h"
#include "lib/tensor/error.h"
#include "lib/tensor/shape.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct run {
    const struct attn_plan *plan;
    const struct attn_execution *execution;
    struct attn_result *result;
    struct attn_result_tensor *output, *internals[ATTN_INTERNAL_COUNT], *present_key, *present_value, *collected;
    void *buffers[ATTN_BUFFER_COUNT];
    void *scratch;
    struct attn_view query_input, key_input, value_input; /**< with contiguous columns */
    struct attn_view query, key, value;                   /**< (N, H, L, D), (N, Hkv, columns, ·) */
};

/* Tensors stand in the result in the order in which plan.c listed them. */
static void find_tensors(struct run *run) {
    const struct attn_plan *plan = run->plan;
    struct attn_result_tensor *next = run->result->tensors;
    if (plan->wants_output)
        run->output = next++;
    for (unsigned i = 0; i < ATTN_INTERNAL_COUNT; i++)
        if (attn_has(plan->internals, i))
            run->internals[i] = next++;
    if (plan->wants_present) {
        run->present_key = next++;
        run->present_value = next++;
    }
    run->collected = next;
}

static struct attn_view contiguous_input(const struct attn_view *input, void *buffer) {
    if (buffer == NULL)
        return *input;
    struct attn_view copy = attn_view_contiguous(buffer, input->dtype, input->rank, input->shape);
    attn_view_convert(input, &copy, NULL);
    return copy;
}

/* (N, rows, heads * width) seen as (N, heads, rows, width). */
static struct attn_view heads_of(const struct run *run, void *data, size_t rows, size_t heads, size_t width,
                                 size_t row_stride) {
    return (struct attn_view){
        .data = data,
        .dtype = run->plan->dtype,
        .rank = 4,
        .shape = {run->plan->sizes.batch, heads, rows, width},
        .stride = {(ptrdiff_t)(rows * row_stride), (ptrdiff_t)width, (ptrdiff_t)row_stride, 1},
    };
}

/* A view of rank 3 with the batch axis that (L, E) lacks. */
static struct attn_view with_batch(const struct attn_view *view) {
    if (view->rank == 3)
        return *view;
    return (struct attn_view){.data = view->data,
                              .dtype = view->dtype,
                              .rank = 3,
                              .shape = {1, view->shape[0], view->shape[1]},
                              .stride = {0, view->stride[0], view->stride[1]}};
}

/* An input's heads, without projection. */
static struct attn_view split_input(const struct attn_view *input, size_t heads) {
    struct attn_view split = *input;
    if (input->rank < 4)
        attn_view_split_heads(input, heads, "", &split, NULL);
    return split;
}

/* The (N, rows, heads * width) matrix behind a view that heads_of made. */
static struct attn_view flat_of(const struct attn_view *heads) {
    return (struct attn_view){.data = heads->data,
                              .dtype = heads->dtype,
                              .rank = 3,
                              .shape = {heads->shape[0], heads->shape[2], heads->shape[1] * heads->shape[3]},
                              .stride = {heads->stride[0], heads->stride[2], 1}};
}

static attn_status project(const struct run *run, const struct attn_view *input, const struct attn_view *weight,
                           const struct attn_view *bias, const struct attn_view *to) {
    struct attn_view from = with_batch(input), flat = flat_of(to);
    return attn_project(&from, weight, bias, &flat, run->execution);
}

static attn_status project_at_once(struct run *run) {
    const struct attn_plan *plan = run->plan;
    const struct attn_plan_sizes *s = &plan->sizes;
    size_t query_width = s->heads * s->head_dim, key_width = s->kv_heads * s->head_dim;
    size_t width = query_width + key_width + s->kv_heads * s->value_dim, bytes = attn_dtype_bytes(plan->dtype);
    char *data = run->buffers[ATTN_BUFFER_QUERY];
    struct attn_view weight = plan->layer.q_weight, bias = plan->layer.q_bias;
    weight.shape[0] = width;
    bias.shape[0] = width;
    struct attn_view all = heads_of(run, data, s->query_length, 1, width, width);
    run->query = heads_of(run, data, s->query_length, s->heads, s->head_dim, width);
    run->key = heads_of(run, data + query_width * bytes, s->query_length, s->kv_heads, s->head_dim, width);
    run->value =
        heads_of(run, data + (query_width + key_width) * bytes, s->query_length, s->kv_heads, s->value_dim, width);
    return project(run, &run->query_input, &weight, &bias, &all);
}

/* The columns behind the T keys: a learned one (bias_k, bias_v), then one of zeros. */
static void fill_tail(const struct run *run, const struct attn_view *joined, const struct attn_view *bias) {
    const struct attn_plan_sizes *s = &run->plan->sizes;
    size_t bytes = attn_dtype_bytes(run->plan->dtype), width = joined->shape[1] * joined->shape[3];
    for (size_t item = 0; item < s->batch; item++) {
        char *row = (char *)joined->data + (item * s->columns + s->key_length) * width * bytes;
        if (bias->data != NULL) {
            struct attn_view to = attn_view_contiguous(row, run->plan->dtype, 1, &width);
            struct attn_view from = attn_view_contiguous(bias->data, bias->dtype, 1, &width);
            from.stride[0] = bias->stride[bias->rank - 1];
            attn_view_convert(&from, &to, NULL);
            row += width * bytes;
        }
        if (run->plan->layer.add_zero_attn)
            memset(row, 0, width * bytes);
    }
}

struct join {
    const struct attn_view *input, *past, *weight, *bias, *tail_bias;
    size_t width;
    void *buffer;
};

/* Keys (or values) as they enter the product: past ones, new ones (projected where there is a layer), the tail. */
static attn_status join(const struct run *run, const struct join *join, struct attn_view *joined) {
    const struct attn_plan_sizes *s = &run->plan->sizes;
    attn_status status = ATTN_OK;
    if (join->buffer == NULL) {
        *joined = split_input(join->input, s->kv_heads);
        return ATTN_OK;
    }
    *joined = heads_of(run, join->buffer, s->columns, s->kv_heads, join->width, s->kv_heads * join->width);
    struct attn_view past = attn_view_part(joined, 2, 0, s->past_length);
    struct attn_view new_rows = attn_view_part(joined, 2, s->past_length, s->new_length);
    if (s->past_length > 0)
        attn_view_convert(join->past, &past, NULL);
    if (run->plan->has_layer) {
        status = project(run, join->input, join->weight, join->bias, &new_rows);
    } else {
        struct attn_view input = split_input(join->input, s->kv_heads);
        attn_view_convert(&input, &new_rows, NULL);
    }
    if (s->tail > 0)
        fill_tail(run, joined, join->tail_bias);
    return status;
}

static attn_status prepare_inputs(struct run *run) {
    const struct attn_plan *plan = run->plan;
    const struct attn_plan_sizes *s = &plan->sizes;
    const struct attn_layer *layer = &plan->layer;
    run->query_input = contiguous_input(&plan->inputs.query, run->buffers[ATTN_BUFFER_INPUT_QUERY]);
    run->key_input = contiguous_input(&plan->inputs.key, run->buffers[ATTN_BUFFER_INPUT_KEY]);
    run->value_input = contiguous_input(&plan->inputs.value, run->buffers[ATTN_BUFFER_INPUT_VALUE]);
    if (plan->projects_at_once)
        return project_at_once(run);
    attn_status status = ATTN_OK;
    if (plan->has_layer) {
        run->query = heads_of(run, run->buffers[ATTN_BUFFER_QUERY], s->query_length, s->heads, s->head_dim,
                              s->heads * s->head_dim);
        status = project(run, &run->query_input, &layer->q_weight, &layer->q_bias, &run->query);
    } else {
        run->query = split_input(&run->query_input, s->heads);
    }
    struct join keys = {&run->key_input, &plan->inputs.past_key,       &layer->k_weight, &layer->k_bias, &layer->bias_k,
                        s->head_dim,     run->buffers[ATTN_BUFFER_KEY]};
    struct join values = {
        &run->value_input, &plan->inputs.past_value,       &layer->v_weight, &layer->v_bias, &layer->bias_v,
        s->value_dim,      run->buffers[ATTN_BUFFER_VALUE]};
    if (status != ATTN_OK || (status = join(run, &keys, &run->key)) != ATTN_OK)
        return status;
    return join(run, &values, &run->value);
}

static struct attn_view result_view(const struct run *run, const struct attn_result_tensor *tensor, size_t heads,
                                    size_t rows, size_t width) {
    return attn_view_contiguous(tensor->values.data, run->plan->dtype, 4,
                                (size_t[]){run->plan->sizes.batch, heads, rows, width});
}

/* Where attention writes its output: in front of the projection, into the result, or nowhere. */
static struct attn_view context_view(const struct run *run) {
    const struct attn_plan_sizes *s = &run->plan->sizes;
    size_t width = s->heads * s->value_dim;
    if (run->buffers[ATTN_BUFFER_CONTEXT] != NULL)
        return heads_of(run, run->buffers[ATTN_BUFFER_CONTEXT], s->query_length, s->heads, s->value_dim, width);
    if (run->output != NULL && run->plan->rank == 4)
        return result_view(run, run->output, s->heads, s->query_length, s->value_dim);
    if (run->output != NULL)
        return heads_of(run, run->output->values.data, s->query_length, s->heads, s->value_dim, width);
    if (run->internals[ATTN_INTERNAL_CONTEXT] != NULL)
        return result_view(run, run->internals[ATTN_INTERNAL_CONTEXT], s->heads, s->query_length, s->value_dim);
    return (struct attn_view){0};
}

static attn_status attend(struct run *run, const struct attn_view *context, struct attn_error *error) {
    const struct attn_plan *plan = run->plan;
    struct attn_collecting collecting = {.collect = &plan->wishes[0].collects[0], .tensors = run->collected};
    struct attn_attending attending = {
        .dtype = plan->dtype,
        .sizes = &plan->sizes,
        .query = run->query,
        .key = run->key,
        .value = run->value,
        .output = *context,
        .out_weight = plan->layer.out_weight,
        .options = &plan->inputs.options,
        .buffers = run->buffers,
        .collecting = &collecting,
        .collecting_count = attn_plan_needs_blocks(collecting.collect) || attn_plan_writes_per_head(collecting.collect),
        .execution = run->execution,
    };
    memcpy(attending.internals, run->internals, sizeof attending.internals);
    return attn_plan_attend(&attending, error);
}

static attn_status project_output(const struct run *run, const struct attn_view *context) {
    const struct attn_plan *plan = run->plan;
    if (run->buffers[ATTN_BUFFER_CONTEXT] == NULL)
        return ATTN_OK;
    struct attn_view to = with_batch(&run->output->values);
    struct attn_view from = flat_of(context);
    return attn_project(&from, &plan->layer.out_weight, &plan->layer.out_bias, &to, run->execution);
}

static void copy_out(const struct attn_result_tensor *tensor, const struct attn_view *from) {
    if (tensor == NULL || tensor->values.data == from->data)
        return;
    struct attn_view to = attn_view_contiguous(tensor->values.data, from->dtype, from->rank, from->shape);
    attn_view_convert(from, &to, NULL);
}

static void copy_present_out(const struct run *run) {
    size_t keys = run->plan->sizes.key_length;
    struct attn_view present_key = attn_view_part(&run->key, 2, 0, keys),
                     present_value = attn_view_part(&run->value, 2, 0, keys);
    copy_out(run->present_key, &present_key);
    copy_out(run->present_value, &present_value);
}

static void warn(const struct run *run) {
    attn_plan_warn_of_options(run->plan, run->result);
    if (!attn_plan_may_leave_rows_empty(run->plan))
        return;
    const struct attn_result_tensor *internal = run->internals[ATTN_INTERNAL_LOGSUMEXP];
    attn_plan_warn_of_rows(run->plan, internal != NULL ? internal->values.data : run->buffers[ATTN_BUFFER_LOGSUMEXP],
                           run->result);
}

static attn_status run_all(struct run *run, struct attn_error *error) {
    attn_status status;
    if ((status = attn_plan_take_buffers(run->plan, run->buffers, &run->scratch)) != ATTN_OK ||
        (status = prepare_inputs(run)) != ATTN_OK)
        return attn_fail(error, status, "", "%s", attn_status_name(status));
    struct attn_view context = context_view(run);
    if ((status = attend(run, &context, error)) != ATTN_OK)
        return status;
    if ((status = project_output(run, &context)) != ATTN_OK)
        return attn_fail(error, status, "", "%s", attn_status_name(status));
    copy_present_out(run);
    warn(run);
    return ATTN_OK;
}

attn_status attn_plan_run_attention(const struct attn_plan *plan, const struct attn_execution *execution,
                                    struct attn_result *result, struct attn_error *error) {
    struct run run = {.plan = plan, .execution = execution, .result = result};
    find_tensors(&run);
    attn_status status = run_all(&run, error);
    free(run.scratch);
    return status;
}
