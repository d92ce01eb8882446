#include "lib/transformer/linear.h"
#include "lib/kernels/kernels.h"
#include "lib/tensor/execution.h"
#include "lib/tensor/shape.h"

#include <stdlib.h>
#include <string.h>

/* Weight rows that a lane widens to float64 at a time: enough for the product to pay for it. */
enum { TILE_COLUMNS = 16 };

struct over_rows {
    size_t rows, block;
    attn_rows_work work;
    void *context;
    const struct attn_execution *execution;
    atomic_bool is_cancelled;
};

static void rows_task(void *argument, size_t task, size_t lane) {
    struct over_rows *over = argument;
    const size_t begin = task * over->block, left = over->rows - begin;
    if (attn_has_ended(over->execution, &over->is_cancelled))
        return;
    over->work(over->context, begin, begin + (left < over->block ? left : over->block), lane);
}

attn_status attn_over_rows(size_t rows, size_t block, attn_rows_work work, void *context,
                           const struct attn_execution *execution) {
    struct over_rows over = {.rows = rows, .block = block, .work = work, .context = context, .execution = execution};
    const size_t tasks = rows / block + (rows % block != 0);
    attn_run_tasks(execution, tasks, rows_task, &over);
    return atomic_load(&over.is_cancelled) ? ATTN_ECANCELLED : ATTN_OK;
}

size_t attn_weight_lane_bytes(const struct attn_view *weight, attn_dtype dtype) {
    return dtype == ATTN_FLOAT64 ? TILE_COLUMNS * weight->shape[1] * sizeof(double) : 0;
}

/* float64 weights, which nothing packs as they are, are rounded for float32 runs. */
static attn_status pack(struct attn_packed **packed, const struct attn_view *weight) {
    if (weight->dtype != ATTN_FLOAT64)
        return attn_packed_create(packed, weight);
    float *rounded = reallocarray(NULL, attn_view_elements(weight) + 1, sizeof *rounded);
    if (rounded == NULL)
        return ATTN_ENOMEM;
    const struct attn_view view = attn_view_contiguous(rounded, ATTN_FLOAT32, 2, weight->shape);
    attn_status status = attn_view_convert(weight, &view, NULL);
    if (status == ATTN_OK)
        status = attn_packed_create(packed, &view);
    free(rounded);
    return status;
}

static attn_status packed_of(struct attn_weight *weight, struct attn_packed **packed) {
    attn_status status = ATTN_OK;
    *packed = atomic_load_explicit(&weight->packed, memory_order_acquire);
    if (*packed != NULL)
        return ATTN_OK;
    pthread_mutex_lock(&weight->packing);
    *packed = atomic_load_explicit(&weight->packed, memory_order_relaxed);
    if (*packed == NULL && (status = pack(packed, &weight->view)) == ATTN_OK)
        atomic_store_explicit(&weight->packed, *packed, memory_order_release);
    pthread_mutex_unlock(&weight->packing);
    return status;
}

static attn_status apply_packed(const struct attn_product_call *call, const struct attn_execution *execution) {
    struct attn_packed *packed = NULL;
    attn_status status = packed_of(call->weight, &packed);
    if (status != ATTN_OK)
        return status;
    const struct attn_linear linear = {
        .rows = call->rows,
        .left = call->left,
        .left_stride = call->left_stride,
        .bias = call->weight->bias.float32,
        .activation = call->activation,
        .gate = call->gate,
        .gate_stride = call->gate_stride,
        .residual = call->residual,
        .residual_stride = call->residual_stride,
        .out = call->out,
        .out_stride = call->out_stride,
    };
    return attn_packed_apply(packed, &linear, execution);
}

struct wide_product {
    const struct attn_product_call *call;
    const struct attn_lanes *lanes;
};

