#include "server/http/internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A chunked body takes its memory from the budget in steps of this. */
#define BUDGET_STEP_BYTES ((size_t)256 << 10)
/* So much behind the limit is read and dropped, for a client that reads its answer only when it has sent all. */
#define DROPPED_BYTES ((uint64_t)16 << 20)
/* Routes may look one vector behind the end. */
#define BODY_TAIL_BYTES ((size_t)64)

static void fail_memory(struct exchange *exchange) {
    problem_set(&exchange->problem, PROBLEM_BUSY, NULL, "out of memory");
    exchange->problem.retry_after_s = 1;
}

static bool open_file(struct request *request) {
    struct exchange *exchange = &request->exchange;
    char *path = NULL;
    exchange->body_fd = registry_upload_open(exchange->server->registry, &path, &exchange->problem);
    exchange->body_path = path;
    return exchange->body_fd >= 0;
}

static bool open_memory(struct request *request) {
    struct exchange *exchange = &request->exchange;
    size_t limit = exchange->server->config->max_body;
    request->body_capacity = request->is_chunked ? limit : (size_t)request->declared_length;
    if (!request->is_chunked && !exchange_reserve(exchange, request->body_capacity)) {
        return false;
    }
    request->body = arena_reserve(exchange->arena, request->body_capacity + BODY_TAIL_BYTES);
    if (request->body == NULL) {
        fail_memory(exchange);
    }
    return request->body != NULL;
}

void body_prepare(struct request *request) {
    bool is_ready = request->route->body == BODY_NONE ||
                    (request->route->body == BODY_FILE ? open_file(request) : open_memory(request));
    if (!is_ready) {
        request->is_dropped_body = true;
        request->must_close = request->has_body;
    }
}

static void append_file(struct request *request, const char *bytes, size_t length) {
    struct exchange *exchange = &request->exchange;
    while (length > 0) {
        ssize_t written = write(exchange->body_fd, bytes, length);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            problem_set(&exchange->problem, PROBLEM_NO_ROOM, NULL, "the upload cannot be kept: %s", strerror(errno));
            return;
        }
        bytes += written;
        length -= (size_t)written;
    }
}

static void append_memory(struct request *request, const char *bytes, size_t length) {
    struct exchange *exchange = &request->exchange;
    while (request->is_chunked && exchange->reserved_bytes < request->body_used + length) {
        if (!exchange_reserve(exchange, BUDGET_STEP_BYTES)) {
            return;
        }
    }
    memcpy(request->body + request->body_used, bytes, length);
    request->body_used += length;
}

void body_append(struct request *request, const char *bytes, size_t length) {
    struct exchange *exchange = &request->exchange;
    const struct config *config = exchange->server->config;
    uint64_t limit = request->route != NULL && request->route->body == BODY_FILE ? config->max_model : config->max_body;
    request->received_bytes += length;
    if (exchange->problem.id == PROBLEM_NONE && request->received_bytes > limit) {
        problem_set(&exchange->problem, PROBLEM_BODY_TOO_LARGE, NULL, "expected a body of at most %llu bytes",
                    (unsigned long long)limit);
    }
    if (exchange->problem.id != PROBLEM_NONE || request->is_dropped_body || request->route == NULL ||
        request->route->body == BODY_NONE) {
        return;
    }
    if (request->route->body == BODY_FILE) {
        append_file(request, bytes, length);
    } else {
        append_memory(request, bytes, length);
    }
}

bool body_is_hopeless(const struct request *request) {
    const struct exchange *exchange = &request->exchange;
    const struct config *config = exchange->server->config;
    uint64_t limit = request->route != NULL && request->route->body == BODY_FILE ? config->max_model : config->max_body;
    return exchange->problem.id != PROBLEM_NONE && request->received_bytes > limit &&
           request->received_bytes - limit > DROPPED_BYTES;
}

/** Puts the expanded bytes in the place of the compressed ones. */
static void expand_memory(struct request *request) {
    struct exchange *exchange = &request->exchange;
    const char *expanded;
    size_t length;
    if (compress_expand(request->coding, request->body, request->body_used, exchange->server->config->max_body,
                        BODY_TAIL_BYTES, exchange->arena, &expanded, &length, &exchange->problem) &&
        exchange_reserve(exchange, length)) {
        request->body = (char *)expanded;
        request->body_used = length;
    }
}

static void expand_file(struct request *request) {
    problem_set(&request->exchange.problem, PROBLEM_MEDIA_TYPE, NULL, "uploads of models are taken uncompressed");
}

void body_finish(struct request *request) {
    struct exchange *exchange = &request->exchange;
    if (request->route == NULL || request->route->body == BODY_NONE || exchange->problem.id != PROBLEM_NONE) {
        return;
    }
    if (request->route->body == BODY_FILE) {
        lseek(exchange->body_fd, 0, SEEK_SET);
        if (request->coding != CODING_NONE) {
            expand_file(request);
        }
        return;
    }
    arena_commit(exchange->arena, request->body_used + BODY_TAIL_BYTES);
    if (request->coding != CODING_NONE) {
        expand_memory(request);
    }
    exchange->body = request->body;
    exchange->body_length = request->body_used;
}
