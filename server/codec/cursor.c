#include "server/codec/cursor.h"
#include <string.h>

void cursor_begin(struct cursor *cursor, const struct attn_view *view) {
    *cursor = (struct cursor){.view = *view, .left = attn_view_elements(view)};
    if (view->rank == 0) {
        cursor->view.rank = 1;
        cursor->view.shape[0] = 1;
        cursor->view.stride[0] = 1;
    }
}

void cursor_begin_flat(struct cursor *cursor, const struct attn_view *view) {
    size_t elements = attn_view_elements(view);
    struct attn_view flat = *view;
    if (attn_view_is_contiguous(view)) {
        flat = attn_view_contiguous(view->data, view->dtype, 1, &elements);
    }
    cursor_begin(cursor, &flat);
}

size_t cursor_row_left(const struct cursor *cursor) {
    int last = cursor->view.rank - 1;
    return cursor->left == 0 ? 0 : cursor->view.shape[last] - cursor->index[last];
}

int cursor_axes_at_start(const struct cursor *cursor) {
    int axes = 0;
    while (axes < cursor->view.rank && cursor->index[cursor->view.rank - 1 - axes] == 0) {
        axes++;
    }
    return axes;
}

static const unsigned char *element_at(const struct cursor *cursor) {
    ptrdiff_t offset = 0;
    for (int axis = 0; axis < cursor->view.rank; axis++) {
        offset += (ptrdiff_t)cursor->index[axis] * cursor->view.stride[axis];
    }
    return (const unsigned char *)cursor->view.data + offset * (ptrdiff_t)attn_dtype_bytes(cursor->view.dtype);
}

static void advance(struct cursor *cursor, size_t count) {
    cursor->left -= count;
    int axis = cursor->view.rank - 1;
    cursor->index[axis] += count;
    while (axis > 0 && cursor->index[axis] == cursor->view.shape[axis]) {
        cursor->index[axis--] = 0;
        cursor->index[axis]++;
    }
}

static void gather(const unsigned char *from, ptrdiff_t step, size_t width, size_t count, unsigned char *to) {
    for (size_t i = 0; i < count; i++) {
        memcpy(to + i * width, from + (ptrdiff_t)i * step, width);
    }
}

const void *cursor_take(struct cursor *cursor, size_t most, void *gathered, size_t *count) {
    const unsigned char *from = element_at(cursor);
    size_t width = attn_dtype_bytes(cursor->view.dtype), row_left = cursor_row_left(cursor);
    ptrdiff_t stride = cursor->view.stride[cursor->view.rank - 1];
    *count = most < row_left ? most : row_left;
    if (stride != 1) {
        *count = *count < CURSOR_GATHER ? *count : CURSOR_GATHER;
        gather(from, stride * (ptrdiff_t)width, width, *count, gathered);
        from = gathered;
    }
    advance(cursor, *count);
    return from;
}

size_t cursor_copy(struct cursor *cursor, size_t most, unsigned char *to) {
    size_t width = attn_dtype_bytes(cursor->view.dtype), copied = 0;
    ptrdiff_t stride = cursor->view.stride[cursor->view.rank - 1];
    while (copied < most && cursor->left > 0) {
        size_t row_left = cursor_row_left(cursor);
        size_t count = most - copied < row_left ? most - copied : row_left;
        if (stride == 1) {
            memcpy(to + copied * width, element_at(cursor), count * width);
        } else {
            gather(element_at(cursor), stride * (ptrdiff_t)width, width, count, to + copied * width);
        }
        advance(cursor, count);
        copied += count;
    }
    return copied;
}
