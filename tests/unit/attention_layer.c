/* State dicts' names resolved to a layer. Names and shapes: torch.nn.MultiheadAttention's state_dict(). */
#include "tests/unit/run_suite.h"
#include <attn/layer.h>

#include <check.h>
#include <stdlib.h>
#include <string.h>

static float data[4096];

static struct attn_named_view named(const char *name, int rank, size_t a, size_t b, size_t c) {
    return (struct attn_named_view){name, attn_view_contiguous(data, ATTN_FLOAT32, rank, (size_t[]){a, b, c})};
}

static attn_status resolve(const struct attn_named_view *tensors, size_t count, size_t heads, size_t kv_heads,
                           struct attn_layer *layer, struct attn_error *error) {
    const struct attn_layer_config config = {.num_heads = heads, .num_kv_heads = kv_heads};
    memset(error, 0, sizeof *error);
    return attn_layer_resolve(tensors, count, &config, layer, error);
}

static size_t place(const struct attn_view *view) {
    return (size_t)((const float *)view->data - data);
}

START_TEST(a_packed_torch_layer_is_cut_into_three) {
    const struct attn_named_view tensors[] = {
        named("in_proj_weight", 2, 24, 8, 0), named("in_proj_bias", 1, 24, 0, 0), named("out_proj.weight", 2, 8, 8, 0),
        named("out_proj.bias", 1, 8, 0, 0),   named("bias_k", 3, 1, 1, 8),        named("bias_v", 3, 1, 1, 8),
    };
    struct attn_layer layer;
    struct attn_error error;
    ck_assert_int_eq(resolve(tensors, 6, 4, 0, &layer, &error), ATTN_OK);
    ck_assert_uint_eq(layer.num_heads, 4);
    ck_assert_uint_eq(layer.num_kv_heads, 4);
    ck_assert_uint_eq(layer.head_dim, 2);
    ck_assert_uint_eq(layer.value_head_dim, 2);
    ck_assert_uint_eq(layer.query_width, 8);
    ck_assert_uint_eq(layer.output_width, 8);
    ck_assert_uint_eq(place(&layer.q_weight), 0);
    ck_assert_uint_eq(place(&layer.k_weight), 64);
    ck_assert_uint_eq(place(&layer.v_weight), 128);
    ck_assert_uint_eq(layer.v_weight.shape[0], 8);
    ck_assert_uint_eq(place(&layer.v_bias), 16);
    ck_assert_int_eq(layer.bias_k.rank, 1);
    ck_assert_uint_eq(layer.bias_k.shape[0], 8);
}
END_TEST

START_TEST(grouped_heads_pack_narrower_keys_and_values) {
    const struct attn_named_view tensors[] = {named("in_proj_weight", 2, 16, 8, 0)};
    struct attn_layer layer;
    struct attn_error error;
    ck_assert_int_eq(resolve(tensors, 1, 4, 2, &layer, &error), ATTN_OK);
    ck_assert_uint_eq(layer.head_dim, 2);
    ck_assert_uint_eq(layer.q_weight.shape[0], 8);
    ck_assert_uint_eq(layer.k_weight.shape[0], 4);
    ck_assert_uint_eq(place(&layer.v_weight), 12 * 8);
    ck_assert_ptr_null(layer.q_bias.data);
    ck_assert_ptr_null(layer.out_weight.data);
    ck_assert_uint_eq(layer.output_width, 8);
}
END_TEST

START_TEST(torch_layers_with_kdim_and_vdim_come_apart) {
    const struct attn_named_view tensors[] = {
        named("q_proj_weight", 2, 8, 8, 0), named("k_proj_weight", 2, 8, 5, 0),   named("v_proj_weight", 2, 8, 3, 0),
        named("in_proj_bias", 1, 24, 0, 0), named("out_proj.weight", 2, 8, 8, 0), named("out_proj.bias", 1, 8, 0, 0),
    };
    struct attn_layer layer;
    struct attn_error error;
    ck_assert_int_eq(resolve(tensors, 6, 2, 0, &layer, &error), ATTN_OK);
    ck_assert_uint_eq(layer.query_width, 8);
    ck_assert_uint_eq(layer.key_width, 5);
    ck_assert_uint_eq(layer.value_width, 3);
    ck_assert_uint_eq(place(&layer.k_bias), 8);
}
END_TEST

START_TEST(hand_written_names_of_every_family_are_taken) {
    static const char *const families[][4] = {
        {"q_linear.weight", "k_linear.weight", "v_linear.weight", "out_linear.weight"},
        {"q_proj.weight", "k_proj.weight", "v_proj.weight", "out_proj.weight"},
        {"q_proj.weight", "k_proj.weight", "v_proj.weight", "o_proj.weight"},
        {"wq.weight", "wk.weight", "wv.weight", "wo.weight"},
        {"query.weight", "key.weight", "value.weight", "out.weight"},
    };
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        const struct attn_named_view tensors[] = {
            named(families[f][3], 2, 9, 12, 0),
            named(families[f][1], 2, 4, 6, 0),
            named(families[f][0], 2, 8, 6, 0),
            named(families[f][2], 2, 6, 7, 0),
        };
        struct attn_layer layer;
        struct attn_error error;
        ck_assert_msg(resolve(tensors, 4, 4, 2, &layer, &error) == ATTN_OK, "%s: %s", error.field, error.message);
        ck_assert_uint_eq(layer.head_dim, 2);
        ck_assert_uint_eq(layer.value_head_dim, 3);
        ck_assert_uint_eq(layer.output_width, 9);
        ck_assert_uint_eq(layer.value_width, 7);
    }
}
END_TEST

