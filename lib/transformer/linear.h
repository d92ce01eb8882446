/**
 * @file linear.h
 * Weights of a model and products with them: the one place that knows how a weight is kept. Mapped weights stay as
 * they are in the file; what float32 runs multiply with is packed when it is first used, once for all workers.
 */
#ifndef LIB_TRANSFORMER_LINEAR_H
#define LIB_TRANSFORMER_LINEAR_H

#include "lib/kernels/packed.h"

#include <pthread.h>
#include <stdatomic.h>

/** A small tensor (bias, norm) in both dtypes of runs. Both NULL: there is none. */
struct attn_vector {
    float *float32;
    double *float64;
    size_t size;
};

static inline const void *attn_vector_data(const struct attn_vector *vector, attn_dtype dtype) {
    return dtype == ATTN_FLOAT64 ? (const void *)vector->float64 : (const void *)vector->float32;
}

/** A linear layer's weight and bias. */
struct attn_weight {
    struct attn_view view; /**< (out, in), any floating dtype, any strides; the file's */
    struct attn_vector bias;
    pthread_mutex_t packing;
    struct attn_packed *_Atomic packed; /**< NULL until a float32 run needs it */
};

/** A normalisation. width 0: there is none. */
struct attn_norm_weight {
    size_t width;
    bool centres;
    double epsilon, weight_plus;
    struct attn_vector weight, bias;
};

/** @return a normalisation as the kernels take it. */
static inline struct attn_norm attn_norm_of(const struct attn_norm_weight *norm, attn_dtype dtype) {
    return (struct attn_norm){.centres = norm->centres,
                              .epsilon = norm->epsilon,
                              .weight_plus = norm->weight_plus,
                              .weight = attn_vector_data(&norm->weight, dtype),
                              .bias = attn_vector_data(&norm->bias, dtype)};
}

/** Working memory of products: so many bytes for each lane. */
struct attn_lanes {
    char *bytes;
    size_t bytes_per_lane;
};

/** out = activation(left . weight^T + bias) (* gate) (+ residual); rows of the run's dtype, contiguous columns. */
struct attn_product_call {
    struct attn_weight *weight;
    size_t rows;
    const void *left;
    ptrdiff_t left_stride;
    attn_activation activation;
    const void *gate; /**< NULL: none; may be `out` */
    ptrdiff_t gate_stride;
    const void *residual; /**< NULL: none; may be `out` */
    ptrdiff_t residual_stride;
    void *out;
    ptrdiff_t out_stride;
};

/** @return the lane bytes that products with a weight need. */
size_t attn_weight_lane_bytes(const struct attn_view *weight, attn_dtype dtype);

/** @return ATTN_OK, ATTN_ENOMEM, ATTN_ECANCELLED */
attn_status attn_weight_apply(const struct attn_product_call *call, attn_dtype dtype, const struct attn_lanes *lanes,
                              const struct attn_execution *execution);

/** @return the bytes that are packed by now. */
size_t attn_weight_packed_bytes(struct attn_weight *weight);

/** Frees what was packed. */
void attn_weight_release(struct attn_weight *weight);

/** Rows begin .. end-1. */
typedef void (*attn_rows_work)(void *context, size_t begin, size_t end, size_t lane);

/** Runs work over blocks of rows on the executor's lanes. @return ATTN_OK, ATTN_ECANCELLED */
attn_status attn_over_rows(size_t rows, size_t block, attn_rows_work work, void *context,
                           const struct attn_execution *execution);

/** out = norm(in) over rows, in place or not. @return ATTN_OK, ATTN_ECANCELLED */
attn_status attn_norm_apply(const struct attn_norm_weight *norm, attn_dtype dtype, size_t rows, const void *in,
                            ptrdiff_t in_stride, void *out, ptrdiff_t out_stride,
                            const struct attn_execution *execution);

#endif
