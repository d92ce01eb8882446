#include "server/base/clock.h"
#include "server/config/commands.h"
#include "server/config/models.h"
#include "server/http/http.h"
#include "server/http/keys.h"
#include "server/http/log.h"
#include "server/http/metrics.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* What is in work when the drain time is over is told to stop; it looks at the flag between blocks of work. */
#define CANCEL_SECONDS 5

enum { EXIT_SECOND_SIGNAL = 1, EXIT_BAD_SETTINGS = 2 };

/** Everything that lives as long as the process. */
struct attnd {
    struct config config;
    struct log log;
    struct server server;
    int signal_fd;
};

static void raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/*
 * The writing end of the pipe of signals. A signal handler has no context, so this one thing is the process's. Blocking
 * signals and reading them from a signalfd would not do: libraries may have made threads before main began, which do
 * not inherit the mask and would die of the signal.
 */
static volatile sig_atomic_t signal_pipe = -1;

static void pass_signal_on(int number) {
    int saved = errno;
    unsigned char byte = (unsigned char)number;
    ssize_t written = write(signal_pipe, &byte, 1);
    (void)written; /* a full pipe holds signals enough */
    errno = saved;
}

/** Signals come as bytes out of a pipe that main alone reads. @return its reading end, or -1 */
static int open_signals(void) {
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    const struct sigaction pass_on = {.sa_handler = pass_signal_on, .sa_flags = SA_RESTART};
    int ends[2];
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* an upload past the process's file size limit is a 507 */
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        return -1;
    }
    signal_pipe = ends[1];
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        sigaction(numbers[i], &pass_on, NULL);
    }
    return ends[0];
}

/** Waits for a signal. @return it, or 0 when `timeout_ms` (-1: for ever) have passed */
static int next_signal(const struct attnd *attnd, int timeout_ms) {
    unsigned char number;
    struct pollfd wait = {.fd = attnd->signal_fd, .events = POLLIN};
    if (poll(&wait, 1, timeout_ms) <= 0 || read(attnd->signal_fd, &number, 1) != 1) {
        return 0;
    }
    return number;
}

static void reload(struct attnd *attnd) {
    char why[512];
    struct server *server = &attnd->server;
    log_line(&attnd->log, LOG_INFO, "SIGHUP: reading keys, certificates and models again");
    if (server->keys != NULL && !keys_reload(server->keys, why, sizeof why)) {
        log_line(&attnd->log, LOG_ERROR, "the old keys stay: %s", why);
    }
    if (!http_reload_tls(server->http, why, sizeof why)) {
        log_line(&attnd->log, LOG_ERROR, "the old certificate stays: %s", why);
    }
    registry_rescan(server->registry);
}

/* ---- start ---- */

static bool open_keys(struct attnd *attnd, char *why, size_t why_capacity) {
    const char *path = attnd->config.api_keys;
    char cause[400] = "";
    if (path == NULL || path[0] == '\0') {
        return true;
    }
    attnd->server.keys = keys_open(path, cause, sizeof cause);
    if (attnd->server.keys == NULL) {
        snprintf(why, why_capacity, "--api-keys: %s; allowed is a file of lines `KEY SCOPES [NAME] [rate=N/s]`", cause);
    }
    return attnd->server.keys != NULL;
}

/** @param status what to exit with where it fails: files that flags name and that are no good are bad values */
static bool start(struct attnd *attnd, int *status, char *why, size_t why_capacity) {
    struct server *server = &attnd->server;
    const struct config *config = &attnd->config;
    server->config = config;
    server->log = &attnd->log;
    budget_init(&server->memory, config->memory);
    server->metrics = metrics_create(routes, route_count);
    server->pool = pool_create(config->workers, config->queue);
    if (server->metrics == NULL || server->pool == NULL) {
        snprintf(why, why_capacity, "out of memory or threads");
        return false;
    }
    *status = EXIT_BAD_SETTINGS;
    if (!open_keys(attnd, why, why_capacity) ||
        (server->registry = config_open_registry(config, why, why_capacity)) == NULL ||
        !http_certificate_is_good(config, why, why_capacity)) {
        return false;
    }
    *status = EXIT_FAILURE;
    return http_create(server, why, why_capacity) != NULL;
}

