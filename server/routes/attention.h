/**
 * @file attention.h
 * POST /attention.
 */
#ifndef SERVER_ROUTES_ATTENTION_H
#define SERVER_ROUTES_ATTENTION_H

#include "server/http/exchange.h"

/** Whether the body is cheap enough to be decoded on the event thread. */
bool attention_is_small(const struct exchange *exchange);

/**
 * Decodes, plans, computes and answers; deferred to a worker where the cost model says so.
 * @return EXCHANGE_DONE with the response or the problem filled, or EXCHANGE_DEFER.
 */
enum exchange_outcome attention_handle(struct exchange *exchange);

#endif
