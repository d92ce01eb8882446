/* What a block of one head adds to each form. */
#include "lib/aggregate/lane.h"

#include <string.h>

struct range {
    size_t begin, end;
};

static struct range meet(struct range left, struct range right) {
    struct range both = {left.begin > right.begin ? left.begin : right.begin,
                         left.end < right.end ? left.end : right.end};
    if (both.begin > both.end)
        both.begin = both.end;
    return both;
}

/* The first head sets the row; where a softmax block is known to be 0 nothing is read. */
static void set_row(const struct attn_loops *loops, const struct attn_accumulator *accumulator, char *to,
                    const char *row, struct range live, double factor, size_t bytes) {
    struct range all = {accumulator->key_begin, accumulator->key_end};
    if (accumulator->fusion != ATTN_FUSION_MEAN) {
        memcpy(to, row + all.begin * bytes, (all.end - all.begin) * bytes);
        return;
    }
    memset(to, 0, (live.begin - all.begin) * bytes);
    loops->scale(to + (live.begin - all.begin) * bytes, row + live.begin * bytes, live.end - live.begin, factor);
    memset(to + (live.end - all.begin) * bytes, 0, (all.end - live.end) * bytes);
}

static void add_row(const struct attn_loops *loops, const struct attn_accumulator *accumulator, char *to,
                    const char *row, struct range live, double factor, size_t bytes) {
    struct range all = {accumulator->key_begin, accumulator->key_end};
    size_t count = all.end - all.begin;
    if (accumulator->fusion == ATTN_FUSION_MAX)
        loops->maximum(to, row + all.begin * bytes, count);
    else if (accumulator->fusion == ATTN_FUSION_MIN)
        loops->minimum(to, row + all.begin * bytes, count);
    else if (factor != 0) /* a head of weight 0 takes no part: its -Infinity must not become NaN */
        loops->add_scaled(to + (live.begin - all.begin) * bytes, row + live.begin * bytes, live.end - live.begin,
                          factor);
}

static void set_zero_row(const struct attn_accumulator *accumulator, char *to, size_t bytes) {
    memset(to, 0, (accumulator->key_end - accumulator->key_begin) * bytes);
}

static void accumulate(struct attn_collector *collector, const struct attn_accumulator *accumulator, char *scratch,
                       const struct attn_block *block, size_t position) {
    const struct attn_loops *loops = attn_loops_of(block->dtype);
    size_t bytes = attn_dtype_bytes(block->dtype), first, last;
    if (!attn_block_rows(block, accumulator->query_begin, accumulator->query_end, &first, &last))
        return;
    size_t keys = accumulator->key_end - accumulator->key_begin;
    size_t queries = accumulator->query_end - accumulator->query_begin;
    struct range live = {accumulator->key_begin, accumulator->key_end};
    if (block->stage == ATTN_STAGE_SOFTMAX)
        live = meet(live, (struct range){block->key_begin, block->key_end});
    if (live.begin == live.end) /* an empty range may lie anywhere */
        live = (struct range){accumulator->key_begin, accumulator->key_begin};
    double factor =
        accumulator->factors != NULL ? accumulator->factors[position] : 1.0 / (double)collector->collect.chosen_count;
    bool is_first = block->head == collector->collect.first_head;
    for (size_t i = first; i < last; i++) {
        size_t query = block->query_begin + i - accumulator->query_begin;
        char *to = accumulator->rows != NULL ? accumulator->rows + (block->batch * queries + query) * keys * bytes
                                             : scratch + i * keys * bytes;
        const char *row = attn_block_row(block, i);
        if (is_first && factor == 0 && accumulator->fusion == ATTN_FUSION_MEAN)
            set_zero_row(accumulator, to, bytes);
        else if (is_first)
            set_row(loops, accumulator, to, row, live, factor, bytes);
        else
            add_row(loops, accumulator, to, row, live, factor, bytes);
    }
}

/* Keeps the top k of row `query` (counted in what is handed out) of a tensor's matrix `item`. */
static void keep_top(const struct attn_collector *collector, struct attn_result_tensor *tensor, size_t item,
                     size_t query, const char *row) {
    const struct attn_collect *collect = &collector->collect;
    size_t queries = collect->query_end - collect->query_begin;
    size_t at = (item * queries + query) * collect->top_k;
    attn_loops_of(collect->dtype)
        ->top((char *)tensor->values.data + at * attn_dtype_bytes(collect->dtype), (int64_t *)tensor->indices.data + at,
              collect->top_k, row, collect->key_end - collect->key_begin, collect->key_begin);
}

static void keep_top_of_fused(struct attn_collector *collector, const struct attn_accumulator *accumulator,
                              const char *scratch, const struct attn_block *block) {
    size_t first, last;
    size_t row_bytes = (accumulator->key_end - accumulator->key_begin) * attn_dtype_bytes(block->dtype);
    if (!attn_block_rows(block, accumulator->query_begin, accumulator->query_end, &first, &last))
        return;
    for (size_t i = first; i < last; i++)
        keep_top(collector, accumulator->kept_by, block->batch, block->query_begin + i - accumulator->query_begin,
                 scratch + i * row_bytes);
}

static void consume_accumulators(struct attn_collector *collector, struct attn_lane *lane,
                                 const struct attn_block *block, size_t position) {
    size_t keys = collector->collect.key_end - collector->collect.key_begin;
    size_t bytes = attn_dtype_bytes(block->dtype);
    size_t block_bytes = block->query_count * keys * bytes;
    if (collector->collect.top_k > 0 &&
        !attn_buffer_reserve(collector, &lane->fused, collector->accumulator_count, block->query_count, keys, bytes))
        return;
    for (size_t i = 0; i < collector->accumulator_count; i++) {
        const struct attn_accumulator *accumulator = &collector->accumulators[i];
        bool is_kept = accumulator->rows == NULL;
        char *scratch = is_kept ? (char *)lane->fused.data + i * block_bytes : NULL;
        accumulate(collector, accumulator, scratch, block, position);
        if (is_kept && block->head == collector->collect.last_head)
            keep_top_of_fused(collector, accumulator, scratch, block);
    }
}

