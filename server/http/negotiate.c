#include "server/http/negotiate.h"
#include <string.h>
#include <strings.h>

/** One element of a list: its text without parameters, and its weight in thousandths. */
struct element {
    const char *text;
    size_t length;
    int weight;
};

static const char *skip_blanks(const char *at) {
    return at + strspn(at, " \t");
}

/** Reads 0.ddd or 1.000. @return thousandths; a weight that is none counts as 0. */
static int read_weight(const char *text) {
    if (*text != '0' && *text != '1') {
        return 0;
    }
    int weight = (*text - '0') * 1000, unit = 100;
    for (text += text[1] == '.' ? 2 : 1; *text >= '0' && *text <= '9' && unit > 0; text++, unit /= 10) {
        weight += (*text - '0') * unit;
    }
    return weight > 1000 ? 1000 : weight;
}

/** Reads the next element of a list. @return where the next one begins, or NULL at the end. */
static const char *next_element(const char *at, struct element *element) {
    at += strspn(at, " \t,");
    if (*at == '\0') {
        return NULL;
    }
    element->text = at;
    element->length = strcspn(at, ";, \t");
    element->weight = 1000;
    at = skip_blanks(at + element->length);
    while (*at == ';') {
        at = skip_blanks(at + 1);
        if ((at[0] == 'q' || at[0] == 'Q') && at[1] == '=') {
            element->weight = read_weight(at + 2);
        }
        at += strcspn(at, ";,");
    }
    return at + strcspn(at, ",");
}

/** How closely a range names an offer: 3 exactly, 2 by its type, 1 as any, 0 not at all. */
static int closeness(const struct element *range, const char *offer) {
    size_t type = strcspn(offer, "/");
    if (strlen(offer) == range->length && strncasecmp(range->text, offer, range->length) == 0) {
        return 3;
    }
    if (range->length == type + 2 && strncasecmp(range->text, offer, type + 1) == 0 && range->text[type + 1] == '*') {
        return 2;
    }
    return range->length == 3 && memcmp(range->text, "*/*", 3) == 0 ? 1 : 0;
}

static int weight_of(const char *accept, const char *offer) {
    struct element range;
    int best = 0, weight = 0;
    while ((accept = next_element(accept, &range)) != NULL) {
        int close = closeness(&range, offer);
        if (close > best) {
            best = close;
            weight = range.weight;
        }
    }
    return weight;
}

int negotiate_media(const char *accept, const char *const *offers, size_t count) {
    int best = -1, best_weight = 0;
    if (accept == NULL || *skip_blanks(accept) == '\0') {
        return count > 0 ? 0 : -1;
    }
    for (size_t i = 0; i < count; i++) {
        int weight = weight_of(accept, offers[i]);
        if (weight > best_weight) {
            best = (int)i;
            best_weight = weight;
        }
    }
    return best;
}

static bool is_coding(const struct element *coding, const char *name) {
    return strlen(name) == coding->length && strncasecmp(coding->text, name, coding->length) == 0;
}

enum coding negotiate_coding(const char *accept_encoding) {
    struct element coding;
    int gzip = -1, deflate = -1, identity = -1, any = 0; /* below 0: not named */
    const char *at = accept_encoding == NULL ? "" : accept_encoding;
    while ((at = next_element(at, &coding)) != NULL) {
        if (is_coding(&coding, "gzip") || is_coding(&coding, "x-gzip")) {
            gzip = coding.weight;
        } else if (is_coding(&coding, "deflate")) {
            deflate = coding.weight;
        } else if (is_coding(&coding, "identity")) {
            identity = coding.weight;
        } else if (is_coding(&coding, "*")) {
            any = coding.weight;
        }
    }
    gzip = gzip >= 0 ? gzip : any;
    deflate = deflate >= 0 ? deflate : any;
    int best = gzip >= deflate ? gzip : deflate;
    if (best == 0 || best < identity) {
        return CODING_NONE;
    }
    return best == gzip ? CODING_GZIP : CODING_DEFLATE;
}
