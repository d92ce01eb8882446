/*
 * Attention and feed-forward with everything around them: x = after(x + scale * out(sublayer(in(x)))). The residual
 * stream is changed in place.
 */
#include "lib/tensor/shape.h"
#include "lib/transformer/rows.h"
#include "lib/transformer/run.h"

enum { BLOCK_ROWS = 32 };

static attn_status norm_rows(struct attn_run *run, const struct attn_stack_run *stack,
                             const struct attn_norm_weight *norm, const void *in, void *out) {
    const ptrdiff_t stride = (ptrdiff_t)stack->stack->hidden;
    return attn_norm_apply(norm, run->dtype, stack->rows, in, stride, out, stride, run->execution);
}

/* A sub-layer's input: the residual stream, or its norm. */
static attn_status enter(struct attn_run *run, struct attn_stack_run *stack, const struct attn_wrapping *around,
                         const void **in) {
    *in = stack->at.hidden;
    if (around->in.width == 0)
        return ATTN_OK;
    *in = stack->at.normed;
    return norm_rows(run, stack, &around->in, stack->at.hidden, stack->at.normed);
}

static bool has_branch(const struct attn_wrapping *around) {
    return around->out.width > 0 || around->scale.size > 0;
}

struct branch {
    const struct attn_run *run;
    const struct attn_stack_run *stack;
    const struct attn_wrapping *around;
};

static void join_rows(void *context, size_t begin, size_t end, size_t lane) {
    (void)lane;
    const struct branch *branch = context;
    const struct attn_run *run = branch->run;
    const size_t width = branch->stack->stack->hidden;
    const void *scale = attn_vector_data(&branch->around->scale, run->dtype);
    for (size_t row = begin; row < end; row++) {
        void *from = attn_run_at(run, branch->stack->at.normed, row, width, 0);
        if (scale != NULL)
            attn_row_multiply(run->dtype, from, scale, width);
        attn_row_add(run->dtype, attn_run_at(run, branch->stack->at.hidden, row, width, 0), from, width);
    }
}

attn_status attn_run_join_branch(struct attn_run *run, struct attn_stack_run *stack,
                                 const struct attn_wrapping *around) {
    struct branch branch = {run, stack, around};
    attn_status status = ATTN_OK;
    if (around->out.width > 0)
        status = norm_rows(run, stack, &around->out, stack->at.normed, stack->at.normed);
    return status == ATTN_OK ? attn_over_rows(stack->rows, BLOCK_ROWS, join_rows, &branch, run->execution) : status;
}

/* The sub-layer's last product: into the residual stream at once where nothing is done to the branch before. */
static attn_status leave(struct attn_run *run, struct attn_stack_run *stack, const struct attn_wrapping *around,
                         struct attn_weight *weight, const void *left, size_t width) {
    const bool is_branch = has_branch(around);
    void *out = is_branch ? stack->at.normed : stack->at.hidden;
    const ptrdiff_t stride = (ptrdiff_t)stack->stack->hidden;
    const struct attn_product_call call = {.weight = weight,
                                           .rows = stack->rows,
                                           .left = left,
                                           .left_stride = (ptrdiff_t)width,
                                           .residual = is_branch ? NULL : stack->at.hidden,
                                           .residual_stride = stride,
                                           .out = out,
                                           .out_stride = stride};
    attn_status status = attn_weight_apply(&call, run->dtype, &run->lanes, run->execution);
    return status == ATTN_OK && is_branch ? attn_run_join_branch(run, stack, around) : status;
}

static attn_status finish(struct attn_run *run, struct attn_stack_run *stack, const struct attn_wrapping *around) {
    if (around->after.width == 0)
        return ATTN_OK;
    return norm_rows(run, stack, &around->after, stack->at.hidden, stack->at.hidden);
}

/* Where an attention's three inputs lie: in rows of one buffer, or keys and values in another's. */
struct operands {
    void *rows[3];
    size_t width[3], length[3];
};

static struct operands operands_of(const struct attn_stack_run *stack, const struct attn_attention *attention,
                                   bool is_cross) {
    struct operands operands;
    for (size_t i = 0; i < 3; i++) {
        const bool is_memory = is_cross && i > 0;
        operands.rows[i] = is_memory ? stack->at.memory : stack->at.joined;
        operands.width[i] = is_memory ? attention->memory_width : attention->row_width;
        operands.length[i] = is_memory ? stack->encoder->length : stack->length;
    }
    return operands;
}

