/*
 * Running a plan over a whole model: the transformer runs, and hands every attention here. Each is computed, what is
 * wanted of it is collected while its weights are warm, and nothing of it is kept. At the end come what needs all
 * layers (rollout, flow), the pooling of the last hidden state, and warnings.
 */
#include "lib/aggregate/lane.h"
#include "lib/plan/attend.h"
#include "lib/tensor/error.h"

#include <stdlib.h>
#include <string.h>

struct model_run {
    const struct attn_plan *plan;
    struct attn_result *result;
    void *buffers[ATTN_BUFFER_COUNT];
    void *scratch;
    struct attn_collecting *collecting; /**< room for all of one attention */
    struct attn_layers layers;          /**< what is fused of all layers, for rollout and flow */
    int across;                         /**< the stack that they go over, or -1 */
};

static bool is_set(const struct attn_view *mask, size_t item, size_t token) {
    const ptrdiff_t at =
        (mask->rank > 1 ? (ptrdiff_t)item * mask->stride[0] : 0) + (ptrdiff_t)token * mask->stride[mask->rank - 1];
    if (mask->dtype == ATTN_INT64)
        return ((const int64_t *)mask->data)[at] != 0;
    return ((const uint8_t *)mask->data)[at] != 0;
}

/* @return which of a stack's queries are no padding, (N, L), in the one buffer that there is for it; NULL: all */
static const uint8_t *find_rows(const struct model_run *run, attn_stack stack) {
    const struct attn_view *padding = attn_plan_query_padding(run->plan, stack);
    const struct attn_plan_sizes *s = &run->plan->model.sizes[stack];
    uint8_t *exists = run->buffers[ATTN_BUFFER_ROW_EXISTS];
    if (padding->data == NULL || exists == NULL)
        return NULL;
    for (size_t item = 0; item < s->batch; item++)
        for (size_t token = 0; token < s->query_length; token++)
            exists[item * s->query_length + token] = is_set(padding, item, token);
    return exists;
}

/* Padding is like no token: it is nobody's earlier place. */
static const int64_t *copy_tokens(const struct attn_view *ids, const struct attn_view *padding, size_t batch,
                                  size_t length, int64_t *to) {
    for (size_t item = 0; item < batch; item++)
        for (size_t i = 0; i < length; i++) {
            const ptrdiff_t at =
                (ids->rank > 1 ? (ptrdiff_t)item * ids->stride[0] : 0) + (ptrdiff_t)i * ids->stride[ids->rank - 1];
            const bool exists = padding->data == NULL || is_set(padding, item, i);
            to[item * length + i] = exists ? ((const int64_t *)ids->data)[at] : -1;
        }
    return to;
}

static void take_tokens(const struct model_run *run, attn_stack stack, struct attn_attending *attending) {
    const struct attn_plan *plan = run->plan;
    const struct attn_plan_sizes *s = attending->sizes;
    const struct attn_view *queries = attn_plan_query_tokens(plan, stack), *keys = attn_plan_key_tokens(plan, stack);
    const attn_stack key_stack = stack == ATTN_STACK_CROSS ? ATTN_STACK_ENCODER : stack;
    if (run->buffers[ATTN_BUFFER_QUERY_TOKENS] == NULL || queries == NULL || keys == NULL)
        return;
    attending->query_tokens = copy_tokens(queries, attn_plan_query_padding(plan, stack), s->batch, s->query_length,
                                          run->buffers[ATTN_BUFFER_QUERY_TOKENS]);
    attending->key_tokens = copy_tokens(keys, &plan->model.facts.padding[key_stack], s->batch, s->key_length,
                                        run->buffers[ATTN_BUFFER_KEY_TOKENS]);
}

/* Mapped files need not be aligned. */
static bool is_aligned(const struct attn_view *view) {
    return (uintptr_t)view->data % attn_dtype_bytes(view->dtype) == 0;
}

/* The output projection in the run's dtype with contiguous columns: as it is, or converted. */
static attn_status take_out_weight(const struct model_run *run, const struct attn_view *weight,
                                   struct attn_attending *attending, struct attn_error *error) {
    void *buffer = run->buffers[ATTN_BUFFER_OUT_WEIGHT];
    attending->out_weight = *weight;
    if (buffer == NULL || weight->data == NULL ||
        (weight->dtype == attending->dtype && is_aligned(weight) && (weight->stride[1] == 1 || weight->shape[1] == 1)))
        return ATTN_OK;
    attending->out_weight = attn_view_contiguous(buffer, attending->dtype, 2, weight->shape);
    return attn_view_convert(weight, &attending->out_weight, error);
}

