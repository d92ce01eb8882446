/** @file router.h Finds a request's row in the routing table. Pure; any thread. */
#ifndef SERVER_HTTP_ROUTER_H
#define SERVER_HTTP_ROUTER_H

#include "server/http/exchange.h"

struct route_span {
    const char *start;
    size_t length;
};

/** What was found. */
struct route_match {
    const struct route *route; /**< NULL: no row with this method */
    struct route_span parameters[4];
    bool path_exists; /**< some row has this path */
    char allow[64];   /**< the methods of the rows that have it, as Allow lists them; where there is no route */
};

/** Looks up method and path. HEAD is served by GET's row. @param admin_only only rows that the admin listener serves */
struct route_match route_find(const struct route *table, size_t count, const char *method, const char *path,
                              bool admin_only);

#endif
