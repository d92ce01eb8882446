/**
 * @file encode.h
 * Answers, pulled: a response is a list of parts (text and tensors), and the encoder writes the next bytes of it when
 * asked, in bounded memory.
 */
#ifndef SERVER_CODEC_ENCODE_H
#define SERVER_CODEC_ENCODE_H

#include "server/base/arena.h"
#include <attn/tensor.h>
#include <stdint.h>

enum tensor_encoding { ENCODING_NESTED, ENCODING_FLAT, ENCODING_BASE64 };

struct encode_options {
    enum tensor_encoding encoding;
    int digits; /**< 0: shortest that reads back */
};

/** A JSON document being put together, then pulled. Everything it keeps lives in the arena. */
struct encoder;

struct encoder *encoder_create(struct arena *arena, struct encode_options options);

/** Structure; commas and colons are put by the encoder. Each returns false out of memory (and stays so: check once). */
bool encoder_begin_object(struct encoder *encoder);
bool encoder_end_object(struct encoder *encoder);
bool encoder_begin_array(struct encoder *encoder);
bool encoder_end_array(struct encoder *encoder);
bool encoder_key(struct encoder *encoder, const char *name);
bool encoder_text(struct encoder *encoder, const char *utf8);
bool encoder_integer(struct encoder *encoder, int64_t value);
bool encoder_real(struct encoder *encoder, double value, int digits);
bool encoder_bool(struct encoder *encoder, bool value);
bool encoder_null(struct encoder *encoder);
/** One element, row-major, of a contiguous view, with the digits of the options. */
bool encoder_element(struct encoder *encoder, const struct attn_view *view, size_t index);
/** JSON text as it is. */
bool encoder_raw(struct encoder *encoder, const char *json, size_t length);
/** A tensor in the chosen encoding, read when pulled: its data must live until the encoder is done with. */
bool encoder_tensor(struct encoder *encoder, const struct attn_view *view);

/** @return an upper bound of the bytes that are still to come, for choosing a buffer. */
size_t encoder_bound(const struct encoder *encoder);
/** @return how many numbers are to be printed, for the cost model. */
size_t encoder_numbers(const struct encoder *encoder);

/**
 * Writes the next bytes. @param capacity at least 64. @return how many were written; 0 when all is written. The same
 * text comes out whatever the capacities.
 */
size_t encoder_next(struct encoder *encoder, char *to, size_t capacity);

/** A safetensors body, pulled in the same way: the header first, then each tensor's bytes. */
struct binary_encoder;
struct binary_item {
    const char *name;
    struct attn_view view;
};
/** @param metadata_response the JSON text put into __metadata__.response */
struct binary_encoder *binary_encoder_create(struct arena *arena, const struct binary_item *items, size_t count,
                                             const char *metadata_response);
/** @return the exact length of the body. */
uint64_t binary_encoder_length(const struct binary_encoder *encoder);
size_t binary_encoder_next(struct binary_encoder *encoder, char *to, size_t capacity);

#endif
