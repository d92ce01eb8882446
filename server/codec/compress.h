/**
 * @file compress.h
 * Content codings: request bodies expanded into bounded memory, answers deflated while they are pulled.
 */
#ifndef SERVER_CODEC_COMPRESS_H
#define SERVER_CODEC_COMPRESS_H

#include "server/base/arena.h"
#include "server/base/problem.h"
#include <stdbool.h>
#include <stddef.h>

enum coding {
    CODING_NONE,   /**< as it is ("identity") */
    CODING_GZIP,   /**< RFC 1952 ("gzip", "x-gzip") */
    CODING_DEFLATE /**< zlib's format, RFC 1950 ("deflate") */
};

/**
 * Expands a whole body.
 * @param limit     the most bytes it may expand to: beyond it PROBLEM_BODY_TOO_LARGE
 * @param tail      bytes that a reader may look at behind the expanded ones
 * @param expanded  receives the bytes, in the arena
 * @return true, or false with the problem: a stream that is broken, ends early or has bytes behind it is
 *         PROBLEM_MALFORMED, with the offset in the compressed body. The arena must have no open reservation.
 */
bool compress_expand(enum coding coding, const void *bytes, size_t length, size_t limit, size_t tail,
                     struct arena *arena, const char **expanded, size_t *expanded_length, struct problem *problem);

/** Deflates what another source gives, as it is pulled. */
struct deflater;

/**
 * @param next    gives the next plain bytes: 0 at the end, SIZE_MAX where it fails
 * @param source  its first argument; stays the caller's
 * @return NULL out of memory. To be destroyed.
 */
struct deflater *deflater_create(enum coding coding, size_t (*next)(void *source, char *to, size_t capacity),
                                 void *source);
void deflater_destroy(struct deflater *deflater);
/** @return compressed bytes written (at least 1 where capacity is), 0 at the end, SIZE_MAX where the source or zlib
 * fails. */
size_t deflater_next(struct deflater *deflater, char *to, size_t capacity);

#endif