/* What follows a product, for one row's columns from `column` on. */
static void finish_row(const struct attn_product_call *call, size_t row, size_t column, size_t count, double *sums) {
    const double *bias = call->weight->bias.float64, *gate = call->gate, *residual = call->residual;
    double *out = (double *)call->out + (ptrdiff_t)row * call->out_stride + column;
    for (size_t j = 0; bias != NULL && j < count; j++)
        sums[j] += bias[column + j];
    if (call->activation != ATTN_ACTIVATION_NONE)
        attn_activate(call->activation, ATTN_FLOAT64, sums, count);
    for (size_t j = 0; gate != NULL && j < count; j++)
        sums[j] *= gate[(ptrdiff_t)row * call->gate_stride + (ptrdiff_t)(column + j)];
    for (size_t j = 0; residual != NULL && j < count; j++)
        sums[j] += residual[(ptrdiff_t)row * call->residual_stride + (ptrdiff_t)(column + j)];
    memcpy(out, sums, count * sizeof *sums);
}

/* Columns begin .. end-1 of a float64 product, row by row. */
static void wide_columns(void *context, size_t begin, size_t end, size_t lane) {
    const struct wide_product *wide = context;
    const struct attn_product_call *call = wide->call;
    const size_t depth = call->weight->view.shape[1], columns = end - begin, shape[2] = {columns, depth};
    double *weights = (double *)(void *)(wide->lanes->bytes + lane * wide->lanes->bytes_per_lane);
    const struct attn_view from = attn_view_part(&call->weight->view, 0, begin, columns);
    const struct attn_view to = attn_view_contiguous(weights, ATTN_FLOAT64, 2, shape);
    attn_view_convert(&from, &to, NULL);
    for (size_t row = 0; row < call->rows; row++) {
        double sums[TILE_COLUMNS];
        const double *left = (const double *)call->left + (ptrdiff_t)row * call->left_stride;
        const struct attn_product product = {.rows = 1,
                                             .columns = columns,
                                             .depth = depth,
                                             .factor = 1,
                                             .left = left,
                                             .left_stride = (ptrdiff_t)depth,
                                             .right = weights,
                                             .right_stride = (ptrdiff_t)depth,
                                             .out = sums,
                                             .out_stride = (ptrdiff_t)columns};
        attn_product_transposed(attn_kernels_for(attn_kernels_picked(), ATTN_FLOAT64), ATTN_FLOAT64, &product);
        finish_row(call, row, begin, columns, sums);
    }
}

attn_status attn_weight_apply(const struct attn_product_call *call, attn_dtype dtype, const struct attn_lanes *lanes,
                              const struct attn_execution *execution) {
    if (attn_is_cancelled(execution))
        return ATTN_ECANCELLED;
    if (dtype != ATTN_FLOAT64)
        return apply_packed(call, execution);
    struct wide_product wide = {call, lanes};
    return attn_over_rows(call->weight->view.shape[0], TILE_COLUMNS, wide_columns, &wide, execution);
}

size_t attn_weight_packed_bytes(struct attn_weight *weight) {
    const struct attn_packed *packed = atomic_load_explicit(&weight->packed, memory_order_acquire);
    return packed != NULL ? attn_packed_bytes(packed) : 0;
}

void attn_weight_release(struct attn_weight *weight) {
    attn_packed_destroy(atomic_load(&weight->packed));
    pthread_mutex_destroy(&weight->packing);
}

struct norm_work {
    struct attn_norm norm;
    attn_dtype dtype;
    size_t width;
    const char *in;
    char *out;
    ptrdiff_t in_stride, out_stride;
};

static void norm_rows(void *context, size_t begin, size_t end, size_t lane) {
    (void)lane;
    const struct norm_work *work = context;
    const ptrdiff_t bytes = (ptrdiff_t)attn_dtype_bytes(work->dtype);
    attn_normalise(&work->norm, work->dtype, end - begin, work->width,
                   work->in + (ptrdiff_t)begin * work->in_stride * bytes, work->in_stride,
                   work->out + (ptrdiff_t)begin * work->out_stride * bytes, work->out_stride);
}

attn_status attn_norm_apply(const struct attn_norm_weight *norm, attn_dtype dtype, size_t rows, const void *in,
                            ptrdiff_t in_stride, void *out, ptrdiff_t out_stride,
                            const struct attn_execution *execution) {
    struct norm_work work = {
        .norm = attn_norm_of(norm, dtype),
        .dtype = dtype,
        .width = norm->width,
        .in = in,
        .out = out,
        .in_stride = in_stride,
        .out_stride = out_stride,
    };
    return attn_over_rows(rows, 64, norm_rows, &work, execution);
}
