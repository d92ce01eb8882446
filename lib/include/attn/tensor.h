/**
 * @file tensor.h
 * Typed, strided views of tensors. A view is plain data passed by value and never owns what it points to.
 *
 * Letters used for sizes everywhere: N batch, L query length, S new keys, P past keys, T = P + S all keys,
 * E embed dim, H heads, Hkv key/value heads, D head dim, Dv value head dim.
 */
#ifndef ATTN_TENSOR_H
#define ATTN_TENSOR_H

#include <attn/status.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The most axes of a tensor. */
#define ATTN_MAX_RANK 8

/** dtype, its name (safetensors' names beside it), bytes an element. */
#define ATTN_DTYPE_TABLE(X)                                                                                            \
    X(ATTN_FLOAT32, "float32", "F32", 4)                                                                               \
    X(ATTN_FLOAT64, "float64", "F64", 8)                                                                               \
    X(ATTN_FLOAT16, "float16", "F16", 2)                                                                               \
    X(ATTN_BFLOAT16, "bfloat16", "BF16", 2)                                                                            \
    X(ATTN_INT64, "int64", "I64", 8)                                                                                   \
    X(ATTN_INT32, "int32", "I32", 4)                                                                                   \
    X(ATTN_UINT8, "uint8", "U8", 1)                                                                                    \
    X(ATTN_BOOL, "bool", "BOOL", 1)

/** The type of a tensor's elements, in the machine's byte order. The members are ATTN_DTYPE_TABLE's. */
typedef enum attn_dtype {
#define ATTN_DTYPE_MEMBER(name, text, short_name, bytes) name,
    ATTN_DTYPE_TABLE(ATTN_DTYPE_MEMBER)
#undef ATTN_DTYPE_MEMBER
} attn_dtype;

/** A view of a tensor. `data == NULL` means "not given". Strides count elements, may be 0 (broadcast). */
struct attn_view {
    void *data;                      /**< element (0, 0, ...) */
    attn_dtype dtype;                /**< of its elements */
    int rank;                        /**< 0 to ATTN_MAX_RANK axes */
    size_t shape[ATTN_MAX_RANK];     /**< elements along each axis, outermost first */
    ptrdiff_t stride[ATTN_MAX_RANK]; /**< elements from one place to the next along each axis */
};

/** @return "float32" and so on; never NULL. Thread safe. */
ATTN_API const char *attn_dtype_name(attn_dtype dtype);
/** @return bytes of one element. Thread safe. */
ATTN_API size_t attn_dtype_bytes(attn_dtype dtype);
/** Finds a dtype by its name ("float32") or safetensors' ("F32"). @return false if there is none. Thread safe. */
ATTN_API bool attn_dtype_parse(const char *name, attn_dtype *dtype);
/** @return whether the dtype is one of the floating ones. Thread safe. */
ATTN_API bool attn_dtype_is_floating(attn_dtype dtype);

/** Multiplies `count` sizes. @return false, leaving *product alone, if it overflows size_t. Thread safe. */
ATTN_API bool attn_size_product(const size_t *sizes, size_t count, size_t *product);

/** A row-major view over data of the given shape; the caller keeps the data. rank <= ATTN_MAX_RANK. Thread safe. */
ATTN_API struct attn_view attn_view_contiguous(void *data, attn_dtype dtype, int rank, const size_t *shape);

/** @return the number of elements (1 for rank 0); the view's shape must be one that fits memory. Thread safe. */
ATTN_API size_t attn_view_elements(const struct attn_view *view);

/** @return whether the view is row-major without gaps. Thread safe. */
ATTN_API bool attn_view_is_contiguous(const struct attn_view *view);

/**
 * NumPy's broadcasting, aligned at the right: makes `out` a view of rank `rank` and shape `shape`, with stride 0 on
 * the axes that repeat.
 * @param field names the argument in an error
 * @return ATTN_OK or ATTN_ESHAPE. Thread safe.
 */
ATTN_API attn_status attn_view_broadcast(const struct attn_view *view, int rank, const size_t *shape, const char *field,
                                         struct attn_view *out, struct attn_error *error);

/**
 * Splits the last axis of (L, H*D) or (N, L, H*D) into heads and returns the view as (N, H, L, D) (N = 1 without a
 * batch axis), without moving data.
 * @return ATTN_OK or ATTN_ESHAPE (rank, or a width that num_heads does not divide). Thread safe.
 */
ATTN_API attn_status attn_view_split_heads(const struct attn_view *view, size_t num_heads, const char *field,
                                           struct attn_view *out, struct attn_error *error);

/**
 * Copies and converts between floating dtypes and layouts: `from` and `to` have the same shape and any strides;
 * rounding is to nearest, ties to even.
 * @return ATTN_OK, ATTN_ESHAPE or ATTN_EDTYPE. Thread safe for different `to`.
 */
ATTN_API attn_status attn_view_convert(const struct attn_view *from, const struct attn_view *to,
                                       struct attn_error *error);

#ifdef __cplusplus
}
#endif
#endif
