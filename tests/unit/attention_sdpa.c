/*
 * What is attended, told by weights that can be worked out by head: a query of zeros sees its keys evenly, so its
 * weights are one over their number, and values that are an identity matrix give the weights back as output. Every
 * case runs with all tables of kernels, in both dtypes, with weights kept, streamed to a sink, and not held at all.
 */
#include "lib/attention/problem.h"
#include "tests/golden/runner/lanes.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_KEYS = 700, MOST_ELEMENTS = 1 << 21 };

/* N items, H heads, Hkv of keys, L queries, T keys; zeros unless data are given. */
struct sizes {
    size_t batch, heads, kv_heads, queries, keys, dim;
};

struct tensors {
    struct sizes sizes;
    attn_dtype dtype;
    void *query, *key, *value, *weights, *output, *logsumexp, *max_score;
};

static void put(void *data, attn_dtype dtype, size_t i, double value) {
    if (dtype == ATTN_FLOAT64)
        ((double *)data)[i] = value;
    else
        ((float *)data)[i] = (float)value;
}

static double get(const void *data, attn_dtype dtype, size_t i) {
    return dtype == ATTN_FLOAT64 ? ((const double *)data)[i] : (double)((const float *)data)[i];
}

static void *zeros(attn_dtype dtype, size_t count) {
    ck_assert(count <= MOST_ELEMENTS);
    void *data = calloc(count + 1, attn_dtype_bytes(dtype));
    ck_assert_ptr_nonnull(data);
    return data;
}

/* Values are an identity: output (L, T) is weights (L, T). */
static struct tensors tensors_create(struct sizes s, attn_dtype dtype) {
    struct tensors t = {.sizes = s, .dtype = dtype};
    t.query = zeros(dtype, s.batch * s.heads * s.queries * s.dim);
    t.key = zeros(dtype, s.batch * s.kv_heads * s.keys * s.dim);
    t.value = zeros(dtype, s.batch * s.kv_heads * s.keys * s.keys);
    t.weights = zeros(dtype, s.batch * s.heads * s.queries * s.keys);
    t.output = zeros(dtype, s.batch * s.heads * s.queries * s.keys);
    t.logsumexp = zeros(dtype, s.batch * s.heads * s.queries);
    t.max_score = zeros(dtype, s.batch * s.heads * s.queries);
    for (size_t matrix = 0; matrix < s.batch * s.kv_heads; matrix++)
        for (size_t j = 0; j < s.keys; j++)
            put(t.value, dtype, (matrix * s.keys + j) * s.keys + j, 1);
    return t;
}

static void tensors_destroy(struct tensors *t) {
    free(t->query);
    free(t->key);
    free(t->value);
    free(t->weights);
    free(t->output);
    free(t->logsumexp);
    free(t->max_score);
}

static struct attn_view view4(void *data, attn_dtype dtype, size_t n, size_t h, size_t l, size_t d) {
    return attn_view_contiguous(data, dtype, 4, (size_t[]){n, h, l, d});
}

static void copy_block(void *context, const struct attn_block *block) {
    struct tensors *t = context;
    const struct sizes *s = &t->sizes;
    ck_assert_uint_eq(block->key_count, s->keys);
    for (size_t row = 0; row < block->query_count; row++)
        for (size_t j = 0; j < s->keys; j++) {
            double weight = get(block->rows, t->dtype, row * block->row_stride + j);
            ck_assert(isnan(weight) || weight == 0 || (j >= block->key_begin && j < block->key_end));
            size_t line = (block->batch * s->heads + block->head) * s->queries + block->query_begin + row;
            put(t->weights, t->dtype, line * s->keys + j, weight);
        }
}

enum way { KEEP_WEIGHTS, STREAM_WEIGHTS, HOLD_NOTHING, WAY_COUNT };

static attn_status compute(const struct attn_kernels *kernels, struct tensors *t,
                           const struct attn_sdpa_options *options, enum way way,
                           const struct attn_execution *execution, struct attn_error *error) {
    const struct sizes *s = &t->sizes;
    const struct attn_view query = view4(t->query, t->dtype, s->batch, s->heads, s->queries, s->dim);
    const struct attn_view key = view4(t->key, t->dtype, s->batch, s->kv_heads, s->keys, s->dim);
    const struct attn_view value = view4(t->value, t->dtype, s->batch, s->kv_heads, s->keys, s->keys);
    struct attn_sdpa_result result = {.output = view4(t->output, t->dtype, s->batch, s->heads, s->queries, s->keys)};
    const size_t rows[] = {s->batch, s->heads, s->queries};
    result.logsumexp = attn_view_contiguous(t->logsumexp, t->dtype, 3, rows);
    result.max_score = attn_view_contiguous(t->max_score, t->dtype, 3, rows);
    if (way == KEEP_WEIGHTS)
        result.weights = view4(t->weights, t->dtype, s->batch, s->heads, s->queries, s->keys);
    if (way == STREAM_WEIGHTS)
        result.sinks[ATTN_STAGE_SOFTMAX] = (struct attn_block_sink){copy_block, t};
    return attn_sdpa_with(kernels, &query, &key, &value, options, &result, execution, error);
}

