/**
 * @file single.h
 * One tensor as a body of its own, pulled: NumPy's npy, plain bytes, or comma-separated values.
 */
#ifndef SERVER_CODEC_SINGLE_H
#define SERVER_CODEC_SINGLE_H

#include "server/base/arena.h"
#include <attn/tensor.h>
#include <stdint.h>

enum single_format {
    SINGLE_NPY, /**< application/x-npy, version 1.0; bfloat16 is widened to float32, which NumPy has */
    SINGLE_RAW, /**< application/octet-stream: little-endian, row-major */
    SINGLE_CSV  /**< text/csv (RFC 4180): a line a row of the last axis; not-finite values as nan, inf, -inf */
};

struct single_encoder;

/**
 * @param view    read when pulled: its data must live until the encoder is done with
 * @param digits  of CSV: 0 is shortest
 * @return NULL out of memory. Lives in the arena.
 */
struct single_encoder *single_encoder_create(struct arena *arena, enum single_format format,
                                             const struct attn_view *view, int digits);
/** @return the exact length, or UINT64_MAX where only writing it says (CSV). */
uint64_t single_encoder_length(const struct single_encoder *encoder);
/** @param capacity at least 64. @return bytes written, 0 at the end; the same bytes whatever the capacities. */
size_t single_encoder_next(struct single_encoder *encoder, char *to, size_t capacity);

#endif
