#include "server/config/address.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static bool parse_port(const char *text, in_port_t *port) {
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 5 || text[digits] != '\0')
        return false;
    long number = strtol(text, NULL, 10);
    if (number > 65535)
        return false;
    *port = htons((in_port_t)number);
    return true;
}

static bool parse_unix(const char *path, struct address *address) {
    struct sockaddr_un *to = (struct sockaddr_un *)&address->socket;
    size_t length = strlen(path);
    if (path[0] != '/' || length >= sizeof to->sun_path)
        return false;
    to->sun_family = AF_UNIX;
    memcpy(to->sun_path, path, length + 1);
    address->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
    return true;
}

static bool parse_inet6(const char *text, struct address *address) {
    struct sockaddr_in6 *to = (struct sockaddr_in6 *)&address->socket;
    char host[INET6_ADDRSTRLEN];
    const char *end = strchr(text, ']');
    if (end == NULL || end[1] != ':' || (size_t)(end - text) > sizeof host)
        return false;
    snprintf(host, sizeof host, "%.*s", (int)(end - text - 1), text + 1);
    to->sin6_family = AF_INET6;
    address->length = sizeof *to;
    return inet_pton(AF_INET6, host, &to->sin6_addr) == 1 && parse_port(end + 2, &to->sin6_port);
}

static bool parse_inet4(const char *text, struct address *address) {
    struct sockaddr_in *to = (struct sockaddr_in *)&address->socket;
    char host[INET_ADDRSTRLEN];
    const char *colon = strrchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= sizeof host)
        return false;
    snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
    to->sin_family = AF_INET;
    address->length = sizeof *to;
    return inet_pton(AF_INET, host, &to->sin_addr) == 1 && parse_port(colon + 1, &to->sin_port);
}

bool address_parse(const char *text, struct address *address) {
    memset(address, 0, sizeof *address);
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(text + 5, address);
    if (text[0] == '[')
        return parse_inet6(text, address);
    return parse_inet4(text, address);
}

void address_make_callable(struct address *address) {
    struct sockaddr_in *four = (struct sockaddr_in *)&address->socket;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&address->socket;
    if (address->socket.ss_family == AF_INET && four->sin_addr.s_addr == htonl(INADDR_ANY))
        four->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (address->socket.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr))
        six->sin6_addr = in6addr_loopback;
}