typedef void (*prepare_function)(struct tensors *t);
typedef double (*expect_function)(size_t n, size_t h, size_t i, size_t j);

static void expect(double found, double wanted, attn_dtype dtype, const char *what, size_t i, size_t j) {
    double tolerance = dtype == ATTN_FLOAT64 ? 1e-14 : 1e-6;
    bool same = isnan(wanted) ? isnan(found) : fabs(found - wanted) <= tolerance * (1 + fabs(wanted));
    ck_assert_msg(same, "%s of query %zu, key %zu is %.17g, not %.17g", what, i, j, found, wanted);
}

static void expect_all(const struct tensors *t, enum way way, expect_function weight) {
    const struct sizes *s = &t->sizes;
    size_t at = 0;
    for (size_t n = 0; n < s->batch; n++)
        for (size_t h = 0; h < s->heads; h++)
            for (size_t i = 0; i < s->queries; i++)
                for (size_t j = 0; j < s->keys; j++, at++) {
                    expect(get(t->output, t->dtype, at), weight(n, h, i, j), t->dtype, "output", i, j);
                    if (way != HOLD_NOTHING)
                        expect(get(t->weights, t->dtype, at), weight(n, h, i, j), t->dtype, "weight", i, j);
                }
}

/* Runs a case in every way and compares every weight with what `weight` says. */
static void run_case(struct sizes sizes, const struct attn_sdpa_options *options, prepare_function prepare,
                     expect_function weight) {
    const struct attn_kernels *table;
    for (size_t k = 0; (table = attn_kernels_at(k)) != NULL; k++) {
        if (!table->is_supported())
            continue;
        for (int dtype = 0; dtype < 2; dtype++)
            for (int way = 0; way < WAY_COUNT; way++) {
                struct tensors t = tensors_create(sizes, dtype == 0 ? ATTN_FLOAT32 : ATTN_FLOAT64);
                struct attn_error error = {0};
                if (prepare != NULL)
                    prepare(&t);
                attn_status status = compute(table, &t, options, (enum way)way, NULL, &error);
                ck_assert_msg(status == ATTN_OK, "%s: %s", error.field, error.message);
                expect_all(&t, (enum way)way, weight);
                tensors_destroy(&t);
            }
    }
}

static const struct sizes square = {1, 1, 1, 4, 4, 2};

/* A case whose visible keys are drawn, a row a query: "1..." sees key 0. */
static const char *const *picture;

static double drawn(size_t n, size_t h, size_t i, size_t j) {
    (void)h;
    const char *row = picture[n * 4 + i];
    size_t seen = 0;
    for (const char *c = row; *c != '\0'; c++)
        seen += *c == '1';
    return row[j] == '1' ? 1 / (double)seen : 0;
}

static void expect_picture(struct sizes sizes, const struct attn_sdpa_options *options, const char *const *rows) {
    picture = rows;
    run_case(sizes, options, NULL, drawn);
}

static struct attn_view integers(int64_t *data, size_t count) {
    return attn_view_contiguous(data, ATTN_INT64, 1, &count);
}

START_TEST(without_masks_all_keys_are_seen) {
    expect_picture(square, NULL, (const char *const[]){"1111", "1111", "1111", "1111"});
}
END_TEST

START_TEST(a_causal_query_sees_itself_and_what_was_before) {
    struct attn_sdpa_options o = ATTN_SDPA_DEFAULTS;
    o.is_causal = true;
    expect_picture(square, &o, (const char *const[]){"1...", "11..", "111.", "1111"});
}
END_TEST

START_TEST(causal_alignment_moves_the_diagonal) {
    const struct sizes wide = {1, 1, 1, 2, 5, 2}, tall = {1, 1, 1, 4, 2, 2};
    struct attn_sdpa_options o = ATTN_SDPA_DEFAULTS;
    o.is_causal = true;
    expect_picture(wide, &o, (const char *const[]){"1....", "11..."});
    o.past_length = 3;
    expect_picture(wide, &o, (const char *const[]){"1111.", "11111"});
    o.causal_alignment = ATTN_CAUSAL_TOP_LEFT;
    expect_picture(wide, &o, (const char *const[]){"1....", "11..."});
    o.past_length = 0;
    o.causal_alignment = ATTN_CAUSAL_BOTTOM_RIGHT;
    expect_picture(wide, &o, (const char *const[]){"1111.", "11111"});
    expect_picture(tall, &o, (const char *const[]){"..", "..", "1.", "11"});
}
END_TEST

