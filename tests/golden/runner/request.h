/** @file request.h From a golden case's JSON (the field names of POST /attention) to the library's structs. */
#ifndef TESTS_GOLDEN_REQUEST_H
#define TESTS_GOLDEN_REQUEST_H

#include "numbers.h"

#include <attn/attn.h>

#include <jansson.h>

/** What a case asks of the library. */
struct golden_request {
    struct golden_memory memory;
    attn_dtype dtype;
    struct attn_inputs inputs;
    struct attn_given given;
    struct attn_layer layer;
    struct attn_safetensors *params;
    struct attn_want want;
};

/** Floating tensors of a request by field name; optional ones may be missing. */
struct golden_field {
    const char *name;
    size_t offset;
};

#define GOLDEN_INPUT(name, member)                                                                                     \
    { name, offsetof(struct golden_request, member) }

static const struct golden_field golden_tensors[] = {
    GOLDEN_INPUT("query", inputs.query),
    GOLDEN_INPUT("key", inputs.key),
    GOLDEN_INPUT("value", inputs.value),
    GOLDEN_INPUT("past_key", inputs.past_key),
    GOLDEN_INPUT("past_value", inputs.past_value),
    GOLDEN_INPUT("attn_mask", inputs.options.attn_mask),
    GOLDEN_INPUT("key_padding_mask", inputs.options.key_padding_mask),
    GOLDEN_INPUT("attention_weights", given.weights),
};

/** Lists of numbers that stand in the request itself; segment_ids is a list of lists. */
static const struct golden_list {
    struct golden_field field;
    bool is_integer;
} golden_lists[] = {
    {GOLDEN_INPUT("key_lengths", inputs.options.key_lengths), true},
    {GOLDEN_INPUT("prefix_length", inputs.options.prefix_length), true},
    {GOLDEN_INPUT("segment_ids", inputs.options.segment_ids), true},
    {GOLDEN_INPUT("alibi_slopes", inputs.options.alibi_slopes), false},
    {GOLDEN_INPUT("sinks", inputs.options.sinks), false},
};

static inline struct attn_view *golden_view_at(struct golden_request *request, size_t offset) {
    return (struct attn_view *)((char *)request + offset);
}

/** An input: a tensor of the file, or one of the generator. */
static inline struct attn_view golden_input(struct golden_request *request, const struct attn_safetensors *file,
                                            const json_t *input) {
    const char *stored = json_string_value(json_object_get(input, "tensor"));
    if (stored)
        return attn_safetensors_find(file, stored).view;
    const json_t *axes = json_object_get(input, "shape");
    size_t shape[ATTN_MAX_RANK] = {0}, rank = json_array_size(axes);
    for (size_t axis = 0; axis < rank && axis < ATTN_MAX_RANK; axis++)
        shape[axis] = (size_t)json_integer_value(json_array_get(axes, axis));
    uint64_t seed = (uint64_t)json_integer_value(json_object_get(input, "seed"));
    return golden_random_view(&request->memory, seed, request->dtype, (int)rank, shape);
}

static inline void golden_put(struct attn_view *view, size_t i, const json_t *number) {
    if (view->dtype == ATTN_INT64)
        ((int64_t *)view->data)[i] = json_integer_value(number);
    else if (view->dtype == ATTN_FLOAT64)
        ((double *)view->data)[i] = json_number_value(number);
    else
        ((float *)view->data)[i] = (float)json_number_value(number);
}

static inline struct attn_view golden_list_view(struct golden_request *request, const json_t *list, bool is_integer) {
    const json_t *first = json_array_get(list, 0);
    bool nested = json_is_array(first);
    size_t shape[2] = {json_array_size(list), json_array_size(first)}, columns = nested ? shape[1] : 1;
    struct attn_view view = attn_view_contiguous(NULL, is_integer ? ATTN_INT64 : request->dtype, nested ? 2 : 1, shape);
    view.data = golden_alloc(&request->memory, shape[0] * columns * 8);
    for (size_t i = 0; i < shape[0]; i++) {
        const json_t *entry = json_array_get(list, i);
        for (size_t j = 0; j < columns; j++)
            golden_put(&view, i * columns + j, nested ? json_array_get(entry, j) : entry);
    }
    return view;
}

static inline int golden_index(const char *name, const char *(*name_of)(int), int count) {
    for (int i = 0; i < count; i++)
        if (strcmp(name, name_of(i)) == 0)
            return i;
    fprintf(stderr, "golden: the library does not know %s\n", name);
    abort();
}

