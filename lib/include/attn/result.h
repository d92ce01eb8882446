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
    ATTN_GROUP_EXTRA      /**< present_key, present_value, pca_loadings, explained_variance_ratio; of models
                               encoder_output, embedding, predictions */
} attn_group;

/** One tensor of a result. */
struct attn_result_tensor {
    attn_group group;         /**< where it belongs */
    const char *name;         /**< "output", "average", "per_head", "entropy", "present_key" …; static storage */
    int stack;                /**< an attn_stack where a model has several, or -1 */
    int layer;                /**< position in the layers axis (within its stack), or -1 where there is none */
    int head;                 /**< the head of an entry of `pairs`, or -1 */
    struct attn_view values;  /**< without the batch axis where the inputs had none */
    struct attn_view indices; /**< int64, of the shape of values: top-k's keys, the ids of predictions; data NULL
                                   otherwise */
};

/** The sizes a computation works with, in the letters of tensor.h. */
struct attn_dims {
    size_t batch;        /**< N */
    size_t heads;        /**< H */
    size_t kv_heads;     /**< Hkv */
    size_t query_length; /**< L */
    size_t key_length;   /**< T: past keys and new ones, without the columns that a layer adds */
    size_t head_dim;     /**< D; 0 for weights computed elsewhere */
};

/** Something legal and probably a mistake. */
struct attn_warning {
    char field[64];   /**< the argument it is about, as in struct attn_error */
    char detail[192]; /**< one sentence without a final stop */
};

/** The most warnings that one result carries. */
#define ATTN_MAX_WARNINGS 8

/** Owned by whoever received it, freed by attn_result_destroy. Tensors without a batch axis have it dropped already. */
struct attn_result {
    struct attn_dims dims;                           /**< sizes of the inputs */
    size_t tensor_count;                             /**< entries of tensors */
    struct attn_result_tensor *tensors;              /**< names are unique within a group, stack, layer and head */
    size_t warning_count;                            /**< entries of warnings */
    struct attn_warning warnings[ATTN_MAX_WARNINGS]; /**< what is legal and probably a mistake */
    void *memory;                                    /**< private */
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
