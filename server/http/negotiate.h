/** @file negotiate.h Content negotiation (RFC 9110 sections 12.5.1 and 12.5.3). Pure; any thread. */
#ifndef SERVER_HTTP_NEGOTIATE_H
#define SERVER_HTTP_NEGOTIATE_H

#include "server/codec/compress.h"
#include <stddef.h>

/**
 * Picks one of `offers` (media types, best first) for an Accept header field; NULL or "" accepts everything. The most
 * specific range decides an offer's weight; among equal weights the first offer wins.
 * @return the index, or -1 where none is accepted
 */
int negotiate_media(const char *accept, const char *const *offers, size_t count);
/**
 * Picks the coding of an answer for an Accept-Encoding header field; NULL or "" takes none.
 * @return the heavier of gzip and deflate, gzip where they weigh the same; none where neither is taken, or where
 *         identity is named with more weight
 */
enum coding negotiate_coding(const char *accept_encoding);

#endif
