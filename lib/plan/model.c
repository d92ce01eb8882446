/* Plans over whole models: what is wanted of each stack, and how far the model must be run for it. */
#include "lib/aggregate/lane.h"
#include "lib/plan/attend.h"
#include "lib/tensor/error.h"
#include "lib/tensor/shape.h"

#include <stdlib.h>

static const unsigned ACROSS_LAYERS = ATTN_BIT(ATTN_FORM_ROLLOUT) | ATTN_BIT(ATTN_FORM_FLOW);
static const unsigned TOKEN_ANALYSES = ATTN_BIT(ATTN_ANALYSIS_DUPLICATE) | ATTN_BIT(ATTN_ANALYSIS_INDUCTION);

/* What plans are made from, passed on together. */
struct wanted {
    const struct attn_want *want;
    const struct attn_model_want *model_want;
    struct attn_model_info info;
    unsigned stacks; /* resolved */
    int across;      /* the stack that rollout and flow go over; -1: they are not wanted */
};

const struct attn_view *attn_plan_query_padding(const struct attn_plan *plan, attn_stack stack) {
    return &plan->model.facts.padding[stack == ATTN_STACK_CROSS ? ATTN_STACK_DECODER : stack];
}

/* @return the ids where they are one for each of `length` places */
static const struct attn_view *fitting(const struct attn_view *ids, size_t length) {
    if (ids->data == NULL || ids->dtype != ATTN_INT64 || ids->rank < 1 || ids->rank > 2)
        return NULL;
    return ids->shape[ids->rank - 1] == length ? ids : NULL;
}

const struct attn_view *attn_plan_query_tokens(const struct attn_plan *plan, attn_stack stack) {
    const struct attn_model_inputs *inputs = &plan->model.forward.inputs;
    const bool is_decoders = plan->model.is_encoder_decoder && stack != ATTN_STACK_ENCODER;
    return fitting(is_decoders ? &inputs->decoder_input_ids : &inputs->input_ids,
                   plan->model.sizes[stack].query_length);
}

const struct attn_view *attn_plan_key_tokens(const struct attn_plan *plan, attn_stack stack) {
    const struct attn_model_inputs *inputs = &plan->model.forward.inputs;
    if (stack == ATTN_STACK_CROSS)
        return fitting(&inputs->input_ids, plan->model.sizes[stack].key_length);
    return attn_plan_query_tokens(plan, stack);
}

/* What the model reads, for errors that are about its size. */
static const char *input_field(const struct attn_model_inputs *inputs) {
    if (inputs->input_ids.data != NULL)
        return "input_ids";
    if (inputs->pixel_values.data != NULL)
        return "pixel_values";
    return inputs->input_features.data != NULL ? "input_features" : "inputs_embeds";
}

static attn_status check_predictions(const struct wanted *wanted, struct attn_error *error) {
    const size_t count = wanted->model_want->predictions;
    if (count == 0)
        return ATTN_OK;
    if (!wanted->info.has_head)
        return attn_fail(error, ATTN_ECONFLICT, "predictions", "the model has no language-model head");
    if (count > wanted->info.vocab_size)
        return attn_fail(error, ATTN_ERANGE, "predictions",
                         "expected at most the %zu tokens of the vocabulary, found %zu", wanted->info.vocab_size,
                         count);
    return ATTN_OK;
}

static attn_status check_wishes(const struct wanted *wanted, struct attn_error *error) {
    const struct attn_model_want *want = wanted->model_want;
    if (want->dtype != ATTN_FLOAT32 && want->dtype != ATTN_FLOAT64)
        return attn_fail(error, ATTN_EDTYPE, "dtype", "expected float32 or float64, found %s",
                         attn_dtype_name(want->dtype));
    if (want->stacks >> ATTN_STACK_COUNT != 0)
        return attn_fail(error, ATTN_ERANGE, "stacks", "expected stacks, found an unknown one");
    if ((unsigned)want->pooling >= ATTN_POOLING_COUNT)
        return attn_fail(error, ATTN_ERANGE, "pooling", "expected a pooling, found %d", (int)want->pooling);
    if (want->normalize && want->pooling == ATTN_POOLING_NONE)
        return attn_fail(error, ATTN_ECONFLICT, "normalize", "normalize goes with pooling only");
    if (wanted->want->present)
        return attn_fail(error, ATTN_ECONFLICT, "return_present", "a model returns no keys");
    return check_predictions(wanted, error);
}

