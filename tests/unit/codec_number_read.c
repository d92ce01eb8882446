/* Reading numbers: the grammar, the rounding against the C library, and every variant at every edge. */
#include "server/codec/number_internal.h"
#include "tests/unit/codec_number_random.h"
#include "tests/unit/run_suite.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/** A page that ends where reading would trap. */
static char *guarded_page(size_t *size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(pages, MAP_FAILED);
    ck_assert_int_eq(mprotect(pages, page, PROT_NONE), 0);
    ck_assert_int_eq(mprotect(pages + 2 * page, page, PROT_NONE), 0);
    *size = page;
    return pages + page;
}

static void free_guarded_page(char *page, size_t size) {
    munmap(page - size, 3 * size);
}

static void assert_reads_as_library(const char *text) {
    const char *end = text + strlen(text);
    const char *after;
    double wide = 0;
    float narrow = 0;
    double library_wide = strtod(text, NULL);
    float library_narrow = strtof(text, NULL);
    enum number_status status = number_read_f64(text, end, &wide, &after);
    ck_assert_msg(status == (isinf(library_wide) ? NUMBER_OVERFLOW : NUMBER_OK), "f64 status %d: %s", status, text);
    if (status == NUMBER_OK) {
        ck_assert_msg(number_bits_f64(wide) == number_bits_f64(library_wide), "%s: %a not %a", text, wide,
                      library_wide);
        ck_assert_ptr_eq(after, end);
    }
    status = number_read_f32(text, end, &narrow, &after);
    ck_assert_msg(status == (isinf(library_narrow) ? NUMBER_OVERFLOW : NUMBER_OK), "f32 status %d: %s", status, text);
    if (status == NUMBER_OK) {
        ck_assert_msg(number_bits_f32(narrow) == number_bits_f32(library_narrow), "%s: %a not %a", text, (double)narrow,
                      (double)library_narrow);
        ck_assert_ptr_eq(after, end);
    }
}

START_TEST(what_is_no_json_number_is_refused_at_its_byte) {
    static const struct {
        const char *text;
        int offset;
    } cases[] = {
        {"", 0},      {"+1", 0},  {"-", 1},    {"-a", 1},   {".5", 0},   {"-.5", 1}, {"1.", 2},   {"1.e5", 2},
        {"1e", 2},    {"1e+", 3}, {"1e-x", 3}, {"1.5E", 4}, {"NaN", 0},  {"inf", 0}, {"-Inf", 1}, {" 1", 0},
        {"\"1\"", 0}, {"--1", 1}, {",1", 0},   {"1.-5", 2}, {"1e.5", 2}, {"e5", 0},  {"0.", 2},   {"-0.e1", 3},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *end = cases[i].text + strlen(cases[i].text);
        const char *after = NULL;
        double wide;
        float narrow;
        int64_t integer;
        ck_assert_int_eq(number_read_f64(cases[i].text, end, &wide, &after), NUMBER_SYNTAX);
        ck_assert_msg(after == cases[i].text + cases[i].offset, "%s", cases[i].text);
        ck_assert_int_eq(number_read_f32(cases[i].text, end, &narrow, &after), NUMBER_SYNTAX);
        ck_assert_msg(after == cases[i].text + cases[i].offset, "%s", cases[i].text);
        ck_assert_int_eq(number_read_i64(cases[i].text, end, &integer, &after), NUMBER_SYNTAX);
        ck_assert_msg(after == cases[i].text + cases[i].offset, "%s", cases[i].text);
    }
}
END_TEST

START_TEST(a_number_ends_where_the_grammar_says) {
    static const struct {
        const char *text;
        int length;
        double value;
    } cases[] = {{"01", 1, 0},     {"-01", 2, -0.0},   {"1.5.2", 3, 1.5}, {"1e5e", 3, 1e5}, {"1-2", 1, 1},
                 {"0x10", 1, 0},   {"1.25]", 4, 1.25}, {"12 ", 2, 12},    {"3,4", 1, 3},    {"1e5.5", 3, 1e5},
                 {"00.5", 1, 0},   {"0e0", 3, 0},      {"0E+1]", 4, 0},   {"1_000", 1, 1},  {"-0.0,", 4, -0.0},
                 {"1.0f", 3, 1.0}, {"2e-01", 5, 0.2}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *after = NULL;
        double value = -1;
        const char *end = cases[i].text + strlen(cases[i].text);
        ck_assert_int_eq(number_read_f64(cases[i].text, end, &value, &after), NUMBER_OK);
        ck_assert_msg(after == cases[i].text + cases[i].length, "%s", cases[i].text);
        ck_assert_uint_eq(number_bits_f64(value), number_bits_f64(cases[i].value));
    }
}
END_TEST

