/*
 * Runs: how far they go, what padding does, that several threads may begin with the same fresh model, and which texts
 * are refused. What comes out is held to transformers in golden_models.c.
 */
#include "lib/transformer/forward.h"
#include "tests/unit/run_suite.h"

#include <attn/model.h>

#include <check.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODELS "tests/golden/data/models/"
enum { LENGTH = 6, WIDTH = 32, MAX_SITES = 16 };

static struct attn_error error;

static struct attn_model *open_model(const char *name) {
    struct attn_model *model = NULL;
    char path[256];
    snprintf(path, sizeof path, MODELS "%s", name);
    ck_assert_msg(attn_model_open(&model, path, &error) == ATTN_OK, "%s: %s", error.field, error.message);
    return model;
}

static struct attn_view integers(int64_t *data, size_t batch, size_t length) {
    const size_t shape[2] = {batch, length};
    return attn_view_contiguous(data, ATTN_INT64, 2, shape);
}

/* Which attentions were handed out, and whether somebody read what came of them. */
struct sites {
    size_t count;
    attn_stack stacks[MAX_SITES];
    size_t layers[MAX_SITES];
    bool is_read[MAX_SITES];
};

static attn_status attend(void *context, const struct attn_site *site, const struct attn_execution *execution,
                          struct attn_error *problem) {
    struct sites *sites = context;
    if (sites != NULL && sites->count < MAX_SITES) {
        sites->stacks[sites->count] = site->stack;
        sites->layers[sites->count] = site->layer;
        sites->is_read[sites->count] = site->output.data != NULL;
        sites->count++;
    }
    const struct attn_sdpa_result result = {.output = site->output};
    return attn_sdpa(&site->query, &site->key, &site->value, site->options, &result, execution, problem);
}

static int64_t text[2 * LENGTH] = {5, 9, 33, 17, 4, 60, 12, 7, 8, 41, 22, 30};

START_TEST(the_attention_of_a_layer_needs_no_later_layer) {
    struct attn_model *model = open_model("qwen2");
    struct sites sites = {0};
    struct attn_forward forward = {
        .model = model, .layers = {[ATTN_STACK_DECODER] = 2}, .attend = attend, .attend_context = &sites};
    struct attn_forward_facts part, whole;
    forward.inputs.input_ids = integers(text, 2, LENGTH);
    ck_assert_int_eq(attn_forward_check(&forward, &part, &error), ATTN_OK);
    ck_assert_int_eq(attn_forward_run(&forward, &(struct attn_forward_result){0}, NULL, &error), ATTN_OK);
    ck_assert_uint_eq(sites.count, 2);
    ck_assert(sites.is_read[0] && !sites.is_read[1]);
    forward.layers[ATTN_STACK_DECODER] = SIZE_MAX;
    ck_assert_int_eq(attn_forward_check(&forward, &whole, &error), ATTN_OK);
    ck_assert_uint_eq(whole.stacks[ATTN_STACK_DECODER].layers, 3);
    ck_assert(part.flops < whole.flops);
    attn_model_close(model);
}
END_TEST

START_TEST(all_layers_are_run_for_the_hidden_state_and_none_for_nothing) {
    struct attn_model *model = open_model("qwen2");
    struct sites sites = {0};
    float output[2 * LENGTH * WIDTH];
    const size_t shape[3] = {2, LENGTH, WIDTH};
    const struct attn_forward_result result = {.output = attn_view_contiguous(output, ATTN_FLOAT32, 3, shape)};
    struct attn_forward forward = {.model = model, .attend = attend, .attend_context = &sites};
    forward.inputs.input_ids = integers(text, 2, LENGTH);
    ck_assert_int_eq(attn_forward_run(&forward, &result, NULL, &error), ATTN_OK);
    ck_assert_uint_eq(sites.count, 0);
    forward.wants_output = true;
    ck_assert_int_eq(attn_forward_run(&forward, &result, NULL, &error), ATTN_OK);
    ck_assert_uint_eq(sites.count, 3);
    ck_assert(sites.is_read[2]);
    attn_model_close(model);
}
END_TEST

