/*
 * Every kernel over vectors, for one type and instruction set. The including file defines
 *     REAL, REAL_LOWEST, ROWS   as in portable/rows_template.h
 *     VECTOR, WIDTH             the vector type and its elements
 *     LN2_HIGH, LN2_LOW         ln 2 in two parts, the first exact when multiplied with an exponent
 *     EXPM1_TERMS               coefficients of (exp(r) - 1) / r on |r| <= ln(2) / 2, highest first
 *     EXP_FLOOR                 below it exp is 0: the logarithm of the smallest normal number, rounded up
 *     TANH_CEILING              above it 2 * |x| changes tanh no more
 *     NORMAL_TAIL_TERMS         coefficients of P (see v_gelu), highest first; and NORMAL_TAIL_CEILING, above which the
 *                               tail is 0; or instead ROWS_BY_LIBM, a table that has GELU
 * and the v_ functions used below, v_max(a, b) and v_min(a, b) giving b where either is NaN.
 *
 * Nothing is assumed of alignment or of counts: the last elements go through masked loads and stores. exp is within 2
 * units in the last place, and 0 below the smallest normal number; tanh is within 4.
 */

static inline VECTOR v_expm1_reduced(VECTOR r) {
    static const REAL terms[] = {EXPM1_TERMS};
    VECTOR q = v_set(terms[0]);
    for (size_t i = 1; i < sizeof terms / sizeof *terms; i++)
        q = v_fma(q, r, v_set(terms[i]));
    return r * q;
}

/* x = n * ln 2 + r. */
static inline VECTOR v_reduce(VECTOR x, VECTOR *n) {
    *n = v_round(x * v_set((REAL)1.4426950408889634074));
    return v_fma(*n, v_set((REAL)-LN2_LOW), v_fma(*n, v_set((REAL)-LN2_HIGH), x));
}

/* For x <= 0. Results below the smallest normal number are 0: a gradual underflow costs the processor 150 cycles. */
static inline VECTOR v_exp(VECTOR x) {
    VECTOR n, r = v_reduce(v_max(v_set((REAL)EXP_FLOOR), x), &n);
    return v_zero_below(v_scale(v_expm1_reduced(r) + v_set(1), n), x, v_set((REAL)EXP_FLOOR));
}

/* tanh(y) = (exp(2y) - 1) / (exp(2y) + 1), by exp(2y) - 1 = 2^n (exp(r) - 1) + (2^n - 1), exact near 0. */
static inline VECTOR v_tanh(VECTOR x) {
    VECTOR n, r = v_reduce(v_min(v_set((REAL)TANH_CEILING), v_abs(x) * v_set(2)), &n);
    VECTOR power = v_scale(v_set(1), n);
    VECTOR less_one = v_fma(power, v_expm1_reduced(r), power - v_set(1));
    return v_copy_sign(less_one / (less_one + v_set(2)), x);
}

static double row_maximum(const void *row, size_t count) {
    const REAL *x = row;
    const REAL lowest = (REAL)-INFINITY;
    VECTOR a = v_set(lowest), b = a, c = a, d = a;
    size_t i = 0;
    for (; i + 4 * WIDTH <= count; i += 4 * WIDTH) {
        a = v_max(v_load(x + i), a);
        b = v_max(v_load(x + i + WIDTH), b);
        c = v_max(v_load(x + i + 2 * WIDTH), c);
        d = v_max(v_load(x + i + 3 * WIDTH), d);
    }
    for (; i + WIDTH <= count; i += WIDTH)
        a = v_max(v_load(x + i), a);
    if (i < count)
        b = v_max(v_load_part(x + i, count - i, lowest), b);
    return (double)v_largest(v_max(v_max(a, b), v_max(c, d)));
}

