#include "server/codec/document.h"
#include "server/codec/encode.h"
#include "tests/unit/run_suite.h"
#include <attn/safetensors.h>
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

static struct encoder *encoder_of(enum tensor_encoding encoding, int digits) {
    struct encoder *encoder = encoder_create(arena, (struct encode_options){.encoding = encoding, .digits = digits});
    ck_assert_ptr_nonnull(encoder);
    return encoder;
}

/* Everything, pulled in pieces of the capacity, NUL-terminated. */
static char *pull(struct encoder *encoder, size_t capacity) {
    size_t bound = encoder_bound(encoder), length = 0;
    char *all = calloc(1, bound + capacity + 1);
    for (size_t count; (count = encoder_next(encoder, all + length, capacity)) > 0; length += count) {
        ck_assert_uint_le(count, capacity);
        ck_assert_uint_le(length + count, bound);
    }
    ck_assert_uint_eq(encoder_next(encoder, all, capacity), 0);
    all[length] = '\0';
    return all;
}

static void check_text(struct encoder *encoder, const char *expected) {
    char *text = pull(encoder, 4096);
    ck_assert_str_eq(text, expected);
    free(text);
}

static struct attn_view view_of(void *data, attn_dtype dtype, int rank, const size_t *shape) {
    return attn_view_contiguous(data, dtype, rank, shape);
}

START_TEST(structure_gets_its_commas_and_colons) {
    struct encoder *encoder = encoder_of(ENCODING_NESTED, 0);
    encoder_begin_object(encoder);
    encoder_key(encoder, "a");
    encoder_begin_array(encoder);
    encoder_integer(encoder, -1);
    encoder_real(encoder, 0.1, 0);
    encoder_real(encoder, 2.0 / 3, 3);
    encoder_bool(encoder, true);
    encoder_bool(encoder, false);
    encoder_null(encoder);
    encoder_begin_object(encoder);
    encoder_end_object(encoder);
    encoder_begin_array(encoder);
    encoder_end_array(encoder);
    encoder_raw(encoder, "{\"x\":1}", 7);
    encoder_end_array(encoder);
    encoder_key(encoder, "b");
    ck_assert(encoder_text(encoder, "c"));
    encoder_key(encoder, "d");
    encoder_real(encoder, (double)NAN, 0);
    ck_assert(encoder_end_object(encoder));
    check_text(encoder, "{\"a\":[-1,0.1,0.667,true,false,null,{},[],{\"x\":1}],\"b\":\"c\",\"d\":\"NaN\"}");
}
END_TEST

