/** Every family: tiny models with random weights against Hugging Face transformers and torch (tests/golden/README.md).
 */
#include "tests/golden/runner/lanes.h"
#include "tests/golden/runner/model_inputs.h"
#include "tests/golden/runner/numbers.h"
#include "tests/unit/run_suite.h"

#include <attn/plan.h>

#include <check.h>
#include <dirent.h>
#include <jansson.h>

#define MODELS "tests/golden/data/models/"

/** One directory, opened. */
struct subject {
    const char *name;
    struct attn_safetensors *expected, *state_dict;
    struct attn_model *model;
    json_t *cases;
};

/* Opening */

static attn_status open_state_dict(struct subject *subject, const char *path, struct attn_error *error) {
    attn_status status = attn_safetensors_open(&subject->state_dict, path, error);
    if (status)
        return status;
    ck_assert(attn_model_is_state_dict(subject->state_dict));
    json_t *asked = json_loads(attn_safetensors_metadata(subject->expected, "config"), 0, NULL);
    struct attn_state_dict_config config = {
        .num_heads = (size_t)json_integer_value(json_object_get(asked, "num_heads")),
        .norm_first = json_is_true(json_object_get(asked, "norm_first")),
        .activation = json_string_value(json_object_get(asked, "activation")),
    };
    status = attn_model_from_state_dict(&subject->model, subject->state_dict, &config, error);
    json_decref(asked);
    return status;
}

static attn_status open_subject(struct subject *subject, struct attn_error *error) {
    char path[512];
    snprintf(path, sizeof path, MODELS "%s/expected.safetensors", subject->name);
    ck_assert_int_eq(attn_safetensors_open(&subject->expected, path, error), ATTN_OK);
    subject->cases = json_loads(attn_safetensors_metadata(subject->expected, "cases"), 0, NULL);
    ck_assert_uint_gt(json_array_size(subject->cases), 0);
    snprintf(path, sizeof path, MODELS "%s/state_dict.safetensors", subject->name);
    FILE *state_dict = fopen(path, "rb");
    attn_status status;
    if (state_dict) {
        fclose(state_dict);
        status = open_state_dict(subject, path, error);
    } else {
        snprintf(path, sizeof path, MODELS "%s", subject->name);
        status = attn_model_open(&subject->model, path, error);
    }
    return status;
}

static void close_subject(struct subject *subject) {
    attn_model_close(subject->model);
    attn_safetensors_close(subject->state_dict);
    attn_safetensors_close(subject->expected);
    json_decref(subject->cases);
}

/* Running */

static attn_status run_case(const struct subject *subject, const json_t *one, attn_dtype dtype,
                            const struct attn_execution *execution, struct attn_result **result,
                            struct attn_error *error) {
    const struct attn_model_want model_want = {
        .dtype = dtype,
        .predictions = (size_t)json_integer_value(json_object_get(one, "predictions")),
    };
    struct attn_want want = ATTN_WANT_DEFAULTS;
    const struct attn_model_inputs inputs =
        golden_model_inputs(subject->expected, json_string_value(json_object_get(one, "name")));
    struct attn_plan *plan = NULL;
    want.forms = ATTN_BIT(ATTN_FORM_PER_HEAD);
    attn_status status = attn_plan_create_model(&plan, subject->model, &inputs, &want, &model_want, error);
    if (status == ATTN_OK)
        status = attn_plan_run(plan, execution, result, error);
    attn_plan_destroy(plan);
    return status;
}

/* Comparing */

/** The weights of "cross.1"; "self.1" is of the one stack that there is. */
static struct attn_view weights_at(const struct subject *subject, const struct attn_result *result, const char *path) {
    int layer = 0, taken = 0, stack = -1;
    char name[32];
    ck_assert_msg(sscanf(path, "%31[a-z].%d%n", name, &layer, &taken) == 2 && !path[taken], "%s: %s", subject->name,
                  path);
    if (strcmp(name, "self") != 0)
        for (stack = 0; strcmp(attn_stack_name((attn_stack)stack), name) != 0; stack++)
            ck_assert_int_lt(stack, ATTN_STACK_COUNT - 1);
    for (size_t i = 0; i < result->tensor_count; i++)
        if (result->tensors[i].group == ATTN_GROUP_WEIGHTS && result->tensors[i].layer == layer &&
            result->tensors[i].stack == stack)
            return result->tensors[i].values;
    return (struct attn_view){0};
}

static struct attn_view found_at(const struct subject *subject, const struct attn_result *result, const char *path) {
    const struct attn_result_tensor *output = attn_result_find(result, ATTN_GROUP_OUTPUT, "output");
    const struct attn_result_tensor *encoder = attn_result_find(result, ATTN_GROUP_EXTRA, "encoder_output");
    const struct attn_result_tensor *predictions = attn_result_find(result, ATTN_GROUP_EXTRA, "predictions");
    if (strcmp(path, "output") == 0)
        return output ? output->values : (struct attn_view){0};
    if (strcmp(path, "encoder_output") == 0)
        return encoder ? encoder->values : (struct attn_view){0};
    if (strcmp(path, "predictions.indices") == 0)
        return predictions ? predictions->indices : (struct attn_view){0};
    if (strcmp(path, "predictions.values") == 0)
        return predictions ? predictions->values : (struct attn_view){0};
    return weights_at(subject, result, path);
}

