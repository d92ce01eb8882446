/**
 * Plans over whole models, on a transformer so plain that NumPy is another of it (fake_model.h): which layers, heads
 * and stacks come back and in what order, what is run for them, padding, what goes across layers, pooling, predictions,
 * errors and limits.
 */
#include "lib/plan/plan.h"
#include "tests/golden/runner/lanes.h"
#include "tests/unit/fake_model.h"
#include "tests/unit/run_suite.h"
#include "tests/unit/plan_model_expected.inc"
#include <attn/attn.h>

#include <check.h>
#include <math.h>
#include <stdio.h>

enum { N = 2, LENGTH = 6, OTHER = 4, LAYERS = 3, H = FAKE_HEADS, E = FAKE_WIDTH };

static const size_t all_layers[ATTN_STACK_COUNT] = {LAYERS, LAYERS, LAYERS};
static const unsigned all_forms = ATTN_BIT(ATTN_FORM_COUNT) - 1, all_analyses = ATTN_BIT(ATTN_ANALYSIS_COUNT) - 1,
                      all_internals = ATTN_BIT(ATTN_INTERNAL_COUNT) - 1;

/* A call whose parts a test may change. */
struct call {
    struct attn_model_inputs inputs;
    struct attn_want want;
    struct attn_model_want model_want;
    const struct attn_execution *execution;
};

static struct attn_view integers(const int64_t *data, size_t rows, size_t columns) {
    return attn_view_contiguous((void *)(uintptr_t)data, ATTN_INT64, 2, (size_t[]){rows, columns});
}

static void be(bool is_causal, bool is_encoder_decoder) {
    fake = (struct fake_model){.is_causal = is_causal, .is_encoder_decoder = is_encoder_decoder, .has_head = true};
    memcpy(fake.layers, all_layers, sizeof all_layers);
}

/* The padded texts of the expected values, per head, in double. */
static struct call a_call(void) {
    struct call call = {.want = ATTN_WANT_DEFAULTS, .model_want = {.dtype = ATTN_FLOAT64}};
    call.inputs.input_ids = integers(ids, N, LENGTH);
    call.inputs.attention_mask = integers(mask, N, LENGTH);
    call.want.forms = ATTN_BIT(ATTN_FORM_PER_HEAD);
    if (fake.is_encoder_decoder) {
        call.inputs.decoder_input_ids = integers(other_ids, N, OTHER);
        call.inputs.decoder_attention_mask = integers(other_mask, N, OTHER);
    }
    return call;
}

static struct attn_plan *plan_of(const struct call *call) {
    struct attn_plan *plan = NULL;
    struct attn_error error = {0};
    attn_status status = attn_plan_create_model(&plan, NULL, &call->inputs, &call->want, &call->model_want, &error);
    ck_assert_msg(status == ATTN_OK, "%s: %s", error.field, error.message);
    return plan;
}

static struct attn_result *run(const struct call *call) {
    struct attn_plan *plan = plan_of(call);
    struct attn_result *result = NULL;
    struct attn_error error = {0};
    attn_status status = attn_plan_run(plan, call->execution, &result, &error);
    ck_assert_msg(status == ATTN_OK, "%s: %s", error.field, error.message);
    attn_plan_destroy(plan);
    return result;
}

static void expect_refusal(const struct call *call, attn_status wanted, const char *field, const char *message) {
    struct attn_plan *plan = NULL;
    struct attn_error error = {0};
    attn_status status = attn_plan_create_model(&plan, NULL, &call->inputs, &call->want, &call->model_want, &error);
    ck_assert_msg(status == wanted, "%s for %s: %s", attn_status_name(status), field, error.message);
    ck_assert_str_eq(error.field, field);
    ck_assert_msg(strstr(error.message, message) != NULL, "%s: %s", field, error.message);
}

static const struct attn_result_tensor *find(const struct attn_result *result, const char *name, int stack, int layer,
                                             int head) {
    for (size_t i = 0; i < result->tensor_count; i++) {
        const struct attn_result_tensor *tensor = &result->tensors[i];
        if (tensor->stack == stack && tensor->layer == layer && tensor->head == head && strcmp(tensor->name, name) == 0)
            return tensor;
    }
    ck_abort_msg("no %s of stack %d, layer %d, head %d", name, stack, layer, head);
    return NULL;
}

static double number(const struct attn_view *view, size_t i) {
    return view->dtype == ATTN_FLOAT64 ? ((const double *)view->data)[i] : (double)((const float *)view->data)[i];
}

static void expect_numbers(const struct attn_view *found, const double *wanted, size_t count, const char *what) {
    const double tolerance = found->dtype == ATTN_FLOAT64 ? 1e-13 : 2e-6;
    ck_assert_uint_eq(attn_view_elements(found), count);
    for (size_t i = 0; i < count; i++) {
        const double difference = fabs(number(found, i) - wanted[i]);
        ck_assert_msg(difference <= tolerance, "%s[%zu] is %.17g, not %.17g", what, i, number(found, i), wanted[i]);
    }
}

