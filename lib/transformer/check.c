/* Checking a run: inputs against the model, which layers are run, and what it costs. */
#include "lib/tensor/error.h"
#include "lib/tensor/shape.h"
#include "lib/transformer/run.h"
#include "lib/transformer/stem.h"

#include <stdio.h>
#include <string.h>

/* What one stack reads, under the names of the fields. */
struct stack_inputs {
    const struct attn_view *ids, *embeds, *mask, *types, *signal;
    const char *ids_name, *embeds_name, *mask_name, *signal_name;
};

/* Whether inputs have a batch axis, once one of them has said so. */
struct batch {
    bool is_known, has_axis;
    size_t size;
    const char *said_by;
};

static attn_status fail_shape(struct attn_error *error, const char *field, const char *expected,
                              const struct attn_view *view) {
    char found[ATTN_SHAPE_TEXT];
    return attn_fail(error, ATTN_ESHAPE, field, "expected %s, found %s", expected,
                     attn_shape_text(found, view->rank, view->shape));
}

/* Makes a view with a batch axis of one that may lack it. `rank` is with the axis. */
static attn_status with_batch(const struct attn_view *view, int rank, const char *field, const char *expected,
                              struct batch *batch, struct attn_view *out, struct attn_error *error) {
    if (view->rank != rank && view->rank != rank - 1)
        return fail_shape(error, field, expected, view);
    *out = *view;
    if (view->rank == rank - 1) {
        out->rank = rank;
        out->shape[0] = 1;
        out->stride[0] = 0;
        for (int axis = 1; axis < rank; axis++) {
            out->shape[axis] = view->shape[axis - 1];
            out->stride[axis] = view->stride[axis - 1];
        }
    }
    for (int axis = 0; axis < rank; axis++)
        if (out->shape[axis] == 0)
            return fail_shape(error, field, "no empty axis", view);
    const bool has_axis = view->rank == rank;
    if (!batch->is_known)
        *batch = (struct batch){true, has_axis, out->shape[0], field};
    if (batch->has_axis != has_axis)
        return attn_fail(error, ATTN_ESHAPE, field, "%s %s a batch axis", batch->said_by,
                         batch->has_axis ? "has" : "does not have");
    if (batch->size != out->shape[0])
        return attn_fail(error, ATTN_ESHAPE, field, "expected the %zu items of %s, found %zu", batch->size,
                         batch->said_by, out->shape[0]);
    return ATTN_OK;
}

/* Every entry must be one of 0 .. count-1. */
static attn_status check_entries(const struct attn_view *view, const struct batch *batch, size_t count,
                                 const char *field, struct attn_error *error) {
    for (size_t n = 0; n < view->shape[0]; n++)
        for (size_t i = 0; i < view->shape[1]; i++) {
            const long long entry = attn_run_integer(view, n, i);
            if (entry >= 0 && (size_t)entry < count)
                continue;
            char place[80];
            if (batch->has_axis)
                snprintf(place, sizeof place, "%.30s/%zu/%zu", field, n, i);
            else
                snprintf(place, sizeof place, "%.30s/%zu", field, i);
            return attn_fail(error, ATTN_ERANGE, place, "expected 0 to %zu, found %lld", count - 1, entry);
        }
    return ATTN_OK;
}

static attn_status read_integers(const struct attn_view *view, size_t length, size_t count, bool takes_bool,
                                 const char *field, struct batch *batch, struct attn_view *out,
                                 struct attn_error *error) {
    attn_status status = with_batch(view, 2, field, "(N, L) or (L)", batch, out, error);
    if (status != ATTN_OK)
        return status;
    if (view->dtype != ATTN_INT64 && !(takes_bool && (view->dtype == ATTN_BOOL || view->dtype == ATTN_UINT8)))
        return attn_fail(error, ATTN_EDTYPE, field, "expected int64%s, found %s", takes_bool ? " or bool" : "",
                         attn_dtype_name(view->dtype));
    if (length != 0 && out->shape[1] != length)
        return attn_fail(error, ATTN_ESHAPE, field, "expected %zu tokens an item, found %zu", length, out->shape[1]);
    return check_entries(out, batch, count, field, error);
}

