#include "server/codec/document.h"
#include "tests/unit/run_suite.h"
#include <attn/safetensors.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct field_spec specs[] = {
    {"query", FIELD_TENSOR},   {"key", FIELD_TENSOR}, {"attn_mask", FIELD_MASK}, {"key_lengths", FIELD_INTEGERS},
    {"params", FIELD_TENSORS}, {"dtype", FIELD_JSON}, {"num_heads", FIELD_JSON},
};

static struct arena *arena;
static struct document document;
static struct problem problem;
static char body[4096];
static size_t body_length;

static void setup(void) {
    arena = arena_create();
    memset(&document, 0, sizeof document);
    memset(&problem, 0, sizeof problem);
}

static void teardown(void) {
    document_reset(&document);
    arena_destroy(arena);
}

struct tensor {
    const char *name, *dtype, *shape;
    const void *data;
    size_t bytes;
};

/* A body written out by hand: eight length bytes, the header, the data. `request` holds JSON with its quotes escaped.
 * Padding brings the data to a multiple of 8, and `shift` past it. */
static void make_body(const char *request, const struct tensor *tensors, size_t count, size_t shift) {
    char *header = body + 8;
    size_t length = 0, at = 0, room = sizeof body - 8;
    length += (size_t)snprintf(header, room, "{\"__metadata__\":{\"request\":\"%s\"}", request);
    for (size_t i = 0; i < count; i++) {
        length += (size_t)snprintf(header + length, room - length,
                                   ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                                   tensors[i].name, tensors[i].dtype, tensors[i].shape, at, at + tensors[i].bytes);
        at += tensors[i].bytes;
    }
    header[length++] = '}';
    while (length % 8 != shift) {
        header[length++] = ' ';
    }
    for (int i = 0; i < 8; i++) {
        body[i] = (char)(length >> (8 * i));
    }
    body_length = 8 + length;
    for (size_t i = 0; i < count; i++) {
        memcpy(body + body_length, tensors[i].data, tensors[i].bytes);
        body_length += tensors[i].bytes;
    }
}

/* The body is read where malloc aligns it. */
static char *copy;

static bool read_body(size_t max_elements) {
    const struct document_limits limits = {.max_elements = max_elements};
    copy = arena_alloc(arena, body_length);
    memcpy(copy, body, body_length);
    return document_read_safetensors(&document, copy, body_length, specs, sizeof specs / sizeof *specs, &limits, arena,
                                     &problem);
}

static const float four[] = {1, 2.5F, -3, 0.5F};

static bool is_in_body(const void *data) {
    return (const char *)data >= copy && (const char *)data < copy + body_length;
}

START_TEST(tensors_that_fit_are_used_where_they_lie) {
    const unsigned char mask[] = {1, 0};
    const int64_t lengths[] = {3, 4};
    const struct tensor tensors[] = {{"query", "F32", "2,2", four, 16},
                                     {"key_lengths", "I64", "2", lengths, 16},
                                     {"attn_mask", "BOOL", "1,2", mask, 2}};
    make_body("{\\\"num_heads\\\": 2}", tensors, 3, 0);
    ck_assert_msg(read_body(100), "%s", problem.detail);
    const struct field *query = document_find(&document, "query");
    ck_assert(is_in_body(query->tensor.data));
    ck_assert_int_eq(query->tensor.rank, 2);
    ck_assert_mem_eq(query->tensor.data, four, 16);
    ck_assert(is_in_body(document_find(&document, "key_lengths")->tensor.data));
    ck_assert_int_eq(document_find(&document, "attn_mask")->tensor.dtype, ATTN_BOOL);
    ck_assert_int_eq(json_integer_value(document_find(&document, "num_heads")->json), 2);
}
END_TEST

START_TEST(unaligned_tensors_are_copied) {
    const struct tensor tensors[] = {{"query", "F32", "4", four, 16}};
    for (size_t shift = 1; shift < 4; shift++) {
        make_body("{}", tensors, 1, shift);
        ck_assert_msg(read_body(100), "%s", problem.detail);
        const struct field *query = document_find(&document, "query");
        ck_assert(!is_in_body(query->tensor.data));
        ck_assert_mem_eq(query->tensor.data, four, 16);
        document_reset(&document);
    }
}
END_TEST

