#include "server/codec/adapt.h"
#include "server/codec/base64.h"
#include "server/codec/elements.h"
#include "server/codec/tensor_json.h"
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* {"shape", "dtype", "data" or "base64"}, in whatever order they come. */
struct object_form {
    struct reader *reader;
    enum field_kind kind;
    const char *pointer;
    bool has_shape, has_dtype, has_data, has_base64;
    int rank;
    size_t shape[ATTN_MAX_RANK];
    attn_dtype dtype;
    /* the data as they were read: a flat view */
    struct attn_view flat;
    const char *data_at; /* where data or base64 begin in the text */
    bool is_data_before_dtype, is_data_unread;
    size_t bytes; /* of decoded base64 */
};

static struct pointer_text member_pointer(const struct object_form *form, const char *member) {
    return place_pointer(&(struct place){.base = form->pointer, .member = member});
}

static bool fail(struct object_form *form, const char *member, const char *what) {
    problem_set(form->reader->problem, PROBLEM_INVALID, member_pointer(form, member).text, "%s", what);
    return false;
}

/* Reads a flat array of elements into fresh memory. */
static bool read_flat(struct object_form *form, const char *member, struct elements *elements) {
    struct place place = {.base = form->pointer, .member = member};
    struct scan *scan = &form->reader->scan;
    if (scan_peek(scan) != '[') {
        elements_commit(elements);
        return reader_unexpected(form->reader, place_pointer(&place).text, "an array");
    }
    scan->at++;
    bool is_read = scan_peek(scan) == ']' || elements_read_row(elements, &place);
    elements_commit(elements);
    scan->at += is_read;
    return is_read;
}

/* -- shape -- */

/* Axes that are read, so as to say how many there are too many of. */
#define SHAPE_MOST ((size_t)64)

static bool check_axis(struct object_form *form, int axis, int64_t length) {
    if (length >= 1) {
        form->shape[axis] = (size_t)length;
        return true;
    }
    struct place place = {.base = form->pointer, .member = "shape", .index = {(size_t)axis}, .depth = 1};
    problem_set(form->reader->problem, PROBLEM_INVALID, place_pointer(&place).text,
                "every axis is at least 1, found %lld", (long long)length);
    return false;
}

static bool read_shape(struct object_form *form) {
    struct elements elements;
    bool is_read =
        elements_begin(&elements, form->reader, ELEMENTS_I64, SHAPE_MOST) && read_flat(form, "shape", &elements);
    bool is_too_long = !is_read && form->reader->problem->id == PROBLEM_TOO_LARGE;
    if (!is_read && !is_too_long) {
        return false;
    }
    if (is_too_long || elements.count == 0 || elements.count > ATTN_MAX_RANK) {
        problem_set(form->reader->problem, PROBLEM_INVALID, member_pointer(form, "shape").text,
                    "expected 1 to %d axes, found %s%zu", ATTN_MAX_RANK, is_too_long ? "more than " : "",
                    elements.count);
        return false;
    }
    form->rank = (int)elements.count;
    for (int axis = 0; axis < form->rank; axis++) {
        if (!check_axis(form, axis, ((const int64_t *)elements.data)[axis])) {
            return false;
        }
    }
    return true;
}

/* -- dtype -- */

static bool read_dtype(struct object_form *form) {
    struct pointer_text pointer = member_pointer(form, "dtype");
    struct scan_text text;
    if (scan_peek(&form->reader->scan) != '"') {
        return reader_unexpected(form->reader, pointer.text, "a dtype such as \"float32\"");
    }
    if (!scan_string(&form->reader->scan, "a string", &text)) {
        return reader_malformed(form->reader, pointer.text);
    }
    char name[32] = "";
    if (text.length < sizeof name) {
        name[scan_unescape(&text, name)] = '\0';
    }
    if (!attn_dtype_parse(name, &form->dtype)) {
        return fail(form, "dtype", "expected float32, float64, float16, bfloat16, int64, int32, uint8 or bool");
    }
    if (!adapt_takes(form->kind, form->dtype)) {
        problem_set(form->reader->problem, PROBLEM_INVALID, pointer.text, "expected %s, found %s",
                    adapt_dtypes(form->kind), attn_dtype_name(form->dtype));
        return false;
    }
    return true;
}