START_TEST(windows_bound_both_sides_with_and_without_causal) {
    struct attn_sdpa_options o = ATTN_SDPA_DEFAULTS;
    o.window_left = 1;
    expect_picture(square, &o, (const char *const[]){"1111", "1111", ".111", "..11"});
    o.window_right = 0;
    expect_picture(square, &o, (const char *const[]){"1...", "11..", ".11.", "..11"});
    o.window_left = ATTN_UNBOUNDED;
    o.window_right = 1;
    expect_picture(square, &o, (const char *const[]){"11..", "111.", "1111", "1111"});
    o.window_left = 0;
    o.is_causal = true;
    expect_picture(square, &o, (const char *const[]){"1...", ".1..", "..1.", "...1"});
    o.window_left = o.window_right = INT64_MAX;
    expect_picture(square, &o, (const char *const[]){"1...", "11..", "111.", "1111"});
}
END_TEST

START_TEST(key_lengths_cut_padding_and_move_the_causal_offset) {
    const struct sizes two = {2, 1, 1, 4, 4, 2};
    struct attn_sdpa_options o = ATTN_SDPA_DEFAULTS;
    o.key_lengths = integers((int64_t[]){3, 0}, 2);
    expect_picture(two, &o, (const char *const[]){"111.", "111.", "111.", "111.", "....", "....", "....", "...."});
    o.is_causal = true;
    expect_picture(two, &o, (const char *const[]){"....", "1...", "11..", "111.", "....", "....", "....", "...."});
    o.causal_alignment = ATTN_CAUSAL_TOP_LEFT;
    expect_picture(two, &o, (const char *const[]){"1...", "11..", "111.", "111.", "....", "....", "....", "...."});
}
END_TEST

START_TEST(a_prefix_is_seen_by_all_queries) {
    struct attn_sdpa_options o = ATTN_SDPA_DEFAULTS;
    o.is_causal = true;
    o.prefix_length = integers((int64_t[]){2}, 1);
    expect_picture(square, &o, (const char *const[]){"11..", "11..", "111.", "1111"});
}
END_TEST

START_TEST(segments_keep_to_themselves) {
    struct attn_sdpa_options o = ATTN_SDPA_DEFAULTS;
    int64_t ids[] = {7, 7, -1, 7};
    o.segment_ids = attn_view_contiguous(ids, ATTN_INT64, 2, (size_t[]){1, 4});
    expect_picture(square, &o, (const char *const[]){"11.1", "11.1", "..1.", "11.1"});
    o.is_causal = true;
    expect_picture(square, &o, (const char *const[]){"1...", "11..", "..1.", "11.1"});
}
END_TEST

START_TEST(boolean_masks_in_both_conventions) {
    uint8_t mask[] = {1, 0, 0, 1, 0, 1, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0};
    struct attn_sdpa_options o = ATTN_SDPA_DEFAULTS;
    for (int kind = 0; kind < 2; kind++) {
        o.attn_mask = attn_view_contiguous(mask, kind == 0 ? ATTN_BOOL : ATTN_UINT8, 2, (size_t[]){4, 4});
        o.bool_mask_ignores = false;
        expect_picture(square, &o, (const char *const[]){"1..1", ".1..", "1111", "...."});
        o.bool_mask_ignores = true;
        expect_picture(square, &o, (const char *const[]){".11.", "1.11", "....", "1111"});
    }
}
END_TEST

START_TEST(float_masks_hide_at_minus_infinity_and_only_there) {
    float narrow[] = {0, -INFINITY, -INFINITY, 0};
    double wide[] = {-1.7976931348623157e308, -1.7976931348623157e308, -INFINITY, -1.7976931348623157e308};
    struct attn_sdpa_options o = ATTN_SDPA_DEFAULTS;
    o.attn_mask = attn_view_contiguous(narrow, ATTN_FLOAT32, 1, (size_t[]){4});
    expect_picture(square, &o, (const char *const[]){"1..1", "1..1", "1..1", "1..1"});
    o.attn_mask = attn_view_contiguous(wide, ATTN_FLOAT64, 1, (size_t[]){4});
    o.key_padding_mask = o.attn_mask;
    expect_picture(square, &o, (const char *const[]){"11.1", "11.1", "11.1", "11.1"});
}
END_TEST

START_TEST(padding_and_mask_hide_together) {
    uint8_t padding[] = {1, 1, 0, 1}, mask[] = {1, 0, 1, 1};
    struct attn_sdpa_options o = ATTN_SDPA_DEFAULTS;
    o.key_padding_mask = attn_view_contiguous(padding, ATTN_BOOL, 1, (size_t[]){4});
    o.attn_mask = attn_view_contiguous(mask, ATTN_BOOL, 2, (size_t[]){1, 4});
    o.is_causal = true;
    expect_picture(square, &o, (const char *const[]){"1...", "1...", "1...", "1..1"});
}
END_TEST

