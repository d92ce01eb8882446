/**
 * @file safetensors.h
 * Reading safetensors files: every claim of the header is checked before a byte of data is trusted.
 * Format: 8 bytes little-endian header length, a JSON header, then the data (safetensors, README "Format").
 */
#ifndef ATTN_SAFETENSORS_H
#define ATTN_SAFETENSORS_H

#include <attn/layer.h>
#include <attn/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The largest header that is read, as in the reference implementation. */
#define ATTN_SAFETENSORS_MAX_HEADER 100000000U

/** An opened file or buffer. Opaque; immutable after opening, so that many threads may read it. */
struct attn_safetensors;

/** An entry of __metadata__: UTF-8, ending in a NUL. */
struct attn_metadata {
    const char *key;   /**< unique in a file */
    const char *value; /**< any text */
};

/**
 * Reads a header from memory. The bytes stay the caller's and must outlive the object; tensor views point into them.
 * Checked: header length, JSON, names (unique), dtypes, shape products, offsets in range, ascending without overlaps
 * and gaps to the last byte.
 *
 * @return ATTN_OK; ATTN_EFORMAT with error->offset (byte in the buffer) and error->field (the tensor's name, or "");
 *         ATTN_ENOMEM. Thread safe.
 */
ATTN_API attn_status attn_safetensors_parse(struct attn_safetensors **file, const void *bytes, size_t length,
                                            struct attn_error *error);

/** Memory-maps a file and reads its header. @return as attn_safetensors_parse, and ATTN_EIO. Thread safe. */
ATTN_API attn_status attn_safetensors_open(struct attn_safetensors **file, const char *path, struct attn_error *error);

/** Frees (and unmaps); views of its tensors die with it. NULL is allowed. */
ATTN_API void attn_safetensors_close(struct attn_safetensors *file);

/** @return how many tensors there are. Thread safe. */
ATTN_API size_t attn_safetensors_count(const struct attn_safetensors *file);
/** @return tensor `index` (below the count) in the order of the data. Thread safe. */
ATTN_API struct attn_named_view attn_safetensors_tensor(const struct attn_safetensors *file, size_t index);
/** @return the tensor of that name, or NULL name. Thread safe. */
ATTN_API struct attn_named_view attn_safetensors_find(const struct attn_safetensors *file, const char *name);
/** @return the value of a key of __metadata__, or NULL. Thread safe. */
ATTN_API const char *attn_safetensors_metadata(const struct attn_safetensors *file, const char *key);
/** @return how many keys __metadata__ has. Thread safe. */
ATTN_API size_t attn_safetensors_metadata_count(const struct attn_safetensors *file);
/** @return key and value `index` (below the count) of __metadata__, sorted by key. Thread safe. */
ATTN_API struct attn_metadata attn_safetensors_metadata_at(const struct attn_safetensors *file, size_t index);
/** @return the mapped bytes and their length. Thread safe. */
ATTN_API const void *attn_safetensors_bytes(const struct attn_safetensors *file, size_t *length);

/** One tensor to write. */
struct attn_safetensors_item {
    const char *name;      /**< UTF-8; the caller keeps names unique */
    struct attn_view view; /**< only dtype and shape are read */
};

/**
 * Makes the 8 length bytes and the header (padded with spaces to a multiple of 8) for tensors that the caller then
 * writes one after the other, contiguous, little-endian, in the order given.
 *
 * @param header receives malloc'ed bytes, to be freed by the caller; header_length their count
 * @return ATTN_OK, ATTN_ENOMEM, ATTN_ERANGE (an overflow). Thread safe.
 */
ATTN_API attn_status attn_safetensors_header(const struct attn_safetensors_item *items, size_t count,
                                             const struct attn_metadata *metadata, size_t metadata_count,
                                             unsigned char **header, size_t *header_length, struct attn_error *error);

#ifdef __cplusplus
}
#endif
#endif