static attn_status project(struct attn_run *run, const struct attn_stack_run *stack,
                           const struct attn_attention *attention, const struct operands *operands, const void *in,
                           bool is_cross) {
    struct attn_product_call call = {.weight = attention->joined,
                                     .rows = stack->rows,
                                     .left = in,
                                     .left_stride = (ptrdiff_t)stack->stack->hidden,
                                     .out = operands->rows[0],
                                     .out_stride = (ptrdiff_t)operands->width[0]};
    if (attention->joined != NULL)
        return attn_weight_apply(&call, run->dtype, &run->lanes, run->execution);
    attn_status status = ATTN_OK;
    for (size_t i = 0; i < 3 && status == ATTN_OK; i++) {
        call.weight = attention->projection[i];
        call.out = attn_run_at(run, operands->rows[i], 0, 0, attention->place[i].offset);
        call.out_stride = (ptrdiff_t)operands->width[i];
        if (is_cross && i > 0) {
            call.rows = stack->encoder->rows;
            call.left = stack->encoder->at.output;
            call.left_stride = (ptrdiff_t)stack->encoder->stack->output_width;
        }
        status = attn_weight_apply(&call, run->dtype, &run->lanes, run->execution);
    }
    return status;
}

struct turning {
    const struct attn_run *run;
    const struct attn_stack_run *stack;
    const struct attn_attention *attention;
    const struct operands *operands;
};

/* Norms and rotates the heads of one operand's row. */
static void turn_heads(const struct turning *turning, size_t which, size_t heads, const struct attn_norm_weight *norm,
                       size_t row) {
    const struct attn_run *run = turning->run;
    const struct attn_attention *attention = turning->attention;
    const struct attn_place *place = &attention->place[which];
    const struct attn_rope *rope = attention->rope;
    char *first = attn_run_at(run, turning->operands->rows[which], row, turning->operands->width[which], place->offset);
    if (norm->width > 0) {
        const struct attn_norm as = attn_norm_of(norm, run->dtype);
        const size_t parts = norm->width == attention->head_dim ? heads : 1;
        attn_normalise(&as, run->dtype, parts, norm->width, first, (ptrdiff_t)place->head_stride, first,
                       (ptrdiff_t)place->head_stride);
    }
    for (size_t head = 0; head < heads && rope != NULL; head++)
        attn_row_rotate(run->dtype, first + head * place->head_stride * run->bytes,
                        attn_run_at(run, turning->stack->at.rotation[attention->rope_index],
                                    row % turning->stack->length, rope->width, 0),
                        rope->width, rope->is_paired);
}

static void turn_rows(void *context, size_t begin, size_t end, size_t lane) {
    (void)lane;
    const struct turning *turning = context;
    const struct attn_attention *attention = turning->attention;
    for (size_t row = begin; row < end; row++) {
        turn_heads(turning, 0, attention->heads, &attention->query_norm, row);
        turn_heads(turning, 1, attention->kv_heads, &attention->key_norm, row);
    }
}

static struct attn_view heads_view(const struct attn_run *run, const struct attn_stack_run *stack, void *rows,
                                   size_t width, size_t length, const struct attn_place *place, size_t heads,
                                   size_t dim) {
    return (struct attn_view){
        .data = attn_run_at(run, rows, 0, 0, place->offset),
        .dtype = run->dtype,
        .rank = 4,
        .shape = {stack->batch, heads, length, dim},
        .stride = {(ptrdiff_t)(length * width), (ptrdiff_t)place->head_stride, (ptrdiff_t)width, 1},
    };
}

/* The relative bias as an additive mask: one line a head, read one place further to the left with each query. */
static struct attn_view bias_view(const struct attn_run *run, const struct attn_stack_run *stack, size_t heads) {
    const ptrdiff_t line = 2 * (ptrdiff_t)stack->length - 1;
    return (struct attn_view){.data = attn_run_at(run, stack->at.bias, 0, 0, stack->length - 1),
                              .dtype = run->dtype,
                              .rank = 4,
                              .shape = {1, heads, stack->length, stack->length},
                              .stride = {0, line, -1, 1}};
}

static struct attn_view padding_view(const struct attn_stack_run *stack) {
    const size_t shape[2] = {stack->batch, stack->length};
    if (stack->at.padding == NULL)
        return (struct attn_view){0};
    return attn_view_contiguous(stack->at.padding, ATTN_UINT8, 2, shape);
}

static struct attn_sdpa_options options_of(const struct attn_run *run, const struct attn_stack_run *stack,
                                           const struct attn_attention *attention, bool is_cross) {
    struct attn_sdpa_options options = ATTN_SDPA_DEFAULTS;
    options.has_scale = true;
    options.scale = attention->scale;
    options.softcap = attention->softcap;
    options.query_mask = padding_view(stack);
    options.key_padding_mask = padding_view(is_cross ? stack->encoder : stack);
    if (attention->sinks.size > 0)
        options.sinks = attn_view_contiguous((void *)attn_vector_data(&attention->sinks, run->dtype), run->dtype, 1,
                                             &attention->sinks.size);
    if (is_cross)
        return options;
    options.is_causal = stack->stack->is_causal;
    options.causal_alignment = ATTN_CAUSAL_TOP_LEFT;
    options.window_left = attention->window_left;
    options.window_right = attention->window_right;
    if (stack->at.bias != NULL)
        options.attn_mask = bias_view(run, stack, attention->heads);
    return options;
}

