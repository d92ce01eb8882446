/** @file replay.h Runs the cases of a golden file through the library and compares every tensor. */
#ifndef TESTS_GOLDEN_REPLAY_H
#define TESTS_GOLDEN_REPLAY_H

#include "request.h"

#include <check.h>

#define GOLDEN_DATA "tests/golden/data/"

/** Counts over all cases. */
struct golden_tally {
    size_t ran, failed;
    const struct attn_execution *execution;
};

/** The tensor that a path of `expect` speaks of, or NULL. */
static inline const struct attn_result_tensor *golden_find_tensor(const struct attn_result *result, attn_group group,
                                                                  const char *name, int layer, int head) {
    for (size_t i = 0; i < result->tensor_count; i++) {
        const struct attn_result_tensor *tensor = &result->tensors[i];
        if (tensor->group == group && tensor->layer == layer && tensor->head == head &&
            (!name || strcmp(tensor->name, name) == 0))
            return tensor;
    }
    return NULL;
}

/** Splits "layers.3.weights.average.values" into its parts, and finds the view. */
static inline struct attn_view golden_find_view(const struct attn_result *result, const char *path) {
    int layer = -1, head = -1, taken = 0;
    if (sscanf(path, "pairs.%d.%d.%n", &layer, &head, &taken) == 2 || sscanf(path, "layers.%d.%n", &layer, &taken) == 1)
        path += taken;
    static const struct {
        const char *prefix;
        attn_group group;
    } places[] = {{"weights.", ATTN_GROUP_WEIGHTS},
                  {"analyses.", ATTN_GROUP_ANALYSIS},
                  {"internals.", ATTN_GROUP_INTERNALS},
                  {"output", ATTN_GROUP_OUTPUT},
                  {"", ATTN_GROUP_EXTRA}};
    size_t i = 0;
    while (strncmp(path, places[i].prefix, strlen(places[i].prefix)) != 0)
        i++;
    bool is_dotted = strchr(places[i].prefix, '.') != NULL;
    char name[64];
    snprintf(name, sizeof name, "%s", path + (is_dotted ? strlen(places[i].prefix) : 0));
    char *part = strchr(name, '.');
    if (part)
        *part++ = '\0';
    const struct attn_result_tensor *tensor = golden_find_tensor(result, places[i].group, name, layer, head);
    if (!tensor)
        return (struct attn_view){0};
    return part && strcmp(part, "indices") == 0 ? tensor->indices : tensor->values;
}

/** @return whether every expected tensor is there and agrees, and no other is. */
static inline bool golden_compare(const char *name, attn_dtype dtype, const struct attn_result *result,
                                  const json_t *expect, const struct attn_safetensors *file) {
    bool agrees = true;
    size_t views = 0;
    for (size_t i = 0; i < result->tensor_count; i++)
        views += result->tensors[i].indices.data ? 2 : 1;
    if (views != json_object_size(expect)) {
        fprintf(stderr, "%s: %zu tensors, expected %zu\n", name, views, json_object_size(expect));
        agrees = false;
    }
    const char *path;
    json_t *source;
    json_object_foreach((json_t *)expect, path, source) {
        char key[256];
        snprintf(key, sizeof key, "%s/expect/%s", name, path);
        struct attn_view expected = attn_safetensors_find(file, key).view, found = golden_find_view(result, path);
        if (!found.data || !expected.data) {
            fprintf(stderr, "%s: %s is missing from the %s\n", name, path, found.data ? "file" : "result");
            agrees = false;
            continue;
        }
        agrees &= golden_agrees(name, path, &found, &expected, dtype == ATTN_FLOAT64 ? 1e-12 : 1e-5);
    }
    return agrees;
}

static inline attn_status golden_run_request(struct golden_request *request, const json_t *one,
                                             const struct attn_execution *execution, struct attn_result **result,
                                             struct attn_error *error) {
    const char *params = json_string_value(json_object_get(one, "params"));
    struct attn_plan *plan = NULL;
    attn_status status = ATTN_OK;
    if (params) {
        char path[256];
        snprintf(path, sizeof path, GOLDEN_DATA "%s", params);
        status = golden_layer(request, json_object_get(one, "request"), path, error);
    }
    if (!status && request->given.weights.data)
        status = attn_plan_create_given(&plan, &request->given, &request->want, error);
    else if (!status)
        status = attn_plan_create(&plan, &request->inputs, &request->want, error);
    if (!status)
        status = attn_plan_run(plan, execution, result, error);
    attn_plan_destroy(plan);
    return status;
}

static inline bool golden_run_case(const struct attn_safetensors *file, const json_t *one,
                                   const struct attn_execution *execution) {
    const char *name = json_string_value(json_object_get(one, "name"));
    struct golden_request request;
    struct attn_result *result = NULL;
    struct attn_error error = {0};
    golden_request_read(&request, file, one);
    attn_status status = golden_run_request(&request, one, execution, &result, &error);
    if (status)
        fprintf(stderr, "%s: %s: %s: %s\n", name, attn_status_name(status), error.field, error.message);
    bool agrees = !status && golden_compare(name, request.dtype, result, json_object_get(one, "expect"), file);
    attn_result_destroy(result);
    golden_request_free(&request);
    return agrees;
}

static inline void golden_run_group(const char *group, struct golden_tally *tally) {
    char path[256];
    struct attn_safetensors *file = NULL;
    struct attn_error error = {0};
    snprintf(path, sizeof path, GOLDEN_DATA "%s.safetensors", group);
    ck_assert_msg(attn_safetensors_open(&file, path, &error) == ATTN_OK, "%s: %s", path, error.message);
    const char *text = attn_safetensors_metadata(file, "cases");
    ck_assert_ptr_nonnull(text);
    json_t *cases = json_loads(text, 0, NULL);
    ck_assert(json_array_size(cases) > 0);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        tally->ran++;
        tally->failed += !golden_run_case(file, json_array_get(cases, i), tally->execution);
    }
    json_decref(cases);
    attn_safetensors_close(file);
}

#endif