/** @return whether the tensors agree; what the file has is float32 or int64, what was computed may be float64. */
static bool agrees(const char *what, const char *path, const struct attn_view *found, const struct attn_view *expected,
                   double tolerance) {
    if (!found->data || found->rank != expected->rank ||
        memcmp(found->shape, expected->shape, (size_t)found->rank * sizeof found->shape[0]) != 0) {
        golden_say_shapes(what, path, found, expected);
        return false;
    }
    const size_t elements = attn_view_elements(expected);
    size_t wrong = 0, worst = 0;
    double most = 0;
    for (size_t i = 0; i < elements; i++) {
        const double is = golden_element(found, i), should = golden_element(expected, i);
        if (golden_close(is, should, tolerance))
            continue;
        wrong++;
        if (!(fabs(is - should) <= most))
            most = fabs(is - should), worst = i;
    }
    if (wrong)
        fprintf(stderr, "%s: %s[%zu] is %.9g, expected %.9g; %zu of %zu differ\n", what, path, worst,
                golden_element(found, worst), golden_element(expected, worst), wrong, elements);
    return wrong == 0;
}

static bool compare(const struct subject *subject, const char *one, attn_dtype dtype,
                    const struct attn_result *result) {
    char prefix[128], what[256];
    snprintf(prefix, sizeof prefix, "%s/expect/", one);
    snprintf(what, sizeof what, "%s/%s (%s)", subject->name, one, attn_dtype_name(dtype));
    bool is_equal = true;
    size_t expected_views = 0, views = 0;
    for (size_t i = 0; i < attn_safetensors_count(subject->expected); i++) {
        const struct attn_named_view expected = attn_safetensors_tensor(subject->expected, i);
        if (strncmp(expected.name, prefix, strlen(prefix)) != 0)
            continue;
        const char *path = expected.name + strlen(prefix);
        const struct attn_view found = found_at(subject, result, path);
        is_equal &= agrees(what, path, &found, &expected.view, 1e-5);
        expected_views++;
    }
    for (size_t i = 0; i < result->tensor_count; i++)
        views += result->tensors[i].indices.data ? 2 : 1;
    if (views != expected_views || views < 2)
        fprintf(stderr, "%s: %zu tensors, expected %zu\n", what, views, expected_views);
    return is_equal && views == expected_views && views >= 2;
}

static size_t run_subject(const struct subject *subject, const struct attn_execution *execution) {
    size_t failed = 0, index;
    json_t *one;
    json_array_foreach(subject->cases, index, one) {
        static const attn_dtype dtypes[] = {ATTN_FLOAT32, ATTN_FLOAT64};
        const char *name = json_string_value(json_object_get(one, "name"));
        for (size_t i = 0; i < 2; i++) {
            struct attn_result *result = NULL;
            struct attn_error error = {0};
            attn_status status = run_case(subject, one, dtypes[i], execution, &result, &error);
            if (status)
                fprintf(stderr, "%s/%s: %s %s: %s\n", subject->name, name, attn_status_name(status), error.field,
                        error.message);
            if (status || !compare(subject, name, dtypes[i], result))
                failed++;
            attn_result_destroy(result);
        }
    }
    return failed;
}

static void run_all(const struct attn_execution *execution) {
    DIR *directory = opendir(MODELS);
    ck_assert_ptr_nonnull(directory);
    const char *only = getenv("GOLDEN_MODEL");
    size_t ran = 0, failed = 0;
    for (const struct dirent *entry; (entry = readdir(directory));) {
        if (entry->d_name[0] == '.' || (only && strcmp(only, entry->d_name) != 0))
            continue;
        struct subject subject = {.name = entry->d_name};
        struct attn_error error = {0};
        attn_status status = open_subject(&subject, &error);
        if (status) {
            fprintf(stderr, "%s: %s %s: %s\n", subject.name, attn_status_name(status), error.field, error.message);
            failed++;
        } else {
            failed += run_subject(&subject, execution);
        }
        ran++;
        close_subject(&subject);
    }
    closedir(directory);
    ck_assert_msg(ran > 0, "no models in " MODELS);
    ck_assert_msg(failed == 0, "%zu cases of %zu models failed", failed, ran);
}

START_TEST(every_family_agrees_with_transformers_on_one_thread) {
    run_all(NULL);
}
END_TEST

START_TEST(every_family_agrees_with_transformers_on_three_lanes) {
    const struct attn_execution execution = {.executor = &golden_lanes};
    run_all(&execution);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("golden_models");
    TCase *cases = tcase_create("models");
    tcase_set_timeout(cases, 240);
    tcase_add_test(cases, every_family_agrees_with_transformers_on_one_thread);
    tcase_add_test(cases, every_family_agrees_with_transformers_on_three_lanes);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