static attn_status attend(struct attn_run *run, const struct attn_stack_run *stack,
                          const struct attn_attention *attention, const struct operands *operands, size_t layer,
                          bool is_cross, bool is_last) {
    const struct attn_sdpa_options options = options_of(run, stack, attention, is_cross);
    const struct attn_place context = {0, attention->value_dim};
    struct attn_site site = {
        .stack = is_cross ? ATTN_STACK_CROSS : stack->stack->kind, .layer = layer, .options = &options};
    site.query = heads_view(run, stack, operands->rows[0], operands->width[0], operands->length[0],
                            &attention->place[0], attention->heads, attention->head_dim);
    site.key = heads_view(run, stack, operands->rows[1], operands->width[1], operands->length[1], &attention->place[1],
                          attention->kv_heads, attention->head_dim);
    site.value = heads_view(run, stack, operands->rows[2], operands->width[2], operands->length[2],
                            &attention->place[2], attention->kv_heads, attention->value_dim);
    site.output = heads_view(run, stack, stack->at.context, attention->heads * attention->value_dim, stack->length,
                             &context, attention->heads, attention->value_dim);
    if (is_last)
        site.output.data = NULL;
    if (attention->out != NULL)
        site.out_weight = attention->out->view;
    return run->forward->attend(run->forward->attend_context, &site, run->execution, run->error);
}

attn_status attn_run_attention(struct attn_run *run, struct attn_stack_run *stack, size_t layer, bool is_cross,
                               bool is_last) {
    const struct attn_transformer_layer *of = &stack->stack->layers[layer];
    const struct attn_attention *attention = is_cross ? &of->cross : &of->attention;
    const struct attn_wrapping *around = is_cross ? &of->around_cross : &of->around_attention;
    const struct operands operands = operands_of(stack, attention, is_cross);
    const void *in;
    attn_status status = enter(run, stack, around, &in);
    if (status == ATTN_OK)
        status = project(run, stack, attention, &operands, in, is_cross);
    if (status == ATTN_OK && (attention->rope != NULL || attention->query_norm.width > 0) && !is_cross) {
        struct turning turning = {run, stack, attention, &operands};
        status = attn_over_rows(stack->rows, BLOCK_ROWS, turn_rows, &turning, run->execution);
    }
    if (status == ATTN_OK)
        status = attend(run, stack, attention, &operands, layer, is_cross, is_last);
    if (status != ATTN_OK || is_last)
        return status;
    /* A parallel feed-forward reads the residual stream as it was before attention was added. */
    if (stack->stack->is_parallel)
        status = norm_rows(run, stack, of->around_ffn.in.width > 0 ? &of->around_ffn.in : &around->in, stack->at.hidden,
                           stack->at.normed);
    if (status == ATTN_OK)
        status = leave(run, stack, around, attention->out, stack->at.context, attention->heads * attention->value_dim);
    return status == ATTN_OK ? finish(run, stack, around) : status;
}

/* inner = activation(gate(in)) * up(in), or activation(up(in)). */
static attn_status widen(struct attn_run *run, const struct attn_stack_run *stack, const struct attn_feed_forward *ffn,
                         const void *in) {
    struct attn_product_call call = {.weight = ffn->up,
                                     .rows = stack->rows,
                                     .left = in,
                                     .left_stride = (ptrdiff_t)stack->stack->hidden,
                                     .activation = ffn->gate == NULL ? ffn->activation : ATTN_ACTIVATION_NONE,
                                     .out = stack->at.inner,
                                     .out_stride = (ptrdiff_t)ffn->width};
    attn_status status = attn_weight_apply(&call, run->dtype, &run->lanes, run->execution);
    if (status != ATTN_OK || ffn->gate == NULL)
        return status;
    call.weight = ffn->gate;
    call.activation = ffn->activation;
    call.gate = stack->at.inner;
    call.gate_stride = call.out_stride;
    return attn_weight_apply(&call, run->dtype, &run->lanes, run->execution);
}

attn_status attn_run_ffn(struct attn_run *run, struct attn_stack_run *stack, size_t layer) {
    const struct attn_transformer_layer *of = &stack->stack->layers[layer];
    const struct attn_feed_forward *ffn = &of->ffn;
    const void *in = stack->at.normed;
    attn_status status = ATTN_OK;
    if (!stack->stack->is_parallel)
        status = enter(run, stack, &of->around_ffn, &in);
    if (status != ATTN_OK)
        return status;
    if (ffn->router != NULL) {
        status = attn_run_experts(run, stack, ffn, in, stack->at.normed);
        if (status == ATTN_OK)
            status = attn_run_join_branch(run, stack, &of->around_ffn);
    } else {
        status = widen(run, stack, ffn, in);
        if (status == ATTN_OK)
            status = leave(run, stack, &of->around_ffn, ffn->down, stack->at.inner, ffn->width);
    }
    return status == ATTN_OK ? finish(run, stack, &of->around_ffn) : status;
}