static attn_status read_embeds(struct attn_stack_run *run, const struct stack_inputs *inputs, struct batch *batch,
                               struct attn_error *error) {
    attn_status status =
        with_batch(inputs->embeds, 3, inputs->embeds_name, "(N, L, E) or (L, E)", batch, &run->embeds, error);
    if (status != ATTN_OK)
        return status;
    if (!attn_dtype_is_floating(inputs->embeds->dtype))
        return attn_fail(error, ATTN_EDTYPE, inputs->embeds_name, "expected a floating dtype, found %s",
                         attn_dtype_name(inputs->embeds->dtype));
    if (run->embeds.shape[2] != run->stack->embedding)
        return attn_fail(error, ATTN_ESHAPE, inputs->embeds_name, "expected embeddings %zu wide, found %zu",
                         run->stack->embedding, run->embeds.shape[2]);
    run->length = run->embeds.shape[1];
    return ATTN_OK;
}

static attn_status read_tokens(struct attn_stack_run *run, const struct stack_inputs *inputs, struct batch *batch,
                               struct attn_error *error) {
    const bool has_ids = inputs->ids->data != NULL, has_embeds = inputs->embeds->data != NULL;
    if (has_ids && has_embeds)
        return attn_fail(error, ATTN_ECONFLICT, inputs->embeds_name, "stands in place of %s, not beside it",
                         inputs->ids_name);
    if (has_ids && run->stack->tokens.data == NULL)
        return attn_fail(error, ATTN_ECONFLICT, inputs->ids_name, "the model takes %s", inputs->embeds_name);
    if (!has_ids && !has_embeds)
        return attn_fail(error, ATTN_ECONFLICT,
                         run->stack->tokens.data != NULL ? inputs->ids_name : inputs->embeds_name,
                         "missing: the model reads it");
    if (has_embeds)
        return read_embeds(run, inputs, batch, error);
    attn_status status =
        read_integers(inputs->ids, 0, run->stack->vocab, false, inputs->ids_name, batch, &run->ids, error);
    run->length = run->ids.shape[1];
    return status;
}

/* Pictures and speech come in one size, with no padding. */
static attn_status read_signal(struct attn_stack_run *run, const struct stack_inputs *inputs, struct batch *batch,
                               struct attn_error *error) {
    const struct {
        const struct attn_view *view;
        const char *name;
    } others[] = {{inputs->ids, inputs->ids_name},
                  {inputs->embeds, inputs->embeds_name},
                  {inputs->mask, inputs->mask_name},
                  {inputs->types, "token_type_ids"}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i].view->data != NULL)
            return attn_fail(error, ATTN_ECONFLICT, others[i].name, "is not read beside %s", inputs->signal_name);
    if (inputs->signal->data == NULL)
        return attn_fail(error, ATTN_ECONFLICT, inputs->signal_name, "missing: the model reads it");
    attn_status status = attn_stem_check(run->stack, inputs->signal, inputs->signal_name, error);
    size_t shape[3];
    const int rank = attn_stem_shape(run->stack, shape) + 1;
    run->length = run->stack->positions;
    return status != ATTN_OK ? status
                             : with_batch(inputs->signal, rank, inputs->signal_name, "a batch axis or none", batch,
                                          &run->signal, error);
}

static attn_status read_stack(struct attn_stack_run *run, const struct attn_transformer_stack *stack,
                              const struct stack_inputs *inputs, struct batch *batch, struct attn_error *error) {
    run->stack = stack;
    const bool has_stem = attn_stem_is_there(stack);
    attn_status status = has_stem ? read_signal(run, inputs, batch, error) : read_tokens(run, inputs, batch, error);
    if (status == ATTN_OK && stack->max_length != 0 && run->length > stack->max_length)
        status = attn_fail(error, ATTN_ERANGE, run->ids.data != NULL ? inputs->ids_name : inputs->embeds_name,
                           "expected at most the model's %zu tokens, found %zu", stack->max_length, run->length);
    if (status == ATTN_OK && inputs->mask->data != NULL)
        status = read_integers(inputs->mask, run->length, 2, true, inputs->mask_name, batch, &run->mask, error);
    if (status == ATTN_OK && inputs->types != NULL && inputs->types->data != NULL)
        status = stack->type_table.data != NULL
                     ? read_integers(inputs->types, run->length, stack->types, false, "token_type_ids", batch,
                                     &run->types, error)
                     : attn_fail(error, ATTN_ECONFLICT, "token_type_ids", "the model has no token types");
    run->batch = batch->size;
    if (status == ATTN_OK && !attn_size_multiply(run->batch, run->length, &run->rows))
        status = attn_fail(error, ATTN_ERANGE, inputs->ids_name, "too many tokens");
    return status;
}

