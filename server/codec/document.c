#include "server/codec/document.h"
#include "server/codec/document_build.h"
#include "server/codec/tensor_json.h"
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* -- building -- */

bool builder_begin(struct builder *builder, struct document *document, const struct field_spec *specs,
                   size_t spec_count, const struct document_limits *limits, struct arena *arena,
                   struct problem *problem) {
    *document = (struct document){.dtype = ATTN_FLOAT32, .arena = arena};
    *builder = (struct builder){.document = document, .specs = specs, .spec_count = spec_count};
    builder->reader = (struct reader){
        .arena = arena, .problem = problem, .max_elements = limits->max_elements, .dtype = ATTN_FLOAT32};
    document->fields = arena_alloc(arena, spec_count * sizeof *document->fields);
    builder->is_seen = arena_alloc(arena, spec_count * sizeof *builder->is_seen);
    return (document->fields != NULL && builder->is_seen != NULL) || reader_out_of_memory(&builder->reader);
}

const struct field_spec *builder_find_spec(const struct builder *builder, const char *name, size_t length) {
    for (size_t i = 0; i < builder->spec_count; i++) {
        const char *row = builder->specs[i].name;
        if (strlen(row) == length && memcmp(row, name, length) == 0) { /* a name may hold a NUL */
            return &builder->specs[i];
        }
    }
    return NULL;
}

static struct pointer_text pointer_to(const char *base, const char *name, size_t length) {
    struct pointer_text pointer;
    snprintf(pointer.text, sizeof pointer.text, "%s", base);
    problem_pointer_append(pointer.text, sizeof pointer.text, name, length);
    return pointer;
}

static struct pointer_text field_pointer(const char *name) {
    return pointer_to("", name, strlen(name));
}

bool builder_mark(struct builder *builder, const struct field_spec *spec) {
    bool *is_seen = &builder->is_seen[spec - builder->specs];
    if (*is_seen) {
        problem_set(builder->reader.problem, PROBLEM_INVALID, field_pointer(spec->name).text,
                    "the field is there twice");
        return false;
    }
    *is_seen = true;
    return true;
}

struct field *builder_add(struct builder *builder, const struct field_spec *spec) {
    struct field *field = &builder->document->fields[builder->document->field_count++];
    *field = (struct field){.spec = spec, .name = spec->name};
    return field;
}

static bool grow_members(struct builder *builder, struct field *field) {
    bool is_full = field->member_count == 0 || (field->member_count & (field->member_count - 1)) == 0;
    if (!is_full) {
        return true;
    }
    size_t capacity = field->member_count == 0 ? 1 : field->member_count * 2;
    struct field *members = arena_alloc(builder->reader.arena, capacity * sizeof *members);
    if (members == NULL) {
        return reader_out_of_memory(&builder->reader);
    }
    if (field->member_count > 0) {
        memcpy(members, field->members, field->member_count * sizeof *members);
    }
    field->members = members;
    return true;
}

struct field *builder_add_member(struct builder *builder, struct field *field, const char *name, size_t name_length) {
    struct problem *problem = builder->reader.problem;
    struct pointer_text pointer = pointer_to(field_pointer(field->name).text, name, name_length);
    if (memchr(name, '\0', name_length) != NULL) {
        problem_set(problem, PROBLEM_INVALID, field_pointer(field->name).text, "a member's name holds a NUL");
        return NULL;
    }
    for (size_t i = 0; i < field->member_count; i++) {
        if (strcmp(field->members[i].name, name) == 0) {
            problem_set(problem, PROBLEM_INVALID, pointer.text, "the member is there twice");
            return NULL;
        }
    }
    if (field->member_count == DOCUMENT_MAX_MEMBERS) {
        problem_set(problem, PROBLEM_INVALID, pointer.text, "expected at most %d members, found more",
                    DOCUMENT_MAX_MEMBERS);
        return NULL;
    }
    if (!grow_members(builder, field)) {
        return NULL;
    }
    struct field *member = &field->members[field->member_count++];
    *member = (struct field){.name = name};
    return member;
}

