#include "server/http/router.h"
#include <stdio.h>
#include <string.h>

#define MAX_PARAMETERS 4

/** Matches the rest of a pattern; a {…} takes one segment, or as many more as it needs: which of them are an id is
 * for the route to say, which names what is wrong with it. */
static bool matches(const char *pattern, const char *path, struct route_span *parameters, size_t index) {
    while (*pattern != '{') {
        if (*pattern != *path) {
            return false;
        }
        if (*pattern == '\0') {
            return true;
        }
        pattern++;
        path++;
    }
    const char *rest = strchr(pattern, '}');
    if (rest == NULL || index >= MAX_PARAMETERS || *path == '/') {
        return false;
    }
    size_t length = strcspn(path, "/");
    for (;;) {
        if (length > 0 && path[length - 1] != '/' && matches(rest + 1, path + length, parameters, index + 1)) {
            parameters[index] = (struct route_span){path, length};
            return true;
        }
        if (path[length] != '/') {
            return false;
        }
        length += 1 + strcspn(path + length + 1, "/");
    }
}

static void add_allowed(char *allow, size_t capacity, const char *method) {
    size_t used = strlen(allow);
    const char *with_head = strcmp(method, "GET") == 0 ? ", HEAD" : "";
    snprintf(allow + used, capacity - used, "%s%s%s", used > 0 ? ", " : "", method, with_head);
}

struct route_match route_find(const struct route *table, size_t count, const char *method, const char *path,
                              bool admin_only) {
    struct route_match found = {0};
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    for (size_t i = 0; i < count; i++) {
        struct route_span parameters[MAX_PARAMETERS] = {{0}};
        if ((admin_only && !table[i].on_admin) || !matches(table[i].pattern, path, parameters, 0)) {
            continue;
        }
        found.path_exists = true;
        if (strcmp(table[i].method, wanted) == 0) {
            found.route = &table[i];
            memcpy(found.parameters, parameters, sizeof parameters);
            return found;
        }
        add_allowed(found.allow, sizeof found.allow, table[i].method);
    }
    if (found.path_exists) {
        add_allowed(found.allow, sizeof found.allow, "OPTIONS");
    }
    return found;
}
