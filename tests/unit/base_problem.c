#include "server/base/problem.h"
#include "tests/unit/run_suite.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

START_TEST(every_problem_has_a_urn_of_its_own_a_title_and_an_error_status) {
    for (int id = PROBLEM_NONE + 1; id < PROBLEM_COUNT; id++) {
        ck_assert_int_ge(problem_status((enum problem_id)id), 400);
        ck_assert_int_lt(problem_status((enum problem_id)id), 600);
        ck_assert(strncmp(problem_urn((enum problem_id)id), "urn:attnd:problem:", 18) == 0);
        ck_assert_uint_gt(strlen(problem_title((enum problem_id)id)), 5);
        for (int other = PROBLEM_NONE; other < id; other++) {
            ck_assert_str_ne(problem_urn((enum problem_id)id), problem_urn((enum problem_id)other));
        }
    }
    ck_assert_str_eq(problem_urn(PROBLEM_INVALID), "urn:attnd:problem:invalid-request");
    ck_assert_int_eq(problem_status(PROBLEM_MALFORMED), 400);
}
END_TEST

START_TEST(setting_a_problem_forgets_the_one_before) {
    struct problem problem = {.has_offset = true, .offset = 7, .retry_after_s = 3, .parameter = "x"};
    problem_set(&problem, PROBLEM_INVALID, "/key", "expected %d, found %d", 2, 3);
    ck_assert_int_eq(problem.id, PROBLEM_INVALID);
    ck_assert_str_eq(problem.pointer, "/key");
    ck_assert_str_eq(problem.detail, "expected 2, found 3");
    ck_assert(!problem.has_offset);
    ck_assert_int_eq(problem.retry_after_s, 0);
    ck_assert_str_eq(problem.parameter, "");
    problem_set(&problem, PROBLEM_NOT_FOUND, NULL, "no");
    ck_assert_str_eq(problem.pointer, "");
}
END_TEST

START_TEST(a_problem_may_be_set_from_its_own_text) {
    struct problem problem = {.pointer = "/a", .detail = "b"};
    problem_set(&problem, PROBLEM_INVALID, problem.pointer, "%s, really", problem.detail);
    ck_assert_str_eq(problem.pointer, "/a");
    ck_assert_str_eq(problem.detail, "b, really");
}
END_TEST

START_TEST(long_texts_are_cut_between_characters) {
    char text[2000];
    for (size_t i = 0; i + 2 < sizeof text; i += 3) {
        memcpy(text + i, "\xE2\x82\xAC", 3);
    }
    text[sizeof text - 2] = '\0';
    struct problem problem;
    problem_set(&problem, PROBLEM_INVALID, text, "%s", text);
    ck_assert_uint_eq(strlen(problem.detail) % 3, 0);
    ck_assert_uint_eq(strlen(problem.pointer) % 3, 0);
    ck_assert_uint_ge(strlen(problem.detail), sizeof problem.detail - 4);
}
END_TEST

START_TEST(pointer_tokens_are_escaped_and_cut) {
    char pointer[16] = "";
    problem_pointer_append(pointer, sizeof pointer, "a/b~c", 5);
    ck_assert_str_eq(pointer, "/a~1b~0c");
    problem_pointer_append(pointer, sizeof pointer, "12345/789", 9);
    ck_assert_str_eq(pointer, "/a~1b~0c/12345"); /* half of "~1" would not fit behind it */
    problem_pointer_append(pointer, sizeof pointer, "x", 1);
    ck_assert_str_eq(pointer, "/a~1b~0c/12345/");
    problem_pointer_append(pointer, sizeof pointer, "x", 1);
    ck_assert_str_eq(pointer, "/a~1b~0c/12345/");
}
END_TEST

START_TEST(library_errors_become_problems) {
    struct problem problem;
    struct attn_error error = {.status = ATTN_ESHAPE, .field = "key_lengths/2", .message = "expected 3, found 4"};
    problem_from_attn(&problem, &error);
    ck_assert_int_eq(problem_status(problem.id), 422);
    ck_assert_str_eq(problem.pointer, "/key_lengths/2");
    ck_assert_str_eq(problem.detail, "expected 3, found 4");
    error = (struct attn_error){.status = ATTN_EFORMAT, .field = "a/b", .message = "bad", .offset = 9};
    problem_from_attn(&problem, &error);
    ck_assert_int_eq(problem_status(problem.id), 400);
    ck_assert_str_eq(problem.pointer, "/a~1b");
    ck_assert(problem.has_offset);
    ck_assert_uint_eq(problem.offset, 9);
    ck_assert_str_eq(problem.detail, "bad, at byte 9");
    static const struct {
        attn_status status;
        int expected;
    } rows[] = {{ATTN_EDTYPE, 422}, {ATTN_ERANGE, 422}, {ATTN_ECONFLICT, 422}, {ATTN_ELIMIT, 422},
                {ATTN_ENOMEM, 503}, {ATTN_EIO, 500},    {ATTN_ECANCELLED, 504}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        error = (struct attn_error){.status = rows[i].status};
        problem_from_attn(&problem, &error);
        ck_assert_int_eq(problem_status(problem.id), rows[i].expected);
        ck_assert_str_eq(problem.pointer, "");
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("problem");
    TCase *tests = tcase_create("problem");
    tcase_add_test(tests, every_problem_has_a_urn_of_its_own_a_title_and_an_error_status);
    tcase_add_test(tests, setting_a_problem_forgets_the_one_before);
    tcase_add_test(tests, a_problem_may_be_set_from_its_own_text);
    tcase_add_test(tests, long_texts_are_cut_between_characters);
    tcase_add_test(tests, pointer_tokens_are_escaped_and_cut);
    tcase_add_test(tests, library_errors_become_problems);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
