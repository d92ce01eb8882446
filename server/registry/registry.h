/**
 * @file registry.h
 * Models by id: loaded from disk, listed, replaced, removed, and counted while requests use them. Any thread.
 */
#ifndef SERVER_REGISTRY_REGISTRY_H
#define SERVER_REGISTRY_REGISTRY_H

#include "server/base/problem.h"
#include <attn/layer.h>
#include <attn/model.h>
#include <attn/safetensors.h>
#include <attn/tokenizer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct registry;

enum model_status { MODEL_READY, MODEL_LOADING, MODEL_FAILED };

/** A loaded model: immutable, counted. What is here stays valid until it is released. */
struct model {
    const char *id;
    const char *kind;         /**< "attention" or "transformer" */
    const char *architecture; /**< "multi_head_attention", or config.json's ("BertModel") */
    enum model_status status;
    const char *reason; /**< MODEL_FAILED: why */
    bool is_read_only;
    size_t layers, heads, kv_heads, hidden_size, max_positions, parameters, bytes;
    const char *dtype;                      /**< of the file's weights: "float32" … or "mixed" */
    struct attn_layer layer;                /**< of kind "attention" */
    const struct attn_safetensors *file;    /**< likewise; of a state dict too */
    const struct attn_model *transformer;   /**< of kind "transformer"; else NULL */
    const struct attn_tokenizer *tokenizer; /**< of a transformer that has one; else NULL; to be read after
                                                 registry_open_tokenizer only, as the next */
    const char *tokenizer_reason; /**< why a transformer's tokenizer could not be used; NULL where it could, or there is
                                       none */
};

/** A file or folder served under a name, read-only. */
struct registry_named {
    const char *name, *path;
};

struct registry_options {
    const char *directory;              /**< NULL: none (uploads are refused with 409) */
    const struct registry_named *named; /**< --model NAME=PATH */
    size_t named_count;
};

/**
 * Starts loading what is on disk in a thread of its own. The texts of the options must outlive the registry.
 * @return NULL with the problem filled.
 */
struct registry *registry_create(const struct registry_options *options, struct problem *problem);
void registry_destroy(struct registry *registry);
/** Reads the directory again (SIGHUP): new files appear, changed ones are replaced, gone ones are dropped. */
void registry_rescan(struct registry *registry);
/** @return whether every model found at start is ready or has failed; failed_count receives how many failed. */
bool registry_is_settled(struct registry *registry, size_t *failed_count);

/** Checks an id (api.md section 4). @return false with PROBLEM_INVALID; `pointer` goes into it (may be NULL). */
bool registry_id_check(const char *id, const char *pointer, struct problem *problem);

/**
 * @return the model, to be released, whatever its status; NULL with PROBLEM_MODEL_NOT_FOUND. It never waits: for a
 *         whole model's tokenizer, call registry_open_tokenizer.
 */
const struct model *registry_acquire(struct registry *registry, const char *id, struct problem *problem);
void registry_release(struct registry *registry, const struct model *model);
/**
 * Makes sure that a model's tokenizer is there, or why not. It is opened behind readiness, so that this may have to
 * wait for a second: nothing for an event thread.
 */
void registry_open_tokenizer(const struct model *model);
/** @return how many, with *models a malloc'ed array of acquired models sorted by id, each to be released. */
size_t registry_list(struct registry *registry, const struct model ***models);

/**
 * @return the file's SHA-256 in lower-case hex, of which the ETag is made; of a whole model's folder, the SHA-256 over
 * a line a file (folder.h); "" where there is nothing to read. It is computed behind readiness, once: the call waits
 * where that is still to come.
 */
const char *registry_model_sha256(const struct model *model);
/** @return whether registry_model_sha256 answers at once. */
bool registry_model_is_hashed(const struct model *model);

/** @return whether the model's mapping failed (file cut short under us): its results must not be trusted. */
bool registry_model_is_broken(const struct model *model);

/** Conditions of a write, from If-Match / If-None-Match; NULL: none. */
struct registry_condition {
    const char *if_match, *if_none_match;
};
/** What the query string may add to the file's metadata; "" or NULL: not given. */
struct registry_put_options {
    const char *num_heads, *num_kv_heads, *add_zero_attn;
    const char *norm_first, *activation; /**< of a whole nn.TransformerEncoder or nn.Transformer */
};
/**
 * Makes the uploaded file the model: checked, fsynced, renamed, directory fsynced. A crash leaves the old or the new.
 * @param path a finished file inside the models directory's upload folder; consumed on success
 * @param replaced receives whether there was one before
 * @return the new model, to be released; NULL with the problem (400, 409, 412, 422, 507).
 */
const struct model *registry_put(struct registry *registry, const char *id, const char *path,
                                 const struct registry_put_options *put_options,
                                 const struct registry_condition *condition, bool *replaced, struct problem *problem);
/**
 * The same for a whole model in an archive: unpacked beside the models, opened with its tokenizer, exchanged for what
 * was there.
 * @param fd the finished archive, whose contents are consumed
 */
const struct model *registry_put_tar(struct registry *registry, const char *id, int fd,
                                     const struct registry_condition *condition, bool *replaced,
                                     struct problem *problem);
bool registry_delete(struct registry *registry, const char *id, const struct registry_condition *condition,
                     struct problem *problem);
/** Opens a new temporary file for an upload. @return its fd and path (malloc'ed), or -1 with the problem. */
int registry_upload_open(struct registry *registry, char **path, struct problem *problem);

#endif