static double seen_by_item_and_head(size_t n, size_t h, size_t i, size_t j) {
    (void)i;
    return j == n * 2 + h ? 1 : 0;
}

static double seen_by_head(size_t n, size_t h, size_t i, size_t j) {
    (void)n;
    (void)i;
    return j == h ? 1 : 0;
}

START_TEST(rank_3_masks_are_heads_or_items_times_heads) {
    uint8_t joined[4][2][4] = {{{0}}};
    struct attn_sdpa_options o = ATTN_SDPA_DEFAULTS;
    for (size_t row = 0; row < 4; row++)
        joined[row][0][row] = joined[row][1][row] = 1;
    o.attn_mask = attn_view_contiguous(joined, ATTN_BOOL, 3, (size_t[]){4, 2, 4});
    run_case((struct sizes){2, 2, 2, 2, 4, 2}, &o, NULL, seen_by_item_and_head);
    /* where the first axis is H it is heads, whatever N is */
    run_case((struct sizes){2, 4, 2, 2, 4, 2}, &o, NULL, seen_by_head);
}
END_TEST

START_TEST(a_mask_may_end_where_the_longest_item_does) {
    const struct sizes two = {2, 1, 1, 4, 4, 2};
    uint8_t mask[] = {0, 1};
    struct attn_sdpa_options o = ATTN_SDPA_DEFAULTS;
    o.attn_mask = attn_view_contiguous(mask, ATTN_BOOL, 1, (size_t[]){2});
    o.key_lengths = integers((int64_t[]){2, 1}, 2);
    expect_picture(two, &o, (const char *const[]){".1..", ".1..", ".1..", ".1..", "....", "....", "....", "...."});
}
END_TEST

START_TEST(masks_are_read_by_their_strides) {
    uint8_t transposed[] = {1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 0, 1, 0, 1, 0};
    struct attn_sdpa_options o = ATTN_SDPA_DEFAULTS;
    o.attn_mask =
        (struct attn_view){.data = transposed, .dtype = ATTN_BOOL, .rank = 2, .shape = {4, 4}, .stride = {1, 4}};
    expect_picture(square, &o, (const char *const[]){"1..1", ".1..", "1111", "...."});
}
END_TEST

START_TEST(the_unmasked_tail_is_seen_whatever_the_masks) {
    const struct sizes tail = {1, 1, 1, 4, 6, 2};
    struct attn_sdpa_options o = ATTN_SDPA_DEFAULTS;
    uint8_t padding[] = {0, 1, 1, 1};
    o.unmasked_tail = 2;
    o.is_causal = true;
    o.key_padding_mask = attn_view_contiguous(padding, ATTN_BOOL, 1, (size_t[]){4});
    expect_picture(tail, &o, (const char *const[]){"....11", ".1..11", ".11.11", ".11111"});
}
END_TEST

START_TEST(a_query_that_is_padding_attends_to_nothing) {
    const struct sizes items = {2, 2, 1, 4, 4, 2}, tail = {1, 1, 1, 4, 6, 2};
    uint8_t rows[] = {1, 1, 1, 0, 0, 1, 0, 1}, flat[] = {1, 0, 2, 0}, strided[] = {0, 9, 1, 9, 1, 9, 1, 9},
            sees[] = {0};
    struct attn_sdpa_options o = ATTN_SDPA_DEFAULTS;
    o.query_mask = attn_view_contiguous(rows, ATTN_BOOL, 2, (size_t[]){2, 4});
    expect_picture(items, &o, (const char *const[]){"1111", "1111", "1111", "....", "....", "1111", "....", "1111"});
    o.key_padding_mask = o.query_mask;
    o.is_causal = true;
    expect_picture(items, &o, (const char *const[]){"1...", "11..", "111.", "....", "....", ".1..", "....", ".1.1"});
    o = (struct attn_sdpa_options)ATTN_SDPA_DEFAULTS;
    o.query_mask = attn_view_contiguous(strided, ATTN_UINT8, 1, (size_t[]){4});
    o.query_mask.stride[0] = 2;
    o.bool_mask_ignores = true;
    expect_picture(square, &o, (const char *const[]){"....", "1111", "1111", "1111"});
    o.query_mask = attn_view_contiguous(flat, ATTN_UINT8, 1, (size_t[]){4});
    o.bool_mask_ignores = false;
    o.unmasked_tail = 2;
    expect_picture(tail, &o, (const char *const[]){"111111", "......", "111111", "......"});
    o.key_padding_mask = attn_view_contiguous(sees, ATTN_BOOL, 2, (size_t[]){1, 4});
    o.key_padding_mask.stride[1] = 0;
    expect_picture(tail, &o, (const char *const[]){"....11", "......", "....11", "......"});
    memset(flat, 0, sizeof flat);
    expect_picture(tail, &o, (const char *const[]){"......", "......", "......", "......"});
}
END_TEST