static void expect_shape(const struct attn_view *view, int rank, const size_t *shape) {
    ck_assert_int_eq(view->rank, rank);
    for (int axis = 0; axis < rank; axis++)
        ck_assert_uint_eq(view->shape[axis], shape[axis]);
}

#define EXPECT(tensor, wanted) expect_numbers(&(tensor)->values, wanted, sizeof(wanted) / sizeof *(wanted), #wanted)

static void expect_layers(const struct attn_result *result, int stack, const double *wanted, size_t cells) {
    for (int layer = 0; layer < LAYERS; layer++)
        expect_numbers(&find(result, "per_head", stack, layer, -1)->values, wanted + (size_t)layer * cells, cells,
                       "per_head");
}

START_TEST(every_layer_comes_back_with_zeros_for_padding) {
    static const struct attn_execution on_lanes = {.executor = &golden_lanes};
    be(true, false);
    struct call call = a_call();
    for (int i = 0; i < 4; i++) {
        call.model_want.dtype = i % 2 == 0 ? ATTN_FLOAT64 : ATTN_FLOAT32;
        call.execution = i < 2 ? NULL : &on_lanes;
        struct attn_result *result = run(&call);
        ck_assert_uint_eq(result->tensor_count, 1 + LAYERS);
        expect_layers(result, -1, expected_causal, (size_t)N * H * LENGTH * LENGTH);
        expect_shape(&result->tensors[1].values, 4, (size_t[]){N, H, LENGTH, LENGTH});
        ck_assert_str_eq(result->tensors[0].name, "output");
        expect_shape(&result->tensors[0].values, 3, (size_t[]){N, LENGTH, E});
        EXPECT(&result->tensors[0], expected_hidden);
        ck_assert_uint_eq(result->dims.heads, H);
        ck_assert_uint_eq(result->dims.kv_heads, FAKE_KV_HEADS);
        ck_assert_uint_eq(result->dims.key_length, LENGTH);
        ck_assert_uint_eq(result->warning_count, 0);
        attn_result_destroy(result);
    }
}
END_TEST

START_TEST(encoder_decoder_and_cross_come_in_this_order) {
    be(false, true);
    struct call call = a_call();
    struct attn_result *result = run(&call);
    ck_assert_uint_eq(result->tensor_count, 2 + 3 * LAYERS);
    ck_assert_str_eq(result->tensors[1].name, "encoder_output");
    ck_assert_int_eq(result->tensors[1].group, ATTN_GROUP_EXTRA);
    EXPECT(&result->tensors[0], expected_decoded);
    EXPECT(&result->tensors[1], expected_encoded);
    for (int i = 0; i < 3 * LAYERS; i++) {
        ck_assert_int_eq(result->tensors[2 + i].stack, i / LAYERS);
        ck_assert_int_eq(result->tensors[2 + i].layer, i % LAYERS);
    }
    expect_layers(result, ATTN_STACK_ENCODER, expected_encoder, (size_t)N * H * LENGTH * LENGTH);
    expect_layers(result, ATTN_STACK_DECODER, expected_decoder, (size_t)N * H * OTHER * OTHER);
    expect_layers(result, ATTN_STACK_CROSS, expected_cross, (size_t)N * H * OTHER * LENGTH);
    ck_assert_uint_eq(result->dims.query_length, OTHER);
    attn_result_destroy(result);
}
END_TEST

/* Head `head` of item `item` in what NumPy has of a layer of the causal model. */
static const double *head_of(size_t layer, size_t item, size_t head) {
    return expected_causal + ((layer * N + item) * H + head) * LENGTH * LENGTH;
}

START_TEST(layers_and_heads_come_in_the_order_asked) {
    be(true, false);
    struct call call = a_call();
    const long long layers[] = {-1, 0}, heads[] = {2, -4};
    call.want.layers = layers;
    call.want.layers_count = 2;
    call.want.heads = heads;
    call.want.heads_count = 2;
    call.want.output = false;
    struct attn_result *result = run(&call);
    ck_assert_uint_eq(result->tensor_count, 2);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(result->tensors[i].layer, i == 0 ? 2 : 0);
        expect_shape(&result->tensors[i].values, 4, (size_t[]){N, 2, LENGTH, LENGTH});
        for (size_t j = 0; j < (size_t)N * 2; j++)
            for (size_t cell = 0; cell < (size_t)LENGTH * LENGTH; cell++)
                ck_assert(fabs(number(&result->tensors[i].values, j * LENGTH * LENGTH + cell) -
                               head_of(i == 0 ? 2 : 0, j / 2, j % 2 == 0 ? 2 : 0)[cell]) < 1e-13);
    }
    attn_result_destroy(result);
}
END_TEST

