/** @file error.h Filling a struct attn_error, for all rooms of the library. */
#ifndef LIB_TENSOR_ERROR_H
#define LIB_TENSOR_ERROR_H

#include <attn/status.h>

/** Fills *error (which may be NULL) and returns `status`, so that a function can `return attn_fail(…)`. */
attn_status attn_fail(struct attn_error *error, attn_status status, const char *field, const char *format, ...)
    ATTN_PRINTF(4, 5);

#endif
