/** Running plans: warnings, cancellation, costs, memory of results, and the loops' logarithm. */
#include "lib/aggregate/loops.h"
#include "tests/golden/runner/lanes.h"
#include "tests/unit/run_suite.h"
#include <attn/attn.h>

#include <check.h>
#include <math.h>
#include <string.h>

static float *some_numbers(size_t count) {
    float *numbers = malloc(count * sizeof *numbers);
    ck_assert_ptr_nonnull(numbers);
    for (size_t i = 0; i < count; i++)
        numbers[i] = (float)((i * 2654435761U) % 1000U) / 500.0F - 1.0F;
    return numbers;
}

static struct attn_result *run(const struct attn_inputs *inputs, const struct attn_want *want,
                               const struct attn_execution *execution) {
    struct attn_plan *plan;
    struct attn_result *result;
    struct attn_error error = {0};
    ck_assert_msg(attn_plan_create(&plan, inputs, want, &error) == ATTN_OK, "%s: %s", error.field, error.message);
    ck_assert_msg(attn_plan_run(plan, execution, &result, &error) == ATTN_OK, "%s: %s", error.field, error.message);
    attn_plan_destroy(plan);
    return result;
}

START_TEST(rows_that_attend_to_nothing_and_likely_mistakes_are_warned_of) {
    float *numbers = some_numbers(2 * 2 * 4);
    unsigned char mask[] = {1, 0, 0, 0};
    struct attn_inputs inputs = {.query = attn_view_contiguous(numbers, ATTN_FLOAT32, 3, (size_t[]){2, 2, 4}),
                                 .num_heads = 2,
                                 .options = ATTN_SDPA_DEFAULTS};
    struct attn_want want = ATTN_WANT_DEFAULTS;
    inputs.options.attn_mask = attn_view_contiguous(mask, ATTN_BOOL, 2, (size_t[]){2, 2});
    struct attn_result *result = run(&inputs, &want, NULL);
    ck_assert_uint_eq(result->warning_count, 2);
    ck_assert_str_eq(result->warnings[0].field, "attn_mask");
    ck_assert_str_eq(result->warnings[1].field, "attn_mask");
    ck_assert_str_eq(result->warnings[1].detail, "2 query rows attend to nothing");
    attn_result_destroy(result);
    free(numbers);
}
END_TEST

START_TEST(a_row_that_is_NaN_is_NaN_in_every_form_and_column) {
    float *numbers = some_numbers(4 * 4);
    struct attn_inputs inputs = {.query = attn_view_contiguous(numbers, ATTN_FLOAT32, 2, (size_t[]){4, 4}),
                                 .num_heads = 2,
                                 .options = ATTN_SDPA_DEFAULTS};
    struct attn_want want = ATTN_WANT_DEFAULTS;
    numbers[1 * 4] = NAN; /* seen by the rows 1 and, in their past, 2 and 3 */
    inputs.options.is_causal = true;
    want.forms = ATTN_BIT(ATTN_FORM_AVERAGE) | ATTN_BIT(ATTN_FORM_PER_HEAD) | ATTN_BIT(ATTN_FORM_MAX);
    want.analyses = ATTN_BIT(ATTN_ANALYSIS_RECEIVED);
    struct attn_result *result = run(&inputs, &want, NULL);
    const float *average = attn_result_find(result, ATTN_GROUP_WEIGHTS, "average")->values.data;
    const float *per_head = attn_result_find(result, ATTN_GROUP_WEIGHTS, "per_head")->values.data;
    const float *received = attn_result_find(result, ATTN_GROUP_ANALYSIS, "received")->values.data;
    for (size_t i = 0; i < 16; i++) {
        ck_assert_int_eq(isnan(average[i]) != 0, i >= 4);
        ck_assert_int_eq(isnan(per_head[i]) != 0, i >= 4);
    }
    for (size_t key = 0; key < 4; key++)
        ck_assert(isnan(received[key]));
    attn_result_destroy(result);
    free(numbers);
}
END_TEST

/* The per-head weights of four queries of one head under a cap. */
static void capped_weights(double softcap, float weights[16]) {
    float numbers[] = {0, 1, 2, -1};
    struct attn_inputs inputs = {.query = attn_view_contiguous(numbers, ATTN_FLOAT32, 2, (size_t[]){4, 1}),
                                 .options = ATTN_SDPA_DEFAULTS};
    struct attn_want want = ATTN_WANT_DEFAULTS;
    inputs.options.softcap = softcap;
    struct attn_result *result = run(&inputs, &want, NULL);
    memcpy(weights, attn_result_find(result, ATTN_GROUP_WEIGHTS, "average")->values.data, 16 * sizeof *weights);
    attn_result_destroy(result);
}

