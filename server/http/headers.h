/**
 * @file headers.h
 * Checks of a request's header fields that the HTTP library does not make (RFC 9110 section 5, RFC 9112 section 6):
 * what it lets pass would be request smuggling behind a proxy. Pure; any thread.
 */
#ifndef SERVER_HTTP_HEADERS_H
#define SERVER_HTTP_HEADERS_H

#include "server/base/problem.h"
#include <stdint.h>

/** What the walk over the header fields has seen; all zero at the start. */
struct header_census {
    unsigned hosts, lengths, codings;
    bool is_chunked;
    uint64_t length; /**< of Content-Length, where lengths is 1 */
};

/** Looks at one header field. @return false with PROBLEM_BAD_FRAMING. */
bool header_check(struct header_census *census, const char *name, size_t name_length, const char *value,
                  size_t value_length, struct problem *problem);
/** What only the end of the walk can tell: a length together with chunks. */
bool header_check_end(const struct header_census *census, struct problem *problem);

/** Whether all of text is a token of RFC 9110 section 5.6.2. */
bool header_is_token(const char *text, size_t length);
/** Whether the client's X-Request-Id can be used: 1 to 128 of [A-Za-z0-9._-]. */
bool header_is_request_id(const char *text);
/** Reads Request-Timeout-Ms: 1 to 86400000 in decimal digits. */
bool header_timeout_ms(const char *text, uint32_t *milliseconds);
/** Undoes %XX in place, leaving %00 and broken escapes as they are. @return the new length. */
size_t header_unescape(char *text);

#endif
