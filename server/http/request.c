#include "server/base/clock.h"
#include "server/http/internal.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

struct socket *request_socket(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info == NULL ? NULL : info->socket_context;
}

void *request_line_read(void *context, const char *uri, struct MHD_Connection *connection) {
    struct socket *socket = request_socket(connection);
    (void)context;
    (void)uri;
    if (socket->phase == SOCKET_IDLE) {
        socket->phase = SOCKET_READING;
        socket->since_ns = clock_ns();
    }
    return NULL;
}

/** The path of an absolute-form target (RFC 9112, section 3.2.2), or the target as it is. */
static const char *path_of(const char *target) {
    size_t scheme = strncasecmp(target, "http://", 7) == 0 ? 7 : strncasecmp(target, "https://", 8) == 0 ? 8 : 0;
    if (scheme == 0 || target[scheme] == '\0' || target[scheme] == '/') {
        return target;
    }
    const char *path = strchr(target + scheme, '/');
    return path == NULL ? "/" : path;
}

#ifdef __SANITIZE_ADDRESS__
#define KEEPS_ARENAS false /* so that what is used after its request's end is found */
#else
#define KEEPS_ARENAS true
#endif

static struct arena *take_arena(struct event_loop *loop) {
    return loop->spare_count > 0 ? loop->spare_arenas[--loop->spare_count] : arena_create();
}

static void keep_arena(struct event_loop *loop, struct arena *arena) {
    if (!KEEPS_ARENAS || loop->spare_count == sizeof loop->spare_arenas / sizeof *loop->spare_arenas) {
        arena_destroy(arena);
        return;
    }
    arena_reset(arena);
    loop->spare_arenas[loop->spare_count++] = arena;
}

static struct request *request_create(struct event_loop *loop, struct MHD_Connection *connection, const char *url,
                                      const char *method) {
    struct arena *arena = take_arena(loop);
    struct request *request = arena == NULL ? NULL : arena_alloc(arena, sizeof *request);
    if (request == NULL) {
        arena_destroy(arena);
        return NULL;
    }
    request->connection = connection;
    request->http = loop->http;
    request->socket = request_socket(connection);
    request->socket->request = request;
    request->socket->phase = SOCKET_READING;
    request->first_ns = request->socket->since_ns;
    struct exchange *exchange = &request->exchange;
    *exchange = (struct exchange){.arena = arena,
                                  .server = loop->http->server,
                                  .method = method,
                                  .path = path_of(url),
                                  .content_type = "",
                                  .body = "",
                                  .body_fd = -1,
                                  .request_id = "",
                                  .peer_is_loopback = request->socket->is_loopback,
                                  .has_keys = loop->http->server->keys != NULL,
                                  .connection = request};
    return request;
}

static void request_destroy(struct request *request) {
    struct exchange *exchange = &request->exchange;
    struct body_source *source = &exchange->response.source;
    if (exchange->state != NULL && exchange->state_destroy != NULL) {
        exchange->state_destroy(exchange->state);
    }
    if (source->next != NULL && source->destroy != NULL) {
        source->destroy(source->self);
    }
    body_remove_file(exchange);
    budget_give(&exchange->server->memory, exchange->reserved_bytes);
    keep_arena(request->socket->loop, exchange->arena); /* the request is in it */
}

/* ---- with the pool ---- */

static void list_active(struct request *request, bool is_in) {
    struct http *http = request->http;
    pthread_mutex_lock(&http->active_lock);
    if (is_in) {
        request->previous_active = NULL;
        request->next_active = http->active;
        if (http->active != NULL) {
            http->active->previous_active = request;
        }
        http->active = request;
    } else {
        *(request->previous_active != NULL ? &request->previous_active->next_active : &http->active) =
            request->next_active;
        if (request->next_active != NULL) {
            request->next_active->previous_active = request->previous_active;
        }
    }
    pthread_mutex_unlock(&http->active_lock);
}

/** On a worker. */
static void work(struct pool_job *job) {
    struct request *request = (struct request *)(void *)((char *)job - offsetof(struct request, exchange.job));
    struct exchange *exchange = &request->exchange;
    request->is_running = true;
    exchange->timings.queue_ms = (double)(job->started_ns - job->submitted_ns) / 1e6;
    if (pool_job_is_stopped(job)) {
        problem_set(&exchange->problem, PROBLEM_DEADLINE, NULL, "the deadline passed before the work began");
    } else if (body_expand(request)) {
        exchange->may_defer = false;
        request->executor = pool_executor(exchange->server->pool);
        exchange->execution.executor = &request->executor;
        request->route->handle(exchange);
    }
    respond_prepare(request);
    event_loop_finish(request->socket->loop, request);
}

void request_withdraw(struct request *request) {
    struct exchange *exchange = &request->exchange;
    if (!pool_job_is_stopped(&exchange->job) || request->is_running ||
        !pool_withdraw(exchange->server->pool, &exchange->job)) {
        return;
    }
    problem_set(&exchange->problem, PROBLEM_DEADLINE, NULL, "the deadline passed before the work began");
    exchange->timings.queue_ms = clock_ms_since(exchange->job.submitted_ns);
    respond_prepare(request);
    event_loop_finish(request->socket->loop, request);
}

/** Answers a request that the pool does not get after all. */
static enum MHD_Result take_back(struct request *request, enum problem_id id, const char *detail) {
    list_active(request, false);
    problem_set(&request->exchange.problem, id, NULL, "%s", detail);
    request->exchange.problem.retry_after_s = 1;
    respond_prepare(request);
    return respond_send(request);
}

