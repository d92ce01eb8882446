/* The end of every program of tests. */
#ifndef ATTN_TESTS_RUN_SUITE_H
#define ATTN_TESTS_RUN_SUITE_H

#include <check.h>
#include <stdlib.h>

/* Runs what the suite holds, and says how it went as CK_VERBOSITY asks. @return what main returns. */
static inline int run_suite(Suite *suite) {
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
