/*
 * Running a plan, in order:
 *   1. inputs whose columns are not contiguous are copied
 *   2. query, key and value are projected, past ones and the columns behind are joined
 *   3. what the collector must know beforehand: norms of values, offsets, padding
 *   4. attention, its weights streamed into the collector
 *   5. the output projection
 *   6. internals and present keys are copied out, means are taken, rows that attend to nothing counted
 * Buffers are laid out (N, L, H*D) and viewed as (N, H, L, D).
 */
#include "lib/aggregate/lane.h"
#include "lib/aggregate/loops.h"
#include "lib/attention/projection.h"
#include "lib/plan/plan.h"
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

static attn_status take_scratch(struct run *run) {
    size_t total = 0;
    for (size_t i = 0; i < ATTN_BUFFER_COUNT; i++)
        total += (run->plan->buffer_bytes[i] + 63) & ~(size_t)63;
    if (total == 0)
        return ATTN_OK;
    run->scratch = aligned_alloc(64, total);
    if (run->scratch == NULL)
        return ATTN_ENOMEM;
    char *next = run->scratch;
    for (size_t i = 0; i < ATTN_BUFFER_COUNT; i++) {
        if (run->plan->buffer_bytes[i] == 0)
            continue;
        run->buffers[i] = next;
        next += (run->plan->buffer_bytes[i] + 63) & ~(size_t)63;
    }
    return ATTN_OK;
}

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

/* The norm of each of `count` rows of a view's last axis, written `repeat` times, `stride` elements apart. */
static void write_norms(attn_dtype dtype, const char *row, ptrdiff_t row_stride, size_t width, size_t count, char *to,
                        size_t repeat, size_t stride) {
    const struct attn_loops *loops = attn_loops_of(dtype);
    size_t bytes = attn_dtype_bytes(dtype);
    for (size_t j = 0; j < count; j++) {
        const char *own = row + (ptrdiff_t)j * row_stride * (ptrdiff_t)bytes;
        double norm = sqrt(loops->dot(own, own, width));
        for (size_t r = 0; r < repeat; r++)
            loops->from_double(to + (r * stride + j) * bytes, &norm, 1);
    }
}

static const char *head_rows(const struct attn_view *view, size_t item, size_t head) {
    return (const char *)view->data + ((ptrdiff_t)item * view->stride[0] + (ptrdiff_t)head * view->stride[1]) *
                                          (ptrdiff_t)attn_dtype_bytes(view->dtype);
}

static void fill_value_norms(const struct run *run) {
    const struct attn_plan_sizes *s = &run->plan->sizes;
    size_t group = s->heads / s->kv_heads, bytes = attn_dtype_bytes(run->plan->dtype);
    char *norms = run->buffers[ATTN_BUFFER_VALUE_NORMS];
    for (size_t item = 0; item < s->batch && norms != NULL; item++)
        for (size_t head = 0; head < s->kv_heads; head++)
            write_norms(run->plan->dtype, head_rows(&run->value, item, head), run->value.stride[2], s->value_dim,
                        s->columns, norms + (item * s->heads + head * group) * s->columns * bytes, group, s->columns);
}

/* For each head its values through its columns of out_weight, and their norms: ||v_j W_O^h||. */
static attn_status fill_output_norms(const struct run *run) {
    const struct attn_plan *plan = run->plan;
    const struct attn_plan_sizes *s = &plan->sizes;
    size_t bytes = attn_dtype_bytes(plan->dtype), width = s->output_width;
    char *norms = run->buffers[ATTN_BUFFER_OUTPUT_NORMS];
    const struct attn_view none = {0};
    if (norms == NULL)
        return ATTN_OK;
    struct attn_view projected = attn_view_contiguous(run->buffers[ATTN_BUFFER_PROJECTED_VALUES], plan->dtype, 3,
                                                      (size_t[]){s->batch, s->columns, width});
    for (size_t head = 0; head < s->heads; head++) {
        struct attn_view weight = plan->layer.out_weight;
        weight.data = (char *)weight.data + head * s->value_dim * bytes;
        weight.shape[1] = s->value_dim;
        struct attn_view values = {.data = (void *)(uintptr_t)head_rows(&run->value, 0, head * s->kv_heads / s->heads),
                                   .dtype = plan->dtype,
                                   .rank = 3,
                                   .shape = {s->batch, s->columns, s->value_dim},
                                   .stride = {run->value.stride[0], run->value.stride[2], 1}};
        attn_status status = attn_project(&values, &weight, &none, &projected, run->execution);
        if (status != ATTN_OK)
            return status;
        for (size_t item = 0; item < s->batch; item++)
            write_norms(plan->dtype, (const char *)projected.data + item * s->columns * width * bytes, (ptrdiff_t)width,
                        width, s->columns, norms + (item * s->heads + head) * s->columns * bytes, 1, 0);
    }
    return ATTN_OK;
}

static bool mask_attends(const struct attn_view *mask, size_t item, size_t key, bool ignores) {
    ptrdiff_t at = mask->rank == 2 ? (ptrdiff_t)item * mask->stride[0] + (ptrdiff_t)key * mask->stride[1]
                                   : (ptrdiff_t)key * mask->stride[0];
    if (mask->dtype == ATTN_FLOAT32)
        return ((const float *)mask->data)[at] > -INFINITY;
    if (mask->dtype == ATTN_FLOAT64)
        return ((const double *)mask->data)[at] > (double)-INFINITY;
    return (((const uint8_t *)mask->data)[at] != 0) != ignores;
}