START_TEST(published_hard_cases_are_rounded_correctly) {
    static const char *const cases[] = {
#include "tests/unit/codec_number_hard_cases.inc"
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_reads_as_library(cases[i]);
    }
}
END_TEST

START_TEST(halfway_between_two_numbers_goes_to_the_even_one_however_long_the_text) {
    char text[4096];
    uint64_t state = 1;
    for (int i = 0; i < 3000; i++) {
        uint64_t bits = next_random(&state) & INT64_MAX;
        if (bits >> 52 >= 0x7fe) {
            continue;
        }
        double below;
        memcpy(&below, &bits, sizeof below);
        /* The exact decimal of the midpoint has at most 770 digits; long double holds it. */
        long double middle = ((long double)below + (long double)nextafter(below, INFINITY)) / 2;
        int length = snprintf(text, 1200, "%.800Le", middle);
        ck_assert_int_gt(length, 0);
        assert_reads_as_library(text);
        char *exponent = strchr(text, 'e');
        char tail[16];
        snprintf(tail, sizeof tail, "%s", exponent);
        snprintf(exponent, 2000, "%0*d1%s", 900, 0, tail);
        assert_reads_as_library(text);
    }
}
END_TEST

START_TEST(floats_near_their_midpoints_are_rounded_once) {
    char text[256];
    uint64_t state = 2;
    for (int i = 0; i < 100000; i++) {
        uint32_t bits = (uint32_t)next_random(&state) & 0x7fffffff;
        if (bits >= 0x7f7fffff) {
            continue;
        }
        float below;
        memcpy(&below, &bits, sizeof below);
        double middle = ((double)below + (double)nextafterf(below, INFINITY)) / 2;
        int precision = (int)(next_random(&state) % 30);
        snprintf(text, sizeof text, "%.*e", precision, middle);
        assert_reads_as_library(text);
    }
}
END_TEST

START_TEST(random_decimals_are_read_as_the_library_reads_them) {
    char text[128];
    uint64_t state = 3;
    for (int i = 0; i < 300000; i++) {
        random_number(text, &state);
        assert_reads_as_library(text);
    }
}
END_TEST

START_TEST(integers_are_exact) {
    static const struct {
        const char *text;
        enum number_status status;
        int64_t value;
    } cases[] = {{"2", NUMBER_OK, 2},
                 {"2.0", NUMBER_OK, 2},
                 {"2e0", NUMBER_OK, 2},
                 {"20e-1", NUMBER_OK, 2},
                 {"0.02e2", NUMBER_OK, 2},
                 {"1.5", NUMBER_FRACTION, 0},
                 {"1e-1", NUMBER_FRACTION, 0},
                 {"15e-1", NUMBER_FRACTION, 0},
                 {"-0", NUMBER_OK, 0},
                 {"-0.0", NUMBER_OK, 0},
                 {"0e999999999999", NUMBER_OK, 0},
                 {"9223372036854775807", NUMBER_OK, INT64_MAX},
                 {"9223372036854775808", NUMBER_FRACTION, 0},
                 {"-9223372036854775808", NUMBER_OK, INT64_MIN},
                 {"-9223372036854775809", NUMBER_FRACTION, 0},
                 {"1e18", NUMBER_OK, 1000000000000000000},
                 {"1e19", NUMBER_FRACTION, 0},
                 {"1e400", NUMBER_FRACTION, 0},
                 {"9007199254740993", NUMBER_OK, 9007199254740993},
                 {"2.00000000000000000000000000000000000", NUMBER_OK, 2},
                 {"2.00000000000000000000000000000000001", NUMBER_FRACTION, 0},
                 {"20000000000000000000000000000000000000e-37", NUMBER_OK, 2},
                 {"0.00000000000000000000000000000000000002e38", NUMBER_OK, 2},
                 {"1e99999999999999999999999999", NUMBER_FRACTION, 0},
                 {"1e-99999999999999999999999999", NUMBER_FRACTION, 0}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *after;
        int64_t value = 0;
        const char *end = cases[i].text + strlen(cases[i].text);
        ck_assert_msg(number_read_i64(cases[i].text, end, &value, &after) == cases[i].status, "%s", cases[i].text);
        ck_assert_int_eq(value, cases[i].value);
        ck_assert_ptr_eq(after, cases[i].status == NUMBER_OK ? end : cases[i].text);
    }
}
END_TEST

