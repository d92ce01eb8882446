#include "lib/tokenizer/protobuf.h"

#include <string.h>

/* Seven bits a byte, the lowest first; ten bytes at most. */
static bool take_varint(struct attn_protobuf *message, uint64_t *value) {
    *value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (message->length == 0)
            return false;
        unsigned char byte = (unsigned char)*message->bytes++;
        message->length--;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (shift == 63 && byte > 1)
            return false;
        if (byte < 0x80)
            return true;
    }
    return false;
}

static bool take_fixed(struct attn_protobuf *message, size_t size, uint64_t *value) {
    if (message->length < size)
        return false;
    *value = 0;
    for (size_t i = size; i-- > 0;)
        *value = *value << 8 | (unsigned char)message->bytes[i];
    message->bytes += size;
    message->length -= size;
    return true;
}

static bool take_bytes(struct attn_protobuf *message, struct attn_protobuf *inside) {
    uint64_t length;
    if (!take_varint(message, &length) || length > message->length)
        return false;
    *inside = (struct attn_protobuf){message->bytes, (size_t)length};
    message->bytes += length;
    message->length -= (size_t)length;
    return true;
}

enum attn_protobuf_step attn_protobuf_next(struct attn_protobuf *message, struct attn_protobuf_field *field) {
    uint64_t key;
    if (message->length == 0)
        return ATTN_PROTOBUF_END;
    if (!take_varint(message, &key) || key >> 3 == 0 || key > UINT32_MAX)
        return ATTN_PROTOBUF_BROKEN;
    *field = (struct attn_protobuf_field){.number = (uint32_t)(key >> 3), .wire = (enum attn_protobuf_wire)(key & 7)};
    bool is_whole = false;
    switch (key & 7) {
    case ATTN_PROTOBUF_VARINT:
        is_whole = take_varint(message, &field->value);
        break;
    case ATTN_PROTOBUF_FIXED64:
        is_whole = take_fixed(message, 8, &field->value);
        break;
    case ATTN_PROTOBUF_BYTES:
        is_whole = take_bytes(message, &field->inside);
        break;
    case ATTN_PROTOBUF_FIXED32:
        is_whole = take_fixed(message, 4, &field->value);
        break;
    default:
        break;
    }
    return is_whole ? ATTN_PROTOBUF_FIELD : ATTN_PROTOBUF_BROKEN;
}

float attn_protobuf_float(const struct attn_protobuf_field *field) {
    uint32_t bits = (uint32_t)field->value;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
