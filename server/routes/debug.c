#include "server/http/http.h"
#include "server/routes/context.h"
#include "server/routes/operations.h"
#include <stdlib.h>

enum exchange_outcome debug_requests_get(struct exchange *exchange) {
    char *text = NULL;
    size_t length = 0;
    if (!exchange_check_query(exchange, NULL, 0)) {
        return EXCHANGE_DONE;
    }
    FILE *to = open_memstream(&text, &length);
    if (to != NULL) {
        fputs("{\"requests\":", to);
        http_write_active(exchange->server->http, to);
        fputs("}\n", to);
        fclose(to);
    }
    char *copy = text == NULL ? NULL : arena_copy_text(exchange->arena, text, length);
    free(text);
    if (copy == NULL) {
        problem_set(&exchange->problem, PROBLEM_BUSY, NULL, "out of memory");
        return EXCHANGE_DONE;
    }
    exchange_add_header(exchange, "Cache-Control", "no-store");
    exchange_reply(exchange, 200, "application/json", copy, length);
    return EXCHANGE_DONE;
}