START_TEST(caps_beyond_float32_cap_nothing_or_everything) {
    float uncapped[16], huge[16], tiny[16];
    capped_weights(0, uncapped);
    capped_weights(1e300, huge);
    capped_weights(1e-300, tiny);
    for (size_t i = 0; i < 16; i++) {
        ck_assert_msg(fabsf(huge[i] - uncapped[i]) < 1e-5F, "[%zu] is %g, not %g", i, (double)huge[i],
                      (double)uncapped[i]);
        ck_assert_msg(fabsf(tiny[i] - 0.25F) < 1e-6F, "[%zu] is %g", i, (double)tiny[i]);
    }
}
END_TEST

static bool counts_to_its_end(void *context) {
    return --*(int *)context < 0;
}

START_TEST(comparing_very_many_heads_can_be_cancelled_within_a_block) {
    enum { MANY = 300 };
    float *numbers = some_numbers(MANY);
    struct attn_inputs inputs = {.query = attn_view_contiguous(numbers, ATTN_FLOAT32, 2, (size_t[]){1, MANY}),
                                 .num_heads = MANY,
                                 .options = ATTN_SDPA_DEFAULTS};
    struct attn_want want = ATTN_WANT_DEFAULTS;
    struct attn_plan *plan;
    struct attn_result *result = NULL;
    int left = MANY + 20; /* each head is asked for once; what is asked behind that is asked while comparing */
    const struct attn_execution execution = {.is_cancelled = counts_to_its_end, .cancel_context = &left};
    want.analyses = ATTN_BIT(ATTN_ANALYSIS_HEAD_DISTANCE);
    ck_assert_int_eq(attn_plan_create(&plan, &inputs, &want, NULL), ATTN_OK);
    ck_assert_int_eq(attn_plan_run(plan, &execution, &result, NULL), ATTN_ECANCELLED);
    ck_assert_int_lt(left, 0);
    ck_assert_int_gt(left, -10);
    attn_plan_destroy(plan);
    free(numbers);
}
END_TEST

START_TEST(principal_components_of_too_many_heads_are_refused) {
    enum { MANY = 1025 };
    float *numbers = some_numbers(2 * MANY);
    struct attn_inputs inputs = {.query = attn_view_contiguous(numbers, ATTN_FLOAT32, 2, (size_t[]){2, MANY}),
                                 .num_heads = MANY,
                                 .options = ATTN_SDPA_DEFAULTS};
    struct attn_want want = ATTN_WANT_DEFAULTS;
    struct attn_plan *plan;
    struct attn_error error;
    want.forms = ATTN_BIT(ATTN_FORM_PCA);
    ck_assert_int_eq(attn_plan_create(&plan, &inputs, &want, &error), ATTN_ELIMIT);
    ck_assert_str_eq(error.field, "weights");
    free(numbers);
}
END_TEST

START_TEST(long_runs_of_hidden_keys_at_both_ends_of_a_boolean_mask_hide_just_these) {
    enum { KEYS = 45, WIDTH = 2 };
    static const uint8_t trues[] = {1, 2, 128, 255};
    float zeros[KEYS * WIDTH] = {0};
    uint8_t mask[KEYS][KEYS];
    struct attn_inputs inputs = {.query = attn_view_contiguous(zeros, ATTN_FLOAT32, 2, (size_t[]){KEYS, WIDTH}),
                                 .num_heads = 2,
                                 .options = ATTN_SDPA_DEFAULTS};
    struct attn_want want = ATTN_WANT_DEFAULTS;
    inputs.options.attn_mask = attn_view_contiguous(mask, ATTN_UINT8, 2, (size_t[]){KEYS, KEYS});
    for (size_t length = 0; length <= KEYS; length++) {
        for (int ignores = 0; ignores < 2; ignores++) {
            for (size_t i = 0; i < KEYS * KEYS; i++) {
                const size_t begin = i / KEYS, key = i % KEYS;
                const bool is_seen = key >= begin && key < begin + length && key % 5 != 4;
                mask[begin][key] = is_seen != (ignores != 0) ? trues[(i + length) % 4] : 0;
            }
            inputs.options.bool_mask_ignores = ignores != 0;
            struct attn_result *result = run(&inputs, &want, NULL);
            const float *weights = attn_result_find(result, ATTN_GROUP_WEIGHTS, "average")->values.data;
            for (size_t begin = 0; begin < KEYS; begin++) {
                size_t count = 0;
                for (size_t key = 0; key < KEYS; key++)
                    count += (mask[begin][key] != 0) != (ignores != 0);
                for (size_t key = 0; key < KEYS; key++) {
                    const bool is_seen = (mask[begin][key] != 0) != (ignores != 0);
                    const float expected = is_seen ? 1.0F / (float)count : 0;
                    ck_assert_msg(fabsf(weights[begin * KEYS + key] - expected) < 1e-6F, "%zu keys from %zu, key %zu",
                                  length, begin, key);
                }
            }
            attn_result_destroy(result);
        }
    }
}
END_TEST

