#include "server/routes/attention.h"
#include "server/base/clock.h"
#include "server/routes/attention_cost.h"
#include "server/routes/attention_request.h"
#include "server/routes/attention_response.h"
#include "server/routes/context.h"
#include <stdio.h>
#include <string.h>

/** A request on its way through, kept across EXCHANGE_DEFER and until the response has gone. In the arena. */
struct attention {
    bool body_is_binary, is_read;
    enum attention_media media;
    struct attention_request request;
    struct attention_answer answer;
    struct attn_plan *plan;
    struct attn_result *result;
};

static void attention_destroy(void *state) {
    struct attention *attention = state;
    attn_result_destroy(attention->result);
    attn_plan_destroy(attention->plan);
    attention_request_reset(&attention->request);
}

static bool is_binary_type(const struct exchange *exchange) {
    return strcmp(exchange->content_type, attention_media_types[MEDIA_SAFETENSORS]) == 0;
}

static bool body_is_small(const struct exchange *exchange) {
    struct attention_work work = {.body_bytes = exchange->body_length, .body_is_binary = is_binary_type(exchange)};
    return attention_cost_is_small(&work);
}

bool attention_is_small(const struct exchange *exchange) {
    return body_is_small(exchange);
}

static bool check_content_type(struct exchange *exchange, struct attention *attention) {
    attention->body_is_binary = is_binary_type(exchange);
    if (attention->body_is_binary || strcmp(exchange->content_type, attention_media_types[MEDIA_JSON]) == 0) {
        return true;
    }
    problem_set(&exchange->problem, PROBLEM_MEDIA_TYPE, NULL,
                "expected Content-Type application/json or application/vnd.safetensors, found %.100s",
                exchange->content_type[0] != '\0' ? exchange->content_type : "none");
    return false;
}

static bool negotiate(struct exchange *exchange, struct attention *attention, size_t offers) {
    int index = exchange_negotiate(exchange, attention_media_types, offers);
    if (index < 0) {
        return false;
    }
    attention->media = (enum attention_media)index;
    return true;
}

static bool take_memory(void *context, size_t bytes) {
    struct exchange *exchange = context;
    bool is_taken = budget_take(&exchange->server->memory, bytes);
    exchange->reserved_bytes += is_taken ? bytes : 0;
    return is_taken;
}

static void give_memory(void *context, size_t bytes) {
    struct exchange *exchange = context;
    budget_give(&exchange->server->memory, bytes);
    exchange->reserved_bytes -= bytes;
}

/** What can be refused before the body is looked at. */
static bool begin(struct exchange *exchange) {
    arena_set_account(exchange->arena, (struct arena_account){take_memory, give_memory, exchange});
    struct attention *attention = arena_alloc(exchange->arena, sizeof *attention);
    if (attention == NULL) {
        return attention_out_of_memory(&exchange->problem);
    }
    attention->request.document.arena = exchange->arena;
    exchange->state = attention;
    exchange->state_destroy = attention_destroy;
    return exchange_check_query(exchange, NULL, 0) && check_content_type(exchange, attention) &&
           negotiate(exchange, attention, MEDIA_COUNT);
}

/** A type for one tensor was picked: there must be one, else the client gets JSON or safetensors if it takes these. */
static bool check_single(struct exchange *exchange, struct attention *attention) {
    size_t tensors = attn_plan_cost(attention->plan).result_arrays;
    if (attention->media <= MEDIA_SAFETENSORS || tensors == 1) {
        return true;
    }
    if (negotiate(exchange, attention, MEDIA_SAFETENSORS + 1)) {
        return true;
    }
    problem_set(
        &exchange->problem, PROBLEM_NOT_ACCEPTABLE, NULL,
        "%s holds one tensor, and this answer has %zu: take application/json or application/vnd.safetensors, or "
        "ask for one (\"return_output\": false with one form of `weights`)",
        attention_media_types[attention->media], tensors);
    return false;
}

static bool read_document(struct exchange *exchange, struct attention *attention) {
    struct document_limits limits = {.max_elements = exchange->server->config->max_elements};
    struct document *document = &attention->request.document;
    if (attention->body_is_binary) {
        return document_read_safetensors(document, exchange->body, exchange->body_length, attention_field_specs,
                                         attention_field_count, &limits, exchange->arena, &exchange->problem);
    }
    return document_read_json(document, exchange->body, exchange->body_length, attention_field_specs,
                              attention_field_count, &limits, exchange->arena, &exchange->problem);
}

static bool read_request(struct exchange *exchange, struct attention *attention) {
    if (!read_document(exchange, attention)) {
        attention_fields_hint(&exchange->problem);
        return false;
    }
    return attention_request_read(&attention->request, exchange->server->registry,
                                  exchange->server->config->max_elements, &exchange->problem);
}

