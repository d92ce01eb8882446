/* Every table of kernels that the machine can run against the portable one, at awkward sizes and places. */
#include "lib/kernels/kernels.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 200, GUARD = 3 };
static const size_t sizes[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 130, 200};
enum { SIZE_COUNT = sizeof sizes / sizeof *sizes };

/* A row of either type with guards around it, starting at an unaligned place. */
struct row {
    _Alignas(64) unsigned char memory[(MOST + 2 * GUARD) * sizeof(double)];
    attn_dtype dtype;
};

static void *row_data(struct row *row) {
    return row->memory + GUARD * attn_dtype_bytes(row->dtype);
}

static double get(const void *data, attn_dtype dtype, size_t i) {
    double wide;
    float narrow;
    if (dtype == ATTN_FLOAT32) {
        memcpy(&narrow, (const char *)data + i * sizeof narrow, sizeof narrow);
        return (double)narrow;
    }
    memcpy(&wide, (const char *)data + i * sizeof wide, sizeof wide);
    return wide;
}

static void set(void *data, attn_dtype dtype, size_t i, double value) {
    const float narrow = (float)value;
    if (dtype == ATTN_FLOAT32)
        memcpy((char *)data + i * sizeof narrow, &narrow, sizeof narrow);
    else
        memcpy((char *)data + i * sizeof value, &value, sizeof value);
}

static unsigned random_state = 12345;

static double random_real(double low, double high) {
    random_state = random_state * 1664525U + 1013904223U;
    return low + (high - low) * ((double)(random_state >> 8) / (double)(1 << 24));
}

static void randomise(struct row *row, attn_dtype dtype, double low, double high) {
    row->dtype = dtype;
    for (size_t i = 0; i < MOST + 2 * GUARD; i++)
        set(row->memory, dtype, i, random_real(low, high));
}

static double unit(attn_dtype dtype) {
    return dtype == ATTN_FLOAT64 ? 0x1p-52 : 0x1p-23;
}

static bool near(double found, double wanted, double tolerance) {
    if (isnan(wanted) || isinf(wanted) || wanted == 0)
        return isnan(wanted) ? isnan(found) : found == wanted;
    return fabs(found - wanted) <= tolerance * fabs(wanted);
}

/* Both rows whole, guards included: nothing beyond the row may have been written. */
static void expect_rows(struct row *found, struct row *wanted, double units, const char *what, size_t size) {
    for (size_t i = 0; i < MOST + 2 * GUARD; i++) {
        double f = get(found->memory, found->dtype, i), w = get(wanted->memory, wanted->dtype, i);
        ck_assert_msg(near(f, w, units * unit(found->dtype)), "%s of %zu: element %zd is %.17g, not %.17g", what, size,
                      (ptrdiff_t)i - GUARD, f, w);
    }
}

typedef void (*property)(const struct attn_row_kernels *fast, const struct attn_row_kernels *portable, attn_dtype dtype,
                         size_t size);

static void for_all(property check) {
    const struct attn_kernels *table, *portable = NULL;
    for (size_t i = 0; (table = attn_kernels_at(i)) != NULL; i++)
        portable = table;
    ck_assert_str_eq(portable->name, "portable");
    for (size_t i = 0; (table = attn_kernels_at(i)) != NULL; i++) {
        if (!table->is_supported())
            continue;
        for (size_t s = 0; s < SIZE_COUNT; s++) {
            check(table->float32, portable->float32, ATTN_FLOAT32, sizes[s]);
            check(table->float64, portable->float64, ATTN_FLOAT64, sizes[s]);
        }
    }
}

/* Some entries that arithmetic trips over. */
static void spoil(struct row *row, size_t size) {
    static const double odd[] = {-INFINITY, INFINITY, NAN, 0.0, -0.0, 1e30, -1e30};
    for (size_t i = 0; i < sizeof odd / sizeof *odd && i < size; i++)
        set(row_data(row), row->dtype, (i * 5) % size, odd[i]);
}

