/**
 * @file fake_model.h
 * A transformer so plain that a few lines of NumPy (plan_model_expected.py) are another of it, in the place of the real
 * one: programs that include this are linked with --wrap (see the Makefile). It notes which layers attended.
 *
 *   x_0[n, l, e] = ((7 id + 3 l + 5 e) mod 13) / 13 - 1/2
 *   query = x (1 + layer / 4), key = y (1 - layer / 8), value = y + layer / 10, heads side by side in E, D = Dv = 2
 *   x_layer+1 = x_layer + heads' outputs side by side; y is x, and in cross attention the encoder's last
 *   out_weight[e, i] = ((3 e + 5 i) mod 8) / 8, as float16, columns first
 */
#ifndef TESTS_FAKE_MODEL_H
#define TESTS_FAKE_MODEL_H

#include "lib/tensor/error.h"
#include "lib/transformer/forward.h"

#include <stdlib.h>
#include <string.h>

enum { FAKE_HEADS = 4, FAKE_KV_HEADS = 2, FAKE_DIM = 2, FAKE_WIDTH = FAKE_HEADS * FAKE_DIM, FAKE_VOCAB = 50 };

/* What the model of the next call is, and what the last run did. */
struct fake_model {
    bool is_causal, is_encoder_decoder, has_head;
    size_t layers[ATTN_STACK_COUNT];
    size_t largest_tensor;
    size_t attended[ATTN_STACK_COUNT]; /* layers */
    size_t unread;                     /* attentions whose output nothing reads */
    size_t runs, checks;
};

static struct fake_model fake;

attn_status __wrap_attn_forward_check(const struct attn_forward *forward, struct attn_forward_facts *facts,
                                      struct attn_error *error);
attn_status __wrap_attn_forward_run(const struct attn_forward *forward, const struct attn_forward_result *result,
                                    const struct attn_execution *execution, struct attn_error *error);
struct attn_model_info __wrap_attn_model_info(const struct attn_model *model);

/* One side of a run: encoder or decoder. */
struct fake_side {
    const struct attn_view *ids, *mask;
    size_t batch, length;
    double *x;       /* (N, L, E) */
    uint8_t *exists; /* (N, L) */
};

struct attn_model_info __wrap_attn_model_info(const struct attn_model *model) {
    (void)model;
    return (struct attn_model_info){.family = "fake",
                                    .is_encoder_decoder = fake.is_encoder_decoder,
                                    .has_head = fake.has_head,
                                    .vocab_size = FAKE_VOCAB};
}

/* Not by Check, which allocates: the allocation may be the one that fails. */
static void fake_expect(bool holds) {
    if (!holds)
        abort();
}

static size_t fake_least(size_t left, size_t right) {
    return left < right ? left : right;
}

static bool fake_runs_decoder(const struct attn_forward *forward) {
    return forward->wants_output || forward->predictions > 0 || forward->layers[ATTN_STACK_DECODER] > 0 ||
           forward->layers[ATTN_STACK_CROSS] > 0;
}

static attn_stack fake_main_stack(void) {
    return fake.is_encoder_decoder || fake.is_causal ? ATTN_STACK_DECODER : ATTN_STACK_ENCODER;
}

static size_t fake_length(const struct attn_view *ids) {
    return ids->data != NULL ? ids->shape[ids->rank - 1] : 0;
}

static void fake_put_stack(struct attn_forward_facts *facts, attn_stack stack, size_t queries, size_t keys) {
    facts->stacks[stack] = (struct attn_stack_sizes){.layers = fake.layers[stack],
                                                     .heads = FAKE_HEADS,
                                                     .kv_heads = FAKE_KV_HEADS,
                                                     .head_dim = FAKE_DIM,
                                                     .value_dim = FAKE_DIM,
                                                     .query_length = queries,
                                                     .key_length = keys,
                                                     .width = FAKE_WIDTH,
                                                     .hidden = FAKE_WIDTH,
                                                     .has_out_weight = true};
}

