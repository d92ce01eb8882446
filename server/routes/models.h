/** @file models.h /models and /models/{id}: the registry over HTTP. */
#ifndef SERVER_ROUTES_MODELS_H
#define SERVER_ROUTES_MODELS_H

#include "server/http/exchange.h"

/** GET /models. Deferred to a worker while a large file's hash is still to be computed, as is models_show. */
enum exchange_outcome models_list(struct exchange *exchange);
/** GET /models/{id} */
enum exchange_outcome models_show(struct exchange *exchange);
/** PUT /models/{id}, its body in a file. */
enum exchange_outcome models_put(struct exchange *exchange);
/** DELETE /models/{id} */
enum exchange_outcome models_delete(struct exchange *exchange);

/** For the rows of PUT and DELETE: they wait for the disk, which is a worker's business. @return false */
bool models_write_is_small(const struct exchange *exchange);

#endif
