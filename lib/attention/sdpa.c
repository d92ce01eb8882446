/*
 * Scaled dot-product attention, block by block: block_rows queries of one head against the keys that any of them sees.
 *
 *   1. scores  = scale * query . key^T           one matrix product
 *   2. softcap, biases and masks                 row by row
 *   3. weights = exp(scores - maximum)           row by row, with the running maximum and sum of each row
 *   4. output += weights . value                 one matrix product
 *
 * Where whole rows of weights are wanted, one step takes all keys and the weights are divided by their sums before the
 * fourth pass. Otherwise steps of block_keys keys follow each other, what was summed before is rescaled when a row's
 * maximum grows, and the output is divided at the end (Milakov and Gimelshein 2018; Dao 2022).
 */
#include "lib/attention/problem.h"
#include "lib/tensor/error.h"
#include "lib/tensor/execution.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

/* What one row knows of its scores so far. maximum and sum are NaN (or +Infinity and NaN) once such a score took part.
 */
struct row_state {
    double maximum, sum;
    struct key_span span; /* of the keys that masks speak of */
};

_Static_assert(sizeof(struct row_state) == SDPA_STATE_BYTES, "a lane's scratch has room for a state a row");

/* Queries begin .. begin+count-1 of one head. */
struct block {
    size_t batch, head, begin, count;
    struct key_span keys; /* that any of the rows sees, of those that masks speak of */
    struct key_span rows; /* of the block's `count`, those between the first and the last that are no padding */
    struct key_span tail; /* behind these, the unmasked ones; part of `keys` where stages are wanted */
    bool holds_rows;
    char *scores; /* key 0 of the first row where rows are held, else the step's first key */
    ptrdiff_t stride;
    double sink;
    bool has_sink;
};

/* One lane's scratch. */
struct lane {
    char *scores;
    struct row_state *states;
    void *mask_row;
    size_t index;
};

/* One call, shared by its lanes. */
struct call {
    const struct sdpa_problem *problem;
    const struct attn_execution *execution;
    char *scratch;
    size_t lane_bytes;
    struct key_span *spans; /* items' and then row_spans, or NULL */
    struct key_span *row_spans;
    atomic_bool is_cancelled;
};

static char *view_row(const struct sdpa_problem *p, const struct attn_view *view, size_t n, size_t h, size_t row) {
    ptrdiff_t offset =
        (ptrdiff_t)n * view->stride[0] + (ptrdiff_t)h * view->stride[1] + (ptrdiff_t)row * view->stride[2];
    return (char *)view->data + offset * (ptrdiff_t)p->element_bytes;
}

static size_t kv_head(const struct sdpa_problem *p, size_t head) {
    return head / (p->heads / p->kv_heads);
}

static char *score_row(const struct sdpa_problem *p, const struct block *b, size_t row) {
    return b->scores + (ptrdiff_t)row * b->stride * (ptrdiff_t)p->element_bytes;
}

static char *output_row(const struct sdpa_problem *p, const struct block *b, size_t row) {
    return view_row(p, &p->result.output, b->batch, b->head, b->begin + row);
}

/* The part of `span` in `step`; an empty one lies at the step's begin. */
static struct key_span intersect(struct key_span span, struct key_span step) {
    const size_t begin = span.begin > step.begin ? span.begin : step.begin;
    const size_t end = span.end < step.end ? span.end : step.end;
    return begin < end ? (struct key_span){begin, end} : (struct key_span){step.begin, step.begin};
}

/* The rows' spans and their union. @param head whose mask may be looked at, where a block is of one head alone */
static void find_spans(const struct sdpa_problem *p, struct block *b, size_t head, struct row_state *states) {
    struct key_span all = {p->key_length, 0};
    b->rows = (struct key_span){b->count, 0};
    for (size_t row = 0; row < b->count; row++) {
        struct key_span span = attn_sdpa_row_span(p, b->batch, b->begin + row);
        if (!p->wants_sinks)
            span = attn_sdpa_head_span(p, b->batch, head, b->begin + row, span);
        states[row].span = span;
        if (attn_sdpa_is_padding(span))
            continue;
        b->rows.begin = row < b->rows.begin ? row : b->rows.begin;
        b->rows.end = row + 1;
        if (span.begin == span.end)
            continue;
        all.begin = span.begin < all.begin ? span.begin : all.begin;
        all.end = span.end > all.end ? span.end : all.end;
    }
    b->tail = (struct key_span){p->masked_length, p->key_length};
    if (all.end < all.begin)
        all = (struct key_span){0, 0};
    if (b->rows.begin >= b->rows.end)
        b->rows = b->tail = (struct key_span){0, 0};
    if (p->wants_stages) {
        all = (struct key_span){0, p->key_length};
        b->rows = (struct key_span){0, b->count};
        b->tail = (struct key_span){0, 0};
    }
    b->keys = all;
}

