/*
 * Tokenizers of before tokenizer.json: vocab.txt (WordPiece), vocab.json and merges.txt (byte-level BPE). Each is
 * turned into the tokenizer.json that transformers makes of it, so that one reader builds all. A class is a row.
 */
#include "lib/tensor/error.h"
#include "lib/tokenizer/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum role { BOS, EOS, UNK, SEP, PAD, CLS, MASK, ROLE_COUNT };
static const char *const role_keys[ROLE_COUNT] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                                  "pad_token", "cls_token", "mask_token"};

/* One class of tokenizers. Parts are written in JSON. */
struct family {
    const char *classes;     /* of tokenizer_class, without "Fast" or "Tokenizer", a blank behind each */
    const char *model_types; /* of config.json, a blank behind each */
    const char *roles[ROLE_COUNT];
    bool mask_lstrip;
    const char *normalizer, *pre_tokenizer, *decoder, *model; /* NULL: made from the config, or none */
    enum {
        BOUNDS_FRAME,
        BERT_FRAME,
        ROBERTA_FRAME,
        CLIP_FRAME
    } frame; /* bounds: what add_bos_token and the like say */
};

#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true}"
#define WORDPIECE_DECODER "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}"
#define BPE_MODEL(suffix)                                                                                              \
    "{\"type\":\"BPE\",\"continuing_subword_prefix\":\"\",\"end_of_word_suffix\":\"" suffix "\",\"fuse_unk\":false}"
#define CLIP_NORMALIZER                                                                                                \
    "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Replace\",\"pattern\":{\"Regex\":"         \
    "\"\\\\s+\"},\"content\":\" \"},{\"type\":\"Lowercase\"}]}"
#define CLIP_PRE_TOKENIZER                                                                                             \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"                            \
    "\"<\\\\|startoftext\\\\|>|<\\\\|endoftext\\\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\\\p{L}]+|[\\\\p{N}]|"                  \
    "[^\\\\s\\\\p{L}\\\\p{N}]+\"},\"behavior\":\"Removed\",\"invert\":true},{\"type\":\"ByteLevel\","                  \
    "\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true}]}"

static const struct family wordpiece_families[] = {
    {"MPNet ",
     "mpnet ",
     {"<s>", "</s>", "[UNK]", "</s>", "<pad>", "<s>", "<mask>"},
     true,
     NULL,
     "{\"type\":\"BertPreTokenizer\"}",
     WORDPIECE_DECODER,
     NULL,
     ROBERTA_FRAME},
    {"", /* all others */
     "",
     {NULL, NULL, "[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"},
     false,
     NULL,
     "{\"type\":\"BertPreTokenizer\"}",
     WORDPIECE_DECODER,
     NULL,
     BERT_FRAME},
};

static const struct family bpe_families[] = {
    {"Roberta Bart Longformer LED ",
     "roberta bart longformer led ",
     {"<s>", "</s>", "<unk>", "</s>", "<pad>", "<s>", "<mask>"},
     false,
     NULL,
     NULL,
     BYTE_LEVEL,
     BPE_MODEL(""),
     ROBERTA_FRAME},
    {"CLIP ",
     "clip clip_text_model ",
     {"<|startoftext|>", "<|endoftext|>", "<|endoftext|>", NULL, "<|endoftext|>", NULL, NULL},
     false,
     CLIP_NORMALIZER,
     CLIP_PRE_TOKENIZER,
     BYTE_LEVEL,
     BPE_MODEL("</w>"),
     CLIP_FRAME},
    {"GPT2 ",
     "gpt2 ",
     {"<|endoftext|>", "<|endoftext|>", "<|endoftext|>", NULL, NULL, NULL, NULL},
     false,
     NULL,
     NULL,
     BYTE_LEVEL,
     BPE_MODEL(""),
     BOUNDS_FRAME},
};

/* What is being made. */
struct maker {
    struct attn_reader *reader;
    const struct family *family;
    json_t *config;   /* tokenizer_config.json over special_tokens_map.json */
    json_t *document; /* the result; NULL stands for want of memory */
    const char *roles[ROLE_COUNT];
};

