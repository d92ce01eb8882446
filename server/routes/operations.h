/** @file operations.h The routes of api.md section 7 but the dashboard: handlers for the routing table. */
#ifndef SERVER_ROUTES_OPERATIONS_H
#define SERVER_ROUTES_OPERATIONS_H

#include "server/http/exchange.h"

/** Whether the request has no query and takes the one media type that there is; else its problem is set. */
bool operations_check(struct exchange *exchange, const char *media_type);
/** Answers 200 with text that open_memstream made (NULL: 503), and frees it. */
void operations_reply_text(struct exchange *exchange, const char *content_type, char *text, size_t length);

enum exchange_outcome livez_get(struct exchange *exchange);
enum exchange_outcome readyz_get(struct exchange *exchange);
enum exchange_outcome metrics_get(struct exchange *exchange);
enum exchange_outcome version_get(struct exchange *exchange);
enum exchange_outcome openapi_yaml_get(struct exchange *exchange);
enum exchange_outcome openapi_json_get(struct exchange *exchange);
enum exchange_outcome debug_requests_get(struct exchange *exchange);

#endif
