/*
 * Analyses: each row that attends to something adds to its head's statistics, lane by lane, in double; at the end the
 * lanes are added up and means taken. Rows that attend to nothing count nowhere and give 0 in (H, L) tensors.
 */
#include "lib/aggregate/lane.h"
#include "lib/aggregate/tables.h"
#include "lib/tensor/shape.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One row that attends to something. */
struct row {
    const struct attn_collector *collector;
    struct attn_lane *lane;
    const struct attn_loops *loops;
    const char *weights;    /* from column 0 */
    size_t begin, end;      /* columns outside hold 0 */
    size_t batch, position; /* item, and place of the head among the chosen ones */
    size_t query;
    long long place; /* p_i */
    double sum;
};

static size_t head_index(const struct row *row) {
    return row->batch * row->collector->collect.chosen_count + row->position;
}

static const void *live_weights(const struct row *row) {
    return row->weights + row->begin * attn_dtype_bytes(row->collector->collect.dtype);
}

/* Adds one row's value to the mean of its head. */
static void add_to_mean(const struct row *row, attn_analysis analysis, double value) {
    row->lane->sums[analysis][head_index(row)] += value;
    row->lane->counts[analysis][head_index(row)] += 1;
}

static void set_row_value(const struct row *row, attn_analysis analysis, double value) {
    const struct attn_collect *collect = &row->collector->collect;
    size_t at = head_index(row) * collect->query_length + row->query;
    char *values = row->collector->analyses[analysis]->values.data;
    row->loops->from_double(values + at * attn_dtype_bytes(collect->dtype), &value, 1);
}

static void add_entropy(const struct row *row) {
    set_row_value(row, ATTN_ANALYSIS_ENTROPY, row->loops->entropy(live_weights(row), row->end - row->begin));
}

static void add_sink_mass(const struct row *row) {
    set_row_value(row, ATTN_ANALYSIS_SINK_MASS, 1 - row->sum);
}

static void add_mean_distance(const struct row *row) {
    add_to_mean(row, ATTN_ANALYSIS_MEAN_DISTANCE,
                row->loops->distance(live_weights(row), row->end - row->begin, (double)row->begin, (double)row->place));
}

static void add_head_confidence(const struct row *row) {
    double largest = row->loops->largest(live_weights(row), row->end - row->begin);
    if (row->end - row->begin < row->collector->collect.columns && largest < 0)
        largest = 0;
    add_to_mean(row, ATTN_ANALYSIS_HEAD_CONFIDENCE, isnan(row->sum) ? row->sum : largest);
}

static void add_received(const struct row *row) {
    double *sums = row->lane->sums[ATTN_ANALYSIS_RECEIVED] + head_index(row) * row->collector->collect.columns;
    row->loops->add_to_sums(sums + row->begin, live_weights(row), row->end - row->begin);
    row->lane->counts[ATTN_ANALYSIS_RECEIVED][head_index(row)] += 1;
}

static bool key_exists(const struct row *row, long long key) {
    const struct attn_collect *collect = &row->collector->collect;
    const uint8_t *exists = row->collector->inputs.key_exists;
    if (key < 0 || (unsigned long long)key >= collect->key_length)
        return false;
    return exists == NULL || exists[row->batch * collect->key_length + (size_t)key] != 0;
}

static void add_sink(const struct row *row) {
    size_t key = 0;
    while (key < row->collector->collect.key_length && !key_exists(row, (long long)key))
        key++;
    if (key < row->collector->collect.key_length)
        add_to_mean(row, ATTN_ANALYSIS_SINK, row->loops->at(row->weights, key));
}

static void add_neighbour(const struct row *row, attn_analysis analysis, long long key) {
    if (key_exists(row, key))
        add_to_mean(row, analysis, row->loops->at(row->weights, (size_t)key));
}

static void add_diagonal(const struct row *row) {
    add_neighbour(row, ATTN_ANALYSIS_DIAGONAL, row->place);
}

