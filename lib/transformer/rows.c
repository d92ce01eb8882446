#include "lib/transformer/rows.h"

#include <math.h>

static float float32_exp(float x) {
    return expf(x);
}
static double float64_exp(double x) {
    return exp(x);
}

#define REAL float
#define ROWS(name) float32_##name
#include "lib/transformer/rows_template.h"
#undef REAL
#undef ROWS
#define REAL double
#define ROWS(name) float64_##name
#include "lib/transformer/rows_template.h"

void attn_row_add(attn_dtype dtype, void *row, const void *other, size_t count) {
    if (dtype == ATTN_FLOAT64)
        float64_add(row, other, count);
    else
        float32_add(row, other, count);
}

void attn_row_multiply(attn_dtype dtype, void *row, const void *factors, size_t count) {
    if (dtype == ATTN_FLOAT64)
        float64_multiply(row, factors, count);
    else
        float32_multiply(row, factors, count);
}

void attn_row_scale(attn_dtype dtype, void *row, double factor, size_t count) {
    if (dtype == ATTN_FLOAT64)
        float64_scale(row, factor, count);
    else
        float32_scale(row, (float)factor, count);
}

void attn_row_add_scaled(attn_dtype dtype, void *row, double factor, const void *other, size_t count) {
    if (dtype == ATTN_FLOAT64)
        float64_add_scaled(row, factor, other, count);
    else
        float32_add_scaled(row, (float)factor, other, count);
}

void attn_row_rotate(attn_dtype dtype, void *head, const void *table, size_t width, bool is_paired) {
    if (dtype == ATTN_FLOAT64)
        float64_rotate(head, table, width, is_paired);
    else
        float32_rotate(head, table, width, is_paired);
}

void attn_row_clamped_glu(attn_dtype dtype, void *gate, const void *up, double alpha, double limit, size_t count) {
    if (dtype == ATTN_FLOAT64)
        float64_clamped_glu(gate, up, alpha, limit, count);
    else
        float32_clamped_glu(gate, up, (float)alpha, (float)limit, count);
}
