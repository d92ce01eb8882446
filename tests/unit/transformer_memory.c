/**
 * Running out of memory: the k-th allocation of a model's life fails, for every k. Whatever fails, the status says so,
 * nothing is left behind, and the next try is none the worse.
 */
#include "tests/unit/failing_memory.h"
#include "tests/unit/run_suite.h"
#include <attn/attn.h>

#include <check.h>
#include <stdint.h>

#define MODELS "tests/golden/data/models/"

static float numbers[2 * 10 * 18];
static const int64_t ids[2 * 5] = {5, 6, 7, 8, 9, 9, 8, 7, 6, 5};

static struct attn_view floats(size_t a, size_t b, size_t c) {
    return attn_view_contiguous(numbers, ATTN_FLOAT32, 3, (size_t[]){a, b, c});
}

static struct attn_view tokens(void) {
    return attn_view_contiguous((void *)(uintptr_t)ids, ATTN_INT64, 2, (size_t[]){2, 5});
}

/* One model of each kind of file and stem. `directory` NULL: a torch state dict that is open already. */
struct trial {
    const char *directory;
    const struct attn_safetensors *state_dict;
    struct attn_model_inputs inputs;
    size_t predictions;
};

static attn_status open_model(const struct trial *trial, struct attn_model **model, struct attn_error *error) {
    static const struct attn_state_dict_config config = {.num_heads = 3};
    if (trial->directory != NULL)
        return attn_model_open(model, trial->directory, error);
    return attn_model_from_state_dict(model, trial->state_dict, &config, error);
}

static attn_status live(const struct trial *trial) {
    struct attn_model *model = NULL;
    struct attn_plan *plan = NULL;
    struct attn_result *result = NULL;
    struct attn_error error = {0};
    const struct attn_want want = ATTN_WANT_DEFAULTS;
    const struct attn_model_want model_want = {.predictions = trial->predictions};
    attn_status status = open_model(trial, &model, &error);
    if (status == ATTN_OK)
        status = attn_plan_create_model(&plan, model, &trial->inputs, &want, &model_want, &error);
    if (status == ATTN_OK)
        status = attn_plan_run(plan, NULL, &result, &error);
    attn_plan_destroy(plan);
    attn_model_close(model);
    attn_result_destroy(result);
    return status;
}

/* Lives through it with every allocation failing in turn, and those of the many alike ones by steps. */
static void fail_in_turn(const struct trial *trial) {
    for (long k = 1;; k += 1 + k / 16) {
        ck_assert_int_lt(k, 100000);
        atomic_store(&held, 0);
        atomic_store(&mapped_bytes, 0);
        atomic_store(&until_failure, k);
        atomic_store(&is_watching, true);
        const attn_status status = live(trial);
        atomic_store(&is_watching, false);
        const bool has_failed = atomic_load(&until_failure) <= 0;
        ck_assert_msg(atomic_load(&held) == 0, "%s: allocation %ld: %ld pieces of memory are left", trial->directory, k,
                      atomic_load(&held));
        ck_assert_msg(atomic_load(&mapped_bytes) == 0, "allocation %ld: %ld bytes are left", k,
                      atomic_load(&mapped_bytes));
        /* A file that cannot be mapped may be said to be one that cannot be read. */
        ck_assert_msg(has_failed ? status == ATTN_ENOMEM || status == ATTN_EIO : status == ATTN_OK,
                      "%s: allocation %ld: %s", trial->directory, k, attn_status_name(status));
        ck_assert_int_gt(k, has_failed ? 0 : 40); /* there are many more */
        if (!has_failed)
            return;
    }
}

START_TEST(a_model_ends_well_whichever_allocation_fails) {
    const struct trial trials[] = {
        {.directory = MODELS "bert", .inputs = {.input_ids = tokens()}}, /* in shards */
        {.directory = MODELS "llama_yarn", .inputs = {.input_ids = tokens()}},
        {.directory = MODELS "gpt_oss_half", .inputs = {.input_ids = tokens()}, .predictions = 2},
        {.directory = MODELS "marian",
         .inputs = {.input_ids = tokens(), .decoder_input_ids = tokens()},
         .predictions = 2},
        {.directory = MODELS "vit_wide",
         .inputs = {.pixel_values = attn_view_contiguous(numbers, ATTN_FLOAT32, 4, (size_t[]){2, 1, 8, 12})}},
        {.directory = MODELS "clip", .inputs = {.input_ids = tokens()}},
        {.directory = MODELS "whisper_base",
         .inputs = {.input_features = floats(2, 10, 18), .decoder_input_ids = tokens()}},
    };
    fail_in_turn(&trials[_i]);
}
END_TEST

START_TEST(a_state_dict_ends_well_whichever_allocation_fails) {
    struct attn_safetensors *file = NULL;
    ck_assert_int_eq(attn_safetensors_open(&file, MODELS "torch_encoder/state_dict.safetensors", NULL), ATTN_OK);
    const struct trial trial = {.state_dict = file, .inputs = {.inputs_embeds = floats(2, 5, 24)}};
    fail_in_turn(&trial);
    attn_safetensors_close(file);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("transformer_memory");
    TCase *cases = tcase_create("out of memory");
    tcase_set_timeout(cases, 120);
    tcase_add_loop_test(cases, a_model_ends_well_whichever_allocation_fails, 0, 7);
    tcase_add_test(cases, a_state_dict_ends_well_whichever_allocation_fails);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
