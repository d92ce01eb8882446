#include "server/codec/elements.h"
#include "server/codec/number.h"
#include <math.h>
#include <string.h>

struct class_row {
    attn_dtype dtype;
    /* Reads at least one element that starts here, with `first` as its first byte. */
    bool (*read)(struct elements *elements, const struct place *row, size_t row_start, int first);
};

static struct pointer_text element_pointer(const struct elements *elements, const struct place *row, size_t row_start) {
    struct place place = *row;
    place.index[place.depth++] = elements->count - row_start;
    return place_pointer(&place);
}

static bool starts_number(int first) {
    return first == '-' || (first >= '0' && first <= '9');
}

/* -- floating -- */

/* "NaN", "Infinity" or "-Infinity". */
static bool read_not_finite(struct elements *elements, double *value) {
    static const struct {
        const char *text;
        double value;
    } names[] = {{"NaN", (double)NAN}, {"Infinity", (double)INFINITY}, {"-Infinity", -(double)INFINITY}};
    struct scan before = elements->reader->scan;
    struct scan_text text;
    char plain[64];
    if (!scan_string(&elements->reader->scan, "a string", &text)) {
        elements->reader->scan.at = before.at;
        return false;
    }
    size_t length = text.length <= sizeof plain ? scan_unescape(&text, plain) : 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (length == strlen(names[i].text) && memcmp(plain, names[i].text, length) == 0) {
            *value = names[i].value;
            return true;
        }
    }
    elements->reader->scan.at = before.at;
    return false;
}

/* A run of numbers stopped at something else, behind a comma. @return whether reading can go on there. */
static bool check_run(struct elements *elements, enum number_status status, size_t count, const struct place *row,
                      size_t row_start) {
    struct reader *reader = elements->reader;
    if (count > 0 && status != NUMBER_OVERFLOW) {
        elements->passed_comma = true;
        return true;
    }
    /* made only here: where numbers and "-Infinity" alternate, runs end at every other element */
    const struct pointer_text place = element_pointer(elements, row, row_start);
    const char *pointer = place.text;
    if (status == NUMBER_OVERFLOW) {
        return reader_malformed_at(reader, pointer, reader->scan.at,
                                   elements->element_class == ELEMENTS_F32 ? "a number too large for float32"
                                                                           : "a number too large for float64");
    }
    if (!scan_value(&reader->scan)) {
        return reader_malformed(reader, pointer);
    }
    return reader_malformed_at(reader, pointer, reader->scan.at, "expected a number");
}

static bool read_f32(struct elements *elements, const struct place *row, size_t row_start, int first) {
    float *values = (float *)elements->data + elements->count;
    struct scan *scan = &elements->reader->scan;
    double special;
    if (first == '"' && read_not_finite(elements, &special)) {
        *values = (float)special;
        elements->count++;
        return true;
    }
    if (!starts_number(first)) {
        return reader_unexpected(elements->reader, element_pointer(elements, row, row_start).text,
                                 "a number, \"NaN\", \"Infinity\" or \"-Infinity\"");
    }
    size_t count = 0;
    enum number_status status =
        number_read_run_f32(scan->at, scan->end, values, elements->capacity - elements->count, &count, &scan->at);
    elements->count += count;
    return status == NUMBER_OK || check_run(elements, status, count, row, row_start);
}

static bool read_f64(struct elements *elements, const struct place *row, size_t row_start, int first) {
    double *values = (double *)elements->data + elements->count;
    struct scan *scan = &elements->reader->scan;
    if (first == '"' && read_not_finite(elements, values)) {
        elements->count++;
        return true;
    }
    if (!starts_number(first)) {
        return reader_unexpected(elements->reader, element_pointer(elements, row, row_start).text,
                                 "a number, \"NaN\", \"Infinity\" or \"-Infinity\"");
    }
    size_t count = 0;
    enum number_status status =
        number_read_run_f64(scan->at, scan->end, values, elements->capacity - elements->count, &count, &scan->at);
    elements->count += count;
    return status == NUMBER_OK || check_run(elements, status, count, row, row_start);
}

/* -- exact -- */

