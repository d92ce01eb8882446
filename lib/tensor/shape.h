/** @file shape.h Shapes as text, parts of views and checked sizes, for all rooms of the library. */
#ifndef LIB_TENSOR_SHAPE_H
#define LIB_TENSOR_SHAPE_H

#include <attn/tensor.h>

/** Room for a shape of ATTN_MAX_RANK axes as text. */
enum { ATTN_SHAPE_TEXT = 184 };

/** Writes "(2, 8, 10, 64)" to `text`, which has room for ATTN_SHAPE_TEXT bytes. @return text. */
const char *attn_shape_text(char *text, int rank, const size_t *shape);

/**
 * @return whether a tensor of that shape could be in memory, with room to spare for blocks of its rows in bytes: views
 * that repeat elements may claim more than there is.
 */
static inline bool attn_shape_fits_memory(const size_t *shape, int rank) {
    size_t elements;
    return attn_size_product(shape, (size_t)rank, &elements) && elements <= (size_t)PTRDIFF_MAX >> 12;
}

/** @return the part begin .. begin+count-1 along an axis. */
static inline struct attn_view attn_view_part(const struct attn_view *view, int axis, size_t begin, size_t count) {
    struct attn_view part = *view;
    part.data = (char *)view->data + (ptrdiff_t)begin * view->stride[axis] * (ptrdiff_t)attn_dtype_bytes(view->dtype);
    part.shape[axis] = count;
    return part;
}

/** Multiplies two sizes. @return false, leaving *product alone, if it overflows. */
static inline bool attn_size_multiply(size_t left, size_t right, size_t *product) {
    size_t result;
    if (__builtin_mul_overflow(left, right, &result))
        return false;
    *product = result;
    return true;
}

#endif
