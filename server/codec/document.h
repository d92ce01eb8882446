/**
 * @file document.h
 * A request body, decoded once: tensors into the buffers that the kernels read, the rest into small jansson values.
 * The caller brings a table of fields; what is not in the table is an unknown field. A row {"dtype", FIELD_JSON} makes
 * the request's own dtype known: "float32" or "float64".
 */
#ifndef SERVER_CODEC_DOCUMENT_H
#define SERVER_CODEC_DOCUMENT_H

#include "server/base/arena.h"
#include "server/base/problem.h"
#include <attn/tensor.h>
#include <jansson.h>

/** How a field is read. */
enum field_kind {
    FIELD_TENSOR,  /**< floating tensor in any of the forms of api.md section 2, as the request's dtype (f32 or f64) */
    FIELD_MASK,    /**< JSON true/false -> ATTN_BOOL; numbers -> floating; object forms keep bool/uint8; ints refused */
    FIELD_PADDING, /**< as FIELD_MASK, but the plain JSON numbers 0 and 1 count as booleans */
    FIELD_FLAGS,   /**< true/false and the JSON numbers 0 and 1 -> ATTN_BOOL; object forms of other dtypes than bool ->
                        int64, whose values the caller checks */
    FIELD_INTEGERS, /**< int64 tensor, exact; rank is whatever it is */
    FIELD_TENSORS,  /**< an object whose every member is a FIELD_TENSOR: `params` */
    FIELD_JSON      /**< anything else: a jansson value */
};

struct field_spec {
    const char *name;
    enum field_kind kind;
};

/** One field that was there and not null. */
struct field {
    const struct field_spec *spec; /**< NULL inside a FIELD_TENSORS object */
    const char *name;              /**< as given; in the arena */
    struct attn_view tensor;       /**< tensor kinds */
    json_t *json;                  /**< FIELD_JSON; owned by the document */
    struct field *members;         /**< FIELD_TENSORS */
    size_t member_count;
};

struct document {
    struct field *fields;
    size_t field_count;
    attn_dtype dtype;  /**< ATTN_FLOAT32, or ATTN_FLOAT64 where the request says so */
    size_t json_bytes; /**< what the json values take, about */
    struct arena *arena;
};

/** Limits of decoding. */
struct document_limits {
    size_t max_elements; /**< most elements of one tensor: beyond it PROBLEM_TOO_LARGE with the field's pointer */
    size_t max_depth;    /**< of nesting outside tensors; 0: 64 */
};

/**
 * Decodes an `application/json` body: one object. Duplicate and unknown keys are PROBLEM_INVALID with their pointer.
 * @return true, or false with the problem filled. The document's views point into `arena` (or into `bytes`, which must
 *         outlive it); json values are freed by document_reset.
 */
bool document_read_json(struct document *document, const char *bytes, size_t length, const struct field_spec *specs,
                        size_t spec_count, const struct document_limits *limits, struct arena *arena,
                        struct problem *problem);

/** The same for `application/vnd.safetensors`: tensors by field name ("params.in_proj_weight" for members), the other
 * fields as a JSON document in __metadata__.request. */
bool document_read_safetensors(struct document *document, const void *bytes, size_t length,
                               const struct field_spec *specs, size_t spec_count, const struct document_limits *limits,
                               struct arena *arena, struct problem *problem);

/** @return the field of that name, or NULL where it was absent or null. */
const struct field *document_find(const struct document *document, const char *name);

/** Frees the json values; the arena is the caller's. */
void document_reset(struct document *document);

/**
 * Checks that `bytes` are one JSON text (RFC 8259, UTF-8, any top-level value) without building anything.
 * @return true, or false with *offset at the byte at fault.
 */
bool json_check(const char *bytes, size_t length, size_t max_depth, size_t *offset, char *why, size_t why_capacity);

#endif
