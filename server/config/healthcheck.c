#include "server/config/address.h"
#include "server/config/commands.h"
#include "server/config/config.h"
#include <errno.h>
#include <gnutls/gnutls.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define PATIENCE_S 3

/* Where to ask. */
struct target {
    struct address address;
    char host[320]; /* for the Host header */
    bool is_tls;
};

static bool resolve(const char *host, const char *port, struct address *address) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    /* the C library would take a port beyond 16 bits, and cut it */
    if (port[0] == '\0' || strlen(port) > 5 || port[strspn(port, "0123456789")] != '\0' || atoi(port) > 65535 ||
        getaddrinfo(host, port, &hints, &found) != 0)
        return false;
    memcpy(&address->socket, found->ai_addr, found->ai_addrlen);
    address->length = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

/* "host[:port]" with whatever path behind it; the port is the scheme's where it is missing. */
static bool parse_authority(const char *text, struct target *target) {
    char with_port[384], *colon;
    size_t length = strcspn(text, "/?#");
    if (length == 0 || length >= sizeof target->host)
        return false;
    snprintf(target->host, sizeof target->host, "%.*s", (int)length, text);
    char *behind = target->host[0] == '[' ? strchr(target->host, ']') : target->host;
    if (behind == NULL)
        return false;
    const char *standard = strchr(behind, ':') != NULL ? "" : target->is_tls ? ":443" : ":80";
    snprintf(with_port, sizeof with_port, "%s%s", target->host, standard);
    if (address_parse(with_port, &target->address))
        return true;
    colon = strrchr(with_port, ':');
    *colon = '\0';
    return with_port[0] != '[' && resolve(with_port, colon + 1, &target->address);
}

static bool parse_url(const char *url, struct target *target) {
    memset(target, 0, sizeof *target);
    if (strncmp(url, "unix:", 5) == 0) {
        snprintf(target->host, sizeof target->host, "localhost");
        return address_parse(url, &target->address);
    }
    target->is_tls = strncmp(url, "https://", 8) == 0;
    if (target->is_tls || strncmp(url, "http://", 7) == 0)
        return parse_authority(url + (target->is_tls ? 8 : 7), target);
    return parse_authority(url, target);
}

static bool target_from_settings(struct target *target) {
    struct config config;
    char *no_arguments[] = {(char *)"healthcheck", NULL};
    memset(target, 0, sizeof *target);
    if (config_read(&config, 1, no_arguments) != CONFIG_RUN)
        return false;
    const char *where = config.admin_listen != NULL ? config.admin_listen : config.listen.items[0];
    bool is_fine = address_parse(where, &target->address);
    address_make_callable(&target->address);
    snprintf(target->host, sizeof target->host, "localhost");
    target->is_tls = config.tls_cert != NULL && config.admin_listen == NULL;
    config_reset(&config);
    return is_fine;
}

static int connect_to(const struct target *target) {
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(target->address.socket.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (const struct sockaddr *)&target->address.socket, target->address.length) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Reads the status line's bytes, as far as "HTTP/1.1 200". */
#define STATUS_BYTES 12

static bool ask_plain(int fd, const char *request, char *status) {
    size_t length = strlen(request), got = 0;
    if (send(fd, request, length, MSG_NOSIGNAL) != (ssize_t)length)
        return false;
    while (got < STATUS_BYTES) {
        ssize_t bytes = recv(fd, status + got, STATUS_BYTES - got, 0);
        if (bytes <= 0)
            return false;
        got += (size_t)bytes;
    }
    return true;
}

/* The peer is this machine's own server: its certificate, made for a public name, is not verified. */
static bool ask_tls(int fd, const char *request, char *status) {
    gnutls_session_t session = NULL;
    gnutls_certificate_credentials_t credentials = NULL;
    size_t length = strlen(request), got = 0;
    bool is_answered = false;
    if (gnutls_certificate_allocate_credentials(&credentials) < 0)
        return false;
    if (gnutls_init(&session, GNUTLS_CLIENT) < 0 || gnutls_set_default_priority(session) < 0 ||
        gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials) < 0)
        goto cleanup;
    gnutls_transport_set_int(session, fd);
    gnutls_handshake_set_timeout(session, PATIENCE_S * 1000);
    if (gnutls_handshake(session) < 0 || gnutls_record_send(session, request, length) != (ssize_t)length)
        goto cleanup;
    while (got < STATUS_BYTES) {
        ssize_t bytes = gnutls_record_recv(session, status + got, STATUS_BYTES - got);
        if (bytes <= 0)
            goto cleanup;
        got += (size_t)bytes;
    }
    is_answered = true;
cleanup:
    if (session != NULL)
        gnutls_deinit(session);
    gnutls_certificate_free_credentials(credentials);
    return is_answered;
}

static int ask(const struct target *target) {
    char request[512], status[STATUS_BYTES + 1] = "";
    snprintf(request, sizeof request, "GET /readyz HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", target->host);
    int fd = connect_to(target);
    if (fd < 0) {
        fprintf(stderr, "attnd healthcheck: cannot connect: %s\n", strerror(errno));
        return 1;
    }
    bool is_answered = target->is_tls ? ask_tls(fd, request, status) : ask_plain(fd, request, status);
    close(fd);
    if (is_answered && strncmp(status, "HTTP/1.", 7) == 0 && strcmp(status + 8, " 200") == 0)
        return 0;
    fprintf(stderr, "attnd healthcheck: not ready: %s\n", is_answered ? status : "no answer");
    return 1;
}

int healthcheck_command(int argc, char **argv) {
    struct target target;
    if (argc > 2 || (argc == 2 && !parse_url(argv[1], &target))) {
        fprintf(stderr,
                "attnd healthcheck: \"%s\" is not allowed; allowed is one URL such as http://127.0.0.1:8080, "
                "http://[::1]:8080 or unix:/path\n",
                argv[argc > 2 ? 2 : 1]);
        return 1;
    }
    if (argc < 2 && !target_from_settings(&target))
        return 1;
    return ask(&target);
}
