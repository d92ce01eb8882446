#include "server/http/metrics.h"
#include "server/base/clock.h"
#include "server/routes/context.h"
#include <stdlib.h>

/* Statuses that the server gives; what is none of them counts as the last. */
static const int statuses[] = {200, 201, 204, 206, 304, 400, 401, 403, 404, 405, 406, 408, 409, 411, 412,
                               413, 414, 415, 416, 417, 422, 429, 431, 499, 500, 501, 503, 504, 507, 0};
#define STATUS_COUNT (sizeof statuses / sizeof *statuses)

static const double bounds_s[] = {0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                  0.05,    0.1,    0.25,    0.5,    1,     2.5,    5,     10,   30};
#define BOUND_COUNT (sizeof bounds_s / sizeof *bounds_s)

enum phase { PHASE_READ, PHASE_QUEUE, PHASE_DECODE, PHASE_COMPUTE, PHASE_ENCODE, PHASE_TOTAL, PHASE_COUNT };
static const char *const phase_names[] = {"read", "queue", "decode", "compute", "encode", "total"};

struct histogram {
    _Atomic uint64_t buckets[BOUND_COUNT + 1];
    _Atomic uint64_t sum_ns;
};

struct metrics {
    const struct route *routes;
    size_t route_count;
    struct histogram phases[PHASE_COUNT];
    _Atomic uint64_t bytes_in, bytes_out, accepted, refused;
    _Atomic size_t connections;
    _Atomic uint64_t requests[]; /* route_count + 1 rows of STATUS_COUNT */
};

static void add(_Atomic uint64_t *counter, uint64_t value) {
    atomic_fetch_add_explicit(counter, value, memory_order_relaxed);
}

static unsigned long long get(const _Atomic uint64_t *counter) {
    return atomic_load_explicit(counter, memory_order_relaxed);
}

struct metrics *metrics_create(const struct route *table, size_t count) {
    struct metrics *metrics = calloc(1, sizeof *metrics + (count + 1) * STATUS_COUNT * sizeof(uint64_t));
    if (metrics != NULL) {
        metrics->routes = table;
        metrics->route_count = count;
    }
    return metrics;
}

void metrics_destroy(struct metrics *metrics) {
    free(metrics);
}

static void observe(struct histogram *histogram, double ms) {
    size_t i = 0;
    while (i < BOUND_COUNT && ms > bounds_s[i] * 1e3) {
        i++;
    }
    add(&histogram->buckets[i], 1);
    add(&histogram->sum_ns, ms > 0 ? (uint64_t)(ms * 1e6) : 0);
}

void metrics_request(struct metrics *metrics, const struct route *route, int status,
                     const struct exchange_timings *timings, double total_ms, uint64_t bytes_in, uint64_t bytes_out) {
    const double ms[PHASE_TOTAL] = {timings->read_ms, timings->queue_ms, timings->decode_ms, timings->compute_ms,
                                    timings->encode_ms};
    size_t row = route == NULL ? metrics->route_count : (size_t)(route - metrics->routes);
    size_t column = 0;
    while (column < STATUS_COUNT - 1 && statuses[column] != status) {
        column++;
    }
    add(&metrics->requests[row * STATUS_COUNT + column], 1);
    add(&metrics->bytes_in, bytes_in);
    add(&metrics->bytes_out, bytes_out);
    for (size_t i = 0; i < PHASE_TOTAL; i++) {
        if (ms[i] > 0) {
            observe(&metrics->phases[i], ms[i]);
        }
    }
    observe(&metrics->phases[PHASE_TOTAL], total_ms);
}

void metrics_connection(struct metrics *metrics, int change) {
    if (change > 0) {
        add(&metrics->accepted, 1);
        atomic_fetch_add_explicit(&metrics->connections, 1, memory_order_relaxed);
        return;
    }
    atomic_fetch_sub_explicit(&metrics->connections, 1, memory_order_relaxed);
}

void metrics_connection_refused(struct metrics *metrics) {
    add(&metrics->refused, 1);
}

size_t metrics_connections(const struct metrics *metrics) {
    return atomic_load_explicit(&metrics->connections, memory_order_relaxed);
}

