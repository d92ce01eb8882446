#include "server/http/metrics.h"
#include "server/routes/context.h"
#include "server/routes/operations.h"
#include <stdio.h>

enum exchange_outcome metrics_get(struct exchange *exchange) {
    char *text = NULL;
    size_t length = 0;
    if (!operations_check(exchange, "text/plain")) {
        return EXCHANGE_DONE;
    }
    FILE *to = open_memstream(&text, &length);
    if (to != NULL) {
        metrics_write(exchange->server->metrics, exchange->server, to);
        fclose(to);
    }
    exchange->response.may_compress = true;
    operations_reply_text(exchange, "text/plain; version=0.0.4; charset=utf-8", text, length);
    return EXCHANGE_DONE;
}
