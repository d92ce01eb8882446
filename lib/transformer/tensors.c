#include "lib/transformer/tensors.h"
#include "lib/tensor/error.h"
#include "lib/transformer/config.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SINGLE_NAME "model.safetensors"
#define INDEX_NAME "model.safetensors.index.json"
enum { MAX_PATH = 4096 };

static bool path_of(char *path, const char *directory, const char *name) {
    return (size_t)snprintf(path, MAX_PATH, "%s/%s", directory, name) < MAX_PATH;
}

/* A shard's name must stay within the directory. */
static bool is_file_name(const char *name) {
    const size_t length = strlen(name);
    return length > 0 && length < 256 && strchr(name, '/') == NULL && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static attn_status add_file(struct attn_tensors *tensors, const char *directory, const char *name,
                            struct attn_error *error) {
    char path[MAX_PATH];
    for (size_t i = 0; i < tensors->count; i++)
        if (tensors->names[i] != NULL && strcmp(tensors->names[i], name) == 0)
            return ATTN_OK;
    if (tensors->count == ATTN_MAX_SHARDS)
        return attn_fail(error, ATTN_ERANGE, INDEX_NAME, "more than %d shards", ATTN_MAX_SHARDS);
    if (!path_of(path, directory, name))
        return attn_fail(error, ATTN_EIO, name, "the path is too long");
    char *copy = strdup(name);
    if (copy == NULL)
        return attn_fail(error, ATTN_ENOMEM, name, "no memory for its name");
    attn_status status = attn_safetensors_open(&tensors->files[tensors->count], path, error);
    if (status != ATTN_OK) {
        if (error != NULL) {
            char inner[sizeof error->field];
            memcpy(inner, error->field, sizeof inner);
            snprintf(error->field, sizeof error->field, inner[0] != '\0' ? "%.60s/%.90s" : "%.60s", name, inner);
        }
        free(copy);
        return status;
    }
    tensors->names[tensors->count++] = copy;
    return ATTN_OK;
}

static attn_status add_shards(struct attn_tensors *tensors, const char *directory, const json_t *index,
                              struct attn_error *error) {
    json_t *map = json_object_get(index, "weight_map");
    if (!json_is_object(map) || json_object_size(map) == 0)
        return attn_fail(error, ATTN_EFORMAT, INDEX_NAME "/weight_map", "expected tensors' names and their files");
    const char *tensor;
    json_t *value;
    json_object_foreach(map, tensor, value) {
        const char *name = json_string_value(value);
        if (name == NULL || !is_file_name(name) || json_string_length(value) != strlen(name))
            return attn_fail(error, ATTN_EFORMAT, INDEX_NAME "/weight_map",
                             "%.100s: expected the name of a file beside the index", tensor);
        attn_status status = add_file(tensors, directory, name, error);
        if (status != ATTN_OK)
            return status;
    }
    return ATTN_OK;
}

/* Every tensor must be in the shard that the index says. */
static attn_status check_index(const struct attn_tensors *tensors, const json_t *index, struct attn_error *error) {
    const char *tensor;
    json_t *value;
    json_object_foreach(json_object_get(index, "weight_map"), tensor, value) {
        const char *file = "", *claimed = json_string_value(value);
        if (claimed == NULL || attn_tensors_find(tensors, tensor, &file).name == NULL || file == NULL ||
            strcmp(file, claimed) != 0)
            return attn_fail(error, ATTN_EFORMAT, INDEX_NAME "/weight_map", "%.120s is not in %.120s", tensor,
                             claimed != NULL ? claimed : "it");
    }
    return ATTN_OK;
}

static attn_status open_sharded(struct attn_tensors *tensors, const char *directory, struct attn_error *error) {
    json_t *index = NULL;
    attn_status status = attn_document_read(&index, directory, INDEX_NAME, error);
    if (status != ATTN_OK)
        return status;
    status = add_shards(tensors, directory, index, error);
    if (status == ATTN_OK)
        status = check_index(tensors, index, error);
    json_decref(index);
    return status;
}

attn_status attn_tensors_open(struct attn_tensors *tensors, const char *directory, struct attn_error *error) {
    char single[MAX_PATH], index[MAX_PATH];
    if (!path_of(single, directory, SINGLE_NAME) || !path_of(index, directory, INDEX_NAME))
        return attn_fail(error, ATTN_EIO, "", "the directory's name is too long");
    *tensors = (struct attn_tensors){0};
    tensors->files = calloc(ATTN_MAX_SHARDS, sizeof *tensors->files);
    tensors->names = calloc(ATTN_MAX_SHARDS, sizeof *tensors->names);
    attn_status status = ATTN_OK;
    if (tensors->files == NULL || tensors->names == NULL)
        status = attn_fail(error, ATTN_ENOMEM, SINGLE_NAME, "no memory for the list of files");
    else if (access(single, F_OK) == 0 || access(index, F_OK) != 0)
        status = add_file(tensors, directory, SINGLE_NAME, error);
    else
        status = open_sharded(tensors, directory, error);
    if (status != ATTN_OK)
        attn_tensors_close(tensors);
    return status;
}

void attn_tensors_close(struct attn_tensors *tensors) {
    const bool has_files = !tensors->is_lent && tensors->files != NULL && tensors->names != NULL;
    for (size_t i = 0; has_files && i < tensors->count; i++) {
        attn_safetensors_close(tensors->files[i]);
        free((void *)tensors->names[i]);
    }
    free(tensors->files);
    free(tensors->names);
    *tensors = (struct attn_tensors){0};
}

struct attn_named_view attn_tensors_find(const struct attn_tensors *tensors, const char *name, const char **file) {
    for (size_t i = 0; i < tensors->count; i++) {
        struct attn_named_view found = attn_safetensors_find(tensors->files[i], name);
        if (found.name == NULL)
            continue;
        if (file != NULL)
            *file = tensors->names[i];
        return found;
    }
    return (struct attn_named_view){.name = NULL};
}
