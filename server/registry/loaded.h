/** @file loaded.h A model's file in memory: mapped, checked, its layer resolved, counted. */
#ifndef SERVER_REGISTRY_LOADED_H
#define SERVER_REGISTRY_LOADED_H

#include "server/registry/guard.h"
#include "server/registry/registry.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

/** By which a changed file is known. */
struct file_identity {
    dev_t device;
    ino_t inode;
    off_t bytes;
    struct timespec modified;
};

/** The whole of a model; `model` is what others see and comes first. */
struct loaded {
    struct model model;
    _Atomic size_t references;
    bool was_there_at_start;
    char *path;
    struct file_identity identity;
    void *bytes; /**< the mapping, model.bytes long; NULL: none */
    struct guard *guard;
    void **copies; /**< tensors that could not be used in place */
    size_t copy_count;
    char *text; /**< the id, and the reason behind it */
    pthread_mutex_t hash_lock;
    char sha256[65];
    atomic_bool is_hashed;
};

/** Which file a model is made of. */
struct load_source {
    const char *id, *path;
    bool is_read_only;
};

/**
 * Maps and checks a file and resolves its layer.
 * @param put_options what the query string says; NULL: nothing
 * @return a model with one reference, or NULL with the problem filled
 */
struct loaded *loaded_open(const struct load_source *source, const struct registry_put_options *put_options,
                           struct problem *problem);
/** @return a model that is only a name and a status: loading, or failed with its reason; NULL out of memory. */
struct loaded *loaded_create(const struct load_source *source, enum model_status status, const char *reason);
struct loaded *loaded_acquire(struct loaded *loaded);
/** NULL is allowed. */
void loaded_release(struct loaded *loaded);

/** Computes the hash unless it is there, or `stops` (NULL: never) becomes true meanwhile. Any thread. */
void loaded_hash(struct loaded *loaded, const atomic_bool *stops);

/** @return false where there is no such file. */
bool file_identity_read(const char *path, struct file_identity *identity);
bool file_identity_is_same(const struct file_identity *left, const struct file_identity *right);

#endif
