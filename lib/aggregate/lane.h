/** @file lane.h What a collector keeps for each lane, and the steps that consuming a block is made of. */
#ifndef LIB_AGGREGATE_LANE_H
#define LIB_AGGREGATE_LANE_H

#include "lib/aggregate/collector.h"
#include "lib/aggregate/loops.h"

/** Memory that grows to the largest block seen. */
struct attn_buffer {
    void *data;
    size_t bytes;
};

struct attn_lane {
    struct attn_buffer fused;    /**< accumulators' rows of one block, where only the top k of a row is handed out */
    struct attn_buffer row;      /**< one row */
    struct attn_buffer gathered; /**< one block of given weights whose rows are not contiguous */
    struct attn_buffer held;     /**< one block of every chosen head */
    struct attn_buffer held_sums;
    struct attn_buffer concat; /**< one row of every chosen head */
    double *statistics;        /**< what sums and counts point into */
    double *sums[ATTN_ANALYSIS_COUNT], *counts[ATTN_ANALYSIS_COUNT];
    bool has_negative;
};

/** Makes room. @return false out of memory, after noting it in the collector. */
bool attn_buffer_reserve(struct attn_collector *collector, struct attn_buffer *buffer, size_t count, size_t rows,
                         size_t columns, size_t element_bytes);

/** Notes the first failure. */
void attn_collector_fail(struct attn_collector *collector, attn_status status);

/** Rows of a block that lie in [begin, end), counted from the block's first. @return false if there are none. */
bool attn_block_rows(const struct attn_block *block, size_t begin, size_t end, size_t *first, size_t *last);

/** @return row `row` of the block. */
static inline const char *attn_block_row(const struct attn_block *block, size_t row) {
    return (const char *)block->rows + row * block->row_stride * attn_dtype_bytes(block->dtype);
}

static inline bool attn_has(unsigned set, unsigned member) {
    return (set >> member & 1U) != 0;
}

/* forms.c */
void attn_forms_consume(struct attn_collector *collector, struct attn_lane *lane, const struct attn_block *block,
                        size_t position);

/* analyses.c */
bool attn_analyses_init(struct attn_collector *collector, struct attn_lane *lane);
size_t attn_analyses_bytes(const struct attn_collect *collect);
void attn_analyses_consume(struct attn_collector *collector, struct attn_lane *lane, const struct attn_block *block,
                           size_t position);
void attn_analyses_finish(struct attn_collector *collector);

/* pca.c */
attn_status attn_pca_finish(struct attn_collector *collector, const struct attn_execution *execution);

#endif
