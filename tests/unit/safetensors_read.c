/*
 * Headers: files of the safetensors package are read, and every false claim is refused with its place. The cases of
 * tests/golden/safetensors/invalid give a header and the error that it must meet.
 */
#include "tests/unit/run_suite.h"
#include <attn/safetensors.h>
#include <check.h>
#include <glob.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER "tests/golden/safetensors/"

static struct attn_safetensors *open_golden(const char *name) {
    char path[256];
    struct attn_safetensors *file = NULL;
    struct attn_error error;
    snprintf(path, sizeof path, FOLDER "%s", name);
    attn_status status = attn_safetensors_open(&file, path, &error);
    ck_assert_msg(status == ATTN_OK, "%s: %s", name, error.message);
    return file;
}

/* Puts the length before a header and `data_bytes` zeros behind it; malloc'ed, so that a sanitizer sees its edges. */
static unsigned char *build(const char *header, size_t header_length, size_t data_bytes, size_t *length) {
    *length = 8 + header_length + data_bytes;
    unsigned char *bytes = calloc(1, *length);
    ck_assert_ptr_nonnull(bytes);
    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)header_length >> (8 * i));
    memcpy(bytes + 8, header, header_length);
    return bytes;
}

START_TEST(every_dtype_of_the_package_is_read) {
    static const struct {
        const char *name;
        attn_dtype dtype;
        unsigned char four[8]; /* the element 4, little-endian */
    } expected[] = {
        {"F32", ATTN_FLOAT32, {0, 0, 0x80, 0x40}},
        {"F64", ATTN_FLOAT64, {0, 0, 0, 0, 0, 0, 0x10, 0x40}},
        {"F16", ATTN_FLOAT16, {0, 0x44}},
        {"BF16", ATTN_BFLOAT16, {0x80, 0x40}},
        {"I64", ATTN_INT64, {4}},
        {"I32", ATTN_INT32, {4}},
        {"U8", ATTN_UINT8, {4}},
        {"BOOL", ATTN_BOOL, {1}},
    };
    struct attn_safetensors *file = open_golden("dtypes.safetensors");
    ck_assert_uint_eq(attn_safetensors_count(file), 8);
    for (size_t i = 0; i < 8; i++) {
        struct attn_named_view tensor = attn_safetensors_find(file, expected[i].name);
        ck_assert_str_eq(tensor.name, expected[i].name);
        ck_assert_int_eq(tensor.view.dtype, expected[i].dtype);
        ck_assert_int_eq(tensor.view.rank, 2);
        ck_assert_uint_eq(tensor.view.shape[0], 2);
        ck_assert_uint_eq(tensor.view.shape[1], 3);
        size_t size = attn_dtype_bytes(expected[i].dtype);
        ck_assert_mem_eq((unsigned char *)tensor.view.data + 4 * size, expected[i].four, size);
    }
    ck_assert_ptr_null(attn_safetensors_find(file, "F8").name);
    attn_safetensors_close(file);
}
END_TEST

START_TEST(tensors_come_in_the_order_of_the_data) {
    struct attn_safetensors *file = open_golden("dtypes.safetensors");
    size_t length;
    const unsigned char *next = NULL, *bytes = attn_safetensors_bytes(file, &length);
    for (size_t i = 0; i < attn_safetensors_count(file); i++) {
        struct attn_view view = attn_safetensors_tensor(file, i).view;
        ck_assert(next == NULL || next == view.data);
        next = (unsigned char *)view.data + 6 * attn_dtype_bytes(view.dtype);
    }
    ck_assert_ptr_eq(next, bytes + length);
    attn_safetensors_close(file);
}
END_TEST

START_TEST(scalars_empty_tensors_escaped_names_and_metadata_are_read) {
    struct attn_safetensors *file = open_golden("shapes.safetensors");
    struct attn_named_view scalar = attn_safetensors_find(file, "scalar");
    struct attn_named_view none = attn_safetensors_find(file, "none");
    struct attn_named_view size = attn_safetensors_find(file, "gr\xC3\xB6\xC3\x9F"
                                                              "e \"q\"\\\n");
    float seven, two;
    ck_assert_int_eq(scalar.view.rank, 0);
    memcpy(&seven, scalar.view.data, sizeof seven);
    ck_assert_float_eq(seven, 7);
    ck_assert_int_eq(none.view.rank, 3);
    ck_assert_uint_eq(none.view.shape[1], 0);
    ck_assert_ptr_nonnull(none.view.data);
    ck_assert_ptr_nonnull(size.name);
    memcpy(&two, (char *)size.view.data + 8, sizeof two);
    ck_assert_float_eq(two, 2);
    ck_assert_str_eq(attn_safetensors_metadata(file, "num_heads"), "2");
    ck_assert_str_eq(attn_safetensors_metadata(file, "n\xC3\xA4me"), "a \"b\"\t\xE2\x9C\x93");
    ck_assert_ptr_null(attn_safetensors_metadata(file, "num_kv_heads"));
    ck_assert_uint_eq(attn_safetensors_metadata_count(file), 3);
    ck_assert_str_eq(attn_safetensors_metadata_at(file, 0).key, "format");
    attn_safetensors_close(file);
}
END_TEST