START_TEST(other_dtypes_are_converted) {
    const uint16_t halves[] = {0x3C00, 0x4100, 0xC200, 0x3800};
    const double doubles[] = {1, 2.5, -3, 0.5};
    const int32_t integers[] = {7, -1};
    const struct tensor tensors[] = {
        {"query", "F16", "4", halves, 8}, {"key", "F64", "2,2", doubles, 32}, {"key_lengths", "I32", "2", integers, 8}};
    make_body("{}", tensors, 3, 0);
    ck_assert_msg(read_body(100), "%s", problem.detail);
    ck_assert_int_eq(document_find(&document, "query")->tensor.dtype, ATTN_FLOAT32);
    ck_assert_mem_eq(document_find(&document, "query")->tensor.data, four, 16);
    ck_assert_mem_eq(document_find(&document, "key")->tensor.data, four, 16);
    ck_assert_mem_eq(document_find(&document, "key_lengths")->tensor.data, ((int64_t[]){7, -1}), 16);
    document_reset(&document);
    make_body("{\\\"dtype\\\": \\\"float64\\\"}", tensors, 3, 0);
    ck_assert_msg(read_body(100), "%s", problem.detail);
    ck_assert_int_eq(document.dtype, ATTN_FLOAT64);
    ck_assert(is_in_body(document_find(&document, "key")->tensor.data));
    ck_assert_mem_eq(document_find(&document, "query")->tensor.data, doubles, 32);
}
END_TEST

START_TEST(members_have_the_names_behind_the_dot) {
    const struct tensor tensors[] = {{"params.in_proj_weight", "F32", "2,2", four, 16},
                                     {"params.out_proj.weight", "F32", "2", four, 8}};
    make_body("{\\\"params\\\": {\\\"bias_k\\\": [5]}}", tensors, 2, 0);
    ck_assert_msg(read_body(100), "%s", problem.detail);
    const struct field *params = document_find(&document, "params");
    ck_assert_uint_eq(params->member_count, 3);
    ck_assert_str_eq(params->members[0].name, "bias_k");
    ck_assert_str_eq(params->members[1].name, "in_proj_weight");
    ck_assert_str_eq(params->members[2].name, "out_proj.weight");
    ck_assert_mem_eq(params->members[2].tensor.data, four, 8);
}
END_TEST

static void check_wrong(int status, const char *pointer, const char *detail) {
    ck_assert(!read_body(10));
    ck_assert_msg(problem_status(problem.id) == status, "%d %s", problem_status(problem.id), problem.detail);
    ck_assert_str_eq(problem.pointer, pointer);
    ck_assert_msg(strstr(problem.detail, detail) != NULL, "%s", problem.detail);
    ck_assert(problem.has_offset == (status == 400));
    ck_assert_uint_eq(document.field_count, 0);
}