static inline const char *golden_form(int i) {
    return attn_form_name((attn_form)i);
}
static inline const char *golden_analysis(int i) {
    return attn_analysis_name((attn_analysis)i);
}
static inline const char *golden_internal(int i) {
    return attn_internal_name((attn_internal)i);
}
static inline const char *golden_stage(int i) {
    return attn_stage_name((attn_stage)i);
}
static inline const char *golden_fusion(int i) {
    return attn_fusion_name((attn_fusion)i);
}
static inline const char *golden_alignment(int i) {
    static const char *const names[] = {"auto", "top_left", "bottom_right"};
    return names[i];
}

/** One name or a list of names as a set of bits; "none" is the empty set. */
static inline unsigned golden_bits(const json_t *names, const char *(*name_of)(int), int count) {
    unsigned bits = 0;
    if (json_is_string(names) && strcmp(json_string_value(names), "none") != 0)
        bits = 1U << golden_index(json_string_value(names), name_of, count);
    for (size_t i = 0; i < json_array_size(names); i++)
        bits |= 1U << golden_index(json_string_value(json_array_get(names, i)), name_of, count);
    return bits;
}

static inline const long long *golden_integers(struct golden_request *request, const json_t *list, size_t *count) {
    *count = json_array_size(list);
    if (!*count)
        return NULL;
    long long *integers = golden_alloc(&request->memory, *count * sizeof *integers);
    for (size_t i = 0; i < *count; i++)
        integers[i] = json_integer_value(json_array_get(list, i));
    return integers;
}

static inline bool golden_range(const json_t *range, size_t bounds[2]) {
    for (size_t i = 0; i < json_array_size(range) && i < 2; i++)
        bounds[i] = (size_t)json_integer_value(json_array_get(range, i));
    return range != NULL;
}

static inline long long golden_side(const json_t *window, const char *side) {
    const json_t *bound = json_object_get(window, side);
    return json_is_integer(bound) ? json_integer_value(bound) : ATTN_UNBOUNDED;
}

/** "What is attended", the part that is no tensor. */
static inline void golden_options(const json_t *asked, struct attn_sdpa_options *options) {
    const json_t *scale = json_object_get(asked, "scale"), *window = json_object_get(asked, "window");
    const char *convention = json_string_value(json_object_get(asked, "mask_convention"));
    const char *alignment = json_string_value(json_object_get(asked, "causal_alignment"));
    options->has_scale = scale != NULL;
    options->scale = json_number_value(scale);
    options->softcap = json_number_value(json_object_get(asked, "softcap"));
    options->bool_mask_ignores = convention && strcmp(convention, "ignore") == 0;
    options->is_causal = json_is_true(json_object_get(asked, "is_causal"));
    if (alignment)
        options->causal_alignment = (attn_causal_alignment)golden_index(alignment, golden_alignment, 3);
    options->window_left = golden_side(window, "left");
    options->window_right = golden_side(window, "right");
}

static inline void golden_pairs(struct golden_request *request, const json_t *pairs) {
    size_t count = json_array_size(pairs);
    if (!count)
        return;
    long long(*list)[2] = golden_alloc(&request->memory, count * sizeof *list);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < 2; j++)
            list[i][j] = json_integer_value(json_array_get(json_array_get(pairs, i), j));
    request->want.pairs = (const long long(*)[2])list;
    request->want.pairs_count = count;
}

static inline void golden_selections(struct golden_request *request, const json_t *asked) {
    struct attn_want *want = &request->want;
    want->heads = golden_integers(request, json_object_get(asked, "heads"), &want->heads_count);
    want->layers = golden_integers(request, json_object_get(asked, "layers"), &want->layers_count);
    golden_pairs(request, json_object_get(asked, "pairs"));
    want->has_query_range = golden_range(json_object_get(asked, "query_range"), want->query_range);
    want->has_key_range = golden_range(json_object_get(asked, "key_range"), want->key_range);
    want->top_k = (size_t)json_integer_value(json_object_get(asked, "top_k"));
}

/** "What comes back". */
static inline void golden_want(struct golden_request *request, const json_t *asked) {
    struct attn_want *want = &request->want;
    *want = (struct attn_want)ATTN_WANT_DEFAULTS;
    const json_t *weights = json_object_get(asked, "weights"), *stage = json_object_get(asked, "weights_stage");
    const json_t *shares = json_object_get(asked, "head_weights"), *components = json_object_get(asked, "components");
    const json_t *fusion = json_object_get(json_object_get(asked, "rollout"), "head_fusion");
    want->output = !json_is_false(json_object_get(asked, "return_output"));
    want->present = json_is_true(json_object_get(asked, "return_present"));
    if (weights)
        want->forms = golden_bits(weights, golden_form, ATTN_FORM_COUNT);
    if (stage)
        want->stage = (attn_stage)golden_index(json_string_value(stage), golden_stage, ATTN_STAGE_COUNT);
    want->analyses = golden_bits(json_object_get(asked, "analyses"), golden_analysis, ATTN_ANALYSIS_COUNT);
    want->internals = golden_bits(json_object_get(asked, "internals"), golden_internal, ATTN_INTERNAL_COUNT);
    golden_selections(request, asked);
    want->head_weights_count = json_array_size(shares);
    if (shares) {
        double *numbers = golden_alloc(&request->memory, want->head_weights_count * sizeof *numbers);
        for (size_t i = 0; i < want->head_weights_count; i++)
            numbers[i] = json_number_value(json_array_get(shares, i));
        want->head_weights = numbers;
    }
    if (components)
        want->components = (size_t)json_integer_value(components);
    if (fusion)
        want->fusion = (attn_fusion)golden_index(json_string_value(fusion), golden_fusion, ATTN_FUSION_COUNT);
}

