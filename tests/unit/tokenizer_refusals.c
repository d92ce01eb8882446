/* Files that lie are refused with the place of the lie; texts, with the byte; limits and units of places are kept. */
#include "tests/unit/directory.h"
#include "tests/unit/run_suite.h"
#include <attn/tokenizer.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void write_json(const char *json) {
    make_directory();
    write_text(in_directory("tokenizer.json"), json);
}

static attn_status open_json(const char *json, struct attn_tokenizer **tokenizer, struct attn_error *error) {
    write_json(json);
    attn_status status = attn_tokenizer_open(tokenizer, directory, error);
    remove_directory();
    return status;
}

static struct attn_tokenizer *must_open(const char *json) {
    struct attn_tokenizer *tokenizer = NULL;
    struct attn_error error = {0};
    attn_status status = open_json(json, &tokenizer, &error);
    ck_assert_msg(status == ATTN_OK, "%s: %s", error.field, error.message);
    return tokenizer;
}

#define WORDS "\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"?\":0,\"a\":1,\"b\":2},\"unk_token\":\"?\"}"
#define BPE(vocab, merges, more) "{\"model\":{\"type\":\"BPE\",\"vocab\":" vocab ",\"merges\":" merges more "}}"
#define SPLIT(pattern)                                                                                                 \
    "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" pattern                                         \
    "\"},\"behavior\":\"Isolated\",\"invert\":false}," WORDS "}"
#define FIVE(text) text text text text text

static const struct {
    const char *json, *field;
} lies[] = {
    {"{", "tokenizer.json"},
    {"[]", "tokenizer.json"},
    {"{}", "tokenizer.json/model"},
    {"{\"model\":3}", "tokenizer.json/model"},
    {"{\"model\":{\"type\":\"Word\",\"vocab\":{}}}", "tokenizer.json/model/type"},
    {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":[],\"unk_token\":\"?\"}}", "tokenizer.json/model/vocab"},
    {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0},\"unk_token\":\"?\"}}", "tokenizer.json/model/unk_token"},
    {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":-1},\"unk_token\":\"a\"}}", "tokenizer.json/model/vocab/a"},
    {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":1e3},\"unk_token\":\"a\"}}", "tokenizer.json/model/vocab/a"},
    {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":16777216},\"unk_token\":\"a\"}}",
     "tokenizer.json/model/vocab/a"},
    {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":16777215},\"unk_token\":\"a\"}}", /* for one token */
     "tokenizer.json/model/vocab"},
    {BPE("{\"a\":0}", "3", ""), "tokenizer.json/model/merges"},
    {BPE("{\"a\":0}", "[\"a\"]", ""), "tokenizer.json/model/merges/0"},
    {BPE("{\"a\":0}", "[\"a b\"]", ""), "tokenizer.json/model/merges/0"},
    {BPE("{\"a\":0,\"b\":1}", "[[\"a\",\"b\"]]", ""), "tokenizer.json/model/merges/0"},
    {BPE("{\"a\":0,\"aa\":1}", "[[\"a\",\"a\"],[\"a\",3]]", ""), "tokenizer.json/model/merges/1"},
    {BPE("{\"a\":0}", "[]", ",\"dropout\":0.5"), "tokenizer.json/model/dropout"},
    {BPE("{\"a\":0,\"aa\":1}", "[\"a a\"]", ",\"continuing_subword_prefix\":\"###\""), "tokenizer.json/model/merges/0"},
    {"{\"normalizer\":{\"type\":\"Lower\"}," WORDS "}", "tokenizer.json/normalizer/type"},
    {"{\"normalizer\":{\"type\":\"Strip\",\"strip_left\":1,\"strip_right\":true}," WORDS "}",
     "tokenizer.json/normalizer/strip_left"},
    {"{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},[]]}," WORDS "}",
     "tokenizer.json/normalizer/normalizers/1"},
    {"{\"normalizer\":" FIVE(FIVE("{\"type\":\"Sequence\",\"normalizers\":[")) FIVE(FIVE("]}")) "," WORDS "}", NULL},
    {SPLIT("("), "tokenizer.json/pre_tokenizer/pattern/Regex"},
    {SPLIT("[a&&b]"), "tokenizer.json/pre_tokenizer/pattern/Regex"},
    {SPLIT("(?m)a"), "tokenizer.json/pre_tokenizer/pattern/Regex"},
    {SPLIT("a{1,2}+"), "tokenizer.json/pre_tokenizer/pattern/Regex"},
    {"{\"added_tokens\":[{\"id\":0}]," WORDS "}", "tokenizer.json/added_tokens/0/content"},
    {"{\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"a\"],\"cls\":[\"b\",2]}," WORDS "}",
     "tokenizer.json/post_processor/sep"},
    {"{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\",\"type_id\":0}}]"
     ","
     "\"pair\":[],\"special_tokens\":{}}," WORDS "}",
     "tokenizer.json/post_processor/single/0/SpecialToken/id"},
    {"{\"decoder\":{\"type\":\"Strip\",\"content\":\"ab\",\"start\":1,\"stop\":0}," WORDS "}",
     "tokenizer.json/decoder/content"},
};

