#include "server/base/clock.h"
#include "server/http/internal.h"
#include "server/http/tls.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

/*
 * Our own event loop around the library's. One epoll set holds the listeners, the daemon's own epoll descriptor, an
 * eventfd by which workers report, and the set that watches suspended connections. MHD_run never blocks, so its inner
 * loop ("go on while exactly 128 events came back") cannot sleep before it handles them.
 */
#define EVENTS_A_TURN 64
#define TICK_NS ((uint64_t)100000000)
#define IDLE_WAIT_MS 500
#define BUSY_WAIT_MS 100
#define LIBRARY_CONNECTION_LIMIT 1000000u

void event_loop_wake(struct event_loop *loop) {
    const uint64_t one = 1;
    if (write(loop->event_fd, &one, sizeof one) < 0) {
        return; /* full: it is awake already */
    }
}

static bool watch(int epoll_fd, int fd, uint32_t events, void *tag) {
    struct epoll_event event = {.events = events, .data.ptr = tag};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void watch_listeners(struct event_loop *loop, bool is_on) {
    for (size_t i = 0; i < loop->http->listener_count; i++) {
        struct listener *listener = &loop->http->listeners[i];
        if (listener->is_admin != loop->is_admin) {
            continue;
        }
        if (is_on) {
            watch(loop->epoll_fd, listener->fd, EPOLLIN | EPOLLEXCLUSIVE, listener);
        } else {
            epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, listener->fd, NULL);
        }
    }
}

/* ---- one turn ---- */

/** Clients that have gone while their request is with the pool. */
static void cancel_gone(struct event_loop *loop) {
    struct epoll_event events[EVENTS_A_TURN];
    int count = epoll_wait(loop->watcher_fd, events, EVENTS_A_TURN, 0);
    for (int i = 0; i < count; i++) {
        struct request *request = events[i].data.ptr;
        pool_job_cancel(&request->exchange.job, JOB_CLIENT_GONE);
        request_withdraw(request);
    }
}

/** Requests that the workers have finished: their connections go on. */
static void resume_finished(struct event_loop *loop) {
    pthread_mutex_lock(&loop->finished_lock);
    struct request *request = loop->finished;
    loop->finished = NULL;
    pthread_mutex_unlock(&loop->finished_lock);
    while (request != NULL) {
        struct request *next = request->next_finished;
        request->state = REQUEST_FINISHED;
        epoll_ctl(loop->watcher_fd, EPOLL_CTL_DEL, request->socket->fd, NULL);
        loop->suspended--;
        MHD_resume_connection(request->connection);
        request = next;
    }
}

static void handle_event(struct event_loop *loop, const struct epoll_event *event) {
    uint64_t count;
    if (event->data.ptr == &loop->event_fd) {
        if (read(loop->event_fd, &count, sizeof count) < 0) {
            return;
        }
    } else if (event->data.ptr == &loop->watcher_fd) {
        cancel_gone(loop);
    } else if (event->data.ptr != loop->daemon) {
        struct listener *listener = event->data.ptr;
        if (event->events & (EPOLLHUP | EPOLLERR)) {
            epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, listener->fd, NULL);
        } else {
            sockets_accept(loop, listener->fd);
        }
    }
}

static int wait_ms(struct event_loop *loop) {
    MHD_UNSIGNED_LONG_LONG library = 0;
    int own = loop->sockets == NULL ? IDLE_WAIT_MS : BUSY_WAIT_MS;
    if (MHD_get_timeout(loop->daemon, &library) == MHD_YES && library < (MHD_UNSIGNED_LONG_LONG)own) {
        return (int)library;
    }
    return own;
}

static void tick(struct event_loop *loop, uint64_t now) {
    if (now - loop->ticked_ns < TICK_NS) {
        return;
    }
    loop->ticked_ns = now;
    sockets_reap(loop, now);
    sockets_close_refused(loop, now);
    if (loop->is_paused && !loop->http->is_closing) {
        loop->is_paused = false;
        watch_listeners(loop, true);
    }
}

static void turn(struct event_loop *loop) {
    struct epoll_event events[EVENTS_A_TURN];
    int count = epoll_wait(loop->epoll_fd, events, EVENTS_A_TURN, wait_ms(loop));
    uint64_t now = clock_ns();
    atomic_store_explicit(&loop->turned_ns, now, memory_order_relaxed);
    for (int i = 0; i < count; i++) {
        handle_event(loop, &events[i]);
    }
    if (loop->is_paused) {
        watch_listeners(loop, false);
    }
    resume_finished(loop);
    sockets_take_handed(loop);
    MHD_run(loop->daemon);
    tick(loop, now);
    if (loop->log_buffer.used > 0) {
        log_flush(loop->http->server->log, &loop->log_buffer);
    }
}

static void *loop_main(void *argument) {
    struct event_loop *loop = argument;
    while (!loop->http->is_ending || loop->suspended > 0) {
        turn(loop);
    }
    return NULL;
}

