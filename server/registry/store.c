#include "server/registry/store.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static char *join(const char *directory, const char *name, const char *suffix) {
    char *path = NULL;
    return asprintf(&path, "%s/%s%s", directory, name, suffix) < 0 ? NULL : path;
}

char *store_path(const char *directory, const char *id) {
    return join(directory, id, STORE_SUFFIX);
}

/* @return false, so that a caller can `return fail_disk(…)`. */
static bool fail_disk(struct problem *problem, const char *what) {
    int reason = errno;
    enum problem_id id = PROBLEM_INTERNAL;
    if (reason == ENOSPC || reason == EDQUOT || reason == EFBIG || reason == ENOMEM)
        id = PROBLEM_NO_ROOM;
    else if (reason == ENOENT || reason == EROFS || reason == EACCES || reason == EPERM || reason == ENOTDIR ||
             reason == EISDIR)
        id = PROBLEM_CONFLICT;
    problem_set(problem, id, NULL, "%s: %s", what, strerror(reason));
    return false;
}

/* A running upload holds a lock on its file; one that was killed does not. */
static void remove_if_abandoned(int folder, const char *name) {
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        unlinkat(folder, name, 0);
    close(fd);
}

void store_clean_uploads(const char *directory) {
    char *path = join(directory, STORE_UPLOADS, "");
    DIR *folder = path != NULL ? opendir(path) : NULL;
    free(path);
    if (folder == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.')
            remove_if_abandoned(dirfd(folder), entry->d_name);
    closedir(folder);
}

int store_upload_open(const char *directory, char **path, struct problem *problem) {
    char *folder = join(directory, STORE_UPLOADS, "");
    char *name = join(directory, STORE_UPLOADS, "/upload-XXXXXX");
    int fd = -1;
    if (folder == NULL || name == NULL)
        problem_set(problem, PROBLEM_NO_ROOM, NULL, "no memory for an upload");
    else if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        fail_disk(problem, "the folder for uploads cannot be made");
    else if ((fd = mkostemp(name, O_CLOEXEC)) < 0)
        fail_disk(problem, "the upload cannot be kept");
    else
        flock(fd, LOCK_EX | LOCK_NB);
    free(folder);
    if (fd < 0)
        free(name);
    else
        *path = name;
    return fd;
}

static bool sync_path(const char *path, int flags) {
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool is_synced = fsync(fd) == 0;
    int reason = errno;
    close(fd);
    errno = reason;
    return is_synced;
}

/* The folder that an id's file is in: a malloc'ed path. */
static char *folder_of(const char *directory, const char *id) {
    const char *slash = strchr(id, '/');
    char *path = NULL;
    if (slash == NULL)
        return strdup(directory);
    return asprintf(&path, "%s/%.*s", directory, (int)(slash - id), id) < 0 ? NULL : path;
}

/* A folder that holds a whole model is no organisation with models in it. */
static bool make_folder(const char *directory, const char *folder, struct problem *problem) {
    if (mkdir(folder, 0777) == 0)
        return sync_path(directory, O_RDONLY | O_DIRECTORY) ||
               fail_disk(problem, "the models directory cannot be synchronized");
    if (errno != EEXIST)
        return fail_disk(problem, "the model's folder cannot be made");
    char *config = join(folder, "config.json", "");
    bool is_model = config != NULL && strcmp(directory, folder) != 0 && access(config, F_OK) == 0;
    free(config);
    if (is_model)
        problem_set(problem, PROBLEM_CONFLICT, NULL, "the folder of that name holds a whole model");
    return !is_model;
}

static bool move_into_place(const char *folder, const char *from, const char *to, struct problem *problem) {
    if (chmod(from, 0644) != 0 || !sync_path(from, O_RDONLY))
        return fail_disk(problem, "the upload cannot be written to disk");
    if (rename(from, to) != 0)
        return fail_disk(problem, "the upload cannot be put in place");
    if (!sync_path(folder, O_RDONLY | O_DIRECTORY))
        return fail_disk(problem, "the models directory cannot be synchronized");
    return true;
}

bool store_put(const char *directory, const char *id, const char *from, struct problem *problem) {
    char *folder = folder_of(directory, id), *to = store_path(directory, id);
    bool is_put = false;
    if (folder == NULL || to == NULL)
        problem_set(problem, PROBLEM_NO_ROOM, NULL, "no memory for a path");
    else
        is_put = make_folder(directory, folder, problem) && move_into_place(folder, from, to, problem);
    free(folder);
    free(to);
    return is_put;
}

bool store_delete(const char *directory, const char *id, struct problem *problem) {
    char *folder = folder_of(directory, id), *path = store_path(directory, id);
    bool is_deleted = false;
    if (folder == NULL || path == NULL)
        problem_set(problem, PROBLEM_NO_ROOM, NULL, "no memory for a path");
    else if (unlink(path) != 0 && errno != ENOENT)
        fail_disk(problem, "the model's file cannot be removed");
    else if (!sync_path(folder, O_RDONLY | O_DIRECTORY) && errno != ENOENT)
        fail_disk(problem, "the models directory cannot be synchronized");
    else
        is_deleted = true;
    if (is_deleted && strcmp(folder, directory) != 0)
        rmdir(folder); /* where it was the last of its organisation */
    free(folder);
    free(path);
    return is_deleted;
}

static bool write_all(int fd, const unsigned char *bytes, size_t length) {
    static const size_t most = (size_t)1 << 30;
    while (length > 0) {
        ssize_t written = write(fd, bytes, length < most ? length : most);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        bytes += written;
        length -= (size_t)written;
    }
    return true;
}

/* The header as it was, in the same order, with `more` in its metadata. */
static unsigned char *make_header(const struct attn_safetensors *file, const struct attn_metadata *more,
                                  size_t more_count, size_t *header_bytes) {
    size_t count = attn_safetensors_count(file), kept = attn_safetensors_metadata_count(file);
    struct attn_safetensors_item *items = calloc(count + 1, sizeof *items);
    struct attn_metadata *metadata = calloc(kept + more_count + 1, sizeof *metadata);
    unsigned char *header = NULL;
    if (items != NULL && metadata != NULL) {
        for (size_t i = 0; i < count; i++) {
            struct attn_named_view tensor = attn_safetensors_tensor(file, i);
            items[i] = (struct attn_safetensors_item){tensor.name, tensor.view};
        }
        for (size_t i = 0; i < kept; i++)
            metadata[i] = attn_safetensors_metadata_at(file, i);
        for (size_t i = 0; i < more_count; i++)
            metadata[kept + i] = more[i];
        if (attn_safetensors_header(items, count, metadata, kept + more_count, &header, header_bytes, NULL) != ATTN_OK)
            header = NULL;
    }
    free(items);
    free(metadata);
    return header;
}

/* Where the data begins: behind the first tensor's place there is nothing but data, in order and without gaps. */
static size_t data_start(const struct attn_safetensors *file) {
    size_t length;
    const unsigned char *bytes = attn_safetensors_bytes(file, &length);
    if (attn_safetensors_count(file) == 0)
        return length;
    return (size_t)((const unsigned char *)attn_safetensors_tensor(file, 0).view.data - bytes);
}

char *store_rewrite(const char *directory, const struct attn_safetensors *file, const struct attn_metadata *more,
                    size_t more_count, struct problem *problem) {
    size_t length, header_bytes = 0, start = data_start(file);
    const unsigned char *bytes = attn_safetensors_bytes(file, &length);
    char *path = NULL;
    unsigned char *header = make_header(file, more, more_count, &header_bytes);
    if (header == NULL) {
        problem_set(problem, PROBLEM_NO_ROOM, NULL, "no memory for the model's header");
        return NULL;
    }
    int fd = store_upload_open(directory, &path, problem);
    if (fd >= 0 && (!write_all(fd, header, header_bytes) || !write_all(fd, bytes + start, length - start))) {
        fail_disk(problem, "the upload cannot be kept");
        unlink(path);
        free(path);
        path = NULL;
    }
    if (fd >= 0)
        close(fd);
    free(header);
    return path;
}