/* Whether anything of the attention is wanted, if only that it be checked. */
static bool names_attention(const struct attn_want *want) {
    return want->forms != 0 || want->analyses != 0 || want->internals != 0 || want->layers != NULL ||
           want->heads != NULL || want->pairs != NULL || want->has_query_range || want->has_key_range;
}

/* Asks the transformer what the run would be; layers beyond the model's count as all. */
static attn_status look_at_model(struct attn_plan *plan, const struct attn_model *model,
                                 const struct attn_model_inputs *inputs, const struct wanted *wanted,
                                 struct attn_error *error) {
    const struct attn_model_want *want = wanted->model_want;
    struct attn_forward *forward = &plan->model.forward;
    const unsigned stacks = want->stacks != 0 ? want->stacks : ATTN_BIT(ATTN_STACK_COUNT) - 1;
    *forward = (struct attn_forward){
        .model = model,
        .dtype = want->dtype,
        .inputs = *inputs,
        .wants_output = wanted->want->output || want->pooling != ATTN_POOLING_NONE,
        .wants_encoder_output = wanted->want->output && wanted->info.is_encoder_decoder,
        .predictions = want->predictions,
    };
    for (unsigned stack = 0; stack < ATTN_STACK_COUNT; stack++)
        forward->layers[stack] = attn_has(stacks, stack) && names_attention(wanted->want) ? SIZE_MAX : 0;
    return attn_forward_check(forward, &plan->model.facts, error);
}

static attn_status resolve_stacks(const struct attn_plan *plan, struct wanted *wanted, struct attn_error *error) {
    const struct attn_stack_sizes *sizes = plan->model.facts.stacks;
    wanted->stacks = wanted->model_want->stacks;
    for (unsigned stack = 0; stack < ATTN_STACK_COUNT; stack++) {
        if (wanted->model_want->stacks == 0 && sizes[stack].layers > 0)
            wanted->stacks |= ATTN_BIT(stack);
        if (attn_has(wanted->stacks, stack) && sizes[stack].layers == 0 && names_attention(wanted->want))
            return attn_fail(error, ATTN_ECONFLICT, "stacks", "the model has no %s stack",
                             attn_stack_name((attn_stack)stack));
    }
    if (!names_attention(wanted->want))
        wanted->stacks = 0;
    return ATTN_OK;
}

static attn_status resolve_across(struct wanted *wanted, struct attn_error *error) {
    const unsigned own = wanted->stacks & (ATTN_BIT(ATTN_STACK_ENCODER) | ATTN_BIT(ATTN_STACK_DECODER));
    wanted->across = -1;
    if ((wanted->want->forms & ACROSS_LAYERS) == 0)
        return ATTN_OK;
    if (own != ATTN_BIT(ATTN_STACK_ENCODER) && own != ATTN_BIT(ATTN_STACK_DECODER))
        return attn_fail(error, ATTN_ECONFLICT, "stacks",
                         "rollout and flow go over the layers of one stack: expected one of encoder and decoder");
    wanted->across = own == ATTN_BIT(ATTN_STACK_ENCODER) ? ATTN_STACK_ENCODER : ATTN_STACK_DECODER;
    return ATTN_OK;
}

static void take_sizes(struct attn_plan *plan) {
    const struct attn_forward_facts *facts = &plan->model.facts;
    for (int stack = 0; stack < ATTN_STACK_COUNT; stack++) {
        const struct attn_stack_sizes *own = &facts->stacks[stack];
        plan->model.sizes[stack] = (struct attn_plan_sizes){.batch = facts->batch,
                                                            .heads = own->heads,
                                                            .kv_heads = own->kv_heads,
                                                            .query_length = own->query_length,
                                                            .new_length = own->key_length,
                                                            .key_length = own->key_length,
                                                            .columns = own->key_length,
                                                            .head_dim = own->head_dim,
                                                            .value_dim = own->value_dim,
                                                            .output_width = own->width,
                                                            .out_projected = own->hidden};
    }
    const bool has_main = facts->stacks[facts->main_stack].layers > 0; /* or a decoder that is not run */
    const struct attn_stack_sizes *main_stack = &facts->stacks[has_main ? facts->main_stack : ATTN_STACK_ENCODER];
    plan->has_batch = facts->has_batch;
    plan->dims = (struct attn_dims){.batch = facts->batch,
                                    .heads = main_stack->heads,
                                    .kv_heads = main_stack->kv_heads,
                                    .query_length = main_stack->query_length,
                                    .key_length = main_stack->key_length,
                                    .head_dim = main_stack->head_dim};
}