/* Reads a JSON file beside the vocabulary. @return ATTN_OK with *json NULL where it is missing */
static attn_status read_beside(struct attn_reader *reader, const char *directory, const char *name, json_t **json) {
    char *bytes, path[sizeof reader->path];
    size_t length;
    *json = NULL;
    attn_status status = attn_file_read(reader, directory, name, &bytes, &length);
    if (status != ATTN_OK || bytes == NULL)
        return status;
    memcpy(path, reader->path, sizeof path);
    snprintf(reader->path, sizeof reader->path, "%s", name);
    status = attn_json_parse(reader, bytes, length, json);
    if (status == ATTN_OK && !json_is_object(*json))
        status = attn_reader_fail(reader, NULL, "an object is needed");
    if (status == ATTN_OK)
        memcpy(reader->path, path, sizeof path);
    free(bytes);
    return status;
}

static attn_status read_config(struct attn_reader *reader, const char *directory, json_t **config) {
    json_t *map = NULL;
    attn_status status = read_beside(reader, directory, "tokenizer_config.json", config);
    if (status == ATTN_OK)
        status = read_beside(reader, directory, "special_tokens_map.json", &map);
    if (status == ATTN_OK && *config == NULL)
        *config = json_object();
    if (status == ATTN_OK && (*config == NULL || (map != NULL && json_object_update_missing(*config, map) != 0)))
        status = attn_reader_no_memory(reader);
    json_decref(map);
    return status;
}

/* @return whether `name` is a word of `list`; `end` words end there, as in "BertTokenizerFast". */
static bool is_listed(const char *list, const char *name, const char *end) {
    const char *stop = name != NULL ? strstr(name, end) : NULL;
    size_t length = name == NULL ? 0 : stop != NULL && *end != '\0' ? (size_t)(stop - name) : strlen(name);
    for (const char *word = list; length > 0 && *word != '\0'; word = strchr(word, ' ') + 1) {
        if (strncmp(word, name, length) == 0 && word[length] == ' ')
            return true;
    }
    return false;
}

static const struct family *find_family(const struct family *families, size_t count, const char *class,
                                        const char *model_type) {
    for (size_t i = 0; i < count; i++) {
        if (is_listed(families[i].classes, class, "Tokenizer"))
            return &families[i];
    }
    for (size_t i = 0; i < count; i++) {
        if (is_listed(families[i].model_types, model_type, ""))
            return &families[i];
    }
    return NULL;
}

/* A token in the config: its text, or an object with its content. @return NULL for anything else */
static const char *content_of(const json_t *token) {
    return json_string_value(json_is_object(token) ? json_object_get(token, "content") : token);
}

static bool says(const json_t *object, const char *key, bool otherwise) {
    const json_t *value = json_object_get(object, key);
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

static attn_status find_roles(struct maker *maker) {
    for (size_t i = 0; i < ROLE_COUNT; i++) {
        const json_t *given = json_object_get(maker->config, role_keys[i]);
        maker->roles[i] = given == NULL ? maker->family->roles[i] : content_of(given);
        if (given != NULL && !json_is_null(given) && maker->roles[i] == NULL)
            return attn_reader_fail(maker->reader, role_keys[i], "a token's text is needed");
    }
    return ATTN_OK;
}

/* Puts a value, which is stolen; NULL for want of memory. */
static void put(struct maker *maker, const char *key, json_t *value) {
    if (maker->document != NULL && json_object_set_new(maker->document, key, value) != 0) {
        json_decref(maker->document);
        maker->document = NULL;
    }
}

static void put_written(struct maker *maker, const char *key, const char *text) {
    if (text != NULL)
        put(maker, key, json_loads(text, 0, NULL));
}

static void append_token(json_t *array, const char *content, const json_t *token, bool special, bool lstrip) {
    if (content == NULL || *content == '\0')
        return;
    json_array_append_new(array, json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", 0, "content", content,
                                           "single_word", says(token, "single_word", false), "lstrip",
                                           says(token, "lstrip", lstrip), "rstrip", says(token, "rstrip", false),
                                           "normalized", says(token, "normalized", !special), "special", special));
}

static int compare_ids(const void *left, const void *right) {
    long a = strtol(*(const char *const *)left, NULL, 10), b = strtol(*(const char *const *)right, NULL, 10);
    return a < b ? -1 : a > b;
}