/* Inputs of kinds that the model does not read at all. */
static attn_status refuse_others(const struct attn_model *model, const struct attn_model_inputs *inputs,
                                 struct attn_error *error) {
    const unsigned takes = model->info.takes;
    const bool is_two = model->info.is_encoder_decoder;
    const struct {
        const struct attn_view *view;
        const char *name;
        bool is_taken;
    } others[] = {
        {&inputs->pixel_values, "pixel_values", (takes & ATTN_TAKES_PIXELS) != 0},
        {&inputs->input_features, "input_features", (takes & ATTN_TAKES_FEATURES) != 0},
        {&inputs->decoder_input_ids, "decoder_input_ids", is_two},
        {&inputs->decoder_attention_mask, "decoder_attention_mask", is_two},
        {&inputs->decoder_inputs_embeds, "decoder_inputs_embeds", is_two},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i].view->data != NULL && !others[i].is_taken)
            return attn_fail(error, ATTN_ECONFLICT, others[i].name, "a %s model does not read it", model->info.family);
    return ATTN_OK;
}

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Which layers are run, and how far. */
static void choose_layers(struct attn_run *run, const struct attn_forward *forward) {
    struct attn_stack_run *encoder = &run->encoder, *decoder = &run->decoder;
    const bool is_two = run->model->info.is_encoder_decoder;
    const bool wants_last = forward->wants_output || forward->predictions > 0;
    if (decoder->stack != NULL) {
        decoder->attended = least(forward->layers[ATTN_STACK_DECODER], decoder->stack->layer_count);
        decoder->cross_attended = is_two ? least(forward->layers[ATTN_STACK_CROSS], decoder->stack->layer_count) : 0;
        decoder->runs_whole = wants_last;
    }
    if (encoder->stack == NULL)
        return;
    encoder->attended = least(forward->layers[ATTN_STACK_ENCODER], encoder->stack->layer_count);
    encoder->runs_whole =
        is_two ? forward->wants_encoder_output || wants_last || decoder->cross_attended > 0 || decoder->attended > 1
               : wants_last;
}

static void state_sizes(const struct attn_run *run, struct attn_forward_facts *facts) {
    const struct attn_stack_run *stacks[2] = {&run->encoder, &run->decoder};
    for (size_t i = 0; i < 2; i++) {
        const struct attn_transformer_stack *stack = stacks[i]->stack;
        if (stack == NULL)
            continue;
        const struct attn_transformer_layer *layer = &stack->layers[0];
        facts->stacks[stack->kind] = (struct attn_stack_sizes){
            .layers = stack->layer_count,
            .heads = layer->attention.heads,
            .kv_heads = layer->attention.kv_heads,
            .head_dim = layer->attention.head_dim,
            .value_dim = layer->attention.value_dim,
            .query_length = stacks[i]->length,
            .key_length = stacks[i]->length,
            .width = stack->output_width,
            .hidden = stack->hidden,
            .has_out_weight = layer->attention.out != NULL,
        };
        facts->padding[stack->kind] = stacks[i]->mask;
        if (layer->cross.heads == 0 || run->encoder.stack == NULL)
            continue;
        struct attn_stack_sizes *cross = &facts->stacks[ATTN_STACK_CROSS];
        *cross = facts->stacks[stack->kind];
        cross->kv_heads = layer->cross.kv_heads;
        cross->key_length = run->encoder.length;
        cross->has_out_weight = layer->cross.out != NULL;
        facts->padding[ATTN_STACK_CROSS] = stacks[i]->mask;
    }
    facts->main_stack = run->decoder.stack != NULL ? ATTN_STACK_DECODER : ATTN_STACK_ENCODER;
}