START_TEST(a_file_that_lies_is_refused_with_the_place) {
    struct attn_tokenizer *tokenizer = NULL;
    struct attn_error error = {0};
    ck_assert_int_eq(open_json(lies[_i].json, &tokenizer, &error), ATTN_EFORMAT);
    ck_assert_ptr_null(tokenizer);
    if (lies[_i].field != NULL)
        ck_assert_str_eq(error.field, lies[_i].field);
    ck_assert_uint_gt(strlen(error.message), 0);
}
END_TEST

START_TEST(a_directory_without_a_tokenizer_is_told) {
    struct attn_tokenizer *tokenizer = NULL;
    struct attn_error error = {0};
    ck_assert_int_eq(attn_tokenizer_open(&tokenizer, "/nonexistent", &error), ATTN_EIO);
    ck_assert_str_eq(error.field, "");
    ck_assert_ptr_null(tokenizer);
}
END_TEST

static attn_status encode(const struct attn_tokenizer *tokenizer, const char *text, const char *pair,
                          struct attn_encode_options options, struct attn_encoding *encoding,
                          struct attn_error *error) {
    return attn_tokenizer_encode(tokenizer, text, strlen(text), pair, pair != NULL ? strlen(pair) : 0, &options,
                                 encoding, error);
}

START_TEST(text_that_is_no_utf8_is_refused_with_the_byte) {
    static const struct {
        const char *text;
        size_t at;
    } texts[] = {{"ab\xff", 2},   {"\xc0\x80", 0},          {"a\xed\xa0\x80", 1},
                 {"\xe4\xb8", 0}, {"a\xf4\x90\x80\x80", 1}, {"\xc3\xa9\x80", 2}};
    struct attn_tokenizer *tokenizer = must_open("{" WORDS "}");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct attn_encoding encoding = {0};
        struct attn_error error = {0};
        struct attn_encode_options options = ATTN_ENCODE_DEFAULTS;
        ck_assert_int_eq(encode(tokenizer, texts[i].text, NULL, options, &encoding, &error), ATTN_EFORMAT);
        ck_assert_str_eq(error.field, "text");
        ck_assert_uint_eq(error.offset, texts[i].at);
        ck_assert_int_eq(encode(tokenizer, "a", texts[i].text, options, &encoding, &error), ATTN_EFORMAT);
        ck_assert_str_eq(error.field, "text_pair");
    }
    attn_tokenizer_close(tokenizer);
}
END_TEST

#define FRAMED                                                                                                         \
    "{\"pre_tokenizer\":{\"type\":\"FixedLength\",\"length\":1},\"post_processor\":{\"type\":\"BertProcessing\","      \
    "\"sep\":[\"b\",2],\"cls\":[\"?\",0]}," WORDS "}"

START_TEST(too_many_tokens_are_refused_or_cut_from_the_longest_part) {
    struct attn_tokenizer *tokenizer = must_open(FRAMED);
    struct attn_encoding encoding = {0};
    struct attn_error error = {0};
    struct attn_encode_options options = {.add_special_tokens = true, .max_length = 9};
    ck_assert_int_eq(encode(tokenizer, "aaaa", "aaaaaa", options, &encoding, &error), ATTN_ELIMIT);
    options.truncation = true;
    ck_assert_int_eq(encode(tokenizer, "aa", "aaaaaa", options, &encoding, &error), ATTN_OK);
    ck_assert_uint_eq(encoding.count, 9); /* 2 of the first and 4 of the second, as the package leaves them */
    ck_assert_int_eq(encoding.tokens[2].sequence, 0);
    ck_assert_int_eq(encoding.tokens[3].sequence, -1);
    ck_assert_uint_eq(encoding.tokens[7].end, 4);
    attn_encoding_reset(&encoding);
    options.max_length = 2;
    ck_assert_int_eq(encode(tokenizer, "aa", "aaaaaa", options, &encoding, &error), ATTN_ERANGE);
    attn_tokenizer_close(tokenizer);
}
END_TEST

