/*
 * Tokenizers' parts against the tokenizers package: ids, places, types and texts of tokenizer_expected.inc, which
 * tokenizer_expected.py makes. The large corpus is another test's.
 */
#include "tests/unit/directory.h"
#include "tests/unit/run_suite.h"
#include <attn/tokenizer.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_PARTS = 24 };

struct file {
    const char *name;
    const char *parts[FILE_PARTS]; /* of its content */
};

struct expected {
    const char *text;
    size_t length;
    const char *pair;
    bool add_special_tokens;
    const char *tokens;  /* "id:start-end/type" and A or B for the text */
    const char *decoded; /* without special tokens; NULL: not compared */
};

struct tokenizer_case {
    const struct file *files;
    const struct expected *expected;
};

#include "tests/unit/tokenizer_expected.inc"

static void write_files(const struct file *files) {
    for (; files->name != NULL; files++) {
        FILE *file = fopen(in_directory(files->name), "wb");
        ck_assert_ptr_nonnull(file);
        for (size_t i = 0; i < FILE_PARTS && files->parts[i] != NULL; i++)
            ck_assert_int_ge(fputs(files->parts[i], file), 0);
        ck_assert_int_eq(fclose(file), 0);
    }
}

static struct attn_tokenizer *open_files(const struct file *files) {
    struct attn_tokenizer *tokenizer = NULL;
    struct attn_error error = {0};
    make_directory();
    write_files(files);
    attn_status status = attn_tokenizer_open(&tokenizer, directory, &error);
    ck_assert_msg(status == ATTN_OK, "%s: %s", error.field, error.message);
    remove_directory();
    return tokenizer;
}

/* Writes an encoding as the expectations are written. */
static char *say(const struct attn_encoding *encoding) {
    char *text = calloc(encoding->count + 1, 100), *at = text;
    ck_assert_ptr_nonnull(text);
    for (size_t i = 0; i < encoding->count; i++) {
        const struct attn_token *token = &encoding->tokens[i];
        at += sprintf(at, "%s%lld:%zu-%zu/%lld%s", i > 0 ? " " : "", (long long)token->id, token->start, token->end,
                      (long long)token->type_id,
                      token->sequence < 0    ? ""
                      : token->sequence == 0 ? "A"
                                             : "B");
        ck_assert_int_eq(token->special, token->sequence < 0);
    }
    return text;
}

static void check_decoded(const struct attn_tokenizer *tokenizer, const struct attn_encoding *encoding,
                          const char *expected) {
    int64_t *ids = calloc(encoding->count + 1, sizeof *ids);
    char *decoded = NULL;
    ck_assert_ptr_nonnull(ids);
    for (size_t i = 0; i < encoding->count; i++)
        ids[i] = encoding->tokens[i].id;
    ck_assert_int_eq(attn_tokenizer_decode(tokenizer, ids, encoding->count, true, &decoded, NULL), ATTN_OK);
    ck_assert_str_eq(decoded, expected);
    free(decoded);
    free(ids);
}

static void check_case(const struct tokenizer_case *one) {
    struct attn_tokenizer *tokenizer = open_files(one->files);
    for (const struct expected *expected = one->expected; expected->text != NULL; expected++) {
        struct attn_encode_options options = {.add_special_tokens = expected->add_special_tokens};
        struct attn_encoding encoding;
        struct attn_error error = {0};
        attn_status status =
            attn_tokenizer_encode(tokenizer, expected->text, expected->length, expected->pair,
                                  expected->pair != NULL ? strlen(expected->pair) : 0, &options, &encoding, &error);
        ck_assert_msg(status == ATTN_OK, "%s: %s", error.field, error.message);
        char *said = say(&encoding);
        ck_assert_str_eq(said, expected->tokens);
        if (expected->decoded != NULL)
            check_decoded(tokenizer, &encoding, expected->decoded);
        free(said);
        attn_encoding_reset(&encoding);
    }
    attn_tokenizer_close(tokenizer);
}

#define COUNT(cases) ((int)(sizeof(cases) / sizeof *(cases)))

START_TEST(normalizers_change_texts_and_keep_places) {
    check_case(&normalizing[_i]);
}
END_TEST

START_TEST(pre_tokenizers_cut_as_the_package_does) {
    check_case(&splitting[_i]);
}
END_TEST

START_TEST(added_tokens_are_found_before_and_after_normalisation) {
    check_case(&adding[_i]);
}
END_TEST

START_TEST(models_cut_words_and_processors_frame_them) {
    check_case(&merging[_i]);
}
END_TEST

START_TEST(files_of_before_tokenizer_json_are_read_as_transformers_reads_them) {
    check_case(&old_ones[_i]);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("tokenizers' parts");
    TCase *cases = tcase_create("parts");
    tcase_set_timeout(cases, 120);
    tcase_add_loop_test(cases, normalizers_change_texts_and_keep_places, 0, COUNT(normalizing));
    tcase_add_loop_test(cases, pre_tokenizers_cut_as_the_package_does, 0, COUNT(splitting));
    tcase_add_loop_test(cases, added_tokens_are_found_before_and_after_normalisation, 0, COUNT(adding));
    tcase_add_loop_test(cases, models_cut_words_and_processors_frame_them, 0, COUNT(merging));
    tcase_add_loop_test(cases, files_of_before_tokenizer_json_are_read_as_transformers_reads_them, 0, COUNT(old_ones));
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