static attn_status take_stack(struct attn_plan *plan, attn_stack stack, const struct wanted *wanted,
                              struct attn_error *error) {
    const struct attn_stack_sizes *own = &plan->model.facts.stacks[stack];
    struct attn_wishes *wishes = &plan->wishes[stack];
    struct attn_want want = *wanted->want;
    if ((int)stack != wanted->across)
        want.forms &= ~ACROSS_LAYERS;
    const struct attn_want_facts facts = {
        .batch = plan->model.facts.batch,
        .heads = own->heads,
        .layers = own->layers,
        .query_length = own->query_length,
        .columns = own->key_length,
        .key_length = own->key_length,
        .dtype = plan->dtype,
        .stack = plan->model.is_encoder_decoder ? attn_stack_name(stack) : NULL,
        .stack_label = plan->model.is_encoder_decoder ? (int)stack : -1,
        .has_values = true,
        .has_out_weight = own->has_out_weight,
        .has_tokens = attn_plan_query_tokens(plan, stack) != NULL && attn_plan_key_tokens(plan, stack) != NULL,
    };
    attn_status status = attn_wishes_take(wishes, &want, &facts, error);
    if (status == ATTN_OK && want.pairs != NULL)
        wishes->at_once = wishes->collect_count < own->heads ? wishes->collect_count : own->heads;
    return status;
}

/* How many first layers of a stack something is wanted of. */
static size_t needed_layers(const struct attn_plan *plan, attn_stack stack) {
    const struct attn_wishes *wishes = &plan->wishes[stack];
    size_t needed = 0;
    if (wishes->has_across_layers)
        return wishes->layer_count;
    for (size_t i = 0; i < wishes->collect_count; i++) {
        const struct attn_collect *collect = &wishes->collects[i];
        const bool is_needed = (collect->forms | collect->analyses | plan->internals) != 0;
        if (is_needed && (size_t)collect->layer >= needed)
            needed = (size_t)collect->layer + 1;
    }
    return needed;
}

static size_t larger(size_t left, size_t right) {
    return left > right ? left : right;
}

/* The most layers of each stack that will attend, for what they cost. */
static void take_runs(struct attn_plan *plan) {
    const struct attn_forward *forward = &plan->model.forward;
    const struct attn_stack_sizes *stacks = plan->model.facts.stacks;
    size_t *runs = plan->model.runs;
    for (int stack = 0; stack < ATTN_STACK_COUNT; stack++)
        runs[stack] = forward->layers[stack];
    const bool runs_all = forward->wants_output || forward->predictions > 0;
    const attn_stack last = plan->model.facts.main_stack;
    if (runs_all)
        runs[last] = stacks[last].layers;
    if (!plan->model.is_encoder_decoder)
        return;
    runs[ATTN_STACK_DECODER] = runs[ATTN_STACK_CROSS] = larger(runs[ATTN_STACK_DECODER], runs[ATTN_STACK_CROSS]);
    if (runs[ATTN_STACK_DECODER] > 0 || forward->wants_encoder_output)
        runs[ATTN_STACK_ENCODER] = stacks[ATTN_STACK_ENCODER].layers;
}

static attn_status add_tensor(struct attn_plan *plan, size_t *at, attn_group group, const char *name, const char *field,
                              int rank, const size_t *shape) {
    *at = plan->spec_count;
    return attn_plan_add_tensor(plan, group, name, field, rank, shape) != NULL ? ATTN_OK : ATTN_ENOMEM;
}

