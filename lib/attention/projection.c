#include "lib/attention/projection.h"
#include "lib/kernels/kernels.h"
#include "lib/tensor/execution.h"

#include <stdatomic.h>
#include <string.h>

/*
 * Rows and columns of a tile. One lane takes all columns at a time, so that the input is packed once; several lanes
 * share the columns too, or a short input would keep one of them busy and the others idle.
 */
enum { TILE_ROWS = 512, SHARED_TILE_ROWS = 128, SHARED_TILE_COLUMNS = 256 };

struct projection {
    const struct attn_view *input, *weight, *bias, *output;
    const struct attn_execution *execution;
    const struct attn_row_kernels *kernels;
    size_t groups, group_rows; /* row groups whose rows lie one stride apart: one, or one a batch item */
    size_t tile_rows, tile_columns, row_tiles, column_tiles;
    atomic_bool is_cancelled;
};

static bool axes_join(const struct attn_view *view) {
    return view->shape[0] == 1 || view->stride[0] == (ptrdiff_t)view->shape[1] * view->stride[1];
}

static char *element(const struct attn_view *view, size_t n, size_t row, size_t column) {
    ptrdiff_t offset = (ptrdiff_t)n * view->stride[0] + (ptrdiff_t)row * view->stride[1] + (ptrdiff_t)column;
    return (char *)view->data + offset * (ptrdiff_t)attn_dtype_bytes(view->dtype);
}

static attn_status check(const struct attn_view *input, const struct attn_view *weight, const struct attn_view *bias,
                         const struct attn_view *output) {
    const attn_dtype dtype = input->dtype;
    if (dtype != ATTN_FLOAT32 && dtype != ATTN_FLOAT64)
        return ATTN_EDTYPE;
    if (weight->dtype != dtype || output->dtype != dtype || (bias->data != NULL && bias->dtype != dtype))
        return ATTN_EDTYPE;
    if (input->rank != 3 || weight->rank != 2 || output->rank != 3 || (bias->data != NULL && bias->rank != 1))
        return ATTN_ESHAPE;
    const size_t width = weight->shape[0];
    bool fits = input->shape[2] == weight->shape[1] && output->shape[2] == width &&
                output->shape[0] == input->shape[0] && output->shape[1] == input->shape[1] &&
                (bias->data == NULL || bias->shape[0] == width);
    return fits ? ATTN_OK : ATTN_ESHAPE;
}

static bool has_ended(struct projection *p) {
    return attn_has_ended(p->execution, &p->is_cancelled);
}

/* Puts the bias into every row of a tile, for the product to be added to. */
static void start_from_bias(const struct projection *p, struct attn_product *product, size_t column) {
    const size_t bytes = attn_dtype_bytes(p->input->dtype);
    const struct attn_view *bias = p->bias;
    char *row = product->out;
    for (size_t i = 0; i < product->rows; i++, row += product->out_stride * (ptrdiff_t)bytes) {
        const char *from = (const char *)bias->data + (ptrdiff_t)column * bias->stride[0] * (ptrdiff_t)bytes;
        if (i > 0) {
            memcpy(row, product->out, product->columns * bytes);
            continue;
        }
        for (size_t j = 0; j < product->columns; j++, from += bias->stride[0] * (ptrdiff_t)bytes)
            memcpy(row + j * bytes, from, bytes);
    }
    product->accumulate = true;
}

static void project_tile(void *argument, size_t task, size_t lane) {
    (void)lane;
    struct projection *p = argument;
    if (has_ended(p))
        return;
    const size_t column = task % p->column_tiles * p->tile_columns;
    const size_t row = task / p->column_tiles % p->row_tiles * p->tile_rows;
    const size_t group = task / p->column_tiles / p->row_tiles;
    const size_t rows_left = p->group_rows - row, columns_left = p->weight->shape[0] - column;
    struct attn_product product = {
        .rows = rows_left < p->tile_rows ? rows_left : p->tile_rows,
        .columns = columns_left < p->tile_columns ? columns_left : p->tile_columns,
        .depth = p->weight->shape[1],
        .factor = 1,
        .left = element(p->input, group, row, 0),
        .left_stride = p->input->stride[1],
        .right = (const char *)p->weight->data +
                 (ptrdiff_t)column * p->weight->stride[0] * (ptrdiff_t)attn_dtype_bytes(p->input->dtype),
        .right_stride = p->weight->stride[0],
        .out = element(p->output, group, row, column),
        .out_stride = p->output->stride[1],
    };
    if (p->bias->data != NULL)
        start_from_bias(p, &product, column);
    attn_product_transposed(p->kernels, p->input->dtype, &product);
}

static size_t tiles(size_t extent, size_t tile) {
    return (extent + tile - 1) / tile;
}

attn_status attn_project(const struct attn_view *input, const struct attn_view *weight, const struct attn_view *bias,
                         const struct attn_view *output, const struct attn_execution *execution) {
    static const struct attn_view none = {0};
    if (bias == NULL)
        bias = &none;
    attn_status status = check(input, weight, bias, output);
    if (status != ATTN_OK)
        return status;
    const struct attn_executor *executor = execution != NULL ? execution->executor : NULL;
    const bool is_shared = executor != NULL && executor->width > 1;
    struct projection p = {
        .input = input,
        .weight = weight,
        .bias = bias,
        .output = output,
        .execution = execution,
        .kernels = attn_kernels_for(attn_kernels_picked(), input->dtype),
        .groups = input->shape[0],
        .group_rows = input->shape[1],
        .tile_rows = is_shared ? SHARED_TILE_ROWS : TILE_ROWS,
        .tile_columns = is_shared ? SHARED_TILE_COLUMNS : weight->shape[0],
    };
    if (axes_join(input) && axes_join(output)) {
        p.group_rows *= p.groups;
        p.groups = 1;
    }
    p.row_tiles = tiles(p.group_rows, p.tile_rows);
    p.column_tiles = tiles(weight->shape[0], p.tile_columns);
    const size_t tasks = p.groups * p.row_tiles * p.column_tiles;
    if (is_shared && tasks > 1)
        executor->run(executor->self, tasks, project_tile, &p);
    else
        for (size_t task = 0; task < tasks; task++)
            project_tile(&p, task, 0);
    return atomic_load(&p.is_cancelled) ? ATTN_ECANCELLED : ATTN_OK;
}
