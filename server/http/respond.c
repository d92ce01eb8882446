#include "server/base/clock.h"
#include "server/http/internal.h"
#include "server/http/negotiate.h"
#include "server/http/squeeze.h"
#include <stdlib.h>
#include <string.h>

/* Answers up to this are made whole where they were computed, and get a Content-Length. */
#define PREFIX_BYTES ((size_t)64 << 10)
/* So much of a compressed answer is made on the worker: deflating takes a hundred times longer than sending. */
#define WORKER_PREFIX_BYTES ((size_t)4 << 20)
#define BLOCK_BYTES ((size_t)64 << 10)
/* Shorter answers fit one packet anyway. */
#define COMPRESS_BYTES ((size_t)1 << 10)
/* What compressing one answer takes (zconf.h). */
#define DEFLATE_BYTES ((size_t)320 << 10)
/* What an encoder needs at least. */
#define SMALLEST_PULL_BYTES ((size_t)64)

static void write_member(FILE *to, const char *name, const char *value) {
    char escaped[2048];
    if (value[0] != '\0') {
        log_escape(escaped, sizeof escaped, value);
        fprintf(to, ",\"%s\":\"%s\"", name, escaped);
    }
}

static void write_problem(FILE *to, const struct request *request, const struct problem *problem, bool is_v2) {
    char detail[2048];
    const char *text = problem->detail[0] != '\0' ? problem->detail : problem_title(problem->id);
    log_escape(detail, sizeof detail, text);
    fprintf(to, "{\"type\":\"%s\",\"title\":\"%s\",\"status\":%d,\"detail\":\"%s\"", problem_urn(problem->id),
            problem_title(problem->id), problem_status(problem->id), detail);
    write_member(to, "pointer", problem->pointer);
    write_member(to, "parameter", problem->parameter);
    if (problem->has_offset) {
        fprintf(to, ",\"offset\":%zu", problem->offset);
    }
    if (is_v2) {
        fprintf(to, ",\"error\":\"%s\"", detail);
    }
    fprintf(to, ",\"request_id\":\"%s\"}\n", request->id);
}

/** Puts the problem in place of the response. */
static void prepare_problem(struct request *request) {
    struct exchange *exchange = &request->exchange;
    const struct problem *problem = &exchange->problem;
    bool is_v2 = strncmp(exchange->path, "/v2", 3) == 0 && (exchange->path[3] == '/' || exchange->path[3] == '\0');
    char text[8192], number[16];
    FILE *to = fmemopen(text, sizeof text, "w");
    if (to != NULL) {
        write_problem(to, request, problem, is_v2);
        fclose(to);
    }
    size_t length = to == NULL ? 0 : strnlen(text, sizeof text);
    char *copy = arena_copy_text(exchange->arena, text, length);
    exchange->response.header_count = 0;
    exchange_reply(exchange, problem_status(problem->id), is_v2 ? "application/json" : "application/problem+json",
                   copy == NULL ? "" : copy, copy == NULL ? 0 : length);
    if (problem->retry_after_s > 0 || problem_status(problem->id) == 503) {
        snprintf(number, sizeof number, "%d", problem->retry_after_s > 0 ? problem->retry_after_s : 1);
        exchange_add_header(exchange, "Retry-After", number);
    }
    if (problem->allow[0] != '\0') {
        exchange_add_header(exchange, "Allow", problem->allow);
    }
    if (request->is_coding_refused) { /* with a 415 for this reason alone (RFC 9110, section 12.5.3) */
        exchange_add_header(exchange, "Accept-Encoding", "gzip, deflate");
    }
    if (problem->id == PROBLEM_UNAUTHORIZED) {
        exchange_add_header(exchange, "WWW-Authenticate", "Bearer realm=\"attnd\"");
    }
}

static void destroy_source(struct exchange *exchange) {
    struct body_source *source = &exchange->response.source;
    if (source->next != NULL && source->destroy != NULL) {
        source->destroy(source->self);
    }
    source->next = NULL;
}

