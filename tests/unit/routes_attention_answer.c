/* Answers of whole models, from results made by hand: layers, stacks, pairs, tokens, predictions, in JSON and in
 * safetensors. */
#include "server/routes/attention_response.h"
#include "tests/unit/run_suite.h"
#include <attn/safetensors.h>
#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static struct arena *arena;
static struct attn_result_tensor tensors[8];
static struct attn_result result;
static struct attention_transformer transformer;
static struct attention_answer answer;
static const struct exchange_timings timings = {.decode_ms = 1};
static float numbers[16] = {0, 0.25F, 0.5F, 0.75F, 1, 0.1F, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
static int64_t ids[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static void setup(void) {
    arena = arena_create();
    ck_assert_ptr_nonnull(arena);
    result = (struct attn_result){.dims = {1, 1, 1, 2, 2, 1}, .tensors = tensors};
    transformer = (struct attention_transformer){.add_special_tokens = true};
    answer = (struct attention_answer){.result = &result, .transformer = &transformer};
}

static void teardown(void) {
    arena_destroy(arena);
}

static void add(attn_group group, const char *name, int stack, int layer, int head, struct attn_view indices) {
    tensors[result.tensor_count++] =
        (struct attn_result_tensor){.group = group,
                                    .name = name,
                                    .stack = stack,
                                    .layer = layer,
                                    .head = head,
                                    .values = attn_view_contiguous(numbers, ATTN_FLOAT32, 2, (size_t[]){2, 2}),
                                    .indices = indices};
}

static void add_plain(attn_group group, const char *name, int stack, int layer, int head) {
    add(group, name, stack, layer, head, (struct attn_view){0});
}

static json_t *encoded(struct encode_options options) {
    struct encoder *encoder = attention_encode_json(arena, &answer, &timings, options);
    ck_assert_ptr_nonnull(encoder);
    size_t capacity = encoder_bound(encoder) + 64, used = 0, written;
    char *text = arena_alloc(arena, capacity);
    while ((written = encoder_next(encoder, text + used, capacity - used)) > 0) {
        used += written;
    }
    json_error_t error;
    json_t *json = json_loadb(text, used, JSON_REJECT_DUPLICATES, &error);
    ck_assert_msg(json != NULL, "%s: %.*s", error.text, (int)used, text);
    return json;
}

/** Equal to what is written here. */
static void check_equal(const json_t *found, const char *expected) {
    json_t *json = json_loads(expected, JSON_DECODE_ANY, NULL);
    ck_assert_ptr_nonnull(json);
    char *text = found == NULL ? NULL : json_dumps(found, JSON_COMPACT | JSON_ENCODE_ANY);
    ck_assert_msg(found != NULL && json_equal(found, json) == 1, "%s is not %s", text != NULL ? text : "nothing",
                  expected);
    free(text);
    json_decref(json);
}

START_TEST(layers_of_two_stacks_say_which_they_are_of) {
    add_plain(ATTN_GROUP_OUTPUT, "output", -1, -1, -1);
    add_plain(ATTN_GROUP_EXTRA, "encoder_output", -1, -1, -1);
    add_plain(ATTN_GROUP_WEIGHTS, "average", ATTN_STACK_ENCODER, 0, -1);
    add_plain(ATTN_GROUP_WEIGHTS, "average", ATTN_STACK_DECODER, 0, -1);
    add_plain(ATTN_GROUP_ANALYSIS, "sink", ATTN_STACK_DECODER, 0, -1);
    add_plain(ATTN_GROUP_WEIGHTS, "average", ATTN_STACK_CROSS, 0, -1);
    json_t *json = encoded((struct encode_options){0});
    check_equal(json_object_get(json, "layers"),
                "[{\"stack\": \"encoder\", \"layer\": 0, \"weights\": {\"average\": [[0.0, 0.25], [0.5, 0.75]]}},"
                " {\"stack\": \"decoder\", \"layer\": 0, \"weights\": {\"average\": [[0.0, 0.25], [0.5, 0.75]]},"
                "  \"analyses\": {\"sink\": [[0.0, 0.25], [0.5, 0.75]]}},"
                " {\"stack\": \"cross\", \"layer\": 0, \"weights\": {\"average\": [[0.0, 0.25], [0.5, 0.75]]}}]");
    ck_assert_ptr_nonnull(json_object_get(json, "encoder_output"));
    ck_assert_ptr_null(json_object_get(json, "tokens"));
    ck_assert_ptr_null(json_object_get(json, "weights"));
    json_decref(json);
}
END_TEST

START_TEST(rollout_stands_at_the_top_and_pairs_have_their_heads) {
    add_plain(ATTN_GROUP_WEIGHTS, "rollout", -1, -1, -1);
    add_plain(ATTN_GROUP_WEIGHTS, "per_head", -1, 3, 1);
    json_t *json = encoded((struct encode_options){0});
    check_equal(json_object_get(json, "weights"), "{\"rollout\": [[0.0, 0.25], [0.5, 0.75]]}");
    check_equal(json_object_get(json, "pairs"),
                "[{\"layer\": 3, \"head\": 1, \"weights\": {\"per_head\": [[0.0, 0.25], [0.5, 0.75]]}}]");
    json_decref(json);
}
END_TEST

static struct attn_token first_item[] = {{.id = 101, .text = "[CLS]", .special = true, .sequence = -1},
                                         {.id = 7, .text = "a\"b", .sequence = 0, .start = 2, .end = 5}};
static struct attn_token second_item[] = {{.id = 9, .sequence = -1}};

static struct attention_tokens two_items(void) {
    static struct attn_token *items[2];
    static size_t lengths[2];
    items[0] = first_item;
    items[1] = second_item;
    lengths[0] = 2;
    lengths[1] = 1;
    return (struct attention_tokens){.batch = 2, .has_batch = true, .lengths = lengths, .items = items};
}

START_TEST(tokens_are_as_many_as_an_item_has) {
    static const char first[] =
        "[{\"id\": 101, \"text\": \"[CLS]\", \"start\": null, \"end\": null, \"special\": true, \"sequence\": null},"
        " {\"id\": 7, \"text\": \"a\\\"b\", \"start\": 2, \"end\": 5, \"special\": false, \"sequence\": 0}]";
    char both[512];
    answer.tokenizer = (const struct attn_tokenizer *)&answer; /* known to be there, and not asked */
    transformer.tokens = two_items();
    json_t *json = encoded((struct encode_options){0});
    snprintf(both, sizeof both, "[%s, [%s]]", first,
             "{\"id\": 9, \"text\": null, \"start\": null, \"end\": null, \"special\": false, \"sequence\": null}");
    check_equal(json_object_get(json, "tokens"), both);
    check_equal(json_object_get(json, "lengths"), "[2, 1]");
    ck_assert_ptr_null(json_object_get(json, "decoder_tokens"));
    json_decref(json);

    transformer.tokens.batch = 1;
    transformer.tokens.has_batch = false;
    json = encoded((struct encode_options){0});
    check_equal(json_object_get(json, "tokens"), first);
    check_equal(json_object_get(json, "lengths"), "2");
    json_decref(json);
}
END_TEST

START_TEST(without_a_tokenizer_it_is_not_known_what_is_special) {
    transformer.decoder_tokens = two_items();
    transformer.decoder_tokens.items[0] = second_item;
    transformer.decoder_tokens.lengths[0] = 1;
    json_t *json = encoded((struct encode_options){0});
    json_t *token = json_array_get(json_array_get(json_object_get(json, "decoder_tokens"), 0), 0);
    check_equal(token, "{\"id\": 9, \"text\": null, \"start\": null, \"end\": null, \"special\": null, "
                       "\"sequence\": null}");
    check_equal(json_object_get(json, "decoder_lengths"), "[1, 1]");
    json_decref(json);
}
END_TEST

/** (2, 2, 2): two items of two positions with two tokens each. */
static void add_predictions(void) {
    const size_t shape[] = {2, 2, 2};
    add(ATTN_GROUP_EXTRA, "predictions", -1, -1, -1, attn_view_contiguous(ids, ATTN_INT64, 3, shape));
    tensors[result.tensor_count - 1].values = attn_view_contiguous(numbers, ATTN_FLOAT32, 3, shape);
}

START_TEST(predictions_have_no_positions_of_padding) {
    transformer.tokens = two_items();
    add_predictions();
    json_t *json = encoded((struct encode_options){0});
    check_equal(json_object_get(json, "predictions"),
                "[[[{\"id\": 0, \"text\": null, \"probability\": 0.0}, {\"id\": 1, \"text\": null, \"probability\": "
                "0.25}], [{\"id\": 2, \"text\": null, \"probability\": 0.5}, {\"id\": 3, \"text\": null, "
                "\"probability\": 0.75}]], [[{\"id\": 4, \"text\": null, \"probability\": 1.0}, {\"id\": 5, "
                "\"text\": null, \"probability\": 0.1}]]]");
    json_decref(json);
}
END_TEST

START_TEST(a_decoders_predictions_go_by_its_own_lengths) {
    transformer.decoder_tokens = two_items();
    transformer.decoder_tokens.items[1] = first_item;
    transformer.decoder_tokens.lengths[0] = 1;
    transformer.decoder_tokens.lengths[1] = 2;
    transformer.tokens = transformer.decoder_tokens;
    transformer.tokens.lengths = (size_t[]){2, 2};
    add_predictions();
    json_t *json = encoded((struct encode_options){0});
    ck_assert_uint_eq(json_array_size(json_array_get(json_object_get(json, "predictions"), 0)), 1);
    ck_assert_uint_eq(json_array_size(json_array_get(json_object_get(json, "predictions"), 1)), 2);
    json_decref(json);
}
END_TEST

START_TEST(binary_answers_name_stack_layer_and_form) {
    transformer.tokens = two_items();
    add_plain(ATTN_GROUP_WEIGHTS, "average", ATTN_STACK_DECODER, 0, -1);
    add_plain(ATTN_GROUP_WEIGHTS, "average", -1, 3, -1);
    add_plain(ATTN_GROUP_ANALYSIS, "sink", ATTN_STACK_CROSS, 2, 1);
    add_predictions();
    struct binary_encoder *encoder = attention_encode_safetensors(arena, &answer, &timings);
    ck_assert_ptr_nonnull(encoder);
    size_t length = (size_t)binary_encoder_length(encoder), used = 0;
    unsigned char *bytes = arena_alloc(arena, length + 64);
    while (used < length) {
        used += binary_encoder_next(encoder, (char *)bytes + used, length + 64 - used);
    }
    struct attn_safetensors *file;
    ck_assert_int_eq(attn_safetensors_parse(&file, bytes, length, NULL), ATTN_OK);
    static const char *const names[] = {"decoder.layers.0.weights.average", "layers.3.weights.average",
                                        "cross.pairs.2.1.analyses.sink", "predictions.indices", "predictions.values"};
    ck_assert_uint_eq(attn_safetensors_count(file), 5);
    for (size_t i = 0; i < 5; i++) {
        struct attn_named_view tensor = attn_safetensors_tensor(file, i);
        bool is_named = false;
        for (size_t j = 0; j < 5; j++) {
            is_named = is_named || strcmp(tensor.name, names[j]) == 0;
        }
        ck_assert_msg(is_named, "%s", tensor.name);
    }
    json_t *rest = json_loads(attn_safetensors_metadata(file, "response"), 0, NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(rest, "tokens")), 2);
    json_decref(rest);
    attn_safetensors_close(file);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("attention answer");
    TCase *tests = tcase_create("attention answer");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, layers_of_two_stacks_say_which_they_are_of);
    tcase_add_test(tests, rollout_stands_at_the_top_and_pairs_have_their_heads);
    tcase_add_test(tests, tokens_are_as_many_as_an_item_has);
    tcase_add_test(tests, without_a_tokenizer_it_is_not_known_what_is_special);
    tcase_add_test(tests, predictions_have_no_positions_of_padding);
    tcase_add_test(tests, a_decoders_predictions_go_by_its_own_lengths);
    tcase_add_test(tests, binary_answers_name_stack_layer_and_form);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