static bool is_empty(struct key_span span) {
    return span.begin >= span.end;
}

/* The least span that holds all keys of a block. */
static struct key_span whole_span(const struct block *b) {
    if (is_empty(b->tail))
        return b->keys;
    return (struct key_span){is_empty(b->keys) ? b->tail.begin : b->keys.begin, b->tail.end};
}

static void reset_state(struct row_state *state) {
    state->maximum = -INFINITY;
    state->sum = 0;
}

static void reset_states(struct row_state *states, size_t count) {
    for (size_t row = 0; row < count; row++)
        reset_state(&states[row]);
}

/* Pass 1, for keys step.begin .. step.end-1, written from `scores` on. */
static void multiply_keys(const struct sdpa_problem *p, const struct block *b, struct key_span step, char *scores) {
    const struct attn_product product = {
        .rows = b->rows.end - b->rows.begin,
        .columns = step.end - step.begin,
        .depth = p->head_dim,
        .factor = p->scale,
        .left = view_row(p, &p->query, b->batch, b->head, b->begin + b->rows.begin),
        .left_stride = p->query.stride[2],
        .right = view_row(p, &p->key, b->batch, kv_head(p, b->head), step.begin),
        .right_stride = p->key.stride[2],
        .out = scores + (ptrdiff_t)b->rows.begin * b->stride * (ptrdiff_t)p->element_bytes,
        .out_stride = b->stride,
    };
    attn_product_transposed(p->kernels, p->dtype, &product);
}

/* Pass 4. */
static void multiply_values(const struct sdpa_problem *p, const struct block *b, struct key_span step,
                            const char *weights, bool accumulate) {
    const struct attn_product product = {
        .rows = b->rows.end - b->rows.begin,
        .columns = p->value_dim,
        .depth = step.end - step.begin,
        .factor = 1,
        .left = weights + (ptrdiff_t)b->rows.begin * b->stride * (ptrdiff_t)p->element_bytes,
        .left_stride = b->stride,
        .right = view_row(p, &p->value, b->batch, kv_head(p, b->head), step.begin),
        .right_stride = p->value.stride[2],
        .out = output_row(p, b, b->rows.begin),
        .out_stride = p->result.output.stride[2],
        .accumulate = accumulate,
    };
    attn_product_plain(p->kernels, p->dtype, &product);
}

static char *at(const struct sdpa_problem *p, char *row, size_t key) {
    return row + key * p->element_bytes;
}

/* The keys of `step` whose scores a row reads: its span, and from the tail on if the step reaches so far. */
static struct key_span row_keys(const struct sdpa_problem *p, struct key_span span, struct key_span step) {
    struct key_span seen = intersect(span, step);
    if (p->options.unmasked_tail == 0 || step.end <= p->masked_length || attn_sdpa_is_padding(span))
        return seen;
    if (seen.begin == seen.end)
        seen.begin = step.begin > p->masked_length ? step.begin : p->masked_length;
    seen.end = step.end;
    return seen;
}

/* Pass 2 for one row; `row` is the score of key step.begin. Keys between the row's span and the tail are hidden. */
static void mask_row(const struct sdpa_problem *p, const struct block *b, size_t row_index, struct key_span span,
                     struct key_span step, char *row, void *gathered) {
    struct key_span seen = intersect(span, step);
    attn_sdpa_mask_row(p, b->batch, b->head, b->begin + row_index, seen, at(p, row, seen.begin - step.begin), gathered);
    struct key_span all = row_keys(p, span, step);
    if (all.end <= seen.end || seen.begin == seen.end)
        return;
    size_t tail = step.begin > p->masked_length ? step.begin : p->masked_length;
    if (seen.end < tail)
        p->kernels->fill(at(p, row, seen.end - step.begin), tail - seen.end, -INFINITY);
}

/*
 * Pass 3 for one row of scores. A NaN or +Infinity makes the state's sum NaN for good.
 * @return what the weights and output of earlier steps are to be multiplied with
 */
