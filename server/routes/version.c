#include "server/routes/operations.h"
#include <string.h>

enum exchange_outcome version_get(struct exchange *exchange) {
    static const char text[] = "{\"name\":\"attnd\",\"version\":\"" ATTN_VERSION "\"}\n";
    if (exchange_check_query(exchange, NULL, 0)) {
        exchange_reply(exchange, 200, "application/json", text, sizeof text - 1);
    }
    return EXCHANGE_DONE;
}