static attn_status add_hidden_states(struct attn_plan *plan, const struct wanted *wanted) {
    const struct attn_forward_facts *facts = &plan->model.facts;
    const struct attn_stack_sizes *own = &facts->stacks[facts->main_stack];
    const struct attn_stack_sizes *encoder = &facts->stacks[ATTN_STACK_ENCODER];
    const char *field = input_field(&plan->model.forward.inputs);
    struct attn_plan_model *m = &plan->model;
    attn_status status = ATTN_OK;
    m->output = m->encoder_output = m->embedding = m->predictions = ATTN_NO_TENSOR;
    if (wanted->want->output)
        status = add_tensor(plan, &m->output, ATTN_GROUP_OUTPUT, "output", field, 3,
                            (size_t[]){facts->batch, own->query_length, own->width});
    if (m->forward.wants_encoder_output && status == ATTN_OK)
        status = add_tensor(plan, &m->encoder_output, ATTN_GROUP_EXTRA, "encoder_output", field, 3,
                            (size_t[]){facts->batch, encoder->query_length, encoder->width});
    if (m->pooling != ATTN_POOLING_NONE && status == ATTN_OK)
        status = add_tensor(plan, &m->embedding, ATTN_GROUP_EXTRA, "embedding", "pooling", 2,
                            (size_t[]){facts->batch, own->width});
    if (m->forward.predictions > 0 && status == ATTN_OK) {
        status = add_tensor(plan, &m->predictions, ATTN_GROUP_EXTRA, "predictions", "predictions", 3,
                            (size_t[]){facts->batch, own->query_length, m->forward.predictions});
        if (status == ATTN_OK)
            plan->specs[m->predictions].has_indices = true;
    }
    return status;
}

/* A layer's internals stand before the first of what is collected from it. */
static attn_status add_layers(struct attn_plan *plan, attn_stack stack, bool *has_internals) {
    const struct attn_wishes *wishes = &plan->wishes[stack];
    attn_status status = ATTN_OK;
    for (size_t i = 0; i < wishes->collect_count && status == ATTN_OK; i++) {
        const struct attn_collect *collect = &wishes->collects[i];
        struct attn_plan_place *place = &plan->model.places[stack][i];
        place->internals = ATTN_NO_TENSOR;
        if (plan->internals != 0 && !has_internals[collect->layer]) {
            has_internals[collect->layer] = true;
            place->internals = plan->spec_count;
            status = attn_plan_add_internals(plan, &plan->model.sizes[stack], collect->stack, collect->layer);
        }
        place->collected = plan->spec_count;
        if (status == ATTN_OK)
            status = attn_plan_add_collect(plan, collect);
    }
    return status;
}

static attn_status add_stack(struct attn_plan *plan, attn_stack stack) {
    const struct attn_wishes *wishes = &plan->wishes[stack];
    if (wishes->collect_count == 0)
        return ATTN_OK;
    attn_status status = ATTN_OK;
    bool *has_internals = calloc(wishes->layer_count, sizeof *has_internals);
    plan->model.places[stack] = calloc(wishes->collect_count, sizeof *plan->model.places[stack]);
    if (has_internals == NULL || plan->model.places[stack] == NULL)
        status = ATTN_ENOMEM;
    plan->model.across[stack] = plan->spec_count;
    if (wishes->has_across_layers && status == ATTN_OK)
        status = attn_plan_add_collect(plan, &wishes->across_layers);
    if (status == ATTN_OK)
        status = add_layers(plan, stack, has_internals);
    free(has_internals);
    return status;
}

static attn_status add_tensors(struct attn_plan *plan, const struct wanted *wanted) {
    attn_status status = add_hidden_states(plan, wanted);
    for (int stack = 0; stack < ATTN_STACK_COUNT && status == ATTN_OK; stack++)
        status = add_stack(plan, (attn_stack)stack);
    return status;
}

static bool has_padding(const struct attn_plan *plan) {
    for (int stack = 0; stack < ATTN_STACK_COUNT; stack++)
        if (plan->model.facts.padding[stack].data != NULL)
            return true;
    return false;
}