static double exponentiate(const struct attn_row_kernels *k, struct row_state *state, void *row, size_t count) {
    const double maximum = k->maximum(row, count);
    if (isfinite(maximum) && !isnan(state->sum)) {
        const double shift = maximum > state->maximum ? maximum : state->maximum;
        const double sum = k->exponentials(row, count, shift);
        const double factor = shift == state->maximum ? 1 : exp(state->maximum - shift);
        state->sum = state->sum * factor + sum;
        state->maximum = isnan(sum) ? (double)NAN : shift;
        if (isnan(sum))
            k->fill(row, count, 0);
        return factor;
    }
    if (k->has_nan(row, count))
        state->maximum = state->sum = (double)NAN;
    else if (maximum == (double)INFINITY) {
        state->sum = (double)NAN;
        if (!isnan(state->maximum))
            state->maximum = maximum;
    } else if (maximum > state->maximum)
        state->maximum = maximum; /* a row that +Infinity has spoilt already */
    k->fill(row, count, 0);
    return 1;
}

/* What a row's exponentials are to be multiplied with to become weights: 0 for a row that attends to nothing. */
static double weight_factor(const struct block *b, const struct row_state *state) {
    if (isnan(state->sum))
        return (double)NAN;
    if (state->sum == 0)
        return 0;
    if (!b->has_sink)
        return 1 / state->sum;
    double largest = state->maximum > b->sink ? state->maximum : b->sink;
    double own = exp(state->maximum - largest);
    return own / (state->sum * own + exp(b->sink - largest));
}

static void store_real(const struct sdpa_problem *p, const struct attn_view *view, size_t index, double value) {
    if (view->data == NULL)
        return;
    if (p->dtype == ATTN_FLOAT64)
        ((double *)view->data)[index] = value;
    else
        ((float *)view->data)[index] = (float)value;
}

static void store_statistics(const struct sdpa_problem *p, const struct block *b, const struct row_state *states) {
    if (p->result.logsumexp.data == NULL && p->result.max_score.data == NULL)
        return;
    const size_t first = (b->batch * p->heads + b->head) * p->query_length + b->begin;
    for (size_t row = 0; row < b->count; row++) {
        const struct row_state *s = &states[row];
        const bool is_plain = s->sum > 0;
        store_real(p, &p->result.logsumexp, first + row, is_plain ? s->maximum + log(s->sum) : s->maximum);
        store_real(p, &p->result.max_score, first + row, s->maximum);
    }
}

/* @param live the keys beyond which all rows are known to be hidden */
static void emit(const struct sdpa_problem *p, const struct block *b, attn_stage stage, struct key_span live,
                 const struct lane *lane) {
    const bool may_underflow = b->has_sink && stage == ATTN_STAGE_SOFTMAX;
    const struct attn_block_sink *sink = &p->result.sinks[stage];
    if (sink->consume == NULL)
        return;
    const struct attn_block block = {
        .stage = stage,
        .batch = b->batch,
        .head = b->head,
        .query_begin = b->begin,
        .query_count = b->count,
        .key_count = p->key_length,
        .rows = b->scores,
        .dtype = p->dtype,
        .row_stride = (size_t)b->stride,
        .key_begin = live.begin,
        .key_end = live.end,
        .lane = lane->index,
        .row_maxima = may_underflow ? &lane->states[0].maximum : NULL,
        .row_maxima_stride = sizeof lane->states[0],
    };
    sink->consume(sink->context, &block);
}

/* Writes `value` to all keys of a held row but those of `inner`. */
static void fill_outside(const struct sdpa_problem *p, char *row, struct key_span inner, double value) {
    if (inner.begin > 0)
        p->kernels->fill(row, inner.begin, value);
    if (inner.end < p->key_length)
        p->kernels->fill(at(p, row, inner.end), p->key_length - inner.end, value);
}

/*
 * From masked scores to weights, a held row; the tail's gap counts as seen and holds -Infinity.
 * @return whether the row is NaN, all of it
 */
static bool soften_row(const struct sdpa_problem *p, const struct block *b, struct row_state *state, char *row) {
    const struct key_span all = {0, p->key_length};
    const struct key_span seen = row_keys(p, state->span, all);
    const size_t count = seen.end - seen.begin;
    if (!b->has_sink && p->kernels->softmax(at(p, row, seen.begin), count, &state->maximum, &state->sum)) {
        fill_outside(p, row, seen, 0);
        return false;
    }
    reset_state(state);
    exponentiate(p->kernels, state, at(p, row, seen.begin), count);
    const double factor = weight_factor(b, state);
    if (isnan(factor)) {
        p->kernels->fill(row, p->key_length, (double)NAN);
        return true;
    }
    p->kernels->scale(at(p, row, seen.begin), count, factor);
    fill_outside(p, row, seen, 0);
    return false;
}

