/** @file expand.h Compressed request bodies, expanded within a limit. Pure; any thread. */
#ifndef SERVER_HTTP_EXPAND_H
#define SERVER_HTTP_EXPAND_H

#include <stdbool.h>
#include <stddef.h>

enum expand_outcome {
    EXPAND_OK,
    EXPAND_TOO_LARGE, /**< more than the capacity */
    EXPAND_BROKEN,    /**< not the format, cut short, or with bytes behind its end: *offset is where */
    EXPAND_NO_MEMORY
};

/** Expands a whole gzip (RFC 1952, several members allowed) or zlib (RFC 1950) stream into `to`. */
enum expand_outcome expand(bool is_gzip, const char *from, size_t length, char *to, size_t capacity, size_t *expanded,
                           size_t *offset);

#endif
