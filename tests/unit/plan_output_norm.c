/*
 * output_norm of a model whose layers are wider than what it hands out (OPT-350M): each weight times the norm of its
 * value through its head's part of the output projection, worked out here from the file's own weight.
 */
#include <attn/attn.h>

#include <check.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH = 6 };

static struct attn_error error;
static int64_t text[LENGTH] = {5, 9, 33, 17, 4, 60};

static const struct attn_view *values_of(const struct attn_result *result, attn_group group, const char *name) {
    for (size_t i = 0; i < result->tensor_count; i++)
        if (result->tensors[i].group == group && result->tensors[i].layer == 0 &&
            strcmp(result->tensors[i].name, name) == 0)
            return &result->tensors[i].values;
    ck_abort_msg("no %s", name);
    return NULL;
}

/* || value . W^T || for one head's columns of a weight (hidden, H * D). */
static double norm_through(const double *value, const double *weight, size_t hidden, size_t width, size_t dim) {
    double squares = 0;
    for (size_t e = 0; e < hidden; e++) {
        double sum = 0;
        for (size_t d = 0; d < dim; d++)
            sum += value[d] * weight[e * width + d];
        squares += sum * sum;
    }
    return sqrt(squares);
}

START_TEST(values_go_through_the_layers_own_projection) {
    struct attn_model *model = NULL;
    struct attn_plan *plan = NULL;
    struct attn_result *result = NULL;
    ck_assert_int_eq(attn_model_open(&model, "tests/golden/data/models/opt_350m", &error), ATTN_OK);
    const struct attn_model_inputs inputs = {.input_ids =
                                                 attn_view_contiguous(text, ATTN_INT64, 1, (size_t[]){LENGTH})};
    const struct attn_model_want model_want = {.dtype = ATTN_FLOAT64};
    struct attn_want want = ATTN_WANT_DEFAULTS;
    want.forms = ATTN_BIT(ATTN_FORM_PER_HEAD) | ATTN_BIT(ATTN_FORM_OUTPUT_NORM);
    want.internals = ATTN_BIT(ATTN_INTERNAL_VALUE);
    ck_assert_int_eq(attn_plan_create_model(&plan, model, &inputs, &want, &model_want, &error), ATTN_OK);
    ck_assert_msg(attn_plan_run(plan, NULL, &result, &error) == ATTN_OK, "%s: %s", error.field, error.message);
    const struct attn_view stored =
        attn_safetensors_find(attn_model_file(model, 0), "model.decoder.layers.0.self_attn.out_proj.weight").view;
    ck_assert_ptr_nonnull(stored.data);
    const size_t hidden = stored.shape[0], width = stored.shape[1];
    ck_assert_uint_ne(hidden, attn_model_info(model).hidden_size);
    double *weight = calloc(hidden * width, sizeof *weight);
    ck_assert_ptr_nonnull(weight);
    const struct attn_view doubles = attn_view_contiguous(weight, ATTN_FLOAT64, 2, stored.shape);
    ck_assert_int_eq(attn_view_convert(&stored, &doubles, &error), ATTN_OK);
    const struct attn_view *value = values_of(result, ATTN_GROUP_INTERNALS, "value");
    const double *values = value->data, *weights = values_of(result, ATTN_GROUP_WEIGHTS, "per_head")->data;
    const double *norms = values_of(result, ATTN_GROUP_WEIGHTS, "output_norm")->data;
    const size_t heads = value->shape[0], dim = value->shape[2];
    for (size_t head = 0; head < heads; head++)
        for (size_t key = 0; key < LENGTH; key++) {
            const double norm =
                norm_through(values + (head * LENGTH + key) * dim, weight + head * dim, hidden, width, dim);
            for (size_t query = 0; query < LENGTH; query++) {
                const size_t at = (head * LENGTH + query) * LENGTH + key;
                ck_assert_double_eq_tol(norms[at], weights[at] * norm, 1e-12);
            }
        }
    free(weight);
    attn_result_destroy(result);
    attn_plan_destroy(plan);
    attn_model_close(model);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("plan_output_norm");
    TCase *cases = tcase_create("models");
    tcase_add_test(cases, values_go_through_the_layers_own_projection);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
