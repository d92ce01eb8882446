/** @file etag.h Entity tags in conditions (RFC 9110, sections 8.8.3 and 13.1). */
#ifndef SERVER_REGISTRY_ETAG_H
#define SERVER_REGISTRY_ETAG_H

#include "server/registry/registry.h"

enum etag_result { ETAG_MATCHES, ETAG_DIFFERS, ETAG_MALFORMED };

/**
 * Compares a list of tags ("*" too) with what is there.
 * @param opaque the current tag without its quotes; "" where it has none; NULL where there is no representation
 * @param is_weak whether W/"x" matches "x": so for If-None-Match, not for If-Match
 */
enum etag_result etag_compare(const char *list, const char *opaque, bool is_weak);

/** Checks If-Match and If-None-Match of a write. @return false with the problem (400, 412) filled. */
bool etag_condition_holds(const struct registry_condition *condition, const char *opaque, struct problem *problem);

#endif