START_TEST(a_file_without_tensors_is_read) {
    struct attn_safetensors *file = open_golden("empty.safetensors");
    ck_assert_uint_eq(attn_safetensors_count(file), 0);
    ck_assert_ptr_null(attn_safetensors_find(file, "x").name);
    ck_assert_ptr_null(attn_safetensors_metadata(file, "x"));
    attn_safetensors_close(file);
}
END_TEST

START_TEST(a_dtype_that_is_not_taken_is_named) {
    struct attn_safetensors *file = NULL;
    struct attn_error error;
    ck_assert_int_eq(attn_safetensors_open(&file, FOLDER "not_taken.safetensors", &error), ATTN_EFORMAT);
    ck_assert_str_eq(error.field, "x");
    ck_assert_str_eq(error.message, "dtype I16 is not taken; taken are F32, F64, F16, BF16, I64, I32, U8 and BOOL");
}
END_TEST

START_TEST(a_surrogate_pair_is_one_character) {
    static const char header[] = "{\"\\uD83D\\ude00\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}";
    struct attn_safetensors *file = NULL;
    size_t length;
    unsigned char *bytes = build(header, strlen(header), 1, &length);
    ck_assert_int_eq(attn_safetensors_parse(&file, bytes, length, NULL), ATTN_OK);
    ck_assert_str_eq(attn_safetensors_tensor(file, 0).name, "\xF0\x9F\x98\x80");
    attn_safetensors_close(file);
    free(bytes);
}
END_TEST

/* Takes the text behind `label` from the front of *at, up to the line's end, which it terminates. */
static char *take_line(char **at, const char *label) {
    ck_assert_msg(strncmp(*at, label, strlen(label)) == 0, "expected %s", label);
    char *start = *at + strlen(label), *end = strchr(start, '\n');
    ck_assert_ptr_nonnull(end);
    *end = '\0';
    *at = end + 1;
    return start;
}

static void check_case(const char *path) {
    static char text[4096];
    struct attn_safetensors *file = NULL;
    struct attn_error error;
    FILE *from = fopen(path, "rb");
    ck_assert_ptr_nonnull(from);
    size_t size = fread(text, 1, sizeof text - 1, from);
    fclose(from);
    text[size] = '\0';
    char *at = text;
    size_t offset = strtoul(take_line(&at, "offset: "), NULL, 10);
    const char *field = take_line(&at, "field: "), *message = take_line(&at, "message: ");
    size_t data_bytes = strtoul(take_line(&at, "data bytes: "), NULL, 10), length;
    take_line(&at, "header:");
    unsigned char *bytes = build(at, size - (size_t)(at - text), data_bytes, &length);
    ck_assert_msg(attn_safetensors_parse(&file, bytes, length, &error) == ATTN_EFORMAT, "%s was read", path);
    ck_assert_msg(strcmp(error.message, message) == 0, "%s: \"%s\"", path, error.message);
    ck_assert_msg(strcmp(error.field, field) == 0, "%s: field \"%s\"", path, error.field);
    ck_assert_msg(error.offset == offset, "%s: offset %zu", path, error.offset);
    free(bytes);
}

START_TEST(false_claims_are_refused_with_their_place) {
    glob_t found;
    ck_assert_int_eq(glob(FOLDER "invalid/*.case", 0, NULL, &found), 0);
    ck_assert_uint_ge(found.gl_pathc, 60);
    for (size_t i = 0; i < found.gl_pathc; i++)
        check_case(found.gl_pathv[i]);
    globfree(&found);
}
END_TEST