/** Pulls the beginning of a source; a short one becomes bytes in one piece. */
static void pull_prefix(struct request *request, size_t capacity) {
    struct exchange *exchange = &request->exchange;
    struct exchange_response *response = &exchange->response;
    if (!exchange_reserve(exchange, capacity)) {
        return;
    }
    uint64_t started = clock_ns();
    char *prefix = arena_reserve(exchange->arena, capacity);
    size_t used = 0, made = 1;
    while (prefix != NULL && made > 0 && made != SIZE_MAX && capacity - used >= SMALLEST_PULL_BYTES) {
        made = response->source.next(response->source.self, prefix + used, capacity - used);
        used += made == SIZE_MAX ? 0 : made;
    }
    arena_commit(exchange->arena, used);
    if (prefix == NULL || made == SIZE_MAX) {
        problem_set(&exchange->problem, PROBLEM_INTERNAL, NULL, "the answer could not be written");
    } else if (made == 0) {
        destroy_source(exchange);
        response->bytes_length = used;
    }
    response->bytes = prefix;
    request->prefix_length = used;
    exchange->timings.encode_ms += clock_ms_since(started);
}

/** Compresses the answer where the route allows it, the client takes it and there is memory to spare. */
static bool compress(struct request *request) {
    struct exchange *exchange = &request->exchange;
    struct exchange_response *response = &exchange->response;
    bool is_worth_it = response->source.next != NULL || response->bytes_length >= COMPRESS_BYTES;
    if (!response->may_compress || !is_worth_it) {
        return false;
    }
    exchange_add_header(exchange, "Vary", "Accept-Encoding");
    enum coding coding = negotiate_coding(exchange_header(exchange, "Accept-Encoding"));
    if (coding == CODING_NONE || !budget_take(&exchange->server->memory, DEFLATE_BYTES)) {
        return false;
    }
    exchange->reserved_bytes += DEFLATE_BYTES;
    bool is_compressed = squeeze_response(response, coding);
    if (is_compressed) {
        exchange_add_header(exchange, "Content-Encoding", coding == CODING_GZIP ? "gzip" : "deflate");
    }
    return is_compressed;
}

/** A job that was stopped says why, whatever its route made of it. */
static void name_stop(struct request *request) {
    struct exchange *exchange = &request->exchange;
    int stop = atomic_load(&exchange->job.stop);
    if (exchange->problem.id != PROBLEM_DEADLINE || stop == JOB_DEADLINE || stop == JOB_GOES_ON) {
        return;
    }
    problem_set(&exchange->problem, stop == JOB_CLIENT_GONE ? PROBLEM_CLIENT_GONE : PROBLEM_DRAINING, NULL, "%s",
                stop == JOB_CLIENT_GONE ? "the client closed its connection" : "the server is shutting down");
}

void respond_prepare(struct request *request) {
    struct exchange *exchange = &request->exchange;
    name_stop(request);
    if (exchange->problem.id == PROBLEM_NONE && exchange->response.status == 0) {
        problem_set(&exchange->problem, PROBLEM_INTERNAL, NULL, "the route gave no answer");
    }
    bool is_compressed = exchange->problem.id == PROBLEM_NONE && compress(request);
    if (exchange->problem.id == PROBLEM_NONE && exchange->response.source.next != NULL) {
        bool is_on_worker = request->state == REQUEST_WORKING;
        pull_prefix(request, is_compressed && is_on_worker ? WORKER_PREFIX_BYTES : PREFIX_BYTES);
    }
    if (exchange->problem.id != PROBLEM_NONE) {
        destroy_source(exchange);
        prepare_problem(request);
    }
}

