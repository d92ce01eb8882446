/* Opening: which files there are, and tokenizer.json from top to bottom. */
#include "lib/tensor/error.h"
#include "lib/tokenizer/sentencepiece.h"
#include "lib/tokenizer/tokenizer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { LONGEST_FILE = 1 << 29 };

static attn_status read_open(struct attn_reader *reader, FILE *file, const char *name, char **bytes, size_t *length) {
    struct stat status;
    if (fstat(fileno(file), &status) != 0 || !S_ISREG(status.st_mode))
        return attn_fail(reader->error, ATTN_EIO, name, "it is no file that can be read");
    if (status.st_size > LONGEST_FILE)
        return attn_fail(reader->error, ATTN_EFORMAT, name, "at most %d bytes are taken", LONGEST_FILE);
    size_t size = (size_t)status.st_size;
    char *content = malloc(size + 1);
    if (content == NULL)
        return attn_fail(reader->error, ATTN_ENOMEM, name, "no memory for the file");
    *length = fread(content, 1, size, file);
    content[*length] = '\0';
    *bytes = content;
    return ATTN_OK;
}

attn_status attn_file_read(struct attn_reader *reader, const char *directory, const char *name, char **bytes,
                           size_t *length) {
    char path[4096];
    *bytes = NULL;
    *length = 0;
    int written = snprintf(path, sizeof path, "%s/%s", directory, name);
    if (written < 0 || (size_t)written >= sizeof path)
        return attn_fail(reader->error, ATTN_EIO, name, "the path is too long");
    FILE *file = fopen(path, "rbe");
    if (file == NULL && (errno == ENOENT || errno == ENOTDIR))
        return ATTN_OK;
    if (file == NULL)
        return attn_fail(reader->error, ATTN_EIO, name, "it cannot be read: %s", strerror(errno));
    attn_status status = read_open(reader, file, name, bytes, length);
    fclose(file);
    return status;
}

attn_status attn_json_parse(struct attn_reader *reader, const char *bytes, size_t length, json_t **json) {
    json_error_t parse;
    *json = json_loadb(bytes, length, JSON_ALLOW_NUL, &parse);
    if (*json != NULL)
        return ATTN_OK;
    if (json_error_code(&parse) == json_error_out_of_memory)
        return attn_reader_no_memory(reader);
    attn_status status = attn_reader_fail(reader, NULL, "no JSON: %s", parse.text);
    if (reader->error != NULL && parse.position > 0)
        reader->error->offset = (size_t)parse.position;
    return status;
}

/* Reads the part `key` where it is there and not null. */
#define READ_PART(reader, json, key, read, part) read_part_##read(reader, json, key, part)

#define PART_READER(read, type)                                                                                        \
    static attn_status read_part_##read(struct attn_reader *reader, const json_t *json, const char *key,               \
                                        struct type *part) {                                                           \
        const json_t *member = json_object_get(json, key);                                                             \
        if (member == NULL || json_is_null(member))                                                                    \
            return ATTN_OK;                                                                                            \
        size_t length = attn_reader_enter(reader, key);                                                                \
        attn_status status = attn_##read##_read(reader, member, part);                                                 \
        if (status == ATTN_OK)                                                                                         \
            attn_reader_leave(reader, length);                                                                         \
        return status;                                                                                                 \
    }

PART_READER(normalizer, attn_normalizer)
PART_READER(pre_tokenizer, attn_pre_tokenizer)
PART_READER(model, attn_model)
PART_READER(post_processor, attn_post_processor)
PART_READER(decoder, attn_decoder)

static attn_status read_added(struct attn_reader *reader, const json_t *json, struct attn_tokenizer *tokenizer) {
    const json_t *array;
    attn_status status = attn_read_array(reader, json, "added_tokens", ATTN_OPTIONAL, &array);
    if (status != ATTN_OK)
        return status;
    size_t length = attn_reader_enter(reader, "added_tokens");
    status = attn_added_read(reader, array, &tokenizer->model, &tokenizer->normalizer, &tokenizer->added);
    if (status == ATTN_OK)
        attn_reader_leave(reader, length);
    return status;
}