static bool read_i64(struct elements *elements, const struct place *row, size_t row_start, int first) {
    struct scan *scan = &elements->reader->scan;
    int64_t value = 0;
    const char *after = NULL;
    if (!starts_number(first) || number_read_i64(scan->at, scan->end, &value, &after) != NUMBER_OK ||
        value < elements->integer_min || value > elements->integer_max) {
        const char *expected = elements->integer_min == INT64_MIN ? "an integer within 64 bits"
                                                                  : "an integer within the range of the dtype";
        return reader_unexpected(elements->reader, element_pointer(elements, row, row_start).text, expected);
    }
    ((int64_t *)elements->data)[elements->count++] = value;
    scan->at = after;
    return true;
}

static bool read_bool(struct elements *elements, const struct place *row, size_t row_start, int first) {
    struct scan *scan = &elements->reader->scan;
    size_t left = (size_t)(scan->end - scan->at);
    bool is_true = left >= 4 && memcmp(scan->at, "true", 4) == 0;
    bool is_false = left >= 5 && memcmp(scan->at, "false", 5) == 0;
    if (!is_true && !is_false) {
        const char *expected = starts_number(first) ? "true or false, as in the mask's first entry" : "true or false";
        return reader_unexpected(elements->reader, element_pointer(elements, row, row_start).text, expected);
    }
    ((unsigned char *)elements->data)[elements->count++] = is_true;
    scan->at += is_true ? 4 : 5;
    return true;
}

static bool read_zero_one(struct elements *elements, const struct place *row, size_t row_start, int first) {
    struct scan *scan = &elements->reader->scan;
    int64_t value = -1;
    const char *after = NULL;
    if (!starts_number(first) || number_read_i64(scan->at, scan->end, &value, &after) != NUMBER_OK ||
        (value != 0 && value != 1)) {
        return reader_unexpected(elements->reader, element_pointer(elements, row, row_start).text,
                                 "0 or 1 (numbers that are to be added are given as an object with a floating dtype)");
    }
    ((unsigned char *)elements->data)[elements->count++] = (unsigned char)value;
    scan->at = after;
    return true;
}

/* -- rows -- */

static const struct class_row classes[ELEMENTS_CLASSES] = {
    [ELEMENTS_F32] = {ATTN_FLOAT32, read_f32},        [ELEMENTS_F64] = {ATTN_FLOAT64, read_f64},
    [ELEMENTS_I64] = {ATTN_INT64, read_i64},          [ELEMENTS_BOOL] = {ATTN_BOOL, read_bool},
    [ELEMENTS_ZERO_ONE] = {ATTN_BOOL, read_zero_one},
};

attn_dtype elements_dtype(enum element_class element_class) {
    return classes[element_class].dtype;
}

bool elements_begin(struct elements *elements, struct reader *reader, enum element_class element_class, size_t most) {
    /* an element takes a byte and its separator another */
    size_t left = (size_t)(reader->scan.end - reader->scan.at);
    size_t capacity = left / 2 + 1;
    capacity = capacity < most ? capacity : most;
    size_t bytes = attn_dtype_bytes(elements_dtype(element_class));
    void *data = capacity <= SIZE_MAX / bytes ? arena_reserve(reader->arena, capacity * bytes) : NULL;
    *elements = (struct elements){.reader = reader,
                                  .element_class = element_class,
                                  .integer_min = INT64_MIN,
                                  .integer_max = INT64_MAX,
                                  .data = data,
                                  .capacity = capacity};
    return data != NULL || reader_out_of_memory(reader);
}

bool elements_read_row(struct elements *elements, const struct place *place) {
    struct scan *scan = &elements->reader->scan;
    size_t row_start = elements->count;
    for (;;) {
        int first = scan_peek(scan);
        if (elements->count == elements->capacity) {
            return reader_too_many(elements->reader, place->base);
        }
        if (!classes[elements->element_class].read(elements, place, row_start, first)) {
            return false;
        }
        if (elements->passed_comma) {
            elements->passed_comma = false;
            continue;
        }
        int next = scan_peek(scan);
        if (next == ']') {
            return true;
        }
        if (next != ',') {
            scan_expected(scan, "',' or ']'");
            return reader_malformed(elements->reader, place_pointer(place).text);
        }
        scan->at++;
    }
}

void elements_commit(struct elements *elements) {
    arena_commit(elements->reader->arena, elements->count * attn_dtype_bytes(elements_dtype(elements->element_class)));
}