/** Tokens as numbers: the position of the first equal string of the item. */
static inline struct attn_view golden_tokens(struct golden_request *request, const json_t *items) {
    size_t shape[2] = {json_array_size(items), json_array_size(json_array_get(items, 0))};
    struct attn_view view = attn_view_contiguous(NULL, ATTN_INT64, 2, shape);
    view.data = golden_alloc(&request->memory, shape[0] * shape[1] * sizeof(int64_t));
    for (size_t n = 0; n < shape[0]; n++) {
        const json_t *item = json_array_get(items, n);
        for (size_t i = 0; i < shape[1]; i++) {
            size_t first = 0;
            while (!json_equal(json_array_get(item, first), json_array_get(item, i)))
                first++;
            ((int64_t *)view.data)[n * shape[1] + i] = (int64_t)first;
        }
    }
    return view;
}

/** Opens a state dict beside the golden files and resolves it. */
static inline attn_status golden_layer(struct golden_request *request, const json_t *asked, const char *path,
                                       struct attn_error *error) {
    attn_status status = attn_safetensors_open(&request->params, path, error);
    if (status)
        return status;
    size_t count = attn_safetensors_count(request->params);
    struct attn_named_view *tensors = golden_alloc(&request->memory, count * sizeof *tensors);
    for (size_t i = 0; i < count; i++)
        tensors[i] = attn_safetensors_tensor(request->params, i);
    struct attn_layer_config config = {
        .num_heads = (size_t)json_integer_value(json_object_get(asked, "num_heads")),
        .num_kv_heads = (size_t)json_integer_value(json_object_get(asked, "num_kv_heads")),
        .add_zero_attn = json_is_true(json_object_get(asked, "add_zero_attn")),
    };
    request->inputs.layer = &request->layer;
    return attn_layer_resolve(tensors, count, &config, &request->layer, error);
}

/** Everything of a case but its state dict; `file` must stay open while the request is used. */
static inline void golden_request_read(struct golden_request *request, const struct attn_safetensors *file,
                                       const json_t *one) {
    *request = (struct golden_request){.inputs.options = ATTN_SDPA_DEFAULTS};
    const json_t *asked = json_object_get(one, "request"), *inputs = json_object_get(one, "inputs");
    attn_dtype_parse(json_string_value(json_object_get(one, "dtype")), &request->dtype);
    golden_options(asked, &request->inputs.options);
    golden_want(request, asked);
    for (size_t i = 0; i < sizeof golden_tensors / sizeof *golden_tensors; i++) {
        const json_t *input = json_object_get(inputs, golden_tensors[i].name);
        if (input)
            *golden_view_at(request, golden_tensors[i].offset) = golden_input(request, file, input);
    }
    for (size_t i = 0; i < sizeof golden_lists / sizeof *golden_lists; i++) {
        const json_t *list = json_object_get(asked, golden_lists[i].field.name);
        if (list)
            *golden_view_at(request, golden_lists[i].field.offset) =
                golden_list_view(request, list, golden_lists[i].is_integer);
    }
    request->inputs.num_heads = (size_t)json_integer_value(json_object_get(asked, "num_heads"));
    request->inputs.num_kv_heads = (size_t)json_integer_value(json_object_get(asked, "num_kv_heads"));
    const json_t *tokens = json_object_get(asked, "tokens");
    if (tokens)
        request->given.query_tokens = request->given.key_tokens = golden_tokens(request, tokens);
    const char *layout = json_string_value(json_object_get(asked, "layout"));
    if (layout && strcmp(layout, "HNLS") == 0) {
        struct attn_view *view = &request->given.weights;
        int n = view->rank - 3, h = view->rank - 4;
        size_t size = view->shape[n];
        ptrdiff_t stride = view->stride[n];
        view->shape[n] = view->shape[h], view->stride[n] = view->stride[h];
        view->shape[h] = size, view->stride[h] = stride;
    }
}

static inline void golden_request_free(struct golden_request *request) {
    attn_safetensors_close(request->params);
    golden_free(&request->memory);
}

#endif