static void consume_per_head(struct attn_collector *collector, struct attn_result_tensor *tensor,
                             const struct attn_block *block, size_t position) {
    const struct attn_collect *collect = &collector->collect;
    size_t bytes = attn_dtype_bytes(block->dtype), first, last;
    size_t queries = collect->query_end - collect->query_begin, keys = collect->key_end - collect->key_begin;
    size_t item = block->batch * collect->chosen_count + position;
    if (!attn_block_rows(block, collect->query_begin, collect->query_end, &first, &last))
        return;
    for (size_t i = first; i < last; i++) {
        const char *row = attn_block_row(block, i) + collect->key_begin * bytes;
        size_t query = block->query_begin + i - collect->query_begin;
        if (collect->top_k > 0)
            keep_top(collector, tensor, item, query, row);
        else
            memcpy((char *)tensor->values.data + (item * queries + query) * keys * bytes, row, keys * bytes);
    }
}

/*
 * A row's heads stand one behind the other in its place until the last one is there, and are turned then: written with
 * gaps head by head, each cache line would be fetched for each of them.
 */
static void consume_concat(struct attn_collector *collector, struct attn_lane *lane, struct attn_result_tensor *tensor,
                           const struct attn_block *block, size_t position) {
    const struct attn_collect *collect = &collector->collect;
    const struct attn_loops *loops = attn_loops_of(block->dtype);
    size_t bytes = attn_dtype_bytes(block->dtype), heads = collect->chosen_count, first, last;
    size_t queries = collect->query_end - collect->query_begin, keys = collect->key_end - collect->key_begin;
    if (!attn_block_rows(block, collect->query_begin, collect->query_end, &first, &last) ||
        !attn_buffer_reserve(collector, &lane->concat, heads, 1, keys, bytes))
        return;
    for (size_t i = first; i < last; i++) {
        size_t query = block->batch * queries + block->query_begin + i - collect->query_begin;
        char *row = (char *)tensor->values.data + query * keys * heads * bytes;
        memcpy(row + position * keys * bytes, attn_block_row(block, i) + collect->key_begin * bytes, keys * bytes);
        if (block->head != collect->last_head)
            continue;
        memcpy(lane->concat.data, row, heads * keys * bytes);
        loops->interleave(row, lane->concat.data, heads, keys);
    }
}

/* value_norm and output_norm: each weight times what its value would add were the weight 1. */
static void consume_norms(struct attn_collector *collector, struct attn_lane *lane, struct attn_result_tensor *tensor,
                          const void *norms, const struct attn_block *block, size_t position) {
    const struct attn_collect *collect = &collector->collect;
    const struct attn_loops *loops = attn_loops_of(block->dtype);
    size_t bytes = attn_dtype_bytes(block->dtype), first, last;
    size_t queries = collect->query_end - collect->query_begin, keys = collect->key_end - collect->key_begin;
    size_t item = block->batch * collect->chosen_count + position;
    const char *own = (const char *)norms +
                      ((block->batch * collect->heads + block->head) * collect->columns + collect->key_begin) * bytes;
    if (!attn_block_rows(block, collect->query_begin, collect->query_end, &first, &last) ||
        !attn_buffer_reserve(collector, &lane->row, 1, 1, keys, bytes))
        return;
    for (size_t i = first; i < last; i++) {
        size_t query = block->query_begin + i - collect->query_begin;
        bool is_dense = collect->top_k == 0;
        char *to = is_dense ? (char *)tensor->values.data + (item * queries + query) * keys * bytes : lane->row.data;
        loops->norm_product(to, attn_block_row(block, i) + collect->key_begin * bytes, own, keys);
        if (!is_dense)
            keep_top(collector, tensor, item, query, to);
    }
}

static void hold_cells(struct attn_collector *collector, const struct attn_block *block, size_t position) {
    const struct attn_collect *collect = &collector->collect;
    size_t row_bytes = collect->columns * attn_dtype_bytes(block->dtype);
    size_t item = block->batch * collect->chosen_count + position;
    char *to = collector->cells + (item * collect->query_length + block->query_begin) * row_bytes;
    for (size_t i = 0; i < block->query_count; i++)
        memcpy(to + i * row_bytes, attn_block_row(block, i), row_bytes);
}

void attn_forms_consume(struct attn_collector *collector, struct attn_lane *lane, const struct attn_block *block,
                        size_t position) {
    struct attn_result_tensor *const *forms = collector->forms;
    if (collector->accumulator_count > 0)
        consume_accumulators(collector, lane, block, position);
    if (forms[ATTN_FORM_PER_HEAD] != NULL && !collector->inputs.per_head_is_written)
        consume_per_head(collector, forms[ATTN_FORM_PER_HEAD], block, position);
    if (forms[ATTN_FORM_CONCAT] != NULL)
        consume_concat(collector, lane, forms[ATTN_FORM_CONCAT], block, position);
    if (forms[ATTN_FORM_VALUE_NORM] != NULL)
        consume_norms(collector, lane, forms[ATTN_FORM_VALUE_NORM], collector->inputs.value_norms, block, position);
    if (forms[ATTN_FORM_OUTPUT_NORM] != NULL)
        consume_norms(collector, lane, forms[ATTN_FORM_OUTPUT_NORM], collector->inputs.output_norms, block, position);
    if (collector->cells != NULL)
        hold_cells(collector, block, position);
}