static void expect_failure(const struct attn_named_view *tensors, size_t count, size_t heads, size_t kv_heads,
                           attn_status status, const char *field, const char *message) {
    struct attn_layer layer;
    struct attn_error error;
    ck_assert_int_eq(resolve(tensors, count, heads, kv_heads, &layer, &error), status);
    ck_assert_str_eq(error.field, field);
    ck_assert_str_eq(error.message, message);
}

START_TEST(what_does_not_fit_is_named) {
    const struct attn_named_view q = named("q_proj.weight", 2, 8, 8, 0), k = named("k_proj.weight", 2, 8, 8, 0),
                                 v = named("v_proj.weight", 2, 8, 8, 0), out = named("out_proj.weight", 2, 8, 7, 0),
                                 short_k = named("k_proj.weight", 2, 6, 8, 0),
                                 flat = named("v_proj.weight", 1, 8, 0, 0), bias = named("q_proj.bias", 1, 7, 0, 0),
                                 packed = named("in_proj_weight", 2, 23, 8, 0);
    struct attn_named_view integers = v, wide = v, empty = v;
    integers.view.dtype = ATTN_INT64;
    wide.view.dtype = ATTN_FLOAT64;
    empty.view.shape[1] = 0;
    expect_failure(&q, 1, 0, 0, ATTN_ERANGE, "num_heads", "expected a number of heads of at least 1, found 0");
    expect_failure(&q, 1, 4, 3, ATTN_ERANGE, "num_kv_heads", "expected a divisor of the 4 heads, found 3");
    expect_failure((struct attn_named_view[]){q, k}, 2, 2, 0, ATTN_ECONFLICT, "v_proj.weight", "the tensor is missing");
    expect_failure((struct attn_named_view[]){q, q}, 2, 2, 0, ATTN_ECONFLICT, "q_proj.weight",
                   "the name was given twice");
    expect_failure((struct attn_named_view[]){q, k, integers}, 3, 2, 0, ATTN_EDTYPE, "v_proj.weight",
                   "expected float32 or float64, found int64");
    expect_failure((struct attn_named_view[]){q, k, wide}, 3, 2, 0, ATTN_EDTYPE, "v_proj.weight",
                   "expected float32 like the tensors before it, found float64");
    expect_failure((struct attn_named_view[]){q, k, empty}, 3, 2, 0, ATTN_ESHAPE, "v_proj.weight",
                   "expected every axis to be at least 1, found (8, 0)");
    expect_failure((struct attn_named_view[]){q, k, flat}, 3, 2, 0, ATTN_ESHAPE, "v_proj.weight",
                   "expected shape (out, in), found (8)");
    expect_failure((struct attn_named_view[]){q, short_k, v}, 3, 2, 0, ATTN_ESHAPE, "k_proj.weight",
                   "expected a first axis of 8, found (6, 8)");
    expect_failure((struct attn_named_view[]){q, k, v}, 3, 3, 0, ATTN_ESHAPE, "num_heads",
                   "expected a divisor of the first axis of q_proj.weight, (8, 8), found 3 heads");
    expect_failure((struct attn_named_view[]){q, k, v, out}, 4, 2, 0, ATTN_ESHAPE, "out_proj.weight",
                   "expected a last axis of 8, found (8, 7)");
    expect_failure((struct attn_named_view[]){q, k, v, bias}, 4, 2, 0, ATTN_ESHAPE, "q_proj.bias",
                   "expected a first axis of 8, found (7)");
    expect_failure(&packed, 1, 2, 0, ATTN_ESHAPE, "in_proj_weight",
                   "expected a first axis that divides into 2 query and 2 times 2 key/value heads, found (23, 8)");
}
END_TEST

START_TEST(unknown_and_mixed_names_are_refused) {
    const struct attn_named_view mixed[] = {named("q_proj.weight", 2, 8, 8, 0), named("wk.weight", 2, 8, 8, 0)};
    const struct attn_named_view unknown[] = {named("q_prj.weight", 2, 8, 8, 0)};
    const struct attn_named_view lone[] = {named("in_proj_weight", 2, 24, 8, 0), named("bias_k", 3, 1, 1, 8)};
    struct attn_layer layer;
    struct attn_error error;
    expect_failure(mixed, 2, 2, 0, ATTN_ECONFLICT, "wk.weight",
                   "names of different families do not go together: found wk.weight beside q_proj.weight");
    expect_failure(lone, 2, 2, 0, ATTN_ECONFLICT, "bias_k", "bias_k and bias_v go together");
    ck_assert_int_eq(resolve(unknown, 1, 2, 0, &layer, &error), ATTN_ECONFLICT);
    ck_assert_str_eq(error.field, "q_prj.weight");
    ck_assert_int_eq(resolve(NULL, 0, 2, 0, &layer, &error), ATTN_ECONFLICT);
    ck_assert_str_eq(error.field, "q_proj_weight");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("attention layers");
    TCase *tests = tcase_create("names");
    tcase_add_test(tests, a_packed_torch_layer_is_cut_into_three);
    tcase_add_test(tests, grouped_heads_pack_narrower_keys_and_values);
    tcase_add_test(tests, torch_layers_with_kdim_and_vdim_come_apart);
    tcase_add_test(tests, hand_written_names_of_every_family_are_taken);
    tcase_add_test(tests, what_does_not_fit_is_named);
    tcase_add_test(tests, unknown_and_mixed_names_are_refused);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
