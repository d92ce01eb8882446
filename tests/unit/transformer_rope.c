/* Rotary frequencies in float32 against those of transformers, to the last bit but for rounding of powers. */
#include "lib/transformer/rope.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <jansson.h>
#include <math.h>

#include "tests/unit/transformer_rope_expected.inc"

/* At position 3000 a unit in the last place of a frequency near 1 is an angle of 2e-4. */
START_TEST(float32_frequencies_have_the_last_bits_of_transformers) {
    struct attn_settings settings = {0};
    const struct attn_rope_recipe recipe = {.style = ATTN_ROPE_HALVES, .theta = 1};
    struct attn_error error;
    struct attn_rope rope;
    double inverse[HALF];
    json_t *config = json_loads(kinds[_i].config, 0, NULL);
    ck_assert_ptr_nonnull(config);
    settings.values[ATTN_SET_HEAD_DIM] = 2 * HALF;
    settings.values[ATTN_SET_POSITIONS] = POSITIONS;
    ck_assert_msg(attn_rope_read(&rope, config, &settings, &recipe, false, &error) == ATTN_OK, "%s", error.message);
    ck_assert_uint_eq(rope.width, 2 * HALF);
    attn_rope_inverse(&rope, LENGTH, ATTN_FLOAT32, inverse);
    size_t others = 0;
    for (size_t i = 0; i < HALF; i++) {
        const float expected = kinds[_i].inverse[i], found = (float)inverse[i];
        ck_assert_msg(fabsf(found - expected) <= 2.5e-7F * expected, "%zu: %.9g, not %.9g", i, (double)found,
                      (double)expected);
        others += found < expected || found > expected;
    }
    ck_assert_uint_le(others, 2);
    attn_rope_free(&rope);
    json_decref(config);
}
END_TEST

START_TEST(float64_frequencies_are_not_rounded) {
    struct attn_settings settings = {0};
    const struct attn_rope_recipe recipe = {.style = ATTN_ROPE_HALVES, .theta = 10000};
    struct attn_error error;
    struct attn_rope rope;
    double inverse[HALF];
    json_t *config = json_object();
    settings.values[ATTN_SET_HEAD_DIM] = 2 * HALF;
    settings.values[ATTN_SET_POSITIONS] = POSITIONS;
    ck_assert_int_eq(attn_rope_read(&rope, config, &settings, &recipe, false, &error), ATTN_OK);
    attn_rope_inverse(&rope, LENGTH, ATTN_FLOAT64, inverse);
    ck_assert_double_eq_tol(inverse[8], 0.15848931924611134, 1e-15); /* 10 to the power of -0.8 */
    ck_assert_double_eq_tol(inverse[20], 0.01, 1e-15);
    attn_rope_free(&rope);
    json_decref(config);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("transformer_rope");
    TCase *cases = tcase_create("rope");
    tcase_add_loop_test(cases, float32_frequencies_have_the_last_bits_of_transformers, 0,
                        (int)(sizeof kinds / sizeof *kinds));
    tcase_add_test(cases, float64_frequencies_are_not_rounded);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