START_TEST(text_is_escaped_and_made_utf8) {
    struct encoder *encoder = encoder_of(ENCODING_NESTED, 0);
    encoder_begin_array(encoder);
    encoder_text(encoder, "\"\\/\b\f\n\r\t\x01\x1F\x7F");
    encoder_text(encoder, "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
    encoder_text(encoder, "a\xFF\xC3z\xED\xA0\x80");
    encoder_text(encoder, "");
    encoder_end_array(encoder);
    check_text(encoder, "[\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7F\",\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\","
                        "\"a\xEF\xBF\xBD\xEF\xBF\xBDz\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\",\"\"]");
}
END_TEST

static float six[] = {1, 2.5F, -0.1F, 1e30F, NAN, -INFINITY};

static void put_tensor(struct encoder *encoder, const struct attn_view *view) {
    encoder_begin_object(encoder);
    encoder_key(encoder, "output");
    encoder_tensor(encoder, view);
    encoder_key(encoder, "z");
    encoder_null(encoder);
    ck_assert(encoder_end_object(encoder));
}

START_TEST(tensors_are_nested_flat_or_base64) {
    struct attn_view view = view_of(six, ATTN_FLOAT32, 3, (size_t[]){1, 2, 3});
    struct encoder *encoder = encoder_of(ENCODING_NESTED, 0);
    put_tensor(encoder, &view);
    ck_assert_uint_eq(encoder_numbers(encoder), 6);
    check_text(encoder, "{\"output\":[[[1.0,2.5,-0.1],[1e30,\"NaN\",\"-Infinity\"]]],\"z\":null}");
    encoder = encoder_of(ENCODING_FLAT, 0);
    put_tensor(encoder, &view);
    check_text(encoder,
               "{\"output\":{\"shape\":[1,2,3],\"data\":[1.0,2.5,-0.1,1e30,\"NaN\",\"-Infinity\"]},\"z\":null}");
    encoder = encoder_of(ENCODING_BASE64, 0);
    view.shape[1] = 1;
    put_tensor(encoder, &view);
    check_text(encoder, "{\"output\":{\"shape\":[1,1,3],\"dtype\":\"float32\",\"base64\":\"AACAPwAAIEDNzMy9\"},"
                        "\"z\":null}");
}
END_TEST

START_TEST(every_dtype_has_its_text) {
    double doubles[] = {0.1, -2};
    int64_t integers[] = {INT64_MIN, 7};
    int32_t small[] = {-3, 4};
    unsigned char bytes[] = {0, 255};
    uint16_t halves[] = {0x3C00, 0xC100}, brains[] = {0x3F80, 0xC020};
    const struct {
        void *data;
        attn_dtype dtype;
        const char *text;
    } rows[] = {{doubles, ATTN_FLOAT64, "[0.1,-2.0]"}, {integers, ATTN_INT64, "[-9223372036854775808,7]"},
                {small, ATTN_INT32, "[-3,4]"},         {bytes, ATTN_UINT8, "[0,255]"},
                {bytes, ATTN_BOOL, "[false,true]"},    {halves, ATTN_FLOAT16, "[1.0,-2.5]"},
                {brains, ATTN_BFLOAT16, "[1.0,-2.5]"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct encoder *encoder = encoder_of(ENCODING_NESTED, 0);
        struct attn_view view = view_of(rows[i].data, rows[i].dtype, 1, (size_t[]){2});
        encoder_tensor(encoder, &view);
        check_text(encoder, rows[i].text);
    }
}
END_TEST

START_TEST(digits_are_as_many_as_asked_for) {
    float values[] = {2.0F / 3, 100.0F / 3, 1};
    struct attn_view view = view_of(values, ATTN_FLOAT32, 1, (size_t[]){3});
    struct encoder *encoder = encoder_of(ENCODING_NESTED, 3);
    encoder_tensor(encoder, &view);
    check_text(encoder, "[0.667,33.3,1.0]");
}
END_TEST

START_TEST(strided_views_are_read_in_their_own_order) {
    struct attn_view view = {.data = six, .dtype = ATTN_FLOAT32, .rank = 2, .shape = {2, 2}, .stride = {1, 2}};
    struct encoder *encoder = encoder_of(ENCODING_NESTED, 0);
    encoder_tensor(encoder, &view);
    check_text(encoder, "[[1.0,-0.1],[2.5,1e30]]");
    view.stride[0] = 0;
    encoder = encoder_of(ENCODING_FLAT, 0);
    encoder_tensor(encoder, &view);
    check_text(encoder, "{\"shape\":[2,2],\"data\":[1.0,-0.1,1.0,-0.1]}");
    encoder = encoder_of(ENCODING_BASE64, 0);
    encoder_tensor(encoder, &view);
    check_text(encoder, "{\"shape\":[2,2],\"dtype\":\"float32\",\"base64\":\"AACAP83MzL0AAIA/zczMvQ==\"}");
}
END_TEST

/* An answer of several tensors of awkward shapes and strides. */
static struct encoder *make_large(enum tensor_encoding encoding, float *data, double *doubles) {
    struct encoder *encoder = encoder_of(encoding, 0);
    struct attn_view dense = view_of(data, ATTN_FLOAT32, 4, (size_t[]){2, 3, 17, 19});
    struct attn_view strided = {
        .data = data, .dtype = ATTN_FLOAT32, .rank = 3, .shape = {3, 300, 2}, .stride = {7, 2, 600}};
    struct attn_view wide = view_of(doubles, ATTN_FLOAT64, 8, (size_t[]){1, 2, 1, 3, 1, 5, 7, 1});
    encoder_begin_object(encoder);
    encoder_key(encoder, "a");
    encoder_tensor(encoder, &dense);
    encoder_key(encoder, "long text");
    char text[700];
    memset(text, 'x', sizeof text);
    text[699] = '\0';
    encoder_text(encoder, text);
    encoder_key(encoder, "b");
    encoder_begin_array(encoder);
    encoder_tensor(encoder, &strided);
    encoder_tensor(encoder, &wide);
    encoder_end_array(encoder);
    ck_assert(encoder_end_object(encoder));
    return encoder;
}

START_TEST(the_text_is_the_same_whatever_the_capacity) {
    float *data = malloc(2000 * sizeof *data);
    double *doubles = malloc(210 * sizeof *doubles);
    for (size_t i = 0; i < 2000; i++) {
        data[i] = (float)(sin((double)i) * pow(10, (double)(i % 40) - 30));
        doubles[i % 210] = -sin((double)i * 3) * 1e-300;
    }
    enum tensor_encoding encoding = (enum tensor_encoding)_i;
    char *expected = pull(make_large(encoding, data, doubles), 1 << 20);
    size_t offset;
    char why[200];
    ck_assert(json_check(expected, strlen(expected), 64, &offset, why, sizeof why));
    for (size_t capacity = 64; capacity <= 4096; capacity += capacity < 200 ? 1 : 97) {
        char *text = pull(make_large(encoding, data, doubles), capacity);
        ck_assert_msg(strcmp(text, expected) == 0, "capacity %zu", capacity);
        free(text);
    }
    free(expected);
    free(data);
    free(doubles);
}
END_TEST

START_TEST(what_is_written_is_read_back_to_the_same_bits) {
    float data[60];
    for (size_t i = 0; i < 60; i++) {
        data[i] = i == 30 ? INFINITY : (float)(sin((double)i) * pow(10, (double)i - 30));
    }
    const struct field_spec specs[] = {{"output", FIELD_TENSOR}, {"z", FIELD_JSON}};
    const struct document_limits limits = {.max_elements = 100};
    for (int encoding = ENCODING_NESTED; encoding <= ENCODING_BASE64; encoding++) {
        struct attn_view view = view_of(data, ATTN_FLOAT32, 3, (size_t[]){3, 4, 5});
        struct encoder *encoder = encoder_of((enum tensor_encoding)encoding, 0);
        put_tensor(encoder, &view);
        char *text = pull(encoder, 100);
        struct document document;
        struct problem problem;
        ck_assert(document_read_json(&document, text, strlen(text), specs, 2, &limits, arena, &problem));
        struct attn_view back = document_find(&document, "output")->tensor;
        ck_assert_int_eq(back.rank, 3);
        ck_assert_uint_eq(back.shape[1], 4);
        ck_assert_mem_eq(back.data, data, sizeof data);
        document_reset(&document);
        free(text);
    }
}
END_TEST

START_TEST(binary_answers_are_safetensors_of_the_promised_length) {
    unsigned char bools[] = {1, 0, 1};
    struct binary_item items[] = {
        {"output", {.data = six, .dtype = ATTN_FLOAT32, .rank = 2, .shape = {2, 2}, .stride = {1, 2}}},
        {"weights.average", view_of(six, ATTN_FLOAT32, 2, (size_t[]){3, 2})},
        {"mask", view_of(bools, ATTN_BOOL, 1, (size_t[]){3})}};
    for (size_t capacity = 64; capacity < 300; capacity += 7) {
        struct binary_encoder *encoder = binary_encoder_create(arena, items, 3, "{\"dims\":{}}");
        ck_assert_ptr_nonnull(encoder);
        size_t expected = (size_t)binary_encoder_length(encoder), length = 0;
        unsigned char *bytes = malloc(expected + capacity);
        for (size_t count; (count = binary_encoder_next(encoder, (char *)bytes + length, capacity)) > 0;) {
            ck_assert_uint_le(count, capacity);
            length += count;
        }
        ck_assert_uint_eq(length, expected);
        struct attn_safetensors *file = NULL;
        struct attn_error error;
        ck_assert_int_eq(attn_safetensors_parse(&file, bytes, length, &error), ATTN_OK);
        ck_assert_uint_eq(attn_safetensors_count(file), 3);
        ck_assert_str_eq(attn_safetensors_metadata(file, "response"), "{\"dims\":{}}");
        struct attn_named_view output = attn_safetensors_find(file, "output");
        ck_assert_mem_eq(output.view.data, ((float[]){1, -0.1F, 2.5F, 1e30F}), 16);
        ck_assert_mem_eq(attn_safetensors_find(file, "mask").view.data, bools, 3);
        attn_safetensors_close(file);
        free(bytes);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("encode");
    TCase *tests = tcase_create("encode");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, structure_gets_its_commas_and_colons);
    tcase_add_test(tests, text_is_escaped_and_made_utf8);
    tcase_add_test(tests, tensors_are_nested_flat_or_base64);
    tcase_add_test(tests, every_dtype_has_its_text);
    tcase_add_test(tests, digits_are_as_many_as_asked_for);
    tcase_add_test(tests, strided_views_are_read_in_their_own_order);
    tcase_add_loop_test(tests, the_text_is_the_same_whatever_the_capacity, ENCODING_NESTED, ENCODING_BASE64 + 1);
    tcase_add_test(tests, what_is_written_is_read_back_to_the_same_bits);
    tcase_add_test(tests, binary_answers_are_safetensors_of_the_promised_length);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