static void write_requests(const struct metrics *metrics, FILE *to) {
    fprintf(to, "# HELP attnd_requests_total Requests answered, by route and status.\n"
                "# TYPE attnd_requests_total counter\n");
    for (size_t row = 0; row <= metrics->route_count; row++) {
        const char *route = row < metrics->route_count ? metrics->routes[row].name : "none";
        for (size_t column = 0; column < STATUS_COUNT; column++) {
            unsigned long long count = get(&metrics->requests[row * STATUS_COUNT + column]);
            if (count > 0) {
                fprintf(to, "attnd_requests_total{route=\"%s\",status=\"%d\"} %llu\n", route, statuses[column], count);
            }
        }
    }
}

static void write_phases(const struct metrics *metrics, FILE *to) {
    fprintf(to, "# HELP attnd_request_phase_seconds Time of requests by phase.\n"
                "# TYPE attnd_request_phase_seconds histogram\n");
    for (size_t phase = 0; phase < PHASE_COUNT; phase++) {
        const struct histogram *histogram = &metrics->phases[phase];
        unsigned long long total = 0;
        for (size_t i = 0; i < BOUND_COUNT; i++) {
            total += get(&histogram->buckets[i]);
            fprintf(to, "attnd_request_phase_seconds_bucket{phase=\"%s\",le=\"%g\"} %llu\n", phase_names[phase],
                    bounds_s[i], total);
        }
        total += get(&histogram->buckets[BOUND_COUNT]);
        fprintf(to,
                "attnd_request_phase_seconds_bucket{phase=\"%s\",le=\"+Inf\"} %llu\n"
                "attnd_request_phase_seconds_sum{phase=\"%s\"} %.9f\n"
                "attnd_request_phase_seconds_count{phase=\"%s\"} %llu\n",
                phase_names[phase], total, phase_names[phase], (double)get(&histogram->sum_ns) / 1e9,
                phase_names[phase], total);
    }
}

static void write_one(FILE *to, const char *name, const char *type, const char *help, double value) {
    fprintf(to, "# HELP %s %s\n# TYPE %s %s\n%s %.17g\n", name, help, name, type, name, value);
}

void metrics_write(const struct metrics *metrics, const struct server *server, FILE *to) {
    struct pool_state pool = pool_state(server->pool);
    write_requests(metrics, to);
    write_phases(metrics, to);
    fprintf(to,
            "# HELP attnd_build_info The running version.\n# TYPE attnd_build_info gauge\n"
            "attnd_build_info{version=\"%s\"} 1\n",
            ATTN_VERSION);
    const struct {
        const char *name, *type, *help;
        double value;
    } singles[] = {
        {"attnd_received_bytes_total", "counter", "Bytes of request bodies.", (double)get(&metrics->bytes_in)},
        {"attnd_sent_bytes_total", "counter", "Bytes of response bodies.", (double)get(&metrics->bytes_out)},
        {"attnd_connections", "gauge", "Open connections.", (double)metrics_connections(metrics)},
        {"attnd_connections_accepted_total", "counter", "Connections taken.", (double)get(&metrics->accepted)},
        {"attnd_connections_refused_total", "counter", "Connections past a limit.", (double)get(&metrics->refused)},
        {"attnd_connections_limit", "gauge", "--max-connections.", (double)server->config->max_connections},
        {"attnd_queue_depth", "gauge", "Requests that wait for a worker.", (double)pool.queued},
        {"attnd_queue_limit", "gauge", "Requests that may wait.", (double)pool.queue_limit},
        {"attnd_workers", "gauge", "Worker threads.", (double)pool.workers},
        {"attnd_workers_busy", "gauge", "Worker threads at work.", (double)pool.busy},
        {"attnd_memory_used_bytes", "gauge", "Taken of --memory.", (double)budget_used(&server->memory)},
        {"attnd_memory_limit_bytes", "gauge", "--memory.", (double)server->memory.limit},
        {"attnd_draining", "gauge", "1 while shutting down.", server->is_draining ? 1 : 0},
        {"attnd_uptime_seconds", "gauge", "Since the start.", clock_ms_since(server->started_ns) / 1e3},
    };
    for (size_t i = 0; i < sizeof singles / sizeof *singles; i++) {
        write_one(to, singles[i].name, singles[i].type, singles[i].help, singles[i].value);
    }
}
