/*
 * The meaning of every kernel, for one type. The including file defines
 *     REAL         float or double
 *     REAL_LOWEST  its lowest finite value
 *     REAL_EXP, REAL_TANH, REAL_FMA  the C library's functions
 *     ROWS         the name of the table
 * Plain loops on purpose: the vectorised tables are tested against these.
 */
#include "lib/kernels/kernels.h"

#include <float.h>
#include <math.h>

static double row_maximum(const void *row, size_t count) {
    const REAL *x = row;
    REAL maximum = (REAL)-INFINITY;
    for (size_t i = 0; i < count; i++)
        maximum = x[i] > maximum ? x[i] : maximum;
    return (double)maximum;
}

static double row_exponentials(void *row, size_t count, double shift) {
    REAL *x = row;
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        x[i] = REAL_EXP(x[i] - (REAL)shift);
        sum += (double)x[i];
    }
    return sum;
}

static void row_scale(void *row, size_t count, double factor) {
    REAL *x = row;
    for (size_t i = 0; i < count; i++)
        x[i] *= (REAL)factor;
}

static bool row_softmax(void *row, size_t count, double *maximum, double *sum) {
    *maximum = row_maximum(row, count);
    if (!isfinite(*maximum))
        return false;
    *sum = row_exponentials(row, count, *maximum);
    if (!isfinite(*sum))
        return false;
    row_scale(row, count, 1 / *sum);
    return true;
}

static void row_fill(void *row, size_t count, double value) {
    REAL *x = row;
    for (size_t i = 0; i < count; i++)
        x[i] = (REAL)value;
}

static void row_softcap(void *row, size_t count, double cap) {
    REAL *x = row;
    for (size_t i = 0; i < count; i++)
        x[i] = (REAL)cap * REAL_TANH(x[i] / (REAL)cap);
}

static void row_add_distance(void *row, size_t count, double slope, double first) {
    REAL *x = row;
    for (size_t i = 0; i < count; i++) {
        REAL distance = (REAL)first - (REAL)i;
        x[i] = REAL_FMA((REAL)-slope, distance < 0 ? -distance : distance, x[i]);
    }
}

/* The sum of a score and a mask's entry, by the rules of add_mask_float32. */
static inline REAL masked_sum(REAL score, double mask) {
    if (score == (REAL)-INFINITY || mask == -INFINITY)
        return (REAL)-INFINITY;
    REAL bias = (REAL)mask;
    if (bias < REAL_LOWEST)
        bias = REAL_LOWEST;
    REAL sum = score + bias;
    return sum < REAL_LOWEST ? REAL_LOWEST : sum;
}

static void row_add_mask_float32(void *row, const float *mask, size_t count) {
    REAL *x = row;
    for (size_t i = 0; i < count; i++)
        x[i] = masked_sum(x[i], (double)mask[i]);
}

static void row_add_mask_float64(void *row, const double *mask, size_t count) {
    REAL *x = row;
    for (size_t i = 0; i < count; i++)
        x[i] = masked_sum(x[i], mask[i]);
}

static void row_keep_where(void *row, const uint8_t *mask, size_t count, bool keep) {
    REAL *x = row;
    for (size_t i = 0; i < count; i++)
        x[i] = (mask[i] != 0) == keep ? x[i] : (REAL)-INFINITY;
}

static bool row_has_nan(const void *row, size_t count) {
    const REAL *x = row;
    for (size_t i = 0; i < count; i++)
        if (isnan(x[i]))
            return true;
    return false;
}

/* x - x is 0 for a finite x and NaN for any other: one accumulation without a branch. */
static bool row_is_finite(const void *row, size_t count) {
    const REAL *x = row;
    REAL sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += x[i] - x[i];
    return sum == 0;
}

static void row_combine_nonzero(const void *weights, size_t count, const void *value, ptrdiff_t value_stride, void *out,
                                size_t width) {
    const REAL *w = weights, *v = value;
    REAL *to = out;
    row_fill(out, width, 0);
    for (size_t j = 0; j < count; j++, v += value_stride) {
        if (w[j] == 0)
            continue;
        for (size_t d = 0; d < width; d++)
            to[d] += w[j] * v[d];
    }
}

static void put(const struct attn_product *p, REAL *to, REAL sum) {
    sum *= (REAL)p->factor;
    *to = p->accumulate ? *to + sum : sum;
}

static void product_transposed(const struct attn_product *p) {
    for (size_t i = 0; i < p->rows; i++) {
        const REAL *left = (const REAL *)p->left + (ptrdiff_t)i * p->left_stride;
        REAL *out = (REAL *)p->out + (ptrdiff_t)i * p->out_stride;
        for (size_t j = 0; j < p->columns; j++) {
            const REAL *right = (const REAL *)p->right + (ptrdiff_t)j * p->right_stride;
            REAL sum = 0;
            for (size_t d = 0; d < p->depth; d++)
                sum += left[d] * right[d];
            put(p, &out[j], sum);
        }
    }
}

/* Columns of a row that are summed at a time, in an array that stays in registers or the first-level cache. */
enum { COLUMNS = 64 };

static void product_plain(const struct attn_product *p) {
    for (size_t i = 0; i < p->rows; i++) {
        const REAL *left = (const REAL *)p->left + (ptrdiff_t)i * p->left_stride;
        REAL *out = (REAL *)p->out + (ptrdiff_t)i * p->out_stride;
        for (size_t begin = 0; begin < p->columns; begin += COLUMNS) {
            const size_t count = p->columns - begin < COLUMNS ? p->columns - begin : COLUMNS;
            REAL sums[COLUMNS] = {0};
            for (size_t d = 0; d < p->depth; d++) {
                const REAL *right = (const REAL *)p->right + (ptrdiff_t)d * p->right_stride + begin;
                for (size_t j = 0; j < count; j++)
                    sums[j] += left[d] * right[j];
            }
            for (size_t j = 0; j < count; j++)
                put(p, &out[begin + j], sums[j]);
        }
    }
}

const struct attn_row_kernels ROWS = {
    .maximum = row_maximum,
    .exponentials = row_exponentials,
    .softmax = row_softmax,
    .scale = row_scale,
    .fill = row_fill,
    .softcap = row_softcap,
    .add_distance = row_add_distance,
    .add_mask_float32 = row_add_mask_float32,
    .add_mask_float64 = row_add_mask_float64,
    .keep_where = row_keep_where,
    .has_nan = row_has_nan,
    .is_finite = row_is_finite,
    .combine_nonzero = row_combine_nonzero,
    .product_transposed = product_transposed,
    .product_plain = product_plain,
};
