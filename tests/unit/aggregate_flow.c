/** Attention flow where its value is known in closed form, over more tokens than one word of a bit set holds. */
#include "tests/golden/runner/lanes.h"
#include "tests/unit/run_suite.h"
#include <attn/attn.h>

#include <check.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS = 3, LONGEST = 130 };

/* Rows of random numbers of sum 1, some of them 0. */
static void fill_rows(double *rows, size_t length, unsigned seed) {
    unsigned state = seed;
    for (size_t i = 0; i < length; i++) {
        double sum = 0;
        for (size_t j = 0; j < length; j++) {
            state = state * 1664525U + 1013904223U;
            double share = (double)(state >> 8) / (1 << 24);
            rows[i * length + j] = share < 0.25 && i != j ? 0 : share * share * share;
            sum += rows[i * length + j];
        }
        for (size_t j = 0; j < length; j++)
            rows[i * length + j] /= sum;
    }
}

/* A = (w + I) / 2, as rows of w sum to 1. */
static double capacity(const double *weights, size_t length, size_t i, size_t j) {
    return (weights[i * length + j] + (i == j ? 1 : 0)) / 2;
}

static attn_status run(double *weights, size_t layers, size_t length, const struct attn_execution *execution,
                       struct attn_result **result) {
    const struct attn_given given = {
        .weights = attn_view_contiguous(weights, ATTN_FLOAT64, 5, (size_t[]){layers, 1, 1, length, length})};
    struct attn_want want = ATTN_WANT_DEFAULTS;
    struct attn_plan *plan;
    struct attn_error error;
    want.forms = ATTN_BIT(ATTN_FORM_FLOW);
    ck_assert_int_eq(attn_plan_create_given(&plan, &given, &want, &error), ATTN_OK);
    attn_status status = attn_plan_run(plan, execution, result, &error);
    attn_plan_destroy(plan);
    return status;
}

/* Through two layers every path is one token between: the flow is the sum of the lesser of its two edges. */
static void check_two_layers(const struct attn_result *result, const double *lower, const double *upper,
                             size_t length) {
    const double *values = attn_result_find(result, ATTN_GROUP_WEIGHTS, "flow")->values.data;
    double row[LONGEST];
    for (size_t source = 0; source < length; source++) {
        double sum = 0;
        for (size_t target = 0; target < length; target++) {
            row[target] = 0;
            for (size_t i = 0; i < length; i++)
                row[target] += fmin(capacity(upper, length, source, i), capacity(lower, length, i, target));
            sum += row[target];
        }
        for (size_t target = 0; target < length; target++)
            ck_assert_msg(fabs(values[source * length + target] - row[target] / sum) <= 1e-12,
                          "from %zu to %zu of %zu: %.17g, not %.17g", source, target, length,
                          values[source * length + target], row[target] / sum);
    }
}

START_TEST(the_flow_through_two_layers_is_the_sum_of_the_lesser_edges) {
    static double weights[2 * LONGEST * LONGEST];
    static const size_t lengths[] = {1, 2, 63, 64, 65, LONGEST};
    static const struct attn_execution on_lanes = {.executor = &golden_lanes};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        const size_t length = lengths[i];
        struct attn_result *result;
        fill_rows(weights, length, 1);
        fill_rows(weights + length * length, length, 2);
        ck_assert_int_eq(run(weights, 2, length, i % 2 ? &on_lanes : NULL, &result), ATTN_OK);
        check_two_layers(result, weights, weights + length * length, length);
        attn_result_destroy(result);
    }
}
END_TEST

START_TEST(a_layer_of_tokens_that_attend_to_themselves_changes_no_flow) {
    enum { LENGTH = 70, SQUARE = LENGTH * LENGTH };
    static double weights[LAYERS * SQUARE];
    for (size_t middle = 0; middle < LAYERS; middle++) {
        struct attn_result *result;
        size_t others[2], count = 0;
        for (size_t layer = 0; layer < LAYERS; layer++) {
            memset(weights + layer * SQUARE, 0, SQUARE * sizeof *weights);
            if (layer != middle) {
                others[count++] = layer;
                fill_rows(weights + layer * SQUARE, LENGTH, (unsigned)layer + 7);
                continue;
            }
            for (size_t i = 0; i < LENGTH; i++)
                weights[layer * SQUARE + i * LENGTH + i] = 1;
        }
        ck_assert_int_eq(run(weights, LAYERS, LENGTH, NULL, &result), ATTN_OK);
        check_two_layers(result, weights + others[0] * SQUARE, weights + others[1] * SQUARE, LENGTH);
        attn_result_destroy(result);
    }
}
END_TEST

static bool ends_after_some(void *context) {
    return atomic_fetch_sub((atomic_int *)context, 1) <= 0;
}

START_TEST(a_flow_ends_when_it_is_cancelled) {
    enum { LENGTH = 40 };
    static double weights[2 * LENGTH * LENGTH];
    struct attn_result *result = NULL;
    fill_rows(weights, LENGTH, 1);
    fill_rows(weights + LENGTH * LENGTH, LENGTH, 2);
    for (int calls = 0; calls < 200; calls += 67) {
        atomic_int left = calls;
        const struct attn_execution execution = {.is_cancelled = ends_after_some, .cancel_context = &left};
        ck_assert_int_eq(run(weights, 2, LENGTH, &execution, &result), ATTN_ECANCELLED);
        ck_assert_ptr_null(result);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("aggregate_flow");
    TCase *cases = tcase_create("attention flow");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, the_flow_through_two_layers_is_the_sum_of_the_lesser_edges);
    tcase_add_test(cases, a_layer_of_tokens_that_attend_to_themselves_changes_no_flow);
    tcase_add_test(cases, a_flow_ends_when_it_is_cancelled);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
