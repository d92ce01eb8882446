/** @file metrics.h Counters and histograms for /metrics. Lock-free, any thread; label values are bounded by tables. */
#ifndef SERVER_HTTP_METRICS_H
#define SERVER_HTTP_METRICS_H

#include "server/http/exchange.h"
#include <stdio.h>

struct metrics;

/** @param routes the routing table, whose names are the values of the label route; NULL out of memory */
struct metrics *metrics_create(const struct route *routes, size_t route_count);
void metrics_destroy(struct metrics *metrics);
/** Counts one answered request; route NULL is "none". */
void metrics_request(struct metrics *metrics, const struct route *route, int status,
                     const struct exchange_timings *timings, double total_ms, uint64_t bytes_in, uint64_t bytes_out);
/** Counts connections that came and went. */
void metrics_connection(struct metrics *metrics, int change);
void metrics_connection_refused(struct metrics *metrics);
size_t metrics_connections(const struct metrics *metrics);
/** Writes all in Prometheus' text format 0.0.4. */
void metrics_write(const struct metrics *metrics, const struct server *server, FILE *to);

#endif
