/** What a plan refuses, and the field it names. */
#include "tests/unit/run_suite.h"
#include <attn/attn.h>

#include <check.h>
#include <stdlib.h>
#include <string.h>

enum { N = 2, L = 3, T = 4, E = 8, H = 2 };

static float numbers[4 * N * T * E];
static int64_t lengths[N];
static const double head_weights[] = {1, -1, 3};
static const long long out_of_range[] = {0, 2}, repeated[] = {1, -1}, only_one[] = {1};
static const long long pairs_repeated[][2] = {{0, 1}, {-2, -1}}, pairs_outside[][2] = {{0, 0}, {2, 0}};

static struct attn_view tensor(int rank, size_t a, size_t b, size_t c, size_t d) {
    return attn_view_contiguous(numbers, ATTN_FLOAT32, rank, (size_t[]){a, b, c, d});
}

static struct attn_inputs good_inputs(void) {
    return (struct attn_inputs){
        .query = tensor(3, N, L, E, 0), .key = tensor(3, N, T, E, 0), .num_heads = H, .options = ATTN_SDPA_DEFAULTS};
}

struct refusal {
    void (*spoil)(struct attn_inputs *inputs, struct attn_want *want);
    attn_status status;
    const char *field;
};

#define SPOIL(name, change)                                                                                            \
    static void name(struct attn_inputs *inputs, struct attn_want *want) {                                             \
        (void)inputs, (void)want;                                                                                      \
        change;                                                                                                        \
    }

SPOIL(no_query, inputs->query.data = NULL)
SPOIL(rank_5, inputs->query.rank = 5)
SPOIL(empty_axis, inputs->query.shape[1] = 0)
SPOIL(query_dtype, inputs->query.dtype = ATTN_FLOAT16)
SPOIL(too_long_to_be, inputs->key = tensor(3, N, (size_t)1 << 58, E, 0); inputs->key.stride[1] = 0)
SPOIL(key_dtype, inputs->key.dtype = ATTN_FLOAT64)
SPOIL(key_rank, inputs->key = tensor(2, T, E, 0, 0))
SPOIL(key_batch, inputs->key = tensor(3, N + 1, T, E, 0))
SPOIL(key_width, inputs->key = tensor(3, N, T, 2 * E, 0))
SPOIL(value_length, inputs->value = tensor(3, N, T + 1, E, 0))
SPOIL(heads_do_not_divide, inputs->num_heads = 3)
SPOIL(groups_do_not_divide, inputs->num_heads = 4; inputs->num_kv_heads = 3)
SPOIL(rank_4_disagrees, inputs->query = inputs->key = tensor(4, N, H, L, 2); inputs->num_heads = 3)
SPOIL(past_alone, inputs->past_key = tensor(4, N, H, 1, E / H))
SPOIL(past_shape, inputs->past_key = tensor(4, N, H, 1, E); inputs->past_value = tensor(4, N, H, 1, E / H))
SPOIL(past_and_lengths, inputs->past_key = inputs->past_value = tensor(4, N, H, 1, E / H);
      inputs->options.key_lengths = attn_view_contiguous(lengths, ATTN_INT64, 1, (size_t[]){N}))
