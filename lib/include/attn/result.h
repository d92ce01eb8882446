/**
 * @file result.h
 * What a computation hands back: a flat list of named tensors with the sizes and warnings that belong to it.
 */
#ifndef ATTN_RESULT_H
#define ATTN_RESULT_H

#include <attn/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Where a tensor of a result belongs. */
typedef enum attn_group {
    ATTN_GROUP_OUTPUT,    /**< output */
    ATTN_GROUP_WEIGHTS,   /**< a form of the weights */
    ATTN_GROUP_ANALYSIS,  /**< an analysis */
    ATTN_GROUP_INTERNALS, /**< query, key, value, context, logsumexp, max_score */
    ATTN_GROUP_EXTRA      /**< present_key, present_value, pca_loadings, explained_variance_ratio */
} attn_group;

struct attn_result_tensor {
    attn_group group;
    const char *name; /**< "output", "average", "per_head", "entropy", "present_key" …; static storage */
    int layer;        /**< position in the layers axis, or -1 where there is none */
    int head;         /**< the head of an entry of `pairs`, or -1 */
    struct attn_view values;
    struct attn_view indices; /**< int64, of the shape of values: top-k's keys; data NULL otherwise */
};

struct attn_dims {
    size_t batch, heads, kv_heads, query_length, key_length, head_dim;
};

/** Something legal and probably a mistake. */
struct attn_warning {
    char field[64];
    char detail[192];
};

#define ATTN_MAX_WARNINGS 8

/** Owned by whoever received it, freed by attn_result_destroy. Tensors without a batch axis have it dropped already. */
struct attn_result {
    struct attn_dims dims;
    size_t tensor_count;
    struct attn_result_tensor *tensors;
    size_t warning_count;
    struct attn_warning warnings[ATTN_MAX_WARNINGS];
    void *memory; /**< private */
};

/** Frees a result and everything its views point to; NULL is allowed. */
ATTN_API void attn_result_destroy(struct attn_result *result);

/** @return the tensor of that group and name (layer and head -1), or NULL. Thread safe. */
ATTN_API const struct attn_result_tensor *attn_result_find(const struct attn_result *result, attn_group group,
                                                           const char *name);

#ifdef __cplusplus
}
#endif
#endif
