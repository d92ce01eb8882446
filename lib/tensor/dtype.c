#include <attn/tensor.h>

#include <string.h>

static const struct dtype_row {
    const char *name, *short_name;
    size_t bytes;
} dtypes[] = {
#define DTYPE_ROW(member, text, short_text, size)                                                                      \
    [member] = {.name = (text), .short_name = (short_text), .bytes = (size)},
    ATTN_DTYPE_TABLE(DTYPE_ROW)
#undef DTYPE_ROW
};

enum { DTYPE_COUNT = sizeof dtypes / sizeof *dtypes };

const char *attn_dtype_name(attn_dtype dtype) {
    return (size_t)dtype < DTYPE_COUNT ? dtypes[dtype].name : "unknown dtype";
}

size_t attn_dtype_bytes(attn_dtype dtype) {
    return (size_t)dtype < DTYPE_COUNT ? dtypes[dtype].bytes : 0;
}

bool attn_dtype_parse(const char *name, attn_dtype *dtype) {
    for (size_t i = 0; i < DTYPE_COUNT; i++) {
        if (strcmp(name, dtypes[i].name) != 0 && strcmp(name, dtypes[i].short_name) != 0)
            continue;
        *dtype = (attn_dtype)i;
        return true;
    }
    return false;
}

bool attn_dtype_is_floating(attn_dtype dtype) {
    return dtype == ATTN_FLOAT32 || dtype == ATTN_FLOAT64 || dtype == ATTN_FLOAT16 || dtype == ATTN_BFLOAT16;
}