static void add_previous(const struct row *row) {
    add_neighbour(row, ATTN_ANALYSIS_PREVIOUS, row->place - 1);
}

static void add_next(const struct row *row) {
    add_neighbour(row, ATTN_ANALYSIS_NEXT, row->place + 1);
}

/* The weight on the places `shift` behind earlier places of the row's token, over rows that have such places. */
static void add_token_mass(const struct row *row, attn_analysis analysis, size_t shift) {
    const struct attn_collect *collect = &row->collector->collect;
    const int64_t *tokens = row->collector->inputs.key_tokens + row->batch * collect->key_length;
    int64_t token = row->collector->inputs.query_tokens[row->batch * collect->query_length + row->query];
    size_t earlier = row->place > 0 ? (size_t)row->place : 0;
    if (earlier > collect->key_length - shift)
        earlier = collect->key_length - shift;
    for (size_t key = 0; key < earlier; key++) {
        if (tokens[key] != token)
            continue;
        const char *weights = row->weights + (key + shift) * attn_dtype_bytes(collect->dtype);
        add_to_mean(row, analysis, row->loops->token_sum(weights, tokens + key, earlier - key, token));
        return;
    }
}

static void add_duplicate(const struct row *row) {
    add_token_mass(row, ATTN_ANALYSIS_DUPLICATE, 0);
}

static void add_induction(const struct row *row) {
    add_token_mass(row, ATTN_ANALYSIS_INDUCTION, 1);
}

static void (*const add_row[ATTN_ANALYSIS_COUNT])(const struct row *) = {
    [ATTN_ANALYSIS_ENTROPY] = add_entropy,
    [ATTN_ANALYSIS_MEAN_DISTANCE] = add_mean_distance,
    [ATTN_ANALYSIS_HEAD_CONFIDENCE] = add_head_confidence,
    [ATTN_ANALYSIS_RECEIVED] = add_received,
    [ATTN_ANALYSIS_SINK] = add_sink,
    [ATTN_ANALYSIS_SINK_MASS] = add_sink_mass,
    [ATTN_ANALYSIS_DIAGONAL] = add_diagonal,
    [ATTN_ANALYSIS_PREVIOUS] = add_previous,
    [ATTN_ANALYSIS_NEXT] = add_next,
    [ATTN_ANALYSIS_DUPLICATE] = add_duplicate,
    [ATTN_ANALYSIS_INDUCTION] = add_induction,
};

/* Sums and counts of one analysis; an (H, L) tensor is written at once and needs none. */
static void statistics_size(const struct attn_collect *collect, unsigned analysis, size_t *sums, size_t *counts) {
    size_t heads = collect->batch * collect->chosen_count;
    enum attn_item_shape shape = attn_analyses[analysis].shape;
    size_t sums_of[] = {[ATTN_ITEM_H] = heads,
                        [ATTN_ITEM_HL] = 0,
                        [ATTN_ITEM_HT] = heads * collect->columns,
                        [ATTN_ITEM_HH] = heads * collect->chosen_count};
    *sums = sums_of[shape];
    *counts = shape == ATTN_ITEM_HT ? heads : *sums;
}

static size_t statistics_count(const struct attn_collect *collect) {
    size_t total = 0, sums, counts;
    for (unsigned analysis = 0; analysis < ATTN_ANALYSIS_COUNT; analysis++) {
        if (!attn_has(collect->analyses, analysis))
            continue;
        statistics_size(collect, analysis, &sums, &counts);
        total += sums + counts;
    }
    return total;
}

size_t attn_analyses_bytes(const struct attn_collect *collect) {
    return statistics_count(collect) * sizeof(double);
}