static double row_exponentials(void *row, size_t count, double shift) {
    REAL *x = row;
    const VECTOR by = v_set((REAL)shift);
    VECTOR sum = v_set(0), other_sum = v_set(0);
    size_t i = 0;
    for (; i + 2 * WIDTH <= count; i += 2 * WIDTH) {
        VECTOR a = v_exp(v_load(x + i) - by), b = v_exp(v_load(x + i + WIDTH) - by);
        v_store(x + i, a);
        v_store(x + i + WIDTH, b);
        sum += a;
        other_sum += b;
    }
    for (; i < count; i += WIDTH) {
        const size_t left = count - i < WIDTH ? count - i : WIDTH;
        VECTOR a = v_exp(v_load_part(x + i, left, (REAL)shift) - by);
        v_store_part(x + i, left, a);
        sum += v_first(a, left);
    }
    return (double)v_sum(sum + other_sum);
}

/* x = expression of v, for all elements of a row; `left` is how many of v's elements are the row's. */
#define FOR_ROW(row, count, expression)                                                                                \
    do {                                                                                                               \
        REAL *x = (row);                                                                                               \
        size_t i = 0, left = WIDTH;                                                                                    \
        for (; i + WIDTH <= (count); i += WIDTH) {                                                                     \
            VECTOR v = v_load(x + i);                                                                                  \
            v_store(x + i, expression);                                                                                \
        }                                                                                                              \
        if (i < (count)) {                                                                                             \
            left = (count)-i;                                                                                          \
            VECTOR v = v_load_part(x + i, left, 0);                                                                    \
            v_store_part(x + i, left, expression);                                                                     \
        }                                                                                                              \
        (void)left;                                                                                                    \
    } while (0)

static void row_scale(void *row, size_t count, double factor) {
    const VECTOR by = v_set((REAL)factor);
    FOR_ROW(row, count, v * by);
}

static bool row_softmax_long(void *row, size_t count, double *maximum, double *sum) {
    *maximum = row_maximum(row, count);
    if (!isfinite(*maximum))
        return false;
    *sum = row_exponentials(row, count, *maximum);
    if (!isfinite(*sum))
        return false;
    row_scale(row, count, 1 / *sum);
    return true;
}

/*
 * Up to 4 vectors stay in registers from the first load to the last store: a short row's passes would wait for each
 * other's masked stores. `vectors` is a constant where this is called; `last` is the elements of the last vector.
 */
static inline __attribute__((always_inline)) bool softmax_short(REAL *x, size_t vectors, size_t last, double *maximum,
                                                                double *sum) {
    VECTOR v[4], largest = v_set((REAL)-INFINITY), total = v_set(0);
    for (size_t i = 0; i + 1 < vectors; i++)
        v[i] = v_load(x + i * WIDTH);
    v[vectors - 1] = v_load_part(x + (vectors - 1) * WIDTH, last, (REAL)-INFINITY);
    for (size_t i = 0; i < vectors; i++)
        largest = v_max(v[i], largest);
    const REAL top = v_largest(largest);
    for (size_t i = 0; i < vectors; i++) {
        v[i] = v_exp(v[i] - v_set(top));
        total += v[i];
    }
    const REAL all = v_sum(total);
    *maximum = (double)top;
    *sum = (double)all;
    if (!isfinite(top) || !isfinite(all))
        return false;
    const VECTOR share = v_set(1 / all);
    for (size_t i = 0; i + 1 < vectors; i++)
        v_store(x + i * WIDTH, v[i] * share);
    v_store_part(x + (vectors - 1) * WIDTH, last, v[vectors - 1] * share);
    return true;
}

static bool row_softmax(void *row, size_t count, double *maximum, double *sum) {
    if (count == 0)
        return false;
    if (count <= WIDTH)
        return softmax_short(row, 1, count, maximum, sum);
    if (count <= 2 * WIDTH)
        return softmax_short(row, 2, count - WIDTH, maximum, sum);
    if (count <= 3 * WIDTH)
        return softmax_short(row, 3, count - 2 * WIDTH, maximum, sum);
    if (count <= 4 * WIDTH)
        return softmax_short(row, 4, count - 3 * WIDTH, maximum, sum);
    return row_softmax_long(row, count, maximum, sum);
}

static void row_fill(void *row, size_t count, double value) {
    REAL *x = row;
    const VECTOR v = v_set((REAL)value);
    size_t i = 0;
    for (; i + WIDTH <= count; i += WIDTH)
        v_store(x + i, v);
    if (i < count)
        v_store_part(x + i, count - i, v);
}