/* Rows 0 to 127 and every third one are padding: a whole block, and rows between others. */
enum { PADDED_ROWS = 140, PADDED_KEYS = 130 };

static bool is_padded(size_t i) {
    return i < 128 || i % 3 == 0;
}

static void fill_at_random(void *data, attn_dtype dtype, size_t count) {
    uint32_t state = 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525U + 1013904223U;
        put(data, dtype, i, (double)(state >> 8) / (double)(1U << 23) - 1);
    }
}

static struct tensors random_tensors(attn_dtype dtype) {
    struct tensors t = tensors_create((struct sizes){1, 2, 1, PADDED_ROWS, PADDED_KEYS, 5}, dtype);
    fill_at_random(t.query, dtype, 2 * PADDED_ROWS * 5);
    fill_at_random(t.key, dtype, PADDED_KEYS * 5);
    return t;
}

static void check_padded(const struct tensors *whole, const struct tensors *padded, enum way way) {
    for (size_t line = 0; line < 2 * (size_t)PADDED_ROWS; line++) {
        const size_t i = line % PADDED_ROWS;
        const double lse = get(padded->logsumexp, padded->dtype, line),
                     max = get(padded->max_score, padded->dtype, line);
        if (is_padded(i))
            ck_assert(lse == (double)-INFINITY && max == (double)-INFINITY);
        else
            expect(lse, get(whole->logsumexp, whole->dtype, line), whole->dtype, "logsumexp", i, 0);
        for (size_t j = 0; j < PADDED_KEYS; j++) {
            const size_t at = line * PADDED_KEYS + j;
            expect(get(padded->output, padded->dtype, at), is_padded(i) ? 0 : get(whole->output, whole->dtype, at),
                   whole->dtype, "output", i, j);
            if (way != HOLD_NOTHING)
                expect(get(padded->weights, padded->dtype, at),
                       is_padded(i) ? 0 : get(whole->weights, whole->dtype, at), whole->dtype, "weight", i, j);
        }
    }
}

/* What is no padding has what it has without the mask, NaN in padding or not; on one lane and on several. */
START_TEST(padding_leaves_the_other_rows_as_they_are) {
    static const struct attn_execution on_lanes = {.executor = &golden_lanes};
    const struct attn_kernels *table;
    uint8_t rows[PADDED_ROWS];
    for (size_t i = 0; i < PADDED_ROWS; i++)
        rows[i] = !is_padded(i);
    const float sink_values[] = {0.5F, -1};
    for (size_t run = 0; (table = attn_kernels_at(run / (2 * WAY_COUNT * 2))) != NULL; run++) {
        const enum way way = (enum way)(run % WAY_COUNT);
        const attn_dtype dtype = run / WAY_COUNT % 2 == 0 ? ATTN_FLOAT32 : ATTN_FLOAT64;
        const bool has_more = run / WAY_COUNT / 2 % 2 == 1;
        if (!table->is_supported())
            continue;
        struct tensors whole = random_tensors(dtype), padded = random_tensors(dtype);
        struct attn_sdpa_options o = ATTN_SDPA_DEFAULTS;
        if (has_more)
            o.sinks = attn_view_contiguous((void *)(uintptr_t)sink_values, ATTN_FLOAT32, 1, (size_t[]){2});
        o.is_causal = has_more;
        o.softcap = has_more ? 3 : 0;
        ck_assert_int_eq(compute(table, &whole, &o, way, NULL, NULL), ATTN_OK);
        o.query_mask = attn_view_contiguous(rows, ATTN_BOOL, 1, (size_t[]){PADDED_ROWS});
        ck_assert(is_padded(132) && !is_padded(131));
        put(padded.query, dtype, 132 * 5, NAN);
        ck_assert_int_eq(compute(table, &padded, &o, way, &on_lanes, NULL), ATTN_OK);
        check_padded(&whole, &padded, way);
        tensors_destroy(&whole);
        tensors_destroy(&padded);
    }
}
END_TEST

struct stages {
    float rows[ATTN_STAGE_COUNT][4 * 4];
};

static void copy_stage(void *context, const struct attn_block *block) {
    struct stages *stages = context;
    for (size_t row = 0; row < block->query_count; row++)
        memcpy(stages->rows[block->stage] + (block->query_begin + row) * 4,
               (const float *)block->rows + row * block->row_stride, 4 * sizeof(float));
}

