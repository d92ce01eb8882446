/** Plans run by many threads at once: the same one, and different ones, each with lanes of its own. */
#include "tests/golden/runner/lanes.h"
#include "tests/unit/run_suite.h"
#include <attn/attn.h>

#include <check.h>
#include <pthread.h>
#include <string.h>

enum { PLANS = 3, THREADS = 2 * PLANS, RUNS = 3, N = 2, HEADS = 4, LENGTH = 96, DIM = 8, WIDTH = HEADS * DIM };

static float numbers[N * LENGTH * WIDTH];
static double head_weights[HEADS] = {1, 2, 3, 4};
static const struct attn_execution on_lanes = {.executor = &golden_lanes};

static int64_t segments[N * LENGTH];

/* Without weights: spans of rows are found by lanes, for other lanes. */
static struct attn_plan *make_masked_plan(void) {
    struct attn_inputs inputs = {.query = attn_view_contiguous(numbers, ATTN_FLOAT32, 3, (size_t[]){N, LENGTH, WIDTH}),
                                 .num_heads = HEADS,
                                 .options = ATTN_SDPA_DEFAULTS};
    struct attn_want want = ATTN_WANT_DEFAULTS;
    struct attn_plan *plan;
    for (size_t i = 0; i < N * LENGTH; i++)
        segments[i] = (int64_t)(i / 7);
    inputs.options.segment_ids = attn_view_contiguous(segments, ATTN_INT64, 2, (size_t[]){N, LENGTH});
    want.forms = 0;
    ck_assert_int_eq(attn_plan_create(&plan, &inputs, &want, NULL), ATTN_OK);
    return plan;
}

static struct attn_plan *make_plan(bool is_causal) {
    struct attn_inputs inputs = {.query = attn_view_contiguous(numbers, ATTN_FLOAT32, 3, (size_t[]){N, LENGTH, WIDTH}),
                                 .num_heads = HEADS,
                                 .options = ATTN_SDPA_DEFAULTS};
    struct attn_want want = ATTN_WANT_DEFAULTS;
    struct attn_plan *plan;
    struct attn_error error = {0};
    inputs.options.is_causal = is_causal;
    want.forms = ATTN_BIT(ATTN_FORM_FLOW) - 1 - ATTN_BIT(ATTN_FORM_OUTPUT_NORM);
    want.analyses = ATTN_BIT(ATTN_ANALYSIS_DUPLICATE) - 1;
    want.internals = ATTN_BIT(ATTN_INTERNAL_COUNT) - 1;
    want.head_weights = head_weights;
    want.head_weights_count = HEADS;
    ck_assert_msg(attn_plan_create(&plan, &inputs, &want, &error) == ATTN_OK, "%s: %s", error.field, error.message);
    return plan;
}

struct runner {
    const struct attn_plan *plan;
    const struct attn_execution *execution;
    struct attn_result *results[RUNS];
};

static void *run_plan(void *argument) {
    struct runner *runner = argument;
    for (int i = 0; i < RUNS; i++)
        if (attn_plan_run(runner->plan, runner->execution, &runner->results[i], NULL) != ATTN_OK)
            runner->results[i] = NULL;
    return NULL;
}

/* Every byte alike but for means over rows, which lanes add up in the order in which they come to them. */
static void check_alike(const struct attn_result *left, const struct attn_result *right) {
    ck_assert_uint_eq(left->tensor_count, right->tensor_count);
    for (size_t i = 0; i < left->tensor_count; i++) {
        const struct attn_view *a = &left->tensors[i].values, *b = &right->tensors[i].values;
        for (size_t j = 0; j < attn_view_elements(a); j++) {
            const float x = ((const float *)a->data)[j], y = ((const float *)b->data)[j];
            if (left->tensors[i].group == ATTN_GROUP_ANALYSIS)
                ck_assert_msg(x - y <= 1e-6F && y - x <= 1e-6F, "%s[%zu]", left->tensors[i].name, j);
            else
                ck_assert_msg(memcmp(&x, &y, sizeof x) == 0, "%s[%zu]", left->tensors[i].name, j);
        }
    }
}

START_TEST(results_do_not_depend_on_threads_lanes_or_runs) {
    struct attn_plan *plans[PLANS] = {make_plan(false), make_plan(true), make_masked_plan()};
    struct runner runners[THREADS];
    pthread_t threads[THREADS];
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        numbers[i] = (float)((i * 2654435761U) % 1000U) / 250.0F - 2.0F;
    for (int i = 0; i < THREADS; i++) {
        runners[i] = (struct runner){.plan = plans[i % PLANS], .execution = i < PLANS ? NULL : &on_lanes};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run_plan, &runners[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < THREADS; i++)
        for (int j = 0; j < RUNS; j++) {
            ck_assert_ptr_nonnull(runners[i].results[j]);
            check_alike(runners[i % PLANS].results[0], runners[i].results[j]);
        }
    for (int i = 0; i < THREADS; i++)
        for (int j = 0; j < RUNS; j++)
            attn_result_destroy(runners[i].results[j]);
    for (int i = 0; i < PLANS; i++)
        attn_plan_destroy(plans[i]);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("plan_threads");
    TCase *cases = tcase_create("threads");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, results_do_not_depend_on_threads_lanes_or_runs);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
