/** @file protobuf.h Fields of a message in Protocol Buffers' wire format, one after the other. */
#ifndef LIB_TOKENIZER_PROTOBUF_H
#define LIB_TOKENIZER_PROTOBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** What is left of a message. */
struct attn_protobuf {
    const char *bytes;
    size_t length;
};

enum attn_protobuf_wire {
    ATTN_PROTOBUF_VARINT = 0,
    ATTN_PROTOBUF_FIXED64 = 1,
    ATTN_PROTOBUF_BYTES = 2,
    ATTN_PROTOBUF_FIXED32 = 5
};

struct attn_protobuf_field {
    uint32_t number;
    enum attn_protobuf_wire wire;
    uint64_t value;              /**< of numbers, as it stands there */
    struct attn_protobuf inside; /**< of ATTN_PROTOBUF_BYTES; lies within the message */
};

enum attn_protobuf_step { ATTN_PROTOBUF_END, ATTN_PROTOBUF_FIELD, ATTN_PROTOBUF_BROKEN };

/** Takes the next field off the message. Groups, which proto3 has no more, are ATTN_PROTOBUF_BROKEN. */
enum attn_protobuf_step attn_protobuf_next(struct attn_protobuf *message, struct attn_protobuf_field *field);

/** @return a fixed32 as the float that it is. */
float attn_protobuf_float(const struct attn_protobuf_field *field);

#endif
