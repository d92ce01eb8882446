#include "server/routes/attention_request.h"
#include "tests/unit/run_suite.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct arena *arena;
static struct attention_request request;
static struct problem problem;

static void setup(void) {
    arena = arena_create();
    ck_assert_ptr_nonnull(arena);
    memset(&request, 0, sizeof request);
    memset(&problem, 0, sizeof problem);
}

static void teardown(void) {
    attention_request_reset(&request);
    arena_destroy(arena);
}

static bool reads(const char *text) {
    struct document_limits limits = {.max_elements = 1000};
    attention_request_reset(&request);
    memset(&request, 0, sizeof request);
    if (!document_read_json(&request.document, text, strlen(text), attention_field_specs, attention_field_count,
                            &limits, arena, &problem)) {
        attention_fields_hint(&problem);
        return false;
    }
    return attention_request_read(&request, NULL, 1000, &problem);
}

START_TEST(nothing_but_a_query_is_the_defaults) {
    ck_assert(reads("{\"query\": [[1, 2], [3, 4]]}"));
    ck_assert_int_eq(request.mode, ATTENTION_RAW);
    ck_assert_int_eq(request.inputs.query.rank, 2);
    ck_assert_ptr_null(request.inputs.key.data);
    ck_assert_ptr_null(request.inputs.layer);
    ck_assert(!request.inputs.options.has_scale);
    ck_assert_int_eq(request.inputs.options.window_left, ATTN_UNBOUNDED);
    ck_assert_uint_eq(request.want.forms, ATTN_BIT(ATTN_FORM_AVERAGE));
    ck_assert(request.want.output);
    ck_assert_uint_eq(request.want.max_elements, 1000);
    ck_assert_uint_eq(attention_request_tensor_count(&request), 2);
}
END_TEST

START_TEST(every_rule_of_what_is_attended_reaches_the_options) {
    ck_assert(reads("{\"query\": [[1], [2]], \"is_causal\": true, \"causal_alignment\": \"bottom_right\", \"scale\": 0,"
                    "\"window\": {\"left\": 3, \"right\": null}, \"softcap\": 2.5, \"mask_convention\": \"ignore\","
                    "\"attn_mask\": [true, false], \"key_lengths\": [1], \"segment_ids\": [4, 5]}"));
    const struct attn_sdpa_options *options = &request.inputs.options;
    ck_assert(options->is_causal);
    ck_assert_int_eq(options->causal_alignment, ATTN_CAUSAL_BOTTOM_RIGHT);
    ck_assert(options->has_scale);
    ck_assert_double_eq(options->scale, 0);
    ck_assert_double_eq(options->softcap, 2.5);
    ck_assert_int_eq(options->window_left, 3);
    ck_assert_int_eq(options->window_right, ATTN_UNBOUNDED);
    ck_assert(options->bool_mask_ignores);
    ck_assert_int_eq(options->attn_mask.dtype, ATTN_BOOL);
    ck_assert_int_eq(*(const int64_t *)options->key_lengths.data, 1);
    ck_assert_int_eq(options->segment_ids.rank, 2);
    ck_assert_uint_eq(options->segment_ids.shape[1], 2);
}
END_TEST

START_TEST(every_wish_reaches_the_library) {
    ck_assert(
        reads("{\"query\": [[1, 2]], \"num_heads\": 2, \"weights\": [\"max\", \"concat\"], \"heads\": [-1, 0],"
              "\"weights_stage\": \"masked\", \"query_range\": [0, 1], \"top_k\": 4, \"return_output\": false,"
              "\"return_present\": true, \"internals\": [\"logsumexp\"], \"encoding\": \"flat\", \"digits\": 5}"));
    const struct attn_want *want = &request.want;
    ck_assert_uint_eq(want->forms, ATTN_BIT(ATTN_FORM_MAX) | ATTN_BIT(ATTN_FORM_CONCAT));
    ck_assert_int_eq(want->stage, ATTN_STAGE_MASKED);
    ck_assert_uint_eq(want->heads_count, 2);
    ck_assert_int_eq(want->heads[0], -1);
    ck_assert(want->has_query_range && !want->has_key_range);
    ck_assert_uint_eq(want->query_range[1], 1);
    ck_assert_uint_eq(want->top_k, 4);
    ck_assert(!want->output && want->present);
    ck_assert_uint_eq(want->internals, ATTN_BIT(ATTN_INTERNAL_LOGSUMEXP));
    ck_assert_int_eq(request.encode.encoding, ENCODING_FLAT);
    ck_assert_int_eq(request.encode.digits, 5);
    /* two forms of indices and values, one internal, the present key and value */
    ck_assert_uint_eq(attention_request_tensor_count(&request), 2 * 2 + 1 + 2);
}
END_TEST

