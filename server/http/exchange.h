/**
 * @file exchange.h
 * One request and its response, as routes see them. Routes know nothing of sockets or of libmicrohttpd.
 */
#ifndef SERVER_HTTP_EXCHANGE_H
#define SERVER_HTTP_EXCHANGE_H

#include "server/base/arena.h"
#include "server/base/problem.h"
#include "server/pool/pool.h"
#include <attn/execution.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct server; /* what routes may use of the server: server/routes/context.h */

enum scope { SCOPE_NONE, SCOPE_INFER, SCOPE_ADMIN };

/** What to do with a route's request body. */
enum body_kind {
    BODY_NONE,   /**< a body is a 400 only where it breaks framing; it is read and dropped up to the limit */
    BODY_MEMORY, /**< read into bounded memory (--max-body), expanded if it is compressed */
    BODY_FILE    /**< written to a temporary file in the models directory (--max-model) */
};

/** Bytes that are pulled while the socket takes them. */
struct body_source {
    /** @return bytes written, 0 at the end, SIZE_MAX where it fails (the connection is cut). */
    size_t (*next)(void *self, char *to, size_t capacity);
    void (*destroy)(void *self); /**< may be NULL */
    void *self;
    uint64_t length; /**< UINT64_MAX: not known before */
};

#define EXCHANGE_MAX_HEADERS 16

struct exchange_response {
    int status;
    const char *content_type;
    struct {
        const char *name, *value;
    } headers[EXCHANGE_MAX_HEADERS]; /**< values live in the exchange's arena or are static */
    size_t header_count;
    const char *bytes; /**< a body in one piece (arena or static) … */
    size_t bytes_length;
    struct body_source source; /**< … or a pulled one, where source.next is set */
    bool may_compress;         /**< put a coding around it if the client takes one */
};

/** Milliseconds by phase, for Server-Timing, the log and metrics; 0 where a phase did not happen. */
struct exchange_timings {
    double read_ms, queue_ms, decode_ms, compute_ms, encode_ms;
};

enum exchange_outcome {
    EXCHANGE_DONE, /**< response or problem is filled */
    EXCHANGE_DEFER /**< too much work for the event thread: call again on a worker (only where may_defer) */
};

struct exchange {
    struct arena *arena; /**< lives until the response has gone */
    struct server *server;
    /* request; all text is NUL-terminated */
    const char *method, *path;
    const char *parameters[4]; /**< what the route's {…} matched, percent-decoded */
    const char *body;          /**< BODY_MEMORY: the bytes, expanded */
    size_t body_length;
    const char *body_path;    /**< BODY_FILE: the temporary file, the route's to rename or leave to be removed */
    int body_fd;              /**< BODY_FILE: open for reading and writing; -1 else */
    const char *content_type; /**< media type in lower case without parameters; "" if absent */
    const char *request_id;
    bool peer_is_loopback;
    bool has_keys;    /**< whether the server runs with --api-keys */
    enum scope scope; /**< what the key allows */
    /* work */
    bool may_defer; /**< on the event thread */
    void *state;    /**< the route's, across EXCHANGE_DEFER */
    void (*state_destroy)(void *state);
    struct attn_execution execution; /**< threads to use, and when to stop */
    struct pool_job job;
    size_t reserved_bytes; /**< taken from the memory budget; given back when the exchange ends */
    char model[272];       /**< the model's id for the log and /debug/requests, or "": exchange_name_model sets it */
    /* response */
    struct exchange_response response;
    struct problem problem; /**< id not PROBLEM_NONE: sent in place of the response */
    struct exchange_timings timings;
    void *connection; /**< server/http's own */
};

/** @return the request header's value, or NULL. Name in any case; a header sent several times is joined by ", ",
 *  without blanks around the values. */
const char *exchange_header(struct exchange *exchange, const char *name);
/** @return the query parameter's percent-decoded value ("" for a bare name), or NULL. */
const char *exchange_query(struct exchange *exchange, const char *name);
/** Fails with 422 and `parameter` unless every query parameter is one of `names` and comes once. */
bool exchange_check_query(struct exchange *exchange, const char *const *names, size_t count);
/** Adds a response header; value is copied. */
bool exchange_add_header(struct exchange *exchange, const char *name, const char *value);
/** Answers with bytes that live in the arena or are static. */
void exchange_reply(struct exchange *exchange, int status, const char *content_type, const char *bytes, size_t length);
/**
 * Picks by Accept (RFC 9110 section 12.5.1, q-values and wildcards).
 * @return the index into `offers`, or -1 with the problem (406) filled.
 */
int exchange_negotiate(struct exchange *exchange, const char *const *offers, size_t count);
/** Takes from the memory budget for the exchange; false with the problem (503) filled. */
bool exchange_reserve(struct exchange *exchange, size_t bytes);

/** Says which model the request is for. */
void exchange_name_model(struct exchange *exchange, const char *id);

/** A row of the routing table. */
struct route {
    const char *method;  /**< "GET" also serves HEAD */
    const char *pattern; /**< "/models/{id}": {id} matches one segment or more ("org/name"); "/livez" */
    const char *name;    /**< label in log and metrics */
    enum body_kind body;
    enum scope scope;  /**< what a key needs, where there are keys */
    bool write_access; /**< without keys: loopback peers only */
    bool on_admin;     /**< served on --admin-listen too */
    /** Whether the handler is cheap enough to start on the event thread; NULL: always there, never deferred. */
    bool (*is_small)(const struct exchange *exchange);
    enum exchange_outcome (*handle)(struct exchange *exchange);
};

#endif
