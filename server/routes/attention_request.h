/**
 * @file attention_request.h
 * The request object of POST /attention: what the document says, checked field by field, as the library takes it.
 */
#ifndef SERVER_ROUTES_ATTENTION_REQUEST_H
#define SERVER_ROUTES_ATTENTION_REQUEST_H

#include "server/codec/encode.h"
#include "server/registry/registry.h"
#include "server/routes/attention_fields.h"
#include "server/routes/attention_transformer.h"
#include <attn/plan.h>

struct attention_request {
    enum attention_mode mode;
    struct document document; /**< owned: attention_request_reset */
    struct registry *registry;
    const struct model *model;                /**< ATTENTION_MODEL, ATTENTION_TRANSFORMER: acquired */
    struct attn_layer layer;                  /**< ATTENTION_PARAMS, ATTENTION_MODEL */
    struct attn_inputs inputs;                /**< ATTENTION_RAW, ATTENTION_PARAMS, ATTENTION_MODEL */
    struct attn_given given;                  /**< ATTENTION_GIVEN */
    struct attention_transformer transformer; /**< ATTENTION_TRANSFORMER */
    struct attn_want want;
    struct encode_options encode;
};

/**
 * Turns request->document (already read) into the rest of the request. Views point into the document and its arena.
 * @return false with the problem filled; attention_request_reset is due either way.
 */
bool attention_request_read(struct attention_request *request, struct registry *registry, size_t max_elements,
                            struct problem *problem);

/**
 * Encodes texts, checks everything else against each other and makes the plan. With texts to encode it takes longer
 * than an event thread may.
 * @param execution when to stop; may be NULL
 * @return NULL with the problem filled.
 */
struct attn_plan *attention_request_plan(struct attention_request *request, const struct attn_execution *execution,
                                         struct problem *problem);

/** @return at most how many tensors the answer will hold, where only the request bounds them: no transformer's. */
size_t attention_request_tensor_count(const struct attention_request *request);

/** Releases the model and the document's values. */
void attention_request_reset(struct attention_request *request);

/* Its parts, a file each. All: false with the problem filled. */

/** "What is attended": masks, causality, windows, scale. (attention_attended.c) */
bool attention_read_attended(struct attention_request *request, struct problem *problem);
/** "What comes back": forms, selections, analyses, encoding. (attention_wanted.c) */
bool attention_read_wanted(struct attention_request *request, struct problem *problem);
/** `tokens` and `key_tokens`, as numbers that are equal where the tokens are. (attention_tokens.c) */
bool attention_read_tokens(struct attention_request *request, struct problem *problem);
/** Acquires `model`, which says what mode the request is in. (attention_model.c) */
bool attention_acquire_model(struct attention_request *request, struct problem *problem);
/** The layer of `params` or `model`, in the request's dtype. (attention_layer.c) */
bool attention_read_layer(struct attention_request *request, struct problem *problem);
/** What a transformer reads, and what only of it can be wanted. (attention_transformer.c) */
bool attention_read_transformer(struct attention_request *request, struct problem *problem);

/** @return the json of a FIELD_JSON field, or NULL where it is absent. */
const json_t *attention_json(const struct attention_request *request, const char *name);
/** @return the view of a tensor field, without data where it is absent. */
struct attn_view attention_tensor(const struct attention_request *request, const char *name);
/** Fills a 503: out of memory. @return false. */
bool attention_out_of_memory(struct problem *problem);

#endif
