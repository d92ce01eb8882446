#include "server/routes/operations.h"
#include <string.h>

enum exchange_outcome version_get(struct exchange *exchange) {
    static const char text[] = "{\"name\":\"attnd\",\"version\":\"" ATTN_VERSION "\"}\n";
    if (operations_check(exchange, "application/json")) {
        exchange_reply(exchange, 200, "application/json", text, sizeof text - 1);
    }
    return EXCHANGE_DONE;
}
