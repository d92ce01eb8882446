#include "server/routes/attention_request.h"
#include "server/routes/json_value.h"
#include <string.h>

/** Numbers strings in the order in which they are first seen: open addressing, at most half full. */
struct numbering {
    const char **texts;
    size_t *lengths;
    int64_t *numbers;
    size_t capacity; /**< a power of two */
    int64_t count;
};

static bool numbering_init(struct numbering *numbering, size_t most, struct arena *arena) {
    size_t capacity = 16;
    while (capacity / 2 < most) {
        capacity *= 2;
    }
    *numbering = (struct numbering){.texts = arena_alloc(arena, capacity * sizeof *numbering->texts),
                                    .lengths = arena_alloc(arena, capacity * sizeof *numbering->lengths),
                                    .numbers = arena_alloc(arena, capacity * sizeof *numbering->numbers),
                                    .capacity = capacity};
    return numbering->texts != NULL && numbering->lengths != NULL && numbering->numbers != NULL;
}

/** FNV-1a, 64 bits, with the high half folded in (Fowler, Noll and Vo). */
static size_t hash_text(const char *text, size_t length) {
    uint64_t hash = 14695981039346656037ULL;
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ (unsigned char)text[i]) * 1099511628211ULL;
    }
    return (size_t)(hash ^ (hash >> 32));
}

static int64_t number_of(struct numbering *numbering, const char *text, size_t length) {
    size_t slot = hash_text(text, length) & (numbering->capacity - 1);
    while (numbering->texts[slot] != NULL) {
        if (numbering->lengths[slot] == length && memcmp(numbering->texts[slot], text, length) == 0) {
            return numbering->numbers[slot];
        }
        slot = (slot + 1) & (numbering->capacity - 1);
    }
    numbering->texts[slot] = text;
    numbering->lengths[slot] = length;
    numbering->numbers[slot] = numbering->count;
    return numbering->count++;
}

/** One item's strings into `to`. */
static bool read_item(const json_t *list, const char *pointer, size_t length, struct numbering *numbering, int64_t *to,
                      struct problem *problem) {
    char place[96];
    if (!json_is_array(list)) {
        problem_set(problem, PROBLEM_INVALID, pointer, "expected an array of strings, found %s", json_value_kind(list));
        return false;
    }
    if (json_array_size(list) != length) {
        problem_set(problem, PROBLEM_INVALID, pointer, "expected %zu strings, found %zu", length,
                    json_array_size(list));
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        const json_t *token = json_array_get(list, i);
        json_value_at(place, sizeof place, pointer, i);
        if (json_value_text(token, place, problem) == NULL) {
            return false;
        }
        to[i] = number_of(numbering, json_string_value(token), json_string_length(token));
    }
    return true;
}

static bool stands_alone(const json_t *lists, bool has_batch) {
    return !has_batch && !json_is_array(json_array_get(lists, 0));
}

/** How many lists there are, before memory is taken for what they should hold. */
static bool check_lists(const json_t *lists, const char *pointer, size_t batch, bool has_batch,
                        struct problem *problem) {
    if (lists == NULL || stands_alone(lists, has_batch) || (json_is_array(lists) && json_array_size(lists) == batch)) {
        return true;
    }
    problem_set(problem, PROBLEM_INVALID, pointer, "expected %zu lists of strings, one a batch item, found %zu", batch,
                json_array_size(lists));
    return false;
}

/** One list an item; without a batch axis the one list may stand by itself. */
static bool read_lists(const json_t *lists, const char *pointer, const size_t shape[2], bool has_batch,
                       struct numbering *numbering, int64_t *to, struct problem *problem) {
    char place[64];
    if (stands_alone(lists, has_batch)) {
        return read_item(lists, pointer, shape[1], numbering, to, problem);
    }
    for (size_t item = 0; item < shape[0]; item++) {
        json_value_at(place, sizeof place, pointer, item);
        if (!read_item(json_array_get(lists, item), place, shape[1], numbering, to + item * shape[1], problem)) {
            return false;
        }
    }
    return true;
}

static bool read_side(struct attention_request *request, const json_t *lists, const char *pointer, size_t length,
                      struct numbering *numbering, struct attn_view *view, struct problem *problem) {
    const struct attn_view *weights = &request->given.weights;
    bool has_batch = weights->rank > 3;
    size_t shape[2] = {has_batch ? weights->shape[weights->rank - 4] : 1, length};
    int64_t *numbers = arena_alloc(request->document.arena, shape[0] * shape[1] * sizeof *numbers);
    if (numbers == NULL) {
        return attention_out_of_memory(problem);
    }
    *view = attn_view_contiguous(numbers, ATTN_INT64, 2, shape);
    return read_lists(lists, pointer, shape, has_batch, numbering, numbers, problem);
}

bool attention_read_tokens(struct attention_request *request, struct problem *problem) {
    const json_t *tokens = attention_json(request, "tokens");
    const json_t *key_tokens = attention_json(request, "key_tokens");
    struct attn_given *given = &request->given;
    size_t batch = given->weights.rank > 3 ? given->weights.shape[given->weights.rank - 4] : 1;
    size_t queries = given->weights.shape[given->weights.rank - 2];
    size_t keys = given->weights.shape[given->weights.rank - 1];
    struct numbering numbering;
    if (tokens == NULL && key_tokens == NULL) {
        return true;
    }
    if (tokens == NULL) {
        problem_set(problem, PROBLEM_INVALID, "/tokens", "`key_tokens` are there without `tokens`");
        return false;
    }
    bool has_batch = given->weights.rank > 3;
    if (!check_lists(tokens, "/tokens", batch, has_batch, problem) ||
        !check_lists(key_tokens, "/key_tokens", batch, has_batch, problem)) {
        return false;
    }
    if (!numbering_init(&numbering, batch * (queries + keys), request->document.arena)) {
        return attention_out_of_memory(problem);
    }
    if (!read_side(request, tokens, "/tokens", queries, &numbering, &given->query_tokens, problem)) {
        return false;
    }
    if (key_tokens != NULL) {
        return read_side(request, key_tokens, "/key_tokens", keys, &numbering, &given->key_tokens, problem);
    }
    if (queries == keys) {
        given->key_tokens = given->query_tokens;
    }
    return true;
}