SPOIL(mask_shape, inputs->options.attn_mask = tensor(2, L, T + 1, 0, 0))
SPOIL(no_heads, want->heads = only_one; want->heads_count = 0)
SPOIL(head_outside, want->heads = out_of_range; want->heads_count = 2)
SPOIL(head_twice, want->heads = repeated; want->heads_count = 2)
SPOIL(layers_without_layers, want->layers = only_one; want->layers_count = 1)
SPOIL(pairs_without_layers, want->pairs = pairs_outside; want->pairs_count = 1)
SPOIL(empty_range, want->has_query_range = true; want->query_range[0] = want->query_range[1] = 1)
SPOIL(range_outside, want->has_key_range = true; want->key_range[1] = T + 1)
SPOIL(top_k_of_concat, want->forms = ATTN_BIT(ATTN_FORM_CONCAT); want->top_k = 1)
SPOIL(top_k_of_pca, want->forms = ATTN_BIT(ATTN_FORM_PCA); want->components = 1; want->top_k = 1)
SPOIL(many_components, want->forms = ATTN_BIT(ATTN_FORM_PCA); want->components = H + 1)
SPOIL(rollout_of_cross, want->forms = ATTN_BIT(ATTN_FORM_ROLLOUT))
SPOIL(stage_of_pca, want->forms = ATTN_BIT(ATTN_FORM_PCA); want->components = 1; want->stage = ATTN_STAGE_RAW)
SPOIL(stage_of_analysis, want->analyses = ATTN_BIT(ATTN_ANALYSIS_ENTROPY); want->stage = ATTN_STAGE_MASKED)
SPOIL(norm_without_projection, want->forms = ATTN_BIT(ATTN_FORM_OUTPUT_NORM))
SPOIL(duplicate_without_tokens, want->analyses = ATTN_BIT(ATTN_ANALYSIS_DUPLICATE))
SPOIL(head_weights_missing, want->forms = ATTN_BIT(ATTN_FORM_HEAD_WEIGHTED))
SPOIL(head_weights_alone, want->head_weights = head_weights; want->head_weights_count = 2)
SPOIL(head_weights_count, want->forms = ATTN_BIT(ATTN_FORM_HEAD_WEIGHTED); want->head_weights = head_weights;
      want->head_weights_count = 3)
SPOIL(head_weights_sum, want->forms = ATTN_BIT(ATTN_FORM_HEAD_WEIGHTED); want->head_weights = head_weights;
      want->head_weights_count = 2)
SPOIL(large_output, want->max_elements = N * L * E - 1)
SPOIL(large_weights, want->max_elements = N * H * L * T - 1; want->output = false;
      want->forms = ATTN_BIT(ATTN_FORM_PER_HEAD))
SPOIL(large_held, want->max_elements = N * H * L * T - 1; want->output = false; want->components = 1;
      want->forms = ATTN_BIT(ATTN_FORM_PCA))

static const struct refusal refusals[] = {
    {no_query, ATTN_ECONFLICT, "query"},
    {rank_5, ATTN_ESHAPE, "query"},
    {empty_axis, ATTN_ESHAPE, "query"},
    {query_dtype, ATTN_EDTYPE, "query"},
    {too_long_to_be, ATTN_ESHAPE, "key"},
    {key_dtype, ATTN_EDTYPE, "key"},
    {key_rank, ATTN_ESHAPE, "key"},
    {key_batch, ATTN_ESHAPE, "key"},
    {key_width, ATTN_ESHAPE, "key"},
    {value_length, ATTN_ESHAPE, "value"},
    {heads_do_not_divide, ATTN_ESHAPE, "num_heads"},
    {groups_do_not_divide, ATTN_ESHAPE, "num_kv_heads"},
    {rank_4_disagrees, ATTN_ESHAPE, "num_heads"},
    {past_alone, ATTN_ECONFLICT, "past_value"},
    {past_shape, ATTN_ESHAPE, "past_key"},
    {past_and_lengths, ATTN_ECONFLICT, "key_lengths"},
    {mask_shape, ATTN_ESHAPE, "attn_mask"},
    {no_heads, ATTN_ERANGE, "heads"},
    {head_outside, ATTN_ERANGE, "heads/1"},
    {head_twice, ATTN_ERANGE, "heads/1"},
    {layers_without_layers, ATTN_ECONFLICT, "layers"},
    {pairs_without_layers, ATTN_ECONFLICT, "pairs"},
    {empty_range, ATTN_ERANGE, "query_range"},
    {range_outside, ATTN_ERANGE, "key_range"},
    {top_k_of_concat, ATTN_ECONFLICT, "top_k"},
    {top_k_of_pca, ATTN_ECONFLICT, "top_k"},
    {many_components, ATTN_ERANGE, "components"},
    {rollout_of_cross, ATTN_ESHAPE, "weights"},
    {stage_of_pca, ATTN_ECONFLICT, "weights_stage"},
    {stage_of_analysis, ATTN_ECONFLICT, "weights_stage"},
    {norm_without_projection, ATTN_ECONFLICT, "weights"},
    {duplicate_without_tokens, ATTN_ECONFLICT, "analyses"},
    {head_weights_missing, ATTN_ECONFLICT, "head_weights"},
    {head_weights_alone, ATTN_ECONFLICT, "head_weights"},
    {head_weights_count, ATTN_ESHAPE, "head_weights"},
    {head_weights_sum, ATTN_ERANGE, "head_weights"},
    {large_output, ATTN_ELIMIT, "query"},
    {large_weights, ATTN_ELIMIT, "weights"},
    {large_held, ATTN_ELIMIT, "weights"},
};