bool builder_unknown(struct builder *builder, const char *name, size_t length) {
    problem_set(builder->reader.problem, PROBLEM_INVALID, pointer_to("", name, length).text,
                "there is no field of this name");
    return false;
}

/* -- JSON -- */

/* So little is within what any request costs. */
#define FREE_JSON_BYTES ((size_t)4 << 10)
/* From so much on, what value trees took is given back to the system when they are freed. */
#define TRIM_BYTES ((size_t)16 << 20)

/* A key and its colon; the name, without escapes, goes into the arena. */
static bool read_key(struct reader *reader, const char *pointer, const char **name, size_t *length) {
    struct scan_text key;
    if (!scan_string(&reader->scan, "a string as the key", &key) ||
        !scan_token(&reader->scan, ':', "':' behind the key")) {
        return reader_malformed(reader, pointer);
    }
    char *copy = arena_copy_text(reader->arena, key.text, key.length);
    if (copy == NULL) {
        return reader_out_of_memory(reader);
    }
    *length = key.length;
    if (key.has_escapes) {
        *length = scan_unescape(&key, copy);
        copy[*length] = '\0';
    }
    *name = copy;
    return true;
}

/* Passes ',' (*is_last false) or '}' (true). */
static bool read_separator(struct reader *reader, const char *pointer, bool *is_last) {
    int next = scan_peek(&reader->scan);
    if (next != ',' && next != '}') {
        scan_expected(&reader->scan, "',' or '}'");
        return reader_malformed(reader, pointer);
    }
    reader->scan.at++;
    *is_last = next == '}';
    return true;
}

/* Passes '{'. *is_empty: and '}'. */
static void read_opening(struct reader *reader, bool *is_empty) {
    reader->scan.at++;
    *is_empty = scan_peek(&reader->scan) == '}';
    reader->scan.at += *is_empty;
}

/* Passes null, if it stands here. */
static bool read_null(struct reader *reader, const char *pointer, bool *is_null) {
    *is_null = scan_peek(&reader->scan) == 'n';
    return !*is_null || scan_value(&reader->scan) || reader_malformed(reader, pointer);
}

static bool read_member(struct builder *builder, struct field *field) {
    struct reader *reader = &builder->reader;
    struct pointer_text base = field_pointer(field->name);
    const char *name = "";
    size_t length = 0;
    bool is_null = false;
    if (!read_key(reader, base.text, &name, &length)) {
        return false;
    }
    struct pointer_text pointer = pointer_to(base.text, name, length);
    struct field *member = builder_add_member(builder, field, name, length);
    return member != NULL && read_null(reader, pointer.text, &is_null) &&
           (is_null || tensor_read_json(reader, FIELD_TENSOR, pointer.text, &member->tensor));
}

/* Members that were null stay behind without data: they count for duplicates, and go at the end. */
static void drop_null_members(struct field *field) {
    size_t kept = 0;
    for (size_t i = 0; i < field->member_count; i++) {
        if (field->members[i].tensor.data != NULL) {
            field->members[kept++] = field->members[i];
        }
    }
    field->member_count = kept;
}

static bool read_tensors(struct builder *builder, struct field *field) {
    struct reader *reader = &builder->reader;
    struct pointer_text pointer = field_pointer(field->name);
    if (scan_peek(&reader->scan) != '{') {
        return reader_unexpected(reader, pointer.text, "an object of tensors");
    }
    bool is_last;
    read_opening(reader, &is_last);
    while (!is_last) {
        if (!read_member(builder, field) || !read_separator(reader, pointer.text, &is_last)) {
            return false;
        }
    }
    drop_null_members(field);
    return true;
}

/* The first byte of the number that ends at `at`. */
static const char *number_start(const char *start, const char *at) {
    while (at > start && ((at[-1] >= '0' && at[-1] <= '9') || strchr("+-.eE", at[-1]) != NULL)) {
        at--;
    }
    return at;
}

