/* Copies between floating dtypes and layouts. Every dtype is read as double, exactly, and rounded once on the way out;
 * elements are moved by memcpy because mapped files need not be aligned. */
#include "lib/tensor/error.h"
#include "lib/tensor/half.h"
#include "lib/tensor/shape.h"
#include <attn/tensor.h>

#include <math.h>
#include <string.h>

/* Elements converted at a time: two kilobytes, which stay in the first-level cache. */
enum { CHUNK = 256 };

/*
 * Rounds to a 16-bit format of 1 sign, exponent and mantissa bits, to nearest, ties to even. The value is scaled so
 * that one unit of its last place is 1, rounded to an integer, and the integer's carry walks into the exponent by
 * itself: subnormals, the step to the next binade and overflow to infinity need no cases of their own.
 */
static uint16_t round_to_16_bits(double value, int mantissa_bits) {
    const int exponent_bits = 15 - mantissa_bits;
    const uint32_t infinity = ((1U << exponent_bits) - 1U) << mantissa_bits;
    const uint32_t sign = signbit(value) ? 0x8000U : 0;
    if (isnan(value))
        return (uint16_t)(sign | infinity | 1U << (mantissa_bits - 1));
    if (isinf(value))
        return (uint16_t)(sign | infinity);
    if (value == 0)
        return (uint16_t)sign;
    const int least_exponent = 2 - (1 << (exponent_bits - 1));
    int exponent;
    frexp(value, &exponent);
    exponent--;
    if (exponent < least_exponent)
        exponent = least_exponent;
    if (exponent > -least_exponent + 1)
        return (uint16_t)(sign | infinity);
    double units = nearbyint(ldexp(fabs(value), mantissa_bits - exponent));
    uint32_t bits = ((uint32_t)(exponent - least_exponent) << mantissa_bits) + (uint32_t)units;
    return (uint16_t)(sign | (bits < infinity ? bits : infinity));
}

/* Reading `count` elements `stride` apart as doubles. */
typedef void (*load_function)(const char *from, ptrdiff_t stride, size_t count, double *values);
typedef void (*store_function)(char *to, ptrdiff_t stride, size_t count, const double *values);

static void load_float32(const char *from, ptrdiff_t stride, size_t count, double *values) {
    for (size_t i = 0; i < count; i++) {
        float value;
        memcpy(&value, from + (ptrdiff_t)i * stride * (ptrdiff_t)sizeof value, sizeof value);
        values[i] = (double)value;
    }
}

static void load_float64(const char *from, ptrdiff_t stride, size_t count, double *values) {
    for (size_t i = 0; i < count; i++)
        memcpy(&values[i], from + (ptrdiff_t)i * stride * (ptrdiff_t)sizeof *values, sizeof *values);
}

static void load_float16(const char *from, ptrdiff_t stride, size_t count, double *values) {
    for (size_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, from + (ptrdiff_t)i * stride * (ptrdiff_t)sizeof half, sizeof half);
        values[i] = (double)attn_float_from_half(half);
    }
}

static void load_bfloat16(const char *from, ptrdiff_t stride, size_t count, double *values) {
    for (size_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, from + (ptrdiff_t)i * stride * (ptrdiff_t)sizeof half, sizeof half);
        values[i] = (double)attn_float_from_bits((uint32_t)half << 16);
    }
}

static void store_float32(char *to, ptrdiff_t stride, size_t count, const double *values) {
    for (size_t i = 0; i < count; i++) {
        float value = (float)values[i];
        memcpy(to + (ptrdiff_t)i * stride * (ptrdiff_t)sizeof value, &value, sizeof value);
    }
}

static void store_float64(char *to, ptrdiff_t stride, size_t count, const double *values) {
    for (size_t i = 0; i < count; i++)
        memcpy(to + (ptrdiff_t)i * stride * (ptrdiff_t)sizeof *values, &values[i], sizeof *values);
}

static void store_16_bits(char *to, ptrdiff_t stride, size_t count, const double *values, int mantissa_bits) {
    for (size_t i = 0; i < count; i++) {
        uint16_t half = round_to_16_bits(values[i], mantissa_bits);
        memcpy(to + (ptrdiff_t)i * stride * (ptrdiff_t)sizeof half, &half, sizeof half);
    }
}