/* Ids, or embeddings in their place, which count as ids of 0. */
static const struct attn_view *fake_source(const struct attn_model_inputs *inputs, bool is_decoders,
                                           struct attn_view *shape) {
    const struct attn_view *ids = is_decoders ? &inputs->decoder_input_ids : &inputs->input_ids;
    if (ids->data != NULL || is_decoders)
        return ids;
    *shape = inputs->inputs_embeds;
    shape->rank--;
    return shape;
}

attn_status __wrap_attn_forward_check(const struct attn_forward *forward, struct attn_forward_facts *facts,
                                      struct attn_error *error) {
    struct attn_view shape;
    const struct attn_view *ids = fake_source(&forward->inputs, false, &shape);
    const size_t length = fake_length(ids), others = fake_length(&forward->inputs.decoder_input_ids);
    fake.checks++;
    if (length == 0)
        return attn_fail(error, ATTN_ECONFLICT, "input_ids", "expected ids");
    *facts = (struct attn_forward_facts){.has_batch = ids->rank == 2,
                                         .batch = ids->rank == 2 ? ids->shape[0] : 1,
                                         .main_stack = fake_main_stack(),
                                         .scratch_bytes = 1000,
                                         .scratch_bytes_per_lane = 100,
                                         .flops = 1e6,
                                         .exponentials = 1e5,
                                         .largest_tensor = fake.largest_tensor};
    const attn_stack first = fake.is_causal && !fake.is_encoder_decoder ? ATTN_STACK_DECODER : ATTN_STACK_ENCODER;
    fake_put_stack(facts, first, length, length);
    facts->padding[first] = forward->inputs.attention_mask;
    if (!fake.is_encoder_decoder || !fake_runs_decoder(forward))
        return ATTN_OK;
    if (others == 0)
        return attn_fail(error, ATTN_ECONFLICT, "decoder_input_ids", "expected ids");
    fake_put_stack(facts, ATTN_STACK_DECODER, others, others);
    fake_put_stack(facts, ATTN_STACK_CROSS, others, length);
    facts->padding[ATTN_STACK_DECODER] = forward->inputs.decoder_attention_mask;
    return ATTN_OK;
}

static bool fake_side_init(struct fake_side *side) {
    side->x = malloc(side->batch * side->length * FAKE_WIDTH * sizeof *side->x);
    side->exists = malloc(side->batch * side->length);
    if (side->x == NULL || side->exists == NULL)
        return false;
    for (size_t token = 0; token < side->batch * side->length; token++) {
        const size_t l = token % side->length;
        const int64_t id = side->ids->dtype == ATTN_INT64 ? ((const int64_t *)side->ids->data)[token] : 0;
        side->exists[token] = side->mask->data == NULL || ((const int64_t *)side->mask->data)[token] != 0;
        for (size_t e = 0; e < FAKE_WIDTH; e++)
            side->x[token * FAKE_WIDTH + e] = (double)((7 * (size_t)id + 3 * l + 5 * e) % 13) / 13 - 0.5;
    }
    return true;
}

static void fake_side_reset(struct fake_side *side) {
    free(side->x);
    free(side->exists);
}

/* (N, L, heads * D) of a side, times a factor and plus a number, in the run's dtype, seen as (N, heads, L, D). */
static struct attn_view fake_heads(const struct fake_side *side, attn_dtype dtype, size_t heads, double factor,
                                   double more, char *to) {
    for (size_t i = 0; i < side->batch * side->length * FAKE_WIDTH; i++) {
        const double value = side->x[i] * factor + more;
        if (dtype == ATTN_FLOAT64)
            ((double *)(void *)to)[i] = value;
        else
            ((float *)(void *)to)[i] = (float)value;
    }
    const ptrdiff_t width = FAKE_WIDTH;
    return (struct attn_view){.data = to,
                              .dtype = dtype,
                              .rank = 4,
                              .shape = {side->batch, heads, side->length, FAKE_DIM},
                              .stride = {(ptrdiff_t)side->length * width, FAKE_DIM, width, 1}};
}

