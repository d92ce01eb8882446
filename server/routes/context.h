/**
 * @file context.h
 * What a route may reach: made in main, passed down in every exchange.
 */
#ifndef SERVER_ROUTES_CONTEXT_H
#define SERVER_ROUTES_CONTEXT_H

#include "server/base/budget.h"
#include "server/config/config.h"
#include "server/http/exchange.h"
#include "server/pool/pool.h"
#include "server/registry/registry.h"

struct metrics; /* server/http/metrics.h */
struct log;     /* server/http/log.h */
struct keys;    /* server/http/keys.h */
struct http;    /* server/http/http.h */

struct server {
    const struct config *config;
    struct pool *pool;
    struct registry *registry;
    struct budget memory;
    struct metrics *metrics;
    struct log *log;
    struct keys *keys; /**< NULL without --api-keys */
    struct http *http;
    _Atomic bool is_draining;
    uint64_t started_ns;
};

/** The routing table (server/routes/table.c). */
extern const struct route routes[];
extern const size_t route_count;

#endif
