#include "lib/safetensors/header.h"
#include "lib/tensor/error.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
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

static attn_status open_file(const char *path, int *fd, size_t *length, struct attn_error *error) {
    struct stat about;
    attn_status status = ATTN_OK;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0)
        return fail_io(error, path);
    if (fstat(*fd, &about) != 0)
        status = fail_io(error, path);
    else if (!S_ISREG(about.st_mode))
        status = attn_fail(error, ATTN_EIO, "", "%s: not a regular file", path);
    else if (about.st_size == 0)
        status = attn_fail(error, ATTN_EFORMAT, "", "expected 8 bytes with the header's length, found 0");
    else
        *length = (size_t)about.st_size;
    if (status != ATTN_OK)
        close(*fd);
    return status;
}

/* How many bytes there are to read before the data; no more than there are, or than are taken. */
static size_t header_end(int fd, size_t length) {
    unsigned char prefix[8] = {0};
    uint64_t bytes = 0;
    if (length < sizeof prefix || pread(fd, prefix, sizeof prefix, 0) != (ssize_t)sizeof prefix)
        return length < sizeof prefix ? length : sizeof prefix;
    for (unsigned i = 0; i < sizeof prefix; i++)
        bytes |= (uint64_t)prefix[i] << (8 * i);
    return bytes > ATTN_SAFETENSORS_MAX_HEADER || bytes > length - sizeof prefix ? sizeof prefix
                                                                                 : sizeof prefix + (size_t)bytes;
}

/* Read, not mapped: where the file is cut short meanwhile, that is an error here and no signal. */
static attn_status read_header(int fd, const char *path, size_t length, void **bytes, struct attn_error *error) {
    size_t wanted = header_end(fd, length), got = 0;
    *bytes = malloc(wanted + 1);
    if (*bytes == NULL)
        return attn_fail(error, ATTN_ENOMEM, "", "no memory for the file's header");
    for (ssize_t count = 1; got < wanted && count > 0; got += count > 0 ? (size_t)count : 0)
        count = pread(fd, (char *)*bytes + got, wanted - got, (off_t)got);
    return got == wanted ? ATTN_OK : attn_fail(error, ATTN_EIO, "", "%s: cut short while it was read", path);
}

static attn_status map_data(struct attn_safetensors *file, int fd, const char *path, struct attn_error *error) {
    void *bytes = mmap(NULL, file->length, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return fail_io(error, path);
    file->bytes = bytes;
    file->is_mapped = true;
    return ATTN_OK;
}

attn_status attn_safetensors_open(struct attn_safetensors **file, const char *path, struct attn_error *error) {
    struct attn_safetensors *made = NULL;
    void *header = NULL;
    size_t length = 0;
    int fd;
    attn_status status = open_file(path, &fd, &length, error);
    if (status != ATTN_OK)
        return status;
    status = read_header(fd, path, length, &header, error);
    if (status == ATTN_OK)
        status = attn_safetensors_parse(&made, header, length, error);
    if (made != NULL)
        status = map_data(made, fd, path, error);
    free(header);
    close(fd);
    if (status == ATTN_OK)
        *file = made;
    else
        attn_safetensors_close(made);
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
