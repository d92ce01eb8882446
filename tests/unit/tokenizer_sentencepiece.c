/* SentencePiece's models and the parts that come with them: files that lie are refused, and say where. */
#include "tests/unit/directory.h"
#include "tests/unit/run_suite.h"
#include <attn/tokenizer.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A message of Protocol Buffers under way. */
struct message {
    char bytes[4096];
    size_t length;
};

static void put(struct message *message, const void *bytes, size_t length) {
    ck_assert_uint_le(message->length + length, sizeof message->bytes);
    memcpy(message->bytes + message->length, bytes, length);
    message->length += length;
}

static void put_byte(struct message *message, unsigned byte) {
    put(message, &(unsigned char){(unsigned char)byte}, 1);
}

/* A field of bytes, fewer than 16384. */
static void put_bytes(struct message *message, unsigned number, const void *bytes, size_t length) {
    put_byte(message, number << 3 | 2);
    put_byte(message, (unsigned)(length & 127) | 128);
    put_byte(message, (unsigned)(length >> 7));
    put(message, bytes, length);
}

static void put_piece(struct message *model, const char *text, float score, unsigned type) {
    struct message piece = {.length = 0};
    put_bytes(&piece, 1, text, strlen(text));
    put_byte(&piece, 2 << 3 | 5);
    put(&piece, &score, sizeof score);
    put_byte(&piece, 3 << 3);
    put_byte(&piece, type);
    put_bytes(model, 1, piece.bytes, piece.length);
}

/* Three special pieces, then "a", "b" and "ab". */
static struct message small_model(unsigned algorithm) {
    struct message model = {.length = 0};
    put_piece(&model, "<unk>", 0, 2);
    put_piece(&model, "<s>", 0, 3);
    put_piece(&model, "</s>", 0, 3);
    put_piece(&model, "\xe2\x96\x81", -1, 1);
    put_piece(&model, "a", -2, 1);
    put_piece(&model, "b", -3, 1);
    put_piece(&model, "ab", -4, 1);
    put_bytes(&model, 2, (char[]){3 << 3, (char)algorithm}, 2);
    return model;
}

static void put_charsmap(struct message *model, const void *bytes, size_t length) {
    struct message normalizer = {.length = 0};
    put_bytes(&normalizer, 2, bytes, length);
    put_bytes(model, 3, normalizer.bytes, normalizer.length);
}

static attn_status open_model(const struct message *model, const char *config, struct attn_tokenizer **tokenizer,
                              struct attn_error *error) {
    make_directory();
    write_bytes(in_directory("tokenizer.model"), model->bytes, model->length);
    write_text(in_directory("tokenizer_config.json"), config);
    attn_status status = attn_tokenizer_open(tokenizer, directory, error);
    remove_directory();
    return status;
}

static void must_refuse(const struct message *model, const char *config, const char *field, const char *message) {
    struct attn_tokenizer *tokenizer = NULL;
    struct attn_error error = {0};
    ck_assert_int_eq(open_model(model, config, &tokenizer, &error), ATTN_EFORMAT);
    ck_assert_ptr_null(tokenizer);
    ck_assert_str_eq(error.field, field);
    ck_assert_msg(strstr(error.message, message) != NULL, "\"%s\" does not say \"%s\"", error.message, message);
}

static void must_encode(const struct message *model, const char *config, const char *text, const int64_t *ids,
                        size_t count) {
    struct attn_tokenizer *tokenizer = NULL;
    struct attn_error error = {0};
    struct attn_encoding encoding = {0};
    attn_status status = open_model(model, config, &tokenizer, &error);
    ck_assert_msg(status == ATTN_OK, "%s: %s", error.field, error.message);
    ck_assert_int_eq(attn_tokenizer_encode(tokenizer, text, strlen(text), NULL, 0, NULL, &encoding, NULL), ATTN_OK);
    ck_assert_uint_eq(encoding.count, count);
    for (size_t i = 0; i < count; i++)
        ck_assert_int_eq(encoding.tokens[i].id, ids[i]);
    attn_encoding_reset(&encoding);
    attn_tokenizer_close(tokenizer);
}

