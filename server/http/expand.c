#include "server/http/expand.h"
#include <limits.h>
#include <zlib.h>

/* zlib counts in unsigned int: longer buffers are given in steps. */
#define STEP_BYTES ((size_t)1 << 30)

static unsigned step(size_t left) {
    return (unsigned)(left < STEP_BYTES ? left : STEP_BYTES);
}

/** The whole stream, step by step. @return as inflate: Z_STREAM_END at a proper end of all input. */
static int run(z_stream *stream, bool is_gzip, size_t length, size_t capacity, size_t *used, size_t *made) {
    for (;;) {
        stream->avail_in = step(length - *used);
        stream->avail_out = step(capacity - *made);
        unsigned in = stream->avail_in, out = stream->avail_out;
        int status = inflate(stream, Z_NO_FLUSH);
        *used += in - stream->avail_in;
        *made += out - stream->avail_out;
        bool has_moved = in != stream->avail_in || out != stream->avail_out;
        if (status == Z_STREAM_END && is_gzip && *used < length) {
            status = inflateReset(stream);
        }
        if (status != Z_OK && !(status == Z_BUF_ERROR && has_moved)) {
            return status;
        }
        if (!has_moved) {
            return Z_BUF_ERROR;
        }
    }
}

enum expand_outcome expand(bool is_gzip, const char *from, size_t length, char *to, size_t capacity, size_t *expanded,
                           size_t *offset) {
    char none = 0;
    z_stream stream = {.next_in = (Bytef *)(length > 0 ? from : &none), .next_out = (Bytef *)to};
    size_t used = 0, made = 0;
    if (inflateInit2(&stream, is_gzip ? MAX_WBITS + 16 : MAX_WBITS) != Z_OK) {
        return EXPAND_NO_MEMORY;
    }
    int status = run(&stream, is_gzip, length, capacity, &used, &made);
    inflateEnd(&stream);
    *expanded = made;
    *offset = used;
    if (status == Z_STREAM_END && used == length) {
        return EXPAND_OK;
    }
    if (status == Z_BUF_ERROR && made == capacity && used < length) {
        return EXPAND_TOO_LARGE;
    }
    return status == Z_MEM_ERROR ? EXPAND_NO_MEMORY : EXPAND_BROKEN;
}
