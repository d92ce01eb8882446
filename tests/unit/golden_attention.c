/** Every case of tests/golden/data against the library: once on one thread, once on three lanes. */
#include "lib/kernels/kernels.h"
#include "tests/golden/runner/lanes.h"
#include "tests/golden/runner/replay.h"

#include <sys/wait.h>
#include <unistd.h>

static const char *const groups[] = {"shapes", "masks", "weights", "edges", "params", "given"};

enum { FEWEST_CASES = 300 };

static void run_all(struct golden_tally tally) {
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        golden_run_group(groups[i], &tally);
    ck_assert_msg(tally.ran >= FEWEST_CASES, "only %zu golden cases ran", tally.ran);
    ck_assert_msg(tally.failed == 0, "%zu of %zu golden cases differ from the field", tally.failed, tally.ran);
}

START_TEST(every_case_agrees_with_the_field_on_one_thread) {
    run_all((struct golden_tally){.execution = NULL});
}
END_TEST

START_TEST(every_case_agrees_with_the_field_on_three_lanes) {
    struct attn_execution execution = {.executor = &golden_lanes};
    run_all((struct golden_tally){.execution = &execution});
}
END_TEST

START_TEST(every_case_agrees_with_the_field_over_views_with_gaps) {
    run_all((struct golden_tally){.is_strided = true});
}
END_TEST

START_TEST(the_generator_of_inputs_is_the_one_that_made_the_files) {
    ck_assert_uint_eq(golden_random(1, 0), UINT64_C(0xf4a90164c4749e1a));
    ck_assert_uint_eq(golden_random(7, 1000), UINT64_C(0x8e3b88d7c1d37daf));
}
END_TEST

/* Kernels are picked when the library is loaded, so each other table that this machine can run gets a run of its own.
 */
static int run_with_kernels(const char *name) {
    pid_t child = fork();
    if (child == 0) {
        setenv("ATTN_KERNELS", name, 1);
        execl("/proc/self/exe", "golden_attention", (char *)NULL);
        _exit(EXIT_FAILURE);
    }
    int status = 0;
    bool is_good = child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!is_good)
        fprintf(stderr, "golden cases fail with the kernels %s\n", name);
    return is_good ? 0 : 1;
}

static int run_with_other_kernels(void) {
    int failed = 0;
    const struct attn_kernels *kernels;
    for (size_t i = 0; (kernels = attn_kernels_at(i)) != NULL; i++)
        if (kernels != attn_kernels_picked() && kernels->is_supported())
            failed += run_with_kernels(kernels->name);
    return failed;
}

int main(void) {
    Suite *suite = suite_create("golden_attention");
    TCase *cases = tcase_create("golden");
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, the_generator_of_inputs_is_the_one_that_made_the_files);
    tcase_add_test(cases, every_case_agrees_with_the_field_on_one_thread);
    tcase_add_test(cases, every_case_agrees_with_the_field_on_three_lanes);
    tcase_add_test(cases, every_case_agrees_with_the_field_over_views_with_gaps);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    if (getenv("ATTN_KERNELS") == NULL)
        failed += run_with_other_kernels();
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
