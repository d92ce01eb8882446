/* Packed products with all that may follow them, against sums in long double. */
#include "lib/kernels/packed.h"
#include "lib/kernels/kernels.h"
#include "tests/unit/activated.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static unsigned random_state = 7;

static float random_float(void) {
    random_state = random_state * 1664525U + 1013904223U;
    return (float)(random_state >> 8) / (float)(1 << 23) - 1;
}

static float *random_floats(size_t count) {
    float *data = malloc((count + 1) * sizeof *data);
    ck_assert_ptr_nonnull(data);
    for (size_t i = 0; i < count; i++)
        data[i] = random_float();
    return data;
}

/* One product and what is to follow it. */
struct layout {
    size_t rows, out, in;
    attn_dtype dtype;
    attn_activation activation;
    bool has_bias, has_gate, has_residual, adds_in_place;
};
enum { PAD = 5 };

static long double expected(const struct layout *c, const struct attn_linear *l, const float *weight,
                            const float *residual, size_t row, size_t column) {
    long double sum = l->bias != NULL ? (long double)l->bias[column] : 0;
    for (size_t d = 0; d < c->in; d++)
        sum += (long double)l->left[row * (size_t)l->left_stride + d] * (long double)weight[column * c->in + d];
    sum = activated(l->activation, sum);
    if (l->gate != NULL)
        sum *= (long double)l->gate[row * (size_t)l->gate_stride + column];
    return residual != NULL ? sum + (long double)residual[row * (c->out + PAD) + column] : sum;
}

/* The weight as the packed one is to see it, and as float32, exactly. */
static struct attn_view weight_of(const struct layout *c, float **weight) {
    *weight = random_floats(c->out * c->in);
    struct attn_view plain = {
        .data = *weight, .dtype = ATTN_FLOAT32, .rank = 2, .shape = {c->out, c->in}, .stride = {(ptrdiff_t)c->in, 1}};
    struct attn_view typed = plain;
    typed.dtype = c->dtype;
    typed.data = malloc((c->out * c->in + 1) * sizeof(float));
    ck_assert_ptr_nonnull(typed.data);
    ck_assert_int_eq(attn_view_convert(&plain, &typed, NULL), ATTN_OK);
    ck_assert_int_eq(attn_view_convert(&typed, &plain, NULL), ATTN_OK);
    return typed;
}

static void check_layout(const struct layout *c, const struct attn_kernels *kernels) {
    float *weight;
    struct attn_view view = weight_of(c, &weight);
    struct attn_packed *packed;
    ck_assert_int_eq(attn_packed_create_for(&packed, &view, kernels), ATTN_OK);
    ck_assert_uint_ge(attn_packed_bytes(packed), c->out * c->in * attn_dtype_bytes(c->dtype));
    const size_t out_stride = c->out + PAD, left_stride = c->in + PAD;
    float *left = random_floats(c->rows * left_stride), *bias = random_floats(c->out);
    float *gate = random_floats(c->rows * out_stride), *residual = random_floats(c->rows * out_stride);
    float *out = random_floats(c->rows * out_stride), *before = malloc((c->rows * out_stride + 1) * sizeof *before);
    ck_assert_ptr_nonnull(before);
    if (c->adds_in_place)
        memcpy(out, residual, c->rows * out_stride * sizeof *out);
    memcpy(before, out, c->rows * out_stride * sizeof *out);
    const struct attn_linear linear = {
        .rows = c->rows,
        .left = left,
        .left_stride = (ptrdiff_t)left_stride,
        .bias = c->has_bias ? bias : NULL,
        .activation = c->activation,
        .gate = c->has_gate ? gate : NULL,
        .gate_stride = (ptrdiff_t)out_stride,
        .residual = !c->has_residual   ? NULL
                    : c->adds_in_place ? out
                                       : residual,
        .residual_stride = (ptrdiff_t)out_stride,
        .out = out,
        .out_stride = (ptrdiff_t)out_stride,
    };
    ck_assert_int_eq(attn_packed_apply(packed, &linear, NULL), ATTN_OK);
    const long double tolerance = 0x1p-23L * (long double)(c->in + 8);
    for (size_t i = 0; i < c->rows; i++)
        for (size_t j = 0; j < out_stride; j++) {
            const long double found = (long double)out[i * out_stride + j];
            const long double wanted = j >= c->out
                                           ? (long double)before[i * out_stride + j]
                                           : expected(c, &linear, weight, c->has_residual ? residual : NULL, i, j);
            ck_assert_msg(fabsl(found - wanted) <= (j >= c->out ? 0 : tolerance),
                          "%zu x %zu x %zu, dtype %d, activation %d (%zu, %zu): %.9Lg, not %.9Lg", c->rows, c->out,
                          c->in, (int)c->dtype, (int)c->activation, i, j, found, wanted);
        }
    attn_packed_destroy(packed);
    free(view.data);
    free(weight);
    free(left);
    free(bias);
    free(gate);
    free(residual);
    free(out);
    free(before);
}

