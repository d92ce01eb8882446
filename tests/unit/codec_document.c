#include "server/codec/document.h"
#include "tests/unit/run_suite.h"
#include <check.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct field_spec specs[] = {
    {"query", FIELD_TENSOR},         {"key", FIELD_TENSOR},
    {"attn_mask", FIELD_MASK},       {"key_padding_mask", FIELD_PADDING},
    {"attention_mask", FIELD_FLAGS}, {"key_lengths", FIELD_INTEGERS},
    {"params", FIELD_TENSORS},       {"dtype", FIELD_JSON},
    {"num_heads", FIELD_JSON},       {"weights", FIELD_JSON},
    {"scale", FIELD_JSON},           {"text", FIELD_JSON},
};

static struct arena *arena;
static struct document document;
static struct problem problem;

static void setup(void) {
    arena = arena_create();
    memset(&document, 0, sizeof document);
    memset(&problem, 0, sizeof problem);
}

static void teardown(void) {
    document_reset(&document);
    arena_destroy(arena);
}

static bool read_within(const char *text, size_t max_elements) {
    const struct document_limits limits = {.max_elements = max_elements};
    size_t length = strlen(text);
    char *bytes = malloc(length > 0 ? length : 1); /* so that a sanitizer sees what is read beyond */
    memcpy(bytes, text, length);
    document_reset(&document);
    memset(&problem, 0, sizeof problem);
    bool is_read =
        document_read_json(&document, bytes, length, specs, sizeof specs / sizeof *specs, &limits, arena, &problem);
    free(bytes);
    return is_read;
}

static void read_ok(const char *text) {
    ck_assert_msg(read_within(text, 1000), "%s: %s %s", text, problem.pointer, problem.detail);
    ck_assert_int_eq(problem.id, PROBLEM_NONE); /* whoever reads it must not take a success for a failure */
}

static struct attn_view tensor_of(const char *name) {
    const struct field *field = document_find(&document, name);
    ck_assert_msg(field != NULL, "no %s", name);
    ck_assert_ptr_nonnull(field->tensor.data);
    return field->tensor;
}

static void check_floats(struct attn_view view, const float *expected, size_t count) {
    ck_assert_int_eq(view.dtype, ATTN_FLOAT32);
    ck_assert_uint_eq(attn_view_elements(&view), count);
    for (size_t i = 0; i < count; i++) {
        float value = ((const float *)view.data)[i];
        ck_assert_msg(memcmp(&value, &expected[i], sizeof value) == 0 || (isnan(value) && isnan(expected[i])),
                      "element %zu is %.9g and not %.9g", i, (double)value, (double)expected[i]);
    }
}

static void check_shape(struct attn_view view, int rank, const size_t *shape) {
    ck_assert_int_eq(view.rank, rank);
    for (int i = 0; i < rank; i++) {
        ck_assert_uint_eq(view.shape[i], shape[i]);
    }
    ck_assert(attn_view_is_contiguous(&view));
}

START_TEST(nested_arrays_are_read_row_major) {
    read_ok(" {\"query\" : [ [ [1, 2.5,-3e-1] , [4,5,6] ], [[7,8,9],[10,\"NaN\",\"-Infinity\"]] ] } ");
    check_shape(tensor_of("query"), 3, (size_t[]){2, 2, 3});
    check_floats(tensor_of("query"), (float[]){1, 2.5F, -0.3F, 4, 5, 6, 7, 8, 9, 10, NAN, -INFINITY}, 12);
}
END_TEST

START_TEST(not_finite_strings_stand_anywhere_in_a_row) {
    read_ok("{\"query\":[\"Infinity\"]}");
    check_floats(tensor_of("query"), (float[]){INFINITY}, 1);
    read_ok("{\"query\":[1,\"NaN\",2, \"Infinity\" ,\"\\u002dInfinity\",3]}");
    check_floats(tensor_of("query"), (float[]){1, NAN, 2, INFINITY, -INFINITY, 3}, 6);
}
END_TEST

