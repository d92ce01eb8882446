/** Forms and analyses of given weights against NumPy, SciPy, scikit-learn and networkx (aggregate_expected.py). */
#include "tests/golden/runner/lanes.h"
#include "tests/unit/run_suite.h"
#include "tests/unit/aggregate_expected.inc"
#include <attn/attn.h>

#include <check.h>
#include <math.h>
#include <string.h>

enum { LAYERS = 3, N = 2, H = 3, L = 5, CELLS = N * H * L * L };

static const int64_t tokens[N][L] = {{7, 8, 7, 8, 7}, {1, 2, 3, 1, 2}};
static const struct attn_execution on_lanes = {.executor = &golden_lanes};

static struct attn_given given_layers(double *weights, size_t first, size_t count) {
    memcpy(weights, expected_weights + first * CELLS, count * CELLS * sizeof *weights);
    return (struct attn_given){
        .weights = attn_view_contiguous(weights, ATTN_FLOAT64, 5, (size_t[]){count, N, H, L, L}),
        .query_tokens = attn_view_contiguous((void *)(uintptr_t)tokens, ATTN_INT64, 2, (size_t[]){N, L}),
        .key_tokens = attn_view_contiguous((void *)(uintptr_t)tokens, ATTN_INT64, 2, (size_t[]){N, L})};
}

/* Drops the layers axis. */
static void make_rank_4(struct attn_given *given) {
    given->weights = attn_view_contiguous(given->weights.data, ATTN_FLOAT64, 4, (size_t[]){N, H, L, L});
}

static struct attn_result *run(const struct attn_given *given, const struct attn_want *want,
                               const struct attn_execution *execution) {
    struct attn_plan *plan;
    struct attn_result *result;
    struct attn_error error = {0};
    ck_assert_msg(attn_plan_create_given(&plan, given, want, &error) == ATTN_OK, "%s: %s", error.field, error.message);
    ck_assert_msg(attn_plan_run(plan, execution, &result, &error) == ATTN_OK, "%s: %s", error.field, error.message);
    attn_plan_destroy(plan);
    return result;
}

