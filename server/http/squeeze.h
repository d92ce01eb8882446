/** @file squeeze.h Responses compressed while they are pulled. One owner; any thread. */
#ifndef SERVER_HTTP_SQUEEZE_H
#define SERVER_HTTP_SQUEEZE_H

#include "server/codec/compress.h"
#include "server/http/exchange.h"

/**
 * Puts a coding around a response's body, whether it is bytes or a source.
 * @return false, leaving the response as it was, out of memory
 */
bool squeeze_response(struct exchange_response *response, enum coding coding);

#endif