START_TEST(numbers_are_rounded_once_to_float32_or_read_in_double) {
    read_ok("{\"query\":[1.00000017881393432617187499, 0.1]}");
    check_floats(tensor_of("query"), (float[]){0x1.000002p0F, 0.1F}, 2);
    read_ok("{\"dtype\":\"float64\",\"query\":[0.1]}");
    ck_assert_int_eq(document.dtype, ATTN_FLOAT64);
    ck_assert_int_eq(tensor_of("query").dtype, ATTN_FLOAT64);
    ck_assert(((double *)tensor_of("query").data)[0] == 0.1);
}
END_TEST

START_TEST(a_dtype_behind_the_tensors_reads_them_again) {
    read_ok("{\"query\":[0.1,1e30],\"num_heads\":2,\"params\":{\"wq\":[[0.1]]},\"dtype\":\"float64\"}");
    ck_assert(((double *)tensor_of("query").data)[0] == 0.1);
    ck_assert(((double *)tensor_of("query").data)[1] == 1e30);
    ck_assert(((double *)document_find(&document, "params")->members[0].tensor.data)[0] == 0.1);
    ck_assert_int_eq(json_integer_value(document_find(&document, "num_heads")->json), 2);
    ck_assert_uint_eq(document.field_count, 4);
    read_ok("{\"query\":[0.1,1e300],\"num_heads\":2,\"dtype\":\"float64\"}");
    ck_assert(((double *)tensor_of("query").data)[1] == 1e300);
    ck_assert(!read_within("{\"query\":[0.1,1e300],\"num_heads\":2,\"dtype\":\"float32\"}", 1000));
    ck_assert_int_eq(problem.id, PROBLEM_MALFORMED);
    ck_assert_uint_eq(problem.offset, 14);
}
END_TEST

START_TEST(object_forms_come_in_any_order) {
    static const char *const texts[] = {
        "{\"query\":{\"shape\":[2,2],\"data\":[1,2.5,0.5,4]}}",
        "{\"query\":{\"data\":[1,2.5,0.5,4],\"shape\":[2.0,2e0]}}",
        "{\"query\":{\"data\":[1,2.5,0.5,4],\"dtype\":\"float16\",\"shape\":[2,2]}}",
        "{\"query\":{\"base64\":\"AACAPwAAIEAAAAA/AACAQA==\",\"shape\":[2,2]}}",
        "{\"query\":{\"base64\":\"AACAPwAAIEAAAAA\\/AACAQA==\",\"shape\":[2,2]}}",
        "{\"query\":{\"base64\":\"ADwAQQA4AEQ=\",\"dtype\":\"float16\",\"shape\":[2,2]}}",
        "{\"query\":{\"dtype\":\"bfloat16\",\"shape\":[2,2],\"base64\":\"gD8gQAA/gEA=\", \"data\":null}}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        read_ok(texts[i]);
        check_shape(tensor_of("query"), 2, (size_t[]){2, 2});
        check_floats(tensor_of("query"), (float[]){1, 2.5F, 0.5F, 4}, 4);
    }
}
END_TEST

START_TEST(data_are_rounded_to_the_dtype_they_name) {
    read_ok("{\"query\":{\"shape\":[2],\"dtype\":\"float16\",\"data\":[0.1,\"Infinity\"]}}");
    check_floats(tensor_of("query"), (float[]){0x1.998p-4F, INFINITY}, 2);
    read_ok("{\"query\":{\"data\":[0.1,-2],\"shape\":[2],\"dtype\":\"bfloat16\"}}");
    check_floats(tensor_of("query"), (float[]){0x1.9ap-4F, -2}, 2);
    read_ok("{\"query\":{\"data\":[3,-2],\"shape\":[2],\"dtype\":\"int32\"}}");
    check_floats(tensor_of("query"), (float[]){3, -2}, 2);
    read_ok("{\"dtype\":\"float64\",\"query\":{\"data\":[0.1],\"shape\":[1],\"dtype\":\"float32\"}}");
    ck_assert(((double *)tensor_of("query").data)[0] == (double)0.1F);
}
END_TEST

static void check_bytes(const char *name, attn_dtype dtype, const char *expected) {
    struct attn_view view = tensor_of(name);
    ck_assert_int_eq(view.dtype, dtype);
    ck_assert_uint_eq(attn_view_elements(&view), strlen(expected));
    for (size_t i = 0; i < strlen(expected); i++) {
        ck_assert_int_eq(((unsigned char *)view.data)[i], expected[i] - '0');
    }
}

