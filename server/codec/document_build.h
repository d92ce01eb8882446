/** @file document_build.h Putting a document together, from JSON or from a binary body. */
#ifndef SERVER_CODEC_DOCUMENT_BUILD_H
#define SERVER_CODEC_DOCUMENT_BUILD_H

#include "server/codec/document.h"
#include "server/codec/reader.h"

/** The most members of a FIELD_TENSORS object: no state dict of one attention layer comes near. */
#define DOCUMENT_MAX_MEMBERS 256

/** The most values (each array, object, string and number) in all FIELD_JSON fields: the tokens of a long batch. */
#define DOCUMENT_MAX_VALUES (1 << 20)

/** A document while it is read: which fields of the table have been seen. */
struct builder {
    struct document *document;
    const struct field_spec *specs;
    size_t spec_count;
    bool *is_seen;      /**< a field a row */
    bool has_floating;  /**< a tensor has been read in the reader's dtype */
    size_t json_values; /**< in the fields read so far */
    struct reader reader;
};

/** Makes an empty document. @return false with the problem filled. */
bool builder_begin(struct builder *builder, struct document *document, const struct field_spec *specs,
                   size_t spec_count, const struct document_limits *limits, struct arena *arena,
                   struct problem *problem);
/** @return the row of that name, or NULL. */
const struct field_spec *builder_find_spec(const struct builder *builder, const char *name, size_t length);
/** Notes that the field is there. @return false with the problem filled where it was before. */
bool builder_mark(struct builder *builder, const struct field_spec *spec);
/** Adds a field (not more than there are rows). */
struct field *builder_add(struct builder *builder, const struct field_spec *spec);
/** Adds a member to a FIELD_TENSORS field; name is in the arena. @return NULL with the problem filled. */
struct field *builder_add_member(struct builder *builder, struct field *field, const char *name, size_t name_length);
/** Fails with an unknown field of that name. @return false, always. */
bool builder_unknown(struct builder *builder, const char *name, size_t length);
/** Reads the whole text as one JSON object into the document. */
bool builder_read_json(struct builder *builder, const char *text, size_t length, size_t max_depth);

#endif
