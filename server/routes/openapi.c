#include "server/routes/operations.h"

/* The description is part of the program: the assembler puts the two files in as they are (the Makefile says that this
 * object depends on them). openapi.json is made from openapi.yaml by server/routes/openapi_json.py. */
__asm__(".section .rodata\n"
        ".balign 16\n"
        "openapi_yaml_begin: .incbin \"openapi.yaml\"\n"
        "openapi_yaml_end:\n"
        "openapi_json_begin: .incbin \"server/routes/openapi.json\"\n"
        "openapi_json_end:\n"
        ".previous\n");
extern const char openapi_yaml_begin[], openapi_yaml_end[], openapi_json_begin[], openapi_json_end[];

static enum exchange_outcome reply(struct exchange *exchange, const char *type, const char *begin, const char *end) {
    if (operations_check(exchange, type)) {
        exchange->response.may_compress = true;
        exchange_reply(exchange, 200, type, begin, (size_t)(end - begin));
    }
    return EXCHANGE_DONE;
}

enum exchange_outcome openapi_yaml_get(struct exchange *exchange) {
    return reply(exchange, "application/yaml", openapi_yaml_begin, openapi_yaml_end);
}

enum exchange_outcome openapi_json_get(struct exchange *exchange) {
    return reply(exchange, "application/json", openapi_json_begin, openapi_json_end);
}
