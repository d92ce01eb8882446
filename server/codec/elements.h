/**
 * @file elements.h
 * Runs of a JSON array's innermost values, read straight into the memory that is computed with.
 */
#ifndef SERVER_CODEC_ELEMENTS_H
#define SERVER_CODEC_ELEMENTS_H

#include "server/codec/reader.h"
#include <stdint.h>

/** How elements are written in the text, and kept. */
enum element_class {
    ELEMENTS_F32,      /**< numbers or "NaN", "Infinity", "-Infinity" */
    ELEMENTS_F64,      /**< the same, in double */
    ELEMENTS_I64,      /**< exact integers within [integer_min, integer_max] */
    ELEMENTS_BOOL,     /**< true or false, one byte each */
    ELEMENTS_ZERO_ONE, /**< 0 or 1, one byte each */
    ELEMENTS_CLASSES
};

struct elements {
    struct reader *reader;
    enum element_class element_class;
    int64_t integer_min, integer_max;
    void *data; /**< an open reservation of the arena */
    size_t count, capacity;
    bool passed_comma; /**< the run before ended behind a comma */
};

/** @return the dtype that elements of the class are kept in. */
attn_dtype elements_dtype(enum element_class element_class);

/** Opens a reservation for all that can still follow in the text, `most` elements at most. */
bool elements_begin(struct elements *elements, struct reader *reader, enum element_class element_class, size_t most);

/**
 * Reads from the first element of an array to its ']', which is left.
 * @param place the array's place; the index of the element at fault is added to it
 */
bool elements_read_row(struct elements *elements, const struct place *place);

/** Closes the reservation. */
void elements_commit(struct elements *elements);

#endif