START_TEST(packed_products_are_right_at_awkward_sizes) {
    static const size_t sizes[][3] = {{1, 1, 1},     {1, 33, 7},   {2, 31, 64},  {3, 32, 100}, {5, 65, 17},
                                      {7, 16, 300},  {13, 40, 33}, {14, 8, 257}, {15, 64, 16}, {29, 100, 50},
                                      {43, 33, 257}, {130, 70, 9}, {1, 5, 0},    {0, 5, 5},    {5, 0, 5}};
    static const attn_dtype dtypes[] = {ATTN_FLOAT32, ATTN_FLOAT16, ATTN_BFLOAT16};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++)
            for (unsigned parts = 0; parts < 12; parts += s < 6 ? 1 : 3) {
                const struct layout c = {.rows = sizes[s][0],
                                         .out = sizes[s][1],
                                         .in = sizes[s][2],
                                         .dtype = dtypes[d],
                                         .activation = (attn_activation)(parts % ATTN_ACTIVATION_COUNT),
                                         .has_bias = (parts & 1U) != 0,
                                         .has_gate = (parts & 2U) != 0,
                                         .has_residual = parts >= 4,
                                         .adds_in_place = parts >= 8};
                const struct attn_kernels *table;
                for (size_t t = 0; (table = attn_kernels_at(t)) != NULL; t++)
                    if (table->is_supported())
                        check_layout(&c, table);
            }
}
END_TEST

/* A product larger than a tile, a block and the inputs that are multiplied at a time. */
enum { LARGE_ROWS = 150, LARGE_OUT = 611, LARGE_IN = 1100 };

struct large {
    float *weight, *left, *out;
    struct attn_packed *packed;
    struct attn_linear linear;
};

static void large_init(struct large *large) {
    large->weight = random_floats((size_t)LARGE_OUT * LARGE_IN);
    large->left = random_floats((size_t)LARGE_ROWS * LARGE_IN);
    large->out = random_floats((size_t)LARGE_ROWS * LARGE_OUT);
    const struct attn_view view = {
        .data = large->weight, .rank = 2, .shape = {LARGE_OUT, LARGE_IN}, .stride = {LARGE_IN, 1}};
    ck_assert_int_eq(attn_packed_create(&large->packed, &view), ATTN_OK);
    large->linear = (struct attn_linear){.rows = LARGE_ROWS,
                                         .left = large->left,
                                         .left_stride = LARGE_IN,
                                         .activation = ATTN_ACTIVATION_GELU,
                                         .out = large->out,
                                         .out_stride = LARGE_OUT};
}

static void large_reset(struct large *large) {
    attn_packed_destroy(large->packed);
    free(large->weight);
    free(large->left);
    free(large->out);
}

/* Lanes one after another, last task first. */
static void run_backwards(void *self, size_t task_count, attn_task task, void *argument) {
    const size_t width = *(size_t *)self;
    for (size_t i = task_count; i-- > 0;)
        task(argument, i, i % width);
}

START_TEST(the_same_bits_come_out_on_any_number_of_lanes) {
    struct large large;
    large_init(&large);
    float *alone = malloc(LARGE_ROWS * LARGE_OUT * sizeof *alone);
    ck_assert_ptr_nonnull(alone);
    for (size_t rows = 1; rows <= LARGE_ROWS; rows += 149) {
        large.linear.rows = rows;
        ck_assert_int_eq(attn_packed_apply(large.packed, &large.linear, NULL), ATTN_OK);
        memcpy(alone, large.out, rows * LARGE_OUT * sizeof *alone);
        for (size_t i = 0; i < rows; i++)
            for (size_t j = 0; j < LARGE_OUT; j += 61) {
                long double sum = 0;
                for (size_t d = 0; d < LARGE_IN; d++)
                    sum += (long double)large.left[i * LARGE_IN + d] * (long double)large.weight[j * LARGE_IN + d];
                ck_assert_ldouble_eq_tol((long double)alone[i * LARGE_OUT + j], activated(ATTN_ACTIVATION_GELU, sum),
                                         1e-4L);
            }
        for (size_t lanes = 1; lanes <= 9; lanes += 4) {
            const struct attn_executor executor = {.width = lanes, .run = run_backwards, .self = &lanes};
            const struct attn_execution execution = {.executor = &executor};
            memset(large.out, 0, rows * LARGE_OUT * sizeof *large.out);
            ck_assert_int_eq(attn_packed_apply(large.packed, &large.linear, &execution), ATTN_OK);
            ck_assert_mem_eq(large.out, alone, rows * LARGE_OUT * sizeof *alone);
        }
    }
    free(alone);
    large_reset(&large);
}
END_TEST

