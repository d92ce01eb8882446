/* From ids or embeddings to the residual stream: tables, positions, norm, projection; and the masks and tables that all
 * layers of a stack share. */
#include "lib/tensor/shape.h"
#include "lib/transformer/rows.h"
#include "lib/transformer/run.h"
#include "lib/transformer/stem.h"

#include <math.h>
#include <string.h>

enum { BLOCK_ROWS = 32 };

static bool takes_part(const struct attn_stack_run *stack, size_t n, size_t i) {
    return stack->mask.data == NULL || attn_run_integer(&stack->mask, n, i) != 0;
}

struct embedding {
    const struct attn_run *run;
    struct attn_stack_run *stack;
};

/* Copies row `row` of a table, converted. */
static void copy_row(const struct attn_run *run, const struct attn_view *table, size_t row, void *to) {
    const size_t width = table->shape[1];
    const struct attn_view from = attn_view_part(table, 0, row, 1), flat = {.data = from.data,
                                                                            .dtype = table->dtype,
                                                                            .rank = 1,
                                                                            .shape = {width},
                                                                            .stride = {table->stride[1]}};
    const struct attn_view out = attn_view_contiguous(to, run->dtype, 1, &width);
    attn_view_convert(&flat, &out, NULL);
}

/* Adds row `row` of a table, a piece at a time. */
static void add_row(const struct attn_run *run, const struct attn_view *table, size_t row, void *to) {
    double piece[256];
    const size_t width = table->shape[1], room = sizeof piece / sizeof *piece;
    for (size_t begin = 0; begin < width; begin += room) {
        const size_t count = width - begin < room ? width - begin : room, shape[2] = {1, count};
        const struct attn_view line = attn_view_part(table, 0, row, 1), from = attn_view_part(&line, 1, begin, count);
        const struct attn_view out = attn_view_contiguous(piece, run->dtype, 2, shape);
        attn_view_convert(&from, &out, NULL);
        attn_row_add(run->dtype, (char *)to + begin * run->bytes, piece, count);
    }
}

/* The row of the position table for a token, given how many tokens that count stand up to it in its text. */
static size_t position_row(const struct attn_stack_run *stack, size_t i, size_t counted, bool counts) {
    const struct attn_transformer_stack *of = stack->stack;
    switch (of->position_kind) {
    case ATTN_POSITIONS_NOT_PAD:
        if (stack->ids.data == NULL)
            return (size_t)of->pad + 1 + i;
        return (size_t)of->pad + (counts ? counted : 0);
    case ATTN_POSITIONS_UNMASKED:
        return of->position_offset + (counts ? counted : 0) - 1;
    case ATTN_POSITIONS_COUNTED:
        break;
    }
    return of->position_offset + i;
}

static bool token_counts(const struct attn_stack_run *stack, size_t n, size_t i) {
    if (stack->stack->position_kind == ATTN_POSITIONS_UNMASKED)
        return takes_part(stack, n, i);
    return stack->ids.data == NULL || attn_run_integer(&stack->ids, n, i) != stack->stack->pad;
}

static void add_positions(const struct attn_run *run, const struct attn_stack_run *stack, size_t n, void *rows,
                          size_t width) {
    size_t counted = 0;
    for (size_t i = 0; i < stack->length; i++) {
        const bool counts = token_counts(stack, n, i);
        counted += counts ? 1 : 0;
        add_row(run, &stack->stack->position_table, position_row(stack, i, counted, counts),
                attn_run_at(run, rows, n * stack->length + i, width, 0));
    }
}

/* Tokens and types of rows begin .. end-1. */
static void embed_rows(void *context, size_t begin, size_t end, size_t lane) {
    (void)lane;
    const struct embedding *embedding = context;
    const struct attn_run *run = embedding->run;
    const struct attn_stack_run *stack = embedding->stack;
    const struct attn_transformer_stack *of = stack->stack;
    void *rows = of->embedding_projection != NULL ? stack->at.embedded : stack->at.hidden;
    for (size_t row = begin; row < end; row++) {
        const size_t n = row / stack->length, i = row % stack->length;
        void *to = attn_run_at(run, rows, row, of->embedding, 0);
        if (stack->ids.data != NULL) {
            copy_row(run, &of->tokens, (size_t)attn_run_integer(&stack->ids, n, i), to);
        } else {
            const struct attn_view item = attn_view_part(&stack->embeds, 0, n, 1);
            const struct attn_view line = {.data = item.data,
                                           .dtype = item.dtype,
                                           .rank = 2,
                                           .shape = {item.shape[1], item.shape[2]},
                                           .stride = {item.stride[1], item.stride[2]}};
            copy_row(run, &line, i, to);
        }
        if (of->embedding_scale != 1 && (stack->ids.data != NULL || of->scales_given))
            attn_row_scale(run->dtype, to, of->embedding_scale, of->embedding);
        if (of->type_table.data != NULL)
            add_row(run, &of->type_table, stack->types.data != NULL ? (size_t)attn_run_integer(&stack->types, n, i) : 0,
                    to);
    }
}

