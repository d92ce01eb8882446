#include "lib/plan/attend.h"
#include "lib/aggregate/lane.h"
#include "lib/aggregate/loops.h"
#include "lib/attention/projection.h"
#include "lib/tensor/error.h"
#include "lib/tensor/shape.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

attn_status attn_plan_take_buffers(const struct attn_plan *plan, void **buffers, void **scratch) {
    size_t total = 0;
    *scratch = NULL;
    for (size_t i = 0; i < ATTN_BUFFER_COUNT; i++)
        total += (plan->buffer_bytes[i] + 63) & ~(size_t)63;
    if (total == 0)
        return ATTN_OK;
    *scratch = aligned_alloc(64, total);
    if (*scratch == NULL)
        return ATTN_ENOMEM;
    char *next = *scratch;
    for (size_t i = 0; i < ATTN_BUFFER_COUNT; i++) {
        if (plan->buffer_bytes[i] == 0)
            continue;
        buffers[i] = next;
        next += (plan->buffer_bytes[i] + 63) & ~(size_t)63;
    }
    return ATTN_OK;
}

bool attn_plan_writes_per_head(const struct attn_collect *collect) {
    if (!attn_has(collect->forms, ATTN_FORM_PER_HEAD) || collect->stage != ATTN_STAGE_SOFTMAX || collect->top_k > 0 ||
        collect->chosen_count != collect->heads)
        return false;
    for (size_t i = 0; i < collect->chosen_count; i++)
        if (collect->chosen[i] != i)
            return false;
    return collect->query_begin == 0 && collect->query_end == collect->query_length && collect->key_begin == 0 &&
           collect->key_end == collect->columns;
}