static bool is_cancelled_at_0(void *context) {
    size_t *left = context;
    return *left == 0 || --*left == 0;
}

START_TEST(cancellation_is_asked_between_tiles) {
    struct large large;
    large_init(&large);
    size_t left = 3;
    const struct attn_execution execution = {.is_cancelled = is_cancelled_at_0, .cancel_context = &left};
    const float untouched = large.out[LARGE_ROWS * LARGE_OUT - 1];
    ck_assert_int_eq(attn_packed_apply(large.packed, &large.linear, &execution), ATTN_ECANCELLED);
    ck_assert_float_eq(large.out[LARGE_ROWS * LARGE_OUT - 1], untouched);
    large_reset(&large);
}
END_TEST

START_TEST(what_is_not_finite_stays_in_its_row_and_column) {
    enum { OUT = 40, IN = 20, ROWS = 16 };
    float *weight = random_floats(OUT * IN), *left = random_floats(ROWS * IN), out[ROWS * OUT];
    weight[33 * IN + 2] = INFINITY;
    left[3 * IN + 7] = NAN;
    left[5 * IN + 2] = 0;
    const struct attn_view view = {.data = weight, .rank = 2, .shape = {OUT, IN}, .stride = {IN, 1}};
    struct attn_packed *packed;
    ck_assert_int_eq(attn_packed_create(&packed, &view), ATTN_OK);
    const struct attn_linear linear = {.rows = ROWS, .left = left, .left_stride = IN, .out = out, .out_stride = OUT};
    ck_assert_int_eq(attn_packed_apply(packed, &linear, NULL), ATTN_OK);
    for (size_t i = 0; i < ROWS; i++)
        for (size_t j = 0; j < OUT; j++) {
            if (i == 3 || (i == 5 && j == 33))
                ck_assert(isnan(out[i * OUT + j]));
            else
                ck_assert((isinf(out[i * OUT + j]) != 0) == (j == 33));
        }
    attn_packed_destroy(packed);
    free(weight);
    free(left);
}
END_TEST

START_TEST(weights_may_be_strided_any_way) {
    enum { OUT = 37, IN = 21, ROWS = 6 };
    float *weight = random_floats(OUT * IN), *left = random_floats(ROWS * IN), out[ROWS * OUT];
    struct attn_view turned = {
        .data = weight, .dtype = ATTN_FLOAT32, .rank = 2, .shape = {OUT, IN}, .stride = {1, OUT}};
    struct attn_packed *packed;
    ck_assert_int_eq(attn_packed_create(&packed, &turned), ATTN_OK);
    const struct attn_linear linear = {.rows = ROWS, .left = left, .left_stride = IN, .out = out, .out_stride = OUT};
    ck_assert_int_eq(attn_packed_apply(packed, &linear, NULL), ATTN_OK);
    for (size_t i = 0; i < ROWS; i++)
        for (size_t j = 0; j < OUT; j++) {
            double sum = 0;
            for (size_t d = 0; d < IN; d++)
                sum += (double)left[i * IN + d] * (double)weight[d * OUT + j];
            ck_assert_double_eq_tol((double)out[i * OUT + j], sum, 1e-5);
        }
    attn_packed_destroy(packed);
    free(weight);
    free(left);
}
END_TEST

START_TEST(weights_that_are_not_floating_are_refused) {
    int64_t weight[4] = {0};
    struct attn_view view = {.data = weight, .dtype = ATTN_INT64, .rank = 2, .shape = {2, 2}, .stride = {2, 1}};
    struct attn_packed *packed;
    ck_assert_int_eq(attn_packed_create(&packed, &view), ATTN_EDTYPE);
    attn_packed_destroy(NULL);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kernels_packed");
    TCase *tests = tcase_create("packed");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, packed_products_are_right_at_awkward_sizes);
    tcase_add_test(tests, the_same_bits_come_out_on_any_number_of_lanes);
    tcase_add_test(tests, cancellation_is_asked_between_tiles);
    tcase_add_test(tests, what_is_not_finite_stays_in_its_row_and_column);
    tcase_add_test(tests, weights_may_be_strided_any_way);
    tcase_add_test(tests, weights_that_are_not_floating_are_refused);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
