/* Printing numbers: the style, the digits against the C library, and every variant against the portable one. */
#include "server/codec/number_internal.h"
#include "tests/unit/codec_number_random.h"
#include "tests/unit/run_suite.h"
#include <check.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static float f32_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static double f64_of(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/** A printed number taken apart: its significant digits without zeros at either end, and where the point stands. */
struct parts {
    char digits[64];
    int scientific;
};

static struct parts take_apart(const char *text) {
    struct parts parts = {{0}, 0};
    int count = 0;
    int before_point = -1;
    int zeros = 0;
    const char *p = text + (*text == '-');
    for (; *p != '\0' && *p != 'e'; p++) {
        if (*p == '.') {
            before_point = count - zeros;
        } else if (count > 0 || *p != '0') {
            parts.digits[count++] = *p;
        } else {
            zeros += before_point >= 0;
        }
    }
    /* With digits in front of the point, their count; else minus the zeros behind it. */
    int point = before_point > 0 ? before_point : before_point < 0 ? count : -zeros;
    parts.scientific = point - 1 + (*p == 'e' ? atoi(p + 1) : 0);
    while (count > 0 && parts.digits[count - 1] == '0') {
        parts.digits[--count] = '\0';
    }
    return parts;
}

static void assert_same_number(const char *text, const char *expected) {
    struct parts found = take_apart(text);
    struct parts wanted = take_apart(expected);
    ck_assert_msg(strcmp(found.digits, wanted.digits) == 0 && found.scientific == wanted.scientific, "%s, not %s", text,
                  expected);
}

START_TEST(the_style_is_plain_for_common_sizes_and_shows_a_float) {
    static const struct {
        float value;
        const char *text;
    } cases[] = {{0.0f, "0.0"},
                 {-0.0f, "-0.0"},
                 {1.0f, "1.0"},
                 {-1.0f, "-1.0"},
                 {10.0f, "10.0"},
                 {120.0f, "120.0"},
                 {0.5f, "0.5"},
                 {0.1f, "0.1"},
                 {0.001f, "0.001"},
                 {0.0001f, "0.0001"},
                 {0.00012345678f, "0.00012345678"},
                 {-0.00012345678f, "-0.00012345678"},
                 {0.00001f, "1e-5"},
                 {-0.000015f, "-1.5e-5"},
                 {1e-7f, "1e-7"},
                 {123456.0f, "123456.0"},
                 {12345678.0f, "12345678.0"},
                 {16777216.0f, "16777216.0"},
                 {100000000.0f, "100000000.0"},
                 {-123456790.0f, "-123456790.0"},
                 {1e9f, "1e9"},
                 {-1.5e9f, "-1.5e9"},
                 {1e20f, "1e20"},
                 {3.4028235e38f, "3.4028235e38"},
                 {-3.4028235e38f, "-3.4028235e38"},
                 {1.1754944e-38f, "1.1754944e-38"},
                 {1e-45f, "1e-45"},
                 {-1.234e-41f, "-1.234e-41"},
                 {3.1415927f, "3.1415927"},
                 {2.7182817f, "2.7182817"},
                 {(float)INFINITY, "\"Infinity\""},
                 {-(float)INFINITY, "\"-Infinity\""},
                 {(float)NAN, "\"NaN\""}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[NUMBER_MAX_TEXT + 1];
        *number_print_f32(text, cases[i].value) = '\0';
        ck_assert_str_eq(text, cases[i].text);
    }
}
END_TEST

