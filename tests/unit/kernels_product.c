/* Matrix products of every table, and of BLAS behind them, against sums in long double. */
#include "lib/kernels/kernels.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <pthread.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const size_t shapes[][3] = {
    {1, 1, 1},  {1, 7, 64},  {2, 33, 17},  {3, 16, 8},   {4, 17, 8},   {5, 15, 130}, {8, 8, 8},
    {9, 31, 3}, {13, 65, 1}, {16, 64, 16}, {33, 40, 50}, {64, 64, 64}, {128, 70, 9}, {7, 200, 129},
};
enum { SHAPE_COUNT = sizeof shapes / sizeof *shapes, PAD = 3 };

static unsigned random_state = 99;

static void *matrix(attn_dtype dtype, size_t elements) {
    double *data = calloc(elements + 1, sizeof *data);
    ck_assert_ptr_nonnull(data);
    for (size_t i = 0; i < elements; i++) {
        random_state = random_state * 1664525U + 1013904223U;
        double value = (double)(random_state >> 8) / (double)(1 << 23) - 1;
        if (dtype == ATTN_FLOAT64)
            data[i] = value;
        else
            ((float *)data)[i] = (float)value;
    }
    return data;
}

static double get(const void *data, attn_dtype dtype, ptrdiff_t i) {
    return dtype == ATTN_FLOAT64 ? ((const double *)data)[i] : (double)((const float *)data)[i];
}

static double expected(const struct attn_product *p, attn_dtype dtype, size_t row, size_t column, bool transposed) {
    long double sum = 0;
    for (size_t d = 0; d < p->depth; d++) {
        ptrdiff_t right = transposed ? (ptrdiff_t)column * p->right_stride + (ptrdiff_t)d
                                     : (ptrdiff_t)d * p->right_stride + (ptrdiff_t)column;
        sum += (long double)get(p->left, dtype, (ptrdiff_t)row * p->left_stride + (ptrdiff_t)d) *
               (long double)get(p->right, dtype, right);
    }
    return (double)sum * p->factor;
}

typedef void (*multiply)(const struct attn_row_kernels *kernels, attn_dtype dtype, const struct attn_product *product);

static void own_transposed(const struct attn_row_kernels *kernels, attn_dtype dtype, const struct attn_product *p) {
    (void)dtype;
    kernels->product_transposed(p);
}

static void own_plain(const struct attn_row_kernels *kernels, attn_dtype dtype, const struct attn_product *p) {
    (void)dtype;
    kernels->product_plain(p);
}

static void check_product(multiply function, const struct attn_row_kernels *kernels, attn_dtype dtype,
                          const size_t *shape, bool transposed, bool accumulate) {
    struct attn_product p = {.rows = shape[0], .columns = shape[1], .depth = shape[2], .factor = accumulate ? 1 : 0.3};
    const size_t right_rows = transposed ? p.columns : p.depth, right_width = transposed ? p.depth : p.columns;
    p.left_stride = (ptrdiff_t)p.depth + PAD;
    p.right_stride = (ptrdiff_t)right_width + PAD;
    p.out_stride = (ptrdiff_t)p.columns + PAD;
    p.left = matrix(dtype, p.rows * (p.depth + PAD));
    p.right = matrix(dtype, right_rows * (right_width + PAD));
    p.out = matrix(dtype, p.rows * (p.columns + PAD));
    p.accumulate = accumulate;
    void *before = matrix(dtype, p.rows * (p.columns + PAD));
    memcpy(before, p.out, p.rows * (p.columns + PAD) * attn_dtype_bytes(dtype));
    function(kernels, dtype, &p);
    const double tolerance = (dtype == ATTN_FLOAT64 ? 0x1p-52 : 0x1p-23) * (double)(p.depth + 2);
    for (size_t i = 0; i < p.rows; i++)
        for (size_t j = 0; j < p.columns + PAD; j++) {
            ptrdiff_t at = (ptrdiff_t)(i * (p.columns + PAD) + j);
            double start = get(before, dtype, at);
            double wanted = j >= p.columns ? start : expected(&p, dtype, i, j, transposed) + (accumulate ? start : 0);
            ck_assert_msg(fabs(get(p.out, dtype, at) - wanted) <= (j >= p.columns ? 0 : tolerance),
                          "%zu x %zu x %zu (%zu, %zu): %.17g, not %.17g", p.rows, p.columns, p.depth, i, j,
                          get(p.out, dtype, at), wanted);
        }
    free((void *)(uintptr_t)p.left);
    free((void *)(uintptr_t)p.right);
    free(p.out);
    free(before);
}

static void check_all(multiply function, bool transposed) {
    const struct attn_kernels *table;
    for (size_t t = 0; (table = attn_kernels_at(t)) != NULL; t++) {
        if (!table->is_supported())
            continue;
        for (size_t s = 0; s < SHAPE_COUNT; s++)
            for (int accumulate = 0; accumulate < 2; accumulate++) {
                check_product(function, table->float32, ATTN_FLOAT32, shapes[s], transposed, accumulate);
                check_product(function, table->float64, ATTN_FLOAT64, shapes[s], transposed, accumulate);
            }
    }
}