/* @return the key that is there twice in the object at `start`; NULL where the two are further inside. */
static const char *find_duplicate(struct reader *reader, const char *start, size_t *length) {
    json_t *seen = json_object();
    const char *name = "", *found = NULL;
    bool is_last = true;
    reader->scan.at = start;
    if (scan_peek(&reader->scan) == '{') {
        read_opening(reader, &is_last);
    }
    while (!is_last && found == NULL && read_key(reader, "", &name, length)) {
        found = json_object_get(seen, name) != NULL ? name : NULL;
        if (json_object_set_new(seen, name, json_true()) != 0 || !scan_value(&reader->scan) ||
            !read_separator(reader, "", &is_last)) {
            break;
        }
    }
    json_decref(seen);
    return found;
}

static bool fail_duplicate(struct reader *reader, const char *pointer, const char *start) {
    size_t length = 0;
    const char *name = find_duplicate(reader, start, &length);
    problem_set(reader->problem, PROBLEM_INVALID, name == NULL ? pointer : pointer_to(pointer, name, length).text,
                "the member is there twice");
    return false;
}

/* jansson did not take what the scanner did. */
static bool fail_json(struct reader *reader, const char *pointer, const char *start, const json_error_t *error) {
    size_t position = error->position > 0 ? (size_t)error->position : 0;
    enum json_error_code code = json_error_code(error);
    if (code == json_error_duplicate_key) {
        return fail_duplicate(reader, pointer, start);
    }
    if (code == json_error_null_byte_in_key) {
        problem_set(reader->problem, PROBLEM_INVALID, pointer, "%s", error->text);
        return false;
    }
    if (code == json_error_out_of_memory) {
        return reader_out_of_memory(reader);
    }
    if (code == json_error_numeric_overflow) {
        return reader_malformed_at(reader, pointer, number_start(start, start + position), "a number too large");
    }
    return reader_malformed_at(reader, pointer, start + position, error->text);
}

static json_t *load_json(const char *start, size_t length, json_error_t *error) {
    const size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES;
    json_t *json = json_loadb(start, length, flags, error);
    if (json == NULL && json_error_code(error) == json_error_numeric_overflow) {
        /* an integer beyond 64 bits: a number all the same, where a real one will do */
        json = json_loadb(start, length, flags | JSON_DECODE_INT_AS_REAL, error);
    }
    return json;
}

/* What a value tree costs that is to be made of a checked text. */
struct json_weight {
    size_t values, bytes;
};

/* jansson's own blocks with their headers: an array or object before it holds anything, an entry of an object, any
 * value and its place in the one around it. */
#define ARRAY_BYTES ((size_t)128)
#define OBJECT_BYTES ((size_t)256)
#define ENTRY_BYTES ((size_t)128)
#define VALUE_BYTES ((size_t)96)

static struct json_weight weigh_json(const char *at, const char *end) {
    struct json_weight weight = {.values = 1, .bytes = VALUE_BYTES + 2 * (size_t)(end - at)};
    bool in_string = false;
    for (; at < end; at++) {
        if (in_string) {
            in_string = *at != '"';
            at += *at == '\\'; /* the escaped byte is no end */
            continue;
        }
        in_string = *at == '"';
        bool is_next = *at == ',' || *at == '[' || *at == '{';
        weight.values += is_next;
        weight.bytes += (is_next ? VALUE_BYTES : 0) + (*at == '[' ? ARRAY_BYTES : 0) + (*at == '{' ? OBJECT_BYTES : 0) +
                        (*at == ':' ? ENTRY_BYTES : 0);
    }
    return weight;
}

