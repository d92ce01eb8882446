#include "server/codec/tensor_json.h"
#include "server/codec/elements.h"

/* Nested arrays on their way to a tensor. The first innermost row says the rank, the first array on each axis its
 * length; what comes later has to agree. */
struct nested {
    struct reader *reader;
    struct elements elements;
    int rank; /* 0: not known yet */
    size_t shape[ATTN_MAX_RANK];
    struct place place;
};

enum element_class tensor_element_class(const struct reader *reader, enum field_kind kind, int first) {
    bool is_boolean = first == 't' || first == 'f';
    switch (kind) {
    case FIELD_INTEGERS:
        return ELEMENTS_I64;
    case FIELD_FLAGS:
    case FIELD_PADDING:
        return is_boolean ? ELEMENTS_BOOL : ELEMENTS_ZERO_ONE;
    case FIELD_MASK:
        if (is_boolean) {
            return ELEMENTS_BOOL;
        }
        break;
    default:
        break;
    }
    return reader->dtype == ATTN_FLOAT64 ? ELEMENTS_F64 : ELEMENTS_F32;
}

/* The first byte of the first innermost element, looking past brackets and white space only. */
static int first_leaf(const struct scan *scan) {
    struct scan ahead = *scan;
    int first = scan_peek(&ahead);
    for (int level = 0; first == '[' && level <= ATTN_MAX_RANK; level++) {
        ahead.at++;
        first = scan_peek(&ahead);
    }
    return first;
}

static bool fail_invalid(struct nested *nested, const char *what) {
    problem_set(nested->reader->problem, PROBLEM_INVALID, place_pointer(&nested->place).text, "%s", what);
    return false;
}

/* The array at the present place has `length` entries: as many as its fellows? */
static bool check_length(struct nested *nested, size_t length) {
    size_t *expected = &nested->shape[nested->place.depth];
    if (*expected == 0) {
        *expected = length;
    }
    if (*expected == length) {
        return true;
    }
    problem_set(nested->reader->problem, PROBLEM_INVALID, place_pointer(&nested->place).text,
                "expected %zu entries, as in the arrays before it, found %zu: a tensor is rectangular", *expected,
                length);
    return false;
}

static bool read_innermost(struct nested *nested, size_t *length) {
    int rank = nested->place.depth + 1;
    if (nested->rank == 0) {
        nested->rank = rank;
    }
    if (nested->rank != rank) {
        nested->place.index[nested->place.depth++] = 0;
        return reader_unexpected(nested->reader, place_pointer(&nested->place).text,
                                 "an array, as deep as the ones before it");
    }
    size_t before = nested->elements.count;
    if (!elements_read_row(&nested->elements, &nested->place)) {
        return false;
    }
    *length = nested->elements.count - before;
    return true;
}

static bool read_array(struct nested *nested);

static bool read_arrays(struct nested *nested, size_t *length) {
    struct scan *scan = &nested->reader->scan;
    int level = nested->place.depth++;
    bool is_leaf_due = nested->rank != 0 && level + 1 >= nested->rank;
    for (*length = 0;; scan->at++) {
        nested->place.index[level] = *length;
        if (scan_peek(scan) != '[' || is_leaf_due) {
            return reader_unexpected(nested->reader, place_pointer(&nested->place).text,
                                     is_leaf_due ? "a number, as in the arrays before it"
                                                 : "an array, as the ones before it");
        }
        if (!read_array(nested)) {
            return false;
        }
        ++*length;
        int next = scan_peek(scan);
        if (next == ']') {
            break;
        }
        if (next != ',') {
            scan_expected(scan, "',' or ']'");
            return reader_malformed(nested->reader, nested->place.base);
        }
    }
    nested->place.depth--;
    return true;
}

/* Stands at '['. Recursion is as deep as ATTN_MAX_RANK at most. */
static bool read_array(struct nested *nested) {
    struct scan *scan = &nested->reader->scan;
    if (nested->place.depth == ATTN_MAX_RANK) {
        problem_set(nested->reader->problem, PROBLEM_INVALID, nested->place.base,
                    "expected at most %d axes, found arrays nested deeper", ATTN_MAX_RANK);
        return false;
    }
    scan->at++;
    int first = scan_peek(scan);
    if (first == ']') {
        return fail_invalid(nested, "every axis has at least 1 entry, found an empty array");
    }
    size_t length = 0;
    bool is_read = first == '[' ? read_arrays(nested, &length) : read_innermost(nested, &length);
    if (!is_read) {
        return false;
    }
    scan->at++;
    return check_length(nested, length);
}

static bool read_nested(struct reader *reader, enum field_kind kind, const char *pointer, struct attn_view *view) {
    struct nested nested = {.reader = reader, .place = {.base = pointer}};
    enum element_class element_class = tensor_element_class(reader, kind, first_leaf(&reader->scan));
    if (!elements_begin(&nested.elements, reader, element_class, reader->max_elements)) {
        return false;
    }
    bool is_read = read_array(&nested);
    elements_commit(&nested.elements);
    if (is_read) {
        *view = attn_view_contiguous(nested.elements.data, elements_dtype(element_class), nested.rank, nested.shape);
    }
    return is_read;
}

bool tensor_read_json(struct reader *reader, enum field_kind kind, const char *pointer, struct attn_view *view) {
    int first = scan_peek(&reader->scan);
    if (first == '[') {
        return read_nested(reader, kind, pointer, view);
    }
    if (first == '{') {
        return tensor_read_object(reader, kind, pointer, view);
    }
    return reader_unexpected(reader, pointer, "a tensor (nested arrays, or an object with shape and data or base64)");
}