START_TEST(a_run_stops_where_the_header_says) {
    static const struct {
        const char *text;
        size_t capacity, count;
        enum number_status status;
        int after;
    } cases[] = {
        {"1, 2.5 , -3e1]", 9, 3, NUMBER_OK, 13},
        {"1,2,3", 9, 3, NUMBER_OK, 5},
        {"1 \n]", 9, 1, NUMBER_OK, 3},
        {"1,2,3]", 2, 2, NUMBER_OK, 3},
        {"1,2 ,3]", 2, 2, NUMBER_OK, 4},
        {"1, [2]", 9, 1, NUMBER_SYNTAX, 3},
        {"1,\"NaN\"]", 9, 1, NUMBER_SYNTAX, 2},
        {"1,2.x,3]", 9, 1, NUMBER_SYNTAX, 2},
        {"1,1e39,3]", 9, 1, NUMBER_OVERFLOW, 2},
        {"x", 9, 0, NUMBER_SYNTAX, 0},
        {"", 9, 0, NUMBER_SYNTAX, 0},
        {"1,2", 0, 0, NUMBER_OK, 0},
        {"1,", 9, 1, NUMBER_SYNTAX, 2},
        {"01", 9, 1, NUMBER_OK, 1},
        {"1,-01]", 9, 2, NUMBER_OK, 4},
        {"1.5.5,2]", 9, 1, NUMBER_OK, 3},
        {"1,2\t,\r\n 3 }", 9, 3, NUMBER_OK, 10},
        {"1 2,3", 9, 1, NUMBER_OK, 2},
        {"0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5x", 99, 18, NUMBER_OK, 71},
        {"0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,00.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5]", 99, 10, NUMBER_OK, 37},
        {"0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,+0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5]", 99, 9, NUMBER_SYNTAX, 36},
        {"0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5]", 99, 9, NUMBER_SYNTAX, 36},
        {"0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,5.,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5]", 99, 9, NUMBER_SYNTAX, 36},
        {"0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,1]", 99, 9, NUMBER_SYNTAX, 36},
        {"0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0-5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5]", 99, 10, NUMBER_OK, 37},
        {"0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,--5.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5]", 99, 9, NUMBER_SYNTAX, 36},
        {"0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,5-.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5]", 99, 10, NUMBER_OK, 37},
        {"0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5, 5 .5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5]", 99, 10, NUMBER_OK, 39},
        {"0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,5.5\n,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5]", 99, 19, NUMBER_OK, 76},
    };
    size_t variant_count;
    const struct number_variant *const *variants = number_variants(&variant_count);
    for (size_t v = 0; v < variant_count; v++) {
        for (size_t i = 0; variants[v]->is_supported() && i < COUNT(cases); i++) {
            const char *end = cases[i].text + strlen(cases[i].text);
            const char *after = NULL;
            float narrow[99];
            double wide[99];
            size_t count = 77;
            enum number_status status =
                variants[v]->read_run_f32(cases[i].text, end, narrow, cases[i].capacity, &count, &after);
            ck_assert_msg(status == cases[i].status, "%s: %s: %d", variants[v]->name, cases[i].text, status);
            ck_assert_msg(count == cases[i].count, "%s: %s: %zu", variants[v]->name, cases[i].text, count);
            ck_assert_msg(after - cases[i].text == cases[i].after, "%s: %s: %td", variants[v]->name, cases[i].text,
                          after - cases[i].text);
            if (cases[i].status != NUMBER_OVERFLOW) {
                status = variants[v]->read_run_f64(cases[i].text, end, wide, cases[i].capacity, &count, &after);
                ck_assert_int_eq(status, cases[i].status);
                ck_assert_uint_eq(count, cases[i].count);
                ck_assert_int_eq(after - cases[i].text, cases[i].after);
            }
        }
    }
}
END_TEST

/** Fills `text` with a run of numbers of mixed shapes, now and then with something wrong in it. @return its length */
static size_t random_run(char *text, size_t size, size_t count, uint64_t *state) {
    static const char *const separators[] = {",", ",", ",", ",", ", ", " ,", ",\n  "};
    size_t length = 0;
    uint64_t kind = next_random(state) % 8;
    for (size_t i = 0; i < count && length + 200 < size; i++) {
        uint64_t random = next_random(state);
        double unit = (double)(random >> 11) * 0x1p-53;
        char *p = text + length;
        switch (kind) {
        case 0:
            p += random_number(p, state);
            break;
        case 1:
            p += sprintf(p, "%d", (int)(random % 3));
            break;
        case 2:
            p += sprintf(p, "%.*g", 1 + (int)(random % 9), unit * unit * unit);
            break;
        case 3:
            p += sprintf(p, "%.17g", unit * 2 - 1);
            break;
        default:
            p += sprintf(p, "%.*f", 1 + (int)(random % 12), (unit - 0.5) * (kind == 4 ? 1 : 4));
            break;
        }
        uint64_t fault = next_random(state);
        if (fault % 2048 == 0) {
            text[length + fault / 2048 % (size_t)(p - text - (ptrdiff_t)length)] = "x.-e, +[0"[fault >> 32 & 7];
        }
        const char *separator = separators[kind == 7 ? random % COUNT(separators) : 0];
        length = (size_t)(p - text);
        memcpy(text + length, separator, strlen(separator));
        length += strlen(separator);
    }
    text[length - 1] = ']';
    return length;
}