START_TEST(pairs_share_their_layers_internals) {
    be(true, false);
    struct call call = a_call();
    const long long pairs[][2] = {{1, 3}, {0, 0}, {1, -4}};
    call.want.pairs = pairs;
    call.want.pairs_count = 3;
    call.want.output = false;
    call.want.internals = ATTN_BIT(ATTN_INTERNAL_LOGSUMEXP) | ATTN_BIT(ATTN_INTERNAL_CONTEXT);
    struct attn_result *result = run(&call);
    const struct {
        const char *name;
        int layer, head;
    } wanted[] = {{"context", 1, -1},   {"logsumexp", 1, -1}, {"per_head", 1, 3}, {"context", 0, -1},
                  {"logsumexp", 0, -1}, {"per_head", 0, 0},   {"per_head", 1, 0}};
    ck_assert_uint_eq(result->tensor_count, 7);
    for (size_t i = 0; i < 7; i++) {
        const struct attn_result_tensor *tensor = &result->tensors[i];
        ck_assert_str_eq(tensor->name, wanted[i].name);
        ck_assert_int_eq(tensor->layer, wanted[i].layer);
        ck_assert_int_eq(tensor->head, wanted[i].head);
        for (size_t cell = 0; wanted[i].head >= 0 && cell < (size_t)N * LENGTH * LENGTH; cell++)
            ck_assert(fabs(number(&tensor->values, cell) - head_of((size_t)tensor->layer, cell / (LENGTH * LENGTH),
                                                                   (size_t)tensor->head)[cell % (LENGTH * LENGTH)]) <
                      1e-13);
    }
    ck_assert_uint_eq(fake.attended[ATTN_STACK_DECODER], 2);
    attn_result_destroy(result);
}
END_TEST

static void expect_attended(const struct call *call, size_t encoder, size_t decoder, size_t cross, size_t unread) {
    fake.runs = 0;
    memset(fake.attended, 0, sizeof fake.attended);
    attn_result_destroy(run(call));
    ck_assert_uint_eq(fake.attended[ATTN_STACK_ENCODER], encoder);
    ck_assert_uint_eq(fake.attended[ATTN_STACK_DECODER], decoder);
    ck_assert_uint_eq(fake.attended[ATTN_STACK_CROSS], cross);
    ck_assert_uint_eq(fake.runs == 0 ? 0 : fake.unread, unread);
}

START_TEST(only_what_is_needed_is_run) {
    const long long layers[] = {0, 1};
    be(true, false);
    struct call call = a_call();
    call.want.layers = layers;
    call.want.layers_count = 1;
    expect_attended(&call, 0, 3, 0, 0);
    call.want.output = false;
    expect_attended(&call, 0, 1, 0, 1);
    call.want.forms |= ATTN_BIT(ATTN_FORM_ROLLOUT);
    expect_attended(&call, 0, 3, 0, 1);
    call.want.forms = 0;
    expect_attended(&call, 0, 0, 0, 0);
    ck_assert_uint_eq(fake.runs, 0);
    call.want.internals = ATTN_BIT(ATTN_INTERNAL_KEY);
    expect_attended(&call, 0, 1, 0, 1);
    call.want.internals = 0;
    call.model_want.predictions = 1;
    expect_attended(&call, 0, 3, 0, 0);
    be(false, true);
    call = a_call();
    call.want.output = false;
    call.want.layers = layers;
    call.want.layers_count = 2;
    call.model_want.stacks = ATTN_BIT(ATTN_STACK_CROSS);
    expect_attended(&call, 3, 2, 2, 1);
    call.model_want.stacks = ATTN_BIT(ATTN_STACK_DECODER);
    expect_attended(&call, 3, 2, 1, 1);
    call.model_want.stacks = ATTN_BIT(ATTN_STACK_ENCODER);
    call.inputs.decoder_input_ids.data = NULL;
    expect_attended(&call, 2, 0, 0, 1);
}
END_TEST

START_TEST(an_encoder_alone_is_labelled_and_sized_as_such) {
    be(false, true);
    struct call call = a_call();
    call.want.output = false;
    call.model_want.stacks = ATTN_BIT(ATTN_STACK_ENCODER);
    call.inputs.decoder_input_ids.data = NULL;
    struct attn_result *result = run(&call);
    ck_assert_uint_eq(result->tensor_count, LAYERS);
    expect_layers(result, ATTN_STACK_ENCODER, expected_encoder, (size_t)N * H * LENGTH * LENGTH);
    ck_assert_uint_eq(result->dims.query_length, LENGTH);
    ck_assert_uint_eq(result->dims.heads, H);
    attn_result_destroy(result);
}
END_TEST

