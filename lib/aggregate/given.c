/* Weights that were computed elsewhere, cut into the blocks that attn_sdpa would have lent. */
#include "lib/aggregate/lane.h"
#include "lib/aggregate/tables.h"

#include <string.h>

/* A block should stay in the second-level cache while all that is wanted is read from it. */
static const size_t BLOCK_BYTES = 128 * 1024;

struct cut {
    struct attn_collector *collector;
    const struct attn_view *weights;
    const struct attn_execution *execution;
    size_t block_rows, blocks_per_item;
};

static size_t rows_in_block(const struct attn_collect *collect) {
    size_t rows = BLOCK_BYTES / (attn_dtype_bytes(collect->dtype) * collect->columns);
    if (rows == 0)
        return 1;
    return rows < collect->query_length ? rows : collect->query_length;
}

static void copy_row(char *to, const char *from, size_t count, ptrdiff_t stride, attn_dtype dtype) {
    size_t bytes = attn_dtype_bytes(dtype);
    for (size_t j = 0; j < count; j++)
        memcpy(to + j * bytes, from + (ptrdiff_t)j * stride * (ptrdiff_t)bytes, bytes);
}

/* Makes the block's columns contiguous where the view's are not. @return false out of memory. */
static bool gather(struct attn_collector *collector, struct attn_block *block, const struct attn_view *weights) {
    struct attn_lane *lane = &collector->lanes[block->lane];
    ptrdiff_t bytes = (ptrdiff_t)attn_dtype_bytes(block->dtype);
    if (!attn_buffer_reserve(collector, &lane->gathered, 1, block->query_count, block->key_count, (size_t)bytes))
        return false;
    for (size_t i = 0; i < block->query_count; i++)
        copy_row((char *)lane->gathered.data + i * block->key_count * (size_t)bytes,
                 (const char *)block->rows + (ptrdiff_t)i * weights->stride[2] * bytes, block->key_count,
                 weights->stride[3], block->dtype);
    block->rows = lane->gathered.data;
    block->row_stride = block->key_count;
    return true;
}

static void look_for_negative(struct attn_lane *lane, const struct attn_block *block) {
    const struct attn_loops *loops = attn_loops_of(block->dtype);
    for (size_t i = 0; i < block->query_count && !lane->has_negative; i++)
        lane->has_negative = loops->has_negative(attn_block_row(block, i), block->key_count);
}

static void consume_head(const struct cut *cut, struct attn_block block) {
    struct attn_collector *collector = cut->collector;
    const struct attn_view *weights = cut->weights;
    ptrdiff_t bytes = (ptrdiff_t)attn_dtype_bytes(weights->dtype);
    block.rows = (const char *)weights->data +
                 ((ptrdiff_t)block.batch * weights->stride[0] + (ptrdiff_t)block.head * weights->stride[1] +
                  (ptrdiff_t)block.query_begin * weights->stride[2]) *
                     bytes;
    block.row_stride = (size_t)weights->stride[2];
    bool is_direct = weights->stride[3] == 1 && weights->stride[2] >= 0;
    if (!is_direct && !gather(collector, &block, weights))
        return;
    if (collector->inputs.refuses_negative)
        look_for_negative(&collector->lanes[block.lane], &block);
    attn_collector_consume(collector, &block);
}

static void consume_task(void *argument, size_t task, size_t lane) {
    const struct cut *cut = argument;
    const struct attn_collect *collect = &cut->collector->collect;
    if (attn_is_cancelled(cut->execution)) {
        attn_collector_fail(cut->collector, ATTN_ECANCELLED);
        return;
    }
    size_t begin = task % cut->blocks_per_item * cut->block_rows;
    size_t left = collect->query_length - begin;
    struct attn_block block = {.stage = ATTN_STAGE_SOFTMAX,
                               .batch = task / cut->blocks_per_item,
                               .query_begin = begin,
                               .query_count = left < cut->block_rows ? left : cut->block_rows,
                               .key_count = collect->columns,
                               .dtype = collect->dtype,
                               .key_end = collect->columns,
                               .lane = lane};
    for (size_t head = collect->first_head; head <= collect->last_head; head++) {
        if (collect->positions[head] == ATTN_NOT_CHOSEN)
            continue;
        block.head = head;
        consume_head(cut, block);
    }
}

attn_status attn_collector_consume_given(struct attn_collector *collector, const struct attn_view *weights,
                                         const struct attn_execution *execution) {
    const struct attn_collect *collect = &collector->collect;
    struct cut cut = {
        .collector = collector, .weights = weights, .execution = execution, .block_rows = rows_in_block(collect)};
    cut.blocks_per_item = (collect->query_length + cut.block_rows - 1) / cut.block_rows;
    attn_run_tasks(execution, collect->batch * cut.blocks_per_item, consume_task, &cut);
    return (attn_status)atomic_load(&collector->failure);
}
