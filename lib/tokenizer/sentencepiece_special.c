/* Special tokens of a SentencePiece model's tokenizer: which there are, and where they are put around a text. */
#include "lib/tokenizer/sentencepiece_maker.h"

#include <string.h>

static const char *const role_keys[ROLE_COUNT] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                                  "pad_token", "cls_token", "mask_token"};

json_t *attn_json_text(struct attn_string text) {
    return json_stringn(text.bytes, text.length);
}

/* A token in the config: its text, or an object with its "content". @return NULL for anything else. */
static const json_t *content_of(const json_t *token) {
    const json_t *content = json_is_object(token) ? json_object_get(token, "content") : token;
    return json_is_string(content) ? content : NULL;
}

static struct attn_string text_of(const json_t *content) {
    return (struct attn_string){json_string_value(content), json_string_length(content)};
}

attn_status attn_sentencepiece_find_roles(struct attn_sentencepiece_maker *maker,
                                          const char *const defaults[ROLE_COUNT]) {
    for (size_t i = 0; i < ROLE_COUNT; i++) {
        const json_t *given = json_object_get(maker->config, role_keys[i]);
        if (given == NULL && defaults[i] != NULL)
            maker->roles[i] = (struct attn_string){defaults[i], strlen(defaults[i])};
        else if (content_of(given) != NULL)
            maker->roles[i] = text_of(content_of(given));
        else if (given != NULL && !json_is_null(given))
            return attn_reader_fail(maker->reader, role_keys[i], "a token's text is needed");
    }
    return ATTN_OK;
}

/* The id of a token, which is added if it is not there. @return -1 without memory. */
static int32_t id_of(struct attn_sentencepiece_maker *maker, struct attn_string text) {
    int32_t id = attn_vocabulary_id(&maker->names, text.bytes, text.length);
    if (id >= 0)
        return id;
    id = (int32_t)maker->next_id++;
    return attn_vocabulary_add(&maker->names, text, id) ? id : -1;
}