START_TEST(padding_has_scores_and_is_masked_from_the_masked_stage_on) {
    struct tensors t = tensors_create((struct sizes){1, 1, 1, 4, 4, 1}, ATTN_FLOAT32);
    struct attn_sdpa_options o = ATTN_SDPA_DEFAULTS;
    struct attn_sdpa_result result = {.output = view4(t.output, t.dtype, 1, 1, 4, 4)};
    const struct attn_view query = view4(t.query, t.dtype, 1, 1, 4, 1), key = view4(t.key, t.dtype, 1, 1, 4, 1);
    const struct attn_view value = view4(t.value, t.dtype, 1, 1, 4, 4);
    struct stages stages = {0};
    uint8_t rows[] = {1, 1, 0, 0};
    o.query_mask = attn_view_contiguous(rows, ATTN_BOOL, 2, (size_t[]){1, 4});
    for (size_t i = 0; i < 4; i++)
        ((float *)t.query)[i] = ((float *)t.key)[i] = (float)i;
    for (int stage = 0; stage < ATTN_STAGE_COUNT; stage++)
        result.sinks[stage] = (struct attn_block_sink){copy_stage, &stages};
    ck_assert_int_eq(attn_sdpa(&query, &key, &value, &o, &result, NULL, NULL), ATTN_OK);
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < 4; j++) {
            ck_assert(stages.rows[ATTN_STAGE_RAW][i * 4 + j] == (float)(i * j));
            ck_assert(stages.rows[ATTN_STAGE_SOFTCAPPED][i * 4 + j] == (float)(i * j));
            ck_assert(stages.rows[ATTN_STAGE_MASKED][i * 4 + j] == (i < 2 ? (float)(i * j) : -INFINITY));
            ck_assert((stages.rows[ATTN_STAGE_SOFTMAX][i * 4 + j] == 0) == (i >= 2));
            ck_assert((((float *)t.output)[i * 4 + j] == 0) == (i >= 2));
        }
    tensors_destroy(&t);
}
END_TEST

/* Garbage in keys and values that nobody may see: key 2 for all, by a mask. */
static void spoil_key_2(struct tensors *t) {
    for (size_t d = 0; d < t->sizes.dim; d++)
        put(t->key, t->dtype, 2 * t->sizes.dim + d, d % 2 == 0 ? NAN : INFINITY);
    for (size_t d = 0; d < t->sizes.keys; d++)
        put(t->value, t->dtype, 2 * t->sizes.keys + d, d % 2 == 0 ? NAN : -INFINITY);
}

START_TEST(nothing_of_a_hidden_key_gets_through) {
    uint8_t mask[] = {1, 1, 0, 1};
    float bias[] = {0, 0, -INFINITY, 0};
    struct attn_sdpa_options o = ATTN_SDPA_DEFAULTS;
    picture = (const char *const[]){"11.1", "11.1", "11.1", "11.1"};
    o.attn_mask = attn_view_contiguous(mask, ATTN_BOOL, 1, (size_t[]){4});
    run_case(square, &o, spoil_key_2, drawn);
    o.attn_mask = attn_view_contiguous(bias, ATTN_FLOAT32, 1, (size_t[]){4});
    run_case(square, &o, spoil_key_2, drawn);
    o.softcap = 3;
    run_case(square, &o, spoil_key_2, drawn);
}
END_TEST

/* Scores 0, 0, -10000, 0: key 2 takes part with a weight of exactly 0, and its value is not finite. */
static void sink_key_2(struct tensors *t) {
    for (size_t i = 0; i < t->sizes.queries; i++)
        put(t->query, t->dtype, i * t->sizes.dim, 1);
    put(t->key, t->dtype, 2 * t->sizes.dim, -10000 * sqrt((double)t->sizes.dim));
    for (size_t d = 0; d < t->sizes.keys; d++)
        put(t->value, t->dtype, 2 * t->sizes.keys + d, INFINITY);
}

START_TEST(a_value_whose_weight_is_exactly_0_is_left_out) {
    picture = (const char *const[]){"11.1", "11.1", "11.1", "11.1"};
    run_case(square, NULL, sink_key_2, drawn);
}
END_TEST

/* Query 1 has a NaN, query 3 an infinity that key 1 turns into +Infinity. */
static void spoil_queries(struct tensors *t) {
    put(t->query, t->dtype, 1 * t->sizes.dim, NAN);
    put(t->query, t->dtype, 3 * t->sizes.dim, 1);
    put(t->key, t->dtype, 1 * t->sizes.dim, INFINITY);
    put(t->query, t->dtype, 0, 1);
}

static double rows_1_to_3_are_nan(size_t n, size_t h, size_t i, size_t j) {
    (void)n;
    (void)h;
    return i == 0 ? (double)(j == 0) : (double)NAN;
}

