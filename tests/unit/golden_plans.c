/**
 * Plans over the tiny models of every family: with all forms, analyses and internals asked for at once, each layer's
 * weights and the hidden states are still what transformers has (tests/golden/README.md).
 */
#include "tests/golden/runner/model_inputs.h"
#include "tests/golden/runner/numbers.h"
#include "tests/unit/run_suite.h"
#include <attn/attn.h>

#include <dirent.h>
#include <jansson.h>

#define MODELS "tests/golden/data/models/"

/* All that goes with every family: rollout has one stack of square weights, tokens are not everywhere. */
static struct attn_plan *make_plan(const struct attn_model *model, const struct attn_model_inputs *inputs) {
    const struct attn_model_info info = attn_model_info(model);
    const bool is_square = !info.is_encoder_decoder;
    const bool has_tokens =
        inputs->input_ids.data != NULL && (!info.is_encoder_decoder || inputs->decoder_input_ids.data != NULL);
    struct attn_want want = ATTN_WANT_DEFAULTS;
    struct attn_model_want model_want = {.pooling = ATTN_POOLING_MEAN, .normalize = true};
    struct attn_plan *plan = NULL;
    struct attn_error error = {0};
    want.forms = ATTN_BIT(ATTN_FORM_OUTPUT_NORM) - 1 - ATTN_BIT(ATTN_FORM_HEAD_WEIGHTED);
    want.forms |= is_square ? ATTN_BIT(ATTN_FORM_ROLLOUT) : 0;
    want.components = 1;
    want.analyses = ATTN_BIT(has_tokens ? ATTN_ANALYSIS_COUNT : ATTN_ANALYSIS_DUPLICATE) - 1;
    want.internals = ATTN_BIT(ATTN_INTERNAL_COUNT) - 1;
    attn_status status = attn_plan_create_model(&plan, model, inputs, &want, &model_want, &error);
    ck_assert_msg(status == ATTN_OK, "%s: %s: %s", info.family, error.field, error.message);
    return plan;
}

/* "self.2", "cross.0": the per-head weights of that layer; "output". */
static const struct attn_result_tensor *find(const struct attn_result *result, const char *path) {
    char stack[32];
    int layer = -1, count = sscanf(path, "%31[a-z_].%d", stack, &layer);
    if (count < 2)
        return strcmp(path, "output") == 0 ? attn_result_find(result, ATTN_GROUP_OUTPUT, path)
                                           : attn_result_find(result, ATTN_GROUP_EXTRA, path);
    for (size_t i = 0; i < result->tensor_count; i++) {
        const struct attn_result_tensor *tensor = &result->tensors[i];
        const char *own = tensor->stack < 0 ? "self" : attn_stack_name((attn_stack)tensor->stack);
        if (tensor->layer == layer && strcmp(tensor->name, "per_head") == 0 && strcmp(own, stack) == 0)
            return tensor;
    }
    return NULL;
}

static size_t compare(const struct attn_result *result, const struct attn_safetensors *expected, const char *model,
                      const char *one) {
    char prefix[128];
    size_t compared = 0;
    snprintf(prefix, sizeof prefix, "%s/expect/", one);
    for (size_t i = 0; i < attn_safetensors_count(expected); i++) {
        const struct attn_named_view wanted = attn_safetensors_tensor(expected, i);
        const char *path = wanted.name + strlen(prefix);
        if (strncmp(wanted.name, prefix, strlen(prefix)) != 0 || strncmp(path, "predictions", 11) == 0)
            continue;
        const struct attn_result_tensor *found = find(result, path);
        ck_assert_msg(found != NULL, "%s/%s: no %s", model, one, path);
        const size_t elements = attn_view_elements(&wanted.view);
        ck_assert_uint_eq(attn_view_elements(&found->values), elements);
        for (size_t j = 0; j < elements; j++)
            ck_assert_msg(golden_close(golden_element(&found->values, j), golden_element(&wanted.view, j), 1e-5),
                          "%s/%s: %s[%zu]", model, one, path, j);
        compared++;
    }
    return compared;
}

static void run_model(const char *name) {
    char path[512];
    struct attn_safetensors *expected;
    struct attn_model *model;
    snprintf(path, sizeof path, MODELS "%s/expected.safetensors", name);
    ck_assert_int_eq(attn_safetensors_open(&expected, path, NULL), ATTN_OK);
    snprintf(path, sizeof path, MODELS "%s", name);
    json_t *cases = json_loads(attn_safetensors_metadata(expected, "cases"), 0, NULL), *one;
    size_t index;
    if (attn_model_open(&model, path, NULL) == ATTN_OK) { /* a state dict is golden_models.c's */
        json_array_foreach(cases, index, one) {
            const char *case_name = json_string_value(json_object_get(one, "name"));
            const struct attn_model_inputs inputs = golden_model_inputs(expected, case_name);
            struct attn_plan *plan = make_plan(model, &inputs);
            struct attn_result *result = NULL;
            struct attn_error error = {0};
            ck_assert_msg(attn_plan_run(plan, NULL, &result, &error) == ATTN_OK, "%s: %s", name, error.message);
            ck_assert_uint_ge(compare(result, expected, name, case_name), 2);
            attn_result_destroy(result);
            attn_plan_destroy(plan);
        }
        attn_model_close(model);
    } else {
        ck_assert_msg(strncmp(name, "torch_", 6) == 0, "%s cannot be opened", name);
    }
    json_decref(cases);
    attn_safetensors_close(expected);
}

START_TEST(every_family_is_the_same_with_everything_asked_for) {
    DIR *directory = opendir(MODELS);
    size_t count = 0;
    ck_assert_ptr_nonnull(directory);
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
        if (entry->d_name[0] != '.') {
            run_model(entry->d_name);
            count++;
        }
    closedir(directory);
    ck_assert_uint_gt(count, 40);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("golden_plans");
    TCase *cases = tcase_create("models");
    tcase_set_timeout(cases, 240);
    tcase_add_test(cases, every_family_is_the_same_with_everything_asked_for);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
