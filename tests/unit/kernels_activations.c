/* Activations and norms of every table against the C library's long double. */
#include "lib/kernels/kernels.h"
#include "tests/unit/activated.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const size_t counts[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 130, 384, 1000};
enum { COUNT_COUNT = sizeof counts / sizeof *counts };

/* What the argument of an exponential lost by rounding, exp makes into a relative error of the result's tail. */
static long double tail_ulps(attn_activation activation, long double x) {
    if (activation == ATTN_ACTIVATION_GELU)
        return x * x;
    if (activation == ATTN_ACTIVATION_GELU_TANH)
        return 3 * fabsl(twice_u(x));
    if (activation == ATTN_ACTIVATION_GELU_QUICK)
        return 2 * fabsl(x);
    return 0;
}

static void put(void *row, attn_dtype dtype, size_t i, double value) {
    if (dtype == ATTN_FLOAT64)
        ((double *)row)[i] = value;
    else
        ((float *)row)[i] = (float)value;
}

static long double get(const void *row, attn_dtype dtype, size_t i) {
    return dtype == ATTN_FLOAT64 ? (long double)((const double *)row)[i] : (long double)((const float *)row)[i];
}

/* Runs `check` for every table that the machine can do, in both dtypes. */
static void for_all_tables(void (*check)(const struct attn_row_kernels *kernels, attn_dtype dtype)) {
    const struct attn_kernels *table;
    for (size_t t = 0; (table = attn_kernels_at(t)) != NULL; t++) {
        if (!table->is_supported())
            continue;
        check(table->float32, ATTN_FLOAT32);
        check(table->float64, ATTN_FLOAT64);
    }
}

static void check_values(const struct attn_row_kernels *kernels, attn_dtype dtype) {
    enum { HALF = 500, POINTS = 2 * HALF + 1 };
    const long double ulp = dtype == ATTN_FLOAT64 ? DBL_EPSILON : FLT_EPSILON;
    const long double least = dtype == ATTN_FLOAT64 ? DBL_MIN : FLT_MIN;
    double before[POINTS], after[POINTS];
    for (int a = 0; a < ATTN_ACTIVATION_COUNT; a++)
        for (int range = -3; range <= 6; range++) {
            for (int i = 0; i < POINTS; i++) {
                put(before, dtype, (size_t)i, ldexp((double)(i - HALF) / HALF, 2 * range - 1));
                put(after, dtype, (size_t)i, (double)get(before, dtype, (size_t)i));
            }
            kernels->activate((attn_activation)a, after, POINTS);
            for (size_t i = 0; i < POINTS; i++) {
                const long double x = get(before, dtype, i), wanted = activated((attn_activation)a, x);
                const long double found = get(after, dtype, i);
                const long double tolerance = fabsl(wanted) * ulp * (4 + tail_ulps((attn_activation)a, x));
                ck_assert_msg(fabsl(found - wanted) <= tolerance + 2 * (1 + fabsl(x)) * least,
                              "activation %d, dtype %d of %.17Lg: %.17Lg, not %.17Lg, %.3Lg ulp", a, (int)dtype, x,
                              found, wanted, fabsl(found - wanted) / (fabsl(wanted) * ulp));
            }
        }
}

START_TEST(activations_are_within_a_few_units_in_the_last_place) {
    for_all_tables(check_values);
}
END_TEST

/* Infinity: as 0.5 * x * (1 + erf(x)) and its like have it. */
static void check_specials(const struct attn_row_kernels *kernels, attn_dtype dtype) {
    for (int a = 0; a < ATTN_ACTIVATION_COUNT; a++)
        for (size_t place = 0; place < 40; place++) {
            const bool is_gated = a != ATTN_ACTIVATION_NONE && a != ATTN_ACTIVATION_RELU && a != ATTN_ACTIVATION_TANH;
            double row[43];
            for (size_t i = 0; i < 43; i++)
                put(row, dtype, i, 0);
            put(row, dtype, place, (double)NAN);
            put(row, dtype, place + 1, (double)INFINITY);
            put(row, dtype, place + 2, (double)-INFINITY);
            kernels->activate((attn_activation)a, row, 43);
            const long double up = get(row, dtype, place + 1), down = get(row, dtype, place + 2);
            ck_assert(isnan(get(row, dtype, place)));
            ck_assert_ldouble_eq(up, a == ATTN_ACTIVATION_TANH ? 1 : INFINITY);
            if (is_gated)
                ck_assert_msg(isnan(down), "activation %d of -Infinity: %Lg", a, down);
            else
                ck_assert_ldouble_eq(down, a == ATTN_ACTIVATION_TANH   ? -1.0L
                                           : a == ATTN_ACTIVATION_RELU ? 0.0L
                                                                       : -(long double)INFINITY);
        }
}

