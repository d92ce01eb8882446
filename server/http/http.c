#include "server/http/http.h"
#include "server/base/clock.h"
#include "server/http/internal.h"
#include <stdlib.h>

/* An event thread also computes what is small, so each core has one: on two cores with the load generator on the same
 * two, 8 x 64 attention over 16 connections went from 25 000/s with one thread to 51 000/s with two. Requests that cost
 * nothing (/livez) would be answered faster by one alone, but no load consists of them. */
#define EVENT_THREADS_MAX 8

static size_t event_threads(const struct config *config) {
    return config->workers > EVENT_THREADS_MAX ? EVENT_THREADS_MAX : config->workers;
}

static bool start_loops(struct http *http, char *why, size_t why_capacity) {
    const struct config *config = http->server->config;
    bool has_admin = config->admin_listen != NULL && config->admin_listen[0] != '\0';
    size_t count = event_threads(config) + (has_admin ? 1 : 0);
    http->loops = calloc(count, sizeof *http->loops);
    if (http->loops == NULL) {
        snprintf(why, why_capacity, "out of memory");
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        struct event_loop *loop = event_loop_create(http, has_admin && i == count - 1, why, why_capacity);
        if (loop == NULL) {
            return false;
        }
        http->loops[http->loop_count] = loop;
        http->loop_count++; /* after it: the first threads look at them already, for /livez */
    }
    return true;
}

static bool wants_tls(const struct config *config) {
    return config->tls_cert != NULL && config->tls_cert[0] != '\0';
}

bool http_certificate_is_good(const struct config *config, char *why, size_t why_capacity) {
    struct tls *tls = wants_tls(config) ? tls_create(config->tls_cert, config->tls_key, why, why_capacity) : NULL;
    bool is_good = !wants_tls(config) || tls != NULL;
    tls_destroy(tls);
    return is_good;
}

struct http *http_create(struct server *server, char *why, size_t why_capacity) {
    const struct config *config = server->config;
    struct http *http = calloc(1, sizeof *http);
    if (http == NULL) {
        snprintf(why, why_capacity, "out of memory");
        return NULL;
    }
    http->server = server;
    server->http = http;
    pthread_mutex_init(&http->active_lock, NULL);
    if (wants_tls(config)) {
        http->tls = tls_create(config->tls_cert, config->tls_key, why, why_capacity);
    }
    if ((wants_tls(config) && http->tls == NULL) || !listeners_open(http, why, why_capacity) ||
        !start_loops(http, why, why_capacity)) {
        http_destroy(http);
        return NULL;
    }
    listeners_announce(http);
    return http;
}

bool http_reload_tls(struct http *http, char *why, size_t why_capacity) {
    return http->tls == NULL || tls_reload(http->tls, why, why_capacity);
}

static void wake_all(struct http *http) {
    for (size_t i = 0; i < http->loop_count; i++) {
        event_loop_wake(http->loops[i]);
    }
}

void http_stop_accepting(struct http *http) {
    listeners_shut(http);
    http->is_closing = true;
    wake_all(http);
}

void http_cancel_all(struct http *http) {
    http->is_cancelled = true;
    pthread_mutex_lock(&http->active_lock);
    for (struct request *request = http->active; request != NULL; request = request->next_active) {
        pool_job_cancel(&request->exchange.job, JOB_SHUTDOWN);
    }
    pthread_mutex_unlock(&http->active_lock);
}

size_t http_connections(const struct http *http) {
    return atomic_load(&http->connections);
}

bool http_is_alive(const struct http *http, double seconds) {
    uint64_t now = clock_ns();
    for (size_t i = 0; i < http->loop_count; i++) {
        uint64_t turned = atomic_load_explicit(&http->loops[i]->turned_ns, memory_order_relaxed);
        if (now > turned && (double)(now - turned) > seconds * 1e9) {
            return false;
        }
    }
    return true;
}

void http_write_active(struct http *http, FILE *to) {
    char path[512], model[1024];
    const char *separator = "";
    fputc('[', to);
    pthread_mutex_lock(&http->active_lock);
    for (const struct request *request = http->active; request != NULL; request = request->next_active) {
        log_escape(path, sizeof path, request->exchange.path);
        log_escape(model, sizeof model, request->exchange.model);
        fprintf(to,
                "%s{\"id\":\"%s\",\"route\":\"%s\",\"path\":\"%s\",\"model\":%s%s%s,\"phase\":\"%s\","
                "\"age_ms\":%.3f,\"bytes\":%llu}",
                separator, request->id, request->route->name, path, model[0] != '\0' ? "\"" : "",
                model[0] != '\0' ? model : "null", model[0] != '\0' ? "\"" : "",
                request->is_running ? "running" : "queued", clock_ms_since(request->complete_ns),
                (unsigned long long)request->received_bytes);
        separator = ",";
    }
    pthread_mutex_unlock(&http->active_lock);
    fputc(']', to);
}

void http_destroy(struct http *http) {
    if (http == NULL) {
        return;
    }
    http->is_ending = true;
    http_cancel_all(http);
    wake_all(http);
    for (size_t i = 0; i < http->loop_count; i++) {
        event_loop_join(http->loops[i]);
    }
    for (size_t i = 0; i < http->loop_count; i++) {
        event_loop_destroy(http->loops[i]);
    }
    listeners_close(http);
    tls_destroy(http->tls);
    pthread_mutex_destroy(&http->active_lock);
    free(http->loops);
    http->server->http = NULL;
    free(http);
}
