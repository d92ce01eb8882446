/** @file tensor_json.h One tensor of a JSON body, in any of its forms. */
#ifndef SERVER_CODEC_TENSOR_JSON_H
#define SERVER_CODEC_TENSOR_JSON_H

#include "server/codec/document.h"
#include "server/codec/elements.h"
#include "server/codec/reader.h"

/**
 * Reads nested arrays, {"shape", "data"} or {"shape", "dtype", "base64"} that start here, as the kind wants them.
 * @param pointer  the field's, for problems
 * @return false with the reader's problem filled.
 */
bool tensor_read_json(struct reader *reader, enum field_kind kind, const char *pointer, struct attn_view *view);

/** Reads the object forms: server/codec/tensor_object.c. */
bool tensor_read_object(struct reader *reader, enum field_kind kind, const char *pointer, struct attn_view *view);

/** @return how the elements of a kind are written whose first byte is `first`. */
enum element_class tensor_element_class(const struct reader *reader, enum field_kind kind, int first);

#endif
