#include "server/routes/json_value.h"
#include "tests/unit/run_suite.h"
#include <check.h>
#include <limits.h>
#include <stdlib.h>

static struct problem problem;

static json_t *read(const char *text) {
    json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
    ck_assert_ptr_nonnull(json);
    problem = (struct problem){0};
    return json;
}

static bool reads_integer(const char *text, long long minimum, long long maximum, long long *value) {
    json_t *json = read(text);
    bool is_read = json_value_integer(json, "/top_k", minimum, maximum, value, &problem);
    json_decref(json);
    return is_read;
}

START_TEST(whole_numbers_are_integers_however_they_are_written) {
    static const char *const texts[] = {"2", "2.0", "2e0", "20e-1"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        long long value = 0;
        ck_assert(reads_integer(texts[i], 1, LLONG_MAX, &value));
        ck_assert_int_eq(value, 2);
    }
}
END_TEST

START_TEST(an_integer_that_is_none_or_out_of_range_says_what_was_expected_and_found) {
    static const struct {
        const char *text, *detail;
    } cases[] = {
        {"1.5", "expected an integer, found 1.5"},
        {"1e300", "expected an integer, found 1.0000000000000001e+300"},
        {"\"2\"", "expected an integer, found a string"},
        {"true", "expected an integer, found a boolean"},
        {"[]", "expected an integer, found an array"},
        {"0", "expected an integer from 1 to 9, found 0"},
        {"10", "expected an integer from 1 to 9, found 10"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        long long value;
        ck_assert(!reads_integer(cases[i].text, 1, 9, &value));
        ck_assert_int_eq(problem.id, PROBLEM_INVALID);
        ck_assert_str_eq(problem.pointer, "/top_k");
        ck_assert_str_eq(problem.detail, cases[i].detail);
    }
}
END_TEST

static const char *color_name(int index) {
    static const char *const names[] = {"red", "green"};
    return names[index];
}

START_TEST(a_name_that_is_not_in_the_table_is_answered_with_the_table) {
    int index = -1;
    json_t *green = read("\"green\""), *blue = read("\"blue\"");
    ck_assert(json_value_name(green, "/color", (struct json_names){color_name, 2}, &index, &problem));
    ck_assert_int_eq(index, 1);
    ck_assert(!json_value_name(blue, "/color", (struct json_names){color_name, 2}, &index, &problem));
    ck_assert_str_eq(problem.detail, "expected one of \"red\", \"green\", found \"blue\"");
    json_t *longer = json_loads("\"green\\u0000er\"", JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    ck_assert(!json_value_name(longer, "/color", (struct json_names){color_name, 2}, &index, &problem));
    json_decref(longer);
    json_decref(green);
    json_decref(blue);
}
END_TEST

START_TEST(a_range_ends_behind_its_start) {
    static const struct {
        const char *text, *pointer;
    } cases[] = {{"[2, 2]", "/r"}, {"[3, 1]", "/r"},    {"[1]", "/r"},
                 {"7", "/r"},      {"[-1, 2]", "/r/0"}, {"[0, 1.5]", "/r/1"}};
    size_t range[2];
    json_t *good = read("[0, 3]");
    ck_assert(json_value_range(good, "/r", range, &problem));
    ck_assert_uint_eq(range[0], 0);
    ck_assert_uint_eq(range[1], 3);
    json_decref(good);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *bad = read(cases[i].text);
        ck_assert(!json_value_range(bad, "/r", range, &problem));
        ck_assert_str_eq(problem.pointer, cases[i].pointer);
        json_decref(bad);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("json values");
    TCase *tests = tcase_create("json values");
    tcase_add_test(tests, whole_numbers_are_integers_however_they_are_written);
    tcase_add_test(tests, an_integer_that_is_none_or_out_of_range_says_what_was_expected_and_found);
    tcase_add_test(tests, a_name_that_is_not_in_the_table_is_answered_with_the_table);
    tcase_add_test(tests, a_range_ends_behind_its_start);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
