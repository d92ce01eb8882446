#include "server/codec/adapt.h"
#include "server/codec/document_build.h"
#include <attn/safetensors.h>
#include <stdio.h>
#include <string.h>

/* A tensor's place in the body, for problems. */
struct source {
    const char *name;
    struct pointer_text pointer;
};

static bool fail(struct builder *builder, const struct source *source, const char *what) {
    problem_set(builder->reader.problem, PROBLEM_INVALID, source->pointer.text, "%s", what);
    return false;
}

static bool check_shape(struct builder *builder, const struct source *source, const struct attn_view *view) {
    size_t elements = 0;
    if (view->rank == 0) {
        return fail(builder, source, "expected at least one axis, found a scalar");
    }
    if (!attn_size_product(view->shape, (size_t)view->rank, &elements) || elements > builder->reader.max_elements) {
        return reader_too_many(&builder->reader, source->pointer.text);
    }
    return elements > 0 || fail(builder, source, "every axis is at least 1, found one of 0");
}

static bool adapt(struct builder *builder, enum field_kind kind, const struct source *source, struct attn_view *view) {
    struct problem *problem = builder->reader.problem;
    const struct attn_view given = *view;
    size_t index = 0;
    switch (adapt_view(builder->reader.arena, kind, builder->reader.dtype, view, &index)) {
    case ADAPT_OK:
        return true;
    case ADAPT_NO_MEMORY:
        return reader_out_of_memory(&builder->reader);
    case ADAPT_DTYPE:
        problem_set(problem, PROBLEM_INVALID, source->pointer.text, "expected %s, found %s", adapt_dtypes(kind),
                    attn_dtype_name(given.dtype));
        return false;
    case ADAPT_OVERFLOW:
        return reader_malformed_at(&builder->reader, source->pointer.text,
                                   (const char *)given.data + index * attn_dtype_bytes(given.dtype),
                                   "a number too large for float32");
    case ADAPT_FRACTION:
        break;
    }
    problem_set(problem, PROBLEM_INVALID, source->pointer.text,
                "expected integers within 64 bits, found another number as element %zu", index);
    return false;
}

/* The FIELD_TENSORS row whose name and a dot the tensor's name begins with. */
static const struct field_spec *find_parent(const struct builder *builder, const char *name) {
    const char *dot = strchr(name, '.');
    const struct field_spec *spec = dot == NULL ? NULL : builder_find_spec(builder, name, (size_t)(dot - name));
    return spec != NULL && spec->kind == FIELD_TENSORS ? spec : NULL;
}

/* The field of a row that has been there before, or a new one. */
static struct field *parent_field(struct builder *builder, const struct field_spec *spec) {
    for (size_t i = 0; i < builder->document->field_count; i++) {
        if (builder->document->fields[i].spec == spec) {
            return &builder->document->fields[i];
        }
    }
    builder->is_seen[spec - builder->specs] = true;
    return builder_add(builder, spec);
}

static bool read_member(struct builder *builder, const struct field_spec *parent, struct source *source,
                        struct attn_view view) {
    const char *member = strchr(source->name, '.') + 1;
    snprintf(source->pointer.text, sizeof source->pointer.text, "/%s", parent->name);
    problem_pointer_append(source->pointer.text, sizeof source->pointer.text, member, strlen(member));
    const char *name = arena_copy_text(builder->reader.arena, member, strlen(member));
    if (name == NULL) {
        return reader_out_of_memory(&builder->reader);
    }
    struct field *field = builder_add_member(builder, parent_field(builder, parent), name, strlen(name));
    if (field == NULL || !check_shape(builder, source, &view) || !adapt(builder, FIELD_TENSOR, source, &view)) {
        return false;
    }
    field->tensor = view;
    return true;
}

