#include "server/routes/attention_response.h"
#include <stdio.h>
#include <string.h>

/** The object that a group's tensors stand in; NULL: they stand by their own names. */
static const char *group_object(attn_group group) {
    switch (group) {
    case ATTN_GROUP_WEIGHTS:
        return "weights";
    case ATTN_GROUP_ANALYSIS:
        return "analyses";
    case ATTN_GROUP_INTERNALS:
        return "internals";
    default:
        return NULL;
    }
}

/** The order in which groups are answered. */
static const attn_group group_order[] = {ATTN_GROUP_OUTPUT, ATTN_GROUP_WEIGHTS, ATTN_GROUP_EXTRA, ATTN_GROUP_ANALYSIS,
                                         ATTN_GROUP_INTERNALS};
#define GROUP_COUNT (sizeof group_order / sizeof *group_order)

/** Some tensors of a result: those of one layer (and head), or with both -1 those of the whole. */
struct slice {
    const struct attention_answer *answer;
    const struct attn_result_tensor *tensors;
    size_t count;
    int layer, head;
};

static bool is_in_slice(const struct slice *slice, size_t index, attn_group group) {
    const struct attn_result_tensor *tensor = &slice->tensors[index];
    return tensor->layer == slice->layer && tensor->head == slice->head && tensor->group == group;
}

static bool is_predictions(const struct attn_result_tensor *tensor) {
    return tensor->group == ATTN_GROUP_EXTRA && strcmp(tensor->name, "predictions") == 0;
}

static void encode_tensor(struct encoder *encoder, const struct attn_result_tensor *tensor,
                          const struct attention_answer *answer) {
    if (is_predictions(tensor) && answer->transformer != NULL) {
        attention_encode_predictions(encoder, tensor, answer);
        return;
    }
    encoder_key(encoder, tensor->name);
    if (tensor->indices.data == NULL) {
        encoder_tensor(encoder, &tensor->values);
        return;
    }
    encoder_begin_object(encoder);
    encoder_key(encoder, "indices");
    encoder_tensor(encoder, &tensor->indices);
    encoder_key(encoder, "values");
    encoder_tensor(encoder, &tensor->values);
    encoder_end_object(encoder);
}

static void encode_group(struct encoder *encoder, const struct slice *slice, attn_group group) {
    const char *object = group_object(group);
    bool is_open = false;
    for (size_t i = 0; i < slice->count; i++) {
        if (!is_in_slice(slice, i, group)) {
            continue;
        }
        if (object != NULL && !is_open) {
            encoder_key(encoder, object);
            encoder_begin_object(encoder);
            is_open = true;
        }
        encode_tensor(encoder, &slice->tensors[i], slice->answer);
    }
    if (is_open) {
        encoder_end_object(encoder);
    }
}

static void encode_slice(struct encoder *encoder, const struct slice *slice) {
    for (size_t i = 0; i < GROUP_COUNT; i++) {
        encode_group(encoder, slice, group_order[i]);
    }
}

static bool is_same_place(const struct attn_result_tensor *a, const struct attn_result_tensor *b) {
    return a->stack == b->stack && a->layer == b->layer && a->head == b->head;
}

/** @return the index behind the run of tensors of one stack, layer and head that starts at `first`. */
static size_t run_end(const struct attn_result *result, size_t first) {
    size_t end = first + 1;
    while (end < result->tensor_count && is_same_place(&result->tensors[end], &result->tensors[first])) {
        end++;
    }
    return end;
}

/** Where an entry of `layers` or `pairs` belongs. */
static void encode_place(struct encoder *encoder, const struct attn_result_tensor *first) {
    if (first->stack >= 0) {
        encoder_key(encoder, "stack");
        encoder_text(encoder, attn_stack_name((attn_stack)first->stack));
    }
    encoder_key(encoder, "layer");
    encoder_integer(encoder, first->layer);
    if (first->head >= 0) {
        encoder_key(encoder, "head");
        encoder_integer(encoder, first->head);
    }
}

/** `layers` or `pairs`: an entry for each run of tensors with a layer. */
static void encode_layers(struct encoder *encoder, const struct attention_answer *answer) {
    const struct attn_result *result = answer->result;
    bool is_open = false;
    for (size_t i = 0, end; i < result->tensor_count; i = end) {
        const struct attn_result_tensor *first = &result->tensors[i];
        end = run_end(result, i);
        if (first->layer < 0) {
            continue;
        }
        if (!is_open) {
            encoder_key(encoder, first->head < 0 ? "layers" : "pairs");
            encoder_begin_array(encoder);
            is_open = true;
        }
        struct slice slice = {answer, first, end - i, first->layer, first->head};
        encoder_begin_object(encoder);
        encode_place(encoder, first);
        encode_slice(encoder, &slice);
        encoder_end_object(encoder);
    }
    if (is_open) {
        encoder_end_array(encoder);
    }
}

static void encode_dims(struct encoder *encoder, const struct attn_dims *dims) {
    const struct {
        const char *name;
        size_t size;
    } rows[] = {
        {"batch", dims->batch},           {"heads", dims->heads},
        {"kv_heads", dims->kv_heads},     {"query_length", dims->query_length},
        {"key_length", dims->key_length}, {"head_dim", dims->head_dim},
    };
    encoder_key(encoder, "dims");
    encoder_begin_object(encoder);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].size > 0) { /* given weights have no head_dim */
            encoder_key(encoder, rows[i].name);
            encoder_integer(encoder, (int64_t)rows[i].size);
        }
    }
    encoder_end_object(encoder);
}

