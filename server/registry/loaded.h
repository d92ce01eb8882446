/** @file loaded.h A model in memory: mapped, checked, counted. */
#ifndef SERVER_REGISTRY_LOADED_H
#define SERVER_REGISTRY_LOADED_H

#include "server/registry/folder.h"
#include "server/registry/guard.h"
#include "server/registry/registry.h"
#include <pthread.h>
#include <stdatomic.h>

/** The whole of a model; `model` is what others see and comes first. */
struct loaded {
    struct model model;
    _Atomic size_t references;
    bool was_there_at_start;
    bool is_folder; /**< a whole model in a folder of its own; else a safetensors file */
    char *path;
    struct file_identity identity; /**< of a file */
    struct folder folder;          /**< of a folder */
    int folder_fd;                 /**< likewise: it stays the same, whatever the path names by now; -1: none */
    void *bytes;                   /**< of a file: the mapping, model.bytes long; NULL: none */
    struct guard **guards;         /**< one a mapping */
    size_t guard_count;
    void **copies; /**< tensors that could not be used in place */
    size_t copy_count;
    char *text;             /**< the id, and the reason behind it */
    char *tokenizer_reason; /**< what model.tokenizer_reason is */
    pthread_mutex_t tokenizer_lock;
    atomic_bool has_tokenizer; /**< or is known to have none: model.tokenizer may be read */
    pthread_mutex_t hash_lock;
    char sha256[HASH_TEXT_BYTES];
    atomic_bool is_hashed;
};

/** What a model is made of: a safetensors file, or a folder. */
struct load_source {
    const char *id, *path;
    bool is_read_only;
};

/**
 * Maps and checks a model.
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
/** Guards a mapping of the model as long as the model lives. @return false with the problem filled. */
bool loaded_guard(struct loaded *loaded, void *bytes, size_t length, struct problem *problem);
/** @return whether what the path names is still what was loaded from it. */
bool loaded_is_current(const struct loaded *loaded, const char *path);

/**
 * Opens a whole model's tokenizer, unless that was done: it takes longer than the model itself, and readiness does not
 * wait for it. Any thread; whoever reads model.tokenizer has called it before.
 * @return false with the problem filled where it cannot be used (the model can), the first time
 */
bool loaded_open_tokenizer(struct loaded *loaded, struct problem *problem);

/** Computes the hash unless it is there, or `stops` (NULL: never) becomes true meanwhile. Any thread. */
void loaded_hash(struct loaded *loaded, const atomic_bool *stops);

#endif
