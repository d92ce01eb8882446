#include "server/http/squeeze.h"
#include <stdlib.h>
#include <zlib.h>

/* The fastest level: the codec makes text faster than any level compresses it. */
#define LEVEL 1
#define INPUT_BYTES ((size_t)32 << 10)
#define STEP_BYTES ((size_t)1 << 30)
/* What an encoder needs at least. */
#define SMALLEST_PULL_BYTES ((size_t)64)

/** The body that is compressed, and the stream that does it. */
struct squeeze {
    z_stream stream;
    struct body_source from; /* next NULL: what is left of bytes */
    const char *bytes;
    size_t bytes_left;
    bool is_at_end, has_failed;
    char input[INPUT_BYTES];
};

/** Gives the stream its next input. */
static void refill(struct squeeze *squeeze) {
    if (squeeze->from.next == NULL) {
        size_t step = squeeze->bytes_left < STEP_BYTES ? squeeze->bytes_left : STEP_BYTES;
        squeeze->stream.next_in = (Bytef *)squeeze->bytes;
        squeeze->stream.avail_in = (unsigned)step;
        squeeze->bytes += step;
        squeeze->bytes_left -= step;
        squeeze->is_at_end = squeeze->bytes_left == 0;
        return;
    }
    size_t used = 0, made = 1;
    while (made > 0 && INPUT_BYTES - used >= SMALLEST_PULL_BYTES) {
        made = squeeze->from.next(squeeze->from.self, squeeze->input + used, INPUT_BYTES - used);
        if (made == SIZE_MAX) {
            squeeze->has_failed = true;
            return;
        }
        used += made;
    }
    squeeze->is_at_end = made == 0;
    squeeze->stream.next_in = (Bytef *)squeeze->input;
    squeeze->stream.avail_in = (unsigned)used;
}

static size_t squeeze_next(void *self, char *to, size_t capacity) {
    struct squeeze *squeeze = self;
    size_t room = capacity < STEP_BYTES ? capacity : STEP_BYTES;
    squeeze->stream.next_out = (Bytef *)to;
    squeeze->stream.avail_out = (unsigned)room;
    while (squeeze->stream.avail_out > 0) {
        if (squeeze->stream.avail_in == 0 && !squeeze->is_at_end) {
            refill(squeeze);
        }
        if (squeeze->has_failed) {
            return SIZE_MAX;
        }
        int status = deflate(&squeeze->stream, squeeze->is_at_end ? Z_FINISH : Z_NO_FLUSH);
        if (status == Z_STREAM_END || status == Z_BUF_ERROR) {
            break;
        }
        if (status != Z_OK) {
            return SIZE_MAX;
        }
    }
    return room - squeeze->stream.avail_out;
}

static void squeeze_destroy(void *self) {
    struct squeeze *squeeze = self;
    if (squeeze->from.next != NULL && squeeze->from.destroy != NULL) {
        squeeze->from.destroy(squeeze->from.self);
    }
    deflateEnd(&squeeze->stream);
    free(squeeze);
}

bool squeeze_response(struct exchange_response *response) {
    struct squeeze *squeeze = calloc(1, sizeof *squeeze);
    if (squeeze == NULL ||
        deflateInit2(&squeeze->stream, LEVEL, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        free(squeeze);
        return false;
    }
    squeeze->from = response->source;
    squeeze->bytes = response->bytes;
    squeeze->bytes_left = response->source.next == NULL ? response->bytes_length : 0;
    response->source =
        (struct body_source){.next = squeeze_next, .destroy = squeeze_destroy, .self = squeeze, .length = UINT64_MAX};
    response->bytes = NULL;
    response->bytes_length = 0;
    return true;
}