static void encode_warnings(struct encoder *encoder, const struct attn_result *result) {
    if (result->warning_count == 0) {
        return;
    }
    encoder_key(encoder, "warnings");
    encoder_begin_array(encoder);
    for (size_t i = 0; i < result->warning_count; i++) {
        char pointer[sizeof result->warnings[i].field + 1];
        snprintf(pointer, sizeof pointer, "/%s", result->warnings[i].field);
        encoder_begin_object(encoder);
        encoder_key(encoder, "pointer");
        encoder_text(encoder, result->warnings[i].field[0] != '\0' ? pointer : "");
        encoder_key(encoder, "detail");
        encoder_text(encoder, result->warnings[i].detail);
        encoder_end_object(encoder);
    }
    encoder_end_array(encoder);
}

static bool encode_timings(struct encoder *encoder, const struct exchange_timings *timings) {
    encoder_key(encoder, "timings_ms");
    encoder_begin_object(encoder);
    encoder_key(encoder, "queue");
    encoder_real(encoder, timings->queue_ms, 4);
    encoder_key(encoder, "decode");
    encoder_real(encoder, timings->decode_ms, 4);
    encoder_key(encoder, "compute");
    encoder_real(encoder, timings->compute_ms, 4);
    return encoder_end_object(encoder);
}

/** What is no tensor. @return false out of memory, now or before. */
static bool encode_rest(struct encoder *encoder, const struct attention_answer *answer,
                        const struct exchange_timings *timings) {
    encode_dims(encoder, &answer->result->dims);
    encode_warnings(encoder, answer->result);
    return encode_timings(encoder, timings);
}

struct encoder *attention_encode_json(struct arena *arena, const struct attention_answer *answer,
                                      const struct exchange_timings *timings, struct encode_options options) {
    struct encoder *encoder = encoder_create(arena, options);
    struct slice whole = {answer, answer->result->tensors, answer->result->tensor_count, -1, -1};
    if (encoder == NULL) {
        return NULL;
    }
    encoder_begin_object(encoder);
    attention_encode_tokens(encoder, answer);
    encode_slice(encoder, &whole);
    encode_layers(encoder, answer);
    return encode_rest(encoder, answer, timings) && encoder_end_object(encoder) ? encoder : NULL;
}

/** Tokens, dims, warnings and timings as JSON text, for __metadata__.response. */
static char *rest_text(struct arena *arena, const struct attention_answer *answer,
                       const struct exchange_timings *timings) {
    struct encoder *encoder = encoder_create(arena, (struct encode_options){0});
    if (encoder == NULL || !encoder_begin_object(encoder)) {
        return NULL;
    }
    attention_encode_tokens(encoder, answer);
    if (!encode_rest(encoder, answer, timings) || !encoder_end_object(encoder)) {
        return NULL;
    }
    size_t capacity = encoder_bound(encoder) + 64, used = 0, written;
    char *text = arena_alloc(arena, capacity + 1);
    if (text == NULL) {
        return NULL;
    }
    while (capacity - used >= 64 && (written = encoder_next(encoder, text + used, capacity - used)) > 0) {
        used += written;
    }
    text[used] = '\0';
    return text;
}

/** "layers.3.weights.average", "decoder.layers.0.weights.average", "pairs.3.1.weights.average", "output"; `suffix` for
 * top-k. */
static char *item_name(struct arena *arena, const struct attn_result_tensor *tensor, const char *suffix) {
    char place[80] = "", name[208];
    const char *object = group_object(tensor->group);
    bool has_stack = tensor->stack >= 0 && tensor->layer >= 0;
    const char *stack = has_stack ? attn_stack_name((attn_stack)tensor->stack) : "", *dot = has_stack ? "." : "";
    if (tensor->layer >= 0 && tensor->head >= 0) {
        snprintf(place, sizeof place, "%s%spairs.%d.%d.", stack, dot, tensor->layer, tensor->head);
    } else if (tensor->layer >= 0) {
        snprintf(place, sizeof place, "%s%slayers.%d.", stack, dot, tensor->layer);
    }
    int length = snprintf(name, sizeof name, "%s%s%s%s%s", place, object != NULL ? object : "",
                          object != NULL ? "." : "", tensor->name, suffix);
    return arena_copy_text(arena, name, (size_t)length);
}

struct binary_encoder *attention_encode_safetensors(struct arena *arena, const struct attention_answer *answer,
                                                    const struct exchange_timings *timings) {
    const struct attn_result *result = answer->result;
    struct binary_item *items = arena_alloc(arena, (2 * result->tensor_count + 1) * sizeof *items);
    char *rest = rest_text(arena, answer, timings);
    size_t count = 0;
    if (items == NULL || rest == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < result->tensor_count; i++) {
        const struct attn_result_tensor *tensor = &result->tensors[i];
        bool is_top_k = tensor->indices.data != NULL;
        if (is_top_k) {
            items[count++] = (struct binary_item){item_name(arena, tensor, ".indices"), tensor->indices};
        }
        items[count++] = (struct binary_item){item_name(arena, tensor, is_top_k ? ".values" : ""), tensor->values};
        if (items[count - 1].name == NULL || items[count - 1 - is_top_k].name == NULL) {
            return NULL;
        }
    }
    return binary_encoder_create(arena, items, count, rest);
}
