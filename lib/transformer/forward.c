#include "lib/transformer/forward.h"
#include "lib/tensor/error.h"
#include "lib/tensor/execution.h"
#include "lib/transformer/run.h"

#include <stdlib.h>
#include <string.h>

/* Multiplications and additions of one row through a weight. */
static double flops_of(const struct attn_weight *weight) {
    return weight != NULL ? 2 * (double)weight->view.shape[0] * (double)weight->view.shape[1] : 0;
}

static double attention_flops(const struct attn_attention *attention, double rows, double memory_rows) {
    double flops = rows * (flops_of(attention->joined) + flops_of(attention->projection[0]));
    for (size_t i = 1; i < 3; i++)
        flops += memory_rows * flops_of(attention->projection[i]);
    return flops + rows * flops_of(attention->out);
}

static double ffn_flops(const struct attn_feed_forward *ffn, double rows) {
    double flops = flops_of(ffn->up) + flops_of(ffn->gate) + flops_of(ffn->down) + flops_of(ffn->router);
    if (ffn->router != NULL)
        flops += (double)ffn->experts_used *
                 (flops_of(ffn->expert_up[0]) + flops_of(ffn->expert_gate[0]) + flops_of(ffn->expert_down[0]));
    return rows * flops;
}

/* Layers that are begun: the last of them only up to its attention where the rest is wanted by nobody. */
static size_t layers_begun(const struct attn_stack_run *stack) {
    if (stack->stack == NULL)
        return 0;
    if (stack->runs_whole)
        return stack->stack->layer_count;
    return stack->attended > stack->cross_attended ? stack->attended : stack->cross_attended;
}

static void add_costs(const struct attn_stack_run *stack, struct attn_forward_facts *facts) {
    const double rows = (double)stack->rows;
    for (size_t i = 0; i < layers_begun(stack); i++) {
        const struct attn_transformer_layer *layer = &stack->stack->layers[i];
        facts->flops += attention_flops(&layer->attention, rows, rows) + ffn_flops(&layer->ffn, rows);
        if (layer->cross.heads > 0)
            facts->flops += attention_flops(&layer->cross, rows, (double)stack->encoder->rows);
        facts->exponentials += rows * (double)layer->ffn.width;
    }
    if (stack->stack != NULL)
        facts->flops +=
            rows * (flops_of(stack->stack->embedding_projection) + flops_of(stack->stack->output_projection));
}

attn_status attn_forward_check(const struct attn_forward *forward, struct attn_forward_facts *facts,
                               struct attn_error *error) {
    struct attn_run run;
    struct attn_space space = {0};
    *facts = (struct attn_forward_facts){0};
    attn_status status = attn_run_inputs(&run, forward, facts, error);
    if (status != ATTN_OK)
        return status;
    attn_run_places(&run, &space);
    if (space.has_overflown)
        return attn_fail(error, ATTN_ERANGE, "input_ids", "more activations than memory could ever hold");
    facts->scratch_bytes = space.used;
    facts->scratch_bytes_per_lane = forward->model->max_lane_bytes[run.dtype == ATTN_FLOAT64];
    facts->largest_tensor = space.largest;
    add_costs(&run.encoder, facts);
    add_costs(&run.decoder, facts);
    if (forward->predictions > 0) {
        const struct attn_head *head = &forward->model->head;
        const double rows = (double)attn_run_main(&run)->rows;
        facts->flops += rows * (flops_of(head->dense) + flops_of(head->decoder));
        facts->exponentials += rows * (double)head->decoder->view.shape[0];
    }
    return ATTN_OK;
}

/* One layer, up to where nobody wants any more of it. */
static attn_status run_layer(struct attn_run *run, struct attn_stack_run *stack, size_t layer) {
    const bool has_cross = stack->stack->layers[layer].cross.heads > 0;
    const bool goes_on = stack->runs_whole || layer + 1 < layers_begun(stack);
    const bool does_cross = has_cross && (goes_on || layer < stack->cross_attended);
    if (attn_is_cancelled(run->execution))
        return attn_fail(run->error, ATTN_ECANCELLED, "", "cancelled");
    attn_status status = attn_run_attention(run, stack, layer, false, !goes_on && !does_cross);
    if (status == ATTN_OK && does_cross)
        status = attn_run_attention(run, stack, layer, true, !goes_on);
    return status == ATTN_OK && goes_on ? attn_run_ffn(run, stack, layer) : status;
}