/* Tokens that the config lists by their ids, in the order of these: their ids follow from it. */
static void append_listed(json_t *array, json_t *listed) {
    size_t count = json_object_size(listed), filled = 0;
    const char **keys = calloc(count + 1, sizeof *keys), *key;
    json_t *token;
    json_object_foreach(listed, key, token) {
        if (keys != NULL)
            keys[filled++] = key;
    }
    if (keys != NULL)
        qsort(keys, filled, sizeof *keys, compare_ids);
    for (size_t i = 0; i < filled; i++) {
        token = json_object_get(listed, keys[i]);
        append_token(array, content_of(token), token, says(token, "special", false), false);
    }
    free(keys);
}

/* The ids are those that the reader of "added_tokens" gives: the model's, or the next. */
static void put_added(struct maker *maker) {
    json_t *array = json_array();
    append_listed(array, json_object_get(maker->config, "added_tokens_decoder"));
    for (size_t i = 0; i < ROLE_COUNT; i++) {
        bool lstrip = i == MASK && maker->family->mask_lstrip;
        append_token(array, maker->roles[i], json_object_get(maker->config, role_keys[i]), true, lstrip);
    }
    static const char *const lists[] = {"additional_special_tokens", "extra_special_tokens"};
    for (size_t i = 0; i < 2; i++) {
        const json_t *extra = json_object_get(maker->config, lists[i]);
        for (size_t j = 0; j < json_array_size(extra); j++) {
            const json_t *token = json_array_get(extra, j);
            append_token(array, content_of(token), token, true, false);
        }
    }
    put(maker, "added_tokens", array);
}

/* The id of a role's token, which must be in the vocabulary. */
static attn_status role_id(struct maker *maker, const json_t *vocabulary, enum role role, json_int_t *id) {
    const json_t *value = maker->roles[role] != NULL ? json_object_get(vocabulary, maker->roles[role]) : NULL;
    if (!json_is_integer(value))
        return attn_reader_fail(maker->reader, NULL, "the vocabulary lacks the %s", role_keys[role]);
    *id = json_integer_value(value);
    return ATTN_OK;
}

/*
 * Appends a template's entries: pairs of a letter and a type. A and B are the texts; b, e, c, s the tokens that play
 * bos, eos, cls and sep, which are noted in `specials`.
 */
static attn_status fill_template(struct maker *maker, const json_t *vocabulary, const char *letters, json_t *entries,
                                 json_t *specials) {
    for (const char *at = letters; *at != '\0'; at += 2) {
        enum role role = *at == 'b' ? BOS : *at == 'e' ? EOS : *at == 'c' ? CLS : SEP;
        bool is_text = *at == 'A' || *at == 'B';
        const char text[2] = {*at, '\0'}, *name = is_text ? text : maker->roles[role];
        json_int_t id = 0;
        attn_status status = is_text ? ATTN_OK : role_id(maker, vocabulary, role, &id);
        if (status != ATTN_OK)
            return status;
        if (!is_text)
            json_object_set_new(specials, name,
                                json_pack("{s:s, s:[I], s:[s]}", "id", name, "ids", id, "tokens", name));
        json_array_append_new(entries, json_pack("{s:{s:s, s:i}}", is_text ? "Sequence" : "SpecialToken", "id", name,
                                                 "type_id", at[1] - '0'));
    }
    return ATTN_OK;
}

static attn_status put_template(struct maker *maker, const json_t *vocabulary, const char *single, const char *pair) {
    json_t *one = json_array(), *two = json_array(), *specials = json_object();
    attn_status status = fill_template(maker, vocabulary, single, one, specials);
    if (status == ATTN_OK)
        status = fill_template(maker, vocabulary, pair, two, specials);
    put(maker, "post_processor",
        json_pack("{s:s, s:o, s:o, s:o}", "type", "TemplateProcessing", "single", one, "pair", two, "special_tokens",
                  specials));
    return status;
}

/* What add_bos_token and add_eos_token ask for. */
static attn_status put_bounds(struct maker *maker, const json_t *vocabulary) {
    const char *before = says(maker->config, "add_bos_token", false) ? "b" : "";
    const char *behind = says(maker->config, "add_eos_token", false) ? "e" : "";
    char single[8] = "", pair[16] = "";
    for (int type = 0; type < 2; type++) {
        size_t length = strlen(pair);
        snprintf(pair + length, sizeof pair - length, "%s%.*s%c%d%s%.*s", before, *before != '\0', type ? "1" : "0",
                 type ? 'B' : 'A', type, behind, *behind != '\0', type ? "1" : "0");
        if (type == 0)
            memcpy(single, pair, sizeof single);
    }
    return *before != '\0' || *behind != '\0' ? put_template(maker, vocabulary, single, pair) : ATTN_OK;
}

