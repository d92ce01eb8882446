#include "server/config/address.h"
#include "server/http/internal.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 4096

/** Removes a socket file that nobody serves any more; anything else is left, and binding fails. */
static void remove_stale(const struct sockaddr_un *address) {
    struct stat status;
    if (stat(address->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode)) {
        return;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 && errno == ECONNREFUSED) {
        unlink(address->sun_path);
    }
    if (fd >= 0) {
        close(fd);
    }
}

static int bind_and_listen(const struct address *address) {
    const int one = 1;
    int family = address->socket.ss_family;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    if (family == AF_UNIX) {
        remove_stale((const struct sockaddr_un *)(const void *)&address->socket);
    } else {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    }
    if (family == AF_INET6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    }
    if (bind(fd, (const struct sockaddr *)&address->socket, address->length) != 0 || listen(fd, BACKLOG) != 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/** Says where it listens, with the port that the system has picked. */
static void announce(struct http *http, const struct listener *listener) {
    struct sockaddr_storage bound = {0};
    socklen_t length = sizeof bound;
    char host[INET6_ADDRSTRLEN] = "";
    const char *scheme = http->tls != NULL && !listener->is_admin ? "https" : "http";
    const char *what = listener->is_admin ? "admin listening on" : "listening on";
    getsockname(listener->fd, (struct sockaddr *)&bound, &length);
    const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)&bound;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)&bound;
    if (bound.ss_family == AF_INET) {
        inet_ntop(AF_INET, &four->sin_addr, host, sizeof host);
        log_line(http->server->log, LOG_INFO, "%s %s://%s:%u", what, scheme, host, ntohs(four->sin_port));
    } else if (bound.ss_family == AF_INET6) {
        inet_ntop(AF_INET6, &six->sin6_addr, host, sizeof host);
        log_line(http->server->log, LOG_INFO, "%s %s://[%s]:%u", what, scheme, host, ntohs(six->sin6_port));
    } else {
        log_line(http->server->log, LOG_INFO, "%s unix:%s", what, listener->unix_path);
    }
}

static bool open_one(struct http *http, const char *text, bool is_admin, char *why, size_t why_capacity) {
    struct address address = {0};
    struct listener *listener = &http->listeners[http->listener_count];
    if (!address_parse(text, &address)) {
        snprintf(why, why_capacity, "%s: expected %s", text, ADDRESS_ALLOWED);
        return false;
    }
    listener->fd = bind_and_listen(&address);
    if (listener->fd < 0) {
        snprintf(why, why_capacity, "cannot listen on %s: %s", text, strerror(errno));
        return false;
    }
    listener->is_admin = is_admin;
    if (address.socket.ss_family == AF_UNIX) {
        const struct sockaddr_un *local = (const struct sockaddr_un *)(const void *)&address.socket;
        snprintf(listener->unix_path, sizeof listener->unix_path, "%s", local->sun_path);
    }
    http->listener_count++;
    return true;
}

bool listeners_open(struct http *http, char *why, size_t why_capacity) {
    const struct config *config = http->server->config;
    http->listeners = calloc(config->listen.count + 1, sizeof *http->listeners);
    if (http->listeners == NULL) {
        snprintf(why, why_capacity, "out of memory");
        return false;
    }
    for (size_t i = 0; i < config->listen.count; i++) {
        if (!open_one(http, config->listen.items[i], false, why, why_capacity)) {
            return false;
        }
    }
    return config->admin_listen == NULL || config->admin_listen[0] == '\0' ||
           open_one(http, config->admin_listen, true, why, why_capacity);
}

void listeners_announce(struct http *http) {
    for (size_t i = 0; i < http->listener_count; i++) {
        announce(http, &http->listeners[i]);
    }
}

void listeners_shut(struct http *http) {
    for (size_t i = 0; i < http->listener_count; i++) {
        if (http->listeners[i].is_admin) {
            continue; /* it tells that the server drains, to the end */
        }
        shutdown(http->listeners[i].fd, SHUT_RDWR);
        if (http->listeners[i].unix_path[0] != '\0') {
            unlink(http->listeners[i].unix_path);
            http->listeners[i].unix_path[0] = '\0';
        }
    }
}

void listeners_close(struct http *http) {
    for (size_t i = 0; i < http->listener_count; i++) {
        close(http->listeners[i].fd);
        if (http->listeners[i].unix_path[0] != '\0') {
            unlink(http->listeners[i].unix_path);
        }
    }
    free(http->listeners);
}
