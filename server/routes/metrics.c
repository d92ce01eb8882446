#include "server/http/metrics.h"
#include "server/routes/context.h"
#include "server/routes/operations.h"
#include <stdlib.h>

enum exchange_outcome metrics_get(struct exchange *exchange) {
    char *text = NULL;
    size_t length = 0;
    if (!exchange_check_query(exchange, NULL, 0)) {
        return EXCHANGE_DONE;
    }
    FILE *to = open_memstream(&text, &length);
    if (to != NULL) {
        metrics_write(exchange->server->metrics, exchange->server, to);
        fclose(to);
    }
    char *copy = text == NULL ? NULL : arena_copy_text(exchange->arena, text, length);
    free(text);
    if (copy == NULL) {
        problem_set(&exchange->problem, PROBLEM_BUSY, NULL, "out of memory");
        return EXCHANGE_DONE;
    }
    exchange->response.may_compress = true;
    exchange_reply(exchange, 200, "text/plain; version=0.0.4; charset=utf-8", copy, length);
    return EXCHANGE_DONE;
}
