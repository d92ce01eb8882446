/* Models as JSON: every member of the interface, null where a thing is not known. */
#include "server/routes/models_encode.h"
#include "tests/unit/run_suite.h"
#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define GOLDEN "tests/golden/safetensors/"

/* Two files served by name: one with tensors that are no layer, one that is no file of the format. */
static struct registry *start(void) {
    static const struct registry_named named[] = {{"o/shapes", GOLDEN "shapes.safetensors"},
                                                  {"script", "tests/golden/safetensors_make.py"}};
    struct registry_options options = {NULL, named, 2};
    struct problem problem;
    size_t failed;
    struct registry *registry = registry_create(&options, &problem);
    ck_assert_ptr_nonnull(registry);
    while (!registry_is_settled(registry, &failed))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    ck_assert_uint_eq(failed, 2);
    return registry;
}

START_TEST(a_failed_model_has_nulls_and_a_reason) {
    struct registry *registry = start();
    struct arena *arena = arena_create();
    const struct model **models;
    size_t count = registry_list(registry, &models), length;
    const char *text = models_encode_list(arena, models, count, &length);
    ck_assert_ptr_nonnull(text);
    json_t *document = json_loadb(text, length, 0, NULL);
    json_t *first = json_array_get(json_object_get(document, "models"), 0);
    ck_assert_uint_eq(json_array_size(json_object_get(document, "models")), 2);
    static const char *const nulls[] = {"layers",        "heads",      "kv_heads", "hidden_size",
                                        "max_positions", "parameters", "dtype"};
    for (size_t i = 0; i < sizeof nulls / sizeof *nulls; i++)
        ck_assert_msg(json_is_null(json_object_get(first, nulls[i])), "%s", nulls[i]);
    ck_assert_str_eq(json_string_value(json_object_get(first, "id")), "o/shapes");
    ck_assert_str_eq(json_string_value(json_object_get(first, "kind")), "attention");
    ck_assert_str_eq(json_string_value(json_object_get(first, "status")), "failed");
    ck_assert_ptr_nonnull(json_string_value(json_object_get(first, "reason")));
    ck_assert_uint_eq(json_string_length(json_object_get(first, "sha256")), 64);
    ck_assert_int_eq(json_integer_value(json_object_get(first, "bytes")), 288);
    json_decref(document);
    for (size_t i = 0; i < count; i++)
        registry_release(registry, models[i]);
    free(models);
    arena_destroy(arena);
    registry_destroy(registry);
}
END_TEST

START_TEST(one_model_has_its_tensors) {
    struct attn_safetensors *file;
    ck_assert_int_eq(attn_safetensors_open(&file, GOLDEN "shapes.safetensors", NULL), ATTN_OK);
    struct registry *registry = start();
    struct arena *arena = arena_create();
    struct problem problem;
    size_t length;
    const struct model *failed = registry_acquire(registry, "script", &problem);
    ck_assert_ptr_nonnull(failed);
    const char *text = models_encode_one(arena, failed, &length);
    json_t *document = json_loadb(text, length, 0, NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(document, "tensors")), 0);
    json_decref(document);
    registry_release(registry, failed);

    struct model model = {.id = "m", .status = MODEL_LOADING, .file = file};
    text = models_encode_one(arena, &model, &length);
    document = json_loadb(text, length, 0, NULL);
    ck_assert_str_eq(json_string_value(json_object_get(document, "status")), "loading");
    ck_assert_ptr_null(json_object_get(document, "reason"));
    json_t *none = json_array_get(json_object_get(document, "tensors"), 1);
    ck_assert_str_eq(json_string_value(json_object_get(none, "name")), "none");
    ck_assert_str_eq(json_string_value(json_object_get(none, "dtype")), "float32");
    ck_assert_int_eq(json_integer_value(json_array_get(json_object_get(none, "shape"), 2)), 3);
    ck_assert_uint_eq(json_array_size(json_object_get(none, "shape")), 3);
    json_decref(document);
    arena_destroy(arena);
    registry_destroy(registry);
    attn_safetensors_close(file);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("routes models");
    TCase *encoding = tcase_create("encoding");
    tcase_add_test(encoding, a_failed_model_has_nulls_and_a_reason);
    tcase_add_test(encoding, one_model_has_its_tensors);
    suite_add_tcase(suite, encoding);
    return run_suite(suite);
}