static attn_status reserve_for_stack(struct attn_plan *plan, attn_stack stack, size_t max_elements,
                                     struct attn_error *error) {
    const struct attn_plan_sizes *s = &plan->model.sizes[stack];
    const struct attn_wishes *wishes = &plan->wishes[stack];
    if (wishes->collect_count == 0)
        return ATTN_OK;
    const struct attn_collect *collect = &wishes->collects[0];
    const size_t element = attn_dtype_bytes(plan->dtype);
    const bool has_norms = attn_has(collect->forms, ATTN_FORM_OUTPUT_NORM), pads = has_padding(plan);
    const bool has_value_norms = attn_has(collect->forms, ATTN_FORM_VALUE_NORM);
    const bool has_tokens = (collect->analyses & TOKEN_ANALYSES) != 0;
    const struct attn_buffer_wish own[] = {
        {ATTN_BUFFER_VALUE_NORMS, has_value_norms, "weights", element, {s->batch, s->heads, s->columns}},
        {ATTN_BUFFER_OUTPUT_NORMS, has_norms, "weights", element, {s->batch, s->heads, s->columns}},
        {ATTN_BUFFER_PROJECTED_VALUES, has_norms, "weights", element, {s->batch, s->columns, s->out_projected}},
        {ATTN_BUFFER_OFFSETS, collect->analyses != 0, "analyses", sizeof(long long), {s->batch, 1, 1}},
        {ATTN_BUFFER_KEY_EXISTS, pads, "attention_mask", 1, {s->batch, s->key_length, 1}},
        {ATTN_BUFFER_QUERY_EXISTS, pads, "attention_mask", 1, {s->batch, s->query_length, 1}},
        {ATTN_BUFFER_QUERY_TOKENS, has_tokens, "analyses", sizeof(int64_t), {s->batch, s->query_length, 1}},
        {ATTN_BUFFER_KEY_TOKENS, has_tokens, "analyses", sizeof(int64_t), {s->batch, s->key_length, 1}},
    };
    /* The model's own, which no request makes larger. */
    const struct attn_buffer_wish weight = {
        ATTN_BUFFER_OUT_WEIGHT, has_norms, "weights", element, {s->out_projected, s->heads * s->value_dim, 1}};
    attn_status status = attn_plan_reserve(plan, own, sizeof own / sizeof *own, max_elements, error);
    return status == ATTN_OK ? attn_plan_reserve(plan, &weight, 1, 0, error) : status;
}

static attn_status reserve_buffers(struct attn_plan *plan, size_t max_elements, struct attn_error *error) {
    const struct attn_plan_model *m = &plan->model;
    const size_t element = attn_dtype_bytes(plan->dtype);
    const bool holds_output = m->pooling != ATTN_POOLING_NONE && m->output == ATTN_NO_TENSOR, pads = has_padding(plan);
    const char *field = input_field(&m->forward.inputs);
    for (int stack = 0; stack < ATTN_STACK_COUNT; stack++) {
        const struct attn_plan_sizes *s = &m->sizes[stack];
        const bool is_main = (attn_stack)stack == m->facts.main_stack;
        const struct attn_buffer_wish own[] = {
            {ATTN_BUFFER_ROW_EXISTS, pads, field, 1, {s->batch, s->query_length, 1}},
            {ATTN_BUFFER_HIDDEN, holds_output && is_main, field, element, {s->batch, s->query_length, s->output_width}},
        };
        attn_status status = attn_plan_reserve(plan, own, 2, max_elements, error);
        if (status == ATTN_OK)
            status = reserve_for_stack(plan, (attn_stack)stack, max_elements, error);
        if (status != ATTN_OK)
            return status;
    }
    attn_plan_count_buffers(plan);
    return ATTN_OK;
}

/* What attention costs without masks: at least as much as it does with them, which only the run sees. */
static attn_status add_attention_cost(struct attn_plan *plan, struct attn_error *error) {
    static const struct attn_sdpa_options defaults = ATTN_SDPA_DEFAULTS;
    const size_t per_lane = plan->cost.scratch_bytes_per_lane;
    size_t most_per_lane = 0, most_spans = 0, most_collecting = 0;
    for (int stack = 0; stack < ATTN_STACK_COUNT; stack++) {
        const struct attn_plan_sizes *s = &plan->model.sizes[stack];
        const struct attn_wishes *wishes = &plan->wishes[stack];
        if (plan->model.runs[stack] == 0)
            continue;
        plan->cost.scratch_bytes_per_lane = 0;
        attn_status status =
            attn_plan_check_attention(plan, wishes, s, &defaults, true, plan->model.runs[stack], error);
        if (status != ATTN_OK)
            return status;
        /* beside it a gathered row of a mask, and the spans of rows */
        most_per_lane = larger(most_per_lane, plan->cost.scratch_bytes_per_lane + (s->key_length + 8) * sizeof(double));
        most_spans = larger(most_spans, s->batch * (s->query_length + 1) * 2 * sizeof(size_t));
        most_collecting = larger(most_collecting, wishes->at_once + 1);
        attn_plan_add_collecting_cost(plan, wishes, s);
    }
    plan->cost.scratch_bytes_per_lane = per_lane + most_per_lane;
    plan->cost.scratch_bytes += most_spans + most_collecting * sizeof(struct attn_collecting);
    return ATTN_OK;
}

