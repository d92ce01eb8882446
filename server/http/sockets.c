#include "server/base/clock.h"
#include "server/http/internal.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Accepted in one turn, so that those who are here already get their turn too. */
#define ACCEPTS_A_TURN 64
/* Whoever probes and scrapes needs few; without a limit they could take all descriptors. */
#define ADMIN_CONNECTIONS 64
#define END_NS ((uint64_t)50000000)
#define REFUSED_LINGER_NS ((uint64_t)500000000)

/* ---- refused connections ---- */

static void send_raw(struct event_loop *loop, int fd, int status, const char *reason, enum problem_id id,
                     const struct request *request) {
    char body[1024], text[2048], fresh[REQUEST_ID_BYTES];
    const char *request_id = request == NULL ? request_fresh_id(loop, fresh) : request->id;
    int length = snprintf(body, sizeof body,
                          "{\"type\":\"%s\",\"title\":\"%s\",\"status\":%d,\"detail\":\"%s\",\"request_id\":\"%s\"}\n",
                          problem_urn(id), problem_title(id), status, reason, request_id);
    length = snprintf(text, sizeof text,
                      "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\n"
                      "X-Content-Type-Options: nosniff\r\nX-Request-Id: %s\r\n%sConnection: close\r\n\r\n%s",
                      status, status == 503 ? "Service Unavailable" : "Request Timeout", length, request_id,
                      status == 503 ? "Retry-After: 1\r\n" : "", body);
    if (send(fd, text, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        return; /* it will not be told then */
    }
}

/** Throws away what has come: closing with unread bytes would reset the connection before the answer is read. */
static void drain_input(int fd) {
    char sink[4096];
    for (int i = 0; i < 16 && recv(fd, sink, sizeof sink, MSG_DONTWAIT) > 0; i++) {
    }
}

static void refuse(struct event_loop *loop, int fd) {
    size_t oldest = 0;
    for (size_t i = 0; i < sizeof loop->refused / sizeof *loop->refused; i++) {
        oldest = loop->refused[i].until_ns < loop->refused[oldest].until_ns ? i : oldest;
    }
    metrics_connection_refused(loop->http->server->metrics);
    if (loop->http->tls == NULL || loop->is_admin) {
        drain_input(fd);
        send_raw(loop, fd, 503, "as many connections are open as --max-connections and --memory allow", PROBLEM_BUSY,
                 NULL);
    }
    shutdown(fd, SHUT_WR);
    if (loop->refused[oldest].until_ns != 0) {
        close(loop->refused[oldest].fd);
    }
    loop->refused[oldest].fd = fd;
    loop->refused[oldest].until_ns = clock_ns() + REFUSED_LINGER_NS;
}

void sockets_close_refused(struct event_loop *loop, uint64_t now) {
    for (size_t i = 0; i < sizeof loop->refused / sizeof *loop->refused; i++) {
        if (loop->refused[i].until_ns != 0 && loop->refused[i].until_ns <= now) {
            drain_input(loop->refused[i].fd);
            close(loop->refused[i].fd);
            loop->refused[i].until_ns = 0;
        }
    }
}

/* ---- accepted connections ---- */

static void name_peer(struct socket *socket, const struct sockaddr_storage *address) {
    const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)address;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)address;
    char text[INET6_ADDRSTRLEN] = "";
    if (address->ss_family == AF_INET) {
        socket->is_ip = true;
        socket->is_loopback = ntohl(four->sin_addr.s_addr) >> 24 == 127;
        inet_ntop(AF_INET, &four->sin_addr, text, sizeof text);
        snprintf(socket->peer, sizeof socket->peer, "%s:%u", text, ntohs(four->sin_port));
    } else if (address->ss_family == AF_INET6) {
        socket->is_ip = true;
        bool is_mapped = IN6_IS_ADDR_V4MAPPED(&six->sin6_addr);
        socket->is_loopback = IN6_IS_ADDR_LOOPBACK(&six->sin6_addr) || (is_mapped && six->sin6_addr.s6_addr[12] == 127);
        inet_ntop(AF_INET6, &six->sin6_addr, text, sizeof text);
        snprintf(socket->peer, sizeof socket->peer, "[%s]:%u", text, ntohs(six->sin6_port));
    } else {
        socket->is_loopback = true;
        snprintf(socket->peer, sizeof socket->peer, "unix");
    }
}

static bool take_place(struct event_loop *loop) {
    struct http *http = loop->http;
    size_t limit = http->server->config->max_connections;
    if (loop->is_admin) {
        return loop->socket_count < ADMIN_CONNECTIONS; /* never kept out by the others */
    }
    if (atomic_fetch_add(&http->connections, 1) >= limit) {
        atomic_fetch_sub(&http->connections, 1);
        return false;
    }
    if (!budget_take(&http->server->memory, CONNECTION_BYTES)) {
        atomic_fetch_sub(&http->connections, 1);
        return false;
    }
    return true;
}