START_TEST(what_does_not_fit_is_refused_with_its_field) {
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct attn_inputs inputs = good_inputs();
        struct attn_want want = ATTN_WANT_DEFAULTS;
        struct attn_plan *plan = NULL;
        struct attn_error error = {0};
        refusals[i].spoil(&inputs, &want);
        attn_status status = attn_plan_create(&plan, &inputs, &want, &error);
        ck_assert_msg(status == refusals[i].status, "row %zu (%s): %s", i, refusals[i].field, attn_status_name(status));
        ck_assert_str_eq(error.field, refusals[i].field);
        ck_assert_uint_gt(strlen(error.message), 0);
        ck_assert_ptr_null(plan);
    }
}
END_TEST

static const struct {
    int rank;
    unsigned internals;
    bool present;
    attn_stage stage;
    unsigned forms;
    const long long (*pairs)[2];
    size_t pairs_count;
    attn_status status;
    const char *field;
} given_refusals[] = {
    {2, 0, false, ATTN_STAGE_SOFTMAX, 1, NULL, 0, ATTN_ESHAPE, "attention_weights"},
    {6, 0, false, ATTN_STAGE_SOFTMAX, 1, NULL, 0, ATTN_ESHAPE, "attention_weights"},
    {5, 1, false, ATTN_STAGE_SOFTMAX, 1, NULL, 0, ATTN_ECONFLICT, "internals"},
    {5, 0, true, ATTN_STAGE_SOFTMAX, 1, NULL, 0, ATTN_ECONFLICT, "return_present"},
    {5, 0, false, ATTN_STAGE_RAW, 1, NULL, 0, ATTN_ECONFLICT, "weights_stage"},
    {5, 0, false, ATTN_STAGE_SOFTMAX, ATTN_BIT(ATTN_FORM_VALUE_NORM), NULL, 0, ATTN_ECONFLICT, "weights"},
    {5, 0, false, ATTN_STAGE_SOFTMAX, 1, pairs_repeated, 2, ATTN_ERANGE, "pairs/1"},
    {5, 0, false, ATTN_STAGE_SOFTMAX, 1, pairs_outside, 2, ATTN_ERANGE, "pairs/1/0"},
    {5, 0, false, ATTN_STAGE_SOFTMAX, 1, pairs_outside, 0, ATTN_ERANGE, "pairs"},
    {4, 0, false, ATTN_STAGE_SOFTMAX, 1, pairs_outside, 1, ATTN_ECONFLICT, "pairs"},
};

START_TEST(what_given_weights_cannot_have_is_refused) {
    for (size_t i = 0; i < sizeof given_refusals / sizeof *given_refusals; i++) {
        struct attn_given given = {.weights = attn_view_contiguous(numbers, ATTN_FLOAT32, given_refusals[i].rank,
                                                                   (size_t[]){2, 1, 2, 2, 2, 1})};
        struct attn_want want = ATTN_WANT_DEFAULTS;
        struct attn_plan *plan = NULL;
        struct attn_error error = {0};
        want.internals = given_refusals[i].internals;
        want.present = given_refusals[i].present;
        want.stage = given_refusals[i].stage;
        want.forms = given_refusals[i].forms;
        want.pairs = given_refusals[i].pairs;
        want.pairs_count = given_refusals[i].pairs_count;
        ck_assert_int_eq(attn_plan_create_given(&plan, &given, &want, &error), given_refusals[i].status);
        ck_assert_str_eq(error.field, given_refusals[i].field);
        ck_assert_ptr_null(plan);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("plan_refusals");
    TCase *cases = tcase_create("refusals");
    tcase_add_test(cases, what_does_not_fit_is_refused_with_its_field);
    tcase_add_test(cases, what_given_weights_cannot_have_is_refused);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
