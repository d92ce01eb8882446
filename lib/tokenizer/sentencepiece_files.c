/* A SentencePiece model in a directory, with what the files beside it say of the tokenizer. */
#include "lib/tokenizer/sentencepiece.h"
#include "lib/tokenizer/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads an object from a file. @param json NULL where there is no file */
static attn_status read_object(struct attn_reader *reader, const char *directory, const char *name, json_t **json) {
    char path[sizeof reader->path];
    char *bytes;
    size_t length;
    *json = NULL;
    snprintf(path, sizeof path, "%s", reader->path);
    snprintf(reader->path, sizeof reader->path, "%s", name);
    attn_status status = attn_file_read(reader, directory, name, &bytes, &length);
    if (status == ATTN_OK && bytes != NULL)
        status = attn_json_parse(reader, bytes, length, json);
    free(bytes);
    if (status == ATTN_OK && *json != NULL && !json_is_object(*json)) {
        json_decref(*json);
        *json = NULL;
        status = attn_reader_fail(reader, NULL, "an object is needed");
    }
    if (status == ATTN_OK)
        snprintf(reader->path, sizeof reader->path, "%s", path);
    return status;
}

/* Special tokens of their own file, which holds where the config lists no added tokens. */
static attn_status add_special_tokens_map(struct attn_reader *reader, const char *directory, json_t *config) {
    json_t *map = NULL;
    if (json_object_get(config, "added_tokens_decoder") != NULL)
        return ATTN_OK;
    attn_status status = read_object(reader, directory, "special_tokens_map.json", &map);
    if (status == ATTN_OK && map != NULL && json_object_update(config, map) != 0)
        status = attn_reader_no_memory(reader);
    json_decref(map);
    return status;
}

/* Where tokenizer_config.json names no class, the one that transformers takes for the model in config.json. */
static attn_status add_class(struct attn_reader *reader, const char *directory, json_t *config) {
    static const struct {
        const char *model_type, *name;
    } classes[] = {{"t5", "T5Tokenizer"},
                   {"mt5", "T5Tokenizer"},
                   {"albert", "AlbertTokenizer"},
                   {"xlm-roberta", "XLMRobertaTokenizer"},
                   {"xlm-roberta-xl", "XLMRobertaTokenizer"},
                   {"llama", "LlamaTokenizer"},
                   {"mistral", "LlamaTokenizer"}};
    json_t *model = NULL;
    if (json_object_get(config, "tokenizer_class") != NULL)
        return ATTN_OK;
    attn_status status = read_object(reader, directory, "config.json", &model);
    const char *type = json_string_value(json_object_get(model, "model_type"));
    for (size_t i = 0; status == ATTN_OK && type != NULL && i < sizeof classes / sizeof *classes; i++) {
        if (strcmp(classes[i].model_type, type) == 0 &&
            json_object_set_new(config, "tokenizer_class", json_string(classes[i].name)) != 0)
            status = attn_reader_no_memory(reader);
    }
    json_decref(model);
    return status;
}

static attn_status read_config(struct attn_reader *reader, const char *directory, json_t **config) {
    attn_status status = read_object(reader, directory, "tokenizer_config.json", config);
    if (status == ATTN_OK && *config == NULL && (*config = json_object()) == NULL)
        status = attn_reader_no_memory(reader);
    if (status == ATTN_OK)
        status = add_special_tokens_map(reader, directory, *config);
    return status == ATTN_OK ? add_class(reader, directory, *config) : status;
}

attn_status attn_sentencepiece_load(struct attn_reader *reader, const char *directory, const char *bytes, size_t length,
                                    json_t **json) {
    struct attn_sentencepiece model;
    json_t *config = NULL;
    attn_status status = read_config(reader, directory, &config);
    if (status == ATTN_OK)
        status = attn_sentencepiece_read(reader, bytes, length, &model);
    if (status == ATTN_OK)
        status = attn_sentencepiece_document(reader, &model, config, json);
    json_decref(config);
    return status;
}
