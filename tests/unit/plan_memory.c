/**
 * Running out of memory: the k-th allocation of a plan's life fails, for every k. Whatever fails, the status says so,
 * nothing is left behind, and the next try is none the worse. The program is linked with --wrap (see the Makefile).
 */
#include "tests/golden/runner/lanes.h"
#include "tests/unit/failing_memory.h"
#include "tests/unit/fake_model.h"
#include "tests/unit/run_suite.h"
#include <attn/attn.h>

#include <check.h>
#include <stdlib.h>

struct trial {
    struct attn_inputs inputs;
    struct attn_given given;               /* with weights: in place of inputs */
    struct attn_model_inputs model_inputs; /* with ids: likewise */
    struct attn_model_want model_want;
    struct attn_want want;
    const struct attn_execution *execution;
};

static attn_status make(const struct trial *trial, struct attn_plan **plan, struct attn_error *error) {
    if (trial->given.weights.data != NULL)
        return attn_plan_create_given(plan, &trial->given, &trial->want, error);
    if (trial->model_inputs.input_ids.data != NULL)
        return attn_plan_create_model(plan, NULL, &trial->model_inputs, &trial->want, &trial->model_want, error);
    return attn_plan_create(plan, &trial->inputs, &trial->want, error);
}

static attn_status live(const struct trial *trial) {
    struct attn_plan *plan;
    struct attn_result *result;
    struct attn_error error;
    attn_status status = make(trial, &plan, &error);
    if (status != ATTN_OK)
        return status;
    status = attn_plan_run(plan, trial->execution, &result, &error);
    attn_plan_destroy(plan);
    if (status == ATTN_OK)
        attn_result_destroy(result);
    return status;
}

/* Lives through it with every allocation failing in turn. @return how many there were. */
static long fail_in_turn(const struct trial *trial) {
    for (long k = 1;; k++) {
        ck_assert_int_lt(k, 1000);
        atomic_store(&held, 0);
        atomic_store(&until_failure, k);
        atomic_store(&is_watching, true);
        attn_status status = live(trial);
        atomic_store(&is_watching, false);
        ck_assert_msg(atomic_load(&held) == 0, "allocation %ld: %ld pieces of memory are left", k, atomic_load(&held));
        ck_assert_msg(atomic_load(&mapped_bytes) == 0, "allocation %ld: %ld bytes are left", k,
                      atomic_load(&mapped_bytes));
        bool has_failed = atomic_load(&until_failure) <= 0;
        ck_assert_msg(status == (has_failed ? ATTN_ENOMEM : ATTN_OK), "allocation %ld: %s", k,
                      attn_status_name(status));
        if (!has_failed)
            return k - 1;
    }
}

static bool counts_down(void *left) {
    return atomic_fetch_sub((atomic_long *)left, 1) <= 0;
}

/* Cancels it at each question in turn, on lanes too. */
static void cancel_in_turn(struct trial trial) {
    atomic_long left;
    const struct attn_execution execution = {.executor = trial.execution != NULL ? trial.execution->executor : NULL,
                                             .is_cancelled = counts_down,
                                             .cancel_context = &left};
    trial.execution = &execution;
    for (long k = 0;; k++) {
        ck_assert_int_lt(k, 100000);
        atomic_store(&left, k);
        atomic_store(&until_failure, 0);
        atomic_store(&held, 0);
        atomic_store(&is_watching, true);
        attn_status status = live(&trial);
        atomic_store(&is_watching, false);
        ck_assert_msg(atomic_load(&held) == 0, "question %ld: %ld pieces of memory are left", k, atomic_load(&held));
        ck_assert_int_eq(atomic_load(&mapped_bytes), 0);
        if (atomic_load(&left) >= 0)
            break;
        ck_assert_msg(status == ATTN_ECANCELLED, "question %ld: %s", k, attn_status_name(status));
        k += k / 8;
    }
}

enum { N = 2, HEADS = 3, LENGTH = 40, DIM = 8, WIDTH = HEADS * DIM, LAYERS = 3 };

