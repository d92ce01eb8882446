/* Bit patterns of the 16-bit formats: IEEE 754-2019 binary16, and bfloat16 as the upper half of binary32. */
#include "tests/unit/run_suite.h"
#include <attn/tensor.h>

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint16_t to_16_bits(double value, attn_dtype dtype) {
    uint16_t bits = 0;
    struct attn_view from = attn_view_contiguous(&value, ATTN_FLOAT64, 1, (size_t[]){1});
    struct attn_view to = attn_view_contiguous(&bits, dtype, 1, (size_t[]){1});
    ck_assert_int_eq(attn_view_convert(&from, &to, NULL), ATTN_OK);
    return bits;
}

static double from_16_bits(uint16_t bits, attn_dtype dtype) {
    double value = 0;
    struct attn_view from = attn_view_contiguous(&bits, dtype, 1, (size_t[]){1});
    struct attn_view to = attn_view_contiguous(&value, ATTN_FLOAT64, 1, (size_t[]){1});
    ck_assert_int_eq(attn_view_convert(&from, &to, NULL), ATTN_OK);
    return value;
}

START_TEST(float16_rounds_to_nearest_even) {
    static const struct {
        double value;
        uint16_t bits;
    } rows[] = {
        {0.0, 0x0000},
        {-0.0, 0x8000},
        {1.0, 0x3c00},
        {-2.0, 0xc000},
        {65504.0, 0x7bff},
        {65519.99, 0x7bff},
        {65520.0, 0x7c00},
        {1e300, 0x7c00},
        {0x1p-14, 0x0400},
        {0x1p-24, 0x0001},
        {0x1p-25, 0x0000},
        {0x1.8p-25, 0x0001},
        {0x1.ff8p-15, 0x03ff},
        {0x1.ffcp-15, 0x0400},
        {1.00048828125, 0x3c00},
        {1.00146484375, 0x3c02},
        {0.333251953125, 0x3555},
        {INFINITY, 0x7c00},
        {-INFINITY, 0xfc00},
        {0x1p-1074, 0x0000},
        /* just above a tie: rounding by way of float32 would fall on the tie and go down */
        {1.00048828125 + 0x1p-40, 0x3c01},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ck_assert_msg(to_16_bits(rows[i].value, ATTN_FLOAT16) == rows[i].bits, "%a gave %04x", rows[i].value,
                      to_16_bits(rows[i].value, ATTN_FLOAT16));
}
END_TEST

START_TEST(bfloat16_rounds_to_nearest_even) {
    static const struct {
        double value;
        uint16_t bits;
    } rows[] = {
        {1.0, 0x3f80},          {-1.0, 0xbf80},       {0x1.01p0, 0x3f80},   {0x1.03p0, 0x3f82},
        {0x1.010001p0, 0x3f81}, {0x1.fep127, 0x7f7f}, {0x1.ffp127, 0x7f80}, {0x1p-126, 0x0080},
        {0x1p-133, 0x0001},     {0x1p-134, 0x0000},   {INFINITY, 0x7f80},   {3.140625, 0x4049},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ck_assert_msg(to_16_bits(rows[i].value, ATTN_BFLOAT16) == rows[i].bits, "%a gave %04x", rows[i].value,
                      to_16_bits(rows[i].value, ATTN_BFLOAT16));
}
END_TEST

START_TEST(every_16_bit_pattern_survives_the_way_through_float64) {
    static const attn_dtype dtypes[] = {ATTN_FLOAT16, ATTN_BFLOAT16};
    for (size_t d = 0; d < 2; d++)
        for (uint32_t bits = 0; bits < 65536; bits++) {
            double value = from_16_bits((uint16_t)bits, dtypes[d]);
            if (isnan(value))
                ck_assert(isnan(from_16_bits(to_16_bits(value, dtypes[d]), dtypes[d])));
            else
                ck_assert_uint_eq(to_16_bits(value, dtypes[d]), bits);
        }
}
END_TEST

START_TEST(known_half_patterns_have_their_values) {
    ck_assert(from_16_bits(0x3555, ATTN_FLOAT16) == 0.333251953125);
    ck_assert(from_16_bits(0x0001, ATTN_FLOAT16) == 0x1p-24);
    ck_assert(from_16_bits(0x7bff, ATTN_FLOAT16) == 65504);
    ck_assert(from_16_bits(0xfc00, ATTN_FLOAT16) == -INFINITY);
    ck_assert(isnan(from_16_bits(0x7e00, ATTN_FLOAT16)));
    ck_assert(signbit(from_16_bits(0x8000, ATTN_FLOAT16)));
    ck_assert(from_16_bits(0x4049, ATTN_BFLOAT16) == 3.140625);
    ck_assert(from_16_bits(0x0001, ATTN_BFLOAT16) == 0x1p-133);
}
END_TEST

START_TEST(a_transposed_copy_follows_the_strides) {
    const float data[6] = {1, 2, 3, 4, 5, 6};
    double copy[6];
    struct attn_view from = {
        .data = (void *)(uintptr_t)data, .dtype = ATTN_FLOAT32, .rank = 2, .shape = {3, 2}, .stride = {1, 3}};
    struct attn_view to = attn_view_contiguous(copy, ATTN_FLOAT64, 2, (size_t[]){3, 2});
    ck_assert_int_eq(attn_view_convert(&from, &to, NULL), ATTN_OK);
    ck_assert(memcmp(copy, (double[]){1, 4, 2, 5, 3, 6}, sizeof copy) == 0);
}
END_TEST

START_TEST(long_rows_are_converted_whole) {
    enum { LONG = 1000 };
    double from_data[LONG];
    float to_data[2 * LONG];
    for (size_t i = 0; i < LONG; i++)
        from_data[i] = (double)i + 0.1;
    memset(to_data, 0, sizeof to_data);
    struct attn_view from = attn_view_contiguous(from_data, ATTN_FLOAT64, 1, (size_t[]){LONG});
    struct attn_view to = {.data = to_data, .dtype = ATTN_FLOAT32, .rank = 1, .shape = {LONG}, .stride = {2}};
    ck_assert_int_eq(attn_view_convert(&from, &to, NULL), ATTN_OK);
    for (size_t i = 0; i < LONG; i++) {
        ck_assert(to_data[2 * i] == (float)((double)i + 0.1));
        ck_assert(to_data[2 * i + 1] == 0);
    }
}
END_TEST

START_TEST(a_single_number_of_rank_0_is_converted) {
    float one = 1.5F;
    double copy = 0;
    struct attn_view from = attn_view_contiguous(&one, ATTN_FLOAT32, 0, NULL);
    struct attn_view to = attn_view_contiguous(&copy, ATTN_FLOAT64, 0, NULL);
    ck_assert_int_eq(attn_view_convert(&from, &to, NULL), ATTN_OK);
    ck_assert(copy == 1.5);
}
END_TEST

START_TEST(integers_and_unlike_shapes_are_refused) {
    float data[4] = {0};
    int64_t integers[4] = {0};
    struct attn_error error;
    struct attn_view from = attn_view_contiguous(integers, ATTN_INT64, 1, (size_t[]){4});
    struct attn_view to = attn_view_contiguous(data, ATTN_FLOAT32, 1, (size_t[]){4});
    ck_assert_int_eq(attn_view_convert(&from, &to, &error), ATTN_EDTYPE);
    from = attn_view_contiguous(data, ATTN_FLOAT32, 2, (size_t[]){2, 2});
    ck_assert_int_eq(attn_view_convert(&from, &to, &error), ATTN_ESHAPE);
    ck_assert_str_eq(error.message, "expected shape (4), found (2, 2)");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("tensor conversion");
    TCase *tests = tcase_create("conversion");
    tcase_add_test(tests, float16_rounds_to_nearest_even);
    tcase_add_test(tests, bfloat16_rounds_to_nearest_even);
    tcase_add_test(tests, every_16_bit_pattern_survives_the_way_through_float64);
    tcase_add_test(tests, known_half_patterns_have_their_values);
    tcase_add_test(tests, a_transposed_copy_follows_the_strides);
    tcase_add_test(tests, long_rows_are_converted_whole);
    tcase_add_test(tests, a_single_number_of_rank_0_is_converted);
    tcase_add_test(tests, integers_and_unlike_shapes_are_refused);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
