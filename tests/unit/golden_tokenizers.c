/**
 * Twenty thousand texts in many scripts through every tokenizer that tests/golden/data/tokenizers has, against what the
 * tokenizers package makes of them: ids, places in code points and UTF-16, types, pairs, cutting, decoding.
 * tests/golden/make_tokenizers.py made the files and can show what is expected of one text. A tokenizer whose files are
 * too large for the repository is run where they are in the folder that GOLDEN_TOKENIZERS names (build/tokenizers).
 */
#include "tests/golden/runner/gunzip.h"

#include <attn/tokenizer.h>
#include <glob.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DATA "tests/golden/data/tokenizers/"

enum { BLOCK = 64, TEXTS = 20480, NAME = 128, PATH = 512 };

/* Sanitizers are slow: every so many blocks are run there; an odd number, so that all modes have their turns. */
#if defined(__SANITIZE_THREAD__)
enum { STRIDE = 29 };
#elif defined(__SANITIZE_ADDRESS__)
enum { STRIDE = 5 };
#else
enum { STRIDE = 1 };
#endif

/*
 * Tokenizers that differ from another one by the files they are read from or by one setting; it is enough to run every
 * so many blocks of these. All others, among them all that somebody uses and one of each kind, run all texts.
 */
enum { TWIN_STRIDE = 5 };
static const char *const twins[] = {"bert_cased_files", "bert_files",   "bert_lower_accents", "bert_strip",
                                    "clip_files",       "gpt2_files",   "gpt2_prefix",        "llama2_metaspace",
                                    "roberta_files",    "unigram_first"};

static size_t stride_of(const char *name) {
    for (size_t i = 0; i < sizeof twins / sizeof *twins; i++) {
        if (strcmp(twins[i], name) == 0 && (int)STRIDE < (int)TWIN_STRIDE)
            return TWIN_STRIDE;
    }
    return STRIDE;
}

struct text {
    const char *bytes;
    size_t length;
};

enum mode { SINGLE, PLAIN, PAIR, CUT, PAIR_CUT };
static const enum mode modes[8] = {SINGLE, SINGLE, SINGLE, PLAIN, PAIR, CUT, PAIR_CUT, SINGLE};

/* ck_assert writes to a file even when it holds: too slow where it is asked a million times. */
#define require(holds, ...)                                                                                            \
    do {                                                                                                               \
        if (!(holds))                                                                                                  \
            ck_abort_msg(__VA_ARGS__);                                                                                 \
    } while (0)

static glob_t names; /* of the files of expectations */

static char *read_texts(struct text *texts) {
    size_t length, at = 0;
    char *bytes = golden_gunzip(DATA "texts.bin.gz", &length);
    for (size_t i = 0; i < TEXTS; i++) {
        uint32_t size;
        require(at + sizeof size <= length, "texts.bin.gz is cut short");
        memcpy(&size, bytes + at, sizeof size); /* little-endian, as all machines that this runs on */
        texts[i] = (struct text){bytes + at + sizeof size, size};
        at += sizeof size + size;
    }
    ck_assert_uint_eq(at, length);
    return bytes;
}

/* Unpacks data/tokenizers/NAME into a new directory. @return false where the repository does not have it. */
static bool unpack(const char *name, char *folder) {
    char pattern[PATH], to[PATH];
    snprintf(pattern, sizeof pattern, DATA "%s/*.gz", name);
    glob_t files;
    if (glob(pattern, 0, NULL, &files) != 0)
        return false;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    for (size_t i = 0; i < files.gl_pathc; i++) {
        const char *base = strrchr(files.gl_pathv[i], '/') + 1;
        snprintf(to, sizeof to, "%s/%.*s", folder, (int)(strlen(base) - 3), base);
        golden_gunzip_to(files.gl_pathv[i], to);
    }
    globfree(&files);
    return true;
}

static void remove_folder(const char *folder) {
    char pattern[PATH];
    snprintf(pattern, sizeof pattern, "%s/*", folder);
    glob_t files;
    if (glob(pattern, 0, NULL, &files) == 0) {
        for (size_t i = 0; i < files.gl_pathc; i++)
            unlink(files.gl_pathv[i]);
        globfree(&files);
    }
    rmdir(folder);
}

/* @return NULL where the tokenizer's files are not there. */
static struct attn_tokenizer *open_tokenizer(const char *name) {
    char unpacked[] = "/tmp/golden-tokenizer-XXXXXX", given[2 * PATH];
    const char *root = getenv("GOLDEN_TOKENIZERS");
    snprintf(given, sizeof given, "%s/%s", root != NULL ? root : "build/tokenizers", name);
    bool is_kept = unpack(name, unpacked);
    if (!is_kept && access(given, R_OK) != 0)
        return NULL;
    struct attn_tokenizer *tokenizer = NULL;
    struct attn_error error = {0};
    attn_status status = attn_tokenizer_open(&tokenizer, is_kept ? unpacked : given, &error);
    if (is_kept)
        remove_folder(unpacked);
    ck_assert_msg(status == ATTN_OK, "%s: %s: %s", name, error.field, error.message);
    return tokenizer;
}