static attn_status put_roberta(struct maker *maker, const json_t *vocabulary) {
    bool is_clip = maker->family->frame == CLIP_FRAME;
    enum role first = is_clip ? BOS : CLS, last = is_clip ? EOS : SEP;
    json_int_t first_id = 0, last_id = 0;
    attn_status status = role_id(maker, vocabulary, first, &first_id);
    if (status == ATTN_OK)
        status = role_id(maker, vocabulary, last, &last_id);
    if (status == ATTN_OK)
        put(maker, "post_processor",
            json_pack("{s:s, s:[s, I], s:[s, I], s:b, s:b}", "type", "RobertaProcessing", "sep", maker->roles[last],
                      last_id, "cls", maker->roles[first], first_id, "trim_offsets",
                      is_clip ? false : says(maker->config, "trim_offsets", true), "add_prefix_space",
                      is_clip ? false : says(maker->config, "add_prefix_space", false)));
    return status;
}

static attn_status put_frame(struct maker *maker, const json_t *vocabulary) {
    switch (maker->family->frame) {
    case BOUNDS_FRAME:
        return put_bounds(maker, vocabulary);
    case BERT_FRAME:
        return put_template(maker, vocabulary, "c0A0s0", "c0A0s0B1s1");
    case ROBERTA_FRAME:
    case CLIP_FRAME:
        return put_roberta(maker, vocabulary);
    }
    return ATTN_OK;
}

/* The parts that are the same for all of a family, and those that follow the config. */
static attn_status put_parts(struct maker *maker, json_t *model) {
    const struct family *family = maker->family;
    json_t *config = maker->config;
    put_written(maker, "normalizer", family->normalizer);
    put_written(maker, "pre_tokenizer", family->pre_tokenizer);
    put_written(maker, "decoder", family->decoder);
    if (family->pre_tokenizer == NULL)
        put(maker, "pre_tokenizer",
            json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space",
                      says(config, "add_prefix_space", false), "trim_offsets", true, "use_regex", true));
    if (family->model == NULL) {
        const json_t *strip = json_object_get(config, "strip_accents");
        put(maker, "normalizer",
            json_pack("{s:s, s:b, s:b, s:o, s:b}", "type", "BertNormalizer", "clean_text", true, "handle_chinese_chars",
                      says(config, "tokenize_chinese_chars", true), "strip_accents",
                      json_is_boolean(strip) ? json_boolean(json_is_true(strip)) : json_null(), "lowercase",
                      says(config, "do_lower_case", true)));
    }
    put_added(maker);
    attn_status status = put_frame(maker, json_object_get(model, "vocab"));
    put(maker, "model", json_incref(model));
    return status == ATTN_OK && maker->document == NULL ? attn_reader_no_memory(maker->reader) : status;
}

/* Finds the class of a directory's tokenizer. @param otherwise taken where nothing is said; NULL: an error */
static attn_status begin(struct maker *maker, const char *directory, const struct family *families, size_t count,
                         const struct family *otherwise) {
    json_t *model_config = NULL;
    attn_status status = read_config(maker->reader, directory, &maker->config);
    if (status == ATTN_OK)
        status = read_beside(maker->reader, directory, "config.json", &model_config);
    const char *class = json_string_value(json_object_get(maker->config, "tokenizer_class"));
    const char *model_type = json_string_value(json_object_get(model_config, "model_type"));
    maker->family = find_family(families, count, class, model_type);
    if (maker->family == NULL)
        maker->family = otherwise;
    if (status == ATTN_OK && maker->family == NULL)
        status =
            attn_reader_fail(maker->reader, NULL,
                             "a vocab.json is taken for tokenizers of the classes GPT2, Roberta, Bart, Longformer, "
                             "LED and CLIP, this one is %.60s of %.60s; a tokenizer.json would be taken",
                             class != NULL ? class : "of no class", model_type != NULL ? model_type : "no model");
    json_decref(model_config);
    maker->document = json_object();
    return status == ATTN_OK ? find_roles(maker) : status;
}