START_TEST(rollout_and_flow_go_over_all_layers_of_one_stack) {
    const long long layers[] = {1};
    be(true, false);
    struct call call = a_call();
    call.want.forms = ATTN_BIT(ATTN_FORM_ROLLOUT) | ATTN_BIT(ATTN_FORM_FLOW);
    call.want.output = false;
    struct attn_result *result = run(&call);
    ck_assert_uint_eq(result->tensor_count, 2);
    EXPECT(find(result, "rollout", -1, -1, -1), expected_rollout);
    EXPECT(find(result, "flow", -1, -1, -1), expected_flow);
    attn_result_destroy(result);
    call.want.forms |= ATTN_BIT(ATTN_FORM_PER_HEAD);
    call.want.layers = layers;
    call.want.layers_count = 1;
    result = run(&call);
    ck_assert_uint_eq(result->tensor_count, 3);
    EXPECT(find(result, "rollout", -1, -1, -1), expected_rollout);
    expect_numbers(&find(result, "per_head", -1, 1, -1)->values, head_of(1, 0, 0), (size_t)N * H * LENGTH * LENGTH,
                   "per_head");
    attn_result_destroy(result);
    be(false, true);
    call = a_call();
    call.want.forms = ATTN_BIT(ATTN_FORM_ROLLOUT) | ATTN_BIT(ATTN_FORM_AVERAGE);
    call.model_want.stacks = ATTN_BIT(ATTN_STACK_ENCODER);
    result = run(&call);
    ck_assert_uint_eq(result->tensor_count, 2 + 1 + LAYERS);
    EXPECT(find(result, "rollout", ATTN_STACK_ENCODER, -1, -1), expected_encoder_rollout);
    attn_result_destroy(result);
    call.model_want.stacks = ATTN_BIT(ATTN_STACK_CROSS) | ATTN_BIT(ATTN_STACK_DECODER);
    result = run(&call);
    ck_assert_uint_eq(result->tensor_count, 2 + 1 + 2 * LAYERS);
    EXPECT(find(result, "rollout", ATTN_STACK_DECODER, -1, -1), expected_decoder_rollout);
    attn_result_destroy(result);
    call.model_want.stacks = 0;
    expect_refusal(&call, ATTN_ECONFLICT, "stacks", "one of encoder and decoder");
    call.model_want.stacks = ATTN_BIT(ATTN_STACK_CROSS);
    expect_refusal(&call, ATTN_ECONFLICT, "stacks", "one of encoder and decoder");
}
END_TEST

START_TEST(pooling_leaves_padding_out) {
    static const struct {
        attn_pooling pooling;
        bool normalizes;
        const double *wanted;
    } cases[] = {
        {ATTN_POOLING_MEAN, false, expected_mean}, {ATTN_POOLING_MEAN, true, expected_mean_normalized},
        {ATTN_POOLING_CLS, false, expected_cls},   {ATTN_POOLING_CLS, true, expected_cls_normalized},
        {ATTN_POOLING_LAST, false, expected_last}, {ATTN_POOLING_LAST, true, expected_last_normalized},
    };
    be(true, false);
    struct call call = a_call();
    for (size_t i = 0; i < 4 * sizeof cases / sizeof *cases; i++) {
        call.want.output = i % 2 == 0;
        call.want.forms = 0;
        call.model_want.dtype = i / 2 % 2 == 0 ? ATTN_FLOAT64 : ATTN_FLOAT32;
        call.model_want.pooling = cases[i / 4].pooling;
        call.model_want.normalize = cases[i / 4].normalizes;
        struct attn_result *result = run(&call);
        ck_assert_uint_eq(result->tensor_count, call.want.output ? 2 : 1);
        const struct attn_result_tensor *embedding = find(result, "embedding", -1, -1, -1);
        ck_assert_int_eq(embedding->group, ATTN_GROUP_EXTRA);
        expect_shape(&embedding->values, 2, (size_t[]){N, E});
        expect_numbers(&embedding->values, cases[i / 4].wanted, (size_t)N * E, "embedding");
        attn_result_destroy(result);
    }
}
END_TEST

START_TEST(wide_hidden_states_are_pooled_in_pieces) {
    enum { WIDTH = 700, TOKENS = 3 };
    static float hidden[TOKENS * WIDTH], pooled[WIDTH];
    const uint8_t exists[TOKENS] = {1, 0, 1};
    const struct attn_view from = attn_view_contiguous(hidden, ATTN_FLOAT32, 3, (size_t[]){1, TOKENS, WIDTH});
    const struct attn_view to = attn_view_contiguous(pooled, ATTN_FLOAT32, 2, (size_t[]){1, WIDTH});
    double squares = 0;
    for (size_t i = 0; i < (size_t)TOKENS * WIDTH; i++)
        hidden[i] = (float)(i * 37 % 101) - 50;
    for (size_t j = 0; j < WIDTH; j++)
        squares += pow(((double)hidden[j] + (double)hidden[2 * WIDTH + j]) / 2, 2);
    attn_pool(ATTN_POOLING_MEAN, true, &from, exists, &to);
    for (size_t j = 0; j < WIDTH; j++)
        ck_assert(fabs((double)pooled[j] - ((double)hidden[j] + (double)hidden[2 * WIDTH + j]) / 2 / sqrt(squares)) <
                  1e-7);
    attn_pool(ATTN_POOLING_LAST, true, &from, (const uint8_t[]){0, 0, 0}, &to);
    for (size_t j = 0; j < WIDTH; j++)
        ck_assert(pooled[j] == 0);
}
END_TEST