START_TEST(cross_attention_of_a_layer_comes_after_its_self_attention_and_ends_the_run) {
    struct attn_model *model = open_model("bart");
    struct sites sites = {0};
    struct attn_forward forward = {
        .model = model, .layers = {[ATTN_STACK_CROSS] = 1}, .attend = attend, .attend_context = &sites};
    forward.inputs.input_ids = integers(text, 2, LENGTH);
    forward.inputs.decoder_input_ids = integers(text, 2, 3);
    ck_assert_int_eq(attn_forward_run(&forward, &(struct attn_forward_result){0}, NULL, &error), ATTN_OK);
    const size_t encoder = attn_model_info(model).layers - 2; /* the decoder has two */
    ck_assert_uint_eq(sites.count, encoder + 2);
    ck_assert_int_eq(sites.stacks[encoder], ATTN_STACK_DECODER);
    ck_assert(sites.is_read[encoder]);
    ck_assert_int_eq(sites.stacks[encoder + 1], ATTN_STACK_CROSS);
    ck_assert(!sites.is_read[encoder + 1]);
    attn_model_close(model);
}
END_TEST

static void run_masked(const char *name, int64_t *ids, int64_t *mask, attn_dtype dtype, void *output) {
    struct attn_model *model = open_model(name);
    struct attn_forward forward = {.model = model, .dtype = dtype, .wants_output = true, .attend = attend};
    const size_t shape[3] = {2, LENGTH, attn_model_info(model).hidden_size};
    const struct attn_forward_result result = {.output = attn_view_contiguous(output, dtype, 3, shape)};
    forward.inputs.input_ids = integers(ids, 2, LENGTH);
    forward.inputs.attention_mask = integers(mask, 2, LENGTH);
    ck_assert_msg(attn_forward_run(&forward, &result, NULL, &error) == ATTN_OK, "%s", error.message);
    attn_model_close(model);
}

static const char *const padded_models[] = {"bert", "mpnet", "modernbert", "gpt_neox", "opt", "gemma2", "gpt_oss"};

START_TEST(what_stands_in_padding_changes_nothing_and_comes_out_as_zero) {
    int64_t mask[2 * LENGTH] = {1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1}, other[2 * LENGTH];
    double first[2 * LENGTH * WIDTH] = {0}, second[2 * LENGTH * WIDTH] = {0};
    memcpy(other, text, sizeof other);
    other[4] = 61;
    other[5] = 3;
    for (attn_dtype dtype = ATTN_FLOAT32; dtype <= ATTN_FLOAT64; dtype++) {
        run_masked(padded_models[_i], text, mask, dtype, first);
        run_masked(padded_models[_i], other, mask, dtype, second);
        ck_assert_mem_eq(first, second, sizeof first);
        other[3] ^= 1;
        run_masked(padded_models[_i], other, mask, dtype, second);
        other[3] ^= 1;
        ck_assert(memcmp(first, second, sizeof first) != 0);
    }
    struct attn_model *model = open_model(padded_models[_i]);
    const size_t width = attn_model_info(model).hidden_size;
    for (size_t i = 4 * width; i < 6 * width; i++)
        ck_assert(first[i] == 0);
    attn_model_close(model);
}
END_TEST

/* One of several threads that all begin with a model whose weights nobody has packed. */
struct beginner {
    const struct attn_model *model;
    pthread_barrier_t *start;
    float output[2 * LENGTH * WIDTH];
    attn_status status;
};

static void *begin(void *argument) {
    struct beginner *beginner = argument;
    const size_t shape[3] = {2, LENGTH, attn_model_info(beginner->model).hidden_size};
    struct attn_forward forward = {.model = beginner->model, .wants_output = true, .attend = attend};
    const struct attn_forward_result result = {.output =
                                                   attn_view_contiguous(beginner->output, ATTN_FLOAT32, 3, shape)};
    forward.inputs.input_ids = integers(text, 2, LENGTH);
    pthread_barrier_wait(beginner->start);
    beginner->status = attn_forward_run(&forward, &result, NULL, NULL);
    return NULL;
}

