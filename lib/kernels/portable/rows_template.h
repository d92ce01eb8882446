/*
 * The meaning of every kernel, for one type. The including file defines
 *     REAL         float or double
 *     REAL_LOWEST  its lowest finite value
 *     REAL_EXP, REAL_TANH, REAL_ERFC, REAL_FMA  the C library's functions
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

/* 1 / (1 + exp(-x)), without overflow. */
static REAL sigmoid(REAL x) {
    if (x >= 0)
        return 1 / (1 + REAL_EXP(-x));
    const REAL e = REAL_EXP(x);
    return e / (1 + e);
}

static REAL activated(attn_activation activation, REAL x) {
    switch (activation) {
    case ATTN_ACTIVATION_RELU:
        return x < 0 ? 0 : x;
    case ATTN_ACTIVATION_GELU: /* Phi(x) by erfc, which keeps its digits where Phi is small */
        return x * ((REAL)0.5 * REAL_ERFC(x * (REAL)-0.70710678118654752440));
    case ATTN_ACTIVATION_GELU_TANH: /* (1 + tanh(u)) / 2 is sigmoid(2 u); 2 sqrt(2 / pi) */
        return x * sigmoid((REAL)1.5957691216057307117 * REAL_FMA((REAL)0.044715 * x * x, x, x));
    case ATTN_ACTIVATION_GELU_QUICK:
        return x * sigmoid((REAL)1.702 * x);
    case ATTN_ACTIVATION_SILU:
        return x * sigmoid(x);
    case ATTN_ACTIVATION_TANH:
        return REAL_TANH(x);
    case ATTN_ACTIVATION_NONE:
    case ATTN_ACTIVATION_COUNT:
        break;
    }
    return x;
}

static void row_activate(attn_activation activation, void *row, size_t count) {
    REAL *x = row;
    if (activation == ATTN_ACTIVATION_NONE)
        return;
    for (size_t i = 0; i < count; i++)
        x[i] = activated(activation, x[i]);
}

/* Two passes over the row: the mean first, then the squares of what is left of it. */
static void row_normalise(const struct attn_norm *norm, size_t width, const void *in, void *out) {
    const REAL *x = in, *weight = norm->weight, *bias = norm->bias;
    REAL *to = out;
    double sum = 0, squares = 0;
    for (size_t i = 0; i < width; i++)
        sum += (double)x[i];
    const double mean = norm->centres ? sum / (double)width : 0;
    for (size_t i = 0; i < width; i++)
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    const REAL factor = (REAL)(1 / sqrt(squares / (double)width + norm->epsilon));
    for (size_t i = 0; i < width; i++) {
        const REAL scaled = (REAL)((double)x[i] - mean) * factor;
        const REAL by = weight != NULL ? weight[i] + (REAL)norm->weight_plus : 1;
        to[i] = bias != NULL ? scaled * by + bias[i] : scaled * by;
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
    .activate = row_activate,
    .normalise = row_normalise,
};