static struct attn_view fake_out_weight(uint16_t weight[FAKE_WIDTH * FAKE_WIDTH]) {
    float numbers[FAKE_WIDTH * FAKE_WIDTH];
    for (size_t e = 0; e < FAKE_WIDTH; e++)
        for (size_t i = 0; i < FAKE_WIDTH; i++)
            numbers[i * FAKE_WIDTH + e] = (float)((3 * e + 5 * i) % 8) / 8;
    const size_t shape[] = {FAKE_WIDTH, FAKE_WIDTH};
    struct attn_view from = attn_view_contiguous(numbers, ATTN_FLOAT32, 2, shape);
    struct attn_view to = attn_view_contiguous(weight, ATTN_FLOAT16, 2, shape);
    attn_view_convert(&from, &to, NULL);
    to.stride[0] = 1;
    to.stride[1] = FAKE_WIDTH;
    return to;
}

static void fake_add(struct fake_side *side, attn_dtype dtype, const char *output) {
    for (size_t i = 0; i < side->batch * side->length * FAKE_WIDTH; i++)
        side->x[i] += dtype == ATTN_FLOAT64 ? ((const double *)(const void *)output)[i]
                                            : (double)((const float *)(const void *)output)[i];
}

/* One attention of `side` to `other`, and its output added. */
static attn_status fake_attend(const struct attn_forward *forward, attn_stack stack, size_t layer,
                               struct fake_side *side, const struct fake_side *other, bool is_read,
                               const struct attn_execution *execution, struct attn_error *error) {
    const size_t bytes = side->batch * (side->length + other->length) * FAKE_WIDTH * sizeof(double);
    uint16_t weight[FAKE_WIDTH * FAKE_WIDTH];
    char *memory = malloc(4 * bytes);
    if (memory == NULL)
        return attn_fail(error, ATTN_ENOMEM, "", "out of memory");
    struct attn_sdpa_options options = ATTN_SDPA_DEFAULTS;
    options.is_causal = stack == ATTN_STACK_DECODER;
    if (other->mask->data != NULL)
        options.key_padding_mask =
            attn_view_contiguous(other->exists, ATTN_BOOL, 2, (size_t[]){other->batch, other->length});
    if (side->mask->data != NULL)
        options.query_mask = attn_view_contiguous(side->exists, ATTN_BOOL, 2, (size_t[]){side->batch, side->length});
    struct attn_site site = {.stack = stack, .layer = layer, .options = &options};
    const double depth = (double)layer;
    site.query = fake_heads(side, forward->dtype, FAKE_HEADS, 1 + depth / 4, 0, memory);
    site.key = fake_heads(other, forward->dtype, FAKE_KV_HEADS, 1 - depth / 8, 0, memory + bytes);
    site.value = fake_heads(other, forward->dtype, FAKE_KV_HEADS, 1, depth / 10, memory + 2 * bytes);
    site.output = fake_heads(side, forward->dtype, FAKE_HEADS, 0, 0, memory + 3 * bytes);
    if (!is_read)
        site.output.data = NULL;
    site.out_weight = fake_out_weight(weight);
    fake_expect(fake.attended[stack] == layer);
    fake.attended[stack]++;
    fake.unread += is_read ? 0 : 1;
    attn_status status = forward->attend(forward->attend_context, &site, execution, error);
    if (status == ATTN_OK && is_read)
        fake_add(side, forward->dtype, memory + 3 * bytes);
    free(memory);
    return status;
}

static void fake_write(const struct fake_side *side, attn_dtype dtype, const struct attn_view *to) {
    if (to->data == NULL)
        return;
    fake_expect(attn_view_is_contiguous(to) && to->rank == 3);
    for (size_t i = 0; i < side->batch * side->length * FAKE_WIDTH; i++) {
        const double value = side->exists[i / FAKE_WIDTH] ? side->x[i] : 0;
        if (dtype == ATTN_FLOAT64)
            ((double *)to->data)[i] = value;
        else
            ((float *)to->data)[i] = (float)value;
    }
}