START_TEST(places_are_told_in_code_points_or_utf16_units) {
    struct attn_tokenizer *tokenizer = must_open(FRAMED);
    struct attn_encoding encoding = {0};
    struct attn_encode_options options = {.add_special_tokens = false};
    const char *text = "\xf0\x9d\x92\x9c\xc3\xa9"; /* two units, then one */
    ck_assert_int_eq(encode(tokenizer, text, NULL, options, &encoding, NULL), ATTN_OK);
    ck_assert_uint_eq(encoding.tokens[1].start, 1);
    ck_assert_uint_eq(encoding.tokens[1].end, 2);
    attn_encoding_reset(&encoding);
    options.offset_unit = ATTN_OFFSET_UTF16;
    ck_assert_int_eq(encode(tokenizer, text, NULL, options, &encoding, NULL), ATTN_OK);
    ck_assert_uint_eq(encoding.tokens[1].start, 2);
    ck_assert_uint_eq(encoding.tokens[1].end, 3);
    attn_encoding_reset(&encoding);
    attn_tokenizer_close(tokenizer);
}
END_TEST

START_TEST(a_pattern_that_takes_too_many_steps_is_told) {
    struct attn_tokenizer *tokenizer = must_open(SPLIT("(a|aa|a?a)+$c|b"));
    struct attn_encoding encoding = {0};
    struct attn_error error = {0};
    char text[2002];
    memset(text, 'a', sizeof text);
    memcpy(text + sizeof text - 3, "bc", 3);
    struct attn_encode_options options = ATTN_ENCODE_DEFAULTS;
    ck_assert_int_eq(encode(tokenizer, text, NULL, options, &encoding, &error), ATTN_ELIMIT);
    ck_assert_str_eq(error.field, "text");
    attn_tokenizer_close(tokenizer);
}
END_TEST

START_TEST(normalisers_that_blow_a_text_up_come_to_an_end) {
#define BLOW "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"" FIVE(FIVE(FIVE(FIVE("a")))) "\"}"
    struct attn_tokenizer *tokenizer =
        must_open("{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[" BLOW "," BLOW "," BLOW "]}," WORDS "}");
    struct attn_encoding encoding = {0};
    struct attn_encode_options options = ATTN_ENCODE_DEFAULTS;
    ck_assert_int_eq(encode(tokenizer, "aa", NULL, options, &encoding, NULL), ATTN_ELIMIT);
    attn_tokenizer_close(tokenizer);
}
END_TEST

#define LONG_A FIVE(FIVE(FIVE(FIVE("a"))))
/* Tokenizers with which a long text takes long, or would take for ever. */
static const char *const slow[] = {
    SPLIT("a*b"),
    SPLIT("a(?=.*b)|a"),
    "{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a*b\"},\"content\":\"\"}," WORDS "}",
    "{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"?\":0,\"a\":1,\"##a\":2,\"" LONG_A "b\":3},\"unk_token\":\"?\","
    "\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":99999999}}",
    "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",-1],[\"" LONG_A "\",-2]],\"unk_id\":0}}",
    BPE("{\"a\":0,\"aa\":1}", "[\"a a\"]", ""),
    "{\"normalizer\":{\"type\":\"NFC\"}," WORDS "}",
};

static bool count_questions(void *context) {
    size_t *questions = context;
    return ++*questions == 2;
}

START_TEST(long_work_ends_when_nobody_waits_for_it) {
    static const char accent[] = "e\xcc\x81";
    struct attn_tokenizer *tokenizer = must_open(slow[_i]);
    struct attn_encoding encoding = {0};
    struct attn_error error = {0};
    size_t length = (size_t)1 << 20, questions = 0;
    char *text = malloc(length + 1);
    ck_assert_ptr_nonnull(text);
    memset(text, 'a', length);
    for (size_t i = 0; strstr(slow[_i], "NFC") != NULL && i + 3 <= length; i += 3)
        memcpy(text + i, accent, 3);
    text[length] = '\0';
    struct attn_encode_options options = ATTN_ENCODE_DEFAULTS;
    options.is_cancelled = count_questions;
    options.cancel_context = &questions;
    ck_assert_int_eq(encode(tokenizer, text, NULL, options, &encoding, &error), ATTN_ECANCELLED);
    ck_assert_str_eq(error.field, "text");
    ck_assert_uint_eq(questions, 2); /* a yes is taken at once */
    free(text);
    attn_tokenizer_close(tokenizer);
}
END_TEST

START_TEST(blanks_behind_tokens_are_looked_at_once) {
    struct attn_tokenizer *tokenizer = must_open(
        "{\"added_tokens\":[{\"id\":9,\"content\":\" \",\"single_word\":false,\"lstrip\":false,\"rstrip\":true,"
        "\"normalized\":false,\"special\":true}]," WORDS "}");
    struct attn_encoding encoding = {0};
    size_t length = (size_t)1 << 20;
    char *text = malloc(length + 1);
    ck_assert_ptr_nonnull(text);
    memset(text, ' ', length);
    text[length] = '\0';
    ck_assert_int_eq(encode(tokenizer, text, NULL, (struct attn_encode_options)ATTN_ENCODE_DEFAULTS, &encoding, NULL),
                     ATTN_ELIMIT); /* each token takes all that follow along, as in the package */
    free(text);
    attn_tokenizer_close(tokenizer);
}
END_TEST

