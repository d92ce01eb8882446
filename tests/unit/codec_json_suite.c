/* The 318 files of JSONTestSuite (tests/data/JSONTestSuite, MIT licence): y_ must be read, n_ refused, i_ either. */
#include "server/codec/document.h"
#include "tests/unit/run_suite.h"
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char folder[] = "tests/data/JSONTestSuite/test_parsing";

struct file {
    char name[300];
    char *bytes; /* exactly length bytes, so that a sanitizer sees what is read beyond */
    size_t length;
};

static void read_file(struct file *file) {
    char path[600];
    snprintf(path, sizeof path, "%s/%s", folder, file->name);
    FILE *stream = fopen(path, "rb");
    ck_assert_ptr_nonnull(stream);
    ck_assert_int_eq(fseek(stream, 0, SEEK_END), 0);
    file->length = (size_t)ftell(stream);
    rewind(stream);
    file->bytes = malloc(file->length > 0 ? file->length : 1);
    ck_assert_uint_eq(fread(file->bytes, 1, file->length, stream), file->length);
    fclose(stream);
}

/* Runs `check` over all files; @return how many there were. */
static size_t for_each_file(void (*check)(const struct file *file)) {
    DIR *directory = opendir(folder);
    ck_assert_msg(directory != NULL, "run the tests from the project's own folder");
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (strstr(entry->d_name, ".json") == NULL) {
            continue;
        }
        struct file file;
        snprintf(file.name, sizeof file.name, "%s", entry->d_name);
        read_file(&file);
        check(&file);
        free(file.bytes);
        count++;
    }
    closedir(directory);
    return count;
}

static void check_text(const struct file *file) {
    size_t offset = SIZE_MAX;
    char why[200] = "";
    bool is_json = json_check(file->bytes, file->length, 64, &offset, why, sizeof why);
    if (file->name[0] == 'y') {
        ck_assert_msg(is_json, "%s refused at %zu: %s", file->name, offset, why);
    }
    if (file->name[0] == 'n') {
        ck_assert_msg(!is_json, "%s was read", file->name);
    }
    if (!is_json) {
        ck_assert_msg(offset <= file->length, "%s: offset %zu of %zu", file->name, offset, file->length);
        ck_assert_msg(why[0] != '\0', "%s: no reason", file->name);
    }
}

/* Several of the suite's objects have these keys; the other kinds see the rest. */
static void check_document(const struct file *file, enum field_kind kind) {
    const struct field_spec specs[] = {{"a", kind}, {"", kind}, {"asd", kind}, {"x", kind}, {"title", FIELD_JSON}};
    const struct document_limits limits = {.max_elements = 1000};
    struct arena *arena = arena_create();
    struct document document;
    struct problem problem = {.id = PROBLEM_NONE};
    bool is_read = document_read_json(&document, file->bytes, file->length, specs, sizeof specs / sizeof *specs,
                                      &limits, arena, &problem);
    int status = is_read ? 200 : problem_status(problem.id);
    if (file->name[0] == 'y') {
        /* 123e45 is JSON, and no float32 */
        bool is_overflow = status == 400 && strstr(problem.detail, "too large for float32") != NULL;
        ck_assert_msg(status == 200 || status == 422 || is_overflow, "%s: %d %s", file->name, status, problem.detail);
    } else if (file->name[0] == 'n') {
        ck_assert_msg(status == 400, "%s: %d %s", file->name, status, problem.detail);
    } else {
        ck_assert_msg(status == 200 || status == 422 || status == 400, "%s: %d", file->name, status);
    }
    if (status == 400) {
        ck_assert_msg(problem.has_offset && problem.offset <= file->length, "%s: no offset", file->name);
    }
    document_reset(&document);
    arena_destroy(arena);
}

static void check_documents(const struct file *file) {
    for (int kind = FIELD_TENSOR; kind <= FIELD_JSON; kind++) {
        check_document(file, (enum field_kind)kind);
    }
}

/* The suite's values inside a document, as a tensor and as JSON: what is not JSON is malformed there too. */
static void check_wrapped(const struct file *file) {
    struct file wrapped = *file;
    wrapped.length = file->length + 6;
    wrapped.bytes = malloc(wrapped.length);
    memcpy(wrapped.bytes, "{\"a\":", 5);
    memcpy(wrapped.bytes + 5, file->bytes, file->length);
    wrapped.bytes[wrapped.length - 1] = '}';
    /* an object that closes and opens again is no longer wrong when it is wrapped; none of the suite is such */
    check_documents(&wrapped);
    free(wrapped.bytes);
}

START_TEST(every_file_is_read_or_refused_as_its_name_says) {
    ck_assert_uint_eq(for_each_file(check_text), 318);
}
END_TEST

START_TEST(a_request_of_any_file_is_malformed_where_it_is_not_json) {
    ck_assert_uint_eq(for_each_file(check_documents), 318);
}
END_TEST

START_TEST(a_field_of_any_file_is_malformed_where_it_is_not_json) {
    ck_assert_uint_eq(for_each_file(check_wrapped), 318);
}
END_TEST

START_TEST(faults_are_told_with_their_byte) {
    static const struct {
        const char *text;
        size_t offset;
        const char *why;
    } rows[] = {
        {"", 0, "expected a value, found the end of the text"},
        {"[1,]", 3, "expected a value, found ']'"},
        {"[1 2]", 3, "expected ',' or ']', found '2'"},
        {"[NaN]", 1, "a bare NaN is not JSON: quote it, as \"NaN\""},
        {"[1, -Infinity]", 4, "a bare -Infinity is not JSON: quote it, as \"-Infinity\""},
        {"{\"a\" 1}", 5, "expected ':' behind the key, found '1'"},
        {"{1:2}", 1, "expected a string as the key, found '1'"},
        {"[01]", 2, "a number has no leading zeros"},
        {"[1.]", 3, "expected a digit behind the decimal point, found ']'"},
        {"[1e+]", 4, "expected a digit of the exponent, found ']'"},
        {"\"a\nb\"", 2, "a control character in a string must be escaped"},
        {"\"\\x\"", 1, "there is no such escape in JSON"},
        {"\"\\ud800\"", 1, "a high surrogate without a low one behind it"},
        {"\"\\udc00\"", 1, "a low surrogate without a high one before it"},
        {"\"\xC0\x80\"", 1, "the text is not UTF-8"},
        {"\"\xED\xA0\x80\"", 1, "the text is not UTF-8"},
        {"\"\xF4\x90\x80\x80\"", 1, "the text is not UTF-8"},
        {"\"abc", 4, "the text ends within a string"},
        {"1 2", 2, "expected the end of the text, found '2'"},
        {"[[[[[]]]]]", 4, "nested deeper than 4 arrays and objects"},
        {"\xEF\xBB\xBF[]", 0, "expected a value, found the byte 0xEF"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t offset = SIZE_MAX;
        char why[200] = "";
        ck_assert_msg(!json_check(rows[i].text, strlen(rows[i].text), 4, &offset, why, sizeof why), "%s", rows[i].text);
        ck_assert_msg(offset == rows[i].offset, "%s: %zu", rows[i].text, offset);
        ck_assert_str_eq(why, rows[i].why);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("json suite");
    TCase *tests = tcase_create("json suite");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, every_file_is_read_or_refused_as_its_name_says);
    tcase_add_test(tests, a_request_of_any_file_is_malformed_where_it_is_not_json);
    tcase_add_test(tests, a_field_of_any_file_is_malformed_where_it_is_not_json);
    tcase_add_test(tests, faults_are_told_with_their_byte);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