/*
 * Passes 2 and 3 with each matrix on the way handed out: every pass over the whole block before the next.
 * @return whether some row is NaN
 */
static bool soften_in_stages(const struct sdpa_problem *p, const struct block *b, const struct lane *lane) {
    const struct key_span all = {0, p->key_length};
    bool has_nan = false;
    emit(p, b, ATTN_STAGE_RAW, b->keys, lane);
    for (size_t row = 0; row < b->count && p->options.softcap > 0; row++)
        p->kernels->softcap(score_row(p, b, row), p->key_length, p->options.softcap);
    emit(p, b, ATTN_STAGE_SOFTCAPPED, b->keys, lane);
    for (size_t row = 0; row < b->count; row++) {
        char *scores = score_row(p, b, row);
        mask_row(p, b, row, lane->states[row].span, all, scores, lane->mask_row);
        fill_outside(p, scores, row_keys(p, lane->states[row].span, all), -INFINITY);
    }
    emit(p, b, ATTN_STAGE_MASKED, b->keys, lane);
    for (size_t row = 0; row < b->count; row++)
        has_nan |= soften_row(p, b, &lane->states[row], score_row(p, b, row));
    return has_nan;
}

static bool soften_rows(const struct sdpa_problem *p, const struct block *b, const struct lane *lane) {
    const struct key_span all = {0, p->key_length};
    bool has_nan = false;
    for (size_t row = 0; row < b->count; row++) {
        char *scores = score_row(p, b, row);
        const struct key_span seen = row_keys(p, lane->states[row].span, all);
        if (p->options.softcap > 0)
            p->kernels->softcap(at(p, scores, seen.begin), seen.end - seen.begin, p->options.softcap);
        mask_row(p, b, row, lane->states[row].span, all, scores, lane->mask_row);
        has_nan |= soften_row(p, b, &lane->states[row], scores);
    }
    return has_nan;
}

/* Where the product over all keys is not finite, a value may be to blame whose weight is 0: leaves such values out. */
static void mend_held(const struct sdpa_problem *p, const struct block *b) {
    for (size_t row = 0; row < b->count; row++) {
        char *output = output_row(p, b, row);
        if (p->kernels->is_finite(output, p->value_dim))
            continue;
        p->kernels->combine_nonzero(score_row(p, b, row), p->key_length,
                                    view_row(p, &p->value, b->batch, kv_head(p, b->head), 0), p->value.stride[2],
                                    output, p->value_dim);
    }
}

static void output_held(const struct sdpa_problem *p, const struct block *b) {
    if (p->result.output.data == NULL)
        return;
    if (!is_empty(b->keys))
        multiply_values(p, b, b->keys, at(p, b->scores, b->keys.begin), false);
    if (!is_empty(b->tail))
        multiply_values(p, b, b->tail, at(p, b->scores, b->tail.begin), !is_empty(b->keys));
    const bool is_hidden = is_empty(b->keys) && is_empty(b->tail);
    for (size_t row = 0; row < b->count; row++)
        if (is_hidden || row < b->rows.begin || row >= b->rows.end)
            p->kernels->fill(output_row(p, b, row), p->value_dim, 0);
    mend_held(p, b);
}

/* A block whose rows of weights stand whole in b->scores. */
static void compute_held(const struct sdpa_problem *p, const struct block *b, const struct lane *lane) {
    if (!is_empty(b->keys))
        multiply_keys(p, b, b->keys, at(p, b->scores, b->keys.begin));
    if (!is_empty(b->tail))
        multiply_keys(p, b, b->tail, at(p, b->scores, b->tail.begin));
    const bool has_nan = p->wants_stages && b->holds_rows ? soften_in_stages(p, b, lane) : soften_rows(p, b, lane);
    emit(p, b, ATTN_STAGE_SOFTMAX, has_nan ? (struct key_span){0, p->key_length} : whole_span(b), lane);
    output_held(p, b);
}

