#include "server/routes/models.h"
#include "server/registry/etag.h"
#include "server/routes/context.h"
#include "server/routes/models_encode.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char media_json[] = "application/json";
static const char media_safetensors[] = "application/vnd.safetensors";
static const char media_tar[] = "application/x-tar";

bool models_write_is_small(const struct exchange *exchange) {
    (void)exchange;
    return false;
}

static struct registry *registry_of(const struct exchange *exchange) {
    return exchange->server->registry;
}

static bool accepts_json(struct exchange *exchange) {
    static const char *const offers[] = {media_json};
    return exchange_negotiate(exchange, offers, 1) == 0;
}

/* Replies with a document, or with 503 where there was no memory for it. */
static void reply(struct exchange *exchange, int status, const char *text, size_t length) {
    if (text == NULL) {
        problem_set(&exchange->problem, PROBLEM_BUSY, NULL, "no memory for the answer");
        exchange->problem.retry_after_s = 1;
        return;
    }
    exchange_reply(exchange, status, media_json, text, length);
    exchange->response.may_compress = true;
}

static void add_etag(struct exchange *exchange, const struct model *model) {
    char tag[72];
    const char *hash = registry_model_sha256(model);
    snprintf(tag, sizeof tag, "\"%s\"", hash);
    if (hash[0] != '\0')
        exchange_add_header(exchange, "ETag", tag);
    /* a strong tag names these bytes: a coding of them would need another one (RFC 9110, section 8.8.3.3) */
    exchange->response.may_compress = false;
}

static bool are_hashed(const struct model *const *models, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!registry_model_is_hashed(models[i]))
            return false;
    return true;
}

enum exchange_outcome models_list(struct exchange *exchange) {
    const struct model **models;
    size_t length = 0;
    if (!exchange_check_query(exchange, NULL, 0) || !accepts_json(exchange))
        return EXCHANGE_DONE;
    size_t count = registry_list(registry_of(exchange), &models);
    bool defers = exchange->may_defer && !are_hashed(models, count);
    if (!defers) {
        const char *text = models_encode_list(exchange->arena, models, count, &length);
        reply(exchange, 200, text, length);
    }
    for (size_t i = 0; i < count; i++)
        registry_release(registry_of(exchange), models[i]);
    free(models);
    return defers ? EXCHANGE_DEFER : EXCHANGE_DONE;
}

static const char *id_of(struct exchange *exchange) {
    const char *id = exchange->parameters[0];
    exchange_name_model(exchange, id);
    return id;
}

static struct registry_condition condition_of(struct exchange *exchange) {
    return (struct registry_condition){exchange_header(exchange, "If-Match"),
                                       exchange_header(exchange, "If-None-Match")};
}

/* With 304, libmicrohttpd sends the header fields of the 200, Content-Length too, and leaves the body out. */
static void reply_with_tag(struct exchange *exchange, int status, const struct model *model) {
    size_t length = 0;
    const char *text = models_encode_one(exchange->arena, model, &length);
    reply(exchange, status, text, length);
    add_etag(exchange, model);
}

/* RFC 9110, section 13.2.2: If-Match that fails is a 412, If-None-Match that fails is a 304 to a reader. */
static bool is_wanted(struct exchange *exchange, const struct model *model) {
    struct registry_condition condition = condition_of(exchange);
    const char *none = condition.if_none_match;
    condition.if_none_match = NULL;
    const char *tag = registry_model_sha256(model);
    if (!etag_condition_holds(&condition, tag, &exchange->problem))
        return false;
    condition = (struct registry_condition){.if_none_match = none};
    if (etag_condition_holds(&condition, tag, &exchange->problem))
        return true;
    if (exchange->problem.id == PROBLEM_PRECONDITION) {
        exchange->problem = (struct problem){.id = PROBLEM_NONE};
        reply_with_tag(exchange, 304, model);
    }
    return false;
}

static void show(struct exchange *exchange, const struct model *model) {
    if (is_wanted(exchange, model))
        reply_with_tag(exchange, 200, model);
}

enum exchange_outcome models_show(struct exchange *exchange) {
    const char *id = id_of(exchange);
    if (!exchange_check_query(exchange, NULL, 0) || !accepts_json(exchange) ||
        !registry_id_check(id, NULL, &exchange->problem))
        return EXCHANGE_DONE;
    const struct model *model = registry_acquire(registry_of(exchange), id, &exchange->problem);
    if (model == NULL)
        return EXCHANGE_DONE;
    bool defers = exchange->may_defer && !registry_model_is_hashed(model);
    if (!defers)
        show(exchange, model);
    registry_release(registry_of(exchange), model);
    return defers ? EXCHANGE_DEFER : EXCHANGE_DONE;
}

