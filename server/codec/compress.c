#include "server/codec/compress.h"
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <zlib.h>

/* zlib's window bits say the format: 15 is zlib's own, 16 more is gzip's. */
static int window_bits(enum coding coding) {
    return coding == CODING_GZIP ? 15 + 16 : 15;
}

/* -- expanding -- */

static bool fail(struct problem *problem, size_t offset, const char *what) {
    problem_set(problem, PROBLEM_MALFORMED, NULL, "the compressed body %s, at byte %zu", what, offset);
    problem->has_offset = true;
    problem->offset = offset;
    return false;
}

static bool fail_memory(struct problem *problem) {
    problem_set(problem, PROBLEM_BUSY, NULL, "there is no memory for the expanded body");
    problem->retry_after_s = 1;
    return false;
}

static bool fail_size(struct problem *problem, size_t limit) {
    problem_set(problem, PROBLEM_BODY_TOO_LARGE, NULL, "expected a body of at most %zu bytes when it is expanded",
                limit);
    return false;
}

static uInt at_most_uint(size_t count) {
    return count < UINT_MAX ? (uInt)count : UINT_MAX;
}

/** A body on its way to a sink. */
struct expansion {
    z_stream stream;
    const unsigned char *bytes;
    size_t length, read;
    const struct expand_sink *sink;
    size_t limit, made; /* bytes given to the sink, and begun pieces */
    unsigned char *piece;
    size_t filled, room; /* of the piece */
    unsigned char probe; /* behind the limit: a stream that fills it is too large */
    bool is_probing;
};

/** Opens the next piece, or the byte behind the limit. */
static bool open_piece(struct expansion *expansion, struct problem *problem) {
    size_t left = expansion->limit - expansion->made;
    if (left == 0) {
        expansion->is_probing = true;
        return true;
    }
    size_t room = 0;
    expansion->piece = expansion->sink->next(expansion->sink->self, expansion->filled, &room, problem);
    expansion->filled = 0;
    expansion->room = room < left ? room : left;
    return expansion->piece != NULL;
}

/* Inflates once, as far as the piece and the counts of zlib, which are 32 bits, go. */
static int inflate_some(struct expansion *expansion) {
    z_stream *stream = &expansion->stream;
    uInt in = at_most_uint(expansion->length - expansion->read);
    uInt out = expansion->is_probing ? 1 : at_most_uint(expansion->room - expansion->filled);
    stream->next_in = (unsigned char *)expansion->bytes + expansion->read;
    stream->avail_in = in;
    stream->next_out = expansion->is_probing ? &expansion->probe : expansion->piece + expansion->filled;
    stream->avail_out = out;
    int status = inflate(stream, Z_NO_FLUSH);
    out -= stream->avail_out;
    expansion->read += in - stream->avail_in;
    expansion->made += out;
    expansion->filled += expansion->is_probing ? 0 : out;
    return status;
}

static bool check_end(const struct expansion *expansion, enum coding coding, int status, struct problem *problem) {
    switch (status) {
    case Z_STREAM_END:
        return expansion->read == expansion->length || fail(problem, expansion->read, "has bytes behind its end");
    case Z_MEM_ERROR:
        return fail_memory(problem);
    case Z_BUF_ERROR:
        return fail(problem, expansion->length, "ends early");
    case Z_NEED_DICT:
        return fail(problem, expansion->read, "needs a dictionary");
    default:
        return fail(problem, expansion->read, coding == CODING_GZIP ? "is not gzip" : "is not zlib's format");
    }
}

static bool expand_all(struct expansion *expansion, enum coding coding, struct problem *problem) {
    int status = Z_OK;
    while (status == Z_OK) {
        if (expansion->filled == expansion->room && !expansion->is_probing && !open_piece(expansion, problem)) {
            return false;
        }
        status = inflate_some(expansion);
        if (expansion->made > expansion->limit) {
            return fail_size(problem, expansion->limit);
        }
    }
    return check_end(expansion, coding, status, problem) &&
           expansion->sink->next(expansion->sink->self, expansion->filled, NULL, problem) != NULL;
}

bool compress_expand(enum coding coding, const void *bytes, size_t length, size_t limit, const struct expand_sink *sink,
                     size_t *expanded, struct problem *problem) {
    struct expansion expansion = {.bytes = bytes, .length = length, .limit = limit, .sink = sink};
    if (inflateInit2(&expansion.stream, window_bits(coding)) != Z_OK) {
        return fail_memory(problem);
    }
    bool is_expanded = expand_all(&expansion, coding, problem);
    inflateEnd(&expansion.stream);
    *expanded = expansion.made;
    return is_expanded;
}

/* -- deflating -- */

struct deflater {
    z_stream stream;
    size_t (*next)(void *source, char *to, size_t capacity);
    void *source;
    bool has_source_ended, has_ended;
    char plain[16384];
};

struct deflater *deflater_create(enum coding coding, size_t (*next)(void *source, char *to, size_t capacity),
                                 void *source) {
    struct deflater *deflater = calloc(1, sizeof *deflater);
    if (deflater == NULL) {
        return NULL;
    }
    deflater->next = next;
    deflater->source = source;
    /* the fastest level: digits shrink to little more than half at any, and the time is ours */
    if (deflateInit2(&deflater->stream, Z_BEST_SPEED, Z_DEFLATED, window_bits(coding), 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        free(deflater);
        return NULL;
    }
    return deflater;
}

void deflater_destroy(struct deflater *deflater) {
    if (deflater == NULL) {
        return;
    }
    deflateEnd(&deflater->stream);
    free(deflater);
}

/* @return false where the source fails. */
static bool refill(struct deflater *deflater) {
    if (deflater->stream.avail_in > 0 || deflater->has_source_ended) {
        return true;
    }
    size_t count = deflater->next(deflater->source, deflater->plain, sizeof deflater->plain);
    if (count == SIZE_MAX) {
        return false;
    }
    deflater->has_source_ended = count == 0;
    deflater->stream.next_in = (unsigned char *)deflater->plain;
    deflater->stream.avail_in = (uInt)count;
    return true;
}

size_t deflater_next(struct deflater *deflater, char *to, size_t capacity) {
    z_stream *stream = &deflater->stream;
    uInt room = at_most_uint(capacity);
    stream->next_out = (unsigned char *)to;
    stream->avail_out = room;
    while (stream->avail_out > 0 && !deflater->has_ended) {
        if (!refill(deflater)) {
            return SIZE_MAX;
        }
        int status = deflate(stream, deflater->has_source_ended ? Z_FINISH : Z_NO_FLUSH);
        if (status == Z_STREAM_ERROR) {
            return SIZE_MAX;
        }
        deflater->has_ended = status == Z_STREAM_END;
    }
    return room - stream->avail_out;
}