static bool read_tensor(struct builder *builder, struct attn_named_view tensor) {
    struct source source = {.name = tensor.name};
    problem_pointer_append(source.pointer.text, sizeof source.pointer.text, tensor.name, strlen(tensor.name));
    const struct field_spec *spec = builder_find_spec(builder, tensor.name, strlen(tensor.name));
    const struct field_spec *parent = spec == NULL ? find_parent(builder, tensor.name) : NULL;
    if (parent != NULL) {
        return read_member(builder, parent, &source, tensor.view);
    }
    if (spec == NULL) {
        return builder_unknown(builder, tensor.name, strlen(tensor.name));
    }
    if (spec->kind == FIELD_TENSORS) {
        return fail(builder, &source, "expected tensors named after its members, found one tensor");
    }
    if (spec->kind == FIELD_JSON) {
        return fail(builder, &source, "this field is no tensor: it goes into __metadata__.request");
    }
    struct attn_view view = tensor.view;
    if (!builder_mark(builder, spec) || !check_shape(builder, &source, &view) ||
        !adapt(builder, spec->kind, &source, &view)) {
        return false;
    }
    builder_add(builder, spec)->tensor = view;
    return true;
}

/* The fields that are no tensors. */
static bool read_request(struct builder *builder, const struct attn_safetensors *file, size_t max_depth) {
    const char *request = attn_safetensors_metadata(file, "request");
    if (request == NULL || builder_read_json(builder, request, strlen(request), max_depth)) {
        return true;
    }
    struct problem *problem = builder->reader.problem;
    if (problem->id == PROBLEM_MALFORMED) {
        struct problem inner = *problem;
        problem_set(problem, PROBLEM_MALFORMED, inner.pointer, "in __metadata__.request: %.400s", inner.detail);
        problem->has_offset = true;
        problem->offset = inner.offset;
    }
    return false;
}

static bool read_file(struct builder *builder, const struct attn_safetensors *file, size_t max_depth) {
    if (!read_request(builder, file, max_depth)) {
        return false;
    }
    size_t count = attn_safetensors_count(file), length = 0;
    builder->reader.dtype = builder->document->dtype;
    scan_begin(&builder->reader.scan, attn_safetensors_bytes(file, &length), 0, 0);
    for (size_t i = 0; i < count; i++) {
        if (!read_tensor(builder, attn_safetensors_tensor(file, i))) {
            return false;
        }
    }
    return true;
}

/* Bytes a colon of the header costs once it is read: there are four to a tensor, one to a key of __metadata__. */
#define COLON_BYTES ((size_t)96)
/* So little is within what any request costs. */
#define FREE_HEADER_BYTES ((size_t)16 << 10)

/* Memory for a header's contents is the library's, outside the arena: up to eight times the header. */
static bool afford_header(struct builder *builder, const unsigned char *bytes, size_t length) {
    uint64_t header = 0;
    for (unsigned i = 0; i < 8 && length >= 8; i++) {
        header |= (uint64_t)bytes[i] << (8 * i);
    }
    if (length < 8 || header > length - 8 || header <= FREE_HEADER_BYTES) {
        return true;
    }
    size_t cost = (size_t)header;
    bool in_string = false;
    for (const unsigned char *at = bytes + 8, *end = at + header; at < end; at++) {
        if (in_string) {
            in_string = *at != '"';
            at += *at == '\\'; /* the escaped byte is no end */
            continue;
        }
        in_string = *at == '"';
        cost += *at == ':' ? COLON_BYTES : 0;
    }
    return arena_charge(builder->reader.arena, cost) || reader_out_of_memory(&builder->reader);
}

bool document_read_safetensors(struct document *document, const void *bytes, size_t length,
                               const struct field_spec *specs, size_t spec_count, const struct document_limits *limits,
                               struct arena *arena, struct problem *problem) {
    struct builder builder;
    struct attn_safetensors *file = NULL;
    struct attn_error error = {.status = ATTN_OK};
    if (!builder_begin(&builder, document, specs, spec_count, limits, arena, problem)) {
        return false;
    }
    if (!afford_header(&builder, bytes, length)) {
        return false;
    }
    bool is_read = attn_safetensors_parse(&file, bytes, length, &error) == ATTN_OK;
    if (!is_read) {
        problem_from_attn(problem, &error);
    }
    is_read = is_read && read_file(&builder, file, limits->max_depth);
    attn_safetensors_close(file);
    if (!is_read) {
        document_reset(document);
    }
    return is_read;
}
