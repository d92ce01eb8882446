#include "lib/tensor/error.h"
#include "lib/tensor/shape.h"
#include <attn/tensor.h>

#include <stdio.h>

bool attn_size_product(const size_t *sizes, size_t count, size_t *product) {
    size_t total = 1;
    for (size_t i = 0; i < count; i++)
        if (__builtin_mul_overflow(total, sizes[i], &total))
            return false;
    *product = total;
    return true;
}

const char *attn_shape_text(char *text, int rank, const size_t *shape) {
    int used = snprintf(text, ATTN_SHAPE_TEXT, "(");
    for (int axis = 0; axis < rank && axis < ATTN_MAX_RANK; axis++)
        used += snprintf(text + used, (size_t)(ATTN_SHAPE_TEXT - used), axis == 0 ? "%zu" : ", %zu", shape[axis]);
    snprintf(text + used, (size_t)(ATTN_SHAPE_TEXT - used), ")");
    return text;
}

struct attn_view attn_view_contiguous(void *data, attn_dtype dtype, int rank, const size_t *shape) {
    struct attn_view view = {.data = data, .dtype = dtype, .rank = rank};
    ptrdiff_t stride = 1;
    for (int axis = rank - 1; axis >= 0; axis--) {
        view.shape[axis] = shape[axis];
        view.stride[axis] = stride;
        stride *= (ptrdiff_t)shape[axis];
    }
    return view;
}

size_t attn_view_elements(const struct attn_view *view) {
    size_t elements = 1;
    for (int axis = 0; axis < view->rank; axis++)
        elements *= view->shape[axis];
    return elements;
}

bool attn_view_is_contiguous(const struct attn_view *view) {
    ptrdiff_t expected = 1;
    for (int axis = view->rank - 1; axis >= 0; axis--) {
        if (view->shape[axis] != 1 && view->stride[axis] != expected)
            return false;
        expected *= (ptrdiff_t)view->shape[axis];
    }
    return true;
}

/* True where axis `axis` of the target can be read from the view: same size, 1, or an axis that the view lacks. */
static bool axis_broadcasts(const struct attn_view *view, int rank, const size_t *shape, int axis) {
    int own = axis - (rank - view->rank);
    return own < 0 || view->shape[own] == shape[axis] || view->shape[own] == 1;
}

attn_status attn_view_broadcast(const struct attn_view *view, int rank, const size_t *shape, const char *field,
                                struct attn_view *out, struct attn_error *error) {
    bool fits = view->rank <= rank;
    for (int axis = 0; axis < rank && fits; axis++)
        fits = axis_broadcasts(view, rank, shape, axis);
    if (!fits) {
        char expected[ATTN_SHAPE_TEXT], found[ATTN_SHAPE_TEXT];
        return attn_fail(error, ATTN_ESHAPE, field, "expected a shape that broadcasts to %s, found %s",
                         attn_shape_text(expected, rank, shape), attn_shape_text(found, view->rank, view->shape));
    }
    struct attn_view result = {.data = view->data, .dtype = view->dtype, .rank = rank};
    for (int axis = 0; axis < rank; axis++) {
        int own = axis - (rank - view->rank);
        result.shape[axis] = shape[axis];
        result.stride[axis] = own < 0 || (view->shape[own] == 1 && shape[axis] != 1) ? 0 : view->stride[own];
    }
    *out = result;
    return ATTN_OK;
}

attn_status attn_view_split_heads(const struct attn_view *view, size_t num_heads, const char *field,
                                  struct attn_view *out, struct attn_error *error) {
    char found[ATTN_SHAPE_TEXT];
    if (view->rank != 2 && view->rank != 3)
        return attn_fail(error, ATTN_ESHAPE, field, "expected shape (L, E) or (N, L, E), found %s",
                         attn_shape_text(found, view->rank, view->shape));
    int tokens = view->rank - 2, width = view->rank - 1;
    if (num_heads == 0 || view->shape[width] % num_heads != 0)
        return attn_fail(error, ATTN_ESHAPE, field,
                         "expected a last axis that is a multiple of the %zu heads, found %s", num_heads,
                         attn_shape_text(found, view->rank, view->shape));
    bool has_batch = view->rank == 3;
    size_t head_dim = view->shape[width] / num_heads;
    struct attn_view result = {
        .data = view->data,
        .dtype = view->dtype,
        .rank = 4,
        .shape = {has_batch ? view->shape[0] : 1, num_heads, view->shape[tokens], head_dim},
        .stride = {has_batch ? view->stride[0] : 0, (ptrdiff_t)head_dim * view->stride[width], view->stride[tokens],
                   view->stride[width]},
    };
    *out = result;
    return ATTN_OK;
}