static struct attn_encoding encode(const struct attn_tokenizer *tokenizer, const struct text *texts, size_t index,
                                   enum mode mode, attn_offset_unit unit) {
    const struct text *text = &texts[index], *pair = &texts[(index + 1) % TEXTS];
    bool has_pair = mode == PAIR || mode == PAIR_CUT;
    struct attn_encode_options options = ATTN_ENCODE_DEFAULTS;
    options.add_special_tokens = mode != PLAIN;
    options.offset_unit = unit;
    options.truncation = mode == CUT || mode == PAIR_CUT;
    options.max_length = mode == CUT ? 6 + index % 19 : mode == PAIR_CUT ? 8 + index % 29 : 0;
    struct attn_encoding encoding = {0};
    struct attn_error error = {0};
    attn_status status = attn_tokenizer_encode(tokenizer, text->bytes, text->length, has_pair ? pair->bytes : NULL,
                                               has_pair ? pair->length : 0, &options, &encoding, &error);
    require(status == ATTN_OK, "text %zu: %s: %s", index, error.field, error.message);
    return encoding;
}

static void add(uint32_t *sum, const void *bytes, size_t length) {
    *sum = (uint32_t)crc32(*sum, bytes, (unsigned)length);
}

static void add_ids(uint32_t *sum, const struct attn_encoding *encoding) {
    int32_t count = (int32_t)encoding->count;
    add(sum, &count, sizeof count);
    for (size_t i = 0; i < encoding->count; i++) {
        int32_t id = (int32_t)encoding->tokens[i].id;
        add(sum, &id, sizeof id);
    }
}

static void add_places(uint32_t *sum, const struct attn_encoding *points, const struct attn_encoding *units) {
    require(points->count == units->count, "%zu tokens, %zu in UTF-16", points->count, units->count);
    for (size_t i = 0; i < points->count; i++) {
        const struct attn_token *token = &points->tokens[i], *unit = &units->tokens[i];
        int32_t row[7] = {(int32_t)token->start,   (int32_t)token->end,     (int32_t)unit->start, (int32_t)unit->end,
                          (int32_t)token->type_id, (int32_t)token->special, token->sequence};
        add(sum, row, sizeof row);
    }
}

static void add_decoded(uint32_t *sum, const struct attn_tokenizer *tokenizer, const struct attn_encoding *encoding) {
    int64_t *ids = malloc((encoding->count + 1) * sizeof *ids);
    require(ids != NULL, "no memory");
    for (size_t i = 0; i < encoding->count; i++)
        ids[i] = encoding->tokens[i].id;
    for (int skips = 1; skips >= 0; skips--) {
        char *text = NULL;
        attn_status status = attn_tokenizer_decode(tokenizer, ids, encoding->count, skips, &text, NULL);
        require(status == ATTN_OK, "decoding fails with %d", status);
        add(sum, text, strlen(text) + 1);
        free(text);
    }
    free(ids);
}

/* Units of UTF-16 are code points in a text without characters beyond U+FFFF; some of those are seen to be. */
static bool has_own_units(const struct text *texts, size_t index) {
    enum { SEEN = 16 };
    if (index % SEEN == 0)
        return true;
    for (size_t i = index; i < index + 2; i++) { /* with the pair */
        const struct text *text = &texts[i % TEXTS];
        for (size_t at = 0; at < text->length; at++) {
            if ((unsigned char)text->bytes[at] >= 0xf0)
                return true;
        }
    }
    return false;
}

/* Sums over a block as make_tokenizers.py makes them: ids, places, decoded texts. */
static void sum_block(const struct attn_tokenizer *tokenizer, const struct text *texts, size_t block,
                      uint32_t sums[3]) {
    enum mode mode = modes[block % 8];
    memset(sums, 0, 3 * sizeof *sums);
    for (size_t index = block * BLOCK; index < (block + 1) * BLOCK; index++) {
        struct attn_encoding points = encode(tokenizer, texts, index, mode, ATTN_OFFSET_CODE_POINTS);
        struct attn_encoding units = {0};
        if (has_own_units(texts, index))
            units = encode(tokenizer, texts, index, mode, ATTN_OFFSET_UTF16);
        add_ids(&sums[0], &points);
        add_places(&sums[1], &points, units.tokens != NULL ? &units : &points);
        add_decoded(&sums[2], tokenizer, &points);
        attn_encoding_reset(&points);
        attn_encoding_reset(&units);
    }
}