static void fill_key_exists(const struct run *run) {
    const struct attn_sdpa_options *options = &run->plan->inputs.options;
    const struct attn_view *lengths = &options->key_lengths, *mask = &options->key_padding_mask;
    size_t keys = run->plan->sizes.key_length;
    uint8_t *exists = run->buffers[ATTN_BUFFER_KEY_EXISTS];
    for (size_t item = 0; item < run->plan->sizes.batch && exists != NULL; item++) {
        size_t length = keys;
        if (lengths->data != NULL)
            length = (size_t)((const int64_t *)lengths->data)[(ptrdiff_t)item * lengths->stride[0]];
        for (size_t key = 0; key < keys; key++)
            exists[item * keys + key] =
                key < length && (mask->data == NULL || mask_attends(mask, item, key, options->bool_mask_ignores));
    }
}

static void fill_offsets(const struct run *run) {
    const struct attn_plan_sizes *s = &run->plan->sizes;
    long long *offsets = run->buffers[ATTN_BUFFER_OFFSETS];
    for (size_t item = 0; item < s->batch && offsets != NULL; item++)
        offsets[item] = attn_sdpa_offset(&run->plan->inputs.options, item, s->query_length, s->key_length);
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

static struct attn_view per_row_view(const struct run *run, const struct attn_result_tensor *tensor, void *buffer) {
    const struct attn_plan_sizes *s = &run->plan->sizes;
    void *data = tensor != NULL ? tensor->values.data : buffer;
    return attn_view_contiguous(data, run->plan->dtype, 3, (size_t[]){s->batch, s->heads, s->query_length});
}

static struct attn_view per_head_view(const struct run *run) {
    const struct attn_plan_sizes *s = &run->plan->sizes;
    if (!attn_plan_writes_per_head(run->plan))
        return (struct attn_view){0};
    const struct attn_result_tensor *tensor = run->collected;
    while (tensor->name != attn_form_name(ATTN_FORM_PER_HEAD))
        tensor++;
    return result_view(run, tensor, s->heads, s->query_length, s->columns);
}

static attn_status attend(struct run *run, struct attn_collector *collector, const struct attn_view *context,
                          struct attn_error *error) {
    struct attn_sdpa_result wanted = {
        .output = *context,
        .weights = per_head_view(run),
        .logsumexp = per_row_view(run, run->internals[ATTN_INTERNAL_LOGSUMEXP], run->buffers[ATTN_BUFFER_LOGSUMEXP]),
        .max_score = per_row_view(run, run->internals[ATTN_INTERNAL_MAX_SCORE], NULL)};
    if (collector != NULL)
        wanted.sinks[run->plan->collects[0].stage] = (struct attn_block_sink){attn_collector_consume, collector};
    return attn_sdpa(&run->query, &run->key, &run->value, &run->plan->inputs.options, &wanted, run->execution, error);
}

static attn_status attend_and_collect(struct run *run, const struct attn_view *context, struct attn_error *error) {
    if (!attn_plan_needs_blocks(run->plan))
        return attend(run, NULL, context, error);
    struct attn_collect_inputs inputs = {
        .offsets = run->buffers[ATTN_BUFFER_OFFSETS],
        .key_exists = run->buffers[ATTN_BUFFER_KEY_EXISTS],
        .value_norms = run->buffers[ATTN_BUFFER_VALUE_NORMS],
        .output_norms = run->buffers[ATTN_BUFFER_OUTPUT_NORMS],
        .per_head_is_written = attn_plan_writes_per_head(run->plan),
        .execution = run->execution,
        .lanes = attn_lane_count(run->execution),
    };
    struct attn_collector collector;
    attn_status status = attn_collector_init(&collector, &run->plan->collects[0], &inputs, run->collected);
    if (status != ATTN_OK)
        attn_fail(error, status, "", "out of memory");
    if (status == ATTN_OK)
        status = attend(run, &collector, context, error);
    if (status == ATTN_OK)
        status = attn_collector_finish(&collector, run->execution, error);
    attn_collector_reset(&collector);
    return status;
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

static void copy_all_out(const struct run *run, const struct attn_view *context) {
    size_t keys = run->plan->sizes.key_length;
    struct attn_view present_key = attn_view_part(&run->key, 2, 0, keys),
                     present_value = attn_view_part(&run->value, 2, 0, keys);
    copy_out(run->internals[ATTN_INTERNAL_QUERY], &run->query);
    copy_out(run->internals[ATTN_INTERNAL_KEY], &run->key);
    copy_out(run->internals[ATTN_INTERNAL_VALUE], &run->value);
    copy_out(run->internals[ATTN_INTERNAL_CONTEXT], context);
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
    if ((status = take_scratch(run)) != ATTN_OK || (status = prepare_inputs(run)) != ATTN_OK)
        return attn_fail(error, status, "", "%s", attn_status_name(status));
    fill_value_norms(run);
    fill_key_exists(run);
    fill_offsets(run);
    if ((status = fill_output_norms(run)) != ATTN_OK)
        return attn_fail(error, status, "", "%s", attn_status_name(status));
    struct attn_view context = context_view(run);
    if ((status = attend_and_collect(run, &context, error)) != ATTN_OK)
        return status;
    if ((status = project_output(run, &context)) != ATTN_OK)
        return attn_fail(error, status, "", "%s", attn_status_name(status));
    copy_all_out(run, &context);
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