START_TEST(either_algorithm_follows_its_own_settings_without_a_class) {
    /* As transformers 5.24 and sentencepiece 0.2.3 encode " ab ba": the space before it is one of the text's ends. */
    struct message unigram = small_model(1), bpe = small_model(2);
    must_encode(&unigram, "{}", " ab ba", (int64_t[]){3, 6, 3, 5, 4}, 5);
    must_encode(&bpe, "{}", " ab ba", (int64_t[]){3, 6, 3, 5, 4}, 5);
}
END_TEST

START_TEST(files_that_are_no_models_are_refused) {
    static const struct {
        const char *bytes;
        size_t length;
        const char *message;
    } cases[] = {
        {"", 0, "0 pieces"}, /* an empty message */
        {"\x0a\x7f"
         "a",
         3, "no SentencePiece model"},                                                  /* longer than the file */
        {"\x0b", 1, "no SentencePiece model"},                                          /* a group */
        {"\x00\x01", 2, "no SentencePiece model"},                                      /* a field without a number */
        {"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 11, "no SentencePiece model"}, /* more than 64 bits */
        {"\x0a\x02\x0a\x05", 4, "a piece is broken"},
        {"\x0a\x03\x0a\x01\xff", 5, "a piece is no UTF-8"},
        {"\x0a\x03\x0a\x01\x00", 5, "a piece holds a NUL"},
        {"\x0a\x05\x15\x00\x00\xc0\x7f", 7, "score is no number"},
        {"\x0a\x00\x12\x02\x18\x03", 6, "type is not known"}, /* words */
        {"\x0a\x00\x12\x02\x40\x09\x12\x01\x12", 9, "trainer's settings are broken"},
        {"\x0a\x00\x1a\x01\x12", 5, "normaliser's settings are broken"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct message model = {.length = 0};
        put(&model, cases[i].bytes, cases[i].length);
        must_refuse(&model, "{}", "tokenizer.model", cases[i].message);
    }
}
END_TEST

START_TEST(special_pieces_out_of_range_are_refused) {
    struct message model = small_model(1);
    put_bytes(&model, 2, "\xc0\x02\x07", 3); /* unk_id of seven pieces */
    must_refuse(&model, "{}", "tokenizer.model", "out of range");
}
END_TEST

START_TEST(a_class_that_is_not_known_names_those_that_are) {
    struct message model = small_model(1);
    must_refuse(&model, "{\"tokenizer_class\": \"MarianTokenizer\"}", "tokenizer.model", "T5Tokenizer");
}
END_TEST

START_TEST(a_class_gets_the_algorithm_that_it_needs) {
    struct message unigram = small_model(1), bpe = small_model(2);
    must_refuse(&bpe, "{\"tokenizer_class\": \"T5Tokenizer\"}", "tokenizer.model", "type unigram");
    must_refuse(&unigram, "{\"tokenizer_class\": \"LlamaTokenizerFast\"}", "tokenizer.model", "type bpe");
}
END_TEST

START_TEST(configs_that_lie_are_refused) {
    struct message model = small_model(1);
    must_refuse(&model, "[]", "tokenizer_config.json", "an object is needed");
    must_refuse(&model, "{\"tokenizer_class\": \"T5Tokenizer\", \"extra_ids\": 65537}", "tokenizer.model/extra_ids",
                "65536");
    must_refuse(&model, "{\"tokenizer_class\": \"T5Tokenizer\", \"eos_token\": 3}", "tokenizer.model/eos_token",
                "text is needed");
    must_refuse(&model, "{\"additional_special_tokens\": [\"\"]}", "tokenizer.model", "empty");
}
END_TEST

static const char *const map_field = "tokenizer.model/normalizer/normalizers/0/precompiled_charsmap";

START_TEST(maps_of_characters_that_lie_are_refused) {
    struct message cut = small_model(1), long_tree = small_model(1), text = small_model(1);
    put_charsmap(&cut, "\x04\x00", 2);
    must_refuse(&cut, "{}", map_field, "cut short");
    put_charsmap(&long_tree, "\x08\x00\x00\x00\x00\x00\x00\x00", 8);
    must_refuse(&long_tree, "{}", map_field, "does not fit");
    put_charsmap(&text, "\x04\x00\x00\x00\x00\x00\x00\x00\xff", 9);
    must_refuse(&text, "{}", map_field, "no UTF-8");
}
END_TEST

START_TEST(trees_that_point_out_of_the_map_find_nothing) {
    struct message model = small_model(1);
    put_charsmap(&model,
                 "\x04\x00\x00\x00\x00\xff\xff\xff"
                 "x",
                 9);
    must_encode(&model, "{}", "ab", (int64_t[]){3, 6}, 2);
}
END_TEST

START_TEST(unigram_models_that_lie_are_refused) {
    static const struct {
        const char *model, *field;
    } cases[] = {
        {"{\"type\": \"Unigram\", \"vocab\": []}", "tokenizer.json/model/vocab"},
        {"{\"type\": \"Unigram\", \"vocab\": {}}", "tokenizer.json/model/vocab"},
        {"{\"type\": \"Unigram\", \"vocab\": [[\"a\"]]}", "tokenizer.json/model/vocab/0"},
        {"{\"type\": \"Unigram\", \"vocab\": [[\"a\", \"b\"]]}", "tokenizer.json/model/vocab/0"},
        {"{\"type\": \"Unigram\", \"vocab\": [[\"a\", 0.5]], \"unk_id\": 1}", "tokenizer.json/model/unk_id"},
        {"{\"type\": \"Unigram\", \"vocab\": [[\"a\", 0.5]], \"unk_id\": -1}", "tokenizer.json/model/unk_id"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[256];
        struct attn_tokenizer *tokenizer = NULL;
        struct attn_error error = {0};
        snprintf(json, sizeof json, "{\"model\": %s}", cases[i].model);
        make_directory();
        write_text(in_directory("tokenizer.json"), json);
        ck_assert_int_eq(attn_tokenizer_open(&tokenizer, directory, &error), ATTN_EFORMAT);
        ck_assert_str_eq(error.field, cases[i].field);
        remove_directory();
    }
}
END_TEST

START_TEST(a_character_that_nothing_stands_for_is_refused_where_there_is_no_unknown_token) {
    static const char json[] = "{\"model\": {\"type\": \"Unigram\", \"vocab\": [[\"a\", 0.5]]}}";
    struct attn_tokenizer *tokenizer = NULL;
    struct attn_error error = {0};
    struct attn_encoding encoding = {0};
    make_directory();
    write_text(in_directory("tokenizer.json"), json);
    ck_assert_int_eq(attn_tokenizer_open(&tokenizer, directory, &error), ATTN_OK);
    remove_directory();
    ck_assert_int_eq(attn_tokenizer_encode(tokenizer, "ab", 2, NULL, 0, NULL, &encoding, &error), ATTN_EFORMAT);
    ck_assert_str_eq(error.field, "text");
    attn_tokenizer_close(tokenizer);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("tokenizer_sentencepiece");
    TCase *cases = tcase_create("models");
    tcase_add_test(cases, either_algorithm_follows_its_own_settings_without_a_class);
    tcase_add_test(cases, files_that_are_no_models_are_refused);
    tcase_add_test(cases, special_pieces_out_of_range_are_refused);
    tcase_add_test(cases, a_class_that_is_not_known_names_those_that_are);
    tcase_add_test(cases, a_class_gets_the_algorithm_that_it_needs);
    tcase_add_test(cases, configs_that_lie_are_refused);
    tcase_add_test(cases, maps_of_characters_that_lie_are_refused);
    tcase_add_test(cases, trees_that_point_out_of_the_map_find_nothing);
    tcase_add_test(cases, unigram_models_that_lie_are_refused);
    tcase_add_test(cases, a_character_that_nothing_stands_for_is_refused_where_there_is_no_unknown_token);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
