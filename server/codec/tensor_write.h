/** @file tensor_write.h One tensor as JSON text, a piece at a time. */
#ifndef SERVER_CODEC_TENSOR_WRITE_H
#define SERVER_CODEC_TENSOR_WRITE_H

#include "server/codec/cursor.h"
#include <stdbool.h>

/** A tensor that is being written: its numbers between the brackets of nested arrays or behind each other. */
struct tensor_writer {
    struct cursor cursor;
    bool is_nested; /**< with brackets */
    bool is_base64;
    bool is_begun;
    int digits;
};

enum { TENSOR_WRITE_ROOM = 64 /**< the least room in which there is progress */ };

void tensor_write_begin(struct tensor_writer *writer, const struct attn_view *view, bool is_nested, bool is_base64,
                        int digits);
/** @return the byte behind what was written; `to` where there is nothing more, or less room than TENSOR_WRITE_ROOM. */
char *tensor_write(struct tensor_writer *writer, char *to, const char *end);
/** @return an upper bound of the bytes to come. */
size_t tensor_write_bound(const struct tensor_writer *writer);
/** Prints elements of any dtype, separated by commas; to has room for NUMBER_MAX_TEXT each. */
char *tensor_print_run(char *to, attn_dtype dtype, const void *elements, size_t count, int digits);

#endif