/* -- data -- */

static bool is_integer(attn_dtype dtype) {
    return dtype == ATTN_INT64 || dtype == ATTN_INT32 || dtype == ATTN_UINT8;
}

/* How data of the given dtype are read from text; f16 and bf16 go through double, so that they are rounded once. */
static enum element_class data_class(const struct object_form *form, int first) {
    if (form->kind == FIELD_INTEGERS && form->dtype != ATTN_BOOL) {
        return ELEMENTS_I64;
    }
    if (!form->has_dtype) {
        return tensor_element_class(form->reader, form->kind, first);
    }
    if (is_integer(form->dtype)) {
        return ELEMENTS_I64;
    }
    switch (form->dtype) {
    case ATTN_BOOL:
        return first == 't' || first == 'f' ? ELEMENTS_BOOL : ELEMENTS_ZERO_ONE;
    case ATTN_FLOAT16:
    case ATTN_BFLOAT16:
        return ELEMENTS_F64;
    case ATTN_FLOAT64:
        return tensor_element_class(form->reader, FIELD_TENSOR, first);
    default:
        return ELEMENTS_F32;
    }
}

static void set_integer_range(struct elements *elements, attn_dtype dtype) {
    if (dtype == ATTN_INT32) {
        elements->integer_min = INT32_MIN;
        elements->integer_max = INT32_MAX;
    }
    if (dtype == ATTN_UINT8) {
        elements->integer_min = 0;
        elements->integer_max = UINT8_MAX;
    }
}

/* Reads data whose dtype is known, or known not to be given. */
static bool read_data_now(struct object_form *form, int first) {
    struct elements elements;
    enum element_class element_class = data_class(form, first);
    if (!elements_begin(&elements, form->reader, element_class, form->reader->max_elements)) {
        return false;
    }
    if (form->has_dtype) {
        set_integer_range(&elements, form->dtype);
    }
    if (!read_flat(form, "data", &elements)) {
        return false;
    }
    form->flat = attn_view_contiguous(elements.data, elements_dtype(element_class), 1, &elements.count);
    return true;
}

/* The first byte behind the bracket at data_at. */
static int first_of_data(const struct object_form *form) {
    struct scan ahead = form->reader->scan;
    ahead.at = form->data_at + (form->data_at < ahead.end);
    return scan_peek(&ahead);
}

static bool read_data(struct object_form *form) {
    struct scan *scan = &form->reader->scan;
    scan_peek(scan);
    form->data_at = scan->at;
    int first = first_of_data(form);
    /* A dtype to come may still change what is allowed: only numbers and masks read the same without it. */
    bool is_boolean = first == 't' || first == 'f';
    bool is_open =
        form->kind == FIELD_PADDING || form->kind == FIELD_FLAGS || (form->kind == FIELD_INTEGERS && is_boolean);
    form->is_data_unread = !form->has_dtype && is_open;
    form->is_data_before_dtype = !form->has_dtype;
    if (form->is_data_unread) {
        return scan_value(scan) || reader_malformed(form->reader, member_pointer(form, "data").text);
    }
    return read_data_now(form, first);
}

/* Reads data again, or at last, now that all members are known. */
static bool read_data_late(struct object_form *form) {
    bool is_due = form->is_data_unread || (form->is_data_before_dtype && form->has_dtype);
    if (!form->has_data || !is_due) {
        return true;
    }
    const char *behind = form->reader->scan.at;
    form->reader->scan.at = form->data_at;
    bool is_read = read_data_now(form, first_of_data(form));
    form->reader->scan.at = behind;
    return is_read;
}

