/** @file tensors.h The tensors of a model: one safetensors file, or the shards that an index names. */
#ifndef LIB_TRANSFORMER_TENSORS_H
#define LIB_TRANSFORMER_TENSORS_H

#include <attn/safetensors.h>

/** The most shards of a model. */
enum { ATTN_MAX_SHARDS = 1024 };

struct attn_tensors {
    struct attn_safetensors **files;
    const char **names; /**< of the files, for errors */
    size_t count;
    bool is_lent; /**< the one file is not this model's to close */
};

/** Opens a directory's files. @return as attn_model_open; on failure nothing is held */
attn_status attn_tensors_open(struct attn_tensors *tensors, const char *directory, struct attn_error *error);
void attn_tensors_close(struct attn_tensors *tensors);

/** @return the tensor; name NULL where there is none. file receives the name of its file. */
struct attn_named_view attn_tensors_find(const struct attn_tensors *tensors, const char *name, const char **file);

#endif