START_TEST(masks_keep_booleans_apart_from_numbers) {
    read_ok("{\"attn_mask\":[[true,false],[false , true]]}");
    check_bytes("attn_mask", ATTN_BOOL, "1001");
    read_ok("{\"attn_mask\":[[0,1],[\"-Infinity\",0]]}");
    check_floats(tensor_of("attn_mask"), (float[]){0, 1, -INFINITY, 0}, 4);
    read_ok("{\"attn_mask\":{\"shape\":[2],\"data\":[true,false]}}");
    check_bytes("attn_mask", ATTN_BOOL, "10");
    read_ok("{\"attn_mask\":{\"data\":[1,0],\"shape\":[2],\"dtype\":\"bool\"}}");
    check_bytes("attn_mask", ATTN_BOOL, "10");
    read_ok("{\"attn_mask\":{\"data\":[2,0],\"shape\":[2],\"dtype\":\"uint8\"}}");
    check_bytes("attn_mask", ATTN_UINT8, "20");
    read_ok("{\"attn_mask\":{\"base64\":\"AQAB\",\"shape\":[3],\"dtype\":\"bool\"}}");
    check_bytes("attn_mask", ATTN_BOOL, "101");
}
END_TEST

START_TEST(padding_takes_0_and_1_for_booleans_unless_a_floating_dtype_is_named) {
    read_ok("{\"key_padding_mask\":[[1,0],[1.0,1]]}");
    check_bytes("key_padding_mask", ATTN_BOOL, "1011");
    read_ok("{\"key_padding_mask\":[true,false]}");
    check_bytes("key_padding_mask", ATTN_BOOL, "10");
    read_ok("{\"key_padding_mask\":{\"data\":[1,0],\"shape\":[2]}}");
    check_bytes("key_padding_mask", ATTN_BOOL, "10");
    read_ok("{\"key_padding_mask\":{\"data\":[1,-0.5],\"shape\":[2],\"dtype\":\"float32\"}}");
    check_floats(tensor_of("key_padding_mask"), (float[]){1, -0.5F}, 2);
}
END_TEST

static void check_integers(const char *name, const int64_t *expected, size_t count) {
    struct attn_view view = tensor_of(name);
    ck_assert_int_eq(view.dtype, ATTN_INT64);
    ck_assert_uint_eq(attn_view_elements(&view), count);
    ck_assert_mem_eq(view.data, expected, count * sizeof *expected);
}

START_TEST(flags_are_booleans_0_and_1_or_integers_of_any_dtype) {
    read_ok("{\"attention_mask\":[[1,0],[1.0,1]]}");
    check_bytes("attention_mask", ATTN_BOOL, "1011");
    read_ok("{\"attention_mask\":[true,false]}");
    check_bytes("attention_mask", ATTN_BOOL, "10");
    read_ok("{\"attention_mask\":{\"data\":[1,0],\"shape\":[2]}}");
    check_bytes("attention_mask", ATTN_BOOL, "10");
    static const char *const wide[] = {"int64", "int32", "uint8", "float32"};
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"attention_mask\":{\"data\":[1,0],\"shape\":[2],\"dtype\":\"%s\"}}", wide[i]);
        read_ok(text);
        ck_assert_int_eq(tensor_of("attention_mask").dtype, ATTN_INT64);
        ck_assert_int_eq(((const int64_t *)tensor_of("attention_mask").data)[0], 1);
        ck_assert_int_eq(((const int64_t *)tensor_of("attention_mask").data)[1], 0);
    }
}
END_TEST

START_TEST(integers_are_exact) {
    read_ok("{\"key_lengths\":[2,3.0,9223372036854775807,-4e1]}");
    check_integers("key_lengths", (int64_t[]){2, 3, INT64_MAX, -40}, 4);
    read_ok("{\"key_lengths\":{\"shape\":[2],\"dtype\":\"int32\",\"base64\":\"/////wIAAAA=\"}}");
    check_integers("key_lengths", (int64_t[]){-1, 2}, 2);
    read_ok("{\"key_lengths\":{\"shape\":[2],\"base64\":\"AACAPwAAAEA=\"}}");
    check_integers("key_lengths", (int64_t[]){1, 2}, 2);
    read_ok("{\"key_lengths\":{\"data\":[true,false],\"shape\":[2],\"dtype\":\"bool\"}}");
    check_integers("key_lengths", (int64_t[]){1, 0}, 2);
}
END_TEST