START_TEST(threads_that_begin_together_get_the_same) {
    static struct beginner beginners[4];
    pthread_t threads[4];
    pthread_barrier_t start;
    struct attn_model *model = open_model("llama");
    pthread_barrier_init(&start, NULL, 4);
    for (size_t i = 0; i < 4; i++) {
        beginners[i] = (struct beginner){.model = model, .start = &start};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, begin, &beginners[i]), 0);
    }
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < 4; i++) {
        ck_assert_int_eq(beginners[i].status, ATTN_OK);
        ck_assert_mem_eq(beginners[i].output, beginners[0].output, sizeof beginners[0].output);
    }
    pthread_barrier_destroy(&start);
    attn_model_close(model);
}
END_TEST

START_TEST(float32_runs_pack_weights_once_and_float64_runs_none) {
    struct attn_model *model = open_model("llama");
    struct attn_forward forward = {.model = model, .dtype = ATTN_FLOAT64, .layers = {[ATTN_STACK_DECODER] = 1}};
    forward.attend = attend;
    forward.inputs.input_ids = integers(text, 2, LENGTH);
    ck_assert_int_eq(attn_forward_run(&forward, &(struct attn_forward_result){0}, NULL, &error), ATTN_OK);
    ck_assert_uint_eq(attn_model_packed_bytes(model), 0);
    forward.dtype = ATTN_FLOAT32;
    ck_assert_int_eq(attn_forward_run(&forward, &(struct attn_forward_result){0}, NULL, &error), ATTN_OK);
    const size_t of_one_layer = attn_model_packed_bytes(model);
    ck_assert_uint_gt(of_one_layer, 0);
    ck_assert_int_eq(attn_forward_run(&forward, &(struct attn_forward_result){0}, NULL, &error), ATTN_OK);
    ck_assert_uint_eq(attn_model_packed_bytes(model), of_one_layer);
    forward.layers[ATTN_STACK_DECODER] = 2;
    ck_assert_int_eq(attn_forward_run(&forward, &(struct attn_forward_result){0}, NULL, &error), ATTN_OK);
    ck_assert_uint_gt(attn_model_packed_bytes(model), of_one_layer);
    attn_model_close(model);
}
END_TEST

enum { VOCABULARY = 67 };

/* Predictions of both texts in an output of LENGTH rows each. */
static void predict(const struct attn_model *model, size_t count, int64_t *ids, float *probabilities) {
    struct attn_forward forward = {.model = model, .predictions = count, .attend = attend};
    const size_t shape[3] = {2, LENGTH, count};
    const struct attn_forward_result result = {.ids = attn_view_contiguous(ids, ATTN_INT64, 3, shape),
                                               .probabilities =
                                                   attn_view_contiguous(probabilities, ATTN_FLOAT32, 3, shape)};
    forward.inputs.input_ids = integers(text, 2, LENGTH);
    ck_assert_int_eq(attn_forward_run(&forward, &result, NULL, &error), ATTN_OK);
}

START_TEST(any_number_of_predictions_is_in_order_and_begins_alike) {
    static int64_t all[2 * LENGTH * VOCABULARY], some[2 * LENGTH * VOCABULARY];
    static float all_shares[2 * LENGTH * VOCABULARY], some_shares[2 * LENGTH * VOCABULARY];
    struct attn_model *model = open_model("qwen2");
    ck_assert_uint_eq(attn_model_info(model).vocab_size, VOCABULARY);
    predict(model, VOCABULARY, all, all_shares);
    for (size_t row = 0; row < 2 * LENGTH; row++) {
        bool is_there[VOCABULARY] = {false};
        double sum = 0;
        for (size_t i = 0; i < VOCABULARY; i++) {
            const size_t at = row * VOCABULARY + i;
            ck_assert(all[at] >= 0 && all[at] < VOCABULARY && !is_there[all[at]]);
            is_there[all[at]] = true;
            sum += (double)all_shares[at];
            ck_assert(i == 0 || all_shares[at - 1] >= all_shares[at]);
        }
        ck_assert_double_eq_tol(sum, 1, 1e-5);
    }
    for (size_t count = 1; count < VOCABULARY; count += 13) {
        predict(model, count, some, some_shares);
        for (size_t row = 0; row < 2 * LENGTH; row++) {
            ck_assert_mem_eq(some + row * count, all + row * VOCABULARY, count * sizeof *some);
            ck_assert_mem_eq(some_shares + row * count, all_shares + row * VOCABULARY, count * sizeof *some_shares);
        }
    }
    attn_model_close(model);
}
END_TEST

