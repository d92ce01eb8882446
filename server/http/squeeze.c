#include "server/http/squeeze.h"
#include "server/codec/compress.h"
#include <stdlib.h>
#include <string.h>

/** The body that is compressed, and what does it. */
struct squeeze {
    struct deflater *deflater;
    struct body_source from; /* next NULL: what is left of bytes */
    const char *bytes;
    size_t bytes_left;
};

static size_t plain_next(void *self, char *to, size_t capacity) {
    struct squeeze *squeeze = self;
    if (squeeze->from.next != NULL) {
        return squeeze->from.next(squeeze->from.self, to, capacity);
    }
    size_t count = squeeze->bytes_left < capacity ? squeeze->bytes_left : capacity;
    memcpy(to, squeeze->bytes, count);
    squeeze->bytes += count;
    squeeze->bytes_left -= count;
    return count;
}

static size_t squeeze_next(void *self, char *to, size_t capacity) {
    struct squeeze *squeeze = self;
    return deflater_next(squeeze->deflater, to, capacity);
}

static void squeeze_destroy(void *self) {
    struct squeeze *squeeze = self;
    if (squeeze->from.next != NULL && squeeze->from.destroy != NULL) {
        squeeze->from.destroy(squeeze->from.self);
    }
    deflater_destroy(squeeze->deflater);
    free(squeeze);
}

bool squeeze_response(struct exchange_response *response, enum coding coding) {
    struct squeeze *squeeze = calloc(1, sizeof *squeeze);
    struct deflater *deflater = squeeze != NULL ? deflater_create(coding, plain_next, squeeze) : NULL;
    if (deflater == NULL) {
        free(squeeze);
        return false;
    }
    *squeeze = (struct squeeze){.deflater = deflater,
                                .from = response->source,
                                .bytes = response->bytes,
                                .bytes_left = response->source.next == NULL ? response->bytes_length : 0};
    response->source =
        (struct body_source){.next = squeeze_next, .destroy = squeeze_destroy, .self = squeeze, .length = UINT64_MAX};
    response->bytes = NULL;
    response->bytes_length = 0;
    return true;
}
