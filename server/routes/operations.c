#include "server/routes/operations.h"
#include <stdlib.h>

bool operations_check(struct exchange *exchange, const char *media_type) {
    return exchange_check_query(exchange, NULL, 0) && exchange_negotiate(exchange, &media_type, 1) == 0;
}

void operations_reply_text(struct exchange *exchange, const char *content_type, char *text, size_t length) {
    char *copy = text == NULL ? NULL : arena_copy_text(exchange->arena, text, length);
    free(text);
    if (copy == NULL) {
        problem_set(&exchange->problem, PROBLEM_BUSY, NULL, "out of memory");
        return;
    }
    exchange_reply(exchange, 200, content_type, copy, length);
}
