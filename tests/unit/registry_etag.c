/* Entity tags against RFC 9110, section 8.8.3.2 (comparison) and 13.1 (conditions). */
#include "server/registry/etag.h"
#include "tests/unit/run_suite.h"
#include <check.h>
#include <stdlib.h>

static const struct {
    const char *list, *opaque;
    enum etag_result strong, weak;
} cases[] = {
    /* the table of section 8.8.3.2 */
    {"W/\"1\"", "1", ETAG_DIFFERS, ETAG_MATCHES},
    {"W/\"2\"", "1", ETAG_DIFFERS, ETAG_DIFFERS},
    {"\"1\"", "1", ETAG_MATCHES, ETAG_MATCHES},
    /* lists, the examples of section 13.1.1 and 13.1.2 */
    {"\"xyzzy\"", "xyzzy", ETAG_MATCHES, ETAG_MATCHES},
    {"\"xyzzy\", \"r2d2xxxx\", \"c3piozzzz\"", "c3piozzzz", ETAG_MATCHES, ETAG_MATCHES},
    {"W/\"xyzzy\", W/\"r2d2xxxx\", W/\"c3piozzzz\"", "r2d2xxxx", ETAG_DIFFERS, ETAG_MATCHES},
    {"*", "x", ETAG_MATCHES, ETAG_MATCHES},
    {" * ", NULL, ETAG_DIFFERS, ETAG_DIFFERS},
    {"\"x\"", NULL, ETAG_DIFFERS, ETAG_DIFFERS},
    {"\"\"", "", ETAG_DIFFERS, ETAG_DIFFERS},
    {"*", "", ETAG_MATCHES, ETAG_MATCHES},
    {",, \"a\" , ,\"b\",", "b", ETAG_MATCHES, ETAG_MATCHES},
    {"\"a,b\"", "a,b", ETAG_MATCHES, ETAG_MATCHES},
    {"\"\"", "x", ETAG_DIFFERS, ETAG_DIFFERS},
    {"abc", "abc", ETAG_MALFORMED, ETAG_MALFORMED},
    {"\"abc", "abc", ETAG_MALFORMED, ETAG_MALFORMED},
    {"\"a\" \"b\"", "a", ETAG_MALFORMED, ETAG_MALFORMED},
    {"\"a b\"", "a b", ETAG_MALFORMED, ETAG_MALFORMED},
    {"w/\"a\"", "a", ETAG_MALFORMED, ETAG_MALFORMED},
    {"*, \"a\"", "a", ETAG_MALFORMED, ETAG_MALFORMED},
    {"", "a", ETAG_MALFORMED, ETAG_MALFORMED},
    {" , ", "a", ETAG_MALFORMED, ETAG_MALFORMED},
};

START_TEST(lists_are_compared_strongly_and_weakly) {
    ck_assert_msg(etag_compare(cases[_i].list, cases[_i].opaque, false) == cases[_i].strong, "%s", cases[_i].list);
    ck_assert_msg(etag_compare(cases[_i].list, cases[_i].opaque, true) == cases[_i].weak, "%s", cases[_i].list);
}
END_TEST

START_TEST(both_conditions_must_hold) {
    struct problem problem = {.id = PROBLEM_NONE};
    struct registry_condition condition = {"\"a\"", "\"b\""};
    ck_assert(etag_condition_holds(NULL, NULL, &problem));
    ck_assert(etag_condition_holds(&condition, "a", &problem));
    ck_assert(!etag_condition_holds(&condition, "b", &problem));
    ck_assert_int_eq(problem.id, PROBLEM_PRECONDITION);
    condition.if_none_match = "\"a\"";
    ck_assert(!etag_condition_holds(&condition, "a", &problem));
    condition.if_none_match = "a";
    ck_assert(!etag_condition_holds(&condition, "a", &problem));
    ck_assert_int_eq(problem.id, PROBLEM_BAD_HEADER);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("registry etag");
    TCase *tags = tcase_create("tags");
    tcase_add_loop_test(tags, lists_are_compared_strongly_and_weakly, 0, (int)(sizeof cases / sizeof *cases));
    tcase_add_test(tags, both_conditions_must_hold);
    suite_add_tcase(suite, tags);
    return run_suite(suite);
}