START_TEST(a_nan_or_infinite_score_makes_its_whole_row_nan) {
    struct attn_sdpa_options o = ATTN_SDPA_DEFAULTS;
    o.is_causal = true; /* key 1 is hidden from query 0; 0 * Infinity is a NaN for query 2 */
    run_case(square, &o, spoil_queries, rows_1_to_3_are_nan);
}
END_TEST

static double log_ratios(size_t n, size_t h, size_t i, size_t j) {
    (void)n;
    (void)h;
    (void)i;
    return ((double)j + 1) / 10;
}

START_TEST(float_masks_are_added_to_scores) {
    double bias[] = {0, log(2), log(3), log(4)};
    struct attn_sdpa_options o = ATTN_SDPA_DEFAULTS;
    o.attn_mask = attn_view_contiguous(bias, ATTN_FLOAT64, 1, (size_t[]){4});
    run_case(square, &o, NULL, log_ratios);
}
END_TEST

static double halves_by_distance(size_t n, size_t h, size_t i, size_t j) {
    (void)n;
    double total = 0, base = h == 0 ? 2 : 4;
    for (size_t k = 0; k < 4; k++)
        total += pow(base, -fabs((double)i - (double)k));
    return pow(base, -fabs((double)i - (double)j)) / total;
}

START_TEST(alibi_falls_with_the_distance_by_each_heads_slope) {
    double slopes[] = {log(2), log(4)};
    struct attn_sdpa_options o = ATTN_SDPA_DEFAULTS;
    o.alibi_slopes = attn_view_contiguous(slopes, ATTN_FLOAT64, 1, (size_t[]){2});
    run_case((struct sizes){1, 2, 1, 4, 4, 2}, &o, NULL, halves_by_distance);
}
END_TEST

static double beside_sinks(size_t n, size_t h, size_t i, size_t j) {
    (void)n;
    double mass = h == 0 ? 1 : 4;
    return j <= i ? 1 / (mass + (double)i + 1) : 0;
}

START_TEST(sinks_take_their_share_of_each_row) {
    double sinks[] = {0, log(4)};
    struct attn_sdpa_options o = ATTN_SDPA_DEFAULTS;
    o.is_causal = true;
    o.sinks = attn_view_contiguous(sinks, ATTN_FLOAT64, 1, (size_t[]){2});
    run_case((struct sizes){1, 2, 1, 4, 4, 2}, &o, NULL, beside_sinks);
}
END_TEST

/* Scores of key j: j, before scale and cap. */
static void count_up(struct tensors *t) {
    for (size_t i = 0; i < t->sizes.queries; i++)
        put(t->query, t->dtype, i * t->sizes.dim, 1);
    for (size_t j = 0; j < t->sizes.keys; j++)
        put(t->key, t->dtype, j * t->sizes.dim, (double)j);
}

static double scaled_by_log_2(size_t n, size_t h, size_t i, size_t j) {
    (void)n;
    (void)h;
    (void)i;
    return pow(2, (double)j) / 15;
}

static double capped_at_2(size_t n, size_t h, size_t i, size_t j) {
    (void)n;
    (void)h;
    (void)i;
    double total = 0;
    for (size_t k = 0; k < 4; k++)
        total += exp(2 * tanh((double)k / 2));
    return exp(2 * tanh((double)j / 2)) / total;
}

START_TEST(scale_and_softcap_shape_the_scores) {
    struct attn_sdpa_options o = ATTN_SDPA_DEFAULTS;
    o.has_scale = true;
    o.scale = log(2);
    run_case(square, &o, count_up, scaled_by_log_2);
    o.scale = 1;
    o.softcap = 2;
    run_case(square, &o, count_up, capped_at_2);
}
END_TEST

/* Key head g attends to key g alone. */
static void mark_key_heads(struct tensors *t) {
    const struct sizes *s = &t->sizes;
    for (size_t i = 0; i < s->batch * s->heads * s->queries; i++)
        put(t->query, t->dtype, i * s->dim, 1000);
    for (size_t g = 0; g < s->kv_heads; g++)
        put(t->key, t->dtype, (g * s->keys + g) * s->dim, 1);
}

static double key_of_group(size_t n, size_t h, size_t i, size_t j) {
    (void)n;
    (void)i;
    return j == h / 3 ? 1 : 0;
}

START_TEST(grouped_heads_read_the_key_head_of_their_group) {
    run_case((struct sizes){1, 6, 2, 3, 5, 2}, NULL, mark_key_heads, key_of_group);
}
END_TEST

