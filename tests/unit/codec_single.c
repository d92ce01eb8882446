#include "server/codec/single.h"
#include "tests/unit/run_suite.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct arena *arena;

static void setup(void) {
    arena = arena_create();
}

static void teardown(void) {
    arena_destroy(arena);
}

static char *pull(struct single_encoder *encoder, size_t capacity, size_t *length) {
    char *all = calloc(1, 65536 + capacity);
    *length = 0;
    for (size_t count; (count = single_encoder_next(encoder, all + *length, capacity)) > 0; *length += count) {
        ck_assert_uint_le(count, capacity);
        ck_assert_uint_lt(*length + count, 65536);
    }
    all[*length] = '\0'; /* printing may leave bytes behind the ones it counts */
    return all;
}

static void check_csv(const struct attn_view *view, int digits, const char *expected) {
    size_t length;
    char *text = pull(single_encoder_create(arena, SINGLE_CSV, view, digits), 4096, &length);
    ck_assert_str_eq(text, expected);
    free(text);
}

START_TEST(csv_has_a_line_a_row) {
    float data[] = {1, 2.5F, (float)NAN, -INFINITY, INFINITY, 1e-9F, 7, 1.0F / 3};
    struct attn_view view = attn_view_contiguous(data, ATTN_FLOAT32, 2, (size_t[]){2, 4});
    check_csv(&view, 0, "1.0,2.5,nan,-inf\r\ninf,1e-9,7.0,0.33333334\r\n");
    check_csv(&view, 2, "1.0,2.5,nan,-inf\r\ninf,1e-9,7.0,0.33\r\n");
    view = attn_view_contiguous(data, ATTN_FLOAT32, 1, (size_t[]){2});
    check_csv(&view, 0, "1.0,2.5\r\n");
    view = attn_view_contiguous(data, ATTN_FLOAT32, 3, (size_t[]){2, 2, 1});
    check_csv(&view, 0, "1.0\r\n2.5\r\nnan\r\n-inf\r\n");
    struct attn_view transposed = {.data = data, .dtype = ATTN_FLOAT32, .rank = 2, .shape = {2, 2}, .stride = {1, 6}};
    check_csv(&transposed, 0, "1.0,7.0\r\n2.5,0.33333334\r\n");
    int64_t integers[] = {1, -2};
    view = attn_view_contiguous(integers, ATTN_INT64, 1, (size_t[]){2});
    check_csv(&view, 0, "1,-2\r\n");
}
END_TEST

START_TEST(npy_headers_are_as_numpy_writes_them) {
    float data[] = {1, 2, 3, 4, 5, 6};
    static const struct {
        int rank;
        size_t shape[3];
        const char *header;
    } rows[] = {{1, {6}, "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }"},
                {2, {2, 3}, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"},
                {3, {1, 2, 3}, "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 3), }"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct attn_view view = attn_view_contiguous(data, ATTN_FLOAT32, rows[i].rank, rows[i].shape);
        struct single_encoder *encoder = single_encoder_create(arena, SINGLE_NPY, &view, 0);
        size_t length, promised = (size_t)single_encoder_length(encoder);
        char *bytes = pull(encoder, 64, &length);
        ck_assert_uint_eq(length, promised);
        ck_assert_uint_eq(length, 128 + sizeof data);
        ck_assert_mem_eq(bytes, "\x93NUMPY\x01\x00\x76\x00", 10); /* 128 - 10 bytes of header */
        ck_assert_mem_eq(bytes + 10, rows[i].header, strlen(rows[i].header));
        for (size_t j = 10 + strlen(rows[i].header); j < 127; j++) {
            ck_assert_int_eq(bytes[j], ' ');
        }
        ck_assert_int_eq(bytes[127], '\n');
        ck_assert_mem_eq(bytes + 128, data, sizeof data);
        free(bytes);
    }
}
END_TEST

START_TEST(npy_names_every_dtype) {
    static const struct {
        attn_dtype dtype;
        const char *descr;
        size_t bytes;
    } rows[] = {{ATTN_FLOAT64, "'<f8'", 8}, {ATTN_FLOAT16, "'<f2'", 2}, {ATTN_INT64, "'<i8'", 8},
                {ATTN_INT32, "'<i4'", 4},   {ATTN_UINT8, "'|u1'", 1},   {ATTN_BOOL, "'|b1'", 1},
                {ATTN_BFLOAT16, "'<f4'", 4}};
    uint64_t zeros[2] = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct attn_view view = attn_view_contiguous(zeros, rows[i].dtype, 1, (size_t[]){2});
        size_t length;
        char *bytes = pull(single_encoder_create(arena, SINGLE_NPY, &view, 0), 4096, &length);
        ck_assert_mem_eq(bytes + 20, rows[i].descr, 5);
        ck_assert_uint_eq(length, 128 + 2 * rows[i].bytes);
        free(bytes);
    }
}
END_TEST

START_TEST(raw_bytes_are_row_major) {
    float data[] = {1, 2, 3, 4, 5, 6};
    struct attn_view view = {.data = data, .dtype = ATTN_FLOAT32, .rank = 2, .shape = {2, 3}, .stride = {1, 2}};
    struct single_encoder *encoder = single_encoder_create(arena, SINGLE_RAW, &view, 0);
    ck_assert_uint_eq(single_encoder_length(encoder), sizeof data);
    size_t length;
    char *bytes = pull(encoder, 4096, &length);
    ck_assert_uint_eq(length, sizeof data);
    ck_assert_mem_eq(bytes, ((float[]){1, 3, 5, 2, 4, 6}), sizeof data);
    free(bytes);
}
END_TEST

START_TEST(the_bytes_are_the_same_whatever_the_capacity) {
    float data[900];
    for (size_t i = 0; i < 900; i++) {
        data[i] = i % 97 == 0 ? (float)NAN : (float)sin((double)i * 1e3);
    }
    struct attn_view view = {
        .data = data, .dtype = ATTN_FLOAT32, .rank = 3, .shape = {3, 20, 7}, .stride = {280, 14, _i}};
    for (int format = SINGLE_NPY; format <= SINGLE_CSV; format++) {
        size_t expected_length, length;
        char *expected =
            pull(single_encoder_create(arena, (enum single_format)format, &view, 0), 60000, &expected_length);
        for (size_t capacity = 64; capacity < 1000; capacity += capacity < 130 ? 1 : 53) {
            char *bytes = pull(single_encoder_create(arena, (enum single_format)format, &view, 0), capacity, &length);
            ck_assert_uint_eq(length, expected_length);
            ck_assert_mem_eq(bytes, expected, length);
            free(bytes);
        }
        free(expected);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("single");
    TCase *tests = tcase_create("single");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, csv_has_a_line_a_row);
    tcase_add_test(tests, npy_headers_are_as_numpy_writes_them);
    tcase_add_test(tests, npy_names_every_dtype);
    tcase_add_test(tests, raw_bytes_are_row_major);
    tcase_add_loop_test(tests, the_bytes_are_the_same_whatever_the_capacity, 1, 3);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