START_TEST(null_is_as_if_the_field_were_absent) {
    read_ok("{\"query\":null,\"num_heads\":null,\"params\":null,\"attn_mask\":[true]}");
    ck_assert_uint_eq(document.field_count, 1);
    ck_assert_ptr_null(document_find(&document, "query"));
    read_ok("{\"params\":{\"a\":null,\"b\":[1],\"c\":null}}");
    ck_assert_uint_eq(document_find(&document, "params")->member_count, 1);
    ck_assert_str_eq(document_find(&document, "params")->members[0].name, "b");
    read_ok("{}");
    ck_assert_uint_eq(document.field_count, 0);
}
END_TEST

START_TEST(members_keep_their_names_and_order) {
    read_ok("{\"params\":{\"out_proj.weight\":[[1,2]],\"in_proj_\\u0062ias\":[3],\"c\":[4],\"d\":[5],\"e\":[6]}}");
    const struct field *params = document_find(&document, "params");
    ck_assert_uint_eq(params->member_count, 5);
    ck_assert_str_eq(params->members[0].name, "out_proj.weight");
    check_floats(params->members[0].tensor, (float[]){1, 2}, 2);
    ck_assert_str_eq(params->members[1].name, "in_proj_bias");
    check_floats(params->members[4].tensor, (float[]){6}, 1);
}
END_TEST

START_TEST(other_fields_are_jansson_values) {
    read_ok("{\"weights\":[\"average\",{\"a\":[1,2.5,null]}],\"text\":\"a\\u0000b\",\"num_heads\":8,"
            "\"scale\":12345678901234567890}");
    ck_assert_str_eq(json_string_value(json_array_get(document_find(&document, "weights")->json, 0)), "average");
    ck_assert_uint_eq(json_string_length(document_find(&document, "text")->json), 3);
    ck_assert_int_eq(json_integer_value(document_find(&document, "num_heads")->json), 8);
    ck_assert(json_real_value(document_find(&document, "scale")->json) == 12345678901234567890.0);
}
END_TEST

struct wrong {
    const char *text;
    enum problem_id id;
    const char *pointer;
    const char *detail; /* what the detail holds */
    size_t offset;      /* of a 400 */
};