START_TEST(a_negative_causal_offset_is_warned_of_and_no_mask_is_not) {
    float *numbers = some_numbers(3 * 4);
    struct attn_inputs inputs = {.query = attn_view_contiguous(numbers, ATTN_FLOAT32, 2, (size_t[]){3, 4}),
                                 .key = attn_view_contiguous(numbers, ATTN_FLOAT32, 2, (size_t[]){2, 4}),
                                 .options = ATTN_SDPA_DEFAULTS};
    struct attn_want want = ATTN_WANT_DEFAULTS;
    struct attn_result *result = run(&inputs, &want, NULL);
    ck_assert_uint_eq(result->warning_count, 0);
    attn_result_destroy(result);
    inputs.options.is_causal = true;
    inputs.options.causal_alignment = ATTN_CAUSAL_BOTTOM_RIGHT;
    result = run(&inputs, &want, NULL);
    ck_assert_uint_eq(result->warning_count, 2);
    ck_assert_str_eq(result->warnings[0].field, "is_causal");
    ck_assert_str_eq(result->warnings[1].detail, "1 query row attends to nothing");
    attn_result_destroy(result);
    free(numbers);
}
END_TEST

static bool always(void *context) {
    (void)context;
    return true;
}

START_TEST(a_cancelled_run_leaves_no_result) {
    float *numbers = some_numbers(64 * 8);
    struct attn_inputs inputs = {.query = attn_view_contiguous(numbers, ATTN_FLOAT32, 2, (size_t[]){64, 8}),
                                 .options = ATTN_SDPA_DEFAULTS};
    struct attn_given given = {.weights = attn_view_contiguous(numbers, ATTN_FLOAT32, 3, (size_t[]){1, 16, 32})};
    struct attn_execution execution = {.is_cancelled = always};
    struct attn_want want = ATTN_WANT_DEFAULTS;
    struct attn_result *result = NULL;
    struct attn_plan *plan;
    ck_assert_int_eq(attn_plan_create(&plan, &inputs, &want, NULL), ATTN_OK);
    ck_assert_int_eq(attn_plan_run(plan, &execution, &result, NULL), ATTN_ECANCELLED);
    attn_plan_destroy(plan);
    ck_assert_int_eq(attn_plan_create_given(&plan, &given, &want, NULL), ATTN_OK);
    ck_assert_int_eq(attn_plan_run(plan, &execution, &result, NULL), ATTN_ECANCELLED);
    attn_plan_destroy(plan);
    ck_assert_ptr_null(result);
    free(numbers);
}
END_TEST

START_TEST(a_large_result_is_aligned_costed_and_the_mean_of_its_heads) {
    enum { LENGTH = 520, HEADS = 4, WIDTH = 16 };
    float *numbers = some_numbers((size_t)LENGTH * WIDTH);
    struct attn_inputs inputs = {.query = attn_view_contiguous(numbers, ATTN_FLOAT32, 2, (size_t[]){LENGTH, WIDTH}),
                                 .num_heads = HEADS,
                                 .options = ATTN_SDPA_DEFAULTS};
    struct attn_want want = ATTN_WANT_DEFAULTS;
    want.forms |= ATTN_BIT(ATTN_FORM_PER_HEAD) | ATTN_BIT(ATTN_FORM_MAX);
    inputs.options.is_causal = true;
    struct attn_plan *plan;
    ck_assert_int_eq(attn_plan_create(&plan, &inputs, &want, NULL), ATTN_OK);
    struct attn_plan_cost cost = attn_plan_cost(plan);
    const size_t cells = (size_t)LENGTH * LENGTH;
    ck_assert_uint_eq(cost.result_elements, (HEADS + 2) * cells + (size_t)LENGTH * WIDTH);
    ck_assert_uint_ge(cost.result_bytes, cost.result_elements * sizeof(float));
    ck_assert_uint_eq(cost.result_arrays, 4); /* three forms and the output */
    ck_assert(cost.flops > 0 && cost.exponentials > 0);
    attn_plan_destroy(plan);
    struct attn_result *result = run(&inputs, &want, &(struct attn_execution){.executor = &golden_lanes});
    const float *per_head = attn_result_find(result, ATTN_GROUP_WEIGHTS, "per_head")->values.data;
    const float *average = attn_result_find(result, ATTN_GROUP_WEIGHTS, "average")->values.data;
    const float *largest = attn_result_find(result, ATTN_GROUP_WEIGHTS, "max")->values.data;
    for (size_t i = 0; i < result->tensor_count; i++)
        ck_assert_uint_eq((uintptr_t)result->tensors[i].values.data % 64, 0);
    for (size_t i = 0; i < cells; i++) {
        float sum = 0, most = 0;
        for (size_t head = 0; head < HEADS; head++) {
            sum += per_head[head * cells + i];
            most = fmaxf(most, per_head[head * cells + i]);
        }
        ck_assert_float_eq_tol(average[i], sum / HEADS, 1e-6F);
        ck_assert(largest[i] == most);
    }
    attn_result_destroy(result);
    free(numbers);
}
END_TEST

