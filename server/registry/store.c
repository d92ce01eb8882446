#include "server/registry/store.h"
#include "server/registry/folder.h"
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

char *store_path(const char *directory, const char *id, bool is_folder) {
    return join(directory, id, is_folder ? "" : STORE_SUFFIX);
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

/* A running upload holds a lock on its file or folder; one that was killed does not. */
static void remove_if_abandoned(int uploads, const char *directory, const char *name) {
    int fd = openat(uploads, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    char *path = join(directory, STORE_UPLOADS "/", name);
    if (path != NULL && (fd < 0 ? errno == ELOOP : flock(fd, LOCK_EX | LOCK_NB) == 0))
        folder_remove(path);
    if (fd >= 0)
        close(fd);
    free(path);
}

void store_clean_uploads(const char *directory) {
    char *path = join(directory, STORE_UPLOADS, "");
    DIR *folder = path != NULL ? opendir(path) : NULL;
    free(path);
    if (folder == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.')
            remove_if_abandoned(dirfd(folder), directory, entry->d_name);
    closedir(folder);
}

/* Makes the folder for uploads. @return a malloc'ed pattern for a name in it, or NULL with the problem. */
static char *prepare_upload(const char *directory, const char *pattern, struct problem *problem) {
    char *folder = join(directory, STORE_UPLOADS, ""), *name = join(directory, STORE_UPLOADS, pattern);
    bool is_made = false;
    if (folder == NULL || name == NULL)
        problem_set(problem, PROBLEM_NO_ROOM, NULL, "no memory for an upload");
    else if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        fail_disk(problem, "the folder for uploads cannot be made");
    else
        is_made = true;
    free(folder);
    if (is_made)
        return name;
    free(name);
    return NULL;
}

/* The lock says that the upload is alive. */
static int keep_upload(int fd, char *name, char **path, struct problem *problem) {
    if (fd < 0) {
        fail_disk(problem, "the upload cannot be kept");
        free(name);
        return -1;
    }
    flock(fd, LOCK_EX | LOCK_NB);
    *path = name;
    return fd;
}

int store_upload_open(const char *directory, char **path, struct problem *problem) {
    char *name = prepare_upload(directory, "/upload-XXXXXX", problem);
    return name == NULL ? -1 : keep_upload(mkostemp(name, O_CLOEXEC), name, path, problem);
}

int store_upload_folder(const char *directory, char **path, struct problem *problem) {
    char *name = prepare_upload(directory, "/folder-XXXXXX", problem);
    if (name == NULL)
        return -1;
    int fd = mkdtemp(name) != NULL ? open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    return keep_upload(fd, name, path, problem);
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

/* Makes the organisation's folder. One that holds a whole model is none. */
static bool make_parent(const char *directory, const char *parent, struct problem *problem) {
    if (strcmp(directory, parent) == 0)
        return true;
    if (mkdir(parent, 0777) == 0)
        return sync_path(directory, O_RDONLY | O_DIRECTORY) ||
               fail_disk(problem, "the models directory cannot be synchronized");
    if (errno != EEXIST)
        return fail_disk(problem, "the model's folder cannot be made");
    if (!folder_has_model(parent))
        return true;
    problem_set(problem, PROBLEM_CONFLICT, NULL, "the folder of that name holds a whole model");
    return false;
}

static bool sync_parent(const char *parent, struct problem *problem) {
    return sync_path(parent, O_RDONLY | O_DIRECTORY) ||
           fail_disk(problem, "the models directory cannot be synchronized");
}

/* Takes a folder out of sight in one step, then removes it. It need not be there. */
static bool remove_folder(const char *directory, const char *parent, const char *path, struct problem *problem) {
    char *aside = NULL;
    if (access(path, F_OK) != 0)
        return true;
    int fd = store_upload_folder(directory, &aside, problem);
    if (fd < 0)
        return false;
    close(fd);
    /* onto an empty folder; a link to a folder is no folder */
    bool is_moved = rename(path, aside) == 0 || ((errno == EISDIR || errno == ENOTDIR) && unlink(path) == 0);
    if (!is_moved)
        fail_disk(problem, "the model's folder cannot be removed");
    is_moved = is_moved && sync_parent(parent, problem);
    folder_remove(aside);
    free(aside);
    return is_moved;
}

static bool remove_file(const char *parent, const char *path, struct problem *problem) {
    if (unlink(path) == 0)
        return sync_parent(parent, problem);
    return errno == ENOENT || fail_disk(problem, "the model's file cannot be removed");
}

static bool move_file(const char *from, const char *to, struct problem *problem) {
    if (chmod(from, 0644) != 0 || !sync_path(from, O_RDONLY))
        return fail_disk(problem, "the upload cannot be written to disk");
    return rename(from, to) == 0 || fail_disk(problem, "the upload cannot be put in place");
}

/* Onto nothing or an empty folder by a plain rename; an old model is exchanged, and then is what `from` names. */
static bool move_folder(const char *from, const char *to, struct problem *problem) {
    if (rename(from, to) == 0)
        return true;
    if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR)
        return fail_disk(problem, "the upload cannot be put in place");
    if (!folder_has_model(to)) {
        problem_set(problem, PROBLEM_CONFLICT, NULL, "what is there of that name is no model's folder");
        return false;
    }
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE) == 0)
        return true;
    if (errno == EINVAL || errno == ENOSYS)
        problem_set(problem, PROBLEM_CONFLICT, NULL,
                    "the file system of the models directory cannot exchange two folders in one step: delete the old "
                    "model first");
    else
        fail_disk(problem, "the upload cannot be put in place");
    return false;
}

/* Where an id's model is, or will be. */
struct place {
    char *parent, *file, *folder;
};

static bool find_place(struct place *place, const char *directory, const char *id, struct problem *problem) {
    *place =
        (struct place){folder_of(directory, id), store_path(directory, id, false), store_path(directory, id, true)};
    if (place->parent != NULL && place->file != NULL && place->folder != NULL)
        return true;
    problem_set(problem, PROBLEM_NO_ROOM, NULL, "no memory for a path");
    return false;
}

static void reset_place(struct place *place) {
    free(place->parent);
    free(place->file);
    free(place->folder);
}

static bool put_file(const char *directory, const struct place *place, const char *from, struct problem *problem) {
    return move_file(from, place->file, problem) && sync_parent(place->parent, problem) &&
           (!folder_has_model(place->folder) || remove_folder(directory, place->parent, place->folder, problem));
}

static bool put_folder(const struct place *place, const char *from, struct problem *problem) {
    bool is_put = move_folder(from, place->folder, problem) && sync_parent(place->parent, problem) &&
                  remove_file(place->parent, place->file, problem);
    if (is_put)
        folder_remove(from); /* the old one, if there was one */
    return is_put;
}

bool store_put(const char *directory, const char *id, const char *from, bool is_folder, struct problem *problem) {
    struct place place;
    bool is_put = find_place(&place, directory, id, problem) && make_parent(directory, place.parent, problem) &&
                  (is_folder ? put_folder(&place, from, problem) : put_file(directory, &place, from, problem));
    reset_place(&place);
    return is_put;
}

/* The folder first: what goes last must not bring to light what it hid. */
bool store_delete(const char *directory, const char *id, struct problem *problem) {
    struct place place;
    bool is_deleted =
        find_place(&place, directory, id, problem) &&
        (!folder_has_model(place.folder) || remove_folder(directory, place.parent, place.folder, problem)) &&
        remove_file(place.parent, place.file, problem);
    if (is_deleted && strcmp(place.parent, directory) != 0)
        rmdir(place.parent); /* where it was the last of its organisation */
    reset_place(&place);
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
