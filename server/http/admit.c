#include "server/base/clock.h"
#include "server/http/internal.h"
#include <string.h>
#include <strings.h>

/* Bodies up to this are read and dropped where the answer is known before them, so that the connection can go on. */
#define DROPPED_BODY_BYTES ((uint64_t)64 << 10)

/** The walk over all header fields. */
struct walk {
    struct header_census census;
    struct problem *problem;
};

static enum MHD_Result walk_header(void *context, enum MHD_ValueKind kind, const char *name, size_t name_length,
                                   const char *value, size_t value_length) {
    struct walk *walk = context;
    (void)kind;
    return header_check(&walk->census, name, name_length, value == NULL ? "" : value, value_length, walk->problem)
               ? MHD_YES
               : MHD_NO;
}

static bool refuse(struct request *request, enum problem_id id, const char *detail) {
    problem_set(&request->exchange.problem, id, NULL, "%s", detail);
    return false;
}

static bool check_framing(struct request *request) {
    struct walk walk = {.problem = &request->exchange.problem};
    MHD_get_connection_values_n(request->connection, MHD_HEADER_KIND, walk_header, &walk);
    if (request->exchange.problem.id != PROBLEM_NONE || !header_check_end(&walk.census, walk.problem)) {
        request->must_close = true;
        request->has_body = true; /* what follows cannot be told apart from a body */
        return false;
    }
    if (walk.census.is_chunked && request->is_http_1_0) {
        request->must_close = request->has_body = true;
        return refuse(request, PROBLEM_BAD_FRAMING, "expected no Transfer-Encoding in HTTP/1.0");
    }
    request->is_chunked = walk.census.is_chunked;
    request->declared_length = walk.census.lengths > 0 ? walk.census.length : 0;
    request->has_body = request->is_chunked || request->declared_length > 0;
    return true;
}

static bool answer_options(struct request *request, const struct route_match *match) {
    struct exchange *exchange = &request->exchange;
    exchange_reply(exchange, 204, NULL, "", 0);
    exchange_add_header(exchange, "Allow", match->path_exists ? match->allow : "GET, HEAD, POST, PUT, DELETE, OPTIONS");
    if (exchange_header(exchange, "Access-Control-Request-Method") != NULL) {
        const char *headers = exchange_header(exchange, "Access-Control-Request-Headers");
        exchange_add_header(exchange, "Access-Control-Allow-Methods", match->allow);
        exchange_add_header(exchange, "Access-Control-Allow-Headers", headers == NULL ? "Content-Type" : headers);
        exchange_add_header(exchange, "Access-Control-Max-Age", "600");
    }
    return false; /* done: nothing more to admit */
}

static bool find_route(struct request *request) {
    struct exchange *exchange = &request->exchange;
    struct route_match match =
        route_find(routes, route_count, exchange->method, exchange->path, request->socket->loop->is_admin);
    request->route = match.route;
    for (size_t i = 0; i < 4 && match.parameters[i].start != NULL; i++) {
        exchange->parameters[i] =
            arena_copy_text(exchange->arena, match.parameters[i].start, match.parameters[i].length);
    }
    if (match.route != NULL) {
        return true;
    }
    bool is_options = strcmp(exchange->method, "OPTIONS") == 0;
    if (is_options && (match.path_exists || strcmp(exchange->path, "*") == 0)) {
        return answer_options(request, &match);
    }
    if (!match.path_exists) {
        problem_set(&exchange->problem, PROBLEM_NOT_FOUND, NULL, "there is nothing at %.200s", exchange->path);
        return false;
    }
    problem_set(&exchange->problem, PROBLEM_METHOD, NULL, "expected one of %s, found %.40s", match.allow,
                exchange->method);
    snprintf(exchange->problem.allow, sizeof exchange->problem.allow, "%s", match.allow);
    return false;
}

static bool authorize_peer(struct request *request) {
    struct exchange *exchange = &request->exchange;
    exchange->scope = exchange->peer_is_loopback ? SCOPE_ADMIN : SCOPE_INFER;
    if (request->route->write_access && !exchange->peer_is_loopback) {
        return refuse(request, PROBLEM_FORBIDDEN, "without --api-keys this is only for clients on the same machine");
    }
    return true;
}

static const char *given_key(struct exchange *exchange) {
    const char *authorization = exchange_header(exchange, "Authorization");
    if (authorization != NULL && strncasecmp(authorization, "Bearer ", 7) == 0) {
        return authorization + 7 + strspn(authorization + 7, " ");
    }
    return exchange_header(exchange, "X-Api-Key");
}

static bool authorize(struct request *request) {
    struct exchange *exchange = &request->exchange;
    struct keys *keys = exchange->server->keys;
    if (keys == NULL) {
        return authorize_peer(request);
    }
    const char *key = given_key(exchange);
    if (request->route->scope == SCOPE_NONE) {
        return true;
    }
    if (key == NULL) {
        return refuse(request, PROBLEM_UNAUTHORIZED, "expected a key, as Authorization: Bearer KEY or as X-Api-Key");
    }
    struct key_verdict verdict = keys_check(keys, key, clock_ns());
    if (!verdict.is_known) {
        return refuse(request, PROBLEM_UNAUTHORIZED, "the key is not one of this server's");
    }
    memcpy(request->key_name, verdict.name, sizeof request->key_name);
    exchange->scope = verdict.scopes[SCOPE_ADMIN] ? SCOPE_ADMIN : SCOPE_INFER;
    if (exchange->scope < request->route->scope) {
        return refuse(request, PROBLEM_FORBIDDEN, "the key lacks the scope admin");
    }
    if (verdict.is_limited) {
        refuse(request, PROBLEM_RATE, "the key's rate limit is reached");
        exchange->problem.retry_after_s = verdict.wait_s;
        return false;
    }
    return true;
}