/* Scores that grow along many keys: every step of keys rescales what came before. */
static double geometric(size_t n, size_t h, size_t i, size_t j) {
    (void)n;
    (void)h;
    (void)i;
    const double ratio = exp(-0.25);
    return pow(ratio, MOST_KEYS - 1 - (double)j) * (1 - ratio) / (1 - pow(ratio, MOST_KEYS));
}

START_TEST(long_rows_in_steps_of_keys_come_out_as_whole_rows) {
    struct attn_sdpa_options o = ATTN_SDPA_DEFAULTS;
    o.has_scale = true;
    o.scale = 0.25;
    run_case((struct sizes){1, 1, 1, 3, MOST_KEYS, 1}, &o, count_up, geometric);
}
END_TEST

static double causal_mean(size_t n, size_t h, size_t i, size_t j) {
    (void)n;
    (void)h;
    return j <= i ? 1 / ((double)i + 1) : 0;
}

START_TEST(many_blocks_of_queries_and_keys_fit_together) {
    struct attn_sdpa_options o = ATTN_SDPA_DEFAULTS;
    o.is_causal = true;
    run_case((struct sizes){1, 1, 1, 601, 601, 3}, &o, NULL, causal_mean);
}
END_TEST

START_TEST(logsumexp_and_max_score_are_of_the_masked_scores) {
    struct attn_sdpa_options o = ATTN_SDPA_DEFAULTS;
    o.is_causal = true;
    o.has_scale = true;
    o.scale = 1;
    o.causal_alignment = ATTN_CAUSAL_BOTTOM_RIGHT;
    for (int way = 0; way < WAY_COUNT; way++) {
        struct tensors t = tensors_create((struct sizes){1, 1, 1, 4, 3, 2}, ATTN_FLOAT64);
        count_up(&t);
        ck_assert_int_eq(compute(attn_kernels_picked(), &t, &o, (enum way)way, NULL, NULL), ATTN_OK);
        ck_assert(get(t.max_score, t.dtype, 0) == (double)-INFINITY);
        ck_assert(get(t.logsumexp, t.dtype, 0) == (double)-INFINITY);
        ck_assert(get(t.max_score, t.dtype, 3) == 2);
        expect(get(t.logsumexp, t.dtype, 3), log(1 + exp(1) + exp(2)), t.dtype, "logsumexp", 3, 0);
        expect(get(t.logsumexp, t.dtype, 1), 0, t.dtype, "logsumexp", 1, 0);
        tensors_destroy(&t);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("scaled dot-product attention");
    TCase *tests = tcase_create("what is attended");
    tcase_add_test(tests, without_masks_all_keys_are_seen);
    tcase_add_test(tests, a_causal_query_sees_itself_and_what_was_before);
    tcase_add_test(tests, causal_alignment_moves_the_diagonal);
    tcase_add_test(tests, windows_bound_both_sides_with_and_without_causal);
    tcase_add_test(tests, key_lengths_cut_padding_and_move_the_causal_offset);
    tcase_add_test(tests, a_prefix_is_seen_by_all_queries);
    tcase_add_test(tests, segments_keep_to_themselves);
    tcase_add_test(tests, boolean_masks_in_both_conventions);
    tcase_add_test(tests, float_masks_hide_at_minus_infinity_and_only_there);
    tcase_add_test(tests, padding_and_mask_hide_together);
    tcase_add_test(tests, rank_3_masks_are_heads_or_items_times_heads);
    tcase_add_test(tests, a_mask_may_end_where_the_longest_item_does);
    tcase_add_test(tests, masks_are_read_by_their_strides);
    tcase_add_test(tests, the_unmasked_tail_is_seen_whatever_the_masks);
    tcase_add_test(tests, a_query_that_is_padding_attends_to_nothing);
    tcase_add_test(tests, padding_leaves_the_other_rows_as_they_are);
    tcase_add_test(tests, padding_has_scores_and_is_masked_from_the_masked_stage_on);
    tcase_add_test(tests, nothing_of_a_hidden_key_gets_through);
    tcase_add_test(tests, a_value_whose_weight_is_exactly_0_is_left_out);
    tcase_add_test(tests, a_nan_or_infinite_score_makes_its_whole_row_nan);
    tcase_add_test(tests, float_masks_are_added_to_scores);
    tcase_add_test(tests, alibi_falls_with_the_distance_by_each_heads_slope);
    tcase_add_test(tests, sinks_take_their_share_of_each_row);
    tcase_add_test(tests, scale_and_softcap_shape_the_scores);
    tcase_add_test(tests, grouped_heads_read_the_key_head_of_their_group);
    tcase_add_test(tests, long_rows_in_steps_of_keys_come_out_as_whole_rows);
    tcase_add_test(tests, many_blocks_of_queries_and_keys_fit_together);
    tcase_add_test(tests, logsumexp_and_max_score_are_of_the_masked_scores);
    tcase_set_timeout(tests, 60);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