static const struct wrong wrongs[] = {
    /* not JSON */
    {"", PROBLEM_MALFORMED, "", "found the end of the text, at byte 0", 0},
    {"\xEF\xBB\xBF{}", PROBLEM_MALFORMED, "", "byte order mark", 0},
    {"{\"query\":[[1,2],[3,]]}", PROBLEM_MALFORMED, NULL, "found ']'", 19},
    {"{\"query\":[1,NaN]}", PROBLEM_MALFORMED, "/query/1", "quote it, as \"NaN\", at byte 12", 12},
    {"{\"query\":[-Infinity]}", PROBLEM_MALFORMED, NULL, "quote it", 10},
    {"{\"query\":[1,Infinity]}", PROBLEM_MALFORMED, NULL, "quote it", 12},
    {"{\"query\":[1,1e39]}", PROBLEM_MALFORMED, "/query/1", "too large for float32", 12},
    {"{\"dtype\":\"float64\",\"query\":[1e309]}", PROBLEM_MALFORMED, "/query/0", "too large for float64", 28},
    {"{\"query\":[1 2]}", PROBLEM_MALFORMED, "/query", "',' or ']'", 12},
    {"{\"query\":[1,2", PROBLEM_MALFORMED, NULL, "the end of the text", 13},
    {"{\"query\":[1,2]", PROBLEM_MALFORMED, "", "',' or '}'", 14},
    {"{\"query\":[[1,2]", PROBLEM_MALFORMED, NULL, "',' or ']'", 15},
    {"{\"query\":[1.5.3]}", PROBLEM_MALFORMED, NULL, "',' or ']'", 13},
    {"{\"query\":[1] \"key\":[1]}", PROBLEM_MALFORMED, "", "',' or '}'", 13},
    {"{\"query\":[\"NaN\" \"NaN\"]}", PROBLEM_MALFORMED, NULL, "',' or ']'", 16},
    {"{\"query\":[1 \"NaN\"]}", PROBLEM_MALFORMED, NULL, "',' or ']'", 12},
    {"{\"attn_mask\":[true,fals]}", PROBLEM_MALFORMED, NULL, "expected a value", 19},
    {"{\"num_heads\":8}}", PROBLEM_MALFORMED, "", "the end of the text", 15},
    {"{\"num_heads\":1e999}", PROBLEM_MALFORMED, "/num_heads", "a number too large", 13},
    {"{\"unknown\":1,\"query\":[1,}", PROBLEM_MALFORMED, "", "expected a value", 24},
    {"{\"query\":{\"shape\":[2],\"base64\":\"AACA*wAAIEA=\"}}", PROBLEM_MALFORMED, "/query/base64", "base64", 36},
    {"{\"query\":{\"shape\":[2],\"base64\":\"AACAPwAAIEA\"}}", PROBLEM_MALFORMED, "/query/base64", "base64", 43},
    {"{\"query\":{\"shape\":[1],\"dtype\":\"float16\",\"data\":[70000]}}", PROBLEM_MALFORMED, "/query/data",
     "too large for its dtype", 48},
    {"{\"query\":{\"shape\":[1],\"dtype\":\"float64\",\"base64\":\"nHUAiDzkN34=\"}}", PROBLEM_MALFORMED,
     "/query/base64", "too large for float32", 50},
    /* well-formed, and wrong */
    {"[]", PROBLEM_INVALID, "", "expected an object, found an array", 0},
    {"{\"qeury\":[1]}", PROBLEM_INVALID, "/qeury", "no field of this name", 0},
    {"{\"a/b~\":1}", PROBLEM_INVALID, "/a~1b~0", "no field of this name", 0},
    {"{\"query\":[1],\"query\":[1]}", PROBLEM_INVALID, "/query", "twice", 0},
    {"{\"query\":null,\"quer\\u0079\":null}", PROBLEM_INVALID, "/query", "twice", 0},
    {"{\"params\":{\"a\":[1],\"a\":[1]}}", PROBLEM_INVALID, "/params/a", "twice", 0},
    {"{\"params\":{\"a\":null,\"a\":[1]}}", PROBLEM_INVALID, "/params/a", "twice", 0},
    {"{\"params\":[1]}", PROBLEM_INVALID, "/params", "expected an object of tensors, found an array", 0},
    {"{\"params\":{\"a\":1}}", PROBLEM_INVALID, "/params/a", "expected a tensor", 0},
    {"{\"weights\":{\"a\":1,\"a\":1}}", PROBLEM_INVALID, "/weights/a", "twice", 0},
    {"{\"query\":5}", PROBLEM_INVALID, "/query", "found a number 5", 0},
    {"{\"query\":\"x\"}", PROBLEM_INVALID, "/query", "found a string \"x\"", 0},
    {"{\"query\":[]}", PROBLEM_INVALID, "/query", "at least 1 entry", 0},
    {"{\"query\":[[1],[]]}", PROBLEM_INVALID, "/query/1", "at least 1 entry", 0},
    {"{\"query\":[[[1,2],[1,2]],[[1,2],[1,2],[1,2]]]}", PROBLEM_INVALID, "/query/1",
     "expected 2 entries, as in the arrays before it, found 3", 0},
    {"{\"query\":[[[1,2],[1,2]],[[1,2],[1]]]}", PROBLEM_INVALID, "/query/1/1", "expected 2 entries", 0},
    {"{\"query\":[[1,2],3]}", PROBLEM_INVALID, "/query/1", "expected an array, as the ones before it, found a number 3",
     0},
    {"{\"query\":[1,[2]]}", PROBLEM_INVALID, "/query/1", "found an array", 0},
    {"{\"query\":[[1],[[2]]]}", PROBLEM_INVALID, "/query/1/0", "found an array", 0},
    {"{\"query\":[[[1]],[2]]}", PROBLEM_INVALID, "/query/1/0", "expected an array", 0},
    {"{\"query\":[[[[[[[[[1]]]]]]]]]}", PROBLEM_INVALID, "/query", "at most 8 axes", 0},
    {"{\"query\":[1,null]}", PROBLEM_INVALID, "/query/1", "found null", 0},
    {"{\"query\":[1,true]}", PROBLEM_INVALID, "/query/1", "found a boolean true", 0},
    {"{\"query\":[[1,2],[3,\"nan\"]]}", PROBLEM_INVALID, "/query/1/1", "found a string \"nan\"", 0},
    {"{\"query\":[1,{}]}", PROBLEM_INVALID, "/query/1", "found an object", 0},
    {"{\"attn_mask\":[true,1]}", PROBLEM_INVALID, "/attn_mask/1", "as in the mask's first entry", 0},
    {"{\"attn_mask\":[0,true]}", PROBLEM_INVALID, "/attn_mask/1", "found a boolean", 0},
    {"{\"attn_mask\":{\"shape\":[1],\"dtype\":\"int64\",\"data\":[1]}}", PROBLEM_INVALID, "/attn_mask/dtype",
     "expected bool, uint8 or a floating dtype, found int64", 0},
    {"{\"key_padding_mask\":[0,0.5]}", PROBLEM_INVALID, "/key_padding_mask/1", "0 or 1", 0},
    {"{\"attention_mask\":[1,2]}", PROBLEM_INVALID, "/attention_mask/1", "0 or 1", 0},
    {"{\"key_padding_mask\":[true,1]}", PROBLEM_INVALID, "/key_padding_mask/1", "found a number 1", 0},
    {"{\"key_lengths\":[1,1.5]}", PROBLEM_INVALID, "/key_lengths/1", "found a number 1.5", 0},
    {"{\"key_lengths\":[9223372036854775808]}", PROBLEM_INVALID, "/key_lengths/0", "within 64 bits", 0},
    {"{\"key_lengths\":[true]}", PROBLEM_INVALID, "/key_lengths/0", "found a boolean", 0},
    {"{\"key_lengths\":5}", PROBLEM_INVALID, "/key_lengths", "expected a tensor", 0},
    {"{\"key_lengths\":{\"shape\":[1],\"base64\":\"AADAPw==\"}}", PROBLEM_INVALID, "/key_lengths/base64",
     "expected integers", 0},
    {"{\"key_lengths\":{\"shape\":[1],\"dtype\":\"uint8\",\"data\":[256]}}", PROBLEM_INVALID, "/key_lengths/data/0",
     "range of the dtype", 0},
    {"{\"query\":{\"shape\":[2,2],\"data\":[1,2,3]}}", PROBLEM_INVALID, "/query/data", "expected 4 entries", 0},
    {"{\"query\":{\"shape\":[2],\"data\":[[1],[2]]}}", PROBLEM_INVALID, "/query/data/0", "found an array", 0},
    {"{\"query\":{\"shape\":[2],\"data\":5}}", PROBLEM_INVALID, "/query/data", "expected an array", 0},
    {"{\"query\":{\"shape\":[1.5],\"data\":[1]}}", PROBLEM_INVALID, "/query/shape/0", "found a number 1.5", 0},
    {"{\"query\":{\"shape\":[0],\"data\":[]}}", PROBLEM_INVALID, "/query/shape/0", "at least 1, found 0", 0},
    {"{\"query\":{\"shape\":[2,-1],\"data\":[1,2]}}", PROBLEM_INVALID, "/query/shape/1", "found -1", 0},
    {"{\"query\":{\"shape\":[],\"data\":[1]}}", PROBLEM_INVALID, "/query/shape", "1 to 8 axes, found 0", 0},
    {"{\"query\":{\"shape\":[1,1,1,1,1,1,1,1,1],\"data\":[1]}}", PROBLEM_INVALID, "/query/shape", "found 9", 0},
    {"{\"query\":{\"shape\":[4294967296,4294967296],\"data\":[1]}}", PROBLEM_INVALID, "/query/shape", "overflows", 0},
    {"{\"query\":{\"shape\":[2],\"base64\":\"AACAPw==\"}}", PROBLEM_INVALID, "/query/base64",
     "expected 2 elements of float32 by the shape, 4 bytes each, found 4 bytes", 0},
    {"{\"query\":{\"data\":[1]}}", PROBLEM_INVALID, "/query", "expected a shape", 0},
    {"{\"query\":{\"shape\":[1]}}", PROBLEM_INVALID, "/query", "neither", 0},
    {"{\"query\":{}}", PROBLEM_INVALID, "/query", "expected a shape", 0},
    {"{\"query\":{\"shape\":[1],\"data\":[1],\"base64\":\"AACAPw==\"}}", PROBLEM_INVALID, "/query", "both", 0},
    {"{\"query\":{\"shape\":[1],\"shape\":[1],\"data\":[1]}}", PROBLEM_INVALID, "/query/shape", "twice", 0},
    {"{\"query\":{\"shape\":[1],\"dat\":[1]}}", PROBLEM_INVALID, "/query/dat", "no such member", 0},
    {"{\"query\":{\"shape\":[1],\"dtype\":\"float8\",\"data\":[1]}}", PROBLEM_INVALID, "/query/dtype", "bfloat16", 0},
    {"{\"query\":{\"shape\":[1],\"dtype\":\"bool\",\"data\":[1]}}", PROBLEM_INVALID, "/query/dtype", "found bool", 0},
    {"{\"query\":{\"shape\":[1],\"dtype\":\"int32\",\"data\":[1.5]}}", PROBLEM_INVALID, "/query/data/0", "1.5", 0},
    {"{\"dtype\":\"float16\"}", PROBLEM_INVALID, "/dtype", "expected \"float32\" or \"float64\", found a string", 0},
    {"{\"dtype\":1}", PROBLEM_INVALID, "/dtype", "found a number 1", 0},
    {"{\"scale\": 1e999}", PROBLEM_MALFORMED, "/scale", "a number too large, at byte 10", 10},
    {"{\"weights\": [1, -1e+400, 2]}", PROBLEM_MALFORMED, "/weights", "a number too large", 16},
    {"{\"query\\u0000query\":1}", PROBLEM_INVALID, NULL, "no field of this name", 0},
    {"{\"query\":{\"shape\":[1,1,1,1,1,1,1,1,1],\"data\":[1]}}", PROBLEM_INVALID, "/query/shape", "found 9", 0},
    {"{\"query\":{\"shape\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,"
     "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],\"data\":[1]}}",
     PROBLEM_INVALID, "/query/shape", "found more than 64", 0},
    /* too much of it */
    {"{\"query\":[1,2,3,4,5,6,7,8,9,10,11]}", PROBLEM_TOO_LARGE, "/query", "at most 10 elements", 0},
    {"{\"query\":[[1,2,3,4,5,6],[7,8,9,10,11,12]]}", PROBLEM_TOO_LARGE, "/query", "at most 10 elements", 0},
    {"{\"query\":{\"shape\":[4,3],\"base64\":\"\"}}", PROBLEM_TOO_LARGE, "/query", "at most 10 elements", 0},
};