START_TEST(predictions_are_ids_with_probabilities) {
    be(true, false);
    struct call call = a_call();
    call.want.forms = 0;
    call.want.output = false;
    call.model_want.predictions = 2;
    struct attn_result *result = run(&call);
    ck_assert_uint_eq(result->tensor_count, 1);
    const struct attn_result_tensor *predictions = find(result, "predictions", -1, -1, -1);
    expect_shape(&predictions->values, 3, (size_t[]){N, LENGTH, 2});
    expect_shape(&predictions->indices, 3, (size_t[]){N, LENGTH, 2});
    for (size_t i = 0; i < (size_t)N * LENGTH * 2; i++) {
        const bool exists = mask[i / 2] != 0;
        ck_assert_int_eq(((const int64_t *)predictions->indices.data)[i],
                         exists ? (int64_t)(i / 2 % LENGTH + i % 2) : 0);
        ck_assert(fabs(number(&predictions->values, i) - (exists ? 1 / (double)(i % 2 + 2) : 0)) < 1e-15);
    }
    attn_result_destroy(result);
    fake.has_head = false;
    expect_refusal(&call, ATTN_ECONFLICT, "predictions", "no language-model head");
    fake.has_head = true;
    call.model_want.predictions = FAKE_VOCAB + 1;
    expect_refusal(&call, ATTN_ERANGE, "predictions", "at most the 50 tokens");
}
END_TEST

START_TEST(tokens_are_compared_as_ids_but_those_of_padding) {
    const long long first[] = {0}, second[] = {1};
    be(true, false);
    struct call call = a_call();
    call.want.analyses = ATTN_BIT(ATTN_ANALYSIS_DUPLICATE) | ATTN_BIT(ATTN_ANALYSIS_INDUCTION);
    call.want.layers = second;
    call.want.layers_count = 1;
    struct attn_result *result = run(&call);
    EXPECT(find(result, "duplicate", -1, 1, -1), expected_duplicate);
    EXPECT(find(result, "induction", -1, 1, -1), expected_induction);
    attn_result_destroy(result);
    double embeds[LENGTH * E] = {0};
    call.inputs = (struct attn_model_inputs){
        .inputs_embeds = attn_view_contiguous(embeds, ATTN_FLOAT64, 3, (size_t[]){1, LENGTH, E})};
    expect_refusal(&call, ATTN_ECONFLICT, "analyses", "duplicate needs tokens");
    be(false, true);
    call = a_call();
    call.want.analyses = ATTN_BIT(ATTN_ANALYSIS_DUPLICATE);
    call.want.layers = first;
    call.want.layers_count = 1;
    result = run(&call);
    EXPECT(find(result, "duplicate", ATTN_STACK_CROSS, 0, -1), expected_cross_duplicate);
    attn_result_destroy(result);
}
END_TEST

START_TEST(norms_of_values_and_components_are_those_of_the_layer) {
    const long long second[] = {1};
    be(true, false);
    struct call call = a_call();
    call.want.forms = ATTN_BIT(ATTN_FORM_VALUE_NORM) | ATTN_BIT(ATTN_FORM_OUTPUT_NORM) | ATTN_BIT(ATTN_FORM_PCA);
    call.want.layers = second;
    call.want.layers_count = 1;
    call.want.components = 2;
    struct attn_result *result = run(&call);
    EXPECT(find(result, "value_norm", -1, 1, -1), expected_value_norm);
    EXPECT(find(result, "output_norm", -1, 1, -1), expected_output_norm);
    EXPECT(find(result, "pca", -1, 1, -1), expected_pca);
    attn_result_destroy(result);
}
END_TEST

/* Holds a tensor of an item alone against the same of the first of a padded batch: what is beyond is 0. */
static void expect_padded(const struct attn_result_tensor *alone, const struct attn_result_tensor *padded) {
    const struct attn_view *a = &alone->values, *p = &padded->values;
    const bool is_log = strcmp(alone->name, "logsumexp") == 0 || strcmp(alone->name, "max_score") == 0;
    size_t count = attn_view_elements(p) / p->shape[0];
    ck_assert_str_eq(alone->name, padded->name);
    ck_assert_int_eq(alone->layer, padded->layer);
    ck_assert_int_eq(a->rank + 1, p->rank);
    for (size_t i = 0; i < count; i++) {
        size_t rest = i, at = 0, step = 1;
        bool is_beyond = false;
        for (int axis = a->rank - 1; axis >= 0; axis--) {
            const size_t place = rest % p->shape[axis + 1];
            rest /= p->shape[axis + 1];
            is_beyond |= place >= a->shape[axis];
            at += place * step;
            step *= a->shape[axis];
        }
        if (is_beyond)
            ck_assert_msg(is_log ? number(p, i) == (double)-INFINITY : number(p, i) == 0, "%s[%zu] of padding is %g",
                          alone->name, i, number(p, i));
        else
            ck_assert_msg(fabs(number(p, i) - number(a, at)) < 1e-12, "%s[%zu] is %.17g, not %.17g", alone->name, i,
                          number(p, i), number(a, at));
    }
}