/* Says yes when it is asked for the n-th time. */
static bool is_cancelled_at(void *context) {
    size_t *left = context;
    return (*left)-- == 0;
}

START_TEST(a_run_ends_when_it_is_cancelled_wherever_it_is) {
    struct attn_model *model = open_model("gemma2");
    struct attn_forward forward = {.model = model, .layers = {[ATTN_STACK_DECODER] = SIZE_MAX}, .attend = attend};
    forward.inputs.input_ids = integers(text, 2, LENGTH);
    for (size_t asked = 0; asked < 40; asked++) {
        size_t left = asked;
        const struct attn_execution execution = {.is_cancelled = is_cancelled_at, .cancel_context = &left};
        ck_assert_int_eq(attn_forward_run(&forward, &(struct attn_forward_result){0}, &execution, &error),
                         ATTN_ECANCELLED);
    }
    attn_model_close(model);
}
END_TEST

/* Refusals */

static void refuses(const char *name, const struct attn_forward *what, attn_status status, const char *field) {
    struct attn_model *model = open_model(name);
    struct attn_forward forward = *what;
    struct attn_forward_facts facts;
    forward.model = model;
    error = (struct attn_error){0};
    const attn_status found = attn_forward_check(&forward, &facts, &error);
    ck_assert_msg(found == status, "%s: %s %s: %s", name, attn_status_name(found), error.field, error.message);
    ck_assert_str_eq(error.field, field);
    attn_model_close(model);
}

START_TEST(ids_that_the_vocabulary_does_not_have_are_refused_by_place) {
    int64_t ids[2 * LENGTH];
    struct attn_forward forward = {.inputs.input_ids = integers(ids, 2, LENGTH)};
    memcpy(ids, text, sizeof ids);
    ids[9] = 67;
    refuses("bert", &forward, ATTN_ERANGE, "input_ids/1/3");
    ids[9] = -1;
    refuses("llama", &forward, ATTN_ERANGE, "input_ids/1/3");
    ids[9] = INT64_MIN;
    forward.inputs.input_ids =
        (struct attn_view){.data = ids + 6, .dtype = ATTN_INT64, .rank = 1, .shape = {LENGTH}, .stride = {1}};
    refuses("bert", &forward, ATTN_ERANGE, "input_ids/3");
}
END_TEST