START_TEST(doubles_have_the_same_style) {
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0.0, "0.0"},
                 {-0.0, "-0.0"},
                 {0.1, "0.1"},
                 {0.0001, "0.0001"},
                 {0.00001, "1e-5"},
                 {123456.0, "123456.0"},
                 {1e15, "1000000000000000.0"},
                 {9007199254740993.0, "9007199254740992.0"},
                 {1e16, "1e16"},
                 {1.2345678901234568e-300, "1.2345678901234568e-300"},
                 {-2.2250738585072014e-308, "-2.2250738585072014e-308"},
                 {5e-324, "5e-324"},
                 {1.7976931348623157e308, "1.7976931348623157e308"},
                 {9007199254740991.0, "9007199254740991.0"},
                 {2e-323, "2e-323"},
                 {1e23, "1e23"},
                 {9.5e-324, "1e-323"},
                 {4.35, "4.35"},
                 {INFINITY, "\"Infinity\""},
                 {-INFINITY, "\"-Infinity\""},
                 {NAN, "\"NaN\""}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[NUMBER_MAX_TEXT + 1];
        *number_print_f64(text, cases[i].value) = '\0';
        ck_assert_str_eq(text, cases[i].text);
    }
}
END_TEST

/** The shortest digits by trial: the fewest that read back, rounded to nearest by the C library. */
static int fewest_digits_f32(float value, char *text) {
    for (int digits = 1;; digits++) {
        sprintf(text, "%.*e", digits - 1, (double)value);
        if (strtof(text, NULL) == value) {
            return digits;
        }
    }
}

static int fewest_digits_f64(double value, char *text) {
    for (int digits = 1;; digits++) {
        sprintf(text, "%.*e", digits - 1, value);
        if (strtod(text, NULL) == value) {
            return digits;
        }
    }
}

/**
 * The library's rounded digits that read back are the nearest there are, unless the number is a power of two (where a
 * text farther away may be the only one of its length), which only needs to be no longer and to read back.
 */
START_TEST(shortest_floats_read_back_and_are_no_longer_than_by_trial) {
    uint64_t state = 1;
    for (int i = 0; i < 400000; i++) {
        uint32_t bits = i < 510 ? (uint32_t)(i / 2) << 23 | (uint32_t)i << 31 : (uint32_t)next_random(&state);
        float value = i % 4 == 3 ? (float)(next_random(&state) >> 40) * 0x1p-24f : f32_of(bits);
        if (!isfinite(value) || value == 0) {
            continue;
        }
        char text[NUMBER_MAX_TEXT + 1];
        char trial[64];
        *number_print_f32(text, value) = '\0';
        ck_assert_msg(strtof(text, NULL) == value, "%s for %a", text, (double)value);
        int digits = fewest_digits_f32(value, trial);
        if ((number_bits_f32(value) & 0x7fffff) != 0) {
            assert_same_number(text, trial);
        } else {
            ck_assert_int_le((int)strlen(take_apart(text).digits), digits);
        }
    }
}
END_TEST

START_TEST(shortest_doubles_read_back_and_are_no_longer_than_by_trial) {
    uint64_t state = 2;
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = i < 4094 ? (uint64_t)(i / 2) << 52 | (uint64_t)i << 63 : next_random(&state);
        double value = i % 4 == 3 ? (double)(next_random(&state) >> 11) * 0x1p-53 : f64_of(bits);
        if (!isfinite(value) || value == 0) {
            continue;
        }
        char text[NUMBER_MAX_TEXT + 1];
        char trial[64];
        *number_print_f64(text, value) = '\0';
        ck_assert_msg(strtod(text, NULL) == value, "%s for %a", text, value);
        int digits = fewest_digits_f64(value, trial);
        if ((number_bits_f64(value) & (((uint64_t)1 << 52) - 1)) != 0) {
            assert_same_number(text, trial);
        } else {
            ck_assert_int_le((int)strlen(take_apart(text).digits), digits);
        }
    }
}
END_TEST

