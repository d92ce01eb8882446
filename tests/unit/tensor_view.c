#include "lib/tensor/error.h"
#include "lib/tensor/shape.h"
#include "tests/unit/run_suite.h"
#include <attn/tensor.h>

#include <check.h>
#include <stdlib.h>
#include <string.h>

START_TEST(every_dtype_has_a_name_that_parses_back) {
    static const struct {
        attn_dtype dtype;
        const char *name, *short_name;
        size_t bytes;
        bool floating;
    } rows[] = {
        {ATTN_FLOAT32, "float32", "F32", 4, true}, {ATTN_FLOAT64, "float64", "F64", 8, true},
        {ATTN_FLOAT16, "float16", "F16", 2, true}, {ATTN_BFLOAT16, "bfloat16", "BF16", 2, true},
        {ATTN_INT64, "int64", "I64", 8, false},    {ATTN_INT32, "int32", "I32", 4, false},
        {ATTN_UINT8, "uint8", "U8", 1, false},     {ATTN_BOOL, "bool", "BOOL", 1, false},
    };
    attn_dtype parsed;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ck_assert_str_eq(attn_dtype_name(rows[i].dtype), rows[i].name);
        ck_assert_uint_eq(attn_dtype_bytes(rows[i].dtype), rows[i].bytes);
        ck_assert(attn_dtype_is_floating(rows[i].dtype) == rows[i].floating);
        ck_assert(attn_dtype_parse(rows[i].name, &parsed) && parsed == rows[i].dtype);
        ck_assert(attn_dtype_parse(rows[i].short_name, &parsed) && parsed == rows[i].dtype);
    }
    ck_assert(!attn_dtype_parse("float8", &parsed));
    ck_assert(!attn_dtype_parse("", &parsed));
}
END_TEST

START_TEST(a_product_that_overflows_is_refused_and_left_alone) {
    size_t product = 7;
    ck_assert(attn_size_product((size_t[]){2, 3, 4}, 3, &product));
    ck_assert_uint_eq(product, 24);
    ck_assert(attn_size_product(NULL, 0, &product));
    ck_assert_uint_eq(product, 1);
    product = 7;
    ck_assert(!attn_size_product((size_t[]){SIZE_MAX / 2, 3}, 2, &product));
    ck_assert_uint_eq(product, 7);
    ck_assert(attn_size_product((size_t[]){SIZE_MAX, 1, 0}, 3, &product));
    ck_assert_uint_eq(product, 0);
}
END_TEST

START_TEST(a_contiguous_view_has_row_major_strides) {
    float data[24];
    struct attn_view view = attn_view_contiguous(data, ATTN_FLOAT32, 3, (size_t[]){2, 3, 4});
    ck_assert_int_eq(view.stride[0], 12);
    ck_assert_int_eq(view.stride[1], 4);
    ck_assert_int_eq(view.stride[2], 1);
    ck_assert_uint_eq(attn_view_elements(&view), 24);
    ck_assert(attn_view_is_contiguous(&view));
    view.stride[1] = 5;
    ck_assert(!attn_view_is_contiguous(&view));
    view.shape[1] = 1;
    view.stride[0] = 4;
    ck_assert_msg(attn_view_is_contiguous(&view), "the stride of an axis of 1 does not matter");
}
END_TEST

START_TEST(broadcast_aligns_at_the_right_and_repeats_by_stride_0) {
    float data[12];
    struct attn_view view = attn_view_contiguous(data, ATTN_FLOAT32, 3, (size_t[]){3, 1, 4}), out;
    const size_t shape[] = {2, 3, 5, 4};
    ck_assert_int_eq(attn_view_broadcast(&view, 4, shape, "attn_mask", &out, NULL), ATTN_OK);
    ck_assert_int_eq(out.rank, 4);
    ck_assert(memcmp(out.shape, shape, sizeof shape) == 0);
    ck_assert_int_eq(out.stride[0], 0);
    ck_assert_int_eq(out.stride[1], 4);
    ck_assert_int_eq(out.stride[2], 0);
    ck_assert_int_eq(out.stride[3], 1);
    ck_assert_ptr_eq(out.data, data);
}
END_TEST

START_TEST(broadcast_of_a_wrong_shape_names_field_and_shapes) {
    float data[8];
    struct attn_view view = attn_view_contiguous(data, ATTN_FLOAT32, 2, (size_t[]){2, 4}), out;
    struct attn_error error;
    ck_assert_int_eq(attn_view_broadcast(&view, 2, (size_t[]){3, 4}, "attn_mask", &out, &error), ATTN_ESHAPE);
    ck_assert_int_eq(error.status, ATTN_ESHAPE);
    ck_assert_str_eq(error.field, "attn_mask");
    ck_assert_str_eq(error.message, "expected a shape that broadcasts to (3, 4), found (2, 4)");
    ck_assert_int_eq(attn_view_broadcast(&view, 1, (size_t[]){4}, "attn_mask", &out, &error), ATTN_ESHAPE);
}
END_TEST