static float numbers[N * LENGTH * WIDTH];
static double weights[LAYERS * N * HEADS * LENGTH * LENGTH];
static const int64_t tokens[N * LENGTH];
static const uint8_t sees_all[N * LENGTH] = {1, 1, 1};

static void fill(void) {
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        numbers[i] = (float)(i % 97) / 97.0F - 0.5F;
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++)
        weights[i] = (double)(i % 89) / 89.0;
}

static const unsigned all_forms = ATTN_BIT(ATTN_FORM_COUNT) - 1;

START_TEST(attention_ends_well_whichever_allocation_fails) {
    struct attn_layer layer;
    struct attn_error error;
    const struct attn_named_view tensors[] = {
        {"in_proj_weight", attn_view_contiguous(numbers, ATTN_FLOAT32, 2, (size_t[]){3 * WIDTH, WIDTH})},
        {"out_proj.weight", attn_view_contiguous(numbers, ATTN_FLOAT32, 2, (size_t[]){WIDTH, WIDTH})},
    };
    fill();
    ck_assert_int_eq(attn_layer_resolve(tensors, 2, &(struct attn_layer_config){.num_heads = HEADS}, &layer, &error),
                     ATTN_OK);
    static const struct attn_execution on_lanes = {.executor = &golden_lanes};
    for (size_t top_k = 0; top_k <= 5; top_k += 5) {
        struct trial trial = {
            .inputs = {.query = attn_view_contiguous(numbers, ATTN_FLOAT32, 3, (size_t[]){N, LENGTH, WIDTH}),
                       .layer = &layer,
                       .options = ATTN_SDPA_DEFAULTS},
            .want = ATTN_WANT_DEFAULTS};
        trial.inputs.options.is_causal = true;
        trial.inputs.options.key_padding_mask =
            attn_view_contiguous((void *)(uintptr_t)sees_all, ATTN_BOOL, 2, (size_t[]){N, LENGTH});
        trial.want.forms = all_forms & ~ATTN_BIT(ATTN_FORM_HEAD_WEIGHTED);
        if (top_k > 0)
            trial.want.forms &= ~(ATTN_BIT(ATTN_FORM_CONCAT) | ATTN_BIT(ATTN_FORM_PCA));
        trial.want.top_k = top_k;
        trial.want.analyses = ATTN_BIT(ATTN_ANALYSIS_DUPLICATE) - 1;
        trial.want.internals = ATTN_BIT(ATTN_INTERNAL_COUNT) - 1;
        ck_assert_int_gt(fail_in_turn(&trial), 8);
        cancel_in_turn(trial);
        trial.execution = &on_lanes;
        ck_assert_int_gt(fail_in_turn(&trial), 8);
        cancel_in_turn(trial);
    }
}
END_TEST

START_TEST(masked_attention_without_weights_ends_well_whichever_allocation_fails) {
    fill();
    struct trial trial = {
        .inputs = {.query = attn_view_contiguous(numbers, ATTN_FLOAT32, 3, (size_t[]){N, LENGTH, WIDTH}),
                   .num_heads = HEADS,
                   .options = ATTN_SDPA_DEFAULTS},
        .want = ATTN_WANT_DEFAULTS};
    trial.want.forms = 0;
    trial.inputs.options.attn_mask =
        attn_view_contiguous((void *)(uintptr_t)sees_all, ATTN_BOOL, 2, (size_t[]){1, LENGTH});
    trial.inputs.options.segment_ids =
        attn_view_contiguous((void *)(uintptr_t)tokens, ATTN_INT64, 2, (size_t[]){N, LENGTH});
    ck_assert_int_ge(fail_in_turn(&trial), 4);
}
END_TEST