/* An item says the same of itself alone and beside a longer one, in all forms, analyses and internals. */
START_TEST(padding_at_the_right_changes_nothing_else) {
    static const int64_t both[] = {3, 5, 3, 8, 0, 0, 1, 2, 3, 4, 5, 6}, exist[] = {1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1};
    static const double head_weights[] = {1, 2, 3, 4};
    for (int kind = 0; kind < 2; kind++) {
        be(kind == 1, false);
        struct call call = a_call();
        call.want.forms = all_forms;
        call.want.analyses = all_analyses;
        call.want.internals = all_internals;
        call.want.head_weights = head_weights;
        call.want.head_weights_count = H;
        call.want.components = 2;
        call.model_want.pooling = ATTN_POOLING_MEAN;
        call.inputs =
            (struct attn_model_inputs){.input_ids = integers(both, 2, 6), .attention_mask = integers(exist, 2, 6)};
        struct attn_result *padded = run(&call);
        call.inputs = (struct attn_model_inputs){
            .input_ids = attn_view_contiguous((void *)(uintptr_t)both, ATTN_INT64, 1, (size_t[]){4})};
        struct attn_result *alone = run(&call);
        ck_assert_uint_eq(alone->tensor_count, padded->tensor_count);
        ck_assert_uint_gt(alone->tensor_count, (size_t)LAYERS * 28);
        for (size_t i = 0; i < alone->tensor_count; i++)
            expect_padded(&alone->tensors[i], &padded->tensors[i]);
        attn_result_destroy(padded);
        attn_result_destroy(alone);
    }
}
END_TEST

START_TEST(ranges_and_the_top_k_cut_what_comes_back) {
    be(true, false);
    struct call call = a_call();
    call.want.forms = ATTN_BIT(ATTN_FORM_PER_HEAD) | ATTN_BIT(ATTN_FORM_ROLLOUT);
    call.want.output = false;
    call.want.has_query_range = call.want.has_key_range = true;
    call.want.query_range[0] = 3;
    call.want.query_range[1] = 5;
    call.want.key_range[0] = 1;
    call.want.key_range[1] = 5;
    struct attn_result *result = run(&call);
    const struct attn_result_tensor *per_head = find(result, "per_head", -1, 2, -1);
    expect_shape(&per_head->values, 4, (size_t[]){N, H, 2, 4});
    expect_shape(&find(result, "rollout", -1, -1, -1)->values, 3, (size_t[]){N, 2, 4});
    for (size_t i = 0; i < (size_t)N * H * 2 * 4; i++) {
        const size_t head = i / 8, query = i / 4 % 2 + 3, key = i % 4 + 1;
        ck_assert(fabs(number(&per_head->values, i) - head_of(2, head / H, head % H)[query * LENGTH + key]) < 1e-13);
    }
    attn_result_destroy(result);
    call.want.top_k = 2;
    result = run(&call);
    per_head = find(result, "per_head", -1, 2, -1);
    for (size_t i = 0; i < (size_t)N * H * 2; i++) {
        const int64_t *keys = (const int64_t *)per_head->indices.data + 2 * i;
        const double *row = head_of(2, i / 2 / H, i / 2 % H) + (i % 2 + 3) * LENGTH;
        ck_assert(row[keys[0]] >= row[keys[1]]);
        for (int64_t key = 1; key < 5; key++)
            ck_assert(key == keys[0] || row[key] <= row[keys[1]]);
        ck_assert(fabs(number(&per_head->values, 2 * i) - row[keys[0]]) < 1e-13);
    }
    attn_result_destroy(result);
}
END_TEST

START_TEST(an_item_of_nothing_but_padding_is_warned_of_and_zero) {
    static const int64_t none[N * LENGTH] = {1};
    be(false, false);
    struct call call = a_call();
    call.inputs.attention_mask = integers(none, N, LENGTH);
    call.want.forms = all_forms & ~ATTN_BIT(ATTN_FORM_HEAD_WEIGHTED);
    call.want.components = 2;
    call.want.analyses = all_analyses;
    call.model_want.pooling = ATTN_POOLING_MEAN;
    call.model_want.normalize = true;
    struct attn_result *result = run(&call);
    ck_assert_uint_eq(result->warning_count, 1);
    ck_assert_str_eq(result->warnings[0].field, "attention_mask");
    ck_assert_str_eq(result->warnings[0].detail, "1 item is nothing but padding");
    for (size_t i = 0; i < result->tensor_count; i++) {
        const struct attn_view *values = &result->tensors[i].values;
        const size_t count = attn_view_elements(values);
        for (size_t j = count / 2; j < count && strcmp(result->tensors[i].name, "pca_loadings") != 0; j++)
            ck_assert_msg(number(values, j) == 0, "%s[%zu] is %g", result->tensors[i].name, j, number(values, j));
    }
    attn_result_destroy(result);
}
END_TEST

START_TEST(other_stages_are_of_each_layer_too) {
    be(true, false);
    struct call call = a_call();
    call.want.stage = ATTN_STAGE_MASKED;
    struct attn_result *result = run(&call);
    const struct attn_view *masked = &find(result, "per_head", -1, 1, -1)->values;
    for (size_t i = 0; i < attn_view_elements(masked); i++)
        ck_assert((number(masked, i) == (double)-INFINITY) == (head_of(1, 0, 0)[i] == 0));
    attn_result_destroy(result);
}
END_TEST