/* Of two towers, the one that the input is for. */
static attn_status choose_tower(const struct attn_model *model, const struct attn_model_inputs *given,
                                const struct attn_transformer_stack **tower, struct attn_error *error) {
    if (given->pixel_values.data == NULL)
        return ATTN_OK;
    if (given->input_ids.data != NULL || given->inputs_embeds.data != NULL)
        return attn_fail(error, ATTN_ECONFLICT, "pixel_values",
                         "the model looks at text or at pictures, one at a time");
    *tower = &model->pictures;
    return ATTN_OK;
}

/* Of two stacks, the encoder can be run alone. */
static bool wants_decoder(const struct attn_forward *forward) {
    const struct attn_model_inputs *given = &forward->inputs;
    return !forward->model->encoder.is_there || forward->wants_output || forward->predictions > 0 ||
           forward->layers[ATTN_STACK_DECODER] > 0 || forward->layers[ATTN_STACK_CROSS] > 0 ||
           given->decoder_input_ids.data != NULL || given->decoder_inputs_embeds.data != NULL;
}

attn_status attn_run_inputs(struct attn_run *run, const struct attn_forward *forward, struct attn_forward_facts *facts,
                            struct attn_error *error) {
    const struct attn_model *model = forward->model;
    const struct attn_model_inputs *given = &forward->inputs;
    const bool hears = (model->info.takes & ATTN_TAKES_FEATURES) != 0;
    const struct stack_inputs first = {.ids = &given->input_ids,
                                       .embeds = &given->inputs_embeds,
                                       .mask = &given->attention_mask,
                                       .types = &given->token_type_ids,
                                       .signal = hears ? &given->input_features : &given->pixel_values,
                                       .ids_name = "input_ids",
                                       .embeds_name = "inputs_embeds",
                                       .mask_name = "attention_mask",
                                       .signal_name = hears ? "input_features" : "pixel_values"};
    const struct stack_inputs second = {.ids = &given->decoder_input_ids,
                                        .embeds = &given->decoder_inputs_embeds,
                                        .mask = &given->decoder_attention_mask,
                                        .ids_name = "decoder_input_ids",
                                        .embeds_name = "decoder_inputs_embeds",
                                        .mask_name = "decoder_attention_mask"};
    const struct attn_transformer_stack *encoder = &model->encoder;
    struct batch batch = {0};
    *run = (struct attn_run){.forward = forward, .model = model, .dtype = forward->dtype, .error = error};
    run->bytes = attn_dtype_bytes(run->dtype);
    if (run->dtype != ATTN_FLOAT32 && run->dtype != ATTN_FLOAT64)
        return attn_fail(error, ATTN_EDTYPE, "dtype", "expected float32 or float64");
    attn_status status = refuse_others(model, given, error);
    if (status == ATTN_OK && model->pictures.is_there)
        status = choose_tower(model, given, &encoder, error);
    if (status == ATTN_OK && encoder->is_there)
        status = read_stack(&run->encoder, encoder, &first, &batch, error);
    if (status == ATTN_OK && model->decoder.is_there && wants_decoder(forward))
        status = read_stack(&run->decoder, &model->decoder, model->encoder.is_there ? &second : &first, &batch, error);
    if (status == ATTN_OK && forward->predictions > 0 && !model->head.is_there)
        status = attn_fail(error, ATTN_ECONFLICT, "predictions", "the model has no language-model head");
    if (status == ATTN_OK && forward->predictions > model->info.vocab_size)
        status = attn_fail(error, ATTN_ERANGE, "predictions", "expected at most the vocabulary's %zu tokens, found %zu",
                           model->info.vocab_size, forward->predictions);
    if (status != ATTN_OK)
        return status;
    if (run->encoder.stack != NULL && run->decoder.stack != NULL)
        run->decoder.encoder = &run->encoder;
    facts->has_batch = batch.has_axis;
    facts->batch = batch.size;
    choose_layers(run, forward);
    state_sizes(run, facts);
    return ATTN_OK;
}