/* T5's buckets (Raffel et al. 2020, section 2.1): each distance its own up to a half, then wider and wider ones. */
static size_t bucket_of(long long distance, size_t buckets, size_t farthest, bool is_one_way) {
    size_t first = 0, n;
    if (is_one_way) {
        n = distance < 0 ? (size_t)-distance : 0;
    } else {
        buckets /= 2;
        first = distance > 0 ? buckets : 0;
        n = (size_t)(distance < 0 ? -distance : distance);
    }
    const size_t exact = buckets / 2;
    if (n < exact || exact == 0)
        return first + (n < buckets ? n : buckets - 1);
    const float share = logf((float)n / (float)exact) / (float)log((double)farthest / (double)exact);
    const size_t wide = exact + (size_t)(share * (float)(buckets - exact));
    return first + (wide < buckets ? wide : buckets - 1);
}

/* bias (H, 2 L - 1): entry L - 1 + j - i is what key j adds to query i. */
static void fill_bias(const struct attn_run *run, const struct attn_stack_run *stack) {
    const struct attn_view *table = &stack->stack->relative_bias;
    const size_t heads = table->shape[1], line = 2 * stack->length - 1;
    for (size_t at = 0; at < line; at++) {
        const long long distance = (long long)at - (long long)(stack->length - 1);
        const size_t bucket =
            bucket_of(distance, table->shape[0], stack->stack->bucket_distance, stack->stack->buckets_one_way);
        for (size_t head = 0; head < heads; head++) {
            const struct attn_view row = attn_view_part(table, 0, bucket, 1), from = attn_view_part(&row, 1, head, 1);
            const size_t one[2] = {1, 1};
            const struct attn_view to =
                attn_view_contiguous(attn_run_at(run, stack->at.bias, head, line, at), run->dtype, 2, one);
            attn_view_convert(&from, &to, NULL);
        }
    }
}

/* What all layers of the stack read beside the hidden state. */
static void fill_shared(const struct attn_run *run, const struct attn_stack_run *stack) {
    for (size_t row = 0; stack->at.padding != NULL && row < stack->rows; row++)
        stack->at.padding[row] = takes_part(stack, row / stack->length, row % stack->length) ? 1 : 0;
    for (size_t i = 0; i < stack->stack->rope_count; i++)
        attn_rope_table(&stack->stack->ropes[i], stack->length, run->dtype, stack->at.inverse, stack->at.rotation[i]);
    if (stack->at.bias != NULL)
        fill_bias(run, stack);
}

static attn_status embed_signal(struct attn_run *run, const struct attn_stack_run *stack, void *rows) {
    const struct attn_stem stem = {
        .stack = stack->stack, .dtype = run->dtype, .input = &stack->signal, .working = stack->at.stem, .out = rows};
    return attn_stem_run(&stem, &run->lanes, run->execution);
}

attn_status attn_run_embed(struct attn_run *run, struct attn_stack_run *stack) {
    const struct attn_transformer_stack *of = stack->stack;
    struct embedding embedding = {run, stack};
    void *rows = of->embedding_projection != NULL ? stack->at.embedded : stack->at.hidden;
    fill_shared(run, stack);
    attn_status status = attn_stem_is_there(of)
                             ? embed_signal(run, stack, rows)
                             : attn_over_rows(stack->rows, BLOCK_ROWS, embed_rows, &embedding, run->execution);
    for (size_t n = 0; n < stack->batch && of->position_table.data != NULL && !of->has_late_positions; n++)
        add_positions(run, stack, n, rows, of->embedding);
    if (status == ATTN_OK && of->embedding_norm.width > 0)
        status = attn_norm_apply(&of->embedding_norm, run->dtype, stack->rows, rows, (ptrdiff_t)of->embedding, rows,
                                 (ptrdiff_t)of->embedding, run->execution);
    if (status == ATTN_OK && of->embedding_projection != NULL) {
        const struct attn_product_call call = {.weight = of->embedding_projection,
                                               .rows = stack->rows,
                                               .left = rows,
                                               .left_stride = (ptrdiff_t)of->embedding,
                                               .out = stack->at.hidden,
                                               .out_stride = (ptrdiff_t)of->hidden};
        status = attn_weight_apply(&call, run->dtype, &run->lanes, run->execution);
    }
    for (size_t n = 0; n < stack->batch && of->position_table.data != NULL && of->has_late_positions; n++)
        add_positions(run, stack, n, stack->at.hidden, of->hidden);
    return status;
}