bool attn_analyses_init(struct attn_collector *collector, struct attn_lane *lane) {
    const struct attn_collect *collect = &collector->collect;
    size_t sums, counts;
    double *next = calloc(statistics_count(collect) + 1, sizeof *next);
    lane->statistics = next;
    if (next == NULL)
        return false;
    for (unsigned analysis = 0; analysis < ATTN_ANALYSIS_COUNT; analysis++) {
        if (!attn_has(collect->analyses, analysis))
            continue;
        statistics_size(collect, analysis, &sums, &counts);
        lane->sums[analysis] = next;
        lane->counts[analysis] = next + sums;
        next += sums + counts;
    }
    return true;
}

static void consume_row(const struct row *row, bool is_live) {
    unsigned analyses = row->collector->collect.analyses;
    if (!is_live) {
        if (attn_has(analyses, ATTN_ANALYSIS_ENTROPY))
            set_row_value(row, ATTN_ANALYSIS_ENTROPY, 0);
        if (attn_has(analyses, ATTN_ANALYSIS_SINK_MASS))
            set_row_value(row, ATTN_ANALYSIS_SINK_MASS, 0);
        return;
    }
    for (unsigned analysis = 0; analysis < ATTN_ANALYSIS_COUNT; analysis++)
        if (attn_has(analyses, analysis) && add_row[analysis] != NULL)
            add_row[analysis](row);
}

/* Keeps this head's rows until the last head is there: head_distance compares all of them. */
static bool hold_rows(struct attn_collector *collector, struct attn_lane *lane, const struct attn_block *block,
                      size_t position) {
    const struct attn_collect *collect = &collector->collect;
    const struct attn_loops *loops = attn_loops_of(block->dtype);
    size_t bytes = attn_dtype_bytes(block->dtype), row_bytes = collect->columns * bytes;
    if (!attn_buffer_reserve(collector, &lane->held, collect->chosen_count, block->query_count, collect->columns,
                             bytes) ||
        !attn_buffer_reserve(collector, &lane->held_sums, collect->chosen_count, block->query_count, 1, sizeof(double)))
        return false;
    char *rows = (char *)lane->held.data + position * block->query_count * row_bytes;
    double *sums = (double *)lane->held_sums.data + position * block->query_count;
    for (size_t i = 0; i < block->query_count; i++) {
        memcpy(rows + i * row_bytes, attn_block_row(block, i), row_bytes);
        sums[i] = loops->sum(attn_block_row(block, i), collect->columns);
    }
    return true;
}

static void add_head_distance(const struct attn_collector *collector, struct attn_lane *lane,
                              const struct attn_block *block, size_t left, size_t right) {
    const struct attn_collect *collect = &collector->collect;
    const struct attn_loops *loops = attn_loops_of(block->dtype);
    size_t row_bytes = collect->columns * attn_dtype_bytes(block->dtype), rows = block->query_count;
    const char *held = lane->held.data;
    const double *sums = lane->held_sums.data;
    size_t at = (block->batch * collect->chosen_count + left) * collect->chosen_count + right;
    for (size_t i = 0; i < rows; i++) {
        double left_sum = sums[left * rows + i], right_sum = sums[right * rows + i];
        if (left_sum == 0 || right_sum == 0)
            continue;
        double divergence =
            loops->divergence(held + (left * rows + i) * row_bytes, held + (right * rows + i) * row_bytes,
                              collect->columns, 1 / left_sum, 1 / right_sum);
        lane->sums[ATTN_ANALYSIS_HEAD_DISTANCE][at] += sqrt(divergence < 0 ? 0 : divergence);
        lane->counts[ATTN_ANALYSIS_HEAD_DISTANCE][at] += 1;
    }
}

static void consume_head_distance(struct attn_collector *collector, struct attn_lane *lane,
                                  const struct attn_block *block, size_t position) {
    size_t heads = collector->collect.chosen_count;
    if (!hold_rows(collector, lane, block, position) || block->head != collector->collect.last_head)
        return;
    for (size_t left = 0; left < heads; left++) {
        if (attn_is_cancelled(collector->inputs.execution)) {
            attn_collector_fail(collector, ATTN_ECANCELLED);
            return;
        }
        for (size_t right = left + 1; right < heads; right++)
            add_head_distance(collector, lane, block, left, right);
    }
}