/** Suspends the connection while a worker has the request; watches for the client's going meanwhile. */
static enum MHD_Result hand_over(struct request *request) {
    struct exchange *exchange = &request->exchange;
    struct event_loop *loop = request->socket->loop;
    exchange->job.run = work;
    request->state = REQUEST_WORKING;
    list_active(request, true);
    if (request->http->is_cancelled) { /* read after listing: http_cancel_all sets it before it walks the list */
        return take_back(request, PROBLEM_DRAINING, "the server is shutting down");
    }
    if (!pool_submit(exchange->server->pool, &exchange->job)) {
        return take_back(request, PROBLEM_BUSY, "the queue is full");
    }
    request->socket->phase = SOCKET_WORKING;
    loop->suspended++;
    MHD_suspend_connection(request->connection);
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLONESHOT, .data.ptr = request};
    epoll_ctl(loop->watcher_fd, EPOLL_CTL_ADD, request->socket->fd, &event);
    return MHD_YES;
}

static bool starts_here(const struct request *request) {
    return !body_is_compressed(request) &&
           (request->route->is_small == NULL || request->route->is_small(&request->exchange));
}

/** The whole request is there. */
static enum MHD_Result dispatch(struct request *request) {
    struct exchange *exchange = &request->exchange;
    request->complete_ns = clock_ns();
    exchange->timings.read_ms = (double)(request->complete_ns - request->first_ns) / 1e6;
    body_finish(request);
    if (exchange->problem.id == PROBLEM_NONE && exchange->response.status == 0) {
        exchange->job.deadline_ns = request->complete_ns + (uint64_t)request->timeout_ms * 1000000U;
        exchange->execution.is_cancelled = pool_job_is_stopped;
        exchange->execution.cancel_context = &exchange->job;
        exchange->may_defer = request->route->is_small != NULL;
        if (!starts_here(request) || request->route->handle(exchange) == EXCHANGE_DEFER) {
            return hand_over(request);
        }
    }
    respond_prepare(request);
    return respond_send(request);
}

/* ---- the library's callbacks ---- */

static enum MHD_Result begin(struct event_loop *loop, struct MHD_Connection *connection, const char *url,
                             const char *method, const char *version, void **state) {
    struct request *request = request_create(loop, connection, url, method);
    if (request == NULL) {
        return MHD_NO;
    }
    *state = request;
    request_admit(request, version);
    if (!request->is_dropped_body) {
        body_prepare(request);
    }
    if (request->is_dropped_body && request->must_close) {
        respond_prepare(request);
        return respond_send(request);
    }
    return MHD_YES;
}

enum MHD_Result request_handle(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                               const char *version, const char *upload, size_t *upload_bytes, void **state) {
    struct request *request = *state;
    if (request == NULL) {
        return begin(context, connection, url, method, version, state);
    }
    if (request->state == REQUEST_ANSWERED) {
        *upload_bytes = 0;
        return MHD_YES;
    }
    if (*upload_bytes > 0) {
        body_append(request, upload, *upload_bytes);
        *upload_bytes = 0;
        return body_is_hopeless(request) ? MHD_NO : MHD_YES;
    }
    if (request->state == REQUEST_READING) {
        return dispatch(request);
    }
    /* Back from the pool. Nobody is there to read a 499. */
    if (request->exchange.problem.id == PROBLEM_CLIENT_GONE) {
        request->status = problem_status(PROBLEM_CLIENT_GONE);
        return MHD_NO;
    }
    return respond_send(request);
}

static void log_completed(struct request *request, enum MHD_RequestTerminationCode code) {
    struct exchange *exchange = &request->exchange;
    double total = clock_ms_since(request->first_ns);
    int status = request->status != 0 ? request->status : problem_status(PROBLEM_CLIENT_GONE);
    const struct log_request line = {
        .id = request->id,
        .method = exchange->method,
        .path = exchange->path,
        .route = request->route == NULL ? "none" : request->route->name,
        .model = exchange->model,
        .client = request->socket->peer,
        .key_name = request->key_name,
        .traceparent = exchange_header(exchange, "traceparent"),
        .problem = exchange->problem.id == PROBLEM_NONE ? NULL : problem_urn(exchange->problem.id),
        .status = status,
        .is_cut = code != MHD_REQUEST_TERMINATED_COMPLETED_OK,
        .bytes_in = request->received_bytes,
        .bytes_out = request->sent_bytes,
        .timings = exchange->timings,
        .total_ms = total};
    metrics_request(exchange->server->metrics, request->route, status, &exchange->timings, total,
                    request->received_bytes, request->sent_bytes);
    log_request(exchange->server->log, &request->socket->loop->log_buffer, &line);
}

void request_completed(void *context, struct MHD_Connection *connection, void **state,
                       enum MHD_RequestTerminationCode code) {
    struct request *request = *state;
    (void)context;
    (void)connection;
    if (request == NULL) {
        return;
    }
    struct socket *socket = request->socket;
    log_completed(request, code);
    socket->request = NULL;
    socket->phase = SOCKET_IDLE;
    socket->since_ns = clock_ns();
    socket->knows_progress = false;
    *state = NULL;
    request_destroy(request);
}

void event_loop_finish(struct event_loop *loop, struct request *request) {
    list_active(request, false);
    pthread_mutex_lock(&loop->finished_lock);
    bool was_empty = loop->finished == NULL;
    request->next_finished = loop->finished;
    loop->finished = request;
    if (was_empty) {
        event_loop_wake(loop); /* under the lock: once it is open the loop may end */
    }
    pthread_mutex_unlock(&loop->finished_lock);
}