/* One step of a block whose scores are never held whole; b->scores is the score of key step.begin. */
static void compute_step(const struct sdpa_problem *p, const struct block *b, const struct lane *lane,
                         struct key_span step, bool is_first) {
    multiply_keys(p, b, step, b->scores);
    for (size_t row = 0; row < b->count; row++) {
        struct row_state *state = &lane->states[row];
        char *scores = score_row(p, b, row);
        const struct key_span seen = row_keys(p, state->span, step);
        char *seen_scores = at(p, scores, seen.begin - step.begin);
        if (p->options.softcap > 0)
            p->kernels->softcap(seen_scores, seen.end - seen.begin, p->options.softcap);
        mask_row(p, b, row, state->span, step, scores, lane->mask_row);
        p->kernels->fill(scores, seen.begin - step.begin, 0);
        p->kernels->fill(at(p, scores, seen.end - step.begin), step.end - seen.end, 0);
        const double factor = exponentiate(p->kernels, state, seen_scores, seen.end - seen.begin);
        if (factor != 1 && !is_first && p->result.output.data != NULL)
            p->kernels->scale(output_row(p, b, row), p->value_dim, factor);
    }
    if (p->result.output.data != NULL)
        multiply_values(p, b, step, b->scores, !is_first);
}

/* Divides the output by the sums of its weights; a row that is not finite then is done again with its weights held. */
static void finish_steps(const struct sdpa_problem *p, const struct block *b, const struct lane *lane) {
    for (size_t row = 0; row < b->count; row++) {
        char *output = output_row(p, b, row);
        const double factor = weight_factor(b, &lane->states[row]);
        if (isnan(factor) || lane->states[row].sum == 0) {
            p->kernels->fill(output, p->value_dim, factor);
            continue;
        }
        p->kernels->scale(output, p->value_dim, factor);
        if (p->kernels->is_finite(output, p->value_dim))
            continue;
        struct block again = *b;
        struct lane single = *lane;
        again.begin += row;
        again.count = 1;
        again.rows = (struct key_span){0, 1};
        again.holds_rows = true;
        again.stride = (ptrdiff_t)p->key_length;
        single.states = &lane->states[row];
        compute_held(p, &again, &single);
    }
}

static void compute_in_steps(const struct sdpa_problem *p, const struct block *b, const struct lane *lane) {
    reset_states(lane->states, b->count);
    const struct key_span parts[] = {b->keys, b->tail};
    bool is_first = true;
    for (int part = 0; part < 2; part++) {
        const size_t end = parts[part].end;
        for (size_t key = parts[part].begin; key < end; key += p->block_keys, is_first = false) {
            struct key_span step = {key, end - key < p->block_keys ? end : key + p->block_keys};
            compute_step(p, b, lane, step, is_first);
        }
    }
    if (p->result.output.data != NULL)
        finish_steps(p, b, lane);
}

static void compute_head(const struct sdpa_problem *p, struct block *b, const struct lane *lane) {
    b->has_sink = p->options.sinks.data != NULL;
    b->sink = b->has_sink ? attn_view_real(&p->options.sinks, b->head) : 0;
    b->holds_rows = p->holds_rows;
    b->scores = lane->scores;
    b->stride = (ptrdiff_t)p->block_keys;
    if (p->result.weights.data != NULL) {
        b->scores = view_row(p, &p->result.weights, b->batch, b->head, b->begin);
        b->stride = p->result.weights.stride[2];
    }
    if (b->holds_rows)
        compute_held(p, b, lane);
    else
        compute_in_steps(p, b, lane);
    store_statistics(p, b, lane->states);
}

static bool has_ended(struct call *call) {
    return attn_has_ended(call->execution, &call->is_cancelled);
}

static size_t heads_per_task(const struct sdpa_problem *p) {
    return p->wants_sinks ? p->heads : 1;
}

/* One task: a block of queries of one batch item, for all heads where sinks want them together, else for one. */
static void compute_task(void *argument, size_t task, size_t lane_index) {
    struct call *call = argument;
    const struct sdpa_problem *p = call->problem;
    char *scratch = call->scratch + lane_index * call->lane_bytes;
    const struct lane lane = {
        .scores = scratch,
        .states = (void *)(scratch + p->lane_scores),
        .mask_row = scratch + p->lane_scores + p->lane_states,
        .index = lane_index,
    };
    const size_t heads = heads_per_task(p), groups = p->heads / heads, group = task / p->block_count % groups;
    const size_t begin = task % p->block_count * p->block_rows, left = p->query_length - begin;
    struct block block = {
        .batch = task / p->block_count / groups,
        .begin = begin,
        .count = left < p->block_rows ? left : p->block_rows,
    };
    if (has_ended(call))
        return;
    find_spans(p, &block, group * heads, lane.states);
    for (size_t head = group * heads; head < (group + 1) * heads && !has_ended(call); head++) {
        block.head = head;
        compute_head(p, &block, &lane);
    }
}

