#include "server/codec/single.h"
#include "server/codec/cursor.h"
#include "server/codec/number.h"
#include "server/codec/tensor_write.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

struct single_encoder {
    enum single_format format;
    struct cursor cursor;
    int digits;
    bool is_begun;    /* CSV: a value has been written */
    char header[256]; /* npy's */
    size_t header_length, header_written;
    uint64_t length;
};

/* -- npy -- */

/* NumPy's name of the type: numpy.lib.format, "descr". */
static const char *npy_descr(attn_dtype dtype) {
    switch (dtype) {
    case ATTN_FLOAT64:
        return "<f8";
    case ATTN_FLOAT16:
        return "<f2";
    case ATTN_INT64:
        return "<i8";
    case ATTN_INT32:
        return "<i4";
    case ATTN_UINT8:
        return "|u1";
    case ATTN_BOOL:
        return "|b1";
    default:
        return "<f4";
    }
}

/* Version 1.0: magic, version, two bytes of length, a Python literal padded with spaces so that the data begin at a
 * multiple of 64. */
static void make_npy_header(struct single_encoder *encoder, const struct attn_view *view, attn_dtype dtype) {
    const size_t size = sizeof encoder->header;
    static const unsigned char magic[8] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
    char *header = encoder->header;
    memcpy(header, magic, sizeof magic);
    size_t at = 10;
    at += (size_t)snprintf(header + at, size - at, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                           npy_descr(dtype));
    for (int axis = 0; axis < view->rank; axis++) {
        at += (size_t)snprintf(header + at, size - at, axis == 0 ? "%zu," : " %zu,", view->shape[axis]);
    }
    at -= view->rank > 1; /* only a tuple of one keeps its comma */
    at += (size_t)snprintf(header + at, size - at, "), }");
    while ((at + 1) % 64 != 0) {
        header[at++] = ' ';
    }
    header[at++] = '\n';
    header[8] = (char)((at - 10) & 0xFF);
    header[9] = (char)((at - 10) >> 8);
    encoder->header_length = at;
}

/* A contiguous copy in float32. */
static bool widen(struct arena *arena, const struct attn_view *view, struct attn_view *wide) {
    void *data = arena_alloc(arena, attn_view_elements(view) * sizeof(float));
    *wide = attn_view_contiguous(data, ATTN_FLOAT32, view->rank, view->shape);
    return data != NULL && attn_view_convert(view, wide, NULL) == ATTN_OK;
}

struct single_encoder *single_encoder_create(struct arena *arena, enum single_format format,
                                             const struct attn_view *view, int digits) {
    struct single_encoder *encoder = arena_alloc(arena, sizeof *encoder);
    struct attn_view wide = *view;
    if (encoder == NULL) {
        return NULL;
    }
    if (format == SINGLE_NPY && view->dtype == ATTN_BFLOAT16 && !widen(arena, view, &wide)) {
        return NULL;
    }
    encoder->format = format;
    encoder->digits = digits;
    if (format == SINGLE_CSV) {
        cursor_begin(&encoder->cursor, view);
        encoder->length = UINT64_MAX;
        return encoder;
    }
    cursor_begin_flat(&encoder->cursor, &wide);
    if (format == SINGLE_NPY) {
        make_npy_header(encoder, &wide, wide.dtype);
    }
    encoder->length = encoder->header_length + encoder->cursor.left * attn_dtype_bytes(wide.dtype);
    return encoder;
}

uint64_t single_encoder_length(const struct single_encoder *encoder) {
    return encoder->length;
}

static size_t next_bytes(struct single_encoder *encoder, char *to, size_t capacity) {
    size_t left = encoder->header_length - encoder->header_written;
    size_t count = left < capacity ? left : capacity;
    size_t width = attn_dtype_bytes(encoder->cursor.view.dtype);
    memcpy(to, encoder->header + encoder->header_written, count);
    encoder->header_written += count;
    return count + width * cursor_copy(&encoder->cursor, (capacity - count) / width, (unsigned char *)to + count);
}

/* -- CSV -- */

static bool is_finite(attn_dtype dtype, const void *elements, size_t count) {
    bool finite = true;
    for (size_t i = 0; i < count; i++) {
        finite = finite && (dtype == ATTN_FLOAT32   ? isfinite(((const float *)elements)[i]) != 0
                            : dtype == ATTN_FLOAT64 ? isfinite(((const double *)elements)[i]) != 0
                                                    : true);
    }
    return finite;
}

/* A number as NumPy, pandas and R read it; numbers that are not finite have no quotes. */
static char *print_cell(char *to, attn_dtype dtype, const void *element, int digits) {
    char *end = tensor_print_run(to, dtype, element, 1, digits);
    if (to[0] != '"') {
        return end;
    }
    /* "NaN", "Infinity" or "-Infinity" */
    const char *name = to[1] == 'N' ? "nan" : to[1] == 'I' ? "inf" : "-inf";
    while (*name != '\0') {
        *to++ = *name++;
    }
    return to;
}

static char *print_cells(char *to, attn_dtype dtype, const void *elements, size_t count, int digits) {
    bool is_half = dtype == ATTN_FLOAT16 || dtype == ATTN_BFLOAT16;
    if (!is_half && is_finite(dtype, elements, count)) {
        return tensor_print_run(to, dtype, elements, count, digits);
    }
    size_t width = attn_dtype_bytes(dtype);
    for (size_t i = 0; i < count; i++) {
        to = print_cell(to, dtype, (const unsigned char *)elements + i * width, digits);
        *to++ = ',';
    }
    return to - (count > 0);
}

static size_t next_csv(struct single_encoder *encoder, char *to, size_t capacity) {
    struct cursor *cursor = &encoder->cursor;
    double gathered[CURSOR_GATHER];
    char *at = to;
    while (cursor->left > 0 && capacity - (size_t)(at - to) >= TENSOR_WRITE_ROOM) {
        if (encoder->is_begun && cursor_axes_at_start(cursor) == 0) {
            *at++ = ',';
        }
        encoder->is_begun = true;
        size_t count, fit = (capacity - (size_t)(at - to) - 2) / NUMBER_MAX_TEXT;
        const void *elements = cursor_take(cursor, fit, gathered, &count);
        at = print_cells(at, cursor->view.dtype, elements, count, encoder->digits);
        if (cursor->left == 0 || cursor_axes_at_start(cursor) > 0) {
            *at++ = '\r';
            *at++ = '\n';
        }
    }
    return (size_t)(at - to);
}

size_t single_encoder_next(struct single_encoder *encoder, char *to, size_t capacity) {
    return encoder->format == SINGLE_CSV ? next_csv(encoder, to, capacity) : next_bytes(encoder, to, capacity);
}