static void take_internals(const struct model_run *run, const struct attn_plan_place *place,
                           struct attn_attending *attending) {
    if (place->internals == ATTN_NO_TENSOR)
        return;
    struct attn_result_tensor *next = &run->result->tensors[place->internals];
    for (unsigned i = 0; i < ATTN_INTERNAL_COUNT; i++)
        if (attn_has(run->plan->internals, i))
            attending->internals[i] = next++;
}

/* Finds what is wanted of this attention. @return whether anything is */
static bool take_wishes(struct model_run *run, const struct attn_site *site, struct attn_attending *attending) {
    const struct attn_wishes *wishes = &run->plan->wishes[site->stack];
    const struct attn_plan_place *places = run->plan->model.places[site->stack];
    bool has_internals = false;
    for (size_t i = 0; i < wishes->collect_count; i++) {
        const struct attn_collect *collect = &wishes->collects[i];
        if ((size_t)collect->layer != site->layer)
            continue;
        has_internals |= places[i].internals != ATTN_NO_TENSOR;
        take_internals(run, &places[i], attending);
        if ((collect->forms | collect->analyses) == 0)
            continue;
        attending->collecting[attending->collecting_count++] =
            (struct attn_collecting){.collect = collect, .tensors = &run->result->tensors[places[i].collected]};
    }
    if ((int)site->stack == run->across)
        attending->collecting[attending->collecting_count++] =
            (struct attn_collecting){.collect = &wishes->across_layers,
                                     .tensors = &run->result->tensors[run->plan->model.across[site->stack]],
                                     .layers = &run->layers,
                                     .layer = site->layer};
    return has_internals || attending->collecting_count > 0;
}

/* An attn_attend: the context is the run. */
static attn_status attend(void *context, const struct attn_site *site, const struct attn_execution *execution,
                          struct attn_error *error) {
    struct model_run *run = context;
    struct attn_attending attending = {
        .dtype = run->plan->dtype,
        .sizes = &run->plan->model.sizes[site->stack],
        .query = site->query,
        .key = site->key,
        .value = site->value,
        .output = site->output,
        .options = site->options,
        .clears_padding = true,
        .buffers = run->buffers,
        .collecting = run->collecting,
        .execution = execution,
    };
    if (attn_is_cancelled(execution))
        return attn_fail(error, ATTN_ECANCELLED, "", "the computation was cancelled");
    if (!take_wishes(run, site, &attending) && site->output.data == NULL)
        return ATTN_OK;
    const struct attn_result_tensor *context_tensor = attending.internals[ATTN_INTERNAL_CONTEXT];
    const struct attn_plan_sizes *s = attending.sizes;
    if (site->output.data == NULL && context_tensor != NULL)
        attending.output = attn_view_contiguous(context_tensor->values.data, attending.dtype, 4,
                                                (size_t[]){s->batch, s->heads, s->query_length, s->value_dim});
    take_tokens(run, site->stack, &attending);
    attn_status status = take_out_weight(run, &site->out_weight, &attending, error);
    return status == ATTN_OK ? attn_plan_attend(&attending, error) : status;
}

static attn_status begin(struct model_run *run, struct attn_error *error) {
    const struct attn_plan *plan = run->plan;
    size_t most = 0;
    run->across = -1;
    attn_status status = attn_plan_take_buffers(plan, run->buffers, &run->scratch);
    for (int stack = 0; stack < ATTN_STACK_COUNT; stack++) {
        most = plan->wishes[stack].at_once > most ? plan->wishes[stack].at_once : most;
        run->across = plan->wishes[stack].has_across_layers ? stack : run->across;
    }
    if (status == ATTN_OK) {
        run->collecting = calloc(most + 1, sizeof *run->collecting);
        status = run->collecting != NULL ? ATTN_OK : ATTN_ENOMEM;
    }
    if (status == ATTN_OK && run->across >= 0) {
        const struct attn_wishes *wishes = &plan->wishes[run->across];
        status = attn_layers_init(&run->layers, wishes->layer_count, &wishes->across_layers);
        run->layers.exists = find_rows(run, (attn_stack)run->across);
    }
    return status == ATTN_OK ? ATTN_OK : attn_fail(error, status, "", "out of memory");
}

