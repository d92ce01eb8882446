/**
 * @file problem.h
 * RFC 9457 problems as plain data. The table of problem types is in problem.c: one row a type, with its URN, title and
 * status. Rooms fill a problem; only server/http turns it into bytes.
 */
#ifndef SERVER_BASE_PROBLEM_H
#define SERVER_BASE_PROBLEM_H

#include <attn/status.h>
#include <stdbool.h>
#include <stddef.h>

/** id, status, URN suffix ("urn:attnd:problem:" before it), title */
#define PROBLEM_TABLE(X)                                                                                               \
    X(PROBLEM_NONE, 200, "none", "No problem")                                                                         \
    X(PROBLEM_BAD_FRAMING, 400, "bad-framing", "The HTTP message is broken or ambiguous")                              \
    X(PROBLEM_BAD_HEADER, 400, "bad-header", "A header's value is not allowed")                                        \
    X(PROBLEM_MALFORMED, 400, "malformed-body", "The body is not the format it claims to be")                          \
    X(PROBLEM_UNAUTHORIZED, 401, "unauthorized", "An API key is needed")                                               \
    X(PROBLEM_FORBIDDEN, 403, "forbidden", "The key or the peer may not do this")                                      \
    X(PROBLEM_NOT_FOUND, 404, "not-found", "There is no such resource")                                                \
    X(PROBLEM_MODEL_NOT_FOUND, 404, "model-not-found", "There is no such model")                                       \
    X(PROBLEM_METHOD, 405, "method-not-allowed", "The method is not allowed here")                                     \
    X(PROBLEM_NOT_ACCEPTABLE, 406, "not-acceptable", "No media type that is accepted can be made")                     \
    X(PROBLEM_TOO_SLOW, 408, "request-timeout", "The request took too long to arrive")                                 \
    X(PROBLEM_CONFLICT, 409, "conflict", "The resource does not allow this")                                           \
    X(PROBLEM_LENGTH_REQUIRED, 411, "length-required", "A body is needed, with a length or chunks")                    \
    X(PROBLEM_PRECONDITION, 412, "precondition-failed", "A condition of the request does not hold")                    \
    X(PROBLEM_BODY_TOO_LARGE, 413, "body-too-large", "The body is larger than allowed")                                \
    X(PROBLEM_URI_TOO_LONG, 414, "uri-too-long", "The request target is too long")                                     \
    X(PROBLEM_MEDIA_TYPE, 415, "unsupported-media-type", "The media type or content coding is not taken here")         \
    X(PROBLEM_EXPECTATION, 417, "expectation-failed", "The expectation cannot be met")                                 \
    X(PROBLEM_INVALID, 422, "invalid-request", "The request is well-formed and wrong")                                 \
    X(PROBLEM_TOO_LARGE, 422, "too-many-elements", "The request needs more elements than allowed")                     \
    X(PROBLEM_RATE, 429, "rate-limited", "The key's rate limit is reached")                                            \
    X(PROBLEM_HEADERS_TOO_LARGE, 431, "headers-too-large", "The header fields are too large")                          \
    X(PROBLEM_INTERNAL, 500, "internal-error", "The server failed")                                                    \
    X(PROBLEM_BUSY, 503, "overloaded", "The server is at its limit")                                                   \
    X(PROBLEM_DRAINING, 503, "draining", "The server is shutting down")                                                \
    X(PROBLEM_MODEL_LOADING, 503, "model-loading", "The model is not ready")                                           \
    X(PROBLEM_MODEL_FAILED, 503, "model-failed", "The model's file cannot be used")                                    \
    X(PROBLEM_DEADLINE, 504, "deadline-passed", "The request's deadline passed")                                       \
    X(PROBLEM_CLIENT_GONE, 499, "client-gone", "The client closed its connection")                                     \
    X(PROBLEM_NO_ROOM, 507, "insufficient-storage", "There is no room to keep the upload")

enum problem_id {
#define PROBLEM_MEMBER(id, status, urn, title) id,
    PROBLEM_TABLE(PROBLEM_MEMBER)
#undef PROBLEM_MEMBER
        PROBLEM_COUNT
};

struct problem {
    enum problem_id id;
    char pointer[256]; /**< RFC 6901 ("/key_lengths/2"); "" where no field is at fault */
    char parameter[64];
    char detail[512];
    bool has_offset;
    size_t offset;
    int retry_after_s; /**< 0: no Retry-After */
    char allow[64];    /**< for 405 */
};

/** Fills a problem; `pointer` may be NULL. The detail says what was expected and what was found. */
void problem_set(struct problem *problem, enum problem_id id, const char *pointer, const char *format, ...)
    ATTN_PRINTF(4, 5);
/** Turns a library error into a problem (ATTN_EFORMAT 400 with offset; ENOMEM 503; ECANCELLED 504; others 422). */
void problem_from_attn(struct problem *problem, const struct attn_error *error);
int problem_status(enum problem_id id);
const char *problem_urn(enum problem_id id);
const char *problem_title(enum problem_id id);
/** Appends one RFC 6901 reference token ("a/b~c" becomes "/a~1b~0c"), cutting where the pointer is full. */
void problem_pointer_append(char *pointer, size_t capacity, const char *token, size_t length);

#endif
