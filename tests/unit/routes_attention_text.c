/* Texts to ids on their way to a model, and ids to tokens: with a tiny model and a tokenizer of a few words. */
#include "server/routes/attention_transformer.h"
#include "tests/unit/run_suite.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODELS "tests/golden/data/models/"

static struct arena *arena;
static struct attn_model *transformer_model;
static struct attn_tokenizer *tokenizer;
static struct model model;
static struct problem problem;
static struct attention_transformer transformer;
static struct attention_work_place place;
static char folder[] = "/tmp/attnd-words-XXXXXX";

static const char words[] =
    "{\"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"},"
    " \"post_processor\": {\"type\": \"BertProcessing\", \"sep\": [\"[SEP]\", 3], \"cls\": [\"[CLS]\", 2]},"
    " \"model\": {\"type\": \"WordPiece\", \"unk_token\": \"[UNK]\", \"continuing_subword_prefix\": \"##\","
    " \"max_input_chars_per_word\": 100, \"vocab\": {\"[PAD]\": 0, \"[UNK]\": 1, \"[CLS]\": 2, \"[SEP]\": 3,"
    " \"[MASK]\": 4, \"the\": 5, \"cat\": 6, \"##s\": 7, \"sat\": 8}}}";

static void make_tokenizer(void) {
    char path[64];
    struct attn_error error = {0};
    memcpy(folder + strlen(folder) - 6, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(words, file);
    fclose(file);
    attn_status status = attn_tokenizer_open(&tokenizer, folder, &error);
    unlink(path);
    rmdir(folder);
    ck_assert_msg(status == ATTN_OK, "%s: %s", error.field, error.message);
}

static void open_model(const char *name) {
    struct attn_error error = {0};
    attn_model_close(transformer_model);
    transformer_model = NULL;
    ck_assert_msg(attn_model_open(&transformer_model, name, &error) == ATTN_OK, "%s: %s", error.field, error.message);
    model.transformer = transformer_model;
}

static void setup(void) {
    arena = arena_create();
    make_tokenizer();
    model = (struct model){.id = "m", .kind = "transformer", .tokenizer = tokenizer};
    open_model(MODELS "bert");
    memset(&problem, 0, sizeof problem);
    transformer = (struct attention_transformer){.add_special_tokens = true};
    place = (struct attention_work_place){.model = &model, .arena = arena, .max_elements = 1000};
}

static void teardown(void) {
    attn_tokenizer_close(tokenizer);
    attn_model_close(transformer_model);
    transformer_model = NULL;
    arena_destroy(arena);
}

static struct attention_texts texts_of(const char *const *list, size_t count, bool has_batch) {
    struct attention_texts texts = {.count = count, .has_batch = has_batch};
    texts.texts = arena_alloc(arena, count * sizeof *texts.texts);
    texts.lengths = arena_alloc(arena, count * sizeof *texts.lengths);
    for (size_t i = 0; i < count; i++) {
        texts.texts[i] = list[i];
        texts.lengths[i] = strlen(list[i]);
    }
    return texts;
}

static const char *const two[] = {"the cats sat", "cat"};

static void encode_ok(void) {
    ck_assert_msg(attention_encode_texts(&transformer, &place, &problem), "%s: %s", problem.pointer, problem.detail);
}

static void check_integers(const struct attn_view *view, const int64_t *expected, size_t count) {
    ck_assert_uint_eq(attn_view_elements(view), count);
    for (size_t i = 0; i < count; i++) {
        ck_assert_int_eq(((const int64_t *)view->data)[i], expected[i]);
    }
}

START_TEST(uneven_texts_are_padded_and_masked) {
    transformer.text = texts_of(two, 2, true);
    encode_ok();
    check_integers(&transformer.inputs.input_ids, (int64_t[]){2, 5, 6, 7, 8, 3, 2, 6, 3, 0, 0, 0}, 12);
    check_integers(&transformer.inputs.token_type_ids, (int64_t[12]){0}, 12);
    ck_assert_int_eq(transformer.inputs.input_ids.rank, 2);
    ck_assert_int_eq(memcmp(transformer.inputs.attention_mask.data, "\1\1\1\1\1\1\1\1\1\0\0\0", 12), 0);
    ck_assert_uint_eq(transformer.tokens.lengths[0], 6);
    ck_assert_uint_eq(transformer.tokens.lengths[1], 3);
    ck_assert_str_eq(transformer.tokens.items[0][3].text, "##s");
}
END_TEST

START_TEST(one_text_has_neither_batch_nor_mask) {
    transformer.text = texts_of(two, 1, false);
    transformer.text_pair = texts_of(two + 1, 1, false);
    encode_ok();
    check_integers(&transformer.inputs.input_ids, (int64_t[]){2, 5, 6, 7, 8, 3, 6, 3}, 8);
    check_integers(&transformer.inputs.token_type_ids, (int64_t[]){0, 0, 0, 0, 0, 0, 1, 1}, 8);
    ck_assert_int_eq(transformer.inputs.input_ids.rank, 1);
    ck_assert_ptr_null(transformer.inputs.attention_mask.data);
}
END_TEST

struct ledger {
    size_t taken, given, most;
};

static bool take(void *context, size_t bytes) {
    struct ledger *ledger = context;
    if (bytes > ledger->most) {
        return false;
    }
    ledger->taken += bytes;
    return true;
}

static void give(void *context, size_t bytes) {
    ((struct ledger *)context)->given += bytes;
}

START_TEST(a_tokenizers_memory_is_accounted_while_it_works) {
    const size_t seen = 200; /* bytes a byte of ASCII, at the height of encoding it as tokens of a byte each */
    char *text = arena_alloc(arena, 10001);
    memset(text, 'a', 10000);
    transformer.text = texts_of((const char *const[]){text}, 1, false);
    struct ledger ledger = {.most = SIZE_MAX};
    arena_set_account(arena, (struct arena_account){take, give, &ledger});
    encode_ok(); /* one word that is not known */
    ck_assert_uint_ge(ledger.given, 10000 * seen);
    ck_assert_uint_lt(ledger.taken - ledger.given, 1 << 20);
    ledger = (struct ledger){.most = 10000 * seen};
    transformer.tokens = (struct attention_tokens){0};
    ck_assert(!attention_encode_texts(&transformer, &place, &problem));
    ck_assert_int_eq(problem.id, PROBLEM_BUSY);
}
END_TEST

START_TEST(what_normalising_may_make_of_a_text_is_accounted) {
    enum { COUNT = 1000 };
    char *text = arena_alloc(arena, 3 * COUNT + 1);
    for (size_t i = 0; i < COUNT; i++) {
        memcpy(text + 3 * i, "\xEF\xB7\xBA", 3); /* U+FDFA, 33 bytes under NFKC */
    }
    transformer.text = texts_of((const char *const[]){text}, 1, false);
    struct ledger ledger = {.most = 33 * COUNT * sizeof(struct attn_token)};
    arena_set_account(arena, (struct arena_account){take, give, &ledger});
    ck_assert(!attention_encode_texts(&transformer, &place, &problem));
    ck_assert_int_eq(problem.id, PROBLEM_BUSY);
}
END_TEST

static bool always(void *context) {
    (void)context;
    return true;
}

START_TEST(encoding_stops_when_it_is_told_to) {
    const struct attn_execution execution = {.is_cancelled = always};
    transformer.text = texts_of(two, 2, true);
    place.execution = &execution;
    ck_assert(!attention_encode_texts(&transformer, &place, &problem));
    ck_assert_int_eq(problem.id, PROBLEM_DEADLINE);
}
END_TEST

START_TEST(more_ids_than_elements_are_refused) {
    transformer.text = texts_of(two, 2, true);
    place.max_elements = 11;
    ck_assert(!attention_encode_texts(&transformer, &place, &problem));
    ck_assert_int_eq(problem.id, PROBLEM_TOO_LARGE);
    ck_assert_str_eq(problem.pointer, "/text");
    place.max_elements = 12;
    transformer.tokens = (struct attention_tokens){0};
    encode_ok();
}
END_TEST

START_TEST(a_decoder_without_input_starts_each_item) {
    open_model(MODELS "bart");
    transformer.text = texts_of(two, 2, true);
    encode_ok();
    check_integers(&transformer.inputs.decoder_input_ids, (int64_t[]){2, 2}, 2);
    ck_assert_int_eq(transformer.inputs.decoder_input_ids.rank, 2);
    transformer = (struct attention_transformer){.add_special_tokens = true};
    transformer.text = texts_of(two, 1, false);
    encode_ok();
    ck_assert_int_eq(transformer.inputs.decoder_input_ids.rank, 1);
}
END_TEST

START_TEST(a_decoders_text_stands_behind_its_start) {
    open_model(MODELS "t5"); /* whose start token is 0, and here [PAD] */
    transformer.text = transformer.decoder_text = texts_of(two, 2, true);
    encode_ok();
    /* [CLS] the cat ##s sat, with [SEP] fallen out */
    check_integers(&transformer.inputs.decoder_input_ids, (int64_t[]){0, 2, 5, 6, 7, 8, 0, 2, 6, 0, 0, 0}, 12);
    ck_assert_int_eq(memcmp(transformer.inputs.decoder_attention_mask.data, "\1\1\1\1\1\1\1\1\1\0\0\0", 12), 0);
    ck_assert(transformer.decoder_tokens.items[1][0].special);
    ck_assert_str_eq(transformer.decoder_tokens.items[1][0].text, "[PAD]");
}
END_TEST

START_TEST(ids_are_listed_up_to_the_last_that_takes_part) {
    static int64_t ids[] = {0, 2, 6, 3, 0, 2, 5, 6, 7, 3};
    static unsigned char mask[] = {0, 1, 1, 1, 0, 1, 1, 0, 1, 1};
    const size_t shape[] = {2, 5};
    transformer.inputs.input_ids = attn_view_contiguous(ids, ATTN_INT64, 2, shape);
    transformer.inputs.attention_mask = attn_view_contiguous(mask, ATTN_BOOL, 2, shape);
    ck_assert(attention_list_tokens(&transformer, &place, &problem));
    ck_assert_uint_eq(transformer.tokens.lengths[0], 4);
    ck_assert_uint_eq(transformer.tokens.lengths[1], 5);
    const struct attn_token *first = transformer.tokens.items[0];
    ck_assert(first[0].special && first[1].special && !first[2].special && first[3].special);
    ck_assert_str_eq(first[2].text, "cat");
    ck_assert_int_eq(first[2].sequence, -1);
}
END_TEST

START_TEST(errors_about_ids_of_texts_point_at_the_texts) {
    static const struct {
        const char *field, *pointer;
    } rows[] = {{"input_ids/1/3", "/text/1"},
                {"input_ids", "/text"},
                {"decoder_input_ids/0/1", "/decoder_input_ids/0/1"},
                {"input_ids_of", "/input_ids_of"},
                {"layers/0", "/layers/0"}};
    transformer.text = texts_of(two, 2, true);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct attn_error error = {.status = ATTN_ERANGE, .message = "out of range"};
        snprintf(error.field, sizeof error.field, "%s", rows[i].field);
        attention_problem_from_inputs(&problem, &transformer, &error);
        ck_assert_str_eq(problem.pointer, rows[i].pointer);
    }
    transformer.text.has_batch = false;
    attention_problem_from_inputs(&problem, &transformer,
                                  &(struct attn_error){.status = ATTN_ERANGE, .field = "input_ids/3"});
    ck_assert_str_eq(problem.pointer, "/text");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("attention text");
    TCase *tests = tcase_create("attention text");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, uneven_texts_are_padded_and_masked);
    tcase_add_test(tests, one_text_has_neither_batch_nor_mask);
    tcase_add_test(tests, a_tokenizers_memory_is_accounted_while_it_works);
    tcase_add_test(tests, what_normalising_may_make_of_a_text_is_accounted);
    tcase_add_test(tests, encoding_stops_when_it_is_told_to);
    tcase_add_test(tests, more_ids_than_elements_are_refused);
    tcase_add_test(tests, a_decoder_without_input_starts_each_item);
    tcase_add_test(tests, a_decoders_text_stands_behind_its_start);
    tcase_add_test(tests, ids_are_listed_up_to_the_last_that_takes_part);
    tcase_add_test(tests, errors_about_ids_of_texts_point_at_the_texts);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