static void check_maximum(const struct attn_row_kernels *fast, const struct attn_row_kernels *portable,
                          attn_dtype dtype, size_t size) {
    struct row row;
    randomise(&row, dtype, -50, 50);
    ck_assert(fast->maximum(row_data(&row), size) == portable->maximum(row_data(&row), size));
    for (size_t at = 0; at < size; at++) {
        double before = get(row_data(&row), dtype, at);
        set(row_data(&row), dtype, at, 51);
        ck_assert(fast->maximum(row_data(&row), size) == 51);
        set(row_data(&row), dtype, at, NAN);
        ck_assert_msg(fast->maximum(row_data(&row), size) == portable->maximum(row_data(&row), size),
                      "a NaN at %zu of %zu is not ignored", at, size);
        set(row_data(&row), dtype, at, before);
    }
}

START_TEST(the_maximum_is_found_wherever_it_stands_and_ignores_nan) {
    for_all(check_maximum);
}
END_TEST

static void check_exponentials(const struct attn_row_kernels *fast, const struct attn_row_kernels *portable,
                               attn_dtype dtype, size_t size) {
    struct row row, wanted;
    const double depths[] = {1, 20, 80, 100, 800};
    for (size_t d = 0; d < sizeof depths / sizeof *depths; d++) {
        randomise(&row, dtype, -depths[d], 0);
        if (size > 2)
            set(row_data(&row), dtype, size / 2, -INFINITY);
        wanted = row;
        double sum = fast->exponentials(row_data(&row), size, 0.25);
        double wanted_sum = portable->exponentials(row_data(&wanted), size, 0.25);
        ck_assert_msg(near(sum, wanted_sum, 8 * unit(dtype)) || fabs(sum - wanted_sum) < 1e-36,
                      "sum of %zu: %.17g, not %.17g", size, sum, wanted_sum);
        for (size_t i = 0; i < MOST + 2 * GUARD; i++) {
            double f = get(row.memory, dtype, i), w = get(wanted.memory, dtype, i);
            /* Below the smallest normal number a table may give 0. */
            double least = dtype == ATTN_FLOAT64 ? 0x1.1p-1022 : 0x1.1p-126;
            ck_assert_msg(fabs(f - w) <= 3 * unit(dtype) * fabs(w) + least, "exp: %.17g, not %.17g", f, w);
        }
    }
}

START_TEST(exponentials_and_their_sum_agree_down_to_underflow) {
    for_all(check_exponentials);
}
END_TEST

static void check_softmax(const struct attn_row_kernels *fast, const struct attn_row_kernels *portable,
                          attn_dtype dtype, size_t size) {
    struct row row, wanted;
    double maximum, sum, wanted_maximum, wanted_sum;
    randomise(&row, dtype, -30, 30);
    if (size > 1)
        set(row_data(&row), dtype, size - 1, -INFINITY);
    wanted = row;
    ck_assert(fast->softmax(row_data(&row), size, &maximum, &sum) == (size > 0));
    portable->softmax(row_data(&wanted), size, &wanted_maximum, &wanted_sum);
    expect_rows(&row, &wanted, 16, "softmax", size);
    ck_assert(size == 0 || (maximum == wanted_maximum && near(sum, wanted_sum, 8 * unit(dtype))));
    for (size_t at = 0; at < size; at++) {
        randomise(&row, dtype, -30, 30);
        set(row_data(&row), dtype, at, at % 2 == 0 ? NAN : INFINITY);
        ck_assert_msg(!fast->softmax(row_data(&row), size, &maximum, &sum), "at %zu of %zu", at, size);
        ck_assert_msg(!fast->is_finite(row_data(&row), size), "at %zu of %zu", at, size);
    }
}

START_TEST(softmax_agrees_and_refuses_rows_that_are_not_finite) {
    for_all(check_softmax);
}
END_TEST

static void check_nan(const struct attn_row_kernels *fast, const struct attn_row_kernels *portable, attn_dtype dtype,
                      size_t size) {
    struct row row, clean;
    (void)portable;
    randomise(&clean, dtype, -5, 0);
    ck_assert(fast->is_finite(row_data(&clean), size) && !fast->has_nan(row_data(&clean), size));
    for (size_t at = 0; at < size; at++) {
        row = clean;
        set(row_data(&row), dtype, at, INFINITY);
        ck_assert(!fast->is_finite(row_data(&row), size) && !fast->has_nan(row_data(&row), size));
        set(row_data(&row), dtype, at, NAN);
        ck_assert(!fast->is_finite(row_data(&row), size) && fast->has_nan(row_data(&row), size));
        ck_assert(isnan(fast->exponentials(row_data(&row), size, 0)));
    }
}