START_TEST(none_is_no_form) {
    ck_assert(reads("{\"query\": [[1]], \"weights\": \"none\"}"));
    ck_assert_uint_eq(request.want.forms, 0);
    ck_assert(reads("{\"query\": [[1]], \"weights\": [\"none\"]}"));
    ck_assert_uint_eq(request.want.forms, 0);
}
END_TEST

START_TEST(heads_before_batch_is_a_view_with_other_strides) {
    ck_assert(reads("{\"attention_weights\": {\"shape\": [3, 2, 1, 1], \"data\": [0, 1, 2, 3, 4, 5]}, "
                    "\"layout\": \"HNLS\"}"));
    const struct attn_view *weights = &request.given.weights;
    ck_assert_uint_eq(weights->shape[0], 2);
    ck_assert_uint_eq(weights->shape[1], 3);
    ck_assert_int_eq(weights->stride[0], 1);
    ck_assert_int_eq(weights->stride[1], 2);
    ck_assert(!request.want.output);
}
END_TEST

START_TEST(equal_tokens_have_equal_numbers) {
    ck_assert(reads("{\"attention_weights\": [[[1, 0, 0], [0, 1, 0]]], \"tokens\": [\"a\", \"b\"], "
                    "\"key_tokens\": [\"b\", \"c\", \"a\"]}"));
    const int64_t *queries = request.given.query_tokens.data, *keys = request.given.key_tokens.data;
    ck_assert_int_eq(queries[0], keys[2]);
    ck_assert_int_eq(queries[1], keys[0]);
    ck_assert_int_ne(queries[0], queries[1]);
    ck_assert_int_ne(keys[1], queries[0]);
    ck_assert_int_ne(keys[1], queries[1]);
    ck_assert_uint_eq(request.given.key_tokens.shape[1], 3);
}
END_TEST

START_TEST(tensors_are_counted_layer_by_layer) {
    ck_assert(reads("{\"attention_weights\": {\"shape\": [3, 1, 1, 1, 1], \"data\": [1, 1, 1]}, "
                    "\"weights\": [\"average\", \"rollout\"], \"analyses\": [\"sink\"]}"));
    ck_assert_uint_eq(attention_request_tensor_count(&request), 3 * 2 + 1);
    ck_assert(reads("{\"attention_weights\": {\"shape\": [3, 1, 1, 1, 1], \"data\": [1, 1, 1]}, \"layers\": [0]}"));
    ck_assert_uint_eq(attention_request_tensor_count(&request), 1);
}
END_TEST

START_TEST(a_misspelt_field_is_answered_with_the_one_that_was_meant) {
    ck_assert(!reads("{\"query\": [[1]], \"is_casual\": true}"));
    ck_assert_str_eq(problem.pointer, "/is_casual");
    ck_assert_ptr_nonnull(strstr(problem.detail, "did you mean `is_causal`?"));
    ck_assert(!reads("{\"query\": [[1]], \"quantum\": true}"));
    ck_assert_ptr_null(strstr(problem.detail, "did you mean"));
    ck_assert(!reads("{\"query\": [[1], [2, 3]]}"));
    ck_assert_ptr_null(strstr(problem.detail, "did you mean"));
}
END_TEST

static bool plans(size_t layers, const char *rest) {
    size_t shape[5] = {layers, 1, 1, 1, 1};
    ck_assert(reads(rest));
    float *weights = arena_alloc(arena, layers * sizeof *weights);
    ck_assert_ptr_nonnull(weights);
    request.given.weights = attn_view_contiguous(weights, ATTN_FLOAT32, 5, shape);
    struct attn_plan *plan = attention_request_plan(&request, NULL, &problem);
    attn_plan_destroy(plan);
    return plan != NULL;
}