START_TEST(texts_that_do_not_fit_the_model_are_refused) {
    static int64_t zeros[128], twos[2 * LENGTH] = {0, 1, 2};
    static float embeds[2 * LENGTH * 24];
    const struct attn_view ids = integers(text, 2, LENGTH), long_ids = integers(zeros, 1, 41);
    const size_t shape[3] = {2, LENGTH, 24}, narrow[3] = {2, LENGTH, 23};
    const struct attn_view wide = attn_view_contiguous(embeds, ATTN_FLOAT32, 3, shape);
    struct attn_view floats = ids;
    floats.dtype = ATTN_FLOAT64;
    refuses("bert", &(struct attn_forward){0}, ATTN_ECONFLICT, "input_ids");
    refuses("bert", &(struct attn_forward){.inputs.input_ids = floats}, ATTN_EDTYPE, "input_ids");
    refuses("bert", &(struct attn_forward){.inputs.input_ids = wide}, ATTN_ESHAPE, "input_ids");
    refuses("bert", &(struct attn_forward){.inputs.input_ids = long_ids}, ATTN_ERANGE, "input_ids");
    refuses("roberta", &(struct attn_forward){.inputs.input_ids = integers(zeros, 1, 39)}, ATTN_ERANGE, "input_ids");
    refuses("gpt2", &(struct attn_forward){.inputs.input_ids = long_ids}, ATTN_ERANGE, "input_ids");
    refuses("bert", &(struct attn_forward){.inputs = {.input_ids = ids, .inputs_embeds = wide}}, ATTN_ECONFLICT,
            "inputs_embeds");
    refuses("bert",
            &(struct attn_forward){.inputs.inputs_embeds = attn_view_contiguous(embeds, ATTN_FLOAT32, 3, narrow)},
            ATTN_ESHAPE, "inputs_embeds");
    refuses("bert", &(struct attn_forward){.inputs = {.input_ids = ids, .attention_mask = integers(twos, 2, LENGTH)}},
            ATTN_ERANGE, "attention_mask/0/2");
    refuses("bert", &(struct attn_forward){.inputs = {.input_ids = ids, .attention_mask = integers(zeros, 2, 5)}},
            ATTN_ESHAPE, "attention_mask");
    refuses("bert", &(struct attn_forward){.inputs = {.input_ids = ids, .attention_mask = integers(zeros, 1, LENGTH)}},
            ATTN_ESHAPE, "attention_mask");
    refuses("bert", &(struct attn_forward){.inputs = {.input_ids = ids, .token_type_ids = integers(twos, 2, LENGTH)}},
            ATTN_ERANGE, "token_type_ids/0/2");
    refuses("gpt2", &(struct attn_forward){.inputs = {.input_ids = ids, .token_type_ids = integers(zeros, 2, LENGTH)}},
            ATTN_ECONFLICT, "token_type_ids");
    refuses("bert", &(struct attn_forward){.inputs = {.input_ids = ids, .pixel_values = wide}}, ATTN_ECONFLICT,
            "pixel_values");
    refuses("bert", &(struct attn_forward){.inputs.input_ids = ids, .predictions = 1}, ATTN_ECONFLICT, "predictions");
    refuses("gpt2", &(struct attn_forward){.inputs.input_ids = ids, .predictions = 68}, ATTN_ERANGE, "predictions");
    refuses("gpt2", &(struct attn_forward){.inputs.input_ids = ids, .dtype = ATTN_FLOAT16}, ATTN_EDTYPE, "dtype");
}
END_TEST

START_TEST(every_family_has_a_name_and_no_name_twice) {
    size_t count = 0;
    for (; attn_model_family(count) != NULL; count++)
        for (size_t i = 0; i < count; i++)
            ck_assert_str_ne(attn_model_family(i), attn_model_family(count));
    ck_assert_uint_ge(count, 18);
    ck_assert_str_eq(attn_stack_name(ATTN_STACK_CROSS), "cross");
    ck_assert_ptr_null(attn_stack_name(ATTN_STACK_COUNT));
    ck_assert_str_eq(attn_pooling_name(ATTN_POOLING_LAST), "last");
    ck_assert_ptr_null(attn_pooling_name(ATTN_POOLING_COUNT));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("transformer_forward");
    TCase *cases = tcase_create("runs");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, the_attention_of_a_layer_needs_no_later_layer);
    tcase_add_test(cases, all_layers_are_run_for_the_hidden_state_and_none_for_nothing);
    tcase_add_test(cases, cross_attention_of_a_layer_comes_after_its_self_attention_and_ends_the_run);
    tcase_add_loop_test(cases, what_stands_in_padding_changes_nothing_and_comes_out_as_zero, 0,
                        (int)(sizeof padded_models / sizeof *padded_models));
    tcase_add_test(cases, threads_that_begin_together_get_the_same);
    tcase_add_test(cases, float32_runs_pack_weights_once_and_float64_runs_none);
    tcase_add_test(cases, any_number_of_predictions_is_in_order_and_begins_alike);
    tcase_add_test(cases, a_run_ends_when_it_is_cancelled_wherever_it_is);
    tcase_add_test(cases, ids_that_the_vocabulary_does_not_have_are_refused_by_place);
    tcase_add_test(cases, texts_that_do_not_fit_the_model_are_refused);
    tcase_add_test(cases, every_family_has_a_name_and_no_name_twice);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
