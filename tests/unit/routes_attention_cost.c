#include "server/routes/attention_cost.h"
#include "tests/unit/run_suite.h"
#include <check.h>
#include <stdlib.h>

/* 8 tokens, 64 wide, 8 heads: 3 * 512 numbers of 11 bytes in, 512 + 64 out. */
static const struct attention_work small = {
    .body_bytes = 17000, .flops = 4.0 * 8 * 8 * 64, .exponentials = 8.0 * 64, .answer_numbers = 576};

/* 128 tokens, 768 wide, 12 heads, per-head weights. */
static const struct attention_work large = {.body_bytes = 3 * 98304 * 11,
                                            .flops = 4.0 * 128 * 128 * 768,
                                            .exponentials = 12.0 * 128 * 128,
                                            .answer_numbers = 12 * 128 * 128 + 98304};

START_TEST(eight_tokens_of_64_run_where_they_were_read) {
    ck_assert(attention_cost_is_small(&small));
}
END_TEST

START_TEST(a_hundred_tokens_of_768_go_to_the_pool) {
    ck_assert(!attention_cost_is_small(&large));
    ck_assert(attention_cost_ns(&large) > 1e6);
}
END_TEST

START_TEST(each_part_of_the_work_alone_passes_the_threshold_when_it_is_large) {
    const struct attention_work works[] = {
        {.body_bytes = 1 << 20}, {.flops = 1e9}, {.exponentials = 1e6}, {.answer_numbers = 100000}};
    for (size_t i = 0; i < sizeof works / sizeof *works; i++) {
        ck_assert(!attention_cost_is_small(&works[i]));
    }
}
END_TEST

START_TEST(binary_bytes_and_numbers_cost_a_fraction_of_json) {
    struct attention_work json = {.body_bytes = 60000, .answer_numbers = 5000};
    struct attention_work binary = json;
    binary.body_is_binary = true;
    binary.answer_is_binary = true;
    ck_assert(!attention_cost_is_small(&json));
    ck_assert(attention_cost_is_small(&binary));
    ck_assert(attention_cost_ns(&json) > 5 * attention_cost_ns(&binary));
}
END_TEST

START_TEST(the_threshold_is_where_it_says) {
    struct attention_work nothing = {0}, one = {.flops = 1};
    double fixed = attention_cost_ns(&nothing), a_flop = attention_cost_ns(&one) - fixed;
    double flops = (ATTENTION_COST_THRESHOLD_NS - fixed) / a_flop;
    ck_assert(attention_cost_is_small(&(struct attention_work){.flops = flops * 0.999}));
    ck_assert(!attention_cost_is_small(&(struct attention_work){.flops = flops * 1.001}));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("attention cost");
    TCase *tests = tcase_create("attention cost");
    tcase_add_test(tests, eight_tokens_of_64_run_where_they_were_read);
    tcase_add_test(tests, a_hundred_tokens_of_768_go_to_the_pool);
    tcase_add_test(tests, each_part_of_the_work_alone_passes_the_threshold_when_it_is_large);
    tcase_add_test(tests, binary_bytes_and_numbers_cost_a_fraction_of_json);
    tcase_add_test(tests, the_threshold_is_where_it_says);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