START_TEST(own_products_with_a_transposed_right_factor_are_right) {
    check_all(own_transposed, true);
}
END_TEST

START_TEST(own_plain_products_are_right) {
    check_all(own_plain, false);
}
END_TEST

START_TEST(products_by_blas_or_own_loops_are_right_whatever_is_chosen) {
    check_all(attn_product_transposed, true);
    check_all(attn_product_plain, false);
}
END_TEST

START_TEST(blas_is_right_at_the_sizes_of_attention) {
    static const size_t large[][3] = {{128, 512, 64}, {128, 64, 512}, {100, 384, 384}, {64, 1000, 96}, {512, 768, 77}};
    const struct attn_kernels *table = attn_kernels_picked();
    for (size_t s = 0; s < sizeof large / sizeof *large; s++)
        for (int transposed = 0; transposed < 2; transposed++) {
            multiply function = transposed ? attn_product_transposed : attn_product_plain;
            check_product(function, table->float32, ATTN_FLOAT32, large[s], transposed, false);
            check_product(function, table->float64, ATTN_FLOAT64, large[s], transposed, true);
        }
}
END_TEST

START_TEST(a_factor_of_zero_still_lets_nan_through) {
    float left[4 * 64], right[4 * 64], out[16];
    for (size_t i = 0; i < 4 * 64; i++)
        left[i] = right[i] = 1;
    right[3] = NAN;
    const struct attn_product p = {.rows = 4,
                                   .columns = 4,
                                   .depth = 64,
                                   .factor = 0,
                                   .left = left,
                                   .left_stride = 64,
                                   .right = right,
                                   .right_stride = 64,
                                   .out = out,
                                   .out_stride = 4};
    attn_product_transposed(attn_kernels_picked()->float32, ATTN_FLOAT32, &p);
    for (size_t i = 0; i < 16; i++)
        ck_assert(i % 4 == 0 ? isnan(out[i]) : out[i] == 0);
}
END_TEST

/* Small whole numbers: every order of summing gives the same product, to the bit. Large enough for OpenBLAS to take a
 * work buffer. */
enum { CROWD = 8, CROWD_ROUNDS = 4000, CROWD_ROWS = 37, CROWD_COLUMNS = 384, CROWD_DEPTH = 384 };
static float crowd_left[CROWD_ROWS * CROWD_DEPTH], crowd_right[CROWD_COLUMNS * CROWD_DEPTH];
static float crowd_expected[CROWD_ROWS * CROWD_COLUMNS];

static void multiply_for_crowd(float *out) {
    const struct attn_product product = {.rows = CROWD_ROWS,
                                         .columns = CROWD_COLUMNS,
                                         .depth = CROWD_DEPTH,
                                         .factor = 1,
                                         .left = crowd_left,
                                         .left_stride = CROWD_DEPTH,
                                         .right = crowd_right,
                                         .right_stride = CROWD_DEPTH,
                                         .out = out,
                                         .out_stride = CROWD_COLUMNS};
    attn_product_transposed(attn_kernels_for(attn_kernels_picked(), ATTN_FLOAT32), ATTN_FLOAT32, &product);
}

static void *count_wrong_products(void *argument) {
    size_t *wrong = argument;
    static _Thread_local float out[CROWD_ROWS * CROWD_COLUMNS];
    for (int round = 0; round < CROWD_ROUNDS; round++) {
        multiply_for_crowd(out);
        *wrong += memcmp(out, crowd_expected, sizeof out) != 0;
    }
    return NULL;
}

/* An OpenBLAS without locks gives some of them a buffer that another is using. */
START_TEST(a_crowd_of_threads_gets_right_products) {
    for (int i = 0; i < CROWD_ROWS * CROWD_DEPTH; i++)
        crowd_left[i] = (float)(i % 7 - 3);
    for (int i = 0; i < CROWD_COLUMNS * CROWD_DEPTH; i++)
        crowd_right[i] = (float)(i % 5 - 2);
    for (int row = 0; row < CROWD_ROWS; row++)
        for (int column = 0; column < CROWD_COLUMNS; column++)
            for (int k = 0; k < CROWD_DEPTH; k++)
                crowd_expected[row * CROWD_COLUMNS + column] +=
                    crowd_left[row * CROWD_DEPTH + k] * crowd_right[column * CROWD_DEPTH + k];
    pthread_t threads[CROWD];
    size_t wrong[CROWD] = {0};
    for (int i = 0; i < CROWD; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count_wrong_products, &wrong[i]), 0);
    for (int i = 0; i < CROWD; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < CROWD; i++)
        ck_assert_uint_eq(wrong[i], 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("matrix products");
    TCase *tests = tcase_create("products");
    tcase_add_test(tests, own_products_with_a_transposed_right_factor_are_right);
    tcase_add_test(tests, own_plain_products_are_right);
    tcase_add_test(tests, products_by_blas_or_own_loops_are_right_whatever_is_chosen);
    tcase_add_test(tests, blas_is_right_at_the_sizes_of_attention);
    tcase_add_test(tests, a_crowd_of_threads_gets_right_products);
    tcase_add_test(tests, a_factor_of_zero_still_lets_nan_through);
    tcase_set_timeout(tests, 60);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