START_TEST(wishes_that_a_model_cannot_grant_are_refused) {
    const long long far_layers[] = {0, 3}, far_heads[] = {4}, far_pairs[][2] = {{3, 0}};
    be(false, true);
    fake.layers[ATTN_STACK_DECODER] = fake.layers[ATTN_STACK_CROSS] = 2;
    struct call call = a_call();
    call.want.layers = far_layers;
    call.want.layers_count = 2;
    expect_refusal(&call, ATTN_ERANGE, "layers/1", "from -3 to 2 in the encoder stack, found 3");
    const long long third[] = {2};
    call.want.layers = third;
    call.want.layers_count = 1;
    expect_refusal(&call, ATTN_ERANGE, "layers/0", "from -2 to 1 in the decoder stack, found 2");
    call.model_want.stacks = ATTN_BIT(ATTN_STACK_ENCODER);
    attn_plan_destroy(plan_of(&call));
    call = a_call();
    call.want.heads = far_heads;
    call.want.heads_count = 1;
    expect_refusal(&call, ATTN_ERANGE, "heads/0", "from -4 to 3 in the encoder stack");
    call = a_call();
    call.want.pairs = far_pairs;
    call.want.pairs_count = 1;
    expect_refusal(&call, ATTN_ERANGE, "pairs/0/0", "in the encoder stack");
    call = a_call();
    call.want.has_key_range = true;
    call.want.key_range[1] = 6;
    expect_refusal(&call, ATTN_ERANGE, "key_range", "<= 4 in the decoder stack");
    be(true, false);
    call = a_call();
    call.model_want.stacks = ATTN_BIT(ATTN_STACK_CROSS);
    expect_refusal(&call, ATTN_ECONFLICT, "stacks", "no cross stack");
    call.model_want.stacks = 1U << ATTN_STACK_COUNT;
    expect_refusal(&call, ATTN_ERANGE, "stacks", "unknown");
    call = a_call();
    call.want.layers = far_layers;
    call.want.layers_count = 2;
    expect_refusal(&call, ATTN_ERANGE, "layers/1", "from -3 to 2, found 3");
    call = a_call();
    call.model_want.pooling = ATTN_POOLING_COUNT;
    expect_refusal(&call, ATTN_ERANGE, "pooling", "pooling");
    call = a_call();
    call.model_want.normalize = true;
    expect_refusal(&call, ATTN_ECONFLICT, "normalize", "pooling");
    call = a_call();
    call.model_want.dtype = ATTN_FLOAT16;
    expect_refusal(&call, ATTN_EDTYPE, "dtype", "found float16");
    call = a_call();
    call.want.present = true;
    expect_refusal(&call, ATTN_ECONFLICT, "return_present", "no keys");
    call = a_call();
    call.inputs.input_ids.data = NULL;
    expect_refusal(&call, ATTN_ECONFLICT, "input_ids", "expected ids");
}
END_TEST

START_TEST(limits_hold_for_all_that_is_returned_or_held) {
    be(true, false);
    struct call call = a_call();
    call.want.max_elements = (size_t)N * H * LENGTH * LENGTH;
    attn_plan_destroy(plan_of(&call));
    call.want.max_elements--;
    expect_refusal(&call, ATTN_ELIMIT, "weights", "at most 287 elements");
    call.want.forms = ATTN_BIT(ATTN_FORM_FLOW);
    call.want.max_elements = (size_t)LAYERS * N * LENGTH * LENGTH - 1;
    expect_refusal(&call, ATTN_ELIMIT, "weights", "found 216");
    call.want.forms = ATTN_BIT(ATTN_FORM_ROLLOUT); /* one layer's at a time */
    attn_plan_destroy(plan_of(&call));
    call.want.forms = ATTN_BIT(ATTN_FORM_AVERAGE);
    attn_plan_destroy(plan_of(&call));
    fake.largest_tensor = call.want.max_elements + 1;
    expect_refusal(&call, ATTN_ELIMIT, "input_ids", "found 216");
    fake.largest_tensor = 0;
    call.want.output = false;
    call.model_want.pooling = ATTN_POOLING_CLS;
    call.want.max_elements = (size_t)N * LENGTH * E - 1;
    expect_refusal(&call, ATTN_ELIMIT, "input_ids", "found 96");
}
END_TEST

