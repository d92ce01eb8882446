#include "server/base/problem.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct problem_type {
    int status;
    const char *urn, *title;
};

static const struct problem_type types[PROBLEM_COUNT] = {
#define PROBLEM_ROW(id, status, urn, title) [id] = {status, "urn:attnd:problem:" urn, title},
    PROBLEM_TABLE(PROBLEM_ROW)
#undef PROBLEM_ROW
};

static const struct problem_type *type_of(enum problem_id id) {
    return &types[(unsigned)id < PROBLEM_COUNT ? id : PROBLEM_INTERNAL];
}

int problem_status(enum problem_id id) {
    return type_of(id)->status;
}

const char *problem_urn(enum problem_id id) {
    return type_of(id)->urn;
}

const char *problem_title(enum problem_id id) {
    return type_of(id)->title;
}

/* Where text was cut to fit, half a UTF-8 sequence may stand at its end: takes it away. */
static void trim_cut_utf8(char *text) {
    size_t length = strlen(text), tail = 0;
    while (tail < 3 && tail < length && ((unsigned char)text[length - 1 - tail] & 0xC0) == 0x80) {
        tail++;
    }
    if (tail == length) {
        return;
    }
    unsigned char lead = (unsigned char)text[length - 1 - tail];
    size_t needs = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC0 ? 1 : 0;
    if (needs > tail) {
        text[length - 1 - tail] = '\0';
    }
}

static void copy_cut(char *to, size_t capacity, const char *from) {
    int length = snprintf(to, capacity, "%s", from);
    if (length < 0 || (size_t)length >= capacity) {
        trim_cut_utf8(to);
    }
}

void problem_set(struct problem *problem, enum problem_id id, const char *pointer, const char *format, ...) {
    char detail[sizeof problem->detail];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    if (length < 0) {
        detail[0] = '\0';
    } else if ((size_t)length >= sizeof detail) {
        trim_cut_utf8(detail);
    }
    char place[sizeof problem->pointer];
    copy_cut(place, sizeof place, pointer != NULL ? pointer : "");
    memset(problem, 0, sizeof *problem);
    problem->id = id;
    memcpy(problem->pointer, place, sizeof place);
    memcpy(problem->detail, detail, sizeof detail);
}

static enum problem_id id_of(attn_status status) {
    switch (status) {
    case ATTN_OK:
        return PROBLEM_NONE;
    case ATTN_ESHAPE:
    case ATTN_EDTYPE:
    case ATTN_ERANGE:
    case ATTN_ECONFLICT:
        return PROBLEM_INVALID;
    case ATTN_ELIMIT:
        return PROBLEM_TOO_LARGE;
    case ATTN_ENOMEM:
        return PROBLEM_BUSY;
    case ATTN_ECANCELLED:
        return PROBLEM_DEADLINE;
    case ATTN_EFORMAT:
        return PROBLEM_MALFORMED;
    case ATTN_EIO:
        break;
    }
    return PROBLEM_INTERNAL;
}

void problem_from_attn(struct problem *problem, const struct attn_error *error) {
    char pointer[sizeof problem->pointer] = "";
    if (error->status == ATTN_EFORMAT && error->field[0] != '\0') {
        /* a tensor's name in a file: one token, whatever is in it */
        problem_pointer_append(pointer, sizeof pointer, error->field, strlen(error->field));
    } else if (error->field[0] != '\0') {
        snprintf(pointer, sizeof pointer, "/%s", error->field);
    }
    if (error->status != ATTN_EFORMAT) {
        problem_set(problem, id_of(error->status), pointer, "%s", error->message);
    } else {
        problem_set(problem, PROBLEM_MALFORMED, pointer, "%s, at byte %zu", error->message, error->offset);
        problem->has_offset = true;
        problem->offset = error->offset;
    }
    if (error->status == ATTN_ENOMEM) {
        problem->retry_after_s = 1;
    }
}

void problem_pointer_append(char *pointer, size_t capacity, const char *token, size_t length) {
    size_t at = strlen(pointer);
    if (at + 1 >= capacity) {
        return;
    }
    pointer[at++] = '/';
    bool is_cut = false;
    for (size_t i = 0; i < length && !is_cut; i++) {
        char code = token[i] == '~' ? '0' : token[i] == '/' ? '1' : '\0';
        size_t needs = code != '\0' ? 2 : 1;
        is_cut = at + needs >= capacity;
        if (is_cut) {
            break;
        }
        pointer[at++] = code != '\0' ? '~' : token[i];
        if (code != '\0') {
            pointer[at++] = code;
        }
    }
    pointer[at] = '\0';
    if (is_cut) {
        trim_cut_utf8(pointer);
    }
}