/* The spans of a block's rows. */
static void prepare_spans(void *argument, size_t task, size_t lane) {
    struct call *call = argument;
    const struct sdpa_problem *p = call->problem;
    const size_t batch = task / p->block_count, begin = task % p->block_count * p->block_rows;
    const size_t end = p->query_length - begin < p->block_rows ? p->query_length : begin + p->block_rows;
    (void)lane;
    for (size_t row = begin; row < end && !has_ended(call); row++)
        call->row_spans[batch * p->query_length + row] = attn_sdpa_row_span(p, batch, row);
}

/*
 * What of the rows' spans is the same for many blocks is found once: of the padding masks an item, and of masks and
 * segments a row where each head's blocks would look through them again.
 */
static attn_status prepare_masks(struct call *call, struct sdpa_problem *p) {
    const bool wants_rows = attn_sdpa_spans_are_dear(p) && heads_per_task(p) < p->heads;
    const size_t items = p->padding.data != NULL ? p->batch : 0, rows = wants_rows ? p->batch * p->query_length : 0;
    if (items + rows == 0)
        return ATTN_OK;
    call->spans = calloc(items + rows, sizeof *call->spans);
    if (call->spans == NULL)
        return ATTN_ENOMEM;
    for (size_t item = 0; item < items; item++)
        call->spans[item] = attn_sdpa_item_span(p, item);
    if (items > 0)
        p->item_spans = call->spans;
    if (!wants_rows)
        return ATTN_OK;
    call->row_spans = call->spans + items;
    attn_run_tasks(call->execution, p->batch * p->block_count, prepare_spans, call);
    p->row_spans = call->row_spans;
    return ATTN_OK;
}

static attn_status run(struct call *call, struct attn_error *error) {
    const struct sdpa_problem *p = call->problem;
    attn_run_tasks(call->execution, p->batch * (p->heads / heads_per_task(p)) * p->block_count, compute_task, call);
    if (atomic_load(&call->is_cancelled))
        return attn_fail(error, ATTN_ECANCELLED, "", "the computation was cancelled");
    return ATTN_OK;
}

/* Scratch of small calls lies on the stack: an allocation would cost as much as the arithmetic. */
enum { STACK_BYTES = 16384 };

attn_status attn_sdpa_with(const struct attn_kernels *kernels, const struct attn_view *query,
                           const struct attn_view *key, const struct attn_view *value,
                           const struct attn_sdpa_options *options, const struct attn_sdpa_result *result,
                           const struct attn_execution *execution, struct attn_error *error) {
    struct sdpa_problem problem;
    attn_status status = attn_sdpa_resolve(&problem, query, key, value, options, result, error);
    if (status != ATTN_OK)
        return status;
    problem.kernels = attn_kernels_for(kernels, problem.dtype);
    struct call call = {.problem = &problem, .execution = execution};
    call.lane_bytes = problem.lane_scores + problem.lane_states + problem.lane_mask;
    const size_t lanes = attn_lane_count(execution);
    size_t bytes;
    if (__builtin_mul_overflow(lanes, call.lane_bytes, &bytes))
        return attn_fail(error, ATTN_ENOMEM, "", "scratch for %zu lanes does not fit memory", lanes);
    _Alignas(64) char stack[STACK_BYTES];
    char *heap = bytes > sizeof stack ? aligned_alloc(64, bytes) : NULL;
    call.scratch = heap != NULL ? heap : stack;
    if (bytes > sizeof stack && heap == NULL)
        return attn_fail(error, ATTN_ENOMEM, "", "no memory for %zu bytes of scratch", bytes);
    status = prepare_masks(&call, &problem);
    status = status == ATTN_OK ? run(&call, error) : attn_fail(error, status, "", "no memory for the rows' spans");
    free(call.spans);
    free(heap);
    return status;
}

attn_status attn_sdpa(const struct attn_view *query, const struct attn_view *key, const struct attn_view *value,
                      const struct attn_sdpa_options *options, const struct attn_sdpa_result *result,
                      const struct attn_execution *execution, struct attn_error *error) {
    return attn_sdpa_with(attn_kernels_picked(), query, key, value, options, result, execution, error);
}
