/* Where activations lie in a run's one allocation, and what a run costs. */
#include "lib/tensor/error.h"
#include "lib/tensor/shape.h"
#include "lib/transformer/run.h"
#include "lib/transformer/stem.h"

#include <string.h>

enum {
    ALIGNMENT = 64,
    LOGIT_BYTES = 8 << 20, /* of a block of rows: some rows share one way through the head's weight */
    MAX_HEAD_ROWS = 64
};

void *attn_space_take(struct attn_space *space, size_t rows, size_t columns, size_t bytes) {
    size_t elements, size;
    if (!attn_size_multiply(rows, columns, &elements) || !attn_size_multiply(elements, bytes, &size) ||
        size > SIZE_MAX / 4 || space->used > SIZE_MAX / 4) {
        space->has_overflown = true;
        return NULL;
    }
    space->largest = elements > space->largest ? elements : space->largest;
    const size_t begin = space->used;
    space->used += (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return space->base != NULL ? space->base + begin : NULL;
}

static size_t most(size_t a, size_t b) {
    return a > b ? a : b;
}

/* The widest of the stack's layers. */
struct widths {
    size_t joined, context, inner, memory, experts, experts_used, inner_expert;
};

static struct widths widths_of(const struct attn_transformer_stack *stack) {
    struct widths widths = {0};
    for (size_t i = 0; i < stack->layer_count; i++) {
        const struct attn_transformer_layer *layer = &stack->layers[i];
        const struct attn_attention *self = &layer->attention, *cross = &layer->cross;
        widths.joined = most(widths.joined, most(self->row_width, cross->row_width));
        widths.context = most(widths.context, most(self->heads * self->value_dim, cross->heads * cross->value_dim));
        widths.memory = most(widths.memory, cross->memory_width);
        if (layer->ffn.router == NULL)
            widths.inner = most(widths.inner, layer->ffn.width);
        else
            widths.inner_expert = most(widths.inner_expert, layer->ffn.width);
        widths.experts = most(widths.experts, layer->ffn.experts);
        widths.experts_used = most(widths.experts_used, layer->ffn.experts_used);
    }
    return widths;
}

static void place_experts(struct attn_stack_run *stack, const struct widths *widths, size_t bytes,
                          struct attn_space *space) {
    const size_t rows = stack->rows;
    if (widths->experts == 0)
        return;
    stack->at.router = attn_space_take(space, rows, widths->experts, bytes);
    stack->at.expert_in = attn_space_take(space, rows, stack->stack->hidden, bytes);
    stack->at.expert_gate = attn_space_take(space, rows, widths->inner_expert, bytes);
    stack->at.expert_up = attn_space_take(space, rows, widths->inner_expert, bytes);
    stack->at.expert_out = attn_space_take(space, rows, stack->stack->hidden, bytes);
    stack->at.expert_rows = attn_space_take(space, rows, widths->experts_used, sizeof(size_t));
    stack->at.expert_shares = attn_space_take(space, rows, widths->experts_used, sizeof(double));
}

/* What is alive while a layer runs. The FFN's inside lies where attention's was. */
static void place_layers(struct attn_stack_run *stack, size_t bytes, struct attn_space *space) {
    const struct widths widths = widths_of(stack->stack);
    struct attn_space ffn = *space;
    stack->at.inner = attn_space_take(&ffn, stack->rows, widths.inner, bytes);
    place_experts(stack, &widths, bytes, &ffn);
    stack->at.joined = attn_space_take(space, stack->rows, widths.joined, bytes);
    stack->at.context = attn_space_take(space, stack->rows, widths.context, bytes);
    if (stack->encoder != NULL)
        stack->at.memory = attn_space_take(space, stack->encoder->rows, widths.memory, bytes);
    space->used = most(space->used, ffn.used);
    space->largest = most(space->largest, ffn.largest);
    space->has_overflown = space->has_overflown || ffn.has_overflown;
}

static void place_stack(struct attn_stack_run *stack, size_t bytes, struct attn_space *space) {
    const struct attn_transformer_stack *of = stack->stack;
    if (of == NULL)
        return;
    if (stack->mask.data != NULL)
        stack->at.padding = attn_space_take(space, stack->rows, 1, 1);
    stack->at.hidden = attn_space_take(space, stack->rows, of->hidden, bytes);
    stack->at.normed = attn_space_take(space, stack->rows, of->hidden, bytes);
    if (of->embedding_projection != NULL)
        stack->at.embedded = attn_space_take(space, stack->rows, of->embedding, bytes);
    stack->at.output =
        of->output_projection != NULL ? attn_space_take(space, stack->rows, of->output_width, bytes) : stack->at.hidden;
    for (size_t i = 0; i < of->rope_count; i++) {
        stack->at.rotation[i] = attn_space_take(space, stack->length, of->ropes[i].width, bytes);
        stack->at.inverse = attn_space_take(space, 1, of->ropes[i].width, sizeof(double));
    }
    if (attn_stem_is_there(of))
        stack->at.stem =
            attn_space_take(space, 1, attn_stem_bytes(of, bytes == sizeof(float) ? ATTN_FLOAT32 : ATTN_FLOAT64), 1);
    if (of->relative_bias.data != NULL)
        stack->at.bias = attn_space_take(space, of->relative_bias.shape[1], 2 * stack->length, bytes);
    place_layers(stack, bytes, space);
}

/* The head works on blocks of rows, so that logits of all rows are never held. */
static void place_head(struct attn_run *run, struct attn_space *space) {
    if (run->forward->predictions == 0)
        return;
    const struct attn_head *head = &run->model->head;
    const size_t vocab = head->decoder->view.shape[0], rows = attn_run_main(run)->rows;
    size_t block = LOGIT_BYTES / run->bytes / vocab;
    block = block < 1 ? 1 : block > MAX_HEAD_ROWS ? MAX_HEAD_ROWS : block;
    run->head_rows = block < rows ? block : rows;
    run->head = attn_space_take(space, run->head_rows, head->decoder->view.shape[1], run->bytes);
    run->logits = attn_space_take(space, run->head_rows, vocab, run->bytes);
}

void attn_run_places(struct attn_run *run, struct attn_space *space) {
    place_stack(&run->encoder, run->bytes, space);
    place_stack(&run->decoder, run->bytes, space);
    place_head(run, space);
}