/* @return how many of the three differ. */
static int compare_block(const struct attn_tokenizer *tokenizer, const struct text *texts, size_t block,
                         const json_t *expected, const char *name, bool says) {
    static const char *const what[3] = {"ids", "places", "decoded texts"};
    uint32_t sums[3];
    int different = 0;
    sum_block(tokenizer, texts, block, sums);
    for (size_t i = 0; i < 3; i++) {
        char sum[9];
        snprintf(sum, sizeof sum, "%08x", sums[i]);
        if (strcmp(sum, json_string_value(json_array_get(expected, i))) != 0) {
            if (says)
                printf("%s: %s of texts %zu to %zu differ\n", name, what[i], block * BLOCK, (block + 1) * BLOCK - 1);
            fflush(stdout); /* before the process ends */
            different++;
        }
    }
    return different;
}

static void compare_example(const struct attn_tokenizer *tokenizer, const struct text *texts, size_t index,
                            const json_t *expected, const char *name) {
    struct attn_encoding encoding = encode(tokenizer, texts, index, SINGLE, ATTN_OFFSET_CODE_POINTS);
    const json_t *ids = json_object_get(expected, "ids"), *back = json_object_get(expected, "back");
    back = back != NULL ? back : ids; /* what the tokens' texts are found as */
    for (size_t i = 0; i < encoding.count && i < json_array_size(ids); i++) {
        const struct attn_token *token = &encoding.tokens[i];
        json_int_t id = json_integer_value(json_array_get(ids, i));
        ck_assert_msg(token->id == id, "%s, text %zu, token %zu: %lld for %lld", name, index, i, (long long)token->id,
                      (long long)id);
        json_int_t start = json_integer_value(json_array_get(json_object_get(expected, "start"), i));
        json_int_t end = json_integer_value(json_array_get(json_object_get(expected, "end"), i));
        ck_assert_msg((json_int_t)token->start == start && (json_int_t)token->end == end,
                      "%s, text %zu, token %zu: %zu..%zu for %lld..%lld", name, index, i, token->start, token->end,
                      (long long)start, (long long)end);
        const char *text = json_string_value(json_array_get(json_object_get(expected, "tokens"), i));
        ck_assert_str_eq(attn_tokenizer_token(tokenizer, token->id), text);
        ck_assert_int_eq(attn_tokenizer_id(tokenizer, text), json_integer_value(json_array_get(back, i)));
    }
    ck_assert_msg(encoding.count == json_array_size(ids), "%s, text %zu: %zu tokens for %zu", name, index,
                  encoding.count, json_array_size(ids));
    attn_encoding_reset(&encoding);
}

static void compare(const struct attn_tokenizer *tokenizer, const json_t *expected, const char *name) {
    struct text *texts = malloc(TEXTS * sizeof *texts);
    ck_assert_ptr_nonnull(texts);
    char *bytes = read_texts(texts);
    const json_t *examples = json_object_get(expected, "examples"), *blocks = json_object_get(expected, "blocks");
    ck_assert_uint_eq(attn_tokenizer_vocab_size(tokenizer),
                      (size_t)json_integer_value(json_object_get(expected, "vocab_size")));
    ck_assert_uint_gt(json_array_size(examples), 0);
    for (size_t i = 0; i < json_array_size(examples); i++)
        compare_example(tokenizer, texts, i, json_array_get(examples, i), name);
    ck_assert_uint_eq(json_array_size(blocks), TEXTS / BLOCK);
    int different = 0;
    for (size_t i = 0; i < json_array_size(blocks); i += stride_of(name))
        different += compare_block(tokenizer, texts, i, json_array_get(blocks, i), name, different < 9);
    ck_assert_int_eq(different, 0);
    free(bytes);
    free(texts);
}

START_TEST(a_tokenizer_agrees_with_the_package_on_every_text) {
    const char *path = names.gl_pathv[_i], *base = strrchr(path, '/') + 1;
    char name[NAME];
    snprintf(name, sizeof name, "%.*s", (int)(strlen(base) - strlen(".json")), base);
    struct attn_tokenizer *tokenizer = open_tokenizer(name);
    if (tokenizer == NULL) {
        printf("golden_tokenizers: %s is not here, and is left out\n", name);
        return;
    }
    json_t *expected = json_load_file(path, JSON_ALLOW_NUL, NULL);
    ck_assert_ptr_nonnull(expected);
    compare(tokenizer, expected, name);
    json_decref(expected);
    attn_tokenizer_close(tokenizer);
}
END_TEST

int main(void) {
    if (glob(DATA "*.json", 0, NULL, &names) != 0)
        return EXIT_FAILURE;
    Suite *suite = suite_create("golden_tokenizers");
    TCase *cases = tcase_create("tokenizers");
    tcase_set_timeout(cases, 60);
    tcase_add_loop_test(cases, a_tokenizer_agrees_with_the_package_on_every_text, 0, (int)names.gl_pathc);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    globfree(&names);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