bool attn_plan_needs_blocks(const struct attn_collect *collect) {
    unsigned forms = collect->forms;
    if (attn_plan_writes_per_head(collect))
        forms &= ~ATTN_BIT(ATTN_FORM_PER_HEAD);
    return forms != 0 || collect->analyses != 0;
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

static void fill_value_norms(const struct attn_attending *a) {
    const struct attn_plan_sizes *s = a->sizes;
    size_t group = s->heads / s->kv_heads, bytes = attn_dtype_bytes(a->dtype);
    char *norms = a->buffers[ATTN_BUFFER_VALUE_NORMS];
    for (size_t item = 0; item < s->batch && norms != NULL; item++)
        for (size_t head = 0; head < s->kv_heads; head++)
            write_norms(a->dtype, head_rows(&a->value, item, head), a->value.stride[2], s->value_dim, s->columns,
                        norms + (item * s->heads + head * group) * s->columns * bytes, group, s->columns);
}

/* For each head its values through its columns of out_weight, and their norms: ||v_j W_O^h||. */
static attn_status fill_output_norms(const struct attn_attending *a) {
    const struct attn_plan_sizes *s = a->sizes;
    size_t bytes = attn_dtype_bytes(a->dtype), width = s->out_projected;
    char *norms = a->buffers[ATTN_BUFFER_OUTPUT_NORMS];
    const struct attn_view none = {0};
    if (norms == NULL)
        return ATTN_OK;
    struct attn_view projected = attn_view_contiguous(a->buffers[ATTN_BUFFER_PROJECTED_VALUES], a->dtype, 3,
                                                      (size_t[]){s->batch, s->columns, width});
    for (size_t head = 0; head < s->heads; head++) {
        struct attn_view weight = a->out_weight;
        weight.data = (char *)weight.data + head * s->value_dim * bytes;
        weight.shape[1] = s->value_dim;
        struct attn_view values = {.data = (void *)(uintptr_t)head_rows(&a->value, 0, head * s->kv_heads / s->heads),
                                   .dtype = a->dtype,
                                   .rank = 3,
                                   .shape = {s->batch, s->columns, s->value_dim},
                                   .stride = {a->value.stride[0], a->value.stride[2], 1}};
        attn_status status = attn_project(&values, &weight, &none, &projected, a->execution);
        if (status != ATTN_OK)
            return status;
        for (size_t item = 0; item < s->batch; item++)
            write_norms(a->dtype, (const char *)projected.data + item * s->columns * width * bytes, (ptrdiff_t)width,
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

static void fill_key_exists(const struct attn_attending *a) {
    const struct attn_view *lengths = &a->options->key_lengths, *mask = &a->options->key_padding_mask;
    size_t keys = a->sizes->key_length;
    uint8_t *exists = a->buffers[ATTN_BUFFER_KEY_EXISTS];
    for (size_t item = 0; item < a->sizes->batch && exists != NULL; item++) {
        size_t length = keys;
        if (lengths->data != NULL)
            length = (size_t)((const int64_t *)lengths->data)[(ptrdiff_t)item * lengths->stride[0]];
        for (size_t key = 0; key < keys; key++)
            exists[item * keys + key] =
                key < length && (mask->data == NULL || mask_attends(mask, item, key, a->options->bool_mask_ignores));
    }
}

static void fill_query_exists(const struct attn_attending *a) {
    const struct attn_view *mask = &a->options->query_mask;
    uint8_t *exists = a->buffers[ATTN_BUFFER_QUERY_EXISTS];
    for (size_t item = 0; item < a->sizes->batch && exists != NULL; item++)
        for (size_t query = 0; query < a->sizes->query_length; query++)
            exists[item * a->sizes->query_length + query] =
                mask->data == NULL || mask_attends(mask, item, query, false);
}

static void fill_offsets(const struct attn_attending *a) {
    long long *offsets = a->buffers[ATTN_BUFFER_OFFSETS];
    for (size_t item = 0; item < a->sizes->batch && offsets != NULL; item++)
        offsets[item] = attn_sdpa_offset(a->options, item, a->sizes->query_length, a->sizes->key_length);
}

static attn_status fill_buffers(const struct attn_attending *a) {
    unsigned forms = 0, analyses = 0;
    for (size_t i = 0; i < a->collecting_count; i++) {
        forms |= a->collecting[i].collect->forms;
        analyses |= a->collecting[i].collect->analyses;
    }
    if (attn_has(forms, ATTN_FORM_VALUE_NORM))
        fill_value_norms(a);
    if (analyses != 0)
        fill_offsets(a);
    if (analyses != 0 || a->clears_padding)
        fill_key_exists(a);
    if (a->clears_padding)
        fill_query_exists(a);
    return attn_has(forms, ATTN_FORM_OUTPUT_NORM) ? fill_output_norms(a) : ATTN_OK;
}

struct attn_collect_inputs attn_plan_collect_inputs(const struct attn_execution *execution) {
    return (struct attn_collect_inputs){.execution = execution, .lanes = attn_lane_count(execution)};
}

attn_status attn_plan_begin_collecting(struct attn_collecting *collecting, const struct attn_collect_inputs *inputs,
                                       struct attn_error *error) {
    attn_status status = attn_collector_init(&collecting->collector, collecting->collect, inputs, collecting->tensors);
    return status == ATTN_OK ? ATTN_OK : attn_fail(error, status, "", "out of memory");
}

attn_status attn_plan_end_collecting(struct attn_collecting *collecting, const struct attn_execution *execution,
                                     struct attn_error *error) {
    if (collecting->layers == NULL)
        return attn_collector_finish(&collecting->collector, execution, error);
    attn_status status = attn_collector_status(&collecting->collector, error);
    if (status == ATTN_OK)
        attn_layers_put(collecting->layers, collecting->layer, collecting->collector.fused, execution);
    return status;
}

attn_status attn_plan_finish_across_layers(const struct attn_layers *layers, struct attn_result_tensor *tensors,
                                           const struct attn_execution *execution, struct attn_error *error) {
    unsigned forms = layers->collect.forms;
    struct attn_result_tensor *rollout = attn_has(forms, ATTN_FORM_ROLLOUT) ? tensors++ : NULL;
    struct attn_result_tensor *flow = attn_has(forms, ATTN_FORM_FLOW) ? tensors : NULL;
    return attn_layers_finish(layers, rollout, flow, execution, error);
}

static attn_status begin_all(const struct attn_attending *a, size_t *begun, struct attn_error *error) {
    struct attn_collect_inputs inputs = attn_plan_collect_inputs(a->execution);
    inputs.offsets = a->buffers[ATTN_BUFFER_OFFSETS];
    inputs.key_exists = a->buffers[ATTN_BUFFER_KEY_EXISTS];
    inputs.cell_rows = a->clears_padding ? a->buffers[ATTN_BUFFER_QUERY_EXISTS] : NULL;
    inputs.cell_keys = a->clears_padding ? a->buffers[ATTN_BUFFER_KEY_EXISTS] : NULL;
    inputs.value_norms = a->buffers[ATTN_BUFFER_VALUE_NORMS];
    inputs.output_norms = a->buffers[ATTN_BUFFER_OUTPUT_NORMS];
    inputs.query_tokens = a->query_tokens;
    inputs.key_tokens = a->key_tokens;
    attn_status status = ATTN_OK;
    for (*begun = 0; *begun < a->collecting_count && status == ATTN_OK; (*begun)++) {
        inputs.per_head_is_written = attn_plan_writes_per_head(a->collecting[*begun].collect);
        status = attn_plan_begin_collecting(&a->collecting[*begun], &inputs, error);
    }
    return status;
}

static struct attn_view per_row_view(const struct attn_attending *a, attn_internal internal, void *buffer) {
    const struct attn_result_tensor *tensor = a->internals[internal];
    void *data = tensor != NULL ? tensor->values.data : buffer;
    return attn_view_contiguous(data, a->dtype, 3,
                                (size_t[]){a->sizes->batch, a->sizes->heads, a->sizes->query_length});
}

/* The tensor that attn_sdpa writes by itself: no two collections of one attention have all of its heads. */
static struct attn_view per_head_view(const struct attn_attending *a) {
    const struct attn_plan_sizes *s = a->sizes;
    for (size_t i = 0; i < a->collecting_count; i++) {
        if (!attn_plan_writes_per_head(a->collecting[i].collect))
            continue;
        const struct attn_result_tensor *tensor = a->collecting[i].tensors;
        while (tensor->name != attn_form_name(ATTN_FORM_PER_HEAD))
            tensor++;
        return attn_view_contiguous(tensor->values.data, a->dtype, 4,
                                    (size_t[]){s->batch, s->heads, s->query_length, s->columns});
    }
    return (struct attn_view){0};
}

/* Heads begin .. end-1, a multiple of those that share a key head, or within one key head. */
struct heads {
    size_t begin, end;
};

/* The heads that are computed: between the first and the last that is collected where nobody reads the others. */
static struct heads find_heads(const struct attn_attending *a) {
    const size_t all = a->sizes->heads, group = all / a->sizes->kv_heads;
    struct heads heads = {all, 0};
    for (size_t i = 0; i < a->collecting_count; i++) {
        const struct attn_collect *collect = a->collecting[i].collect;
        heads.begin = collect->first_head < heads.begin ? collect->first_head : heads.begin;
        heads.end = collect->last_head + 1 > heads.end ? collect->last_head + 1 : heads.end;
    }
    const bool reads_rows = a->buffers[ATTN_BUFFER_LOGSUMEXP] != NULL ||
                            a->internals[ATTN_INTERNAL_LOGSUMEXP] != NULL ||
                            a->internals[ATTN_INTERNAL_MAX_SCORE] != NULL;
    const bool joins_batch = a->options->attn_mask.rank == 3; /* maybe (N*H, L, T), of which heads are no part */
    if (a->output.data != NULL || reads_rows || joins_batch || heads.begin >= heads.end)
        return (struct heads){0, all};
    if (heads.begin / group != (heads.end - 1) / group) {
        heads.begin = heads.begin / group * group;
        heads.end = (heads.end - 1) / group * group + group;
    }
    return heads;
}

/* The part of a view that is of these heads, where it has an axis of them. */
static void keep_heads(struct attn_view *view, int axis, struct heads heads) {
    if (view->data != NULL && view->rank > axis && view->shape[axis] > 1)
        *view = attn_view_part(view, axis, heads.begin, heads.end - heads.begin);
}

static struct attn_sdpa_options options_of(const struct attn_attending *a, struct heads heads) {
    struct attn_sdpa_options options = *a->options;
    if (options.attn_mask.rank == 4)
        keep_heads(&options.attn_mask, 1, heads);
    keep_heads(&options.sinks, 0, heads);
    keep_heads(&options.alibi_slopes, 0, heads);
    return options;
}

/* One attn_sdpa with those who look at its blocks. */
struct computation {
    struct attn_attending *attending;
    struct heads heads;
};

static void consume_for_all(void *context, const struct attn_block *block) {
    const struct computation *of = context;
    struct attn_attending *a = of->attending;
    struct attn_block own = *block;
    own.head += of->heads.begin;
    for (size_t i = 0; i < a->collecting_count; i++)
        if (attn_plan_needs_blocks(a->collecting[i].collect))
            attn_collector_consume(&a->collecting[i].collector, &own);
}

static attn_status compute(struct attn_attending *a, struct attn_error *error) {
    struct computation computation = {a, find_heads(a)};
    const struct heads heads = computation.heads;
    const size_t group = a->sizes->heads / a->sizes->kv_heads;
    const struct heads kv_heads = {heads.begin / group, (heads.end - 1) / group + 1};
    const struct attn_sdpa_options options = options_of(a, heads);
    struct attn_view query = a->query, key = a->key, value = a->value;
    keep_heads(&query, 1, heads);
    keep_heads(&key, 1, kv_heads);
    keep_heads(&value, 1, kv_heads);
    struct attn_sdpa_result wanted = {.output = a->output,
                                      .weights = per_head_view(a),
                                      .logsumexp =
                                          per_row_view(a, ATTN_INTERNAL_LOGSUMEXP, a->buffers[ATTN_BUFFER_LOGSUMEXP]),
                                      .max_score = per_row_view(a, ATTN_INTERNAL_MAX_SCORE, NULL)};
    for (size_t i = 0; i < a->collecting_count; i++)
        if (attn_plan_needs_blocks(a->collecting[i].collect))
            wanted.sinks[a->collecting[i].collect->stage] = (struct attn_block_sink){consume_for_all, &computation};
    return attn_sdpa(&query, &key, &value, &options, &wanted, a->execution, error);
}

/* Sets rows (axis 2) of (N, heads, rows, width), contiguous, to 0 where `exists` (N, rows) is. */
static void clear_padding(const struct attn_view *rows, const uint8_t *exists) {
    const size_t heads = rows->shape[1], length = rows->shape[2];
    const size_t bytes = rows->shape[3] * attn_dtype_bytes(rows->dtype);
    for (size_t i = 0; i < rows->shape[0] * heads * length && exists != NULL; i++)
        if (exists[i / (heads * length) * length + i % length] == 0)
            memset((char *)rows->data + i * bytes, 0, bytes);
}

static void copy_out(const struct attn_attending *a, attn_internal internal, const struct attn_view *from) {
    const struct attn_result_tensor *tensor = a->internals[internal];
    if (tensor == NULL || tensor->values.data == from->data)
        return;
    struct attn_view to = attn_view_contiguous(tensor->values.data, from->dtype, from->rank, from->shape);
    attn_view_convert(from, &to, NULL);
    if (a->clears_padding && internal == ATTN_INTERNAL_QUERY)
        clear_padding(&to, a->buffers[ATTN_BUFFER_QUERY_EXISTS]);
    if (a->clears_padding && (internal == ATTN_INTERNAL_KEY || internal == ATTN_INTERNAL_VALUE))
        clear_padding(&to, a->buffers[ATTN_BUFFER_KEY_EXISTS]);
}

attn_status attn_plan_attend(struct attn_attending *a, struct attn_error *error) {
    size_t begun = 0;
    attn_status status = fill_buffers(a);
    if (status != ATTN_OK)
        return attn_fail(error, status, "", "%s", attn_status_name(status));
    status = begin_all(a, &begun, error);
    if (status == ATTN_OK)
        status = compute(a, error);
    for (size_t i = 0; i < a->collecting_count && status == ATTN_OK; i++)
        status = attn_plan_end_collecting(&a->collecting[i], a->execution, error);
    for (size_t i = 0; i < begun; i++)
        attn_collector_reset(&a->collecting[i].collector);
    if (status != ATTN_OK)
        return status;
    copy_out(a, ATTN_INTERNAL_QUERY, &a->query);
    copy_out(a, ATTN_INTERNAL_KEY, &a->key);
    copy_out(a, ATTN_INTERNAL_VALUE, &a->value);
    copy_out(a, ATTN_INTERNAL_CONTEXT, &a->output);
    return ATTN_OK;
}