START_TEST(split_heads_moves_no_data) {
    float data[2 * 3 * 8];
    struct attn_view view = attn_view_contiguous(data, ATTN_FLOAT32, 3, (size_t[]){2, 3, 8}), out;
    ck_assert_int_eq(attn_view_split_heads(&view, 4, "query", &out, NULL), ATTN_OK);
    ck_assert(memcmp(out.shape, (size_t[]){2, 4, 3, 2}, 4 * sizeof(size_t)) == 0);
    ck_assert(memcmp(out.stride, (ptrdiff_t[]){24, 2, 8, 1}, 4 * sizeof(ptrdiff_t)) == 0);
    view = attn_view_contiguous(data, ATTN_FLOAT32, 2, (size_t[]){3, 8});
    ck_assert_int_eq(attn_view_split_heads(&view, 2, "query", &out, NULL), ATTN_OK);
    ck_assert(memcmp(out.shape, (size_t[]){1, 2, 3, 4}, 4 * sizeof(size_t)) == 0);
}
END_TEST

START_TEST(split_heads_refuses_widths_and_ranks_that_do_not_fit) {
    float data[16];
    struct attn_error error;
    struct attn_view view = attn_view_contiguous(data, ATTN_FLOAT32, 2, (size_t[]){2, 8}), out;
    ck_assert_int_eq(attn_view_split_heads(&view, 3, "query", &out, &error), ATTN_ESHAPE);
    ck_assert_str_eq(error.message, "expected a last axis that is a multiple of the 3 heads, found (2, 8)");
    ck_assert_int_eq(attn_view_split_heads(&view, 0, "query", &out, &error), ATTN_ESHAPE);
    view = attn_view_contiguous(data, ATTN_FLOAT32, 1, (size_t[]){8});
    ck_assert_int_eq(attn_view_split_heads(&view, 2, "key", &out, &error), ATTN_ESHAPE);
    ck_assert_str_eq(error.field, "key");
}
END_TEST

START_TEST(the_longest_shape_fits_its_text) {
    char text[ATTN_SHAPE_TEXT];
    size_t shape[ATTN_MAX_RANK];
    for (int i = 0; i < ATTN_MAX_RANK; i++)
        shape[i] = SIZE_MAX;
    attn_shape_text(text, ATTN_MAX_RANK, shape);
    ck_assert_uint_eq(strlen(text), 8 * 20 + 7 * 2 + 2);
    ck_assert_str_eq(attn_shape_text(text, 0, shape), "()");
    ck_assert_str_eq(attn_shape_text(text, 1, (size_t[]){3}), "(3)");
}
END_TEST

START_TEST(a_failure_without_an_error_buffer_still_returns_its_status) {
    ck_assert_int_eq(attn_fail(NULL, ATTN_ERANGE, "scale", "no"), ATTN_ERANGE);
    struct attn_error error;
    ck_assert_int_eq(attn_fail(&error, ATTN_ENOMEM, NULL, "%d", 3), ATTN_ENOMEM);
    ck_assert_str_eq(error.field, "");
    ck_assert_str_eq(error.message, "3");
    ck_assert_str_eq(attn_status_name(ATTN_ESHAPE), "ATTN_ESHAPE");
    ck_assert_str_eq(attn_status_name((attn_status)99), "unknown status");
    ck_assert_str_eq(attn_version(), ATTN_VERSION);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("tensor views");
    TCase *tests = tcase_create("views");
    tcase_add_test(tests, every_dtype_has_a_name_that_parses_back);
    tcase_add_test(tests, a_product_that_overflows_is_refused_and_left_alone);
    tcase_add_test(tests, a_contiguous_view_has_row_major_strides);
    tcase_add_test(tests, broadcast_aligns_at_the_right_and_repeats_by_stride_0);
    tcase_add_test(tests, broadcast_of_a_wrong_shape_names_field_and_shapes);
    tcase_add_test(tests, split_heads_moves_no_data);
    tcase_add_test(tests, split_heads_refuses_widths_and_ranks_that_do_not_fit);
    tcase_add_test(tests, the_longest_shape_fits_its_text);
    tcase_add_test(tests, a_failure_without_an_error_buffer_still_returns_its_status);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