START_TEST(costs_are_of_the_whole_run) {
    be(true, false);
    struct call call = a_call();
    struct attn_plan *plan = plan_of(&call);
    const struct attn_plan_cost whole = attn_plan_cost(plan);
    attn_plan_destroy(plan);
    ck_assert_uint_eq(whole.result_elements, (size_t)LAYERS * N * H * LENGTH * LENGTH + (size_t)N * LENGTH * E);
    ck_assert_uint_ge(whole.result_bytes, whole.result_elements * sizeof(double));
    ck_assert_uint_eq(whole.result_arrays, LAYERS + 1);
    ck_assert_uint_ge(whole.scratch_bytes, 1000);
    ck_assert_uint_ge(whole.scratch_bytes_per_lane, 100 + LENGTH * LENGTH * sizeof(double));
    const double cells = N * H * LENGTH * LENGTH;
    ck_assert(whole.flops >= 1e6 + LAYERS * 4 * FAKE_DIM * cells);
    ck_assert(whole.exponentials >= 1e5 + LAYERS * cells && whole.exponentials < 1e5 + 2 * LAYERS * cells);
    call.want.output = false;
    call.want.forms = ATTN_BIT(ATTN_FORM_ROLLOUT) | ATTN_BIT(ATTN_FORM_OUTPUT_NORM);
    call.model_want.pooling = ATTN_POOLING_MEAN;
    plan = plan_of(&call);
    const struct attn_plan_cost held = attn_plan_cost(plan);
    attn_plan_destroy(plan);
    const size_t square = (size_t)N * LENGTH * LENGTH;
    const size_t doubles = 3 * square /* a layer's fused heads, its matrix, and the product so far */ +
                           (size_t)N * LENGTH * E /* hidden */
                           + (size_t)E * E + (size_t)N * H * LENGTH + (size_t)N * LENGTH * E /* norms */;
    ck_assert_uint_ge(held.scratch_bytes, 1000 + doubles * sizeof(double));
    call.want.forms = ATTN_BIT(ATTN_FORM_FLOW) | ATTN_BIT(ATTN_FORM_OUTPUT_NORM);
    plan = plan_of(&call);
    ck_assert_uint_eq(attn_plan_cost(plan).scratch_bytes,
                      held.scratch_bytes + (LAYERS - 2) * square * sizeof(double)); /* all layers' matrices */
    attn_plan_destroy(plan);
}
END_TEST

/* Values that stand before others by lanes, not by what they are, are equal to the bit. */
START_TEST(lanes_do_not_change_the_result) {
    static const struct attn_execution on_lanes = {.executor = &golden_lanes};
    be(false, true);
    struct call call = a_call();
    call.want.forms = all_forms & ~(ATTN_BIT(ATTN_FORM_HEAD_WEIGHTED) | ATTN_BIT(ATTN_FORM_OUTPUT_NORM));
    call.want.components = 2;
    call.want.internals = all_internals;
    call.model_want.stacks = ATTN_BIT(ATTN_STACK_ENCODER) | ATTN_BIT(ATTN_STACK_CROSS);
    struct attn_result *alone = run(&call);
    call.execution = &on_lanes;
    struct attn_result *together = run(&call);
    ck_assert_uint_eq(alone->tensor_count, together->tensor_count);
    for (size_t i = 0; i < alone->tensor_count; i++)
        ck_assert_mem_eq(alone->tensors[i].values.data, together->tensors[i].values.data,
                         attn_view_elements(&alone->tensors[i].values) * sizeof(double));
    attn_result_destroy(alone);
    attn_result_destroy(together);
}
END_TEST

static bool is_always(void *context) {
    (void)context;
    return true;
}

START_TEST(a_cancelled_run_ends) {
    const struct attn_execution cancelled = {.is_cancelled = is_always};
    be(true, false);
    struct call call = a_call();
    struct attn_plan *plan = plan_of(&call);
    struct attn_result *result = NULL;
    ck_assert_int_eq(attn_plan_run(plan, &cancelled, &result, NULL), ATTN_ECANCELLED);
    ck_assert_uint_eq(fake.attended[ATTN_STACK_DECODER], 1);
    ck_assert_ptr_null(result);
    attn_plan_destroy(plan);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("plan_model");
    TCase *cases = tcase_create("whole models");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, every_layer_comes_back_with_zeros_for_padding);
    tcase_add_test(cases, encoder_decoder_and_cross_come_in_this_order);
    tcase_add_test(cases, layers_and_heads_come_in_the_order_asked);
    tcase_add_test(cases, pairs_share_their_layers_internals);
    tcase_add_test(cases, only_what_is_needed_is_run);
    tcase_add_test(cases, an_encoder_alone_is_labelled_and_sized_as_such);
    tcase_add_test(cases, rollout_and_flow_go_over_all_layers_of_one_stack);
    tcase_add_test(cases, pooling_leaves_padding_out);
    tcase_add_test(cases, wide_hidden_states_are_pooled_in_pieces);
    tcase_add_test(cases, predictions_are_ids_with_probabilities);
    tcase_add_test(cases, tokens_are_compared_as_ids_but_those_of_padding);
    tcase_add_test(cases, norms_of_values_and_components_are_those_of_the_layer);
    tcase_add_test(cases, padding_at_the_right_changes_nothing_else);
    tcase_add_test(cases, ranges_and_the_top_k_cut_what_comes_back);
    tcase_add_test(cases, an_item_of_nothing_but_padding_is_warned_of_and_zero);
    tcase_add_test(cases, other_stages_are_of_each_layer_too);
    tcase_add_test(cases, wishes_that_a_model_cannot_grant_are_refused);
    tcase_add_test(cases, limits_hold_for_all_that_is_returned_or_held);
    tcase_add_test(cases, costs_are_of_the_whole_run);
    tcase_add_test(cases, lanes_do_not_change_the_result);
    tcase_add_test(cases, a_cancelled_run_ends);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