/* A tensor of the result, or a buffer, with the batch axis that the result may lack. */
static struct attn_view view_of(const struct model_run *run, size_t tensor, attn_stack stack, size_t width) {
    const struct attn_plan_sizes *s = &run->plan->model.sizes[stack];
    if (tensor == ATTN_NO_TENSOR)
        return (struct attn_view){0};
    return attn_view_contiguous(run->result->tensors[tensor].values.data, run->plan->dtype, 3,
                                (size_t[]){s->batch, s->query_length, width});
}

static struct attn_forward_result find_results(const struct model_run *run) {
    const struct attn_plan_model *m = &run->plan->model;
    const attn_stack last = m->facts.main_stack;
    struct attn_forward_result to = {
        .output = view_of(run, m->output, last, m->sizes[last].output_width),
        .encoder_output =
            view_of(run, m->encoder_output, ATTN_STACK_ENCODER, m->sizes[ATTN_STACK_ENCODER].output_width),
        .probabilities = view_of(run, m->predictions, last, m->forward.predictions),
    };
    if (m->predictions != ATTN_NO_TENSOR)
        to.ids = attn_view_contiguous(run->result->tensors[m->predictions].indices.data, ATTN_INT64, 3,
                                      to.probabilities.shape);
    if (to.output.data == NULL && run->buffers[ATTN_BUFFER_HIDDEN] != NULL)
        to.output =
            attn_view_contiguous(run->buffers[ATTN_BUFFER_HIDDEN], run->plan->dtype, 3,
                                 (size_t[]){m->facts.batch, m->sizes[last].query_length, m->sizes[last].output_width});
    return to;
}

static attn_status forward(struct model_run *run, const struct attn_forward_result *to,
                           const struct attn_execution *execution, struct attn_error *error) {
    struct attn_forward forward = run->plan->model.forward;
    bool is_needed = forward.wants_output || forward.wants_encoder_output || forward.predictions > 0;
    forward.attend = attend;
    forward.attend_context = run;
    for (int stack = 0; stack < ATTN_STACK_COUNT; stack++)
        is_needed |= forward.layers[stack] > 0;
    return is_needed ? attn_forward_run(&forward, to, execution, error) : ATTN_OK;
}

static void pool(const struct model_run *run, const struct attn_view *hidden) {
    const struct attn_plan_model *m = &run->plan->model;
    if (m->embedding == ATTN_NO_TENSOR)
        return;
    const struct attn_view pooled =
        attn_view_contiguous(run->result->tensors[m->embedding].values.data, run->plan->dtype, 2,
                             (size_t[]){m->facts.batch, m->sizes[m->facts.main_stack].output_width});
    attn_pool(m->pooling, m->normalizes, hidden, find_rows(run, m->facts.main_stack), &pooled);
}

/* Items that are nothing but padding: all of what is made of them is 0. */
static void warn_of_padding(const struct model_run *run, attn_stack stack, const char *field) {
    const struct attn_plan_sizes *s = &run->plan->model.sizes[stack];
    const uint8_t *exists = find_rows(run, stack);
    size_t count = 0;
    for (size_t item = 0; item < s->batch && exists != NULL; item++)
        count += memchr(exists + item * s->query_length, 1, s->query_length) == NULL;
    if (count > 0)
        attn_warn(run->result, field, "%zu item%s nothing but padding", count, count == 1 ? " is" : "s are");
}

static void warn(const struct model_run *run) {
    const bool has_two = run->plan->model.is_encoder_decoder;
    warn_of_padding(run, ATTN_STACK_ENCODER, "attention_mask");
    warn_of_padding(run, ATTN_STACK_DECODER, has_two ? "decoder_attention_mask" : "attention_mask");
}

attn_status attn_plan_run_model(const struct attn_plan *plan, const struct attn_execution *execution,
                                struct attn_result *result, struct attn_error *error) {
    struct model_run run = {.plan = plan, .result = result};
    attn_status status = begin(&run, error);
    const struct attn_forward_result to = find_results(&run);
    if (status == ATTN_OK)
        status = forward(&run, &to, execution, error);
    if (status == ATTN_OK && run.across >= 0)
        status = attn_plan_finish_across_layers(&run.layers, &result->tensors[plan->model.across[run.across]],
                                                execution, error);
    if (status == ATTN_OK) {
        pool(&run, &to.output);
        warn(&run);
    }
    attn_layers_reset(&run.layers);
    free(run.collecting);
    free(run.scratch);
    return status;
}
