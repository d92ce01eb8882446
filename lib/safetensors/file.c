#include "lib/safetensors/header.h"
#include "lib/tensor/error.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

attn_status attn_safetensors_parse(struct attn_safetensors **file, const void *bytes, size_t length,
                                   struct attn_error *error) {
    struct attn_safetensors *made = calloc(1, sizeof *made);
    if (made == NULL)
        return attn_fail(error, ATTN_ENOMEM, "", "no memory for the file's description");
    made->bytes = bytes;
    made->length = length;
    attn_status status = attn_header_read(made, error);
    if (status != ATTN_OK) {
        attn_safetensors_close(made);
        return status;
    }
    *file = made;
    return ATTN_OK;
}

static attn_status fail_io(struct attn_error *error, const char *path) {
    return attn_fail(error, ATTN_EIO, "", "%s: %s", path, strerror(errno));
}

static attn_status map_file(const char *path, void **bytes, size_t *length, struct attn_error *error) {
    struct stat about;
    attn_status status = ATTN_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail_io(error, path);
    if (fstat(fd, &about) != 0)
        status = fail_io(error, path);
    else if (!S_ISREG(about.st_mode))
        status = attn_fail(error, ATTN_EIO, "", "%s: not a regular file", path);
    else if (about.st_size == 0)
        status = attn_fail(error, ATTN_EFORMAT, "", "expected 8 bytes with the header's length, found 0");
    if (status == ATTN_OK) {
        *length = (size_t)about.st_size;
        *bytes = mmap(NULL, *length, PROT_READ, MAP_PRIVATE, fd, 0);
        if (*bytes == MAP_FAILED)
            status = fail_io(error, path);
    }
    close(fd);
    return status;
}

attn_status attn_safetensors_open(struct attn_safetensors **file, const char *path, struct attn_error *error) {
    void *bytes = NULL;
    size_t length = 0;
    attn_status status = map_file(path, &bytes, &length, error);
    if (status != ATTN_OK)
        return status;
    status = attn_safetensors_parse(file, bytes, length, error);
    if (status != ATTN_OK)
        munmap(bytes, length);
    else
        (*file)->is_mapped = true;
    return status;
}

void attn_safetensors_close(struct attn_safetensors *file) {
    if (file == NULL)
        return;
    if (file->is_mapped)
        munmap((void *)file->bytes, file->length);
    free(file->entries);
    free(file->by_name);
    free(file->metadata);
    free(file->pool);
    free(file);
}

size_t attn_safetensors_count(const struct attn_safetensors *file) {
    return file->entry_count;
}

struct attn_named_view attn_safetensors_tensor(const struct attn_safetensors *file, size_t index) {
    const struct attn_entry *entry = &file->entries[index];
    void *data = (void *)(file->bytes + file->data_start + (size_t)entry->begin);
    return (struct attn_named_view){entry->name, attn_view_contiguous(data, entry->dtype, entry->rank, entry->shape)};
}

struct attn_named_view attn_safetensors_find(const struct attn_safetensors *file, const char *name) {
    size_t low = 0, high = file->entry_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(file->entries[file->by_name[middle]].name, name);
        if (order == 0)
            return attn_safetensors_tensor(file, file->by_name[middle]);
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    return (struct attn_named_view){.name = NULL};
}

static int compare_key(const void *key, const void *item) {
    return strcmp(key, ((const struct attn_metadata *)item)->key);
}

const char *attn_safetensors_metadata(const struct attn_safetensors *file, const char *key) {
    if (file->metadata_count == 0)
        return NULL;
    const struct attn_metadata *found =
        bsearch(key, file->metadata, file->metadata_count, sizeof *file->metadata, compare_key);
    return found != NULL ? found->value : NULL;
}

size_t attn_safetensors_metadata_count(const struct attn_safetensors *file) {
    return file->metadata_count;
}

struct attn_metadata attn_safetensors_metadata_at(const struct attn_safetensors *file, size_t index) {
    return file->metadata[index];
}

const void *attn_safetensors_bytes(const struct attn_safetensors *file, size_t *length) {
    *length = file->length;
    return file->bytes;
}
