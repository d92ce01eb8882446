#include "lib/kernels/packed.h"
#include "lib/kernels/kernels.h"
#include "lib/tensor/shape.h"

#include <stdatomic.h>
#include <stdlib.h>

/* Rows and columns of a tile, a unit of work of one lane. */
enum { TILE_ROWS = 128, TILE_COLUMNS = 256 };

struct attn_packed {
    size_t out, in, bytes;
    float *weight; /* (out, in) */
};

attn_status attn_packed_create(struct attn_packed **packed, const struct attn_view *weight) {
    if (weight->dtype != ATTN_FLOAT32 && weight->dtype != ATTN_FLOAT16 && weight->dtype != ATTN_BFLOAT16)
        return ATTN_EDTYPE;
    size_t elements, bytes;
    if (!attn_size_multiply(weight->shape[0], weight->shape[1], &elements) ||
        !attn_size_multiply(elements, sizeof(float), &bytes))
        return ATTN_ENOMEM;
    struct attn_packed *made = calloc(1, sizeof *made);
    if (made == NULL)
        return ATTN_ENOMEM;
    made->out = weight->shape[0];
    made->in = weight->shape[1];
    made->bytes = bytes;
    made->weight = malloc(bytes > 0 ? bytes : 1);
    if (made->weight == NULL) {
        free(made);
        return ATTN_ENOMEM;
    }
    const struct attn_view to = {.data = made->weight,
                                 .dtype = ATTN_FLOAT32,
                                 .rank = 2,
                                 .shape = {made->out, made->in},
                                 .stride = {(ptrdiff_t)made->in, 1}};
    attn_view_convert(weight, &to, NULL);
    *packed = made;
    return ATTN_OK;
}

void attn_packed_destroy(struct attn_packed *packed) {
    if (packed == NULL)
        return;
    free(packed->weight);
    free(packed);
}

size_t attn_packed_bytes(const struct attn_packed *packed) {
    return packed->bytes;
}

struct application {
    const struct attn_packed *packed;
    const struct attn_linear *linear;
    const struct attn_execution *execution;
    size_t column_tiles;
    atomic_bool is_cancelled;
};

static bool has_ended(struct application *a) {
    if (atomic_load_explicit(&a->is_cancelled, memory_order_relaxed))
        return true;
    const struct attn_execution *execution = a->execution;
    if (execution == NULL || execution->is_cancelled == NULL || !execution->is_cancelled(execution->cancel_context))
        return false;
    atomic_store_explicit(&a->is_cancelled, true, memory_order_relaxed);
    return true;
}

/* What follows the product, for columns begin .. begin+count-1 of one row. */
static void finish_row(const struct attn_linear *linear, size_t row, size_t begin, size_t count, float *values) {
    const ptrdiff_t at = (ptrdiff_t)row;
    if (linear->bias != NULL)
        for (size_t j = 0; j < count; j++)
            values[j] += linear->bias[begin + j];
    attn_activate(linear->activation, ATTN_FLOAT32, values, count);
    if (linear->gate != NULL)
        for (size_t j = 0; j < count; j++)
            values[j] *= linear->gate[at * linear->gate_stride + (ptrdiff_t)(begin + j)];
    if (linear->residual != NULL)
        for (size_t j = 0; j < count; j++)
            values[j] += linear->residual[at * linear->residual_stride + (ptrdiff_t)(begin + j)];
    for (size_t j = 0; j < count; j++)
        linear->out[at * linear->out_stride + (ptrdiff_t)(begin + j)] = values[j];
}

static void apply_tile(void *argument, size_t task, size_t lane) {
    (void)lane;
    struct application *a = argument;
    const struct attn_linear *linear = a->linear;
    const size_t column = task % a->column_tiles * TILE_COLUMNS, columns_left = a->packed->out - column;
    const size_t first = task / a->column_tiles * TILE_ROWS, rows_left = linear->rows - first;
    const size_t columns = columns_left < TILE_COLUMNS ? columns_left : TILE_COLUMNS;
    const size_t rows = rows_left < TILE_ROWS ? rows_left : TILE_ROWS;
    enum { AT_ONCE = 16 };
    float sums[AT_ONCE * TILE_COLUMNS];
    for (size_t row = 0; row < rows && !has_ended(a); row += AT_ONCE) {
        const struct attn_product product = {
            .rows = rows - row < AT_ONCE ? rows - row : AT_ONCE,
            .columns = columns,
            .depth = a->packed->in,
            .factor = 1,
            .left = linear->left + (ptrdiff_t)(first + row) * linear->left_stride,
            .left_stride = linear->left_stride,
            .right = a->packed->weight + column * a->packed->in,
            .right_stride = (ptrdiff_t)a->packed->in,
            .out = sums,
            .out_stride = TILE_COLUMNS,
        };
        attn_product_transposed(attn_kernels_picked()->float32, ATTN_FLOAT32, &product);
        for (size_t i = 0; i < product.rows; i++)
            finish_row(linear, first + row + i, column, columns, sums + i * TILE_COLUMNS);
    }
}

attn_status attn_packed_apply(const struct attn_packed *packed, const struct attn_linear *linear,
                              const struct attn_execution *execution) {
    const size_t row_tiles = (linear->rows + TILE_ROWS - 1) / TILE_ROWS;
    struct application a = {.packed = packed,
                            .linear = linear,
                            .execution = execution,
                            .column_tiles = (packed->out + TILE_COLUMNS - 1) / TILE_COLUMNS};
    const size_t tasks = row_tiles * a.column_tiles;
    const struct attn_executor *executor = execution != NULL ? execution->executor : NULL;
    if (executor != NULL && executor->width > 1 && tasks > 1)
        executor->run(executor->self, tasks, apply_tile, &a);
    else
        for (size_t task = 0; task < tasks; task++)
            apply_tile(&a, task, 0);
    return atomic_load(&a.is_cancelled) ? ATTN_ECANCELLED : ATTN_OK;
}

void attn_activate(attn_activation activation, attn_dtype dtype, void *row, size_t count) {
    const struct attn_row_kernels *kernels =
        dtype == ATTN_FLOAT64 ? &attn_rows_portable_float64 : &attn_rows_portable_float32;
    kernels->activate(activation, row, count);
}

void attn_normalise(const struct attn_norm *norm, attn_dtype dtype, size_t rows, size_t width, const void *in,
                    ptrdiff_t in_stride, void *out, ptrdiff_t out_stride) {
    const struct attn_row_kernels *kernels =
        dtype == ATTN_FLOAT64 ? &attn_rows_portable_float64 : &attn_rows_portable_float32;
    const ptrdiff_t bytes = (ptrdiff_t)attn_dtype_bytes(dtype);
    for (size_t i = 0; i < rows; i++)
        kernels->normalise(norm, width, (const char *)in + (ptrdiff_t)i * in_stride * bytes,
                           (char *)out + (ptrdiff_t)i * out_stride * bytes);
}