static bool is_true(const json_t *token, const char *key, bool otherwise) {
    const json_t *value = json_object_get(token, key);
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

/* How a token is where the config does not say. */
struct flags {
    bool special, normalized;
};

/* Appends a token unless it is there. @param token what the config says of it, or NULL */
static attn_status append(struct attn_sentencepiece_maker *maker, json_t *array, struct attn_string text,
                          const json_t *token, struct flags flags) {
    if (text.length == 0)
        return attn_reader_fail(maker->reader, NULL, "an added token is empty");
    if (attn_vocabulary_id(&maker->added, text.bytes, text.length) >= 0)
        return ATTN_OK;
    int32_t id = id_of(maker, text);
    if (id < 0 || !attn_vocabulary_add(&maker->added, text, id))
        return attn_reader_no_memory(maker->reader);
    json_t *entry = json_pack("{s:i, s:o, s:b, s:b, s:b, s:b, s:b}", "id", id, "content", attn_json_text(text),
                              "single_word", is_true(token, "single_word", false), "lstrip",
                              is_true(token, "lstrip", false), "rstrip", is_true(token, "rstrip", false), "normalized",
                              is_true(token, "normalized", flags.normalized), "special", flags.special);
    return json_array_append_new(array, entry) == 0 ? ATTN_OK : attn_reader_no_memory(maker->reader);
}

/* Tokens that the config lists by their id. */
static attn_status append_listed(struct attn_sentencepiece_maker *maker, json_t *array) {
    json_t *listed = json_object_get(maker->config, "added_tokens_decoder"), *token;
    attn_status status = ATTN_OK;
    const char *key;
    json_object_foreach(listed, key, token) {
        if (status != ATTN_OK)
            return status;
        const json_t *content = content_of(token);
        if (content == NULL)
            return attn_reader_fail(maker->reader, "added_tokens_decoder", "a token's content is needed");
        bool special = is_true(token, "special", false);
        status = append(maker, array, text_of(content), token, (struct flags){special, !special});
    }
    return status;
}

static attn_status append_pieces(struct attn_sentencepiece_maker *maker, json_t *array, bool is_generic) {
    attn_status status = ATTN_OK;
    for (size_t i = 0; status == ATTN_OK && i < maker->count; i++) {
        bool is_control = maker->pieces[i].type == ATTN_SENTENCEPIECE_CONTROL;
        if (is_control || (!is_generic && maker->pieces[i].type == ATTN_SENTENCEPIECE_USER_DEFINED))
            status = append(maker, array, maker->pieces[i].text, NULL, (struct flags){.special = is_control});
    }
    return status;
}

static attn_status append_extra(struct attn_sentencepiece_maker *maker, json_t *array, const char *key) {
    const json_t *extra = json_object_get(maker->config, key);
    attn_status status = ATTN_OK;
    for (size_t i = 0; status == ATTN_OK && i < json_array_size(extra); i++) {
        const json_t *token = json_array_get(extra, i), *content = content_of(token);
        if (content == NULL)
            return attn_reader_fail(maker->reader, key, "a token's text is needed");
        status = append(maker, array, text_of(content), token, (struct flags){.special = true});
    }
    return status;
}

size_t attn_sentencepiece_most_added(const json_t *config) {
    return ROLE_COUNT + json_object_size(json_object_get(config, "added_tokens_decoder")) +
           json_array_size(json_object_get(config, "additional_special_tokens")) +
           json_array_size(json_object_get(config, "extra_special_tokens"));
}

attn_status attn_sentencepiece_added(struct attn_sentencepiece_maker *maker, bool is_generic, json_t **array) {
    *array = json_array();
    size_t most = maker->count + attn_sentencepiece_most_added(maker->config);
    if (*array == NULL || !attn_vocabulary_reserve(&maker->scratch, &maker->added, most))
        return attn_reader_no_memory(maker->reader);
    attn_status status = append_listed(maker, *array);
    for (size_t i = 0; status == ATTN_OK && i < ROLE_COUNT; i++) {
        if (maker->roles[i].bytes != NULL)
            status = append(maker, *array, maker->roles[i], json_object_get(maker->config, role_keys[i]),
                            (struct flags){.special = true});
    }
    if (status == ATTN_OK)
        status = append_pieces(maker, *array, is_generic);
    if (status == ATTN_OK)
        status = append_extra(maker, *array, "additional_special_tokens");
    return status == ATTN_OK ? append_extra(maker, *array, "extra_special_tokens") : status;
}

static struct attn_string role_of(const struct attn_sentencepiece_maker *maker, char letter) {
    static const char letters[] = "be?s?c";
    return maker->roles[strchr(letters, letter) - letters];
}

/* Makes one template, and notes the tokens that it uses. */
static json_t *make_template(struct attn_sentencepiece_maker *maker, const char *template, json_t *tokens) {
    json_t *entries = json_array();
    for (const char *at = template; *at != '\0'; at += 2) {
        int type = at[1] - '0';
        json_t *entry;
        if (*at == 'A' || *at == 'B') {
            entry = json_pack("{s:{s:s#, s:i}}", "Sequence", "id", at, 1, "type_id", type);
        } else {
            struct attn_string text = role_of(maker, *at);
            entry = json_pack("{s:{s:o, s:i}}", "SpecialToken", "id", attn_json_text(text), "type_id", type);
            json_t *token = json_pack("{s:o, s:[i], s:[o]}", "id", attn_json_text(text), "ids", id_of(maker, text),
                                      "tokens", attn_json_text(text));
            json_object_setn_new(tokens, text.bytes, text.length, token);
        }
        if (json_array_append_new(entries, entry) != 0) {
            json_decref(entries);
            return NULL;
        }
    }
    return entries;
}

attn_status attn_sentencepiece_template(struct attn_sentencepiece_maker *maker, const char *single, const char *pair,
                                        json_t **processor) {
    json_t *tokens = json_object();
    json_t *one = make_template(maker, single, tokens), *two = make_template(maker, pair, tokens);
    *processor = json_pack("{s:s, s:o, s:o, s:o}", "type", "TemplateProcessing", "single", one, "pair", two,
                           "special_tokens", tokens);
    return *processor != NULL ? ATTN_OK : attn_reader_no_memory(maker->reader);
}