static void assert_run_is_read_as_portably(const struct number_variant *variant, const char *text, size_t length,
                                           size_t capacity) {
    static float narrow[2][1024];
    static double wide[2][1024];
    size_t count[2];
    const char *after[2];
    enum number_status status[2];
    const char *end = text + length;
    status[0] = number_portable_read_run_f32(text, end, narrow[0], capacity, &count[0], &after[0]);
    status[1] = variant->read_run_f32(text, end, narrow[1], capacity, &count[1], &after[1]);
    ck_assert_msg(count[0] == count[1] && after[0] == after[1] && status[0] == status[1],
                  "%s f32: count %zu %zu, after %td %td, status %d %d: %.*s", variant->name, count[0], count[1],
                  after[0] - text, after[1] - text, status[0], status[1], (int)length, text);
    ck_assert_msg(memcmp(narrow[0], narrow[1], count[0] * sizeof(float)) == 0, "%.*s", (int)length, text);
    status[0] = number_portable_read_run_f64(text, end, wide[0], capacity, &count[0], &after[0]);
    status[1] = variant->read_run_f64(text, end, wide[1], capacity, &count[1], &after[1]);
    ck_assert_msg(count[0] == count[1] && after[0] == after[1] && status[0] == status[1], "f64: %.*s", (int)length,
                  text);
    ck_assert_msg(memcmp(wide[0], wide[1], count[0] * sizeof(double)) == 0, "%.*s", (int)length, text);
}

START_TEST(every_variant_reads_runs_as_the_portable_one_does_up_to_the_last_byte_of_a_page) {
    size_t page_size;
    char *page = guarded_page(&page_size);
    char *text = malloc(page_size);
    ck_assert_ptr_nonnull(text);
    uint64_t state = 4;
    size_t variant_count;
    const struct number_variant *const *variants = number_variants(&variant_count);
    for (int i = 0; i < 20000; i++) {
        size_t count = 1 + next_random(&state) % (i % 8 == 0 ? 400 : 40);
        size_t length = random_run(text, page_size, count, &state);
        size_t capacity = next_random(&state) % 4 == 0 ? next_random(&state) % (count + 2) : 1024;
        if (next_random(&state) % 8 == 0) {
            length -= next_random(&state) % length;
        }
        size_t start = next_random(&state) % 2 == 0 ? page_size - length : next_random(&state) % (page_size - length);
        memcpy(page + start, text, length);
        for (size_t v = 0; v < variant_count; v++) {
            if (variants[v]->is_supported()) {
                assert_run_is_read_as_portably(variants[v], page + start, length, capacity);
            }
        }
    }
    free(text);
    free_guarded_page(page, page_size);
}
END_TEST

START_TEST(single_numbers_are_read_without_looking_beyond_their_end) {
    size_t page_size;
    char *page = guarded_page(&page_size);
    static const char *const cases[] = {"1", "-12.5", "1e5", "123456789012345678901234567890", "0.1", "1e-", "-", "5."};
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t length = strlen(cases[i]);
        char *text = page + page_size - length;
        memcpy(text, cases[i], length);
        double wide;
        float narrow;
        int64_t integer;
        const char *after;
        enum number_status wide_status = number_read_f64(text, text + length, &wide, &after);
        enum number_status narrow_status = number_read_f32(text, text + length, &narrow, &after);
        ck_assert_int_eq(wide_status, narrow_status);
        ck_assert_int_eq(wide_status, i < 5 ? NUMBER_OK : NUMBER_SYNTAX);
        number_read_i64(text, text + length, &integer, &after);
        ck_assert(after <= text + length);
    }
    free_guarded_page(page, page_size);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("codec/number: reading");
    TCase *tcase = tcase_create("reading");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, what_is_no_json_number_is_refused_at_its_byte);
    tcase_add_test(tcase, a_number_ends_where_the_grammar_says);
    tcase_add_test(tcase, published_hard_cases_are_rounded_correctly);
    tcase_add_test(tcase, halfway_between_two_numbers_goes_to_the_even_one_however_long_the_text);
    tcase_add_test(tcase, floats_near_their_midpoints_are_rounded_once);
    tcase_add_test(tcase, random_decimals_are_read_as_the_library_reads_them);
    tcase_add_test(tcase, integers_are_exact);
    tcase_add_test(tcase, a_run_stops_where_the_header_says);
    tcase_add_test(tcase, every_variant_reads_runs_as_the_portable_one_does_up_to_the_last_byte_of_a_page);
    tcase_add_test(tcase, single_numbers_are_read_without_looking_beyond_their_end);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
