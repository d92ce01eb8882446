#include "server/http/internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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

static bool write_file(int fd, const char *bytes, size_t length, struct problem *problem) {
    while (length > 0) {
        ssize_t written = write(fd, bytes, length);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            problem_set(problem, PROBLEM_NO_ROOM, NULL, "the upload cannot be kept: %s", strerror(errno));
            return false;
        }
        bytes += written;
        length -= (size_t)written;
    }
    return true;
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
        write_file(exchange->body_fd, bytes, length, &exchange->problem);
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

void body_finish(struct request *request) {
    struct exchange *exchange = &request->exchange;
    if (request->route == NULL || request->route->body == BODY_NONE || exchange->problem.id != PROBLEM_NONE) {
        return;
    }
    if (request->route->body == BODY_FILE) {
        lseek(exchange->body_fd, 0, SEEK_SET);
        return;
    }
    arena_commit(exchange->arena, request->body_used + BODY_TAIL_BYTES);
    exchange->body = request->body;
    exchange->body_length = request->body_used;
}

/* ---- compressed bodies, on a worker ---- */

/* What a compressed body becomes is charged, or written, in pieces of these. */
#define MEMORY_PIECE_BYTES ((size_t)256 << 10)
#define FILE_PIECE_BYTES ((size_t)64 << 10)

bool body_is_compressed(const struct request *request) {
    return request->coding != CODING_NONE && request->route->body != BODY_NONE;
}

/** A reservation that is charged to the memory budget as it fills. */
struct memory_sink {
    struct exchange *exchange;
    char *bytes;
    size_t used;
};

static void *memory_next(void *self, size_t filled, size_t *room, struct problem *problem) {
    struct memory_sink *sink = self;
    (void)problem; /* the exchange's own */
    sink->used += filled;
    if (room == NULL) {
        return sink;
    }
    *room = MEMORY_PIECE_BYTES;
    return exchange_reserve(sink->exchange, MEMORY_PIECE_BYTES) ? sink->bytes + sink->used : NULL;
}

static bool expand_memory(struct request *request) {
    struct exchange *exchange = &request->exchange;
    size_t limit = exchange->server->config->max_body, expanded = 0;
    /* the last piece may reach beyond the limit, but is filled only up to it */
    char *to = arena_reserve(exchange->arena, limit + BODY_TAIL_BYTES);
    if (to == NULL) {
        fail_memory(exchange);
        return false;
    }
    struct memory_sink memory = {exchange, to, 0};
    const struct expand_sink sink = {memory_next, &memory};
    bool is_expanded = compress_expand(request->coding, request->body, request->body_used, limit, &sink, &expanded,
                                       &exchange->problem);
    arena_commit(exchange->arena, is_expanded ? expanded + BODY_TAIL_BYTES : 0);
    exchange->body = to;
    exchange->body_length = expanded;
    return is_expanded;
}

/** A file that is written through one buffer. */
struct file_sink {
    char *buffer;
    int fd;
};

static void *file_next(void *self, size_t filled, size_t *room, struct problem *problem) {
    struct file_sink *sink = self;
    if (room != NULL) {
        *room = FILE_PIECE_BYTES;
    }
    return write_file(sink->fd, sink->buffer, filled, problem) ? sink->buffer : NULL;
}

/** Puts another temporary file, expanded, in place of the exchange's. */
static bool expand_file(struct request *request) {
    struct exchange *exchange = &request->exchange;
    size_t length = (size_t)request->received_bytes, expanded = 0;
    char *path = NULL, *buffer = arena_alloc(exchange->arena, FILE_PIECE_BYTES);
    void *bytes = length == 0 ? NULL : mmap(NULL, length, PROT_READ, MAP_PRIVATE, exchange->body_fd, 0);
    int fd = -1;
    bool is_expanded = false;
    if (buffer == NULL || bytes == MAP_FAILED) {
        fail_memory(exchange);
    } else {
        fd = registry_upload_open(exchange->server->registry, &path, &exchange->problem);
    }
    if (fd >= 0) {
        struct file_sink file = {buffer, fd};
        const struct expand_sink sink = {file_next, &file};
        is_expanded = compress_expand(request->coding, bytes == NULL ? "" : bytes, length,
                                      exchange->server->config->max_model, &sink, &expanded, &exchange->problem);
        lseek(fd, 0, SEEK_SET);
        body_remove_file(exchange);
        exchange->body_fd = fd;
        exchange->body_path = path;
    }
    if (bytes != NULL && bytes != MAP_FAILED) {
        munmap(bytes, length);
    }
    return is_expanded;
}

bool body_expand(struct request *request) {
    if (!body_is_compressed(request)) {
        return true;
    }
    return request->route->body == BODY_FILE ? expand_file(request) : expand_memory(request);
}

void body_remove_file(struct exchange *exchange) {
    if (exchange->body_fd >= 0) {
        close(exchange->body_fd);
    }
    if (exchange->body_path != NULL) {
        unlink(exchange->body_path); /* gone already where the route renamed it */
        free((char *)exchange->body_path);
    }
}