START_TEST(what_is_wrong_is_named_with_its_place) {
    const struct wrong *wrong = &wrongs[_i];
    ck_assert_msg(!read_within(wrong->text, 10), "%s was read", wrong->text);
    ck_assert_msg(problem.id == wrong->id, "%s: %d %s %s", wrong->text, problem_status(problem.id), problem.pointer,
                  problem.detail);
    ck_assert_msg(wrong->pointer == NULL || strcmp(problem.pointer, wrong->pointer) == 0, "%s: %s (%s)", wrong->text,
                  problem.pointer, problem.detail);
    ck_assert_msg(strstr(problem.detail, wrong->detail) != NULL, "%s: %s", wrong->text, problem.detail);
    ck_assert_msg(problem.has_offset == (wrong->id == PROBLEM_MALFORMED), "%s", wrong->text);
    ck_assert_msg(!problem.has_offset || wrong->offset == SIZE_MAX || problem.offset == wrong->offset, "%s: at %zu, %s",
                  wrong->text, problem.offset, problem.detail);
    ck_assert_uint_eq(document.field_count, 0);
}
END_TEST

START_TEST(as_many_elements_as_allowed_are_read) {
    ck_assert(read_within("{\"query\":[[1,2,3,4,5],[6,7,8,9,10]]}", 10));
    ck_assert(!read_within("{\"query\":[[1,2,3,4,5],[6,7,8,9,10]]}", 9));
    ck_assert_int_eq(problem.id, PROBLEM_TOO_LARGE);
}
END_TEST