START_TEST(a_false_header_length_is_refused) {
    static const struct {
        unsigned char bytes[10];
        size_t length, offset;
        const char *message;
    } cases[] = {
        {{0}, 0, 0, "expected 8 bytes with the header's length, found 0"},
        {{2}, 7, 7, "expected 8 bytes with the header's length, found 7"},
        {{0}, 8, 8, "expected '{' at the header's first byte"},
        {{3, 0, 0, 0, 0, 0, 0, 0, '{', '}'}, 10, 0, "a header of 3 bytes, and 2 bytes follow"},
        {{1, 0xE1, 0xF5, 5, 0, 0, 0, 0, '{', '}'}, 10, 0, "a header of 100000001 bytes; at most 100000000 are read"},
        {{255, 255, 255, 255, 255, 255, 255, 255, '{', '}'},
         10,
         0,
         "a header of 18446744073709551615 bytes; at most 100000000 are read"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct attn_safetensors *file = NULL;
        struct attn_error error;
        ck_assert_int_eq(attn_safetensors_parse(&file, cases[i].bytes, cases[i].length, &error), ATTN_EFORMAT);
        ck_assert_str_eq(error.message, cases[i].message);
        ck_assert_uint_eq(error.offset, cases[i].offset);
        ck_assert_ptr_null(file);
    }
}
END_TEST

START_TEST(a_whole_file_cut_anywhere_is_refused) {
    struct attn_safetensors *whole = open_golden("dtypes.safetensors"), *file = NULL;
    size_t length;
    const unsigned char *bytes = attn_safetensors_bytes(whole, &length);
    for (size_t cut = 0; cut < length; cut++) {
        unsigned char *copy = malloc(cut + 1);
        ck_assert_ptr_nonnull(copy);
        memcpy(copy, bytes, cut);
        ck_assert_int_eq(attn_safetensors_parse(&file, copy, cut, NULL), ATTN_EFORMAT);
        free(copy);
    }
    attn_safetensors_close(whole);
}
END_TEST

START_TEST(opening_what_is_no_file_fails) {
    struct attn_safetensors *file = NULL;
    struct attn_error error;
    ck_assert_int_eq(attn_safetensors_open(&file, "/nowhere/at/all", &error), ATTN_EIO);
    ck_assert_str_eq(error.message, "/nowhere/at/all: No such file or directory");
    ck_assert_int_eq(attn_safetensors_open(&file, "/tmp", &error), ATTN_EIO);
    ck_assert_int_eq(attn_safetensors_open(&file, "/dev/null", &error), ATTN_EIO);
    ck_assert_str_eq(error.message, "/dev/null: not a regular file");
}
END_TEST

START_TEST(what_is_written_reads_back) {
    float first[6] = {0, 1, 2, 3, 4, 5};
    uint8_t second[3] = {7, 8, 9};
    const struct attn_safetensors_item items[] = {
        {"a \"quoted\"\\\n", attn_view_contiguous(first, ATTN_FLOAT32, 2, (const size_t[]){2, 3})},
        {"b", attn_view_contiguous(second, ATTN_UINT8, 1, (const size_t[]){3})},
    };
    const struct attn_metadata metadata[] = {{"num_heads", "3"}, {"note", "\x01 \xE2\x9C\x93"}};
    unsigned char *header;
    size_t header_length;
    struct attn_safetensors *file = NULL;
    ck_assert_int_eq(attn_safetensors_header(items, 2, metadata, 2, &header, &header_length, NULL), ATTN_OK);
    ck_assert_uint_eq(header_length % 8, 0);
    unsigned char *bytes = malloc(header_length + sizeof first + sizeof second);
    ck_assert_ptr_nonnull(bytes);
    memcpy(bytes, header, header_length);
    memcpy(bytes + header_length, first, sizeof first);
    memcpy(bytes + header_length + sizeof first, second, sizeof second);
    ck_assert_int_eq(attn_safetensors_parse(&file, bytes, header_length + sizeof first + sizeof second, NULL), ATTN_OK);
    ck_assert_uint_eq(attn_safetensors_count(file), 2);
    ck_assert_str_eq(attn_safetensors_tensor(file, 0).name, items[0].name);
    ck_assert_mem_eq(attn_safetensors_find(file, "b").view.data, second, sizeof second);
    ck_assert_str_eq(attn_safetensors_metadata(file, "note"), metadata[1].value);
    attn_safetensors_close(file);
    free(bytes);
    free(header);
}
END_TEST

START_TEST(sizes_that_overflow_are_not_written) {
    struct attn_safetensors_item item = {
        "a", attn_view_contiguous(NULL, ATTN_FLOAT32, 2, (const size_t[]){SIZE_MAX / 2, 1})};
    unsigned char *header;
    size_t header_length;
    ck_assert_int_eq(attn_safetensors_header(&item, 1, NULL, 0, &header, &header_length, NULL), ATTN_ERANGE);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("safetensors");
    TCase *reading = tcase_create("reading"), *writing = tcase_create("writing");
    tcase_add_test(reading, every_dtype_of_the_package_is_read);
    tcase_add_test(reading, tensors_come_in_the_order_of_the_data);
    tcase_add_test(reading, scalars_empty_tensors_escaped_names_and_metadata_are_read);
    tcase_add_test(reading, a_file_without_tensors_is_read);
    tcase_add_test(reading, a_dtype_that_is_not_taken_is_named);
    tcase_add_test(reading, a_surrogate_pair_is_one_character);
    tcase_add_test(reading, false_claims_are_refused_with_their_place);
    tcase_add_test(reading, a_false_header_length_is_refused);
    tcase_add_test(reading, a_whole_file_cut_anywhere_is_refused);
    tcase_add_test(reading, opening_what_is_no_file_fails);
    tcase_add_test(writing, what_is_written_reads_back);
    tcase_add_test(writing, sizes_that_overflow_are_not_written);
    suite_add_tcase(suite, reading);
    suite_add_tcase(suite, writing);
    return run_suite(suite);
}