/* The offset of element `index` of a flat array that has been read before. */
static const char *element_at(const struct object_form *form, size_t index) {
    const char *at = form->data_at + 1;
    for (size_t i = 0; i < index; i++) {
        at = memchr(at, ',', (size_t)(form->reader->scan.end - at));
        if (at == NULL) {
            return form->data_at;
        }
        at++;
    }
    struct scan scan = form->reader->scan;
    scan.at = at;
    scan_peek(&scan);
    return scan.at;
}

/* -- base64 -- */

/* The string holds escapes ("\/"): decodes a copy without them. */
static bool decode_escaped(struct object_form *form, const struct scan_text *text, unsigned char *to) {
    char *plain = arena_alloc(form->reader->arena, text->length + 1);
    if (plain == NULL) {
        return reader_out_of_memory(form->reader);
    }
    size_t length = scan_unescape(text, plain), read = 0;
    if (!base64_decode(plain, length, to, &form->bytes, &read) || read != length) {
        return reader_malformed_at(form->reader, member_pointer(form, "base64").text, text->text,
                                   "the string is not base64 (RFC 4648, padded)");
    }
    return true;
}

static bool decode_string(struct object_form *form, unsigned char *to) {
    struct scan *scan = &form->reader->scan;
    const char *start = scan->at + 1;
    size_t read = 0;
    bool is_base64 = base64_decode(start, (size_t)(scan->end - start), to, &form->bytes, &read);
    if (is_base64 && start + read < scan->end && start[read] == '"') {
        scan->at = start + read + 1;
        return true;
    }
    struct scan_text text;
    if (!scan_string(scan, "a string", &text)) {
        return reader_malformed(form->reader, member_pointer(form, "base64").text);
    }
    if (text.has_escapes) {
        return decode_escaped(form, &text, to);
    }
    return reader_malformed_at(form->reader, member_pointer(form, "base64").text, start + read,
                               "expected base64 (RFC 4648, padded)");
}

static bool read_base64(struct object_form *form) {
    struct reader *reader = form->reader;
    if (scan_peek(&reader->scan) != '"') {
        return reader_unexpected(reader, member_pointer(form, "base64").text, "a string of base64");
    }
    form->data_at = reader->scan.at + 1;
    unsigned char *to =
        arena_reserve(reader->arena, base64_decoded_bound((size_t)(reader->scan.end - reader->scan.at)));
    if (to == NULL) {
        return reader_out_of_memory(reader);
    }
    bool is_read = decode_string(form, to);
    arena_commit(reader->arena, is_read ? form->bytes : 0);
    form->flat.data = to;
    return is_read;
}

/* -- members -- */

static const struct object_member {
    const char *name;
    size_t flag; /* offset of its has_… */
    bool (*read)(struct object_form *form);
} members[] = {
    {"shape", offsetof(struct object_form, has_shape), read_shape},
    {"dtype", offsetof(struct object_form, has_dtype), read_dtype},
    {"data", offsetof(struct object_form, has_data), read_data},
    {"base64", offsetof(struct object_form, has_base64), read_base64},
};

static const struct object_member *find_member(const char *name, size_t length) {
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        if (strlen(members[i].name) == length && memcmp(members[i].name, name, length) == 0) {
            return &members[i];
        }
    }
    return NULL;
}

static bool fail_unknown(struct object_form *form, const struct scan_text *key) {
    char *name = arena_alloc(form->reader->arena, key->length + 1);
    if (name == NULL) {
        return reader_out_of_memory(form->reader);
    }
    struct pointer_text pointer = place_pointer(&(struct place){.base = form->pointer});
    problem_pointer_append(pointer.text, sizeof pointer.text, name, scan_unescape(key, name));
    problem_set(form->reader->problem, PROBLEM_INVALID, pointer.text,
                "a tensor object has shape, dtype, and data or base64: there is no such member");
    return false;
}