/* ---- made and destroyed ---- */

static size_t unescape(void *context, struct MHD_Connection *connection, char *text) {
    (void)context;
    (void)connection;
    return header_unescape(text);
}

static void log_library(void *context, const char *format, va_list arguments) {
    const struct http *http = context;
    char text[512];
    vsnprintf(text, sizeof text, format, arguments);
    text[strcspn(text, "\r\n")] = '\0';
    log_line(http->server->log, LOG_DEBUG, "libmicrohttpd: %s", text);
}

static struct MHD_Daemon *start_daemon(struct event_loop *loop) {
    bool has_tls = loop->http->tls != NULL && !loop->is_admin;
    unsigned flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
                     (has_tls ? MHD_USE_TLS : 0);
    const struct MHD_OptionItem tls_options[] = {
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)"NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"},
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(uintptr_t)tls_retrieve},
        {MHD_OPTION_END, 0, NULL}};
    const struct MHD_OptionItem no_options[] = {{MHD_OPTION_END, 0, NULL}};
    return MHD_start_daemon(flags, 0, NULL, NULL, request_handle, loop,                //
                            MHD_OPTION_EXTERNAL_LOGGER, log_library, loop->http,       //
                            MHD_OPTION_CONNECTION_LIMIT, LIBRARY_CONNECTION_LIMIT,     //
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_POOL_BYTES, //
                            MHD_OPTION_CONNECTION_TIMEOUT, 0u,                         //
                            MHD_OPTION_STRICT_FOR_CLIENT, 1,                           //
                            MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,                      //
                            MHD_OPTION_NOTIFY_COMPLETED, request_completed, loop,      //
                            MHD_OPTION_NOTIFY_CONNECTION, sockets_notify, loop,        //
                            MHD_OPTION_URI_LOG_CALLBACK, request_line_read, loop,      //
                            MHD_OPTION_UNESCAPE_CALLBACK, unescape, loop,              //
                            MHD_OPTION_ARRAY, has_tls ? tls_options : no_options, MHD_OPTION_END);
}

static bool open_descriptors(struct event_loop *loop) {
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->watcher_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->epoll_fd < 0 || loop->watcher_fd < 0 || loop->event_fd < 0) {
        return false;
    }
    loop->daemon = start_daemon(loop);
    const union MHD_DaemonInfo *info =
        loop->daemon == NULL ? NULL : MHD_get_daemon_info(loop->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    return info != NULL && watch(loop->epoll_fd, info->epoll_fd, EPOLLIN, loop->daemon) &&
           watch(loop->epoll_fd, loop->event_fd, EPOLLIN, &loop->event_fd) &&
           watch(loop->epoll_fd, loop->watcher_fd, EPOLLIN, &loop->watcher_fd);
}

struct event_loop *event_loop_create(struct http *http, bool is_admin, char *why, size_t why_capacity) {
    struct event_loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL) {
        snprintf(why, why_capacity, "out of memory");
        return NULL;
    }
    loop->http = http;
    loop->is_admin = is_admin;
    loop->epoll_fd = loop->watcher_fd = loop->event_fd = -1;
    loop->turned_ns = loop->ticked_ns = clock_ns();
    pthread_mutex_init(&loop->finished_lock, NULL);
    if (getrandom(&loop->id_prefix, sizeof loop->id_prefix, 0) != (ssize_t)sizeof loop->id_prefix) {
        loop->id_prefix = clock_ns();
    }
    if (open_descriptors(loop)) {
        watch_listeners(loop, true);
        loop->is_started = pthread_create(&loop->thread, NULL, loop_main, loop) == 0;
    }
    if (!loop->is_started) {
        snprintf(why, why_capacity, "cannot start an event thread: %s", strerror(errno));
        event_loop_destroy(loop);
        return NULL;
    }
    return loop;
}

static void close_open(int fd) {
    if (fd >= 0) {
        close(fd);
    }
}

void event_loop_join(struct event_loop *loop) {
    if (loop->is_started) {
        event_loop_wake(loop);
        pthread_join(loop->thread, NULL);
        loop->is_started = false;
    }
}

void event_loop_destroy(struct event_loop *loop) {
    event_loop_join(loop);
    sockets_close_handed(loop);
    if (loop->daemon != NULL) {
        MHD_run(loop->daemon); /* what was resumed last */
        MHD_stop_daemon(loop->daemon);
    }
    sockets_close_refused(loop, UINT64_MAX);
    while (loop->spare_count > 0) {
        arena_destroy(loop->spare_arenas[--loop->spare_count]);
    }
    log_flush(loop->http->server->log, &loop->log_buffer);
    close_open(loop->epoll_fd);
    close_open(loop->watcher_fd);
    close_open(loop->event_fd);
    pthread_mutex_destroy(&loop->finished_lock);
    free(loop);
}
