/**
 * @file internal.h
 * What the files of server/http share: the event loop, its connections and their requests.
 *
 * Threads: a connection and its request belong to the event thread that accepted it. While a request is with the pool,
 * its exchange belongs to the worker; it comes back through the loop's list of finished requests.
 */
#ifndef SERVER_HTTP_INTERNAL_H
#define SERVER_HTTP_INTERNAL_H

#include "server/codec/compress.h"
#include "server/http/headers.h"
#include "server/http/http.h"
#include "server/http/keys.h"
#include "server/http/log.h"
#include "server/http/metrics.h"
#include "server/http/router.h"
#include <microhttpd.h>
#include <pthread.h>

/** Bytes that a connection keeps while it is open: the library's pool and its bookkeeping. */
#define CONNECTION_POOL_BYTES ((size_t)32 << 10)
#define CONNECTION_BYTES (CONNECTION_POOL_BYTES + 2048)

/** An id of 128 characters at most, and its NUL. */
#define REQUEST_ID_BYTES 132

enum socket_phase {
    SOCKET_IDLE,    /* no request: --idle-timeout */
    SOCKET_READING, /* a request is arriving: --read-timeout */
    SOCKET_WORKING, /* the request's own deadline */
    SOCKET_WRITING  /* the answer is going: --write-timeout since the last progress */
};

struct event_loop;
struct request;
struct handed;

/** A connection, from accept to close. */
struct socket {
    struct event_loop *loop;
    int fd;
    bool is_ip, is_loopback, is_tls;
    enum socket_phase phase;
    uint64_t since_ns;
    uint64_t progress; /* IDLE: bytes received when it began; WRITING: bytes that the peer has taken */
    bool knows_progress;
    uint64_t ended_ns; /* when the peer was first seen to send no more, with nothing left to read; 0: not yet */
    char peer[64];
    struct request *request;
    struct socket *previous, *next;
};

enum request_state {
    REQUEST_READING,
    REQUEST_WORKING,  /* with the pool */
    REQUEST_FINISHED, /* to be answered */
    REQUEST_ANSWERED
};

/** A request, from its header to the end of its answer. The exchange is its first member. */
struct request {
    struct exchange exchange;
    struct socket *socket;
    struct MHD_Connection *connection;
    struct http *http;
    const struct route *route;
    enum request_state state;
    _Atomic bool is_running;
    bool must_close, has_body, is_chunked, is_dropped_body, is_http_1_0, is_coding_refused;
    enum coding coding;
    uint64_t declared_length;
    /* body */
    char *body;
    size_t body_used, body_capacity;
    uint64_t received_bytes;
    /* times */
    uint64_t first_ns, complete_ns;
    uint32_t timeout_ms;
    /* answer */
    int status;
    uint64_t sent_bytes;
    size_t prefix_length, prefix_used;
    char id[REQUEST_ID_BYTES];
    char key_name[64];
    struct attn_executor executor;
    struct request *next_finished;
    struct request *previous_active, *next_active; /* of what is with the pool, under http->active_lock */
};

struct event_loop {
    struct http *http;
    struct MHD_Daemon *daemon;
    pthread_t thread;
    int epoll_fd, event_fd, watcher_fd;
    bool is_admin, is_started;
    struct socket *sockets;
    struct socket *accepting; /* handed to the library's callback */
    size_t suspended;
    _Atomic uint64_t turned_ns;
    pthread_mutex_t finished_lock;
    struct request *finished;
    _Atomic size_t socket_count; /* with those in the inbox */
    struct handed *inbox;        /* connections that another loop accepted for this one, under finished_lock */
    struct log_buffer log_buffer;
    struct arena *spare_arenas[8]; /* of requests that have ended */
    size_t spare_count;
    uint64_t id_prefix, id_counter, ticked_ns;
    bool is_paused; /* listeners are out of the set: no descriptors were left */
    struct {
        int fd;
        uint64_t until_ns;
    } refused[32]; /* refused connections that may still read their 503 */
};

struct listener {
    int fd;
    bool is_admin;
    char unix_path[110];
};

struct tls;

struct http {
    struct server *server;
    struct listener *listeners;
    size_t listener_count;
    struct event_loop **loops;
    _Atomic size_t loop_count;
    struct tls *tls;
    _Atomic size_t connections;
    _Atomic bool is_closing, is_ending;
    _Atomic bool is_cancelled; /* nothing more is handed to the pool */
    pthread_mutex_t active_lock;
    struct request *active;
};

/* loop.c */
struct event_loop *event_loop_create(struct http *http, bool is_admin, char *why, size_t why_capacity);
/** Waits for the thread's end. All are waited for before one is destroyed: they hand each other connections. */
void event_loop_join(struct event_loop *loop);
void event_loop_destroy(struct event_loop *loop);
void event_loop_wake(struct event_loop *loop);
/** Any thread: hands a request back for its answer. */
void event_loop_finish(struct event_loop *loop, struct request *request);
/* sockets.c */
void sockets_accept(struct event_loop *loop, int listener_fd);
/** Takes the connections that other loops have accepted for this one. */
void sockets_take_handed(struct event_loop *loop);
/** Closes them, when the loop has ended. */
void sockets_close_handed(struct event_loop *loop);
void sockets_notify(void *context, struct MHD_Connection *connection, void **socket_context,
                    enum MHD_ConnectionNotificationCode code);
void sockets_reap(struct event_loop *loop, uint64_t now);
void sockets_close_refused(struct event_loop *loop, uint64_t now);
/* listeners.c */
bool listeners_open(struct http *http, char *why, size_t why_capacity);
/** Says in the log where the server listens: once it serves. */
void listeners_announce(struct http *http);
void listeners_shut(struct http *http);
void listeners_close(struct http *http);
/* tls.c */
struct tls *tls_create(const char *cert_path, const char *key_path, char *why, size_t why_capacity);
bool tls_reload(struct tls *tls, char *why, size_t why_capacity);
void tls_destroy(struct tls *tls);
/* request.c */
enum MHD_Result request_handle(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                               const char *version, const char *upload, size_t *upload_bytes, void **state);
void request_completed(void *context, struct MHD_Connection *connection, void **state,
                       enum MHD_RequestTerminationCode code);
void *request_line_read(void *context, const char *uri, struct MHD_Connection *connection);
struct socket *request_socket(struct MHD_Connection *connection);
/** On the event thread: takes a request whose client has gone, or whose deadline has passed, out of the queue. */
void request_withdraw(struct request *request);
/* admit.c: whether a request is taken, from its header alone */
void request_admit(struct request *request, const char *version);
/** Writes an id that no other request of this process has. @return it */
const char *request_fresh_id(struct event_loop *loop, char id[REQUEST_ID_BYTES]);
/* body.c */
void body_prepare(struct request *request);
void body_append(struct request *request, const char *bytes, size_t length);
/** The whole body is there; a compressed one as it came. */
void body_finish(struct request *request);
bool body_is_compressed(const struct request *request);
/** On a worker: expands a compressed body. False with the problem filled. */
bool body_expand(struct request *request);
/** Closes and removes the exchange's temporary file, if it has one. */
void body_remove_file(struct exchange *exchange);
/** Whether so much has come behind the limit that waiting for the end, to answer 413, is no longer worth it. */
bool body_is_hopeless(const struct request *request);
/* respond.c */
/** Turns an exchange that is done into bytes as far as that costs work; on any thread. */
void respond_prepare(struct request *request);
/** Queues the answer. */
enum MHD_Result respond_send(struct request *request);

#endif