static bool read_null(struct scan *scan) {
    return scan_peek(scan) == 'n' && scan_value(scan);
}

static bool read_member(struct object_form *form, unsigned *seen) {
    struct scan *scan = &form->reader->scan;
    struct scan_text key;
    char plain[64];
    if (!scan_string(scan, "a string as the key", &key) || !scan_token(scan, ':', "':' behind the key")) {
        return reader_malformed(form->reader, form->pointer);
    }
    size_t length = key.length <= sizeof plain ? scan_unescape(&key, plain) : 0;
    const struct object_member *member = find_member(plain, length);
    if (member == NULL) {
        return fail_unknown(form, &key);
    }
    unsigned bit = 1U << (member - members);
    if (*seen & bit) {
        return fail(form, member->name, "the key is there twice");
    }
    *seen |= bit;
    if (read_null(scan)) {
        return true;
    }
    if (scan->fault != NULL) {
        return reader_malformed(form->reader, form->pointer);
    }
    if (!member->read(form)) {
        return false;
    }
    *((bool *)((char *)form + member->flag)) = true;
    return true;
}

/* Stands at '{'. */
static bool read_members(struct object_form *form) {
    struct scan *scan = &form->reader->scan;
    unsigned seen = 0;
    scan->at++;
    if (scan_peek(scan) == '}') {
        scan->at++;
        return true;
    }
    while (read_member(form, &seen)) {
        int next = scan_peek(scan);
        if (next != ',' && next != '}') {
            scan_expected(scan, "',' or '}'");
            return reader_malformed(form->reader, form->pointer);
        }
        scan->at++;
        if (next == '}') {
            return true;
        }
    }
    return false;
}

/* -- what they make together -- */

static bool check_members(struct object_form *form) {
    if (!form->has_shape) {
        return fail(form, NULL, "expected a shape beside the data, found none");
    }
    if (form->has_data == form->has_base64) {
        return fail(form, NULL,
                    form->has_data ? "expected data or base64, found both"
                                   : "expected data or base64 beside the shape, found neither");
    }
    return true;
}

static bool check_size(struct object_form *form, size_t *elements) {
    if (!attn_size_product(form->shape, (size_t)form->rank, elements)) {
        return fail(form, "shape", "the product of the axes overflows");
    }
    return *elements <= form->reader->max_elements || reader_too_many(form->reader, form->pointer);
}

static bool check_base64_length(struct object_form *form, size_t elements) {
    size_t element_bytes = attn_dtype_bytes(form->dtype);
    if (elements <= SIZE_MAX / element_bytes && form->bytes == elements * element_bytes) {
        return true;
    }
    problem_set(form->reader->problem, PROBLEM_INVALID, member_pointer(form, "base64").text,
                "expected %zu elements of %s by the shape, %zu bytes each, found %zu bytes", elements,
                attn_dtype_name(form->dtype), element_bytes, form->bytes);
    return false;
}

static bool check_data_length(struct object_form *form, size_t elements) {
    if (form->flat.shape[0] == elements) {
        return true;
    }
    problem_set(form->reader->problem, PROBLEM_INVALID, member_pointer(form, "data").text,
                "expected %zu entries by the shape, found %zu", elements, form->flat.shape[0]);
    return false;
}

/* Data of a dtype that the text was not read as are rounded to it first: float16 and bfloat16, and float32 where the
 * request is in double. */
