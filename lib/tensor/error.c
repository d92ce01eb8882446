#include "lib/tensor/error.h"

#include <stdarg.h>
#include <stdio.h>

attn_status attn_fail(struct attn_error *error, attn_status status, const char *field, const char *format, ...) {
    if (error == NULL)
        return status;
    error->status = status;
    error->offset = 0;
    snprintf(error->field, sizeof error->field, "%s", field != NULL ? field : "");
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    return status;
}

const char *attn_status_name(attn_status status) {
    static const char *const names[] = {
#define STATUS_NAME(name, text) [name] = #name,
        ATTN_STATUS_TABLE(STATUS_NAME)
#undef STATUS_NAME
    };
    size_t index = (size_t)status;
    return index < sizeof names / sizeof *names ? names[index] : "unknown status";
}

const char *attn_version(void) {
    return ATTN_VERSION;
}
