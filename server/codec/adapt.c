#include "server/codec/adapt.h"
#include <math.h>
#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors in bodies are little-endian, and used in place");

const char *adapt_dtypes(enum field_kind kind) {
    switch (kind) {
    case FIELD_INTEGERS:
        return "int64, int32 or uint8 (or a floating dtype that holds integers)";
    case FIELD_FLAGS:
        return "bool, int64, int32 or uint8 (or a floating dtype that holds integers)";
    case FIELD_MASK:
    case FIELD_PADDING:
        return "bool, uint8 or a floating dtype";
    default:
        return "a floating dtype, int64, int32 or uint8";
    }
}

static bool is_mask(enum field_kind kind) {
    return kind == FIELD_MASK || kind == FIELD_PADDING;
}

static bool is_boolean(attn_dtype dtype) {
    return dtype == ATTN_BOOL || dtype == ATTN_UINT8;
}

/* The dtype that the field wants of data that came as `given`. @return false where it takes none such. */
static bool wanted_dtype(enum field_kind kind, attn_dtype floating, attn_dtype given, attn_dtype *wanted) {
    if (kind == FIELD_INTEGERS) {
        *wanted = ATTN_INT64;
        return true;
    }
    if (kind == FIELD_FLAGS) {
        *wanted = given == ATTN_BOOL ? ATTN_BOOL : ATTN_INT64;
        return true;
    }
    if (is_mask(kind)) {
        *wanted = is_boolean(given) ? given : floating;
        return is_boolean(given) || attn_dtype_is_floating(given);
    }
    *wanted = floating;
    return given != ATTN_BOOL;
}

bool adapt_takes(enum field_kind kind, attn_dtype dtype) {
    attn_dtype ignored;
    return wanted_dtype(kind, ATTN_FLOAT32, dtype, &ignored);
}

static bool is_aligned(const void *data, attn_dtype dtype) {
    return (uintptr_t)data % attn_dtype_bytes(dtype) == 0;
}

static int64_t load_integer(const void *data, attn_dtype dtype, size_t index) {
    switch (dtype) {
    case ATTN_INT64:
        return ((const int64_t *)data)[index];
    case ATTN_INT32:
        return ((const int32_t *)data)[index];
    default:
        return ((const unsigned char *)data)[index];
    }
}

static void integers_to_floating(const struct attn_view *from, const struct attn_view *to, size_t elements) {
    for (size_t i = 0; i < elements; i++) {
        int64_t value = load_integer(from->data, from->dtype, i);
        if (to->dtype == ATTN_FLOAT64) {
            ((double *)to->data)[i] = (double)value;
        } else {
            ((float *)to->data)[i] = (float)value;
        }
    }
}

static enum adapt_status doubles_to_integers(const double *from, int64_t *to, size_t elements, size_t *index) {
    for (size_t i = 0; i < elements; i++) {
        /* 2^63 is a double, and the first that int64 does not hold */
        bool fits = from[i] >= -9223372036854775808.0 && from[i] < 9223372036854775808.0;
        if (!fits || from[i] != trunc(from[i])) {
            *index = i;
            return ADAPT_FRACTION;
        }
        to[i] = (int64_t)from[i];
    }
    return ADAPT_OK;
}

/* Narrowing double to float makes an infinity of a finite value that is too large. */
static enum adapt_status check_narrowed(const struct attn_view *from, const struct attn_view *to, size_t elements,
                                        size_t *index) {
    if (from->dtype != ATTN_FLOAT64 || to->dtype != ATTN_FLOAT32) {
        return ADAPT_OK;
    }
    for (size_t i = 0; i < elements; i++) {
        if (isinf(((const float *)to->data)[i]) && isfinite(((const double *)from->data)[i])) {
            *index = i;
            return ADAPT_OVERFLOW;
        }
    }
    return ADAPT_OK;
}

/* A contiguous view of fresh memory; data NULL where there is none. */
static struct attn_view new_view(struct arena *arena, attn_dtype dtype, const struct attn_view *like) {
    size_t elements = attn_view_elements(like), bytes = attn_dtype_bytes(dtype);
    void *data = elements <= SIZE_MAX / bytes ? arena_alloc(arena, elements * bytes) : NULL;
    return attn_view_contiguous(data, dtype, like->rank, like->shape);
}

static enum adapt_status convert(struct arena *arena, const struct attn_view *from, const struct attn_view *to,
                                 size_t *index) {
    size_t elements = attn_view_elements(from);
    if (!attn_dtype_is_floating(from->dtype)) {
        if (attn_dtype_is_floating(to->dtype)) {
            integers_to_floating(from, to, elements);
            return ADAPT_OK;
        }
        for (size_t i = 0; i < elements; i++) {
            ((int64_t *)to->data)[i] = load_integer(from->data, from->dtype, i);
        }
        return ADAPT_OK;
    }
    if (attn_dtype_is_floating(to->dtype)) {
        attn_status status = attn_view_convert(from, to, NULL);
        return status == ATTN_OK ? check_narrowed(from, to, elements, index) : ADAPT_DTYPE;
    }
    struct attn_view doubles = new_view(arena, ATTN_FLOAT64, from);
    if (doubles.data == NULL) {
        return ADAPT_NO_MEMORY;
    }
    attn_status status = attn_view_convert(from, &doubles, NULL);
    return status == ATTN_OK ? doubles_to_integers(doubles.data, to->data, elements, index) : ADAPT_DTYPE;
}

enum adapt_status adapt_view(struct arena *arena, enum field_kind kind, attn_dtype floating, struct attn_view *view,
                             size_t *index) {
    attn_dtype wanted;
    if (!wanted_dtype(kind, floating, view->dtype, &wanted)) {
        return ADAPT_DTYPE;
    }
    if (!is_aligned(view->data, view->dtype)) {
        struct attn_view aligned = new_view(arena, view->dtype, view);
        if (aligned.data == NULL) {
            return ADAPT_NO_MEMORY;
        }
        memcpy(aligned.data, view->data, attn_view_elements(view) * attn_dtype_bytes(view->dtype));
        *view = aligned;
    }
    if (view->dtype == wanted) {
        return ADAPT_OK;
    }
    struct attn_view to = new_view(arena, wanted, view);
    if (to.data == NULL) {
        return ADAPT_NO_MEMORY;
    }
    enum adapt_status status = convert(arena, view, &to, index);
    *view = to;
    return status;
}