START_TEST(a_nan_anywhere_is_seen_and_spoils_the_sum) {
    for_all(check_nan);
}
END_TEST

static void check_simple(const struct attn_row_kernels *fast, const struct attn_row_kernels *portable, attn_dtype dtype,
                         size_t size) {
    struct row row, wanted;
    randomise(&row, dtype, -50, 50);
    spoil(&row, size);
    wanted = row;
    fast->scale(row_data(&row), size, 0.37);
    portable->scale(row_data(&wanted), size, 0.37);
    expect_rows(&row, &wanted, 0, "scale", size);
    fast->add_distance(row_data(&row), size, 0.5, 40);
    portable->add_distance(row_data(&wanted), size, 0.5, 40);
    expect_rows(&row, &wanted, 0, "distance", size);
    fast->fill(row_data(&row), size, 3);
    portable->fill(row_data(&wanted), size, 3);
    expect_rows(&row, &wanted, 0, "fill", size);
}

START_TEST(scale_distance_and_fill_are_exact) {
    for_all(check_simple);
}
END_TEST

static void check_softcap(const struct attn_row_kernels *fast, const struct attn_row_kernels *portable,
                          attn_dtype dtype, size_t size) {
    const double spans[] = {1e-6, 0.1, 3, 60, 1e5};
    for (size_t s = 0; s < sizeof spans / sizeof *spans; s++) {
        struct row row, wanted;
        randomise(&row, dtype, -spans[s], spans[s]);
        if (s == 2)
            spoil(&row, size);
        wanted = row;
        fast->softcap(row_data(&row), size, 2.5);
        portable->softcap(row_data(&wanted), size, 2.5);
        expect_rows(&row, &wanted, 5, "softcap", size);
    }
}

START_TEST(softcap_is_relatively_exact_from_the_smallest_to_the_largest) {
    for_all(check_softcap);
}
END_TEST

static void check_masks(const struct attn_row_kernels *fast, const struct attn_row_kernels *portable, attn_dtype dtype,
                        size_t size) {
    static const double odd[] = {-INFINITY, INFINITY, NAN, -1e300, -3.4028234663852886e38, 0, -1.7e308};
    struct row row, wanted;
    float mask32[MOST + 1];
    double mask64[MOST + 1];
    uint8_t bytes[MOST + 1];
    for (size_t i = 0; i < MOST + 1; i++) {
        mask64[i] = i % 3 == 0 ? odd[i / 3 % 7] : random_real(-5, 5);
        mask32[i] = (float)mask64[i];
        bytes[i] = (uint8_t)(i % 4 == 1 ? 0 : i);
    }
    randomise(&row, dtype, -50, 50);
    spoil(&row, size);
    wanted = row;
    fast->add_mask_float32(row_data(&row), mask32 + 1, size);
    portable->add_mask_float32(row_data(&wanted), mask32 + 1, size);
    expect_rows(&row, &wanted, 0, "float32 mask", size);
    fast->add_mask_float64(row_data(&row), mask64 + 1, size);
    portable->add_mask_float64(row_data(&wanted), mask64 + 1, size);
    expect_rows(&row, &wanted, 0, "float64 mask", size);
    for (int keep = 0; keep < 2; keep++) {
        fast->keep_where(row_data(&row), bytes + 1, size, keep);
        portable->keep_where(row_data(&wanted), bytes + 1, size, keep);
        expect_rows(&row, &wanted, 0, "boolean mask", size);
    }
}

START_TEST(masks_agree_for_every_kind_of_entry) {
    for_all(check_masks);
}
END_TEST

static double lowest(attn_dtype dtype) {
    return dtype == ATTN_FLOAT64 ? -1.7976931348623157e308 : -3.4028234663852886e38;
}