START_TEST(fixed_digits_are_rounded_as_printf_rounds_them) {
    uint64_t state = 3;
    for (int i = 0; i < 400000; i++) {
        uint64_t bits = next_random(&state);
        double value = i % 4 == 0   ? f64_of(bits)
                       : i % 4 == 1 ? (double)f32_of((uint32_t)bits)
                       : i % 4 == 2 ? (double)(bits >> 40) / 1024
                                    : (double)(bits >> 52) * 0.125 * pow(10, (double)(bits % 12));
        int digits = 1 + (int)((bits >> 13) % 17);
        if (!isfinite(value) || value == 0) {
            continue;
        }
        char text[NUMBER_MAX_TEXT + 1];
        char library[64];
        sprintf(library, "%.*e", digits - 1, value);
        *number_print_digits_f64(text, value, digits) = '\0';
        assert_same_number(text, library);
        if (digits <= 9 && isfinite((float)value) && (float)value != 0) {
            sprintf(library, "%.*e", digits - 1, (double)(float)value);
            *number_print_digits_f32(text, (float)value, digits) = '\0';
            assert_same_number(text, library);
        }
    }
}
END_TEST

START_TEST(fixed_digits_drop_trailing_zeros_and_round_ties_to_even) {
    static const struct {
        double value;
        int digits;
        const char *text;
    } cases[] = {{0.5, 3, "0.5"},     {1.0, 1, "1.0"},        {2.5, 1, "2.0"},
                 {3.5, 1, "4.0"},     {0.125, 2, "0.12"},     {0.375, 2, "0.38"},
                 {9.9996, 4, "10.0"}, {99999, 2, "100000.0"}, {0, 4, "0.0"},
                 {-0.0, 4, "-0.0"},   {1.5, 9, "1.5"},        {123456, 3, "123000.0"},
                 {1e-5, 5, "1e-5"},   {1e22, 17, "1e22"},     {-0.1, 17, "-0.10000000000000001"},
                 {1.25, 2, "1.2"},    {1e-310, 3, "1e-310"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[NUMBER_MAX_TEXT + 1];
        *number_print_digits_f64(text, cases[i].value, cases[i].digits) = '\0';
        ck_assert_str_eq(text, cases[i].text);
    }
}
END_TEST

START_TEST(integers_print_whole) {
    static const int64_t cases[] = {0, 1, -1, 9, 10, 99, 100, 12345, -98765, INT64_MAX, INT64_MIN, 1000000000000};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[NUMBER_MAX_TEXT + 1];
        char library[32];
        *number_print_i64(text, cases[i]) = '\0';
        sprintf(library, "%lld", (long long)cases[i]);
        ck_assert_str_eq(text, library);
    }
}
END_TEST

static void fill(float *values, size_t count, uint64_t *state) {
    uint64_t kind = next_random(state) % 6;
    for (size_t i = 0; i < count; i++) {
        uint64_t random = next_random(state);
        double unit = (double)(random >> 11) * 0x1p-53;
        values[i] = kind == 0   ? f32_of((uint32_t)random)
                    : kind == 1 ? (float)(random % 5) * 0.25f
                    : kind == 2 ? (float)(unit * unit * unit)
                    : kind == 3 ? (float)(random % 2000) - 1000
                    : kind == 4 ? ldexpf((float)(random >> 63 ? 1 : -1), (int)(random % 60) - 30)
                                : (float)(unit * 4 - 2);
        if (random % 97 == 0) {
            static const uint32_t odd[] = {0,          0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 1,
                                           0x80000007, 0x007fffff, 0x00800000, 0x7f7fffff, 0x3f800000, 0x4b800000};
            values[i] = f32_of(odd[random / 97 % COUNT(odd)]);
        }
    }
}

static void assert_prints_as_portably(const struct number_variant *variant, const float *values, size_t count,
                                      int digits) {
    static char text[2][600 * NUMBER_MAX_TEXT];
    char *end[2];
    end[0] = number_portable_print_run_f32(text[0], values, count, digits);
    end[1] = variant->print_run_f32(text[1], values, count, digits);
    ck_assert_int_eq(end[0] - text[0], end[1] - text[1]);
    ck_assert_msg(memcmp(text[0], text[1], (size_t)(end[0] - text[0])) == 0, "%s, %d digits:\n%.*s\n%.*s",
                  variant->name, digits, (int)(end[0] - text[0]), text[0], (int)(end[1] - text[1]), text[1]);
}

