#include "server/codec/reader.h"
#include <stdio.h>
#include <string.h>

struct pointer_text place_pointer(const struct place *place) {
    struct pointer_text pointer;
    snprintf(pointer.text, sizeof pointer.text, "%s", place->base);
    if (place->member != NULL) {
        problem_pointer_append(pointer.text, sizeof pointer.text, place->member, strlen(place->member));
    }
    for (int i = 0; i < place->depth; i++) {
        char digits[24];
        int length = snprintf(digits, sizeof digits, "%zu", place->index[i]);
        problem_pointer_append(pointer.text, sizeof pointer.text, digits, (size_t)length);
    }
    return pointer;
}

bool reader_malformed_at(struct reader *reader, const char *pointer, const char *at, const char *why) {
    size_t offset = (size_t)(at - reader->scan.text);
    problem_set(reader->problem, PROBLEM_MALFORMED, pointer, "%s, at byte %zu", why, offset);
    reader->problem->has_offset = true;
    reader->problem->offset = offset;
    return false;
}

bool reader_malformed(struct reader *reader, const char *pointer) {
    return reader_malformed_at(reader, pointer, reader->scan.fault, reader->scan.why);
}

static const char *name_of_value(int first) {
    switch (first) {
    case '[':
        return "an array";
    case '{':
        return "an object";
    case '"':
        return "a string";
    case 't':
    case 'f':
        return "a boolean";
    case 'n':
        return "null";
    default:
        return "a number";
    }
}

bool reader_unexpected(struct reader *reader, const char *pointer, const char *expected) {
    int first = scan_peek(&reader->scan);
    const char *start = reader->scan.at;
    if (!scan_value(&reader->scan)) {
        return reader_malformed(reader, pointer);
    }
    const char *name = name_of_value(first);
    size_t length = (size_t)(reader->scan.at - start);
    bool is_short = first != '[' && first != '{' && first != 'n' && length <= 40;
    problem_set(reader->problem, PROBLEM_INVALID, pointer, "expected %s, found %s%s%.*s", expected, name,
                is_short ? " " : "", is_short ? (int)length : 0, start);
    return false;
}

bool reader_out_of_memory(struct reader *reader) {
    problem_set(reader->problem, PROBLEM_BUSY, NULL, "there is no memory for the request");
    reader->problem->retry_after_s = 1;
    return false;
}

bool reader_too_many(struct reader *reader, const char *pointer) {
    problem_set(reader->problem, PROBLEM_TOO_LARGE, pointer, "expected at most %zu elements in one tensor, found more",
                reader->max_elements);
    return false;
}
