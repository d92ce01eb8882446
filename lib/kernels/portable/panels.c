/* The meaning of packed products; loops of fixed length, which compilers turn into what vectors there are. */
#include "lib/kernels/kernels.h"
#include "lib/tensor/half.h"

enum { ROWS = 4, COLUMNS = 16 };

/* One row of a panel, widened. */
static void load_row(attn_dtype dtype, const void *panel, size_t row, float *weights) {
    if (dtype == ATTN_FLOAT32) {
        const float *from = (const float *)panel + row * COLUMNS;
        for (size_t j = 0; j < COLUMNS; j++)
            weights[j] = from[j];
        return;
    }
    const uint16_t *from = (const uint16_t *)panel + row * COLUMNS;
    if (dtype == ATTN_FLOAT16) {
        for (size_t j = 0; j < COLUMNS; j++)
            weights[j] = attn_float_from_half(from[j]);
        return;
    }
    for (size_t j = 0; j < COLUMNS / 2; j++) {
        weights[j] = attn_float_from_bits((uint32_t)from[2 * j] << 16);
        weights[j + COLUMNS / 2] = attn_float_from_bits((uint32_t)from[2 * j + 1] << 16);
    }
}

static void panel_multiply(const struct attn_panel_part *part) {
    float sums[ROWS][COLUMNS] = {{0}}, weights[COLUMNS];
    for (size_t d = 0; d < part->depth; d++) {
        load_row(part->dtype, part->panel, d, weights);
        for (size_t i = 0; i < part->rows; i++) {
            const float x = part->left[(ptrdiff_t)i * part->left_stride + (ptrdiff_t)d];
            for (size_t j = 0; j < COLUMNS; j++)
                sums[i][j] += x * weights[j];
        }
    }
    for (size_t i = 0; i < part->rows; i++)
        for (size_t j = 0; j < COLUMNS; j++) {
            float *to = &part->sums[i * COLUMNS + j];
            *to = part->accumulate ? *to + sums[i][j] : sums[i][j];
        }
}

static void panel_finish(const struct attn_linear *linear, size_t row, size_t rows, size_t column, size_t columns,
                         const float *sums) {
    for (size_t i = 0; i < rows; i++) {
        const ptrdiff_t at = (ptrdiff_t)(row + i);
        float values[COLUMNS];
        for (size_t j = 0; j < columns; j++)
            values[j] = sums[i * COLUMNS + j] + (linear->bias != NULL ? linear->bias[column + j] : 0);
        attn_rows_portable_float32.activate(linear->activation, values, columns);
        for (size_t j = 0; j < columns; j++) {
            const ptrdiff_t to = (ptrdiff_t)(column + j);
            if (linear->gate != NULL)
                values[j] *= linear->gate[at * linear->gate_stride + to];
            if (linear->residual != NULL)
                values[j] += linear->residual[at * linear->residual_stride + to];
            linear->out[at * linear->out_stride + to] = values[j];
        }
    }
}

const struct attn_panel_kernels attn_panels_portable = {
    .rows = ROWS,
    .columns = COLUMNS,
    .multiply = panel_multiply,
    .finish = panel_finish,
};
