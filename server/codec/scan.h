/**
 * @file scan.h
 * A strict scanner of JSON text (RFC 8259, UTF-8 checked as RFC 3629 has it), one pass, building nothing. It keeps a
 * place in the text; each function reads on from there. On a fault it says where and why.
 */
#ifndef SERVER_CODEC_SCAN_H
#define SERVER_CODEC_SCAN_H

#include <stdbool.h>
#include <stddef.h>

/** The deepest nesting that any caller may allow. */
#define SCAN_MAX_DEPTH 1024

struct scan {
    const char *text, *at, *end;
    size_t max_depth;  /**< of arrays and objects inside scan_value */
    const char *fault; /**< the byte at fault (end, where the text stops early); NULL: none yet */
    char why[200];     /**< "expected a value, found ']'" */
};

/** What stands between a string's quotes, still escaped. */
struct scan_text {
    const char *text;
    size_t length;
    bool has_escapes;
};

/** Begins at the first byte; max_depth 0 is 64. */
void scan_begin(struct scan *scan, const char *text, size_t length, size_t max_depth);

/** Skips white space. @return the byte there, or -1 at the end. */
int scan_peek(struct scan *scan);

/** Sets the fault. @return false, always. */
bool scan_fail(struct scan *scan, const char *at, const char *why);
/** Sets the fault to "expected `what`, found …" at the present place. @return false, always. */
bool scan_expected(struct scan *scan, const char *what);

/** Takes `token` if it is the next byte behind white space, else faults with "expected `what`". */
bool scan_token(struct scan *scan, char token, const char *what);
/** Reads a string that starts here; `what` names it in the error. */
bool scan_string(struct scan *scan, const char *what, struct scan_text *text);
/** Reads any value, white space before it, and checks all of it. */
bool scan_value(struct scan *scan);
/** Checks that only white space is left. */
bool scan_end(struct scan *scan);

/** Resolves a checked string's escapes into `to`, which has room for text->length bytes. @return bytes written. */
size_t scan_unescape(const struct scan_text *text, char *to);

#endif
