/* Uploads and removals: each leaves the disk and the table as they were, or both changed. */
#include "server/registry/etag.h"
#include "server/registry/internal.h"
#include "server/registry/settings.h"
#include "server/registry/store.h"
#include "server/registry/unpack.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Whether the id may be written at all. */
static bool check_writable(const struct registry *registry, const char *id, struct problem *problem) {
    if (!registry_id_check(id, NULL, problem))
        return false;
    if (registry->options.directory == NULL) {
        problem_set(problem, PROBLEM_CONFLICT, NULL,
                    "the server has no models directory; it was started without --models");
        return false;
    }
    if (registry_is_named(registry, id)) {
        problem_set(problem, PROBLEM_CONFLICT, NULL, "the model \"%s\" was given by --model and is read-only", id);
        return false;
    }
    return true;
}

/* What is there now must be ours to replace, and meet the condition. */
static bool check_current(const struct loaded *now, const struct registry_condition *condition,
                          struct problem *problem) {
    bool is_conditional = condition != NULL && (condition->if_match != NULL || condition->if_none_match != NULL);
    if (is_conditional && now != NULL && now->model.status == MODEL_LOADING) {
        problem_set(problem, PROBLEM_MODEL_LOADING, NULL, "the model \"%s\" is still loading, its tag is not known yet",
                    now->model.id);
        problem->retry_after_s = 1;
        return false;
    }
    return etag_condition_holds(condition, now != NULL && is_conditional ? registry_model_sha256(&now->model) : NULL,
                                problem);
}

/* Loads the upload; where settings have to be written into it, a copy takes its place. */
static struct loaded *load_upload(const struct registry *registry, const char *id, const char *path,
                                  const struct registry_put_options *options, struct problem *problem) {
    struct load_source source = {id, path, false};
    struct attn_metadata missing[SETTING_COUNT];
    struct loaded *loaded = loaded_open(&source, options, problem);
    size_t missing_count =
        loaded != NULL && options != NULL ? settings_missing(loaded->model.file, options, missing) : 0;
    if (missing_count == 0)
        return loaded;
    char *copy = store_rewrite(registry->options.directory, loaded->model.file, missing, missing_count, problem);
    loaded_release(loaded);
    if (copy == NULL)
        return NULL;
    source.path = copy;
    loaded = loaded_open(&source, options, problem);
    if (loaded == NULL)
        unlink(copy);
    free(copy);
    return loaded;
}

/* With `writing` held: the condition, the disk, the table. On success the table has a reference of its own. */
static bool replace(struct registry *registry, struct loaded *loaded, const struct registry_condition *condition,
                    bool *replaced, struct problem *problem) {
    const char *id = loaded->model.id;
    char *path = store_path(registry->options.directory, id, loaded->is_folder);
    struct loaded *now = registry_find(registry, id);
    bool is_put = path != NULL && check_current(now, condition, problem) &&
                  store_put(registry->options.directory, id, loaded->path, loaded->is_folder, problem);
    if (path == NULL)
        problem_set(problem, PROBLEM_NO_ROOM, NULL, "no memory for a path");
    *replaced = now != NULL;
    loaded_release(now);
    if (!is_put) {
        free(path);
        return false;
    }
    free(loaded->path);
    loaded->path = path;
    if (registry_publish(registry, loaded_acquire(loaded)))
        return true;
    problem_set(problem, PROBLEM_NO_ROOM, NULL, "no memory for another model");
    return false;
}

/* The hash reads everything, and is made before others have to wait. */
static bool hash_and_replace(struct registry *registry, struct loaded *loaded,
                             const struct registry_condition *condition, bool *replaced, struct problem *problem) {
    registry_model_sha256(&loaded->model);
    pthread_mutex_lock(&registry->writing);
    bool is_put = replace(registry, loaded, condition, replaced, problem);
    pthread_mutex_unlock(&registry->writing);
    return is_put;
}

