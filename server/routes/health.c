#include "server/http/http.h"
#include "server/routes/context.h"
#include "server/routes/operations.h"
#include <string.h>

/* A worker so long past its deadline, or an event thread that has not turned for so long, is stuck. */
#define STUCK_SECONDS 60

static enum exchange_outcome reply_text(struct exchange *exchange, int status, const char *text) {
    size_t length = strlen(text);
    char *copy = arena_copy_text(exchange->arena, text, length);
    exchange_reply(exchange, status, "application/json", copy == NULL ? "" : copy, copy == NULL ? 0 : length);
    exchange_add_header(exchange, "Cache-Control", "no-store");
    return EXCHANGE_DONE;
}

enum exchange_outcome livez_get(struct exchange *exchange) {
    const struct server *server = exchange->server;
    if (!exchange_check_query(exchange, NULL, 0)) {
        return EXCHANGE_DONE;
    }
    if (pool_state(server->pool).oldest_overdue_ns > (uint64_t)STUCK_SECONDS * 1000000000U) {
        return reply_text(exchange, 503, "{\"live\":false,\"reason\":\"a worker is stuck\"}\n");
    }
    if (server->http != NULL && !http_is_alive(server->http, STUCK_SECONDS)) {
        return reply_text(exchange, 503, "{\"live\":false,\"reason\":\"an event thread is stuck\"}\n");
    }
    return reply_text(exchange, 200, "{\"live\":true}\n");
}

enum exchange_outcome readyz_get(struct exchange *exchange) {
    const struct server *server = exchange->server;
    const char *reasons[3];
    size_t count = 0, failed = 0;
    char text[256];
    if (!exchange_check_query(exchange, NULL, 0)) {
        return EXCHANGE_DONE;
    }
    if (server->is_draining) {
        reasons[count++] = "\"draining\"";
    }
    if (!registry_is_settled(server->registry, &failed)) {
        reasons[count++] = "\"models are loading\"";
    }
    if (server->config->strict_readiness && failed > 0) {
        reasons[count++] = "\"a model found at start does not load\"";
    }
    snprintf(text, sizeof text, "{\"ready\":%s,\"reasons\":[%s%s%s%s%s]}\n", count == 0 ? "true" : "false",
             count > 0 ? reasons[0] : "", count > 1 ? "," : "", count > 1 ? reasons[1] : "", count > 2 ? "," : "",
             count > 2 ? reasons[2] : "");
    if (count > 0) {
        exchange_add_header(exchange, "Retry-After", "1");
    }
    return reply_text(exchange, count == 0 ? 200 : 503, text);
}
