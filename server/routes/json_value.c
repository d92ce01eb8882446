#include "server/routes/json_value.h"
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

const char *json_value_kind(const json_t *json) {
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    default:
        return "null";
    }
}

void json_value_at(char *to, size_t capacity, const char *pointer, size_t index) {
    snprintf(to, capacity, "%s/%zu", pointer, index);
}

static bool expected(const json_t *json, const char *pointer, const char *what, struct problem *problem) {
    problem_set(problem, PROBLEM_INVALID, pointer, "expected %s, found %s", what, json_value_kind(json));
    return false;
}

/** Whether a real is an integer that a long long holds. */
static bool is_whole(double value) {
    return value >= -9007199254740992.0 && value <= 9007199254740992.0 && floor(value) == value;
}

bool json_value_integer(const json_t *json, const char *pointer, long long minimum, long long maximum, long long *value,
                        struct problem *problem) {
    if (!json_is_number(json)) {
        return expected(json, pointer, "an integer", problem);
    }
    if (json_is_real(json) && !is_whole(json_real_value(json))) {
        problem_set(problem, PROBLEM_INVALID, pointer, "expected an integer, found %.17g", json_real_value(json));
        return false;
    }
    *value = json_is_real(json) ? (long long)json_real_value(json) : (long long)json_integer_value(json);
    if (*value >= minimum && *value <= maximum) {
        return true;
    }
    if (maximum == LLONG_MAX) {
        problem_set(problem, PROBLEM_INVALID, pointer, "expected an integer of %lld or more, found %lld", minimum,
                    *value);
    } else {
        problem_set(problem, PROBLEM_INVALID, pointer, "expected an integer from %lld to %lld, found %lld", minimum,
                    maximum, *value);
    }
    return false;
}

bool json_value_size(const json_t *json, const char *pointer, size_t minimum, size_t *value, struct problem *problem) {
    long long integer;
    if (!json_value_integer(json, pointer, (long long)minimum, LLONG_MAX, &integer, problem)) {
        return false;
    }
    *value = (size_t)integer;
    return true;
}

bool json_value_number(const json_t *json, const char *pointer, double *value, struct problem *problem) {
    if (!json_is_number(json)) {
        return expected(json, pointer, "a finite number", problem);
    }
    *value = json_number_value(json);
    return true;
}

bool json_value_bool(const json_t *json, const char *pointer, bool *value, struct problem *problem) {
    if (!json_is_boolean(json)) {
        return expected(json, pointer, "true or false", problem);
    }
    *value = json_is_true(json);
    return true;
}

const char *json_value_text(const json_t *json, const char *pointer, struct problem *problem) {
    if (!json_is_string(json)) {
        expected(json, pointer, "a string", problem);
        return NULL;
    }
    return json_string_value(json);
}

/** Writes `"average", "max"` for all names of a table. */
static void list_names(struct json_names names, char *text, size_t capacity) {
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < names.count && used < capacity; i++) {
        used += (size_t)snprintf(text + used, capacity - used, "%s\"%s\"", i > 0 ? ", " : "", names.name_of(i));
    }
}

/** A string may hold NULs: it is told from a name by its length too. */
static bool is_text(const json_t *json, const char *name) {
    return json_string_length(json) == strlen(name) && memcmp(json_string_value(json), name, strlen(name)) == 0;
}

bool json_value_name(const json_t *json, const char *pointer, struct json_names names, int *index,
                     struct problem *problem) {
    char list[320];
    for (int i = 0; json_is_string(json) && i < names.count; i++) {
        if (is_text(json, names.name_of(i))) {
            *index = i;
            return true;
        }
    }
    list_names(names, list, sizeof list);
    if (json_is_string(json)) {
        problem_set(problem, PROBLEM_INVALID, pointer, "expected one of %s, found \"%.60s\"", list,
                    json_string_value(json));
    } else {
        problem_set(problem, PROBLEM_INVALID, pointer, "expected one of %s, found %s", list, json_value_kind(json));
    }
    return false;
}

bool json_value_name_set(const json_t *json, const char *pointer, struct json_names names, unsigned *set,
                         struct problem *problem) {
    *set = 0;
    if (!json_value_filled_array(json, pointer, problem)) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(json); i++) {
        char place[64];
        int index;
        json_value_at(place, sizeof place, pointer, i);
        if (!json_value_name(json_array_get(json, i), place, names, &index, problem)) {
            return false;
        }
        if ((*set & (1U << (unsigned)index)) != 0) {
            problem_set(problem, PROBLEM_INVALID, place, "\"%s\" is there twice", names.name_of(index));
            return false;
        }
        *set |= (1U << (unsigned)index);
    }
    return true;
}

bool json_value_range(const json_t *json, const char *pointer, size_t range[2], struct problem *problem) {
    char place[128];
    if (!json_is_array(json) || json_array_size(json) != 2) {
        problem_set(problem, PROBLEM_INVALID, pointer, "expected [start, end] with 0 <= start < end, found %s",
                    json_is_array(json) ? "an array of another length" : json_value_kind(json));
        return false;
    }
    for (size_t i = 0; i < 2; i++) {
        json_value_at(place, sizeof place, pointer, i);
        if (!json_value_size(json_array_get(json, i), place, 0, &range[i], problem)) {
            return false;
        }
    }
    if (range[0] >= range[1]) {
        problem_set(problem, PROBLEM_INVALID, pointer, "expected [start, end] with start < end, found [%zu, %zu]",
                    range[0], range[1]);
        return false;
    }
    return true;
}

bool json_value_filled_array(const json_t *json, const char *pointer, struct problem *problem) {
    if (!json_is_array(json)) {
        return expected(json, pointer, "an array", problem);
    }
    if (json_array_size(json) == 0) {
        problem_set(problem, PROBLEM_INVALID, pointer, "expected at least one entry, found an empty array");
        return false;
    }
    return true;
}