/* A sink may leave a row that attends to keys with weights that are all too small for the type. */
static bool attends(const struct row *row, const struct attn_block *block, size_t index) {
    if (row->begin >= row->end)
        return false;
    if (block->row_maxima != NULL) {
        double maximum;
        memcpy(&maximum, (const char *)block->row_maxima + index * block->row_maxima_stride, sizeof maximum);
        return maximum != -INFINITY;
    }
    return row->loops->has_nonzero(live_weights(row), row->end - row->begin);
}

void attn_analyses_consume(struct attn_collector *collector, struct attn_lane *lane, const struct attn_block *block,
                           size_t position) {
    const struct attn_collect *collect = &collector->collect;
    struct row row = {.collector = collector,
                      .lane = lane,
                      .loops = attn_loops_of(block->dtype),
                      .begin = block->key_begin,
                      .end = block->key_end,
                      .batch = block->batch,
                      .position = position};
    long long offset = collector->inputs.offsets != NULL ? collector->inputs.offsets[block->batch] : 0;
    if (row.end > collect->columns)
        row.end = collect->columns;
    for (size_t i = 0; i < block->query_count; i++) {
        row.weights = attn_block_row(block, i);
        row.query = block->query_begin + i;
        row.place = (long long)row.query + offset;
        bool is_live = attends(&row, block, i);
        row.sum = is_live ? row.loops->sum(live_weights(&row), row.end - row.begin) : 0;
        consume_row(&row, is_live);
    }
    if (attn_has(collect->analyses, ATTN_ANALYSIS_HEAD_DISTANCE))
        consume_head_distance(collector, lane, block, position);
}

static void add_up_lanes(struct attn_collector *collector) {
    size_t count = statistics_count(&collector->collect);
    for (size_t lane = 1; lane < collector->inputs.lanes; lane++)
        for (size_t i = 0; i < count; i++)
            collector->lanes[0].statistics[i] += collector->lanes[lane].statistics[i];
}

static double mean(double sum, double count) {
    return count > 0 ? sum / count : 0;
}

static void finish_means(const struct attn_collector *collector, unsigned analysis, double *values) {
    size_t sums, counts;
    statistics_size(&collector->collect, analysis, &sums, &counts);
    const struct attn_lane *lane = &collector->lanes[0];
    for (size_t i = 0; i < sums; i++)
        values[i] = mean(lane->sums[analysis][i], lane->counts[analysis][i / (sums / counts)]);
}

static void mirror(double *values, size_t items, size_t heads) {
    for (size_t item = 0; item < items; item++)
        for (size_t left = 0; left < heads; left++)
            for (size_t right = 0; right < left; right++)
                values[(item * heads + left) * heads + right] = values[(item * heads + right) * heads + left];
}

void attn_analyses_finish(struct attn_collector *collector) {
    const struct attn_collect *collect = &collector->collect;
    add_up_lanes(collector);
    for (unsigned analysis = 0; analysis < ATTN_ANALYSIS_COUNT; analysis++) {
        if (!attn_has(collect->analyses, analysis) || attn_analyses[analysis].shape == ATTN_ITEM_HL)
            continue;
        size_t sums, counts;
        statistics_size(collect, analysis, &sums, &counts);
        double *values = collector->lanes[0].sums[analysis]; /* in place: each sum is read before it is replaced */
        finish_means(collector, analysis, values);
        if (analysis == ATTN_ANALYSIS_HEAD_DISTANCE)
            mirror(values, collect->batch, collect->chosen_count);
        attn_loops_of(collect->dtype)->from_double(collector->analyses[analysis]->values.data, values, sums);
    }
}