START_TEST(members_are_bounded_in_number) {
    char text[8000] = "{\"params\":{";
    for (int i = 0; i < 300; i++) {
        snprintf(text + strlen(text), 24, "%s\"m%d\":[1]", i > 0 ? "," : "", i);
    }
    strcat(text, "}}");
    ck_assert(!read_within(text, 1000));
    ck_assert_int_eq(problem.id, PROBLEM_INVALID);
    ck_assert_str_eq(problem.pointer, "/params/m256");
}
END_TEST

/* "weights": count times a value, and the last */
static char *repeated(const char *value, size_t count) {
    static const char head[] = "{\"weights\":[";
    size_t length = strlen(value), used = sizeof head - 1;
    char *text = malloc(used + count * (length + 1) + 3);
    ck_assert_ptr_nonnull(text);
    memcpy(text, head, used);
    for (size_t i = 0; i < count; i++) {
        memcpy(text + used, value, length);
        used += length;
        text[used++] = ',';
    }
    strcpy(text + used - 1, "]}");
    return text;
}

START_TEST(values_that_are_no_tensors_are_bounded_in_number) {
    static const char *const values[] = {"0", "[]", "{}", "\"\"", "{\"a\":[]}"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char *text = repeated(values[i], (size_t)1 << 20);
        ck_assert_msg(!read_within(text, 1000), "%s", values[i]);
        ck_assert_int_eq(problem.id, PROBLEM_TOO_LARGE);
        ck_assert_str_eq(problem.pointer, "/weights");
        free(text);
    }
    char *commas = repeated("\",[{,\\\",\"", 200000); /* in strings they are nothing */
    ck_assert_msg(read_within(commas, 1000), "%s", problem.detail);
    free(commas);
}
END_TEST

