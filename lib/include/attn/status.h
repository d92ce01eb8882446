/**
 * @file status.h
 * Errors as values: every function that can fail returns an attn_status and fills a struct attn_error that the caller
 * owns (and may leave NULL).
 */
#ifndef ATTN_STATUS_H
#define ATTN_STATUS_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The version of these headers (Semantic Versioning). */
#define ATTN_VERSION "0.1.0"

#if defined(__GNUC__)
#define ATTN_API __attribute__((visibility("default")))
#define ATTN_PRINTF(format_index, first_argument) __attribute__((format(printf, format_index, first_argument)))
#else
/** Marks what leaves the shared library. */
#define ATTN_API
/** Lets the compiler check a format string against its arguments, where it can. */
#define ATTN_PRINTF(format_index, first_argument)
#endif

/** Every status with its name; a table so that code, names and documentation stay in step. */
#define ATTN_STATUS_TABLE(X)                                                                                           \
    X(ATTN_OK, "ok")                                                                                                   \
    X(ATTN_ESHAPE, "shapes do not fit each other")                                                                     \
    X(ATTN_EDTYPE, "dtype not taken here")                                                                             \
    X(ATTN_ERANGE, "value out of range")                                                                               \
    X(ATTN_ECONFLICT, "options that do not go together, or one that is missing")                                       \
    X(ATTN_ELIMIT, "larger than the limit that the caller set")                                                        \
    X(ATTN_ENOMEM, "out of memory")                                                                                    \
    X(ATTN_ECANCELLED, "cancelled by the caller")                                                                      \
    X(ATTN_EFORMAT, "not the file format it claims to be")                                                             \
    X(ATTN_EIO, "input or output failed")

/** What became of a call: ATTN_OK is 0, everything else a failure. The members are ATTN_STATUS_TABLE's. */
typedef enum attn_status {
#define ATTN_STATUS_MEMBER(name, text) name,
    ATTN_STATUS_TABLE(ATTN_STATUS_MEMBER)
#undef ATTN_STATUS_MEMBER
} attn_status;

/** What went wrong, where. Plain data owned by the caller; no function keeps a pointer to it. */
struct attn_error {
    attn_status status; /**< what the function returned */
    /** The argument at fault by its field name, parts joined by '/': "key", "key_lengths/2", "params/in_proj_weight".
     */
    char field[160];
    /** What was expected and what was found, one sentence without a final stop. */
    char message[400];
    /** For ATTN_EFORMAT: the byte at fault. */
    size_t offset;
};

/** @return the constant's name, such as "ATTN_ESHAPE"; never NULL. Thread safe. */
ATTN_API const char *attn_status_name(attn_status status);

/** @return the library's version, ATTN_VERSION as it was compiled. Thread safe. */
ATTN_API const char *attn_version(void);

#ifdef __cplusplus
}
#endif
#endif
