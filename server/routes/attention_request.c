#include "server/routes/attention_request.h"
#include "server/routes/json_value.h"
#include <string.h>

const json_t *attention_json(const struct attention_request *request, const char *name) {
    const struct field *field = document_find(&request->document, name);
    return field != NULL ? field->json : NULL;
}

bool attention_out_of_memory(struct problem *problem) {
    problem_set(problem, PROBLEM_BUSY, NULL, "out of memory");
    problem->retry_after_s = 1;
    return false;
}

struct attn_view attention_tensor(const struct attention_request *request, const char *name) {
    const struct field *field = document_find(&request->document, name);
    return field != NULL ? field->tensor : (struct attn_view){0};
}

static bool read_head_counts(struct attention_request *request, struct problem *problem) {
    const json_t *num_heads = attention_json(request, "num_heads");
    const json_t *num_kv_heads = attention_json(request, "num_kv_heads");
    if (num_heads == NULL && request->mode == ATTENTION_PARAMS) {
        problem_set(problem, PROBLEM_INVALID, "/num_heads", "`params` needs `num_heads`: a state dict does not say it");
        return false;
    }
    if (num_heads != NULL && !json_value_size(num_heads, "/num_heads", 1, &request->inputs.num_heads, problem)) {
        return false;
    }
    return num_kv_heads == NULL ||
           json_value_size(num_kv_heads, "/num_kv_heads", 1, &request->inputs.num_kv_heads, problem);
}

static bool read_inputs(struct attention_request *request, struct problem *problem) {
    struct attn_inputs *inputs = &request->inputs;
    inputs->query = attention_tensor(request, "query");
    if (inputs->query.data == NULL) {
        problem_set(
            problem, PROBLEM_INVALID, "/query",
            "expected a tensor of rank 2 (L, E), 3 (N, L, E) or 4 (N, H, L, D), found none; `query` is required "
            "unless `attention_weights` is there");
        return false;
    }
    inputs->key = attention_tensor(request, "key");
    inputs->value = attention_tensor(request, "value");
    inputs->past_key = attention_tensor(request, "past_key");
    inputs->past_value = attention_tensor(request, "past_value");
    return read_head_counts(request, problem) && attention_read_layer(request, problem) &&
           attention_read_attended(request, problem);
}

/** Rank 3 (H, L, T), rank 4 (N, H, L, T), rank 5 (layers, N, H, L, T). */
static bool check_given_rank(const struct attn_view *weights, struct problem *problem) {
    if (weights->rank >= 3 && weights->rank <= 5) {
        return true;
    }
    problem_set(problem, PROBLEM_INVALID, "/attention_weights",
                "expected rank 3 (H, L, T), 4 (N, H, L, T) or 5 (layers, N, H, L, T), found rank %d", weights->rank);
    return false;
}

static const char *layout_name(int index) {
    static const char *const names[] = {"NHLS", "HNLS"};
    return names[index];
}

/** With layout "HNLS" the heads stand before the batch: the view is transposed, nothing moves. */
static bool read_layout(struct attention_request *request, struct problem *problem) {
    struct attn_view *weights = &request->given.weights;
    const json_t *layout = attention_json(request, "layout");
    int index = 0;
    if (layout == NULL) {
        return true;
    }
    if (!json_value_name(layout, "/layout", (struct json_names){layout_name, 2}, &index, problem)) {
        return false;
    }
    if (weights->rank == 3) {
        problem_set(problem, PROBLEM_INVALID, "/layout",
                    "`layout` orders heads and batch; `attention_weights` of rank 3 (H, L, T) have no batch axis");
        return false;
    }
    if (index == 1) {
        int heads = weights->rank - 4, batch = weights->rank - 3;
        size_t size = weights->shape[heads];
        ptrdiff_t stride = weights->stride[heads];
        weights->shape[heads] = weights->shape[batch];
        weights->stride[heads] = weights->stride[batch];
        weights->shape[batch] = size;
        weights->stride[batch] = stride;
    }
    return true;
}

static bool read_given(struct attention_request *request, struct problem *problem) {
    request->given.weights = attention_tensor(request, "attention_weights");
    return check_given_rank(&request->given.weights, problem) && read_layout(request, problem) &&
           attention_read_tokens(request, problem);
}

static bool refuse_store(const struct attention_request *request, struct problem *problem) {
    const json_t *store = attention_json(request, "store");
    if (store == NULL || json_is_false(store)) {
        return true;
    }
    problem_set(problem, PROBLEM_INVALID, "/store", "results are not stored by this server");
    return false;
}

/** Which kind of model it is says the registry: fields that no kind takes are refused before it is asked. */
static bool read_mode(struct attention_request *request, struct problem *problem) {
    if (!attention_mode_find(&request->document, &request->mode, problem)) {
        return false;
    }
    if (request->mode != ATTENTION_MODEL) {
        return attention_fields_check(&request->document, request->mode, problem);
    }
    return attention_fields_check(&request->document, ATTENTION_ANY_MODEL, problem) &&
           attention_acquire_model(request, problem) &&
           attention_fields_check(&request->document, request->mode, problem);
}

static bool read_by_mode(struct attention_request *request, struct problem *problem) {
    switch (request->mode) {
    case ATTENTION_GIVEN:
        return read_given(request, problem);
    case ATTENTION_TRANSFORMER:
        return attention_read_transformer(request, problem);
    default:
        return read_inputs(request, problem);
    }
}

