/** Every case of tests/golden/data against the library: once on one thread, once on three lanes. */
#include "tests/golden/runner/lanes.h"
#include "tests/golden/runner/replay.h"
#include "tests/unit/run_suite.h"

static const char *const groups[] = {"shapes", "masks", "weights", "edges", "params", "given"};

enum { FEWEST_CASES = 300 };

static void run_all(const struct attn_execution *execution) {
    struct golden_tally tally = {.execution = execution};
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        golden_run_group(groups[i], &tally);
    ck_assert_msg(tally.ran >= FEWEST_CASES, "only %zu golden cases ran", tally.ran);
    ck_assert_msg(tally.failed == 0, "%zu of %zu golden cases differ from the field", tally.failed, tally.ran);
}

START_TEST(every_case_agrees_with_the_field_on_one_thread) {
    run_all(NULL);
}
END_TEST

START_TEST(every_case_agrees_with_the_field_on_three_lanes) {
    struct attn_execution execution = {.executor = &golden_lanes};
    run_all(&execution);
}
END_TEST

START_TEST(the_generator_of_inputs_is_the_one_that_made_the_files) {
    ck_assert_uint_eq(golden_random(1, 0), UINT64_C(0xf4a90164c4749e1a));
    ck_assert_uint_eq(golden_random(7, 1000), UINT64_C(0x8e3b88d7c1d37daf));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("golden_attention");
    TCase *cases = tcase_create("golden");
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, the_generator_of_inputs_is_the_one_that_made_the_files);
    tcase_add_test(cases, every_case_agrees_with_the_field_on_one_thread);
    tcase_add_test(cases, every_case_agrees_with_the_field_on_three_lanes);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
