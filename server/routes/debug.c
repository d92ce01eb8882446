#include "server/http/http.h"
#include "server/routes/context.h"
#include "server/routes/operations.h"
#include <stdio.h>

enum exchange_outcome debug_requests_get(struct exchange *exchange) {
    char *text = NULL;
    size_t length = 0;
    if (!operations_check(exchange, "application/json")) {
        return EXCHANGE_DONE;
    }
    FILE *to = open_memstream(&text, &length);
    if (to != NULL) {
        fputs("{\"requests\":", to);
        http_write_active(exchange->server->http, to);
        fputs("}\n", to);
        fclose(to);
    }
    exchange_add_header(exchange, "Cache-Control", "no-store");
    operations_reply_text(exchange, "application/json", text, length);
    return EXCHANGE_DONE;
}
