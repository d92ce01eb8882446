/* Ids of models: what may stand in a URL and name a file that cannot leave the models directory. */
#include "server/registry/registry.h"
#include <string.h>

#define PART_MOST 128
#define ALPHANUMERIC "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static bool is_part(const char *part, size_t length) {
    return length >= 1 && length <= PART_MOST && strspn(part, ALPHANUMERIC) >= 1 &&
           strspn(part, ALPHANUMERIC "._-") >= length;
}

/* Last parts of an id that would be taken for something else in a URL. */
static bool is_reserved_part(const char *part) {
    static const char *const reserved[] = {"config", "infer", "load", "unload", "ready", "stats", "versions"};
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (strcmp(part, reserved[i]) == 0)
            return true;
    return false;
}

bool registry_id_check(const char *id, const char *pointer, struct problem *problem) {
    const char *slash = strchr(id, '/');
    const char *last = slash != NULL ? slash + 1 : id;
    if ((slash != NULL && !is_part(id, (size_t)(slash - id))) || !is_part(last, strlen(last))) {
        problem_set(problem, PROBLEM_INVALID, pointer,
                    "a model's id is name or org/name, each of 1 to %d letters, digits, '.', '_' and '-', beginning "
                    "with a letter or digit; found \"%.80s\"",
                    PART_MOST, id);
        return false;
    }
    if (strcmp(id, "attention") == 0 || is_reserved_part(last)) {
        problem_set(problem, PROBLEM_INVALID, pointer, "the model id \"%s\" is reserved", id);
        return false;
    }
    return true;
}