START_TEST(what_is_wrong_is_named_with_its_place) {
    static const double doubles[6] = {1, 1e300, 1.5};
    static const struct {
        const char *request;
        struct tensor tensor;
        int status;
        const char *pointer, *detail;
    } rows[] = {
        {"{}", {"qeury", "F32", "4", four, 16}, 422, "/qeury", "no field of this name"},
        {"{}", {"query.x", "F32", "4", four, 16}, 422, "/query.x", "no field of this name"},
        {"{}", {"num_heads", "F32", "4", four, 16}, 422, "/num_heads", "__metadata__.request"},
        {"{}", {"params", "F32", "4", four, 16}, 422, "/params", "named after its members"},
        {"{}", {"query", "F32", "0,2", four, 0}, 422, "/query", "at least 1"},
        {"{}", {"query", "F32", "", four, 4}, 422, "/query", "at least one axis"},
        {"{}", {"query", "U8", "11", doubles, 11}, 422, "/query", "at most 10 elements"},
        {"{}", {"query", "BOOL", "3", doubles, 3}, 422, "/query", "found bool"},
        {"{}", {"attn_mask", "I32", "4", four, 16}, 422, "/attn_mask", "found int32"},
        {"{}", {"key_lengths", "F64", "1", doubles + 2, 8}, 422, "/key_lengths", "expected integers"},
        {"{}", {"query", "F64", "2", doubles, 16}, 400, "/query", "too large for float32"},
        {"{\\\"query\\\": [1]}", {"query", "F32", "4", four, 16}, 422, "/query", "twice"},
        {"{\\\"params\\\": {\\\"a\\\": [1]}}", {"params.a", "F32", "4", four, 16}, 422, "/params/a", "twice"},
        {"{\\\"params\\\": 1}", {"params.a", "F32", "4", four, 16}, 422, "/params", "found a number 1"},
        {"{\\\"query\\\" [1]}", {"key", "F32", "4", four, 16}, 400, "", "in __metadata__.request: expected ':'"},
        {"[]", {"key", "F32", "4", four, 16}, 422, "", "expected an object"},
        {"{}", {"query", "F32", "5", four, 16}, 400, "/query", "16"},
    };
    make_body(rows[_i].request, &rows[_i].tensor, 1, 0);
    check_wrong(rows[_i].status, rows[_i].pointer, rows[_i].detail);
}
END_TEST

START_TEST(a_number_too_large_is_told_with_its_byte) {
    static const double doubles[] = {1, 1e300};
    const struct tensor tensor = {"query", "F64", "2", doubles, 16};
    make_body("{}", &tensor, 1, 0);
    ck_assert(!read_body(10));
    ck_assert_uint_eq(problem.offset, body_length - 8);
}
END_TEST

START_TEST(a_broken_header_is_malformed) {
    memcpy(body, "\x02\0\0\0\0\0\0\0{", 9);
    body_length = 9;
    check_wrong(400, "", "byte");
    body_length = 3;
    check_wrong(400, "", "byte");
}
END_TEST

static bool take(void *context, size_t bytes) {
    size_t *left = context;
    bool is_taken = bytes <= *left;
    *left -= is_taken ? bytes : 0;
    return is_taken;
}

START_TEST(what_a_header_takes_is_accounted) {
    const struct document_limits limits = {.max_elements = 10};
    size_t left = (size_t)1 << 20, length = 8, room = 60000;
    char *bytes = calloc(room, 1);
    ck_assert_ptr_nonnull(bytes);
    length += (size_t)snprintf(bytes + length, room - length, "{\"__metadata__\":{\"\\\":\":\"\"");
    for (int i = 0; i < 5000; i++) {
        length += (size_t)snprintf(bytes + length, room - length, ",\"%x\":\"\"", i);
    }
    length += (size_t)snprintf(bytes + length, room - length, "}}");
    bytes[0] = (char)((length - 8) & 0xFF);
    bytes[1] = (char)((length - 8) >> 8);
    arena_set_account(arena, (struct arena_account){take, NULL, &left});
    ck_assert_msg(document_read_safetensors(&document, bytes, length, specs, sizeof specs / sizeof *specs, &limits,
                                            arena, &problem),
                  "%s", problem.detail);
    ck_assert_uint_lt(left, (size_t)1 << 19); /* 48 kB of text, 480 kB */
    ck_assert(!document_read_safetensors(&document, bytes, length, specs, sizeof specs / sizeof *specs, &limits, arena,
                                         &problem));
    ck_assert_int_eq(problem.id, PROBLEM_BUSY);
    free(bytes);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("document binary");
    TCase *tests = tcase_create("document binary");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, tensors_that_fit_are_used_where_they_lie);
    tcase_add_test(tests, unaligned_tensors_are_copied);
    tcase_add_test(tests, other_dtypes_are_converted);
    tcase_add_test(tests, members_have_the_names_behind_the_dot);
    tcase_add_loop_test(tests, what_is_wrong_is_named_with_its_place, 0, 17);
    tcase_add_test(tests, a_number_too_large_is_told_with_its_byte);
    tcase_add_test(tests, a_broken_header_is_malformed);
    tcase_add_test(tests, what_a_header_takes_is_accounted);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