/* Token l's r-th likeliest is l + r, with a probability of 1 / (r + 2). */
static void fake_predict(const struct fake_side *side, attn_dtype dtype, const struct attn_forward_result *result) {
    const size_t count = result->ids.data != NULL ? result->ids.shape[2] : 0;
    for (size_t i = 0; i < side->batch * side->length * count; i++) {
        const size_t token = i / count;
        const double value = side->exists[token] ? 1 / (double)(i % count + 2) : 0;
        ((int64_t *)result->ids.data)[i] = side->exists[token] ? (int64_t)(token % side->length + i % count) : 0;
        if (dtype == ATTN_FLOAT64)
            ((double *)result->probabilities.data)[i] = value;
        else
            ((float *)result->probabilities.data)[i] = (float)value;
    }
}

/* A stack of self-attention, or a decoder's with cross attention, as far as it is needed. */
static attn_status fake_run_stack(const struct attn_forward *forward, attn_stack stack, bool runs_all,
                                  struct fake_side *side, const struct fake_side *encoder,
                                  const struct attn_execution *execution, struct attn_error *error) {
    const size_t own = fake_least(forward->layers[stack], fake.layers[stack]);
    const size_t cross = encoder != NULL ? fake_least(forward->layers[ATTN_STACK_CROSS], fake.layers[stack]) : 0;
    const size_t count = runs_all ? fake.layers[stack] : own > cross ? own : cross;
    attn_status status = ATTN_OK;
    for (size_t layer = 0; layer < count && status == ATTN_OK; layer++) {
        const bool is_last = layer + 1 == count && !runs_all, ends_here = is_last && cross < count;
        status =
            fake_attend(forward, stack, layer, side, side, encoder != NULL ? !ends_here : !is_last, execution, error);
        if (encoder != NULL && status == ATTN_OK && !ends_here)
            status = fake_attend(forward, ATTN_STACK_CROSS, layer, side, encoder, !is_last, execution, error);
    }
    return status;
}

static attn_status fake_run(const struct attn_forward *forward, const struct attn_forward_result *result,
                            struct fake_side *first, struct fake_side *second, const struct attn_execution *execution,
                            struct attn_error *error) {
    const bool has_two = fake.is_encoder_decoder, runs_second = has_two && fake_runs_decoder(forward);
    const bool runs_all = forward->wants_output || forward->predictions > 0;
    if (!fake_side_init(first) || (runs_second && !fake_side_init(second)))
        return attn_fail(error, ATTN_ENOMEM, "", "out of memory");
    attn_status status = fake_run_stack(forward, fake.is_causal && !has_two ? ATTN_STACK_DECODER : ATTN_STACK_ENCODER,
                                        has_two ? runs_second || forward->wants_encoder_output : runs_all, first, NULL,
                                        execution, error);
    if (status == ATTN_OK && runs_second)
        status = fake_run_stack(forward, ATTN_STACK_DECODER, runs_all, second, first, execution, error);
    if (status != ATTN_OK)
        return status;
    const struct fake_side *last = has_two ? second : first;
    if (result->encoder_output.data != NULL)
        fake_write(first, forward->dtype, &result->encoder_output);
    fake_write(last, forward->dtype, &result->output);
    fake_predict(last, forward->dtype, result);
    return ATTN_OK;
}

attn_status __wrap_attn_forward_run(const struct attn_forward *forward, const struct attn_forward_result *result,
                                    const struct attn_execution *execution, struct attn_error *error) {
    struct attn_view shape;
    const struct attn_model_inputs *inputs = &forward->inputs;
    struct fake_side first = {.ids = fake_source(inputs, false, &shape), .mask = &inputs->attention_mask};
    struct fake_side second = {.ids = &inputs->decoder_input_ids, .mask = &inputs->decoder_attention_mask};
    first.batch = second.batch = first.ids->rank == 2 ? first.ids->shape[0] : 1;
    first.length = fake_length(first.ids);
    second.length = fake_length(second.ids);
    memset(fake.attended, 0, sizeof fake.attended);
    fake.unread = 0;
    fake.runs++;
    attn_status status = fake_run(forward, result, &first, &second, execution, error);
    fake_side_reset(&first);
    fake_side_reset(&second);
    return status;
}

#endif
