#include "server/codec/cursor.h"
#include "server/codec/encode.h"
#include <attn/safetensors.h>
#include <stdlib.h>
#include <string.h>

struct binary_encoder {
    const char *header;
    size_t header_length, header_written;
    struct cursor *cursors;
    size_t count, current;
    uint64_t length;
};

static const char *make_header(struct arena *arena, const struct binary_item *items, size_t count,
                               const char *metadata_response, size_t *length) {
    const struct attn_metadata metadata = {.key = "response", .value = metadata_response};
    struct attn_safetensors_item *rows = arena_alloc(arena, count * sizeof *rows);
    if (rows == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        rows[i] = (struct attn_safetensors_item){.name = items[i].name, .view = items[i].view};
    }
    unsigned char *bytes = NULL;
    struct attn_error error;
    attn_status status =
        attn_safetensors_header(rows, count, &metadata, metadata_response != NULL, &bytes, length, &error);
    const char *header = status == ATTN_OK ? arena_copy_text(arena, (const char *)bytes, *length) : NULL;
    free(bytes);
    return header;
}

struct binary_encoder *binary_encoder_create(struct arena *arena, const struct binary_item *items, size_t count,
                                             const char *metadata_response) {
    struct binary_encoder *encoder = arena_alloc(arena, sizeof *encoder);
    struct cursor *cursors = encoder == NULL ? NULL : arena_alloc(arena, count * sizeof *cursors);
    if (cursors == NULL) {
        return NULL;
    }
    encoder->header = make_header(arena, items, count, metadata_response, &encoder->header_length);
    if (encoder->header == NULL) {
        return NULL;
    }
    encoder->cursors = cursors;
    encoder->count = count;
    encoder->length = encoder->header_length;
    for (size_t i = 0; i < count; i++) {
        cursor_begin_flat(&cursors[i], &items[i].view);
        encoder->length += cursors[i].left * attn_dtype_bytes(items[i].view.dtype);
    }
    return encoder;
}

uint64_t binary_encoder_length(const struct binary_encoder *encoder) {
    return encoder->length;
}

static size_t write_header(struct binary_encoder *encoder, char *to, size_t capacity) {
    size_t left = encoder->header_length - encoder->header_written;
    size_t count = left < capacity ? left : capacity;
    memcpy(to, encoder->header + encoder->header_written, count);
    encoder->header_written += count;
    return count;
}

size_t binary_encoder_next(struct binary_encoder *encoder, char *to, size_t capacity) {
    size_t written = write_header(encoder, to, capacity);
    while (encoder->current < encoder->count) {
        struct cursor *cursor = &encoder->cursors[encoder->current];
        size_t width = attn_dtype_bytes(cursor->view.dtype);
        written += width * cursor_copy(cursor, (capacity - written) / width, (unsigned char *)to + written);
        if (cursor->left > 0) {
            break;
        }
        encoder->current++;
    }
    return written;
}