static void give_place(struct http *http, bool is_admin) {
    if (!is_admin) {
        atomic_fetch_sub(&http->connections, 1);
        budget_give(&http->server->memory, CONNECTION_BYTES);
    }
}

static void take(struct event_loop *loop, int fd, const struct sockaddr_storage *address, socklen_t length) {
    const int one = 1;
    if (!take_place(loop)) {
        refuse(loop, fd);
        return;
    }
    struct socket *socket = calloc(1, sizeof *socket);
    if (socket == NULL) {
        give_place(loop->http, loop->is_admin);
        close(fd);
        return;
    }
    *socket = (struct socket){.loop = loop, .fd = fd, .since_ns = clock_ns(), .knows_progress = true};
    socket->is_tls = loop->http->tls != NULL && !loop->is_admin;
    name_peer(socket, address);
    if (socket->is_ip) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    loop->accepting = socket;
    MHD_add_connection(loop->daemon, fd, (const struct sockaddr *)address, length);
    if (loop->accepting != NULL) { /* refused by the library, which has closed the descriptor */
        loop->accepting = NULL;
        give_place(loop->http, loop->is_admin);
        free(socket);
    }
}

void sockets_notify(void *context, struct MHD_Connection *connection, void **socket_context,
                    enum MHD_ConnectionNotificationCode code) {
    struct event_loop *loop = context;
    (void)connection;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        struct socket *socket = loop->accepting;
        loop->accepting = NULL;
        *socket_context = socket;
        socket->next = loop->sockets;
        if (loop->sockets != NULL) {
            loop->sockets->previous = socket;
        }
        loop->sockets = socket;
        loop->socket_count++;
        metrics_connection(loop->http->server->metrics, 1);
        return;
    }
    struct socket *socket = *socket_context;
    *(socket->previous != NULL ? &socket->previous->next : &loop->sockets) = socket->next;
    if (socket->next != NULL) {
        socket->next->previous = socket->previous;
    }
    give_place(loop->http, loop->is_admin);
    loop->socket_count--;
    metrics_connection(loop->http->server->metrics, -1);
    free(socket);
}

/** An accepted connection on its way to the loop that will serve it. */
struct handed {
    int fd;
    socklen_t length;
    struct sockaddr_storage address;
    struct handed *next;
};

/** The loop with the fewest connections, this one if it is among them: whoever wakes first accepts all that wait. */
static struct event_loop *least_loaded(struct event_loop *loop) {
    struct event_loop *least = loop;
    struct http *http = loop->http;
    for (size_t i = 0; i < http->loop_count && !loop->is_admin; i++) {
        if (!http->loops[i]->is_admin && http->loops[i]->socket_count < least->socket_count) {
            least = http->loops[i];
        }
    }
    return least;
}

static void hand(struct event_loop *to, int fd, const struct sockaddr_storage *address, socklen_t length) {
    struct handed *handed = malloc(sizeof *handed);
    if (handed == NULL) {
        close(fd);
        return;
    }
    *handed = (struct handed){.fd = fd, .length = length, .address = *address};
    to->socket_count++;
    pthread_mutex_lock(&to->finished_lock);
    handed->next = to->inbox;
    to->inbox = handed;
    event_loop_wake(to); /* under the lock: once it is open the loop may end */
    pthread_mutex_unlock(&to->finished_lock);
}

static struct handed *empty_inbox(struct event_loop *loop) {
    pthread_mutex_lock(&loop->finished_lock);
    struct handed *handed = loop->inbox;
    loop->inbox = NULL;
    pthread_mutex_unlock(&loop->finished_lock);
    return handed;
}

void sockets_close_handed(struct event_loop *loop) {
    struct handed *handed = empty_inbox(loop);
    while (handed != NULL) {
        struct handed *next = handed->next;
        close(handed->fd);
        free(handed);
        handed = next;
    }
}

void sockets_take_handed(struct event_loop *loop) {
    struct handed *handed = empty_inbox(loop);
    while (handed != NULL) {
        struct handed *next = handed->next;
        loop->socket_count--; /* take counts it again */
        take(loop, handed->fd, &handed->address, handed->length);
        free(handed);
        handed = next;
    }
}

