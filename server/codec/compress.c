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

/* A gzip stream is one member or several, one behind the other (RFC 1952, section 2.2). */
static bool another_member_follows(enum coding coding, const unsigned char *bytes, size_t left) {
    return coding == CODING_GZIP && left >= 2 && bytes[0] == 0x1F && bytes[1] == 0x8B;
}

/* Runs the stream to its end or to what is wrong with it. Counts of zlib are 32 bits, so it goes by pieces. */
static int inflate_all(z_stream *stream, enum coding coding, const unsigned char *bytes, size_t length,
                       unsigned char *to, size_t room, size_t *read, size_t *written) {
    int status = Z_OK;
    *read = *written = 0;
    while (status == Z_OK) {
        uInt in = at_most_uint(length - *read), out = at_most_uint(room - *written);
        stream->next_in = (unsigned char *)bytes + *read;
        stream->avail_in = in;
        stream->next_out = to + *written;
        stream->avail_out = out;
        status = inflate(stream, Z_NO_FLUSH);
        *read += in - stream->avail_in;
        *written += out - stream->avail_out;
        if (status == Z_STREAM_END && another_member_follows(coding, bytes + *read, length - *read)) {
            status = inflateReset(stream);
        }
    }
    return status;
}

/* @param room one byte more than the limit, so that what is too large is told from what just fits */
static bool expand_into(enum coding coding, const unsigned char *bytes, size_t length, unsigned char *to, size_t room,
                        size_t *written, struct problem *problem) {
    z_stream stream = {.zalloc = Z_NULL};
    if (inflateInit2(&stream, window_bits(coding)) != Z_OK) {
        return fail_memory(problem);
    }
    size_t read;
    int status = inflate_all(&stream, coding, bytes, length, to, room, &read, written);
    inflateEnd(&stream);
    if (*written == room) {
        return fail_size(problem, room - 1);
    }
    switch (status) {
    case Z_STREAM_END:
        return read == length || fail(problem, read, "has bytes behind its end");
    case Z_MEM_ERROR:
        return fail_memory(problem);
    case Z_BUF_ERROR:
        return fail(problem, length, "ends early");
    case Z_NEED_DICT:
        return fail(problem, read, "needs a dictionary");
    default:
        return fail(problem, read, coding == CODING_GZIP ? "is not gzip" : "is not zlib's format");
    }
}

bool compress_expand(enum coding coding, const void *bytes, size_t length, size_t limit, size_t tail,
                     struct arena *arena, const char **expanded, size_t *expanded_length, struct problem *problem) {
    /* deflate cannot do better than 1032 to 1 */
    size_t most = length <= SIZE_MAX / 1032 - 1 ? (length + 1) * 1032 : SIZE_MAX - 1;
    size_t room = (most < limit ? most : limit) + 1, all;
    if (room == 0 || __builtin_add_overflow(room, tail, &all)) {
        return fail_memory(problem);
    }
    unsigned char *to = arena_reserve(arena, all);
    if (to == NULL) {
        return fail_memory(problem);
    }
    *expanded_length = 0;
    bool is_expanded = expand_into(coding, bytes, length, to, room, expanded_length, problem);
    arena_commit(arena, is_expanded ? *expanded_length + tail : 0);
    *expanded = (const char *)to;
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