/* How far the model is run is known: what that costs is asked again. */
static attn_status add_forward_cost(struct attn_plan *plan, size_t max_elements, struct attn_error *error) {
    struct attn_forward_facts facts;
    attn_status status = attn_forward_check(&plan->model.forward, &facts, error);
    if (status != ATTN_OK)
        return status;
    plan->cost.flops += facts.flops;
    plan->cost.exponentials += facts.exponentials;
    plan->cost.scratch_bytes += facts.scratch_bytes;
    plan->cost.scratch_bytes_per_lane += facts.scratch_bytes_per_lane;
    return attn_plan_check_held(facts.largest_tensor, max_elements, input_field(&plan->model.forward.inputs), error);
}

static attn_status take_stacks(struct attn_plan *plan, struct wanted *wanted, struct attn_error *error) {
    attn_status status;
    if ((status = resolve_stacks(plan, wanted, error)) != ATTN_OK ||
        (status = resolve_across(wanted, error)) != ATTN_OK)
        return status;
    take_sizes(plan);
    for (unsigned stack = 0; stack < ATTN_STACK_COUNT && status == ATTN_OK; stack++)
        if (attn_has(wanted->stacks, stack))
            status = take_stack(plan, (attn_stack)stack, wanted, error);
    if (status != ATTN_OK)
        return status;
    for (int stack = 0; stack < ATTN_STACK_COUNT; stack++)
        plan->model.forward.layers[stack] = needed_layers(plan, (attn_stack)stack);
    take_runs(plan);
    return ATTN_OK;
}

static attn_status take_model(struct attn_plan *plan, const struct attn_model *model,
                              const struct attn_model_inputs *inputs, struct wanted *wanted, struct attn_error *error) {
    const size_t max_elements = wanted->want->max_elements;
    attn_status status = check_wishes(wanted, error);
    if (status != ATTN_OK)
        return status;
    plan->kind = ATTN_PLAN_MODEL;
    plan->dtype = wanted->model_want->dtype;
    plan->internals = wanted->want->internals;
    plan->model.is_encoder_decoder = wanted->info.is_encoder_decoder;
    plan->model.pooling = wanted->model_want->pooling;
    plan->model.normalizes = wanted->model_want->normalize;
    if ((status = look_at_model(plan, model, inputs, wanted, error)) != ATTN_OK ||
        (status = take_stacks(plan, wanted, error)) != ATTN_OK)
        return status;
    if (add_tensors(plan, wanted) != ATTN_OK)
        return attn_fail(error, ATTN_ENOMEM, "", "out of memory");
    if ((status = attn_plan_check_limits(plan, max_elements, error)) != ATTN_OK ||
        (status = reserve_buffers(plan, max_elements, error)) != ATTN_OK ||
        (status = add_forward_cost(plan, max_elements, error)) != ATTN_OK)
        return status;
    return add_attention_cost(plan, error);
}

attn_status attn_plan_create_model(struct attn_plan **plan, const struct attn_model *model,
                                   const struct attn_model_inputs *inputs, const struct attn_want *want,
                                   const struct attn_model_want *model_want, struct attn_error *error) {
    struct wanted wanted = {.want = want, .model_want = model_want, .info = attn_model_info(model)};
    struct attn_plan *made = calloc(1, sizeof *made);
    if (made == NULL)
        return attn_fail(error, ATTN_ENOMEM, "", "out of memory");
    attn_status status = take_model(made, model, inputs, &wanted, error);
    if (status != ATTN_OK) {
        attn_plan_destroy(made);
        return status;
    }
    *plan = made;
    return ATTN_OK;
}