START_TEST(an_answer_of_very_many_tensors_is_refused_before_it_is_planned) {
    const char *two = "{\"attention_weights\": [[[[[1]]]]], \"weights\": [\"max\", \"average\"]}";
    ck_assert(plans(32768, two));
    ck_assert(!plans(32769, two));
    ck_assert_int_eq(problem.id, PROBLEM_TOO_LARGE);
    ck_assert_str_eq(problem.pointer, "/attention_weights");
    ck_assert_ptr_nonnull(strstr(problem.detail, "at most 65536 tensors in the answer"));
    ck_assert(!plans(65537, "{\"attention_weights\": [[[[[1]]]]], \"layers\": [0]}"));
    ck_assert_int_eq(problem.id, PROBLEM_TOO_LARGE);
    ck_assert_str_eq(problem.detail, "expected at most 65536 layers, found 65537");
}
END_TEST

static bool refuse(void *context, size_t bytes) {
    size_t *asked = context;
    *asked += bytes;
    return false;
}

START_TEST(lists_of_very_many_heads_are_accounted) {
    size_t asked = 0, shape[4] = {1, 2000000, 1, 1};
    ck_assert(reads("{\"query\": [[[[1]]]]}"));
    float *values = arena_alloc(arena, shape[1] * sizeof *values);
    ck_assert_ptr_nonnull(values);
    request.want.max_elements = shape[1];
    request.inputs.query = attn_view_contiguous(values, ATTN_FLOAT32, 4, shape);
    request.inputs.key = request.inputs.value = request.inputs.query;
    struct attn_plan *plan = attention_request_plan(&request, NULL, &problem);
    ck_assert_msg(plan != NULL, "%s", problem.detail);
    attn_plan_destroy(plan);
    arena_set_account(arena, (struct arena_account){refuse, NULL, &asked});
    ck_assert_ptr_null(attention_request_plan(&request, NULL, &problem));
    ck_assert_int_eq(problem.id, PROBLEM_BUSY);
    ck_assert_uint_ge(asked, 16 * shape[1]);
}
END_TEST

START_TEST(lists_of_tokens_are_counted_before_there_is_room_for_them) {
    size_t asked = 0;
    ck_assert(reads("{\"attention_weights\": [[[[1]]]], \"tokens\": [[\"a\"]]}"));
    size_t shape[4] = {1000000, 1, 1, 1};
    request.given.weights = attn_view_contiguous(arena, ATTN_FLOAT32, 4, shape);
    arena_set_account(arena, (struct arena_account){refuse, NULL, &asked});
    ck_assert(!attention_read_tokens(&request, &problem));
    ck_assert_int_eq(problem.id, PROBLEM_INVALID);
    ck_assert_str_eq(problem.detail, "expected 1000000 lists of strings, one a batch item, found 1");
}
END_TEST

START_TEST(a_nul_in_a_name_is_part_of_it) {
    ck_assert(!reads("{\"query\": [[1]], \"model\": \"a\\u0000b\"}"));
    ck_assert_int_eq(problem.id, PROBLEM_INVALID);
    ck_assert_str_eq(problem.pointer, "/model");
    ck_assert(!reads("{\"query\": [[1]], \"weights\": \"max\\u0000min\"}"));
    ck_assert_str_eq(problem.pointer, "/weights");
}
END_TEST

START_TEST(two_modes_are_one_too_many) {
    ck_assert(!reads("{\"model\": \"a\", \"params\": {}, \"query\": [[1]]}"));
    ck_assert_int_eq(problem.id, PROBLEM_INVALID);
    ck_assert_str_eq(problem.pointer, "/model");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("attention request");
    TCase *tests = tcase_create("attention request");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, nothing_but_a_query_is_the_defaults);
    tcase_add_test(tests, every_rule_of_what_is_attended_reaches_the_options);
    tcase_add_test(tests, every_wish_reaches_the_library);
    tcase_add_test(tests, none_is_no_form);
    tcase_add_test(tests, heads_before_batch_is_a_view_with_other_strides);
    tcase_add_test(tests, equal_tokens_have_equal_numbers);
    tcase_add_test(tests, tensors_are_counted_layer_by_layer);
    tcase_add_test(tests, a_misspelt_field_is_answered_with_the_one_that_was_meant);
    tcase_add_test(tests, an_answer_of_very_many_tensors_is_refused_before_it_is_planned);
    tcase_add_test(tests, lists_of_very_many_heads_are_accounted);
    tcase_add_test(tests, lists_of_tokens_are_counted_before_there_is_room_for_them);
    tcase_add_test(tests, a_nul_in_a_name_is_part_of_it);
    tcase_add_test(tests, two_modes_are_one_too_many);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