/* A value tree takes up to a hundred times its text, outside the arena: few values are made, and they are accounted. */
static bool afford_json(struct builder *builder, const char *pointer, const char *start) {
    struct json_weight weight = weigh_json(start, builder->reader.scan.at);
    if (weight.values > DOCUMENT_MAX_VALUES - builder->json_values) {
        problem_set(builder->reader.problem, PROBLEM_TOO_LARGE, pointer,
                    "expected at most %d values in the fields that are no tensors, found more", DOCUMENT_MAX_VALUES);
        return false;
    }
    builder->json_values += weight.values;
    builder->document->json_bytes += weight.bytes;
    return weight.bytes < FREE_JSON_BYTES || arena_charge(builder->reader.arena, weight.bytes) ||
           reader_out_of_memory(&builder->reader);
}

static bool read_value(struct builder *builder, const char *pointer, json_t **json) {
    struct reader *reader = &builder->reader;
    int first = scan_peek(&reader->scan);
    const char *start = reader->scan.at;
    if (!scan_value(&reader->scan)) {
        return reader_malformed(reader, pointer);
    }
    if (first == 't' || first == 'f') {
        *json = json_boolean(first == 't');
        return true;
    }
    if (!afford_json(builder, pointer, start)) {
        return false;
    }
    json_error_t error;
    *json = load_json(start, (size_t)(reader->scan.at - start), &error);
    return *json != NULL || fail_json(reader, pointer, start, &error);
}

static bool read_dtype(struct builder *builder, const char *start) {
    struct scan scan = builder->reader.scan;
    struct scan_text text;
    char name[16] = "";
    scan.at = start;
    if (scan_string(&scan, "a string", &text) && text.length < sizeof name) {
        name[scan_unescape(&text, name)] = '\0';
    }
    if (!attn_dtype_parse(name, &builder->document->dtype) ||
        (builder->document->dtype != ATTN_FLOAT32 && builder->document->dtype != ATTN_FLOAT64)) {
        builder->reader.scan.at = start;
        return reader_unexpected(&builder->reader, "/dtype", "\"float32\" or \"float64\"");
    }
    if (!builder->has_floating) {
        builder->reader.dtype = builder->document->dtype;
    }
    return true;
}

static bool is_dtype(const struct field_spec *spec) {
    return spec->kind == FIELD_JSON && strcmp(spec->name, "dtype") == 0;
}

/* Whether a tensor of this kind depends on the request's dtype. */
static bool has_floats(enum field_kind kind) {
    return kind != FIELD_JSON && kind != FIELD_INTEGERS && kind != FIELD_FLAGS;
}

static bool read_field(struct builder *builder, const struct field_spec *spec, struct field *field) {
    struct reader *reader = &builder->reader;
    struct pointer_text pointer = field_pointer(spec->name);
    const char *start = reader->scan.at;
    builder->has_floating = builder->has_floating || has_floats(spec->kind);
    if (spec->kind == FIELD_TENSORS) {
        return read_tensors(builder, field);
    }
    if (spec->kind != FIELD_JSON) {
        return tensor_read_json(reader, spec->kind, pointer.text, &field->tensor);
    }
    return read_value(builder, pointer.text, &field->json) && (!is_dtype(spec) || read_dtype(builder, start));
}

static bool read_entry(struct builder *builder) {
    struct reader *reader = &builder->reader;
    const char *name = "";
    size_t length = 0;
    bool is_null = false;
    if (!read_key(reader, "", &name, &length)) {
        return false;
    }
    const struct field_spec *spec = builder_find_spec(builder, name, length);
    if (spec == NULL) {
        return builder_unknown(builder, name, length);
    }
    if (!builder_mark(builder, spec) || !read_null(reader, field_pointer(name).text, &is_null)) {
        return false;
    }
    return is_null || read_field(builder, spec, builder_add(builder, spec));
}

static bool read_object(struct builder *builder) {
    struct reader *reader = &builder->reader;
    if (scan_peek(&reader->scan) != '{') {
        return reader_unexpected(reader, "", "an object");
    }
    bool is_last;
    read_opening(reader, &is_last);
    while (!is_last) {
        if (!read_entry(builder) || !read_separator(reader, "", &is_last)) {
            return false;
        }
    }
    return scan_end(&reader->scan) || reader_malformed(reader, "");
}