const struct model *registry_put(struct registry *registry, const char *id, const char *path,
                                 const struct registry_put_options *put_options,
                                 const struct registry_condition *condition, bool *replaced, struct problem *problem) {
    if (!check_writable(registry, id, problem))
        return NULL;
    struct loaded *loaded = load_upload(registry, id, path, put_options, problem);
    if (loaded == NULL)
        return NULL;
    bool is_copy = strcmp(loaded->path, path) != 0;
    bool is_put = hash_and_replace(registry, loaded, condition, replaced, problem);
    if (is_put && is_copy)
        unlink(path);
    if (!is_put && is_copy)
        unlink(loaded->path);
    if (is_put)
        return &loaded->model;
    loaded_release(loaded);
    return NULL;
}

/* A byte of a file in the archive is told as a byte of the archive, which is what was sent. */
static void place_in_archive(const struct tar *tar, struct problem *problem) {
    char name[TAR_NAME_BYTES], detail[sizeof problem->detail];
    const char *file = problem->pointer + 1;
    if (!problem->has_offset || problem->pointer[0] != '/')
        return;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(file, "/"), file);
    const struct tar_member *member = tar_find(tar, name);
    if (member == NULL)
        return;
    problem->offset += (size_t)member->offset;
    memcpy(detail, problem->detail, sizeof detail);
    snprintf(problem->detail, sizeof problem->detail, "%.440s of it, byte %zu of the archive", detail, problem->offset);
}

static struct loaded *load_folder(const struct tar *tar, const char *id, const char *path, struct problem *problem) {
    struct load_source source = {id, path, false};
    struct loaded *loaded = loaded_open(&source, NULL, problem);
    if (loaded != NULL && loaded_open_tokenizer(loaded, problem))
        return loaded;
    place_in_archive(tar, problem);
    loaded_release(loaded);
    return NULL;
}

struct upload {
    const char *id;
    char *path; /* of the fresh folder */
    const struct registry_condition *condition;
    bool *replaced;
};

/* Makes a model of a folder that is fresh and empty. It is gone when this fails. */
static struct loaded *put_folder(struct registry *registry, const struct tar *tar, int archive_fd, int folder_fd,
                                 struct upload *upload, struct problem *problem) {
    if (!unpack(tar, archive_fd, folder_fd, problem))
        return NULL;
    struct loaded *loaded = load_folder(tar, upload->id, upload->path, problem);
    if (loaded == NULL || hash_and_replace(registry, loaded, upload->condition, upload->replaced, problem))
        return loaded;
    loaded_release(loaded);
    return NULL;
}

const struct model *registry_put_tar(struct registry *registry, const char *id, int fd,
                                     const struct registry_condition *condition, bool *replaced,
                                     struct problem *problem) {
    struct tar tar = {NULL, 0, 0};
    struct upload upload = {id, NULL, condition, replaced};
    struct loaded *loaded = NULL;
    if (!check_writable(registry, id, problem))
        return NULL;
    int folder_fd =
        tar_read(&tar, fd, problem) ? store_upload_folder(registry->options.directory, &upload.path, problem) : -1;
    if (folder_fd >= 0) {
        loaded = put_folder(registry, &tar, fd, folder_fd, &upload, problem);
        if (loaded == NULL)
            folder_remove(upload.path);
        close(folder_fd);
    }
    free(upload.path);
    tar_reset(&tar);
    return loaded != NULL ? &loaded->model : NULL;
}

bool registry_delete(struct registry *registry, const char *id, const struct registry_condition *condition,
                     struct problem *problem) {
    if (!check_writable(registry, id, problem))
        return false;
    pthread_mutex_lock(&registry->writing);
    struct loaded *now = registry_find(registry, id);
    bool is_deleted = false;
    if (now == NULL)
        problem_set(problem, PROBLEM_MODEL_NOT_FOUND, NULL, "there is no model \"%.300s\"", id);
    else
        is_deleted = check_current(now, condition, problem) && store_delete(registry->options.directory, id, problem);
    if (is_deleted)
        registry_drop(registry, id);
    pthread_mutex_unlock(&registry->writing);
    loaded_release(now);
    return is_deleted;
}

int registry_upload_open(struct registry *registry, char **path, struct problem *problem) {
    if (registry->options.directory == NULL) {
        problem_set(problem, PROBLEM_CONFLICT, NULL,
                    "the server has no models directory; it was started without --models");
        return -1;
    }
    return store_upload_open(registry->options.directory, path, problem);
}
