/* `attnd healthcheck` against small listeners of its own, and `attnd check-config`. */
#include "server/config/commands.h"
#include "server/http/http.h"
#include "server/http/keys.h"
#include "tests/unit/run_suite.h"
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Answers one connection and remembers what it was asked. */
struct listener {
    int fd;
    const char *answer;
    char request[512];
    pthread_t thread;
};

static void *serve(void *argument) {
    struct listener *listener = argument;
    int fd = accept(listener->fd, NULL, NULL);
    ssize_t got = recv(fd, listener->request, sizeof listener->request - 1, 0);
    listener->request[got > 0 ? got : 0] = '\0';
    if (listener->answer != NULL)
        send(fd, listener->answer, strlen(listener->answer), MSG_NOSIGNAL);
    close(fd);
    return NULL;
}

static void start(struct listener *listener, const struct sockaddr *address, socklen_t length, const char *answer) {
    listener->answer = answer;
    listener->fd = socket(address->sa_family, SOCK_STREAM, 0);
    ck_assert_int_ge(listener->fd, 0);
    ck_assert_int_eq(bind(listener->fd, address, length), 0);
    ck_assert_int_eq(listen(listener->fd, 4), 0);
    ck_assert_int_eq(pthread_create(&listener->thread, NULL, serve, listener), 0);
}

static unsigned start_inet(struct listener *listener, const char *answer) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    start(listener, (struct sockaddr *)&address, length, answer);
    ck_assert_int_eq(getsockname(listener->fd, (struct sockaddr *)&address, &length), 0);
    return ntohs(address.sin_port);
}

static void stop(struct listener *listener) {
    pthread_join(listener->thread, NULL);
    close(listener->fd);
}

static int check_url(const char *url) {
    char *argv[] = {(char *)"healthcheck", (char *)url, NULL};
    return healthcheck_command(2, argv);
}

START_TEST(two_hundred_is_healthy_and_nothing_else) {
    static const struct {
        const char *answer;
        int code;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\n\r\n", 0},
        {"HTTP/1.1 503 Service Unavailable\r\n\r\n", 1},
        {"HTTP/1.1 204 No Content\r\n\r\n", 1},
        {"HTTP/1.", 1},
        {"SSH-2.0-OpenSSH_9.2", 1},
        {NULL, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct listener listener;
        char url[64];
        snprintf(url, sizeof url, "http://127.0.0.1:%u/", start_inet(&listener, cases[i].answer));
        ck_assert_int_eq(check_url(url), cases[i].code);
        stop(&listener);
        ck_assert_ptr_eq(strstr(listener.request, "GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:"), listener.request);
    }
}
END_TEST

START_TEST(without_a_url_the_listener_of_the_environment_is_asked) {
    char *argv[] = {(char *)"healthcheck", NULL};
    struct listener listener;
    char address[64];
    snprintf(address, sizeof address, "0.0.0.0:%u", start_inet(&listener, "HTTP/1.1 200 OK\r\n\r\n"));
    setenv("ATTND_LISTEN", address, 1);
    ck_assert_int_eq(healthcheck_command(1, argv), 0);
    unsetenv("ATTND_LISTEN");
    stop(&listener);
    snprintf(address, sizeof address, "127.0.0.1:%u", start_inet(&listener, "HTTP/1.1 200 OK\r\n\r\n"));
    setenv("ATTND_ADMIN_LISTEN", address, 1);
    ck_assert_int_eq(healthcheck_command(1, argv), 0);
    unsetenv("ATTND_ADMIN_LISTEN");
    stop(&listener);
}
END_TEST

START_TEST(socket_paths_and_ipv6_are_asked_too) {
    char folder[] = "/tmp/attnd-health-XXXXXX", url[128];
    struct listener listener;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", folder);
    start(&listener, (struct sockaddr *)&address, sizeof address, "HTTP/1.1 200 OK\r\n\r\n");
    snprintf(url, sizeof url, "unix:%s", address.sun_path);
    ck_assert_int_eq(check_url(url), 0);
    stop(&listener);
    unlink(address.sun_path);
    ck_assert_int_eq(check_url(url), 1);
    rmdir(folder);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    socklen_t length = sizeof six;
    int probe = socket(AF_INET6, SOCK_STREAM, 0);
    bool has_ipv6 = probe >= 0 && bind(probe, (struct sockaddr *)&six, length) == 0;
    if (probe >= 0)
        close(probe);
    if (!has_ipv6)
        return;
    start(&listener, (struct sockaddr *)&six, length, "HTTP/1.1 200 OK\r\n\r\n");
    ck_assert_int_eq(getsockname(listener.fd, (struct sockaddr *)&six, &length), 0);
    snprintf(url, sizeof url, "http://[::1]:%u", ntohs(six.sin6_port));
    ck_assert_int_eq(check_url(url), 0);
    stop(&listener);
}
END_TEST

START_TEST(urls_that_cannot_be_ones_are_unhealthy) {
    static const char *const urls[] = {
        "", "http://", "unix:relative", "http://[::1", "ftp://127.0.0.1:1", "127.0.0.1:99999"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++)
        ck_assert_msg(check_url(urls[i]) == 1, "%s", urls[i]);
}
END_TEST

static const struct config_checks checks = {keys_file_is_good, http_certificate_is_good};

static int check_config(const char *first, const char *second) {
    char *argv[] = {(char *)"check-config", (char *)first, (char *)second, NULL};
    return check_config_command(first == NULL ? 1 : second == NULL ? 2 : 3, argv, &checks);
}

START_TEST(check_config_reads_what_the_settings_name) {
    char folder[] = "/tmp/attnd-check-XXXXXX", path[64], flag[128], command[128];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(flag, sizeof flag, "--models=%s", folder);
    ck_assert_int_eq(check_config(flag, NULL), 0);
    ck_assert_int_eq(check_config("--models=/nowhere/at/all", NULL), 2);
    ck_assert_int_eq(check_config("--api-keys=/nowhere/at/all", NULL), 2);
    ck_assert_int_eq(check_config("--queue=x", NULL), 2);
    ck_assert_int_eq(check_config("--help", NULL), 0);
    snprintf(path, sizeof path, "%s/bad.safetensors", folder);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs("not a model", file);
    fclose(file);
    ck_assert_int_eq(check_config(flag, NULL), 0);
    ck_assert_int_eq(check_config(flag, "--strict-readiness"), 2);
    snprintf(flag, sizeof flag, "--model=m=%s", path);
    ck_assert_int_eq(check_config(flag, NULL), 2);
    snprintf(flag, sizeof flag, "--tls-cert=%s", path);
    char key[128];
    snprintf(key, sizeof key, "--tls-key=%s", path);
    ck_assert_int_eq(check_config(flag, key), 2);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("config commands");
    TCase *commands = tcase_create("commands");
    tcase_add_test(commands, two_hundred_is_healthy_and_nothing_else);
    tcase_add_test(commands, without_a_url_the_listener_of_the_environment_is_asked);
    tcase_add_test(commands, socket_paths_and_ipv6_are_asked_too);
    tcase_add_test(commands, urls_that_cannot_be_ones_are_unhealthy);
    tcase_add_test(commands, check_config_reads_what_the_settings_name);
    suite_add_tcase(suite, commands);
    return run_suite(suite);
}