static void row_softcap(void *row, size_t count, double cap) {
    const VECTOR by = v_set((REAL)cap);
    FOR_ROW(row, count, by * v_tanh(v / by));
}

static void row_add_distance(void *row, size_t count, double slope, double first) {
    const VECTOR by = v_set((REAL)-slope), from = v_set((REAL)first) - v_index();
    FOR_ROW(row, count, v_fma(by, v_abs(from - v_set((REAL)i)), v));
}

static void row_add_mask_float32(void *row, const float *mask, size_t count) {
    FOR_ROW(row, count, v_masked_sum(v, v_load_float32(mask + i, left)));
}

static void row_add_mask_float64(void *row, const double *mask, size_t count) {
    FOR_ROW(row, count, v_masked_sum(v, v_load_float64(mask + i, left)));
}

static void row_keep_where(void *row, const uint8_t *mask, size_t count, bool keep) {
    FOR_ROW(row, count, v_keep_where(v, mask + i, left, keep));
}

static bool row_has_nan(const void *row, size_t count) {
    const REAL *x = row;
    for (size_t i = 0; i < count; i++)
        if (isnan(x[i]))
            return true;
    return false;
}

/* x - x is 0 for a finite x and NaN for any other. */
static bool row_is_finite(const void *row, size_t count) {
    const REAL *x = row;
    VECTOR sum = v_set(0);
    size_t i = 0;
    for (; i + WIDTH <= count; i += WIDTH)
        sum += v_load(x + i) - v_load(x + i);
    if (i < count) {
        VECTOR last = v_load_part(x + i, count - i, 0);
        sum += last - last;
    }
    return v_sum(sum) == 0;
}

static void row_combine_nonzero(const void *weights, size_t count, const void *value, ptrdiff_t value_stride, void *out,
                                size_t width) {
    const REAL *w = weights, *from = value;
    row_fill(out, width, 0);
    for (size_t j = 0; j < count; j++, from += value_stride) {
        if (w[j] == 0)
            continue;
        const VECTOR by = v_set(w[j]);
        FOR_ROW(out, width, v_fma(by, v_load_part(from + i, left, 0), v));
    }
}

#include "lib/kernels/x86/products_template.h"

/* x * sigmoid(u) for x and u of one sign, by exp(-|u|). */
static inline VECTOR v_gated(VECTOR x, VECTOR u) {
    const VECTOR e = v_exp(v_set(0) - v_abs(u));
    return x * v_where_negative(u, e, v_set(1)) / (e + v_set(1));
}

#ifdef NORMAL_TAIL_TERMS
/*
 * x * Phi(x) is x * Phi(-|x|) for a negative x, else x - x * Phi(-|x|); and Phi(-a) = exp(-a^2 / 2) * r * P((a - 3) *
 * r) with r = 1 / (a + 3) and a polynomial P. The part of a^2 that its rounding lost is put back, for exp would make
 * much of it.
 */
static inline VECTOR v_gelu(VECTOR x) {
    static const REAL terms[] = {NORMAL_TAIL_TERMS};
    const VECTOR a = v_min(v_set((REAL)NORMAL_TAIL_CEILING), v_abs(x)), r = v_set(1) / (a + v_set(3));
    const VECTOR t = (a - v_set(3)) * r, half = a * v_set((REAL)0.5), square = half * a;
    VECTOR p = v_set(terms[0]);
    for (size_t i = 1; i < sizeof terms / sizeof *terms; i++)
        p = v_fma(p, t, v_set(terms[i]));
    const VECTOR lost = v_fma(half, a, v_set(0) - square), power = v_exp(v_set(0) - square);
    const VECTOR tail = v_fma(power, v_set(0) - lost, power) * (p * r);
    return v_where_negative(x, x * tail, x - a * tail);
}
#endif

