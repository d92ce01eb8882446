#include "server/base/budget.h"
#include "tests/unit/run_suite.h"
#include <check.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

START_TEST(the_limit_is_reached_and_not_passed) {
    struct budget budget;
    budget_init(&budget, 100);
    ck_assert(budget_take(&budget, 60));
    ck_assert(!budget_take(&budget, 41));
    ck_assert_uint_eq(budget_used(&budget), 60);
    ck_assert(budget_take(&budget, 40));
    ck_assert(!budget_take(&budget, 1));
    ck_assert(!budget_take(&budget, SIZE_MAX));
    ck_assert(budget_take(&budget, 0));
    budget_give(&budget, 100);
    ck_assert_uint_eq(budget_used(&budget), 0);
}
END_TEST

static void *take_and_give(void *budget) {
    size_t passed = 0;
    for (int i = 0; i < 20000; i++) {
        if (budget_take(budget, 3)) {
            passed += budget_used(budget) > 10;
            budget_give(budget, 3);
        }
    }
    return (void *)(uintptr_t)passed;
}

START_TEST(threads_together_never_pass_the_limit) {
    struct budget budget;
    budget_init(&budget, 10);
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, take_and_give, &budget), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        void *passed;
        pthread_join(threads[i], &passed);
        ck_assert_ptr_null(passed);
    }
    ck_assert_uint_eq(budget_used(&budget), 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("budget");
    TCase *tests = tcase_create("budget");
    tcase_add_test(tests, the_limit_is_reached_and_not_passed);
    tcase_add_test(tests, threads_together_never_pass_the_limit);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