START_TEST(activations_of_nan_and_infinity_are_what_their_formulas_say) {
    for_all_tables(check_specials);
}
END_TEST

static void check_bounds(const struct attn_row_kernels *kernels, attn_dtype dtype) {
    for (int a = 0; a < ATTN_ACTIVATION_COUNT; a++)
        for (size_t c = 0; c < COUNT_COUNT; c++) {
            double row[1100];
            for (size_t i = 0; i < 1100; i++)
                put(row, dtype, i, 0.75);
            kernels->activate((attn_activation)a, row, counts[c]);
            const long double wanted = activated((attn_activation)a, 0.75L);
            for (size_t i = 0; i < 1100; i++)
                ck_assert_ldouble_eq_tol(get(row, dtype, i), i < counts[c] ? wanted : 0.75L, 1e-6L);
        }
}

START_TEST(activations_touch_their_row_and_nothing_else) {
    for_all_tables(check_bounds);
}
END_TEST

/* One row of `width`, far from 0, so that a variance that cancels is found out. */
static void check_norm(const struct attn_row_kernels *kernels, attn_dtype dtype, size_t width, unsigned kind) {
    double in[1001], out[1001], weight[1001], bias[1001];
    unsigned state = 5 + kind;
    for (size_t i = 0; i < width + 1; i++) {
        state = state * 1664525U + 1013904223U;
        put(in, dtype, i, (double)(state >> 8) / (1 << 23) + 99);
        put(weight, dtype, i, 1 + (double)(state >> 20) / 4096);
        put(bias, dtype, i, (double)(state >> 21) / 2048);
        put(out, dtype, i, 77);
    }
    const struct attn_norm norm = {.centres = (kind & 1U) != 0,
                                   .epsilon = 1e-5,
                                   .weight_plus = (kind & 8U) != 0 ? 1 : 0,
                                   .weight = (kind & 2U) != 0 ? weight : NULL,
                                   .bias = (kind & 4U) != 0 ? bias : NULL};
    long double mean = 0, variance = 0;
    for (size_t i = 0; i < width && norm.centres; i++)
        mean += get(in, dtype, i) / (long double)width;
    for (size_t i = 0; i < width; i++)
        variance += (get(in, dtype, i) - mean) * (get(in, dtype, i) - mean) / (long double)width;
    kernels->normalise(&norm, width, in, out);
    ck_assert_ldouble_eq(get(out, dtype, width), 77);
    double again[1001];
    memcpy(again, in, sizeof again);
    kernels->normalise(&norm, width, again, again);
    const long double tolerance = (dtype == ATTN_FLOAT64 ? 1e-13L : 5e-5L);
    for (size_t i = 0; i < width; i++) {
        long double wanted = (get(in, dtype, i) - mean) / sqrtl(variance + 1e-5L);
        if (norm.weight != NULL)
            wanted *= get(weight, dtype, i) + (norm.weight_plus > 0 ? 1 : 0);
        if (norm.bias != NULL)
            wanted += get(bias, dtype, i);
        ck_assert_ldouble_eq_tol(get(out, dtype, i), wanted, tolerance);
        ck_assert_ldouble_eq(get(again, dtype, i), get(out, dtype, i));
    }
}

static void check_norms(const struct attn_row_kernels *kernels, attn_dtype dtype) {
    for (size_t c = 0; c < COUNT_COUNT; c++)
        for (unsigned kind = 0; kind < 16; kind++)
            check_norm(kernels, dtype, counts[c], kind);
}

START_TEST(norms_are_right_at_awkward_widths_and_in_place) {
    for_all_tables(check_norms);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kernels_activations");
    TCase *tests = tcase_create("activations and norms");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, activations_are_within_a_few_units_in_the_last_place);
    tcase_add_test(tests, activations_of_nan_and_infinity_are_what_their_formulas_say);
    tcase_add_test(tests, activations_touch_their_row_and_nothing_else);
    tcase_add_test(tests, norms_are_right_at_awkward_widths_and_in_place);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