static inline VECTOR v_activate(attn_activation activation, VECTOR x) {
    switch (activation) {
    case ATTN_ACTIVATION_RELU:
        return v_max(v_set(0), x);
    case ATTN_ACTIVATION_GELU:
#ifdef NORMAL_TAIL_TERMS
        return v_gelu(x);
#else
        break;
#endif
    case ATTN_ACTIVATION_GELU_TANH: /* (1 + tanh(u)) / 2 is sigmoid(2 u) */
        return v_gated(
            x, x * v_fma(x * x, v_set((REAL)(1.5957691216057307117 * 0.044715)), v_set((REAL)1.5957691216057307117)));
    case ATTN_ACTIVATION_GELU_QUICK:
        return v_gated(x, x * v_set((REAL)1.702));
    case ATTN_ACTIVATION_SILU:
        return v_gated(x, x);
    case ATTN_ACTIVATION_TANH:
        return v_tanh(x);
    case ATTN_ACTIVATION_NONE:
    case ATTN_ACTIVATION_COUNT:
        break;
    }
    return x;
}

static void row_activate(attn_activation activation, void *row, size_t count) {
#ifndef NORMAL_TAIL_TERMS
    if (activation == ATTN_ACTIVATION_GELU) {
        ROWS_BY_LIBM.activate(activation, row, count);
        return;
    }
#endif
    if (activation != ATTN_ACTIVATION_NONE)
        FOR_ROW(row, count, v_activate(activation, v));
}

static double row_sum(const REAL *x, size_t count) {
    VECTOR sums[4] = {v_set(0), v_set(0), v_set(0), v_set(0)};
    size_t i = 0;
    for (; i + 4 * WIDTH <= count; i += 4 * WIDTH)
        for (size_t j = 0; j < 4; j++)
            sums[j] += v_load(x + i + j * WIDTH);
    for (; i < count; i += WIDTH)
        sums[0] += v_load_part(x + i, count - i < WIDTH ? count - i : WIDTH, 0);
    return (double)v_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

/* The sums of x - less and of their squares. */
static void row_moments(const REAL *x, size_t count, REAL less, double *first, double *second) {
    const VECTOR by = v_set(less);
    VECTOR sums[2] = {v_set(0), v_set(0)}, squares[2] = {v_set(0), v_set(0)};
    size_t i = 0;
    for (; i + 2 * WIDTH <= count; i += 2 * WIDTH)
        for (size_t j = 0; j < 2; j++) {
            const VECTOR v = v_load(x + i + j * WIDTH) - by;
            sums[j] += v;
            squares[j] = v_fma(v, v, squares[j]);
        }
    for (; i < count; i += WIDTH) {
        const VECTOR v = v_load_part(x + i, count - i < WIDTH ? count - i : WIDTH, less) - by;
        sums[0] += v;
        squares[0] = v_fma(v, v, squares[0]);
    }
    *first = (double)v_sum(sums[0] + sums[1]);
    *second = (double)v_sum(squares[0] + squares[1]);
}

/* Two passes: the mean, and the squares of what is left of the row, with what the first mean's rounding left in it. */
static void row_normalise(const struct attn_norm *norm, size_t width, const void *in, void *out) {
    const REAL *x = in, *weight = norm->weight, *bias = norm->bias;
    REAL *to = out;
    const double count = (double)width;
    const REAL mean = norm->centres ? (REAL)(row_sum(x, width) / count) : 0;
    double first, second;
    row_moments(x, width, mean, &first, &second);
    const double rest = norm->centres ? first / count : 0, variance = second / count - rest * rest;
    const VECTOR factor = v_set((REAL)(1 / sqrt(variance + norm->epsilon)));
    const VECTOR less = v_set(mean), less_rest = v_set((REAL)rest), plus = v_set((REAL)norm->weight_plus);
    for (size_t i = 0; i < width; i += WIDTH) {
        const size_t left = width - i < WIDTH ? width - i : WIDTH;
        VECTOR v = ((v_load_part(x + i, left, 0) - less) - less_rest) * factor;
        if (weight != NULL)
            v = v * (v_load_part(weight + i, left, 0) + plus);
        if (bias != NULL)
            v += v_load_part(bias + i, left, 0);
        v_store_part(to + i, left, v);
    }
}

const struct attn_row_kernels ROWS = {
    .beats_blas = true,
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