START_TEST(analyses_of_given_weights_end_well_whichever_allocation_fails) {
    fill();
    struct trial trial = {
        .given = {.weights =
                      attn_view_contiguous(weights, ATTN_FLOAT64, 5, (size_t[]){LAYERS, N, HEADS, LENGTH, LENGTH}),
                  .query_tokens = attn_view_contiguous((void *)(uintptr_t)tokens, ATTN_INT64, 2, (size_t[]){N, LENGTH}),
                  .key_tokens = attn_view_contiguous((void *)(uintptr_t)tokens, ATTN_INT64, 2, (size_t[]){N, LENGTH})},
        .want = ATTN_WANT_DEFAULTS};
    const double head_weights[HEADS] = {1, 2, 3};
    trial.want.forms = all_forms & ~(ATTN_BIT(ATTN_FORM_VALUE_NORM) | ATTN_BIT(ATTN_FORM_OUTPUT_NORM));
    trial.want.analyses = ATTN_BIT(ATTN_ANALYSIS_COUNT) - 1;
    trial.want.head_weights = head_weights;
    trial.want.head_weights_count = HEADS;
    ck_assert_int_gt(fail_in_turn(&trial), 20);
    cancel_in_turn(trial);
    trial.given.weights.stride[4] = LENGTH; /* columns of columns: gathered */
    trial.given.weights.stride[3] = 1;
    ck_assert_int_gt(fail_in_turn(&trial), 20);
}
END_TEST

START_TEST(a_large_result_that_cannot_be_mapped_is_out_of_memory) {
    enum { LONG = 1500 };
    float *long_numbers = calloc(LONG * 4, sizeof *long_numbers);
    ck_assert_ptr_nonnull(long_numbers);
    struct trial trial = {.inputs = {.query = attn_view_contiguous(long_numbers, ATTN_FLOAT32, 2, (size_t[]){LONG, 4}),
                                     .options = ATTN_SDPA_DEFAULTS},
                          .want = ATTN_WANT_DEFAULTS};
    ck_assert_int_gt(fail_in_turn(&trial), 2);
    free(long_numbers);
}
END_TEST

START_TEST(a_model_ends_well_whichever_allocation_fails) {
    static const int64_t exist[N * LENGTH] = {1, 1, 1, 1, 1, 1};
    static const struct attn_execution on_lanes = {.executor = &golden_lanes};
    const long long pairs[][2] = {{1, 0}, {0, 3}, {1, 2}};
    struct trial trial = {.want = ATTN_WANT_DEFAULTS, .model_want = {.pooling = ATTN_POOLING_MEAN, .predictions = 2}};
    fake = (struct fake_model){.is_encoder_decoder = true, .has_head = true, .layers = {2, 2, 2}};
    trial.model_inputs.input_ids =
        attn_view_contiguous((void *)(uintptr_t)tokens, ATTN_INT64, 2, (size_t[]){N, LENGTH});
    trial.model_inputs.decoder_input_ids = trial.model_inputs.input_ids;
    trial.model_inputs.attention_mask =
        attn_view_contiguous((void *)(uintptr_t)exist, ATTN_INT64, 2, (size_t[]){N, LENGTH});
    trial.model_want.stacks = ATTN_BIT(ATTN_STACK_ENCODER) | ATTN_BIT(ATTN_STACK_CROSS);
    trial.want.forms = all_forms & ~ATTN_BIT(ATTN_FORM_HEAD_WEIGHTED);
    trial.want.analyses = ATTN_BIT(ATTN_ANALYSIS_COUNT) - 1;
    trial.want.internals = ATTN_BIT(ATTN_INTERNAL_COUNT) - 1;
    ck_assert_int_gt(fail_in_turn(&trial), 30);
    cancel_in_turn(trial);
    trial.execution = &on_lanes;
    trial.want.forms &= ~ATTN_BIT(ATTN_FORM_PCA);
    trial.want.pairs = pairs;
    trial.want.pairs_count = 3;
    trial.want.output = false;
    ck_assert_int_gt(fail_in_turn(&trial), 30);
    cancel_in_turn(trial);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("plan_memory");
    TCase *cases = tcase_create("out of memory");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, attention_ends_well_whichever_allocation_fails);
    tcase_add_test(cases, masked_attention_without_weights_ends_well_whichever_allocation_fails);
    tcase_add_test(cases, analyses_of_given_weights_end_well_whichever_allocation_fails);
    tcase_add_test(cases, a_model_ends_well_whichever_allocation_fails);
    tcase_add_test(cases, a_large_result_that_cannot_be_mapped_is_out_of_memory);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