/** Body to request. */
static bool read_body(struct exchange *exchange, struct attention *attention) {
    uint64_t started = clock_ns();
    attention->is_read = read_request(exchange, attention);
    if (attention->request.model != NULL) {
        exchange_name_model(exchange, attention->request.model->id);
    }
    exchange->timings.decode_ms = clock_ms_since(started);
    return attention->is_read;
}

static bool is_transformer(const struct attention *attention) {
    return attention->request.mode == ATTENTION_TRANSFORMER;
}

/** The work was told to stop: says by whom. */
static void problem_from_stop(struct exchange *exchange) {
    switch (atomic_load(&exchange->job.stop)) {
    case JOB_CLIENT_GONE:
        problem_set(&exchange->problem, PROBLEM_CLIENT_GONE, NULL, "the client closed its connection");
        return;
    case JOB_SHUTDOWN:
        problem_set(&exchange->problem, PROBLEM_DRAINING, NULL, "the server is shutting down");
        return;
    default:
        problem_set(&exchange->problem, PROBLEM_DEADLINE, NULL, "the deadline passed before the answer was computed");
    }
}

/** Request to plan. */
static bool make_plan(struct exchange *exchange, struct attention *attention) {
    uint64_t started = clock_ns();
    attention->plan = attention_request_plan(&attention->request, &exchange->execution, &exchange->problem);
    /* nothing looks at JSON again, and freeing much of it at the end would hold up the event thread */
    document_reset(&attention->request.document);
    exchange->timings.decode_ms += clock_ms_since(started);
    if (exchange->problem.id == PROBLEM_DEADLINE) {
        problem_from_stop(exchange);
    }
    return attention->plan != NULL && check_single(exchange, attention);
}

static bool rest_is_small(const struct attention *attention) {
    struct attn_plan_cost cost = attn_plan_cost(attention->plan);
    struct attention_work work = {.flops = cost.flops,
                                  .exponentials = cost.exponentials,
                                  .answer_numbers = cost.result_elements,
                                  .answer_is_binary = attention->media != MEDIA_JSON};
    return attention_cost_is_small(&work);
}

static bool model_went_bad(const struct attention_request *request) {
    return request->model != NULL && registry_model_is_broken(request->model);
}

static bool compute(struct exchange *exchange, struct attention *attention) {
    struct attn_plan_cost cost = attn_plan_cost(attention->plan);
    size_t lanes = exchange->execution.executor != NULL ? exchange->execution.executor->width : 1;
    struct attn_error error = {0};
    uint64_t started = clock_ns();
    if (!exchange_reserve(exchange, cost.result_bytes + cost.scratch_bytes + lanes * cost.scratch_bytes_per_lane)) {
        return false;
    }
    attn_status status = attn_plan_run(attention->plan, &exchange->execution, &attention->result, &error);
    exchange->timings.compute_ms = clock_ms_since(started);
    if (status == ATTN_ECANCELLED) {
        problem_from_stop(exchange);
    } else if (model_went_bad(&attention->request)) {
        problem_set(&exchange->problem, PROBLEM_MODEL_FAILED, "/model", "the model's file was cut short meanwhile");
    } else if (status != ATTN_OK) {
        problem_from_attn(&exchange->problem, &error);
    }
    return exchange->problem.id == PROBLEM_NONE;
}

static void respond(struct exchange *exchange, struct attention *attention) {
    attention->answer = (struct attention_answer){.result = attention->result};
    if (is_transformer(attention)) {
        attention->answer.transformer = &attention->request.transformer;
        attention->answer.tokenizer = attention->request.model->tokenizer;
    }
    attention_respond(exchange, &attention->answer, attention->media, attention->request.encode);
}

enum exchange_outcome attention_handle(struct exchange *exchange) {
    if (exchange->state == NULL && !begin(exchange)) {
        return EXCHANGE_DONE;
    }
    struct attention *attention = exchange->state;
    if (exchange->may_defer && !body_is_small(exchange)) {
        return EXCHANGE_DEFER;
    }
    if (!attention->is_read && !read_body(exchange, attention)) {
        return EXCHANGE_DONE;
    }
    if (exchange->may_defer && is_transformer(attention)) {
        return EXCHANGE_DEFER; /* a whole model's forward is milliseconds: no estimate is needed */
    }
    if (attention->plan == NULL && !make_plan(exchange, attention)) {
        return EXCHANGE_DONE;
    }
    if (exchange->may_defer && !rest_is_small(attention)) {
        return EXCHANGE_DEFER;
    }
    if (compute(exchange, attention)) {
        respond(exchange, attention);
    }
    return EXCHANGE_DONE;
}