void sockets_accept(struct event_loop *loop, int listener_fd) {
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        struct sockaddr_storage address = {0};
        socklen_t length = sizeof address;
        int fd = accept4(listener_fd, (struct sockaddr *)&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            struct event_loop *least = least_loaded(loop);
            if (least == loop) {
                take(loop, fd, &address, length);
            } else {
                hand(least, fd, &address, length);
            }
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            loop->is_paused = true;
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}

/* ---- time limits ---- */

/** Readings of the clock come from different places of a turn: a phase may have begun after `now`. */
static bool is_over(const struct socket *socket, uint64_t now, uint64_t limit) {
    return now > socket->since_ns && now - socket->since_ns >= limit;
}

static void cut(struct socket *socket) {
    shutdown(socket->fd, SHUT_RDWR);
}

static uint64_t received_bytes(const struct socket *socket) {
    struct tcp_info info = {0};
    socklen_t length = sizeof info;
    if (!socket->is_ip || getsockopt(socket->fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) {
        return 0;
    }
    return info.tcpi_bytes_received;
}

/** A measure that changes when the peer takes bytes. */
static uint64_t taken_bytes(const struct socket *socket) {
    struct tcp_info info = {0};
    socklen_t length = sizeof info;
    int queued = 0;
    if (socket->is_ip && getsockopt(socket->fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0) {
        return info.tcpi_bytes_acked;
    }
    ioctl(socket->fd, SIOCOUTQ, &queued);
    return (uint64_t)queued + (socket->request == NULL ? 0 : socket->request->sent_bytes);
}

/** A request begins with its first byte, which the library shows nobody: the kernel's count tells. */
static void watch_idle(struct socket *socket, uint64_t now) {
    if (socket->is_tls) {
        return; /* the handshake is no request */
    }
    uint64_t received = received_bytes(socket);
    if (!socket->knows_progress) {
        socket->progress = received;
        socket->knows_progress = true;
    } else if (received != socket->progress) {
        socket->phase = SOCKET_READING;
        socket->since_ns = now;
    }
}

static void watch_reading(struct socket *socket, uint64_t now, uint64_t limit) {
    struct request *request = socket->request;
    if (!is_over(socket, now, limit)) {
        return;
    }
    if (request == NULL || request->state == REQUEST_READING) {
        if (!socket->is_tls) {
            drain_input(socket->fd);
            send_raw(socket->loop, socket->fd, 408, "the request took longer than --read-timeout to arrive",
                     PROBLEM_TOO_SLOW, request);
        }
        if (request != NULL) {
            request->status = 408;
        } else {
            const struct exchange_timings none = {0};
            metrics_request(socket->loop->http->server->metrics, NULL, 408, &none, (double)limit / 1e6, 0, 0);
        }
        cut(socket);
    }
}

static void watch_writing(struct socket *socket, uint64_t now, uint64_t limit) {
    uint64_t taken = taken_bytes(socket);
    if (!socket->knows_progress || taken != socket->progress) {
        socket->progress = taken;
        socket->knows_progress = true;
        socket->since_ns = now;
    } else if (is_over(socket, now, limit)) {
        cut(socket);
    }
}

/** Whether the peer sends no more and all that it sent has been read. */
static bool has_ended(const struct socket *socket) {
    struct pollfd state = {.fd = socket->fd, .events = POLLRDHUP};
    int unread = 0;
    return poll(&state, 1, 0) == 1 && (state.revents & POLLRDHUP) != 0 && ioctl(socket->fd, FIONREAD, &unread) == 0 &&
           unread == 0;
}

/**
 * Where the end comes together with the last bytes, the library reads these and does not look again: the connection
 * would stay until its time limit. A turn is left for requests that it has read and not begun.
 */
static void watch_end(struct socket *socket, uint64_t now) {
    bool is_reading =
        socket->phase == SOCKET_IDLE ||
        (socket->phase == SOCKET_READING && (socket->request == NULL || socket->request->state == REQUEST_READING));
    if (!is_reading || !has_ended(socket)) {
        socket->ended_ns = 0;
    } else if (socket->ended_ns == 0) {
        socket->ended_ns = now;
    } else if (now - socket->ended_ns >= END_NS && is_over(socket, now, END_NS)) {
        cut(socket);
    }
}

static uint64_t as_ns(double seconds) {
    return seconds >= 1e9 ? UINT64_MAX : (uint64_t)(seconds * 1e9);
}

void sockets_reap(struct event_loop *loop, uint64_t now) {
    const struct config *config = loop->http->server->config;
    uint64_t read_limit = as_ns(config->read_timeout_s), write_limit = as_ns(config->write_timeout_s),
             idle_limit = as_ns(config->idle_timeout_s);
    for (struct socket *socket = loop->sockets; socket != NULL; socket = socket->next) {
        watch_end(socket, now);
        switch (socket->phase) {
        case SOCKET_IDLE:
            watch_idle(socket, now);
            if (socket->phase == SOCKET_IDLE &&
                (is_over(socket, now, idle_limit) || (loop->http->is_closing && !loop->is_admin))) {
                cut(socket);
            }
            break;
        case SOCKET_READING:
            watch_reading(socket, now, read_limit);
            break;
        case SOCKET_WRITING:
            watch_writing(socket, now, write_limit);
            break;
        case SOCKET_WORKING:
            if (socket->request->state == REQUEST_WORKING) {
                request_withdraw(socket->request);
            }
            break;
        }
    }
}