static bool take(void *context, size_t bytes) {
    size_t *left = context;
    bool is_taken = bytes <= *left;
    *left -= is_taken ? bytes : 0;
    return is_taken;
}

static void give(void *context, size_t bytes) {
    *(size_t *)context += bytes;
}

START_TEST(memory_is_accounted_that_of_values_outside_the_arena_too) {
    size_t left = (size_t)1 << 20;
    arena_set_account(arena, (struct arena_account){take, give, &left});
    char *text = repeated("{}", 1000); /* takes 350 kB */
    ck_assert_msg(read_within(text, 1000), "%s", problem.detail);
    ck_assert_uint_lt(left, (size_t)800 << 10);
    free(text);
    text = repeated("{}", 10000);
    ck_assert(!read_within(text, 1000));
    ck_assert_int_eq(problem.id, PROBLEM_BUSY);
    ck_assert_int_gt(problem.retry_after_s, 0);
    free(text);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("document");
    TCase *tests = tcase_create("document");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, nested_arrays_are_read_row_major);
    tcase_add_test(tests, not_finite_strings_stand_anywhere_in_a_row);
    tcase_add_test(tests, numbers_are_rounded_once_to_float32_or_read_in_double);
    tcase_add_test(tests, a_dtype_behind_the_tensors_reads_them_again);
    tcase_add_test(tests, object_forms_come_in_any_order);
    tcase_add_test(tests, data_are_rounded_to_the_dtype_they_name);
    tcase_add_test(tests, masks_keep_booleans_apart_from_numbers);
    tcase_add_test(tests, padding_takes_0_and_1_for_booleans_unless_a_floating_dtype_is_named);
    tcase_add_test(tests, flags_are_booleans_0_and_1_or_integers_of_any_dtype);
    tcase_add_test(tests, integers_are_exact);
    tcase_add_test(tests, null_is_as_if_the_field_were_absent);
    tcase_add_test(tests, members_keep_their_names_and_order);
    tcase_add_test(tests, other_fields_are_jansson_values);
    tcase_add_loop_test(tests, what_is_wrong_is_named_with_its_place, 0, sizeof wrongs / sizeof *wrongs);
    tcase_add_test(tests, as_many_elements_as_allowed_are_read);
    tcase_add_test(tests, members_are_bounded_in_number);
    tcase_add_test(tests, values_that_are_no_tensors_are_bounded_in_number);
    tcase_add_test(tests, memory_is_accounted_that_of_values_outside_the_arena_too);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