START_TEST(the_limit_counts_tensors_one_by_one_and_not_streamed_heads) {
    enum { LENGTH = 64 };
    float *numbers = some_numbers((size_t)LENGTH * 8);
    struct attn_inputs inputs = {.query = attn_view_contiguous(numbers, ATTN_FLOAT32, 2, (size_t[]){LENGTH, 8}),
                                 .num_heads = 8,
                                 .options = ATTN_SDPA_DEFAULTS};
    struct attn_want want = ATTN_WANT_DEFAULTS;
    want.max_elements = (size_t)LENGTH * LENGTH;
    want.analyses = ATTN_BIT(ATTN_ANALYSIS_ENTROPY) | ATTN_BIT(ATTN_ANALYSIS_HEAD_DISTANCE);
    attn_result_destroy(run(&inputs, &want, NULL));
    free(numbers);
}
END_TEST

/* libm is the judge; awkward counts so that every vector tail is met. */
START_TEST(entropy_is_that_of_libm_at_every_length_and_magnitude) {
    for (size_t count = 0; count <= 67; count++) {
        double row[67];
        float narrow[67];
        double expected = 0, expected_narrow = 0;
        for (size_t j = 0; j < count; j++) {
            row[j] = j % 5 == 3 ? 0 : ldexp(1 + (double)(j * 37 % 101) / 101, -(int)(j * 13 % 120));
            narrow[j] = (float)row[j];
            expected -= row[j] > 0 ? row[j] * log(row[j]) : 0;
            expected_narrow -= narrow[j] > 0 ? (double)narrow[j] * log((double)narrow[j]) : 0;
        }
        ck_assert_double_eq_tol(attn_loops_of(ATTN_FLOAT64)->entropy(row, count), expected,
                                1e-14 * (1 + fabs(expected)));
        ck_assert_double_eq_tol(attn_loops_of(ATTN_FLOAT32)->entropy(narrow, count), expected_narrow,
                                1e-6 * (1 + fabs(expected_narrow)));
    }
}
END_TEST

/* Rows (1/2, 1/2) and ((1+e)/2, (1-e)/2): their divergence by log1p, in long double. */
static long double expected_divergence(long double e) {
    long double total = 0;
    for (int side = -1; side <= 1; side += 2) {
        long double p = 0.5L, q = (1 + side * e) / 2, m = (p + q) / 2;
        total += p * log1pl((p - m) / m) + q * log1pl((q - m) / m);
    }
    return total / 2;
}

START_TEST(divergence_of_near_rows_does_not_cancel) {
    double left[2] = {0.5, 0.5}, right[2];
    for (int power = 1; power < 24; power++) {
        long double e = ldexpl(1, -power);
        right[0] = (double)((1 + e) / 2);
        right[1] = (double)((1 - e) / 2);
        double expected = (double)expected_divergence(e);
        double found = attn_loops_of(ATTN_FLOAT64)->divergence(left, right, 2, 1, 1);
        double noise = ldexp(1, 2 * power - 62); /* of the expected number itself */
        ck_assert_msg(fabs(found - expected) <= (1e-13 + noise) * expected, "2^-%d: %.17g, not %.17g", power, found,
                      expected);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("plan_run");
    TCase *cases = tcase_create("running");
    tcase_add_test(cases, rows_that_attend_to_nothing_and_likely_mistakes_are_warned_of);
    tcase_add_test(cases, a_row_that_is_NaN_is_NaN_in_every_form_and_column);
    tcase_add_test(cases, caps_beyond_float32_cap_nothing_or_everything);
    tcase_add_test(cases, comparing_very_many_heads_can_be_cancelled_within_a_block);
    tcase_add_test(cases, principal_components_of_too_many_heads_are_refused);
    tcase_add_test(cases, long_runs_of_hidden_keys_at_both_ends_of_a_boolean_mask_hide_just_these);
    tcase_add_test(cases, a_negative_causal_offset_is_warned_of_and_no_mask_is_not);
    tcase_add_test(cases, a_cancelled_run_leaves_no_result);
    tcase_add_test(cases, a_large_result_is_aligned_costed_and_the_mean_of_its_heads);
    tcase_add_test(cases, the_limit_counts_tensors_one_by_one_and_not_streamed_heads);
    tcase_add_test(cases, entropy_is_that_of_libm_at_every_length_and_magnitude);
    tcase_add_test(cases, divergence_of_near_rows_does_not_cancel);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