static void stop(struct attnd *attnd) {
    struct server *server = &attnd->server;
    http_destroy(server->http);
    pool_destroy(server->pool);
    registry_destroy(server->registry);
    keys_close(server->keys);
    metrics_destroy(server->metrics);
    config_reset(&attnd->config);
    close(attnd->signal_fd);
}

/* ---- drain ---- */

/** Waits until no connection is open, a second signal comes (true) or the time is over. */
static bool wait_for_connections(struct attnd *attnd, double seconds) {
    uint64_t began = clock_ns();
    while (http_connections(attnd->server.http) > 0 && clock_ms_since(began) < seconds * 1e3) {
        int signal = next_signal(attnd, 10);
        if (signal == SIGTERM || signal == SIGINT) {
            return true;
        }
    }
    return false;
}

/** Serves on for --shutdown-delay. @return whether a second signal came */
static bool delay(struct attnd *attnd) {
    uint64_t began = clock_ns();
    double limit = attnd->config.shutdown_delay_s * 1e3, left;
    while ((left = limit - clock_ms_since(began)) > 0) {
        int signal = next_signal(attnd, left > 1e6 ? 1000000 : (int)left + 1);
        if (signal == SIGTERM || signal == SIGINT) {
            return true;
        }
    }
    return false;
}

/** @return whether a second signal came */
static bool drain(struct attnd *attnd) {
    attnd->server.is_draining = true;
    log_line(&attnd->log, LOG_INFO, "draining: %zu connections", http_connections(attnd->server.http));
    if (delay(attnd)) {
        return true;
    }
    http_stop_accepting(attnd->server.http);
    if (wait_for_connections(attnd, attnd->config.drain_timeout_s)) {
        return true;
    }
    if (http_connections(attnd->server.http) > 0) {
        log_line(&attnd->log, LOG_WARN, "--drain-timeout is over: stopping what is in work");
        http_cancel_all(attnd->server.http);
        return wait_for_connections(attnd, CANCEL_SECONDS);
    }
    return false;
}

static int serve(struct attnd *attnd) {
    int signal;
    while ((signal = next_signal(attnd, -1)) != SIGTERM && signal != SIGINT) {
        if (signal == SIGHUP) {
            reload(attnd);
        }
    }
    if (drain(attnd)) {
        log_line(&attnd->log, LOG_WARN, "second signal: exiting at once");
        quick_exit(EXIT_SECOND_SIGNAL);
    }
    if (http_connections(attnd->server.http) > 0 && pool_state(attnd->server.pool).busy > 0) {
        log_line(&attnd->log, LOG_ERROR, "a worker does not stop: ending without it");
        _exit(EXIT_SUCCESS);
    }
    log_line(&attnd->log, LOG_INFO, "drained");
    return EXIT_SUCCESS;
}

static int run(int argc, char **argv) {
    struct attnd attnd = {.signal_fd = -1};
    char why[640] = "";
    enum config_outcome outcome = config_read(&attnd.config, argc, argv);
    if (outcome != CONFIG_RUN) {
        return outcome == CONFIG_EXIT ? EXIT_SUCCESS : EXIT_BAD_SETTINGS;
    }
    attnd.server.started_ns = clock_ns();
    attnd.log = (struct log){attnd.config.log_format, attnd.config.log_level, STDERR_FILENO};
    attnd.signal_fd = open_signals();
    raise_descriptor_limit();
    /* Freed memory should go back to the system rather than stay in an arena a thread. */
    mallopt(M_ARENA_MAX, 2);
    int status = EXIT_FAILURE;
    if (attnd.signal_fd < 0 || !start(&attnd, &status, why, sizeof why)) {
        log_line(&attnd.log, LOG_ERROR, "cannot start: %s", why[0] != '\0' ? why : strerror(errno));
    } else {
        status = serve(&attnd);
    }
    stop(&attnd);
    return status;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "healthcheck") == 0) {
        return healthcheck_command(argc - 1, argv + 1);
    }
    if (argc > 1 && strcmp(argv[1], "check-config") == 0) {
        const struct config_checks checks = {keys_file_is_good, http_certificate_is_good};
        return check_config_command(argc - 1, argv + 1, &checks);
    }
    return run(argc, argv);
}
