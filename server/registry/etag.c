#include "server/registry/etag.h"
#include <string.h>

static const char *skip_space(const char *at) {
    return at + strspn(at, " \t");
}

/* One tag: its opaque part between the quotes. @return what is behind it, or NULL. */
static const char *read_tag(const char *at, const char **opaque, size_t *length, bool *is_weak) {
    *is_weak = strncmp(at, "W/", 2) == 0;
    at += *is_weak ? 2 : 0;
    if (*at != '"')
        return NULL;
    *opaque = ++at;
    while ((unsigned char)*at > ' ' && *at != '"' && *at != 0x7F)
        at++;
    *length = (size_t)(at - *opaque);
    return *at == '"' ? at + 1 : NULL;
}

enum etag_result etag_compare(const char *list, const char *opaque, bool is_weak) {
    bool matches = false, has_tag = false;
    const char *at = skip_space(list);
    if (*at == '*')
        return *skip_space(at + 1) != '\0' ? ETAG_MALFORMED : opaque != NULL ? ETAG_MATCHES : ETAG_DIFFERS;
    for (;;) {
        const char *tag;
        size_t length;
        bool tag_is_weak;
        for (at = skip_space(at); *at == ','; at = skip_space(at + 1)) /* RFC 9110, section 5.6.1: empty elements */
            continue;
        if (*at == '\0')
            break;
        if ((at = read_tag(at, &tag, &length, &tag_is_weak)) == NULL)
            return ETAG_MALFORMED;
        has_tag = true;
        if (opaque != NULL && opaque[0] != '\0' && (is_weak || !tag_is_weak) && strlen(opaque) == length &&
            memcmp(opaque, tag, length) == 0)
            matches = true;
        at = skip_space(at);
        if (*at != '\0' && *at != ',')
            return ETAG_MALFORMED;
    }
    return !has_tag ? ETAG_MALFORMED : matches ? ETAG_MATCHES : ETAG_DIFFERS;
}

static bool holds(const char *name, const char *list, const char *opaque, bool wants_match, struct problem *problem) {
    if (list == NULL)
        return true;
    enum etag_result result = etag_compare(list, opaque, !wants_match);
    if (result == ETAG_MALFORMED) {
        problem_set(problem, PROBLEM_BAD_HEADER, NULL, "%s is * or a list of quoted tags; found %.200s", name, list);
        return false;
    }
    if ((result == ETAG_MATCHES) == wants_match)
        return true;
    if (opaque == NULL)
        problem_set(problem, PROBLEM_PRECONDITION, NULL, "%s does not hold: there is no such model", name);
    else
        problem_set(problem, PROBLEM_PRECONDITION, NULL, "%s does not hold: the model's tag is \"%s\"", name, opaque);
    return false;
}

bool etag_condition_holds(const struct registry_condition *condition, const char *opaque, struct problem *problem) {
    return condition == NULL || (holds("If-Match", condition->if_match, opaque, true, problem) &&
                                 holds("If-None-Match", condition->if_none_match, opaque, false, problem));
}