/* Whether a double is asked for behind the place where a number was too large for float32. */
static bool asks_for_double(const struct builder *builder, size_t length) {
    struct scan scan;
    struct scan_text key, value;
    bool is_double = false;
    scan_begin(&scan, builder->reader.scan.text, length, builder->reader.scan.max_depth);
    bool is_read = scan_token(&scan, '{', "an object");
    while (is_read && scan_string(&scan, "a key", &key) && scan_token(&scan, ':', "':'")) {
        scan_peek(&scan);
        value = (struct scan_text){.text = scan.at};
        is_read = scan_value(&scan);
        value.length = (size_t)(scan.at - value.text);
        bool is_dtype_key = key.length == 5 && memcmp(key.text, "dtype", 5) == 0;
        is_double = is_double || (is_dtype_key && value.length == 9 && memcmp(value.text, "\"float64\"", 9) == 0);
        is_read = is_read && scan_token(&scan, ',', "','");
    }
    return is_double;
}

static void forget_fields(struct builder *builder) {
    document_reset(builder->document);
    builder->document->field_count = 0;
    builder->json_values = 0;
    memset(builder->is_seen, 0, builder->spec_count * sizeof *builder->is_seen);
}

/* What is not JSON is malformed before it is anything else, also behind the first thing that is wrong. */
static void prefer_malformed(struct builder *builder, const char *text, size_t length, size_t max_depth) {
    size_t offset;
    char why[200];
    bool is_wrong = problem_status(builder->reader.problem->id) == 422;
    if (is_wrong && !json_check(text, length, max_depth, &offset, why, sizeof why)) {
        reader_malformed_at(&builder->reader, "", text + offset, why);
    }
}

bool builder_read_json(struct builder *builder, const char *text, size_t length, size_t max_depth) {
    struct reader *reader = &builder->reader;
    max_depth = max_depth == 0 ? 64 : max_depth;
    scan_begin(&reader->scan, text, length, max_depth > 1 ? max_depth - 1 : 1);
    if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        return reader_malformed_at(reader, "", text, "JSON begins without a byte order mark");
    }
    bool is_read = read_object(builder);
    bool may_be_double =
        !is_read && reader->problem->id == PROBLEM_MALFORMED && builder->document->dtype == ATTN_FLOAT32;
    if (may_be_double && asks_for_double(builder, length)) {
        builder->document->dtype = ATTN_FLOAT64;
    }
    if ((is_read || may_be_double) && builder->document->dtype != reader->dtype) {
        /* rare: the dtype came behind tensors that have been read in another one */
        forget_fields(builder);
        memset(reader->problem, 0, sizeof *reader->problem); /* what was too large for a float32 is no problem now */
        reader->dtype = builder->document->dtype;
        scan_begin(&reader->scan, text, length, reader->scan.max_depth);
        is_read = read_object(builder);
    }
    if (!is_read) {
        prefer_malformed(builder, text, length, max_depth);
    }
    return is_read;
}

bool document_read_json(struct document *document, const char *bytes, size_t length, const struct field_spec *specs,
                        size_t spec_count, const struct document_limits *limits, struct arena *arena,
                        struct problem *problem) {
    struct builder builder;
    bool is_read = builder_begin(&builder, document, specs, spec_count, limits, arena, problem) &&
                   builder_read_json(&builder, bytes, length, limits->max_depth);
    if (!is_read) {
        document_reset(document);
    }
    return is_read;
}

const struct field *document_find(const struct document *document, const char *name) {
    for (size_t i = 0; i < document->field_count; i++) {
        if (strcmp(document->fields[i].name, name) == 0) {
            return &document->fields[i];
        }
    }
    return NULL;
}

void document_reset(struct document *document) {
    for (size_t i = 0; i < document->field_count; i++) {
        json_decref(document->fields[i].json);
    }
    document->field_count = 0;
    if (document->json_bytes > TRIM_BYTES) {
        malloc_trim(0); /* the C library keeps small blocks, and nobody accounts for them any more */
    }
    document->json_bytes = 0;
}