static bool check_media_type(struct exchange *exchange) {
    const char *given = exchange->content_type;
    if (strcmp(given, media_safetensors) == 0 || strcmp(given, media_tar) == 0)
        return true;
    problem_set(&exchange->problem, PROBLEM_MEDIA_TYPE, NULL, "expected the media type %s or %s, found %s%.100s%s",
                media_safetensors, media_tar, given[0] != '\0' ? "\"" : "none", given, given[0] != '\0' ? "\"" : "");
    return false;
}

static void answer_put(struct exchange *exchange, const struct model *model, bool replaced) {
    char location[300];
    reply_with_tag(exchange, replaced ? 200 : 201, model);
    snprintf(location, sizeof location, "/models/%s", model->id);
    if (!replaced)
        exchange_add_header(exchange, "Location", location);
}

/* Given without a value is not the same as not given. */
static bool have_values(struct exchange *exchange, const char *const *names, size_t count) {
    struct problem *problem = &exchange->problem;
    for (size_t i = 0; i < count; i++) {
        const char *value = exchange_query(exchange, names[i]);
        if (value == NULL || value[0] != '\0')
            continue;
        problem_set(problem, PROBLEM_INVALID, NULL, "expected a value of the query parameter %s, found none", names[i]);
        snprintf(problem->parameter, sizeof problem->parameter, "%s", names[i]);
        return false;
    }
    return true;
}

/* What a file of tensors alone does not say; a folder has its config.json. */
static const char *const put_names[] = {"num_heads", "num_kv_heads", "add_zero_attn", "norm_first", "activation"};

static bool check_put_query(struct exchange *exchange) {
    const size_t count = sizeof put_names / sizeof *put_names;
    if (!exchange_check_query(exchange, put_names, count) || !have_values(exchange, put_names, count))
        return false;
    for (size_t i = 0; i < count && strcmp(exchange->content_type, media_tar) == 0; i++) {
        struct problem *problem = &exchange->problem;
        if (exchange_query(exchange, put_names[i]) == NULL)
            continue;
        problem_set(problem, PROBLEM_INVALID, NULL, "%s is for %s; a whole model's is in its config.json", put_names[i],
                    media_safetensors);
        snprintf(problem->parameter, sizeof problem->parameter, "%s", put_names[i]);
        return false;
    }
    return true;
}

static const struct model *put(struct exchange *exchange, const char *id, bool *replaced) {
    struct registry *registry = registry_of(exchange);
    struct registry_condition condition = condition_of(exchange);
    if (strcmp(exchange->content_type, media_tar) == 0)
        return registry_put_tar(registry, id, exchange->body_fd, &condition, replaced, &exchange->problem);
    struct registry_put_options options = {.num_heads = exchange_query(exchange, "num_heads"),
                                           .num_kv_heads = exchange_query(exchange, "num_kv_heads"),
                                           .add_zero_attn = exchange_query(exchange, "add_zero_attn"),
                                           .norm_first = exchange_query(exchange, "norm_first"),
                                           .activation = exchange_query(exchange, "activation")};
    return registry_put(registry, id, exchange->body_path, &options, &condition, replaced, &exchange->problem);
}

enum exchange_outcome models_put(struct exchange *exchange) {
    const char *id = id_of(exchange);
    bool replaced = false;
    if (!accepts_json(exchange) || !registry_id_check(id, NULL, &exchange->problem) || !check_media_type(exchange) ||
        !check_put_query(exchange))
        return EXCHANGE_DONE;
    if (exchange->may_defer)
        return EXCHANGE_DEFER;
    const struct model *model = put(exchange, id, &replaced);
    if (model == NULL)
        return EXCHANGE_DONE;
    answer_put(exchange, model, replaced);
    registry_release(registry_of(exchange), model);
    return EXCHANGE_DONE;
}

enum exchange_outcome models_delete(struct exchange *exchange) {
    const char *id = id_of(exchange);
    struct registry_condition condition = condition_of(exchange);
    if (!exchange_check_query(exchange, NULL, 0) || !registry_id_check(id, NULL, &exchange->problem))
        return EXCHANGE_DONE;
    if (exchange->may_defer)
        return EXCHANGE_DEFER;
    if (registry_delete(registry_of(exchange), id, &condition, &exchange->problem))
        exchange_reply(exchange, 204, NULL, NULL, 0);
    return EXCHANGE_DONE;
}