static void store_float16(char *to, ptrdiff_t stride, size_t count, const double *values) {
    store_16_bits(to, stride, count, values, 10);
}

static void store_bfloat16(char *to, ptrdiff_t stride, size_t count, const double *values) {
    store_16_bits(to, stride, count, values, 7);
}

static const struct conversion {
    load_function load;
    store_function store;
} conversions[] = {
    [ATTN_FLOAT32] = {load_float32, store_float32},
    [ATTN_FLOAT64] = {load_float64, store_float64},
    [ATTN_FLOAT16] = {load_float16, store_float16},
    [ATTN_BFLOAT16] = {load_bfloat16, store_bfloat16},
};

/* One row: the last axis of both views. */
struct row {
    const char *from;
    char *to;
    ptrdiff_t from_stride, to_stride;
    size_t count;
    attn_dtype from_dtype, to_dtype;
};

static void row_convert(const struct row *row) {
    const size_t from_bytes = attn_dtype_bytes(row->from_dtype), to_bytes = attn_dtype_bytes(row->to_dtype);
    if (row->from_dtype == row->to_dtype && row->from_stride == 1 && row->to_stride == 1) {
        memmove(row->to, row->from, row->count * from_bytes);
        return;
    }
    double values[CHUNK];
    for (size_t done = 0; done < row->count; done += CHUNK) {
        size_t count = row->count - done < CHUNK ? row->count - done : CHUNK;
        conversions[row->from_dtype].load(row->from + (ptrdiff_t)done * row->from_stride * (ptrdiff_t)from_bytes,
                                          row->from_stride, count, values);
        conversions[row->to_dtype].store(row->to + (ptrdiff_t)done * row->to_stride * (ptrdiff_t)to_bytes,
                                         row->to_stride, count, values);
    }
}

static attn_status convert_check(const struct attn_view *from, const struct attn_view *to, struct attn_error *error) {
    if (!attn_dtype_is_floating(from->dtype) || !attn_dtype_is_floating(to->dtype))
        return attn_fail(error, ATTN_EDTYPE, "", "expected floating dtypes, found %s and %s",
                         attn_dtype_name(from->dtype), attn_dtype_name(to->dtype));
    bool same = from->rank == to->rank;
    for (int axis = 0; axis < to->rank && same; axis++)
        same = from->shape[axis] == to->shape[axis];
    if (same)
        return ATTN_OK;
    char expected[ATTN_SHAPE_TEXT], found[ATTN_SHAPE_TEXT];
    return attn_fail(error, ATTN_ESHAPE, "", "expected shape %s, found %s",
                     attn_shape_text(expected, to->rank, to->shape), attn_shape_text(found, from->rank, from->shape));
}

/* Steps to the next row in row-major order. @return false behind the last one. */
static bool next_row(const struct attn_view *view, size_t *index) {
    for (int axis = view->rank - 2; axis >= 0; axis--) {
        if (++index[axis] < view->shape[axis])
            return true;
        index[axis] = 0;
    }
    return false;
}

static ptrdiff_t row_offset(const struct attn_view *view, const size_t *index) {
    ptrdiff_t offset = 0;
    for (int axis = 0; axis < view->rank - 1; axis++)
        offset += (ptrdiff_t)index[axis] * view->stride[axis];
    return offset * (ptrdiff_t)attn_dtype_bytes(view->dtype);
}

attn_status attn_view_convert(const struct attn_view *from, const struct attn_view *to, struct attn_error *error) {
    attn_status status = convert_check(from, to, error);
    if (status != ATTN_OK || attn_view_elements(to) == 0)
        return status;
    const int last = to->rank - 1;
    struct row row = {.count = 1, .from_dtype = from->dtype, .to_dtype = to->dtype};
    if (attn_view_is_contiguous(from) && attn_view_is_contiguous(to)) {
        row.count = attn_view_elements(to);
        row.from_stride = row.to_stride = 1;
        row.from = from->data;
        row.to = to->data;
        row_convert(&row);
        return ATTN_OK;
    }
    row.count = to->shape[last];
    row.from_stride = from->stride[last];
    row.to_stride = to->stride[last];
    size_t index[ATTN_MAX_RANK] = {0};
    do {
        row.from = (const char *)from->data + row_offset(from, index);
        row.to = (char *)to->data + row_offset(to, index);
        row_convert(&row);
    } while (next_row(to, index));
    return ATTN_OK;
}