bool attention_request_read(struct attention_request *request, struct registry *registry, size_t max_elements,
                            struct problem *problem) {
    request->registry = registry;
    request->inputs = (struct attn_inputs){.options = ATTN_SDPA_DEFAULTS};
    request->want = (struct attn_want)ATTN_WANT_DEFAULTS;
    request->want.max_elements = max_elements;
    return read_mode(request, problem) && refuse_store(request, problem) && read_by_mode(request, problem) &&
           attention_read_wanted(request, problem);
}

static size_t count_bits(unsigned set) {
    return (size_t)__builtin_popcount(set);
}

size_t attention_request_tensor_count(const struct attention_request *request) {
    const struct attn_want *want = &request->want;
    unsigned across = want->forms & (ATTN_BIT(ATTN_FORM_ROLLOUT) | ATTN_BIT(ATTN_FORM_FLOW));
    size_t each_form = want->top_k > 0 ? 2 : 1;
    size_t each_layer = each_form * count_bits(want->forms & ~across) + count_bits(want->analyses) +
                        ((want->forms & ATTN_BIT(ATTN_FORM_PCA)) != 0 ? 2 : 0);
    size_t layers = 1;
    if (want->pairs_count > 0) {
        layers = want->pairs_count;
    } else if (request->mode == ATTENTION_GIVEN && request->given.weights.rank == 5) {
        layers = want->layers_count > 0 ? want->layers_count : request->given.weights.shape[0];
    }
    return each_layer * layers + each_form * count_bits(across) + count_bits(want->internals) + (want->output ? 1 : 0) +
           (want->present ? 2 : 0);
}

/** Each tensor of an answer has a shape, a name and a place besides its numbers: a kilobyte or two. */
#define MOST_TENSORS ((size_t)1 << 16)

/** So many come of an axis of layers, or of pairs, that only a request made for it has. */
static bool check_tensor_count(const struct attention_request *request, struct problem *problem) {
    size_t count = attention_request_tensor_count(request);
    if (request->mode == ATTENTION_GIVEN && request->given.weights.rank == 5 &&
        request->given.weights.shape[0] > MOST_TENSORS) {
        problem_set(problem, PROBLEM_TOO_LARGE, "/attention_weights", "expected at most %zu layers, found %zu",
                    MOST_TENSORS, request->given.weights.shape[0]);
        return false;
    }
    if (count <= MOST_TENSORS) {
        return true;
    }
    problem_set(problem, PROBLEM_TOO_LARGE, request->want.pairs_count > 0 ? "/pairs" : "/attention_weights",
                "expected at most %zu tensors in the answer, one a layer or pair and form, found %zu", MOST_TENSORS,
                count);
    return false;
}

/** A plan and its run keep lists of the heads: 16 bytes a head were seen. */
#define BYTES_A_HEAD ((size_t)32)
/** So few are within what any request costs. */
#define FREE_HEADS ((size_t)1024)

static bool afford_heads(const struct attention_request *request, struct problem *problem) {
    const struct attn_view *query = &request->inputs.query, *weights = &request->given.weights;
    size_t heads = request->inputs.num_heads;
    if (request->mode == ATTENTION_GIVEN) {
        heads = weights->shape[weights->rank - 3];
    } else if (query->rank == 4) {
        heads = query->shape[1];
    }
    /* a head has an element at least: more than that are refused by the plan */
    bool is_little = heads <= FREE_HEADS || heads > SIZE_MAX / BYTES_A_HEAD;
    return is_little || arena_charge(request->document.arena, heads * BYTES_A_HEAD) || attention_out_of_memory(problem);
}

static struct attn_plan *plan_transformer(struct attention_request *request, const struct attn_execution *execution,
                                          struct problem *problem) {
    struct attention_transformer *transformer = &request->transformer;
    const struct attention_work_place place = {.model = request->model,
                                               .arena = request->document.arena,
                                               .max_elements = request->want.max_elements,
                                               .execution = execution};
    struct attn_plan *plan = NULL;
    struct attn_error error = {0};
    registry_open_tokenizer(request->model);
    if (!attention_encode_texts(transformer, &place, problem)) {
        return NULL;
    }
    if (attn_plan_create_model(&plan, request->model->transformer, &transformer->inputs, &request->want,
                               &transformer->want, &error) != ATTN_OK) {
        attention_problem_from_inputs(problem, transformer, &error);
        return NULL;
    }
    if (!attention_list_tokens(transformer, &place, problem)) {
        attn_plan_destroy(plan);
        return NULL;
    }
    return plan;
}

struct attn_plan *attention_request_plan(struct attention_request *request, const struct attn_execution *execution,
                                         struct problem *problem) {
    struct attn_plan *plan = NULL;
    struct attn_error error = {0};
    if (request->mode == ATTENTION_TRANSFORMER) {
        return plan_transformer(request, execution, problem);
    }
    if (!check_tensor_count(request, problem) || !afford_heads(request, problem)) {
        return NULL;
    }
    attn_status status = request->mode == ATTENTION_GIVEN
                             ? attn_plan_create_given(&plan, &request->given, &request->want, &error)
                             : attn_plan_create(&plan, &request->inputs, &request->want, &error);
    if (status != ATTN_OK) {
        problem_from_attn(problem, &error);
        return NULL;
    }
    return plan;
}

void attention_request_reset(struct attention_request *request) {
    if (request->model != NULL) {
        registry_release(request->registry, request->model);
        request->model = NULL;
    }
    document_reset(&request->document);
}