static bool round_to_dtype(struct object_form *form, struct attn_view *view) {
    bool is_half = form->dtype == ATTN_FLOAT16 || form->dtype == ATTN_BFLOAT16;
    if (!form->has_dtype || !is_half || view->dtype != ATTN_FLOAT64) {
        return true;
    }
    size_t elements = attn_view_elements(view);
    void *data = arena_alloc(form->reader->arena, elements * attn_dtype_bytes(form->dtype));
    float *singles = data == NULL ? NULL : arena_alloc(form->reader->arena, elements * sizeof *singles);
    if (singles == NULL) {
        return reader_out_of_memory(form->reader);
    }
    struct attn_view half = attn_view_contiguous(data, form->dtype, view->rank, view->shape);
    struct attn_view single = attn_view_contiguous(singles, ATTN_FLOAT32, view->rank, view->shape);
    if (attn_view_convert(view, &half, NULL) != ATTN_OK || attn_view_convert(&half, &single, NULL) != ATTN_OK) {
        return fail(form, "dtype", "data of this dtype are not taken");
    }
    for (size_t i = 0; i < elements; i++) {
        if (isinf(singles[i]) && isfinite(((const double *)view->data)[i])) {
            return reader_malformed_at(form->reader, member_pointer(form, "data").text, element_at(form, i),
                                       "a number too large for its dtype");
        }
    }
    *view = single;
    return true;
}

/* Integers that were read as int64 but are a uint8 mask. */
static bool narrow_mask(struct object_form *form, struct attn_view *view) {
    if (form->dtype != ATTN_UINT8 || view->dtype != ATTN_INT64 || form->kind == FIELD_INTEGERS ||
        form->kind == FIELD_FLAGS) {
        return true;
    }
    size_t elements = attn_view_elements(view);
    unsigned char *bytes = arena_alloc(form->reader->arena, elements);
    if (bytes == NULL) {
        return reader_out_of_memory(form->reader);
    }
    for (size_t i = 0; i < elements; i++) {
        bytes[i] = (unsigned char)((const int64_t *)view->data)[i];
    }
    *view = attn_view_contiguous(bytes, ATTN_UINT8, view->rank, view->shape);
    return true;
}

static bool adapt(struct object_form *form, struct attn_view *view) {
    struct reader *reader = form->reader;
    size_t index = 0, width = attn_dtype_bytes(view->dtype);
    attn_dtype given = view->dtype;
    const char *member = form->has_data ? "data" : "base64";
    switch (adapt_view(reader->arena, form->kind, reader->dtype, view, &index)) {
    case ADAPT_OK:
        return true;
    case ADAPT_NO_MEMORY:
        return reader_out_of_memory(reader);
    case ADAPT_DTYPE:
        problem_set(reader->problem, PROBLEM_INVALID, member_pointer(form, form->has_dtype ? "dtype" : NULL).text,
                    "expected %s, found %s", adapt_dtypes(form->kind), attn_dtype_name(given));
        return false;
    case ADAPT_OVERFLOW:
        return reader_malformed_at(reader, member_pointer(form, member).text,
                                   form->has_data ? element_at(form, index) : form->data_at + index * width / 3 * 4,
                                   "a number too large for float32");
    case ADAPT_FRACTION:
        break;
    }
    problem_set(reader->problem, PROBLEM_INVALID, member_pointer(form, member).text,
                "expected integers within 64 bits, found another number as element %zu", index);
    return false;
}

static bool finish(struct object_form *form, struct attn_view *view) {
    size_t elements = 0;
    if (!check_members(form) || !check_size(form, &elements)) {
        return false;
    }
    bool fits = form->has_data ? check_data_length(form, elements) : check_base64_length(form, elements);
    if (!fits) {
        return false;
    }
    *view =
        attn_view_contiguous(form->flat.data, form->has_data ? form->flat.dtype : form->dtype, form->rank, form->shape);
    return round_to_dtype(form, view) && narrow_mask(form, view) && adapt(form, view);
}

bool tensor_read_object(struct reader *reader, enum field_kind kind, const char *pointer, struct attn_view *view) {
    struct object_form form = {.reader = reader, .kind = kind, .pointer = pointer, .dtype = ATTN_FLOAT32};
    return read_members(&form) && read_data_late(&form) && finish(&form, view);
}
