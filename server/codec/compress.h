/**
 * @file compress.h
 * Content codings: request bodies expanded into bounded memory, answers deflated while they are pulled.
 */
#ifndef SERVER_CODEC_COMPRESS_H
#define SERVER_CODEC_COMPRESS_H

#include "server/base/problem.h"
#include <stdbool.h>
#include <stddef.h>

enum coding {
    CODING_NONE,   /**< identity */
    CODING_GZIP,   /**< RFC 1952 ("gzip", "x-gzip") */
    CODING_DEFLATE /**< zlib's format, RFC 1950 ("deflate") */
};

/** Where expanded bytes go, piece by piece, so that each piece can be charged, or written, before the next is made. */
struct expand_sink {
    /**
     * @param filled  how much of the last piece is filled: the whole of it, or at the end what was left
     * @param room    receives the size of the next piece, at least 1; NULL at the end, when none is needed
     * @return the next piece; NULL with the problem filled where it fails (at the end, any other pointer)
     */
    void *(*next)(void *self, size_t filled, size_t *room, struct problem *problem);
    void *self;
};

/**
 * Expands a whole body into a sink.
 * @param limit     the most bytes it may expand to: beyond it PROBLEM_BODY_TOO_LARGE
 * @param expanded  receives how many bytes there were
 * @return true, or false with the problem: a stream that is broken, ends early or has bytes behind it (a further member
 *         of gzip too) is PROBLEM_MALFORMED, with the offset in the compressed body
 */
bool compress_expand(enum coding coding, const void *bytes, size_t length, size_t limit, const struct expand_sink *sink,
                     size_t *expanded, struct problem *problem);

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