static void check_lowest(const struct attn_row_kernels *fast, const struct attn_row_kernels *portable, attn_dtype dtype,
                         size_t size) {
    struct row row;
    double mask[MOST];
    (void)portable;
    randomise(&row, dtype, -50, 50);
    for (size_t i = 0; i < size; i++)
        mask[i] = -1.7976931348623157e308;
    fast->add_mask_float64(row_data(&row), mask, size);
    fast->add_mask_float64(row_data(&row), mask, size);
    for (size_t i = 0; i < size; i++)
        ck_assert(get(row_data(&row), dtype, i) == lowest(dtype));
}

START_TEST(a_hugely_negative_mask_never_becomes_minus_infinity) {
    for_all(check_lowest);
}
END_TEST

static void check_combine(const struct attn_row_kernels *fast, const struct attn_row_kernels *portable,
                          attn_dtype dtype, size_t size) {
    struct row weights, value, out, wanted;
    randomise(&weights, dtype, 0, 1);
    randomise(&value, dtype, -1, 1);
    set(row_data(&weights), dtype, 1, 0);
    for (size_t d = 0; d < size; d++)
        set(row_data(&value), dtype, d, 0.5);
    randomise(&out, dtype, 0, 1);
    wanted = out;
    fast->combine_nonzero(row_data(&weights), 3, row_data(&value), 0, row_data(&out), size);
    portable->combine_nonzero(row_data(&weights), 3, row_data(&value), 0, row_data(&wanted), size);
    expect_rows(&out, &wanted, 4, "combine", size);
}

START_TEST(weights_that_are_not_zero_are_combined) {
    for_all(check_combine);
}
END_TEST

static void check_zero_weights(const struct attn_row_kernels *fast, const struct attn_row_kernels *portable,
                               attn_dtype dtype, size_t size) {
    struct row weights, value, out;
    (void)portable;
    randomise(&weights, dtype, 1, 2);
    randomise(&value, dtype, 0, 1);
    randomise(&out, dtype, 0, 1);
    set(row_data(&weights), dtype, 0, 0);
    for (size_t d = 0; d < size && d < MOST / 2; d++)
        set(row_data(&value), dtype, d, NAN);
    const size_t width = size < MOST / 2 ? size : MOST / 2;
    fast->combine_nonzero(row_data(&weights), 2, row_data(&value), MOST / 2, row_data(&out), width);
    ck_assert(fast->is_finite(row_data(&out), width));
}

START_TEST(a_value_of_weight_zero_is_left_out) {
    for_all(check_zero_weights);
}
END_TEST

static void check_variant(void) {
    const struct attn_kernels *picked = attn_kernels_picked();
    ck_assert_ptr_nonnull(picked);
    ck_assert(picked->is_supported());
    const char *wanted = getenv("ATTN_KERNELS");
    for (size_t i = 0; wanted == NULL && attn_kernels_at(i) != picked; i++)
        ck_assert_msg(!attn_kernels_at(i)->is_supported(), "a better table was passed over");
}

START_TEST(the_best_table_that_the_machine_can_do_is_picked) {
    check_variant();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kernels of rows");
    TCase *tests = tcase_create("rows");
    tcase_add_test(tests, the_maximum_is_found_wherever_it_stands_and_ignores_nan);
    tcase_add_test(tests, exponentials_and_their_sum_agree_down_to_underflow);
    tcase_add_test(tests, softmax_agrees_and_refuses_rows_that_are_not_finite);
    tcase_add_test(tests, a_nan_anywhere_is_seen_and_spoils_the_sum);
    tcase_add_test(tests, scale_distance_and_fill_are_exact);
    tcase_add_test(tests, softcap_is_relatively_exact_from_the_smallest_to_the_largest);
    tcase_add_test(tests, masks_agree_for_every_kind_of_entry);
    tcase_add_test(tests, a_hugely_negative_mask_never_becomes_minus_infinity);
    tcase_add_test(tests, weights_that_are_not_zero_are_combined);
    tcase_add_test(tests, a_value_of_weight_zero_is_left_out);
    tcase_add_test(tests, the_best_table_that_the_machine_can_do_is_picked);
    tcase_set_timeout(tests, 60);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