static attn_status end(struct maker *maker, attn_status status, json_t *model, json_t **json) {
    if (status == ATTN_OK)
        status = put_parts(maker, model);
    if (status == ATTN_OK)
        *json = maker->document;
    else
        json_decref(maker->document);
    json_decref(model);
    json_decref(maker->config);
    return status;
}

/* Calls `take` for each line without its end. */
static attn_status each_line(struct attn_reader *reader, const char *bytes, size_t length, json_t *into,
                             bool (*take)(json_t *into, const char *line, size_t length, size_t index)) {
    size_t index = 0;
    for (size_t at = 0; at < length; index++) {
        const char *newline = memchr(bytes + at, '\n', length - at);
        size_t next = newline != NULL ? (size_t)(newline - bytes) + 1 : length;
        size_t line = (newline != NULL ? next - 1 : next) - at;
        if (line > 0 && bytes[at + line - 1] == '\r')
            line--;
        if (memchr(bytes + at, '\0', line) != NULL || !take(into, bytes + at, line, index))
            return attn_reader_fail(reader, NULL, "line %zu is no UTF-8, or holds a NUL", index + 1);
        at = next;
    }
    return ATTN_OK;
}

static bool take_token(json_t *into, const char *line, size_t length, size_t index) {
    return json_object_setn_new(into, line, length, json_integer((json_int_t)index)) == 0;
}

static bool take_merge(json_t *into, const char *line, size_t length, size_t index) {
    (void)index;
    if (length == 0 || (length >= 8 && memcmp(line, "#version", 8) == 0))
        return true;
    return json_array_append_new(into, json_stringn(line, length)) == 0;
}

attn_status attn_load_vocab_txt(struct attn_reader *reader, const char *directory, const char *bytes, size_t length,
                                json_t **json) {
    size_t count = sizeof wordpiece_families / sizeof *wordpiece_families;
    struct maker maker = {.reader = reader};
    json_t *vocabulary = json_object();
    attn_status status = begin(&maker, directory, wordpiece_families, count, &wordpiece_families[count - 1]);
    if (status == ATTN_OK)
        status = each_line(reader, bytes, length, vocabulary, take_token);
    json_t *model = json_pack("{s:s, s:s, s:i, s:o, s:s*}", "type", "WordPiece", "continuing_subword_prefix", "##",
                              "max_input_chars_per_word", 100, "vocab", vocabulary, "unk_token", maker.roles[UNK]);
    if (status == ATTN_OK && model == NULL)
        status = attn_reader_no_memory(reader);
    return end(&maker, status, model, json);
}

static attn_status read_merges(struct attn_reader *reader, const char *directory, json_t *merges) {
    char *bytes, path[sizeof reader->path];
    size_t length;
    attn_status status = attn_file_read(reader, directory, "merges.txt", &bytes, &length);
    if (status != ATTN_OK)
        return status;
    memcpy(path, reader->path, sizeof path);
    snprintf(reader->path, sizeof reader->path, "merges.txt");
    status = bytes != NULL ? each_line(reader, bytes, length, merges, take_merge)
                           : attn_fail(reader->error, ATTN_EIO, "merges.txt", "it is missing beside vocab.json");
    if (status == ATTN_OK)
        memcpy(reader->path, path, sizeof path);
    free(bytes);
    return status;
}

attn_status attn_load_vocab_json(struct attn_reader *reader, const char *directory, const char *bytes, size_t length,
                                 json_t **json) {
    struct maker maker = {.reader = reader};
    json_t *vocabulary = NULL, *merges = json_array(), *model = NULL;
    attn_status status = begin(&maker, directory, bpe_families, sizeof bpe_families / sizeof *bpe_families, NULL);
    if (status == ATTN_OK)
        status = attn_json_parse(reader, bytes, length, &vocabulary);
    if (status == ATTN_OK)
        status = read_merges(reader, directory, merges);
    if (status == ATTN_OK) {
        model = json_loads(maker.family->model, 0, NULL);
        bool is_whole =
            json_object_set(model, "vocab", vocabulary) == 0 && json_object_set(model, "merges", merges) == 0;
        if (maker.family->frame == CLIP_FRAME && maker.roles[UNK] != NULL)
            is_whole = is_whole && json_object_set_new(model, "unk_token", json_string(maker.roles[UNK])) == 0;
        status = is_whole ? ATTN_OK : attn_reader_no_memory(reader);
    }
    json_decref(vocabulary);
    json_decref(merges);
    return end(&maker, status, model, json);
}