attn_status attn_tokenizer_read_json(struct attn_reader *reader, const json_t *json) {
    struct attn_tokenizer *tokenizer = reader->tokenizer;
    if (!json_is_object(json))
        return attn_reader_fail(reader, NULL, "an object is needed");
    attn_status status = READ_PART(reader, json, "normalizer", normalizer, &tokenizer->normalizer);
    if (status == ATTN_OK)
        status = READ_PART(reader, json, "pre_tokenizer", pre_tokenizer, &tokenizer->pre_tokenizer);
    if (status == ATTN_OK)
        status = READ_PART(reader, json, "model", model, &tokenizer->model);
    if (status == ATTN_OK && tokenizer->model.kind == NULL)
        status = attn_reader_fail(reader, "model", "the member is missing");
    if (status == ATTN_OK)
        status = READ_PART(reader, json, "post_processor", post_processor, &tokenizer->post_processor);
    if (status == ATTN_OK)
        status = READ_PART(reader, json, "decoder", decoder, &tokenizer->decoder);
    return status == ATTN_OK ? read_added(reader, json, tokenizer) : status;
}

static attn_status load_tokenizer_json(struct attn_reader *reader, const char *directory, const char *bytes,
                                       size_t length, json_t **json) {
    (void)directory;
    return attn_json_parse(reader, bytes, length, json);
}

/* Files that a tokenizer is read from; the first that is there is taken. */
static const struct source {
    const char *name;
    /* Makes the document that tokenizer.json would be. */
    attn_status (*load)(struct attn_reader *reader, const char *directory, const char *bytes, size_t length,
                        json_t **json);
} sources[] = {
    {"tokenizer.json", load_tokenizer_json},
    {"vocab.json", attn_load_vocab_json},
    {"vocab.txt", attn_load_vocab_txt},
    {"spiece.model", attn_sentencepiece_load},
    {"sentencepiece.bpe.model", attn_sentencepiece_load},
    {"tokenizer.model", attn_sentencepiece_load},
};

static attn_status read_source(struct attn_reader *reader, const struct source *source, const char *directory,
                               const char *bytes, size_t length) {
    json_t *json = NULL;
    attn_status status = source->load(reader, directory, bytes, length, &json);
    if (status == ATTN_OK)
        status = attn_tokenizer_read_json(reader, json);
    json_decref(json);
    return status == ATTN_OK ? attn_tokenizer_finish(reader) : status;
}

static attn_status open_directory(struct attn_reader *reader, const char *directory) {
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        char *bytes;
        size_t length;
        attn_status status = attn_file_read(reader, directory, sources[i].name, &bytes, &length);
        if (status != ATTN_OK || bytes != NULL) {
            snprintf(reader->path, sizeof reader->path, "%s", sources[i].name);
            if (status == ATTN_OK)
                status = read_source(reader, &sources[i], directory, bytes, length);
            free(bytes);
            return status;
        }
    }
    return attn_fail(reader->error, ATTN_EIO, "", "there is no tokenizer in %.200s", directory);
}

attn_status attn_tokenizer_open(struct attn_tokenizer **tokenizer, const char *directory, struct attn_error *error) {
    struct attn_tokenizer *made = calloc(1, sizeof *made);
    if (made == NULL)
        return attn_fail(error, ATTN_ENOMEM, "", "no memory for a tokenizer");
    struct attn_reader reader = {.pool = &made->pool, .tokenizer = made, .error = error};
    attn_status status = open_directory(&reader, directory);
    if (status != ATTN_OK)
        attn_tokenizer_close(made);
    else
        *tokenizer = made;
    return status;
}

void attn_tokenizer_close(struct attn_tokenizer *tokenizer) {
    if (tokenizer == NULL)
        return;
    attn_pool_reset(&tokenizer->pool);
    free(tokenizer);
}
