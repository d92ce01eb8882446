/**
 * @file packed.h
 * Linear layers whose weight is used again and again: packed once into the order in which the kernels read it, float32
 * or, exactly, in the half-precision type that the file has; and products over it with the steps that follow a product
 * in a transformer done while the numbers are still in registers.
 */
#ifndef LIB_KERNELS_PACKED_H
#define LIB_KERNELS_PACKED_H

#include <attn/execution.h>
#include <attn/tensor.h>

/** What follows a product. */
typedef enum attn_activation {
    ATTN_ACTIVATION_NONE,
    ATTN_ACTIVATION_RELU,
    ATTN_ACTIVATION_GELU,       /**< x * Phi(x), by erf (Hendrycks and Gimpel 2016) */
    ATTN_ACTIVATION_GELU_TANH,  /**< its tanh approximation (the same; gelu_new, gelu_pytorch_tanh) */
    ATTN_ACTIVATION_GELU_QUICK, /**< x * sigmoid(1.702 x) */
    ATTN_ACTIVATION_SILU,       /**< x * sigmoid(x) */
    ATTN_ACTIVATION_TANH,
    ATTN_ACTIVATION_COUNT
} attn_activation;

/** A packed weight. Opaque; immutable. */
struct attn_packed;

/**
 * @param weight (out, in), float32, float16 or bfloat16, any strides
 * @return ATTN_OK, ATTN_ENOMEM, ATTN_EDTYPE
 */
attn_status attn_packed_create(struct attn_packed **packed, const struct attn_view *weight);
void attn_packed_destroy(struct attn_packed *packed);
/** @return the bytes that it holds. */
size_t attn_packed_bytes(const struct attn_packed *packed);

/** out = activation(left . weight^T + bias) (* gate) (+ residual), row by row. Rows are contiguous float32. */
struct attn_linear {
    size_t rows;
    const float *left; /**< (rows, in) */
    ptrdiff_t left_stride;
    const float *bias; /**< (out), or NULL */
    attn_activation activation;
    const float *gate; /**< (rows, out), multiplied after the activation, or NULL */
    ptrdiff_t gate_stride;
    const float *residual; /**< (rows, out), added last, or NULL; may be `out` */
    ptrdiff_t residual_stride;
    float *out; /**< (rows, out) */
    ptrdiff_t out_stride;
};

/**
 * Computes, tiled over the executor's lanes where the work is worth it. The same bits come out on any number of lanes.
 * What is not finite is as IEEE 754's sums and products have it.
 * @return ATTN_OK, ATTN_ECANCELLED, ATTN_ENOMEM
 */
attn_status attn_packed_apply(const struct attn_packed *packed, const struct attn_linear *linear,
                              const struct attn_execution *execution);

/**
 * row = activation(row), for float32 and float64 rows. Within 4 units in the last place, but for the far negative tails
 * of the GELUs, whose relative error grows with their argument (GELU_TANH and GELU_QUICK by |u| units, GELU in float64
 * by x^2); what is below the smallest normal number, times x, may be 0. NaN stays NaN; of -Infinity the GELUs and SILU
 * are NaN, as their formulas are.
 */
void attn_activate(attn_activation activation, attn_dtype dtype, void *row, size_t count);

/** Root-mean-square or layer normalisation of one row, in place or not; weight and bias in the row's dtype. */
struct attn_norm {
    bool centres;       /**< subtract the mean (layer norm, Ba et al. 2016); else RMS norm (Zhang and Sennrich 2019) */
    double epsilon;     /**< inside the square root */
    double weight_plus; /**< added to each weight (Gemma: 1) */
    const void *weight; /**< (width), or NULL: ones */
    const void *bias;   /**< (width), or NULL: zeros */
};
/** out (rows, width) = norm(in), moments by two passes, contiguous columns; strides in elements; out may be in. */
void attn_normalise(const struct attn_norm *norm, attn_dtype dtype, size_t rows, size_t width, const void *in,
                    ptrdiff_t in_stride, void *out, ptrdiff_t out_stride);

#endif
