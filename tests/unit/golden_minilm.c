/** The first attention layer of all-MiniLM-L6-v2 on embedded sentences, against Hugging Face transformers (eager). */
#include "tests/golden/runner/lanes.h"
#include "tests/golden/runner/replay.h"
#include "tests/unit/run_suite.h"

static void run(const struct attn_execution *execution) {
    struct golden_tally tally = {.execution = execution};
    golden_run_group("minilm", &tally);
    ck_assert_uint_eq(tally.ran, 2);
    ck_assert_uint_eq(tally.failed, 0);
}

START_TEST(a_real_layer_agrees_with_transformers_on_one_thread) {
    run(NULL);
}
END_TEST

START_TEST(a_real_layer_agrees_with_transformers_on_three_lanes) {
    struct attn_execution execution = {.executor = &golden_lanes};
    run(&execution);
}
END_TEST

START_TEST(the_layer_file_says_its_heads) {
    struct attn_safetensors *file = NULL;
    struct attn_error error = {0};
    ck_assert_int_eq(attn_safetensors_open(&file, GOLDEN_DATA "minilm-layer0.safetensors", &error), ATTN_OK);
    ck_assert_str_eq(attn_safetensors_metadata(file, "num_heads"), "12");
    attn_safetensors_close(file);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("golden_minilm");
    TCase *cases = tcase_create("minilm");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, a_real_layer_agrees_with_transformers_on_one_thread);
    tcase_add_test(cases, a_real_layer_agrees_with_transformers_on_three_lanes);
    tcase_add_test(cases, the_layer_file_says_its_heads);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
