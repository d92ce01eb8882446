#include "server/http/exchange.h"
#include "server/http/internal.h"
#include "server/http/negotiate.h"
#include <string.h>
#include <strings.h>

static struct request *request_of(struct exchange *exchange) {
    return (struct request *)(void *)exchange;
}

/** Values of one header field while they are gathered. */
struct gathered {
    const char *name;
    size_t count, bytes;
    bool is_padded; /* blanks stand behind a value: libmicrohttpd leaves them, and they are none of it */
    const char *first;
    char *joined; /* NULL on the first pass */
    size_t used;
};

static size_t length_without_padding(const char *value) {
    size_t length = strlen(value);
    while (length > 0 && (value[length - 1] == ' ' || value[length - 1] == '\t')) {
        length--;
    }
    return length;
}

static enum MHD_Result gather(void *context, enum MHD_ValueKind kind, const char *name, const char *value) {
    struct gathered *gathered = context;
    (void)kind;
    if (strcasecmp(name, gathered->name) != 0 || value == NULL) {
        return MHD_YES;
    }
    size_t length = length_without_padding(value);
    if (gathered->joined != NULL) {
        if (gathered->used > 0) {
            memcpy(gathered->joined + gathered->used, ", ", 2);
            gathered->used += 2;
        }
        memcpy(gathered->joined + gathered->used, value, length);
        gathered->used += length;
        return MHD_YES;
    }
    gathered->first = gathered->count++ == 0 ? value : gathered->first;
    gathered->bytes += length + 2;
    gathered->is_padded = gathered->is_padded || value[length] != '\0';
    return MHD_YES;
}

const char *exchange_header(struct exchange *exchange, const char *name) {
    struct gathered gathered = {.name = name};
    struct MHD_Connection *connection = request_of(exchange)->connection;
    MHD_get_connection_values(connection, MHD_HEADER_KIND, gather, &gathered);
    if (gathered.count <= 1 && !gathered.is_padded) {
        return gathered.first;
    }
    gathered.joined = arena_alloc(exchange->arena, gathered.bytes + 1);
    if (gathered.joined != NULL) {
        MHD_get_connection_values(connection, MHD_HEADER_KIND, gather, &gathered);
    }
    return gathered.joined;
}

/** Looks for one query parameter. */
struct wanted {
    const char *name, *value;
};

static enum MHD_Result find_parameter(void *context, enum MHD_ValueKind kind, const char *name, const char *value) {
    struct wanted *wanted = context;
    (void)kind;
    if (strcmp(name, wanted->name) != 0) {
        return MHD_YES;
    }
    wanted->value = value == NULL ? "" : value;
    return MHD_NO;
}

const char *exchange_query(struct exchange *exchange, const char *name) {
    struct wanted wanted = {.name = name};
    MHD_get_connection_values(request_of(exchange)->connection, MHD_GET_ARGUMENT_KIND, find_parameter, &wanted);
    return wanted.value;
}

/** The walk of exchange_check_query. */
struct query_check {
    struct exchange *exchange;
    const char *const *names;
    size_t count;
    uint64_t seen; /* a bit a name */
};

static enum MHD_Result check_parameter(void *context, enum MHD_ValueKind kind, const char *name, const char *value) {
    struct query_check *check = context;
    struct problem *problem = &check->exchange->problem;
    (void)kind;
    (void)value;
    for (size_t i = 0; i < check->count; i++) {
        if (strcmp(name, check->names[i]) != 0) {
            continue;
        }
        if ((check->seen >> i & 1) == 0) {
            check->seen |= (uint64_t)1 << i;
            return MHD_YES;
        }
        problem_set(problem, PROBLEM_INVALID, NULL, "expected the query parameter %.60s once, found it again", name);
        snprintf(problem->parameter, sizeof problem->parameter, "%s", name);
        return MHD_NO;
    }
    problem_set(problem, PROBLEM_INVALID, NULL, "the query parameter %.60s is not known here", name);
    snprintf(problem->parameter, sizeof problem->parameter, "%s", name);
    return MHD_NO;
}

bool exchange_check_query(struct exchange *exchange, const char *const *names, size_t count) {
    struct query_check check = {.exchange = exchange, .names = names, .count = count > 64 ? 64 : count};
    MHD_get_connection_values(request_of(exchange)->connection, MHD_GET_ARGUMENT_KIND, check_parameter, &check);
    return exchange->problem.id == PROBLEM_NONE;
}

bool exchange_add_header(struct exchange *exchange, const char *name, const char *value) {
    struct exchange_response *response = &exchange->response;
    char *copy = arena_copy_text(exchange->arena, value, strlen(value));
    if (copy == NULL || response->header_count >= EXCHANGE_MAX_HEADERS) {
        return false;
    }
    response->headers[response->header_count].name = name;
    response->headers[response->header_count++].value = copy;
    return true;
}

void exchange_reply(struct exchange *exchange, int status, const char *content_type, const char *bytes, size_t length) {
    exchange->response.status = status;
    exchange->response.content_type = content_type;
    exchange->response.bytes = bytes;
    exchange->response.bytes_length = length;
}

int exchange_negotiate(struct exchange *exchange, const char *const *offers, size_t count) {
    int index = negotiate_media(exchange_header(exchange, "Accept"), offers, count);
    char list[256] = "";
    for (size_t i = 0, used = 0; index < 0 && i < count && used < sizeof list; i++) {
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", offers[i]);
    }
    if (index < 0) {
        problem_set(&exchange->problem, PROBLEM_NOT_ACCEPTABLE, NULL, "expected Accept to take one of %s", list);
    }
    return index;
}

bool exchange_reserve(struct exchange *exchange, size_t bytes) {
    if (budget_take(&exchange->server->memory, bytes)) {
        exchange->reserved_bytes += bytes;
        return true;
    }
    problem_set(&exchange->problem, PROBLEM_BUSY, NULL, "the request needs %zu bytes more than --memory has free",
                bytes);
    exchange->problem.retry_after_s = 1;
    return false;
}

void exchange_name_model(struct exchange *exchange, const char *id) {
    pthread_mutex_t *lock = &exchange->server->http->active_lock; /* /debug/requests may be looking */
    pthread_mutex_lock(lock);
    snprintf(exchange->model, sizeof exchange->model, "%s", id);
    pthread_mutex_unlock(lock);
}