/* Final norm and projection: at.output holds the last hidden state then. */
static attn_status run_end(struct attn_run *run, struct attn_stack_run *stack) {
    const struct attn_transformer_stack *of = stack->stack;
    attn_status status = ATTN_OK;
    if (of->final_norm.width > 0)
        status = attn_norm_apply(&of->final_norm, run->dtype, stack->rows, stack->at.hidden, (ptrdiff_t)of->hidden,
                                 stack->at.hidden, (ptrdiff_t)of->hidden, run->execution);
    if (status != ATTN_OK || of->output_projection == NULL)
        return status;
    const struct attn_product_call call = {.weight = of->output_projection,
                                           .rows = stack->rows,
                                           .left = stack->at.hidden,
                                           .left_stride = (ptrdiff_t)of->hidden,
                                           .out = stack->at.output,
                                           .out_stride = (ptrdiff_t)of->output_width};
    return attn_weight_apply(&call, run->dtype, &run->lanes, run->execution);
}

static attn_status run_stack(struct attn_run *run, struct attn_stack_run *stack) {
    const size_t layers = layers_begun(stack);
    if (stack->stack == NULL || (layers == 0 && !stack->runs_whole))
        return ATTN_OK;
    attn_status status = attn_run_embed(run, stack);
    for (size_t layer = 0; layer < layers && status == ATTN_OK; layer++)
        status = run_layer(run, stack, layer);
    return status == ATTN_OK && stack->runs_whole ? run_end(run, stack) : status;
}

/* Copies the last hidden state, with zeros in rows of padding. */
static void give(const struct attn_run *run, const struct attn_stack_run *stack, const struct attn_view *to) {
    const size_t width = stack->stack != NULL ? stack->stack->output_width : 0;
    for (size_t row = 0; to->data != NULL && width > 0 && row < stack->rows; row++) {
        void *out = attn_run_at(run, to->data, row, width, 0);
        if (stack->at.padding != NULL && stack->at.padding[row] == 0)
            memset(out, 0, width * run->bytes);
        else
            memcpy(out, attn_run_at(run, stack->at.output, row, width, 0), width * run->bytes);
    }
}

static attn_status run_all(struct attn_run *run) {
    attn_status status = run_stack(run, &run->encoder);
    if (status == ATTN_OK)
        status = run_stack(run, &run->decoder);
    if (status != ATTN_OK)
        return status;
    struct attn_stack_run *last = attn_run_main(run);
    if (run->forward->wants_output)
        give(run, last, &run->result->output);
    if (run->forward->wants_encoder_output && run->model->info.is_encoder_decoder)
        give(run, &run->encoder, &run->result->encoder_output);
    return run->forward->predictions > 0 ? attn_run_predict(run, last) : ATTN_OK;
}

attn_status attn_forward_run(const struct attn_forward *forward, const struct attn_forward_result *result,
                             const struct attn_execution *execution, struct attn_error *error) {
    struct attn_run run;
    struct attn_forward_facts facts = {0};
    attn_status status = attn_run_inputs(&run, forward, &facts, error);
    if (status != ATTN_OK)
        return status;
    struct attn_space space = {0};
    attn_run_places(&run, &space);
    run.execution = execution;
    run.result = result;
    run.lane_count = attn_lane_count(execution);
    run.lanes.bytes_per_lane = forward->model->max_lane_bytes[run.dtype == ATTN_FLOAT64];
    const size_t activations = space.used;
    attn_space_take(&space, run.lane_count, run.lanes.bytes_per_lane, 1);
    char *memory = space.has_overflown ? NULL : aligned_alloc(64, space.used + 64);
    if (memory == NULL)
        return attn_fail(error, ATTN_ENOMEM, "", "no memory for a run's activations");
    space = (struct attn_space){.base = memory};
    attn_run_places(&run, &space);
    run.lanes.bytes = memory + activations;
    status = run_all(&run);
    free(memory);
    if (status == ATTN_ENOMEM || status == ATTN_ECANCELLED)
        return attn_fail(error, status, "", status == ATTN_ENOMEM ? "no memory for packed weights" : "cancelled");
    return status;
}