static ssize_t read_source(void *context, uint64_t position, char *to, size_t capacity) {
    struct request *request = context;
    struct body_source *source = &request->exchange.response.source;
    size_t made = 0;
    (void)position;
    if (request->prefix_used < request->prefix_length) {
        size_t left = request->prefix_length - request->prefix_used;
        made = left < capacity ? left : capacity;
        memcpy(to, request->exchange.response.bytes + request->prefix_used, made);
        request->prefix_used += made;
        request->sent_bytes += made;
        return (ssize_t)made;
    }
    uint64_t started = clock_ns();
    made = source->next(source->self, to, capacity);
    request->exchange.timings.encode_ms += clock_ms_since(started);
    if (made == SIZE_MAX) {
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    request->sent_bytes += made;
    return made == 0 ? MHD_CONTENT_READER_END_OF_STREAM : (ssize_t)made;
}

static const char *allowed_origin(struct exchange *exchange) {
    const struct config_list *allowed = &exchange->server->config->cors_origin;
    const char *origin = allowed->count == 0 ? NULL : exchange_header(exchange, "Origin");
    for (size_t i = 0; origin != NULL && i < allowed->count; i++) {
        if (strcmp(allowed->items[i], "*") == 0) {
            return "*";
        }
        if (strcmp(allowed->items[i], origin) == 0) {
            return origin;
        }
    }
    return NULL;
}

static void add_cors(struct MHD_Response *response, struct exchange *exchange) {
    const char *origin = allowed_origin(exchange);
    if (exchange->server->config->cors_origin.count > 0) {
        MHD_add_response_header(response, "Vary", "Origin");
    }
    if (origin == NULL) {
        return;
    }
    MHD_add_response_header(response, "Access-Control-Allow-Origin", origin);
    MHD_add_response_header(response, "Access-Control-Expose-Headers",
                            "X-Request-Id, Server-Timing, Location, ETag, Retry-After, X-Tensor-Shape, X-Tensor-Dtype");
}

static void add_timing(struct MHD_Response *response, const struct exchange_timings *timings) {
    const struct {
        const char *name;
        double ms;
    } phases[] = {{"queue;dur=", timings->queue_ms},
                  {", decode;dur=", timings->decode_ms},
                  {", compute;dur=", timings->compute_ms}};
    char text[128];
    size_t used = 0;
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++) {
        size_t length = strlen(phases[i].name);
        memcpy(text + used, phases[i].name, length);
        used += length;
        used += log_ms(text + used, phases[i].ms);
    }
    text[used] = '\0';
    MHD_add_response_header(response, "Server-Timing", text);
}

static void add_headers(struct MHD_Response *to, struct request *request) {
    struct exchange *exchange = &request->exchange;
    const struct exchange_response *response = &exchange->response;
    MHD_add_response_header(to, "X-Request-Id", request->id);
    MHD_add_response_header(to, "X-Content-Type-Options", "nosniff");
    if (response->content_type != NULL) {
        MHD_add_response_header(to, "Content-Type", response->content_type);
    }
    for (size_t i = 0; i < response->header_count; i++) {
        MHD_add_response_header(to, response->headers[i].name, response->headers[i].value);
    }
    add_timing(to, &exchange->timings);
    add_cors(to, exchange);
    if (request->must_close || exchange->server->is_draining) {
        MHD_add_response_header(to, "Connection", "close");
    }
}

static struct MHD_Response *make_response(struct request *request) {
    struct exchange_response *response = &request->exchange.response;
    if (response->source.next == NULL) {
        bool has_body = response->status != 304 && strcmp(request->exchange.method, "HEAD") != 0;
        request->sent_bytes = has_body ? response->bytes_length : 0;
        return MHD_create_response_from_buffer(response->bytes_length, (void *)response->bytes, MHD_RESPMEM_PERSISTENT);
    }
    uint64_t length = response->source.length == UINT64_MAX ? MHD_SIZE_UNKNOWN : response->source.length;
    return MHD_create_response_from_callback(length, BLOCK_BYTES, read_source, request, NULL);
}

enum MHD_Result respond_send(struct request *request) {
    struct MHD_Response *response = make_response(request);
    if (response == NULL) {
        return MHD_NO;
    }
    add_headers(response, request);
    request->state = REQUEST_ANSWERED;
    request->status = request->exchange.response.status;
    request->socket->phase = SOCKET_WRITING;
    request->socket->since_ns = clock_ns();
    request->socket->knows_progress = false;
    enum MHD_Result result = MHD_queue_response(request->connection, (unsigned)request->status, response);
    MHD_destroy_response(response);
    return result;
}