static bool check_timeout(struct request *request) {
    const char *text = exchange_header(&request->exchange, "Request-Timeout-Ms");
    double own = request->exchange.server->config->request_timeout_s * 1e3;
    request->timeout_ms = own > 4e9 ? 4000000000U : (uint32_t)own;
    uint32_t wanted;
    if (text == NULL) {
        return true;
    }
    if (!header_timeout_ms(text, &wanted)) {
        problem_set(&request->exchange.problem, PROBLEM_BAD_HEADER, NULL,
                    "expected Request-Timeout-Ms from 1 to 86400000, found %.40s", text);
        return false;
    }
    request->timeout_ms = wanted < request->timeout_ms ? wanted : request->timeout_ms;
    return true;
}

static bool check_expectation(struct request *request) {
    const char *expect = exchange_header(&request->exchange, "Expect");
    if (expect == NULL || strcasecmp(expect, "100-continue") == 0) {
        return true;
    }
    problem_set(&request->exchange.problem, PROBLEM_EXPECTATION, NULL, "expected 100-continue, found %.60s", expect);
    return false;
}

static bool check_coding(struct request *request) {
    static const struct {
        const char *name;
        enum coding coding;
    } known[] = {
        {"identity", CODING_NONE}, {"gzip", CODING_GZIP}, {"x-gzip", CODING_GZIP}, {"deflate", CODING_DEFLATE}};
    const char *text = exchange_header(&request->exchange, "Content-Encoding");
    for (size_t i = 0; text != NULL && i < sizeof known / sizeof *known; i++) {
        if (strcasecmp(text, known[i].name) == 0) {
            request->coding = known[i].coding;
            return true;
        }
    }
    if (text == NULL || request->route->body == BODY_NONE) {
        return true;
    }
    request->is_coding_refused = true;
    problem_set(&request->exchange.problem, PROBLEM_MEDIA_TYPE, NULL,
                "expected Content-Encoding to be gzip, x-gzip or deflate, alone, found %.60s", text);
    return false;
}

static bool check_length(struct request *request) {
    const struct config *config = request->exchange.server->config;
    uint64_t limit = request->route->body == BODY_FILE ? config->max_model : config->max_body;
    if (request->route->body != BODY_NONE && !request->is_chunked &&
        MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Content-Length") == NULL) {
        return refuse(request, PROBLEM_LENGTH_REQUIRED, "expected Content-Length or Transfer-Encoding: chunked");
    }
    if (request->declared_length <= limit) {
        return true;
    }
    problem_set(&request->exchange.problem, PROBLEM_BODY_TOO_LARGE, NULL,
                "expected a body of at most %llu bytes, found a declared length of %llu", (unsigned long long)limit,
                (unsigned long long)request->declared_length);
    return false;
}

static void read_content_type(struct exchange *exchange) {
    const char *text = exchange_header(exchange, "Content-Type");
    size_t length = text == NULL ? 0 : strcspn(text, "; \t");
    char *copy = length == 0 ? NULL : arena_copy_text(exchange->arena, text, length);
    for (size_t i = 0; copy != NULL && i < length; i++) {
        copy[i] = copy[i] >= 'A' && copy[i] <= 'Z' ? (char)(copy[i] + 32) : copy[i];
    }
    exchange->content_type = copy == NULL ? "" : copy;
}

const char *request_fresh_id(struct event_loop *loop, char id[REQUEST_ID_BYTES]) {
    static const char digits[] = "0123456789abcdef";
    const uint64_t parts[] = {loop->id_prefix, ++loop->id_counter};
    for (size_t i = 0; i < 32; i++) {
        id[i] = digits[parts[i / 16] >> (60 - i % 16 * 4) & 15];
    }
    id[32] = '\0';
    return id;
}

static void choose_id(struct request *request) {
    const char *given = exchange_header(&request->exchange, "X-Request-Id");
    if (header_is_request_id(given)) {
        snprintf(request->id, sizeof request->id, "%s", given);
    } else {
        request_fresh_id(request->socket->loop, request->id);
    }
    request->exchange.request_id = request->id;
}

/**
 * Whether a body that the answer does not need is read, so that the connection can go on; any other ends it. One that
 * is too large is never waited for, nor one that the client holds back until it is asked for.
 */
static bool drops_body(struct request *request) {
    return !request->is_chunked && request->declared_length <= DROPPED_BODY_BYTES &&
           request->exchange.problem.id != PROBLEM_BODY_TOO_LARGE &&
           exchange_header(&request->exchange, "Expect") == NULL;
}

void request_admit(struct request *request, const char *version) {
    static bool (*const checks[])(struct request *) = {check_framing,     find_route,   authorize,   check_timeout,
                                                       check_expectation, check_coding, check_length};
    request->is_http_1_0 = strcmp(version, MHD_HTTP_VERSION_1_0) == 0;
    choose_id(request);
    read_content_type(&request->exchange);
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        if (!checks[i](request)) {
            break;
        }
    }
    if (request->exchange.problem.id == PROBLEM_NONE && request->exchange.response.status == 0) {
        return;
    }
    request->is_dropped_body = true;
    request->must_close = request->must_close || (request->has_body && !drops_body(request));
}