static void check_values(const struct attn_result *result, attn_group group, const char *name, const double *expected,
                         size_t count) {
    const struct attn_result_tensor *tensor = attn_result_find(result, group, name);
    ck_assert_msg(tensor != NULL, "no tensor %s", name);
    ck_assert_uint_eq(attn_view_elements(&tensor->values), count);
    const double *values = tensor->values.data;
    for (size_t i = 0; i < count; i++)
        ck_assert_msg(fabs(values[i] - expected[i]) <= 1e-12 * (1 + fabs(expected[i])), "%s[%zu] is %.17g, not %.17g",
                      name, i, values[i], expected[i]);
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

START_TEST(every_analysis_of_given_weights_is_that_of_the_field) {
    static const struct {
        attn_analysis analysis;
        const double *expected;
        size_t count;
    } rows[] = {
        {ATTN_ANALYSIS_ENTROPY, expected_entropy, COUNT(expected_entropy)},
        {ATTN_ANALYSIS_MEAN_DISTANCE, expected_mean_distance, COUNT(expected_mean_distance)},
        {ATTN_ANALYSIS_HEAD_DISTANCE, expected_head_distance, COUNT(expected_head_distance)},
        {ATTN_ANALYSIS_HEAD_CONFIDENCE, expected_head_confidence, COUNT(expected_head_confidence)},
        {ATTN_ANALYSIS_RECEIVED, expected_received, COUNT(expected_received)},
        {ATTN_ANALYSIS_SINK, expected_sink, COUNT(expected_sink)},
        {ATTN_ANALYSIS_DIAGONAL, expected_diagonal, COUNT(expected_diagonal)},
        {ATTN_ANALYSIS_PREVIOUS, expected_previous, COUNT(expected_previous)},
        {ATTN_ANALYSIS_NEXT, expected_next, COUNT(expected_next)},
        {ATTN_ANALYSIS_DUPLICATE, expected_duplicate, COUNT(expected_duplicate)},
        {ATTN_ANALYSIS_INDUCTION, expected_induction, COUNT(expected_induction)},
    };
    double weights[CELLS];
    struct attn_given given = given_layers(weights, 1, 1);
    struct attn_want want = ATTN_WANT_DEFAULTS;
    make_rank_4(&given);
    want.analyses = ATTN_BIT(ATTN_ANALYSIS_COUNT) - 1;
    for (int lanes = 0; lanes < 2; lanes++) {
        struct attn_result *result = run(&given, &want, lanes ? &on_lanes : NULL);
        for (size_t i = 0; i < COUNT(rows); i++)
            check_values(result, ATTN_GROUP_ANALYSIS, attn_analysis_name(rows[i].analysis), rows[i].expected,
                         rows[i].count);
        attn_result_destroy(result);
    }
}
END_TEST

START_TEST(rollout_and_flow_go_over_all_layers_whatever_layers_are_chosen) {
    double weights[LAYERS * CELLS];
    struct attn_given given = given_layers(weights, 0, LAYERS);
    struct attn_want want = ATTN_WANT_DEFAULTS;
    long long last = -1;
    want.layers = &last;
    want.layers_count = 1;
    want.forms = ATTN_BIT(ATTN_FORM_AVERAGE) | ATTN_BIT(ATTN_FORM_ROLLOUT) | ATTN_BIT(ATTN_FORM_FLOW);
    for (int lanes = 0; lanes < 2; lanes++) {
        struct attn_result *result = run(&given, &want, lanes ? &on_lanes : NULL);
        ck_assert_uint_eq(result->tensor_count, 3);
        check_values(result, ATTN_GROUP_WEIGHTS, "rollout", expected_rollout, COUNT(expected_rollout));
        check_values(result, ATTN_GROUP_WEIGHTS, "flow", expected_flow, COUNT(expected_flow));
        ck_assert_str_eq(result->tensors[2].name, "average");
        ck_assert_int_eq(result->tensors[2].layer, LAYERS - 1);
        attn_result_destroy(result);
    }
}
END_TEST

START_TEST(principal_components_are_those_of_scikit_learn) {
    double weights[CELLS];
    struct attn_given given = given_layers(weights, 1, 1);
    struct attn_want want = ATTN_WANT_DEFAULTS;
    make_rank_4(&given);
    want.forms = ATTN_BIT(ATTN_FORM_PCA);
    want.components = 2;
    struct attn_result *result = run(&given, &want, NULL);
    check_values(result, ATTN_GROUP_WEIGHTS, "pca", expected_pca, COUNT(expected_pca));
    check_values(result, ATTN_GROUP_EXTRA, "pca_loadings", expected_pca_loadings, COUNT(expected_pca_loadings));
    check_values(result, ATTN_GROUP_EXTRA, "explained_variance_ratio", expected_explained_variance_ratio,
                 COUNT(expected_explained_variance_ratio));
    attn_result_destroy(result);
}
END_TEST

START_TEST(any_strides_give_the_same_forms) {
    double weights[CELLS], turned[CELLS];
    struct attn_given given = given_layers(weights, 1, 1), other;
    make_rank_4(&given);
    other = given;
    other.weights.data = turned + CELLS - 1; /* every axis backwards, columns far apart */
    for (int axis = 0; axis < 4; axis++)
        other.weights.stride[axis] = 0;
    const ptrdiff_t strides[] = {-1, -N, -N * H, -N * H * L};
    memcpy(other.weights.stride, strides, sizeof strides);
    attn_view_convert(&given.weights, &other.weights, NULL);
    struct attn_want want = ATTN_WANT_DEFAULTS;
    want.forms = ATTN_BIT(ATTN_FORM_ROLLOUT) - 1;
    want.forms &= ~(ATTN_BIT(ATTN_FORM_VALUE_NORM) | ATTN_BIT(ATTN_FORM_OUTPUT_NORM));
    want.head_weights = (const double[]){1, 2, 5};
    want.head_weights_count = H;
    struct attn_result *plain = run(&given, &want, NULL), *strided = run(&other, &want, &on_lanes);
    ck_assert_uint_eq(plain->tensor_count, strided->tensor_count);
    for (size_t i = 0; i < plain->tensor_count; i++)
        ck_assert_mem_eq(plain->tensors[i].values.data, strided->tensors[i].values.data,
                         attn_view_elements(&plain->tensors[i].values) * sizeof(double));
    attn_result_destroy(plain);
    attn_result_destroy(strided);
}
END_TEST

START_TEST(top_k_is_descending_with_ties_to_the_lower_key_and_NaN_first) {
    double weights[] = {0.25, NAN, 0.5, 0.25, 0.5, 0};
    struct attn_given given = {.weights = attn_view_contiguous(weights, ATTN_FLOAT64, 3, (size_t[]){1, 1, 6})};
    struct attn_want want = ATTN_WANT_DEFAULTS;
    want.top_k = 4;
    want.has_key_range = true;
    want.key_range[0] = 1;
    want.key_range[1] = 6;
    struct attn_result *result = run(&given, &want, NULL);
    const int64_t *keys = result->tensors[0].indices.data;
    const double *values = result->tensors[0].values.data;
    ck_assert_int_eq(result->tensors[0].values.rank, 2);
    ck_assert(isnan(values[0]) && values[1] == 0.5 && values[2] == 0.5 && values[3] == 0.25);
    ck_assert(keys[0] == 1 && keys[1] == 2 && keys[2] == 4 && keys[3] == 3);
    attn_result_destroy(result);
    want.top_k = 100;
    result = run(&given, &want, NULL);
    ck_assert_uint_eq(result->tensors[0].values.shape[1], 5);
    attn_result_destroy(result);
}
END_TEST

START_TEST(pairs_come_labelled_in_the_order_asked) {
    double weights[LAYERS * CELLS];
    struct attn_given given = given_layers(weights, 0, LAYERS);
    struct attn_want want = ATTN_WANT_DEFAULTS;
    const long long pairs[][2] = {{2, -1}, {0, 1}};
    want.pairs = pairs;
    want.pairs_count = 2;
    struct attn_result *result = run(&given, &want, NULL);
    ck_assert_uint_eq(result->tensor_count, 2);
    ck_assert_int_eq(result->tensors[0].layer, 2);
    ck_assert_int_eq(result->tensors[0].head, 2);
    ck_assert_int_eq(result->tensors[1].head, 1);
    ck_assert_mem_eq(result->tensors[1].values.data, weights + L * L, L * L * sizeof(double));
    attn_result_destroy(result);
}
END_TEST

START_TEST(negative_weights_are_refused_only_where_they_mean_nothing) {
    double weights[] = {0.5, -0.5, 1, 1};
    struct attn_given given = {.weights = attn_view_contiguous(weights, ATTN_FLOAT64, 3, (size_t[]){1, 2, 2})};
    static const struct {
        unsigned forms, analyses;
        attn_status status;
    } rows[] = {
        {ATTN_BIT(ATTN_FORM_AVERAGE), 0, ATTN_OK},         {ATTN_BIT(ATTN_FORM_FLOW), 0, ATTN_ERANGE},
        {0, ATTN_BIT(ATTN_ANALYSIS_ENTROPY), ATTN_ERANGE}, {0, ATTN_BIT(ATTN_ANALYSIS_HEAD_DISTANCE), ATTN_ERANGE},
        {0, ATTN_BIT(ATTN_ANALYSIS_RECEIVED), ATTN_OK},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct attn_want want = {.forms = rows[i].forms, .analyses = rows[i].analyses, .stage = ATTN_STAGE_SOFTMAX};
        struct attn_plan *plan;
        struct attn_result *result = NULL;
        struct attn_error error = {0};
        ck_assert_int_eq(attn_plan_create_given(&plan, &given, &want, &error), ATTN_OK);
        ck_assert_int_eq(attn_plan_run(plan, NULL, &result, &error), rows[i].status);
        if (rows[i].status != ATTN_OK)
            ck_assert_str_eq(error.field, "attention_weights");
        attn_result_destroy(result);
        attn_plan_destroy(plan);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("aggregate_given");
    TCase *cases = tcase_create("given weights");
    tcase_add_test(cases, every_analysis_of_given_weights_is_that_of_the_field);
    tcase_add_test(cases, rollout_and_flow_go_over_all_layers_whatever_layers_are_chosen);
    tcase_add_test(cases, principal_components_are_those_of_scikit_learn);
    tcase_add_test(cases, any_strides_give_the_same_forms);
    tcase_add_test(cases, top_k_is_descending_with_ties_to_the_lower_key_and_NaN_first);
    tcase_add_test(cases, pairs_come_labelled_in_the_order_asked);
    tcase_add_test(cases, negative_weights_are_refused_only_where_they_mean_nothing);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
