/*
 * Files whose tensors begin at odd addresses, as the format allows: whole runs of them are those of aligned ones, to
 * the bit. (The sanitizers see what reads them as if they were aligned.)
 */
#include <attn/attn.h>

#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODELS "tests/golden/data/models/"
enum { LENGTH = 6 };

static struct attn_error error;
static int64_t text[LENGTH] = {5, 9, 33, 17, 4, 60};

static struct attn_model *open_model(const char *directory) {
    struct attn_model *model = NULL;
    ck_assert_msg(attn_model_open(&model, directory, &error) == ATTN_OK, "%s: %s", error.field, error.message);
    return model;
}

static void copy_rest(FILE *from, FILE *to) {
    char bytes[4096];
    for (size_t count; (count = fread(bytes, 1, sizeof bytes, from)) > 0;)
        ck_assert_uint_eq(fwrite(bytes, 1, count, to), count);
}

/* A copy of a model whose file has a header one byte longer. */
static void copy_shifted(const char *name, const char *directory) {
    char path[256], command[512];
    snprintf(command, sizeof command, "cp " MODELS "%s/config.json %s", name, directory);
    ck_assert_int_eq(system(command), 0);
    snprintf(path, sizeof path, MODELS "%s/model.safetensors", name);
    FILE *from = fopen(path, "rb");
    snprintf(path, sizeof path, "%s/model.safetensors", directory);
    FILE *to = fopen(path, "wb");
    ck_assert(from != NULL && to != NULL);
    unsigned char size[8]; /* little-endian, so that the file is the same on any machine */
    ck_assert_uint_eq(fread(size, 1, sizeof size, from), sizeof size);
    size_t length = 0;
    for (size_t i = 8; i-- > 0;)
        length = length << 8 | size[i];
    char *header = malloc(length + 1);
    ck_assert_ptr_nonnull(header);
    ck_assert_uint_eq(fread(header, 1, length, from), length);
    header[length++] = ' ';
    for (size_t i = 0; i < 8; i++)
        size[i] = (unsigned char)(length >> (8 * i));
    ck_assert_uint_eq(fwrite(size, 1, sizeof size, to), sizeof size);
    ck_assert_uint_eq(fwrite(header, 1, length, to), length);
    free(header);
    copy_rest(from, to);
    fclose(from);
    ck_assert_int_eq(fclose(to), 0);
}

static struct attn_result *run(const struct attn_model *model, attn_dtype dtype) {
    struct attn_plan *plan = NULL;
    struct attn_result *result = NULL;
    struct attn_want want = ATTN_WANT_DEFAULTS;
    const struct attn_model_info info = attn_model_info(model);
    const struct attn_model_want model_want = {.dtype = dtype, .predictions = info.has_head ? 3 : 0};
    const struct attn_model_inputs inputs = {.input_ids =
                                                 attn_view_contiguous(text, ATTN_INT64, 1, (size_t[]){LENGTH})};
    want.forms = ATTN_BIT(ATTN_FORM_PER_HEAD) | ATTN_BIT(ATTN_FORM_OUTPUT_NORM);
    ck_assert_msg(attn_plan_create_model(&plan, model, &inputs, &want, &model_want, &error) == ATTN_OK, "%s: %s",
                  error.field, error.message);
    ck_assert_msg(attn_plan_run(plan, NULL, &result, &error) == ATTN_OK, "%s: %s", error.field, error.message);
    attn_plan_destroy(plan);
    return result;
}

static const char *const names[] = {"gpt2",     "qwen2", "opt_350m", "albert", "t5_encoder",
                                    "bert_mlm", "mpnet", "roberta",  "gpt_oss"};

START_TEST(tensors_at_odd_addresses_are_like_any_others) {
    char directory[] = "/tmp/attnd-odd-XXXXXX", path[256];
    ck_assert_ptr_nonnull(mkdtemp(directory));
    copy_shifted(names[_i], directory);
    snprintf(path, sizeof path, MODELS "%s", names[_i]);
    struct attn_model *even = open_model(path), *odd = open_model(directory);
    ck_assert_uint_eq((uintptr_t)attn_safetensors_tensor(attn_model_file(odd, 0), 0).view.data % 2, 1);
    for (int i = 0; i < 2; i++) {
        const attn_dtype dtype = i == 0 ? ATTN_FLOAT32 : ATTN_FLOAT64;
        struct attn_result *left = run(even, dtype), *right = run(odd, dtype);
        ck_assert_uint_eq(left->tensor_count, right->tensor_count);
        for (size_t t = 0; t < left->tensor_count; t++) {
            const struct attn_view *values = &left->tensors[t].values;
            ck_assert_mem_eq(values->data, right->tensors[t].values.data,
                             attn_view_elements(values) * attn_dtype_bytes(values->dtype));
        }
        attn_result_destroy(left);
        attn_result_destroy(right);
    }
    attn_model_close(even);
    attn_model_close(odd);
    snprintf(path, sizeof path, "rm -r %s", directory);
    ck_assert_int_eq(system(path), 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("transformer_unaligned");
    TCase *cases = tcase_create("files");
    tcase_set_timeout(cases, 60);
    tcase_add_loop_test(cases, tensors_at_odd_addresses_are_like_any_others, 0, (int)(sizeof names / sizeof *names));
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