START_TEST(tokens_beyond_all_measure_are_refused) {
    struct attn_tokenizer *tokenizer =
        must_open(BPE("{\"<0x61>\":0,\"<0x70>\":1}", "[]",
                      ",\"byte_fallback\":true,\"continuing_subword_prefix\":\"" FIVE(FIVE("p")) "\""));
    struct attn_encoding encoding = {0};
    struct attn_error error = {0};
    char text[1001] = "";
    memset(text, 'a', sizeof text - 1);
    struct attn_encode_options options = ATTN_ENCODE_DEFAULTS;
    ck_assert_int_eq(encode(tokenizer, text, NULL, options, &encoding, &error), ATTN_ELIMIT);
    ck_assert_str_eq(error.field, "text");
    text[100] = '\0';
    ck_assert_int_eq(encode(tokenizer, text, NULL, options, &encoding, &error), ATTN_OK);
    ck_assert_uint_eq(encoding.count, 1 + 99 * 26);
    attn_encoding_reset(&encoding);
    attn_tokenizer_close(tokenizer);
}
END_TEST

START_TEST(tokens_are_asked_for_by_id_and_by_text) {
    struct attn_tokenizer *tokenizer = must_open(
        "{\"added_tokens\":[{\"id\":9,\"content\":\"[X]\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
        "\"normalized\":false,\"special\":true}],\"decoder\":{\"type\":\"ByteLevel\"},"
        "\"model\":{\"type\":\"BPE\",\"vocab\":{\"\\u0120a\":0,\"\\u00c3\":1,\"b\\u0100c\":2},\"merges\":[]}}");
    ck_assert_uint_eq(attn_tokenizer_vocab_size(tokenizer), 4); /* added tokens get the next id, whatever they say */
    ck_assert_str_eq(attn_tokenizer_token_text(tokenizer, 0), " a");
    ck_assert_str_eq(attn_tokenizer_token(tokenizer, 0), "\xc4\xa0"
                                                         "a");
    ck_assert_str_eq(attn_tokenizer_token_text(tokenizer, 1), "\xef\xbf\xbd");
    ck_assert_str_eq(attn_tokenizer_token_text(tokenizer, 2), "b\xef\xbf\xbd"
                                                              "c"); /* U+0100 stands for a NUL */
    ck_assert_str_eq(attn_tokenizer_token_text(tokenizer, 3), "[X]");
    ck_assert_ptr_null(attn_tokenizer_token_text(tokenizer, 4));
    ck_assert_ptr_null(attn_tokenizer_token(tokenizer, -1));
    ck_assert_int_eq(attn_tokenizer_id(tokenizer, "[X]"), 3);
    ck_assert_int_eq(attn_tokenizer_id(tokenizer, "a"), -1);
    int64_t ids[] = {0, 3, 4};
    char *text = NULL;
    ck_assert_int_eq(attn_tokenizer_decode(tokenizer, ids, 2, false, &text, NULL), ATTN_OK);
    ck_assert_str_eq(text, " a[X]");
    free(text);
    ck_assert_int_eq(attn_tokenizer_decode(tokenizer, ids, 3, false, &text, NULL), ATTN_ERANGE);
    attn_tokenizer_close(tokenizer);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("tokenizers that lie");
    TCase *cases = tcase_create("refusals");
    tcase_set_timeout(cases, 120);
    tcase_add_loop_test(cases, a_file_that_lies_is_refused_with_the_place, 0, (int)(sizeof lies / sizeof *lies));
    tcase_add_test(cases, a_directory_without_a_tokenizer_is_told);
    tcase_add_test(cases, text_that_is_no_utf8_is_refused_with_the_byte);
    tcase_add_test(cases, too_many_tokens_are_refused_or_cut_from_the_longest_part);
    tcase_add_test(cases, places_are_told_in_code_points_or_utf16_units);
    tcase_add_test(cases, a_pattern_that_takes_too_many_steps_is_told);
    tcase_add_test(cases, normalisers_that_blow_a_text_up_come_to_an_end);
    tcase_add_loop_test(cases, long_work_ends_when_nobody_waits_for_it, 0, (int)(sizeof slow / sizeof *slow));
    tcase_add_test(cases, blanks_behind_tokens_are_looked_at_once);
    tcase_add_test(cases, tokens_beyond_all_measure_are_refused);
    tcase_add_test(cases, tokens_are_asked_for_by_id_and_by_text);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