START_TEST(every_variant_prints_runs_as_the_portable_one_does) {
    uint64_t state = 4;
    size_t variant_count;
    const struct number_variant *const *variants = number_variants(&variant_count);
    static float values[600];
    for (int i = 0; i < 20000; i++) {
        size_t count = next_random(&state) % (i % 16 == 0 ? 600 : 40);
        int digits = (int)(next_random(&state) % 20) - 10;
        fill(values, count, &state);
        for (size_t v = 0; v < variant_count; v++) {
            if (variants[v]->is_supported()) {
                assert_prints_as_portably(variants[v], values, count, digits < 0 ? 0 : digits);
            }
        }
    }
}
END_TEST

START_TEST(a_stride_of_all_floats_prints_alike_in_every_variant) {
    size_t variant_count;
    const struct number_variant *const *variants = number_variants(&variant_count);
    static float values[512];
    uint32_t bits = 0;
    for (int i = 0; i < 4096; i++) {
        for (size_t j = 0; j < COUNT(values); j++) {
            values[j] = f32_of(bits);
            bits += 2053;
        }
        for (size_t v = 0; v < variant_count; v++) {
            if (variants[v]->is_supported()) {
                assert_prints_as_portably(variants[v], values, COUNT(values), i % 10);
            }
        }
    }
}
END_TEST

START_TEST(a_run_writes_no_further_than_its_room) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(pages, MAP_FAILED);
    ck_assert_int_eq(mprotect(pages + page, page, PROT_NONE), 0);
    size_t variant_count;
    const struct number_variant *const *variants = number_variants(&variant_count);
    static float values[64];
    for (size_t count = 0; count < 64; count++) {
        values[count] = -f32_of(0x00800001u + (uint32_t)count * 3);
        for (size_t v = 0; v < variant_count; v++) {
            if (variants[v]->is_supported()) {
                char *to = pages + page - count * NUMBER_MAX_TEXT;
                char *end = variants[v]->print_run_f32(to, values, count, 0);
                ck_assert(end <= pages + page);
            }
        }
    }
    munmap(pages, 2 * page);
}
END_TEST

START_TEST(runs_of_doubles_are_separated_by_commas) {
    static const double values[] = {1, -0.5, 1e300, NAN, 0};
    char text[COUNT(values) * NUMBER_MAX_TEXT + 1];
    *number_print_run_f64(text, values, COUNT(values), 0) = '\0';
    ck_assert_str_eq(text, "1.0,-0.5,1e300,\"NaN\",0.0");
    *number_print_run_f64(text, values, 0, 0) = '\0';
    ck_assert_str_eq(text, "");
    ck_assert_ptr_nonnull(number_variant());
}
END_TEST

int main(void) {
    Suite *suite = suite_create("codec/number: printing");
    TCase *tcase = tcase_create("printing");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, the_style_is_plain_for_common_sizes_and_shows_a_float);
    tcase_add_test(tcase, doubles_have_the_same_style);
    tcase_add_test(tcase, shortest_floats_read_back_and_are_no_longer_than_by_trial);
    tcase_add_test(tcase, shortest_doubles_read_back_and_are_no_longer_than_by_trial);
    tcase_add_test(tcase, fixed_digits_are_rounded_as_printf_rounds_them);
    tcase_add_test(tcase, fixed_digits_drop_trailing_zeros_and_round_ties_to_even);
    tcase_add_test(tcase, integers_print_whole);
    tcase_add_test(tcase, every_variant_prints_runs_as_the_portable_one_does);
    tcase_add_test(tcase, a_stride_of_all_floats_prints_alike_in_every_variant);
    tcase_add_test(tcase, a_run_writes_no_further_than_its_room);
    tcase_add_test(tcase, runs_of_doubles_are_separated_by_commas);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
