/**
 * @file json_value.h
 * Reads small JSON values exactly, each with a problem that says where it stands, what was expected and what was found.
 */
#ifndef SERVER_ROUTES_JSON_VALUE_H
#define SERVER_ROUTES_JSON_VALUE_H

#include "server/base/problem.h"
#include <jansson.h>

/** A table of names by index; name_of(index) for index below count. */
struct json_names {
    const char *(*name_of)(int index);
    int count;
};

/** @return "a string", "an array" … for messages. */
const char *json_value_kind(const json_t *json);

/** An exact integer (2 and 2.0, not 2.5) from minimum to maximum. @return false with the problem filled. */
bool json_value_integer(const json_t *json, const char *pointer, long long minimum, long long maximum, long long *value,
                        struct problem *problem);
/** A count: an exact integer from `minimum` up. */
bool json_value_size(const json_t *json, const char *pointer, size_t minimum, size_t *value, struct problem *problem);
/** Any finite number. */
bool json_value_number(const json_t *json, const char *pointer, double *value, struct problem *problem);
bool json_value_bool(const json_t *json, const char *pointer, bool *value, struct problem *problem);
/** A string. @return NULL with the problem filled. */
const char *json_value_text(const json_t *json, const char *pointer, struct problem *problem);
/** One of the names; the problem lists them. */
bool json_value_name(const json_t *json, const char *pointer, struct json_names names, int *index,
                     struct problem *problem);
/** An array of different names, not empty, as a set of bits 1 << index. */
bool json_value_name_set(const json_t *json, const char *pointer, struct json_names names, unsigned *set,
                         struct problem *problem);
/** [start, end] with 0 <= start < end. */
bool json_value_range(const json_t *json, const char *pointer, size_t range[2], struct problem *problem);
/** An array with something in it. */
bool json_value_filled_array(const json_t *json, const char *pointer, struct problem *problem);
/** "pointer/index" into `to`. */
void json_value_at(char *to, size_t capacity, const char *pointer, size_t index);

#endif
