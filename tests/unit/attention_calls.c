/* How attention is called: errors, stages, order of blocks, cancellation, threads and cost. */
#include "lib/attention/projection.h"
#include "tests/unit/run_suite.h"
#include <attn/sdpa.h>

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 2, H = 4, HKV = 2, L = 3, T = 5, D = 2, DV = 3 };

/* A small call whose parts a test may spoil. */
struct call {
    float query_data[N * H * L * D], key_data[N * HKV * T * D], value_data[N * HKV * T * DV];
    float output_data[N * H * L * DV], weights_data[N * H * L * T];
    struct attn_view query, key, value;
    struct attn_sdpa_options options;
    struct attn_sdpa_result result;
    int64_t integers[N * T];
    uint8_t bytes[N * H * L * T];
};

static void fill(float *data, size_t count) {
    for (size_t i = 0; i < count; i++)
        data[i] = (float)((i * 7 + 3) % 11) / 5 - 1;
}

static void call_init(struct call *c) {
    static const struct attn_sdpa_options defaults = ATTN_SDPA_DEFAULTS;
    *c = (struct call){.options = defaults};
    fill(c->query_data, N * H * L * D);
    fill(c->key_data, N * HKV * T * D);
    fill(c->value_data, N * HKV * T * DV);
    c->query = attn_view_contiguous(c->query_data, ATTN_FLOAT32, 4, (size_t[]){N, H, L, D});
    c->key = attn_view_contiguous(c->key_data, ATTN_FLOAT32, 4, (size_t[]){N, HKV, T, D});
    c->value = attn_view_contiguous(c->value_data, ATTN_FLOAT32, 4, (size_t[]){N, HKV, T, DV});
    c->result.output = attn_view_contiguous(c->output_data, ATTN_FLOAT32, 4, (size_t[]){N, H, L, DV});
    c->result.weights = attn_view_contiguous(c->weights_data, ATTN_FLOAT32, 4, (size_t[]){N, H, L, T});
}

static attn_status run(struct call *c, struct attn_error *error) {
    struct attn_sdpa_cost cost;
    attn_status status = attn_sdpa_check(&c->query, &c->key, &c->value, &c->options, &c->result, &cost, error);
    attn_status again = attn_sdpa(&c->query, &c->key, &c->value, &c->options, &c->result, NULL, error);
    ck_assert_msg(status == again, "the check says %s, the call %s", attn_status_name(status), attn_status_name(again));
    return again;
}

static struct attn_view bytes_view(struct call *c, attn_dtype dtype, int rank, const size_t *shape) {
    return attn_view_contiguous(c->bytes, dtype, rank, shape);
}

static struct attn_view integers_view(struct call *c, size_t count) {
    return attn_view_contiguous(c->integers, ATTN_INT64, 1, &count);
}

static void query_mask_shape(struct call *c) {
    c->options.query_mask = bytes_view(c, ATTN_BOOL, 1, (size_t[]){L});
}
static void query_mask_dtype(struct call *c) {
    c->options.query_mask = attn_view_contiguous(c->integers, ATTN_INT64, 2, (size_t[]){N, L});
}
static void head_dim(struct call *c) {
    c->key.shape[3] = 1;
}
static void batch(struct call *c) {
    c->value.shape[0] = 1;
}
static void value_length(struct call *c) {
    c->value.shape[2] = T - 1;
}
static void empty_axis(struct call *c) {
    c->query.shape[2] = 0;
}
static void rank(struct call *c) {
    c->query.rank = 3;
}
static void kv_heads(struct call *c) {
    c->key = attn_view_contiguous(c->key_data, ATTN_FLOAT32, 4, (size_t[]){N, 3, 3, D});
    c->value = attn_view_contiguous(c->value_data, ATTN_FLOAT32, 4, (size_t[]){N, 3, 3, DV});
}
static void key_dtype(struct call *c) {
    c->key.dtype = ATTN_FLOAT64;
}
static void half_query(struct call *c) {
    c->query.dtype = ATTN_FLOAT16;
}
static void scattered(struct call *c) {
    c->query.stride[3] = 2;
}
static void mask_shape(struct call *c) {
    c->options.attn_mask = bytes_view(c, ATTN_BOOL, 2, (size_t[]){L, T - 1});
}
static void mask_dtype(struct call *c) {
    c->options.attn_mask = bytes_view(c, ATTN_INT32, 1, (size_t[]){T});
}
static void mask_rank(struct call *c) {
    c->options.attn_mask = bytes_view(c, ATTN_BOOL, 5, (size_t[]){1, 1, 1, 1, T});
}
static void mask_too_short(struct call *c) {
    c->integers[0] = 2;
    c->integers[1] = 4;
    c->options.key_lengths = integers_view(c, N);
    c->options.attn_mask = bytes_view(c, ATTN_BOOL, 1, (size_t[]){3});
}
static void padding_shape(struct call *c) {
    c->options.key_padding_mask = bytes_view(c, ATTN_BOOL, 1, (size_t[]){T});
}
static void lengths_shape(struct call *c) {
    c->options.key_lengths = integers_view(c, N + 1);
}
static void lengths_range(struct call *c) {
    c->integers[1] = T + 1;
    c->options.key_lengths = integers_view(c, N);
}
static void lengths_and_past(struct call *c) {
    c->options.key_lengths = integers_view(c, N);
    c->options.past_length = 1;
}
static void past_too_long(struct call *c) {
    c->options.past_length = T + 1;
}
static void negative_prefix(struct call *c) {
    c->integers[0] = -1;
    c->options.prefix_length = integers_view(c, N);
}
static void segments(struct call *c) {
    c->options.segment_ids = attn_view_contiguous(c->integers, ATTN_INT64, 2, (size_t[]){N, T});
}
static void slopes(struct call *c) {
    c->options.alibi_slopes = attn_view_contiguous(c->query_data, ATTN_FLOAT32, 1, (size_t[]){H - 1});
}
static void sinks_dtype(struct call *c) {
    c->options.sinks = integers_view(c, H);
}
static void scale(struct call *c) {
    c->options.has_scale = true;
    c->options.scale = INFINITY;
}
static void softcap(struct call *c) {
    c->options.softcap = -1;
}
static void window(struct call *c) {
    c->options.window_right = -2;
}
static void weights_shape(struct call *c) {
    c->result.weights.shape[3] = T + 1;
}

static const struct {
    const char *name;
    void (*spoil)(struct call *c);
    attn_status status;
    const char *field, *message;
} failures[] = {
    {"head_dim", head_dim, ATTN_ESHAPE, "key", "expected shape (2, 2, 5, 2), found (2, 2, 5, 1)"},
    {"batch", batch, ATTN_ESHAPE, "value", "expected shape (2, 2, 5, 3), found (1, 2, 5, 3)"},
    {"value_length", value_length, ATTN_ESHAPE, "value", "expected shape (2, 2, 5, 3), found (2, 2, 4, 3)"},
    {"empty_axis", empty_axis, ATTN_ESHAPE, "query", "expected shape with every axis at least 1, found (2, 4, 0, 2)"},
    {"rank", rank, ATTN_ESHAPE, "query", "expected shape (N, H, L, D), found (2, 4, 3)"},
    {"kv_heads", kv_heads, ATTN_ESHAPE, "num_kv_heads", "expected a divisor of the 4 query heads, found 3"},
    {"key_dtype", key_dtype, ATTN_EDTYPE, "key", "expected float32 as in the query, found float64"},
    {"half_query", half_query, ATTN_EDTYPE, "query", "expected float32 or float64, found float16"},
    {"scattered", scattered, ATTN_ESHAPE, "query", "expected contiguous columns, found a last stride of 2"},
    {"mask_shape", mask_shape, ATTN_ESHAPE, "attn_mask",
     "expected a shape that broadcasts to (2, 4, 3, 5), found (3, 4)"},
    {"mask_dtype", mask_dtype, ATTN_EDTYPE, "attn_mask", "expected bool, uint8, float32 or float64, found int32"},
    {"mask_rank", mask_rank, ATTN_ESHAPE, "attn_mask",
     "expected shape of 1 to 4 axes that broadcasts to (N, H, L, T), found (1, 1, 1, 1, 5)"},
    {"mask_too_short", mask_too_short, ATTN_ESHAPE, "attn_mask",
     "expected a last axis that reaches the largest of key_lengths, 4, found 3"},
    {"query_mask_shape", query_mask_shape, ATTN_ESHAPE, "query_mask", "expected shape (2, 3), found (3)"},
    {"query_mask_dtype", query_mask_dtype, ATTN_EDTYPE, "query_mask", "expected bool or uint8, found int64"},
    {"padding_shape", padding_shape, ATTN_ESHAPE, "key_padding_mask", "expected shape (2, 5), found (5)"},
    {"lengths_shape", lengths_shape, ATTN_ESHAPE, "key_lengths", "expected shape (2), found (3)"},
    {"lengths_range", lengths_range, ATTN_ERANGE, "key_lengths/1", "expected an integer from 0 to 5, found 6"},
    {"lengths_and_past", lengths_and_past, ATTN_ECONFLICT, "key_lengths",
     "key_lengths and past_key do not go together"},
    {"past_too_long", past_too_long, ATTN_ESHAPE, "past_key", "expected at most the 5 keys, found 6 past ones"},
    {"negative_prefix", negative_prefix, ATTN_ERANGE, "prefix_length/0", "expected an integer from 0 to 5, found -1"},
    {"segments", segments, ATTN_ESHAPE, "segment_ids", "expected as many new keys as queries, 3, found 5"},
    {"slopes", slopes, ATTN_ESHAPE, "alibi_slopes", "expected shape (4), found (3)"},
    {"sinks_dtype", sinks_dtype, ATTN_EDTYPE, "sinks", "expected a floating dtype, found int64"},
    {"scale", scale, ATTN_ERANGE, "scale", "expected a finite number, found inf"},
    {"softcap", softcap, ATTN_ERANGE, "softcap", "expected a finite number of at least 0, found -1"},
    {"window", window, ATTN_ERANGE, "window/right", "expected at least -1, found -2"},
    {"weights_shape", weights_shape, ATTN_ESHAPE, "weights", "expected shape (2, 4, 3, 5), found (2, 4, 3, 6)"},
};

START_TEST(a_wrong_call_says_what_was_expected_and_found) {
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        struct call c;
        struct attn_error error = {0};
        call_init(&c);
        failures[i].spoil(&c);
        ck_assert_msg(run(&c, &error) == failures[i].status, "%s: %s", failures[i].name,
                      attn_status_name(error.status));
        ck_assert_msg(strcmp(error.field, failures[i].field) == 0, "%s: %s", failures[i].name, error.field);
        ck_assert_msg(strcmp(error.message, failures[i].message) == 0, "%s: %s", failures[i].name, error.message);
    }
}
END_TEST

/* Remembers blocks in the order in which they come. */
struct record {
    size_t count;
    struct {
        attn_stage stage;
        size_t batch, head;
        float first_row[T];
    } blocks[128];
};

static void remember(void *context, const struct attn_block *block) {
    struct record *r = context;
    ck_assert_uint_lt(r->count, 128);
    ck_assert_uint_eq(block->query_count, L);
    ck_assert_uint_eq(block->key_count, T);
    ck_assert_int_eq(block->dtype, ATTN_FLOAT32);
    r->blocks[r->count].stage = block->stage;
    r->blocks[r->count].batch = block->batch;
    r->blocks[r->count].head = block->head;
    memcpy(r->blocks[r->count].first_row, block->rows, sizeof r->blocks[0].first_row);
    r->count++;
}

static double raw_score(const struct call *c, size_t n, size_t h, size_t j) {
    double sum = 0;
    for (size_t d = 0; d < D; d++)
        sum += (double)c->query_data[((n * H + h) * L) * D + d] *
               (double)c->key_data[((n * HKV + h / (H / HKV)) * T + j) * D + d];
    return sum / sqrt(D);
}

/* The matrices of query 0, which sees keys 0 to 2 with a cap of 2. */
static double staged(const struct call *c, attn_stage stage, size_t n, size_t h, size_t j) {
    double raw = raw_score(c, n, h, j), capped = 2 * tanh(raw / 2), total = 0;
    for (size_t k = 0; k < 3; k++)
        total += exp(2 * tanh(raw_score(c, n, h, k) / 2));
    const double by_stage[] = {raw, capped, j < 3 ? capped : -INFINITY, j < 3 ? exp(capped) / total : 0};
    return by_stage[stage];
}

START_TEST(every_stage_of_every_head_comes_in_order) {
    static const attn_stage stages[] = {ATTN_STAGE_RAW, ATTN_STAGE_SOFTCAPPED, ATTN_STAGE_MASKED, ATTN_STAGE_SOFTMAX};
    struct call c;
    struct record r = {0};
    call_init(&c);
    c.options.is_causal = true;
    c.options.softcap = 2;
    c.options.causal_alignment = ATTN_CAUSAL_BOTTOM_RIGHT;
    for (size_t s = 0; s < 4; s++)
        c.result.sinks[s] = (struct attn_block_sink){remember, &r};
    ck_assert_int_eq(attn_sdpa(&c.query, &c.key, &c.value, &c.options, &c.result, NULL, NULL), ATTN_OK);
    ck_assert_uint_eq(r.count, N * H * 4);
    for (size_t i = 0; i < r.count; i++) {
        size_t n = i / 4 / H, h = i / 4 % H;
        ck_assert_uint_eq(r.blocks[i].stage, stages[i % 4]);
        ck_assert_uint_eq(r.blocks[i].batch, n);
        ck_assert_uint_eq(r.blocks[i].head, h);
        for (size_t j = 0; j < T; j++) {
            double wanted = staged(&c, stages[i % 4], n, h, j), found = (double)r.blocks[i].first_row[j];
            ck_assert_msg(found == wanted || fabs(found - wanted) < 1e-6, "stage %zu, key %zu: %g, not %g", i % 4, j,
                          found, wanted);
        }
    }
}
END_TEST

/* An executor that runs its tasks backwards, on changing lanes. */
static void run_backwards(void *self, size_t task_count, attn_task task, void *argument) {
    size_t *runs = self;
    ++*runs;
    for (size_t i = task_count; i-- > 0;)
        task(argument, i, i % 3);
}

START_TEST(an_executor_changes_nothing_but_the_order) {
    struct call alone, lent;
    size_t runs = 0;
    const struct attn_executor executor = {.width = 3, .run = run_backwards, .self = &runs};
    const struct attn_execution execution = {.executor = &executor};
    call_init(&alone);
    call_init(&lent);
    ck_assert_int_eq(attn_sdpa(&alone.query, &alone.key, &alone.value, NULL, &alone.result, NULL, NULL), ATTN_OK);
    ck_assert_int_eq(attn_sdpa(&lent.query, &lent.key, &lent.value, NULL, &lent.result, &execution, NULL), ATTN_OK);
    ck_assert_uint_eq(runs, 1);
    ck_assert(memcmp(alone.output_data, lent.output_data, sizeof alone.output_data) == 0);
    ck_assert(memcmp(alone.weights_data, lent.weights_data, sizeof alone.weights_data) == 0);
}
END_TEST

static bool third_time(void *context) {
    size_t *times = context;
    return ++*times >= 3;
}

START_TEST(a_cancelled_call_stops_between_blocks) {
    struct call c;
    size_t times = 0;
    struct attn_error error;
    const struct attn_execution execution = {.is_cancelled = third_time, .cancel_context = &times};
    call_init(&c);
    ck_assert_int_eq(attn_sdpa(&c.query, &c.key, &c.value, NULL, &c.result, &execution, &error), ATTN_ECANCELLED);
    ck_assert_uint_eq(times, 3);
    ck_assert_int_eq(error.status, ATTN_ECANCELLED);
}
END_TEST

START_TEST(the_cost_counts_what_is_not_skipped) {
    struct call c;
    struct attn_sdpa_cost cost;
    call_init(&c);
    ck_assert_int_eq(attn_sdpa_check(&c.query, &c.key, &c.value, NULL, &c.result, &cost, NULL), ATTN_OK);
    ck_assert(cost.exponentials == N * H * L * T);
    ck_assert(cost.flops == 2.0 * N * H * L * T * (D + DV));
    c.options.is_causal = true;
    ck_assert_int_eq(attn_sdpa_check(&c.query, &c.key, &c.value, &c.options, &c.result, &cost, NULL), ATTN_OK);
    ck_assert(cost.exponentials == N * H * (1 + 2 + 3));
    c.result.output.data = NULL;
    ck_assert_int_eq(attn_sdpa_check(&c.query, &c.key, &c.value, &c.options, &c.result, &cost, NULL), ATTN_OK);
    ck_assert(cost.flops == 2.0 * N * H * (1 + 2 + 3) * D);
}
END_TEST

START_TEST(scratch_without_weights_does_not_grow_with_the_queries) {
    struct attn_sdpa_cost cost[2];
    static float nothing;
    for (size_t i = 0; i < 2; i++) {
        const size_t tokens = i == 0 ? 4096 : 16384;
        struct attn_view view = attn_view_contiguous(&nothing, ATTN_FLOAT32, 4, (size_t[]){1, 1, tokens, 64});
        const struct attn_sdpa_result result = {.output = view};
        ck_assert_int_eq(attn_sdpa_check(&view, &view, &view, NULL, &result, &cost[i], NULL), ATTN_OK);
    }
    ck_assert_uint_eq(cost[0].scratch_bytes_per_lane, cost[1].scratch_bytes_per_lane);
    ck_assert_uint_lt(cost[0].scratch_bytes_per_lane, 1 << 20);
}
END_TEST

/* (N, L, E) tokens with gaps between items, projected. */
static void check_projection(const struct attn_execution *execution, bool has_bias) {
    enum { ITEMS = 3, ROWS = 150, IN = 5, OUT = 300, GAP = 7 };
    double *input = calloc(ITEMS * (ROWS * IN + GAP), sizeof *input);
    double *output = calloc(ITEMS * ROWS * OUT, sizeof *output), weight[OUT * IN], bias[OUT];
    ck_assert(input != NULL && output != NULL);
    for (size_t i = 0; i < ITEMS * (ROWS * IN + GAP); i++)
        input[i] = (double)(i % 13) - 6;
    for (size_t i = 0; i < OUT * IN; i++)
        weight[i] = (double)(i % 7) - 3;
    for (size_t i = 0; i < OUT; i++)
        bias[i] = (double)i;
    struct attn_view in = attn_view_contiguous(input, ATTN_FLOAT64, 3, (size_t[]){ITEMS, ROWS, IN});
    in.stride[0] += GAP;
    const struct attn_view out = attn_view_contiguous(output, ATTN_FLOAT64, 3, (size_t[]){ITEMS, ROWS, OUT});
    const struct attn_view w = attn_view_contiguous(weight, ATTN_FLOAT64, 2, (size_t[]){OUT, IN});
    const struct attn_view b = attn_view_contiguous(bias, ATTN_FLOAT64, 1, (size_t[]){OUT}), none = {0};
    ck_assert_int_eq(attn_project(&in, &w, has_bias ? &b : &none, &out, execution), ATTN_OK);
    for (size_t n = 0; n < ITEMS; n++)
        for (size_t row = 0; row < ROWS; row++)
            for (size_t o = 0; o < OUT; o++) {
                double wanted = has_bias ? (double)o : 0;
                for (size_t e = 0; e < IN; e++)
                    wanted += input[n * (ROWS * IN + GAP) + row * IN + e] * weight[o * IN + e];
                ck_assert(output[(n * ROWS + row) * OUT + o] == wanted);
            }
    free(input);
    free(output);
}

START_TEST(projections_are_linear_layers_over_any_lanes) {
    size_t runs = 0;
    const struct attn_executor executor = {.width = 3, .run = run_backwards, .self = &runs};
    const struct attn_execution execution = {.executor = &executor};
    check_projection(NULL, true);
    check_projection(NULL, false);
    check_projection(&execution, true);
    ck_assert_uint_eq(runs, 1);
}
END_TEST

START_TEST(projections_refuse_what_does_not_fit_and_can_be_cancelled) {
    float data[64] = {0};
    const struct attn_view x = attn_view_contiguous(data, ATTN_FLOAT32, 3, (size_t[]){1, 2, 3});
    const struct attn_view narrow = attn_view_contiguous(data, ATTN_FLOAT32, 2, (size_t[]){4, 2});
    const struct attn_view weight = attn_view_contiguous(data, ATTN_FLOAT32, 2, (size_t[]){4, 3});
    const struct attn_view wide = attn_view_contiguous(data, ATTN_FLOAT64, 2, (size_t[]){4, 3});
    const struct attn_view y = attn_view_contiguous(data + 32, ATTN_FLOAT32, 3, (size_t[]){1, 2, 4});
    size_t times = 2;
    const struct attn_execution execution = {.is_cancelled = third_time, .cancel_context = &times};
    ck_assert_int_eq(attn_project(&x, &narrow, NULL, &y, NULL), ATTN_ESHAPE);
    ck_assert_int_eq(attn_project(&x, &wide, NULL, &y, NULL), ATTN_EDTYPE);
    ck_assert_int_eq(attn_project(&x, &weight, NULL, &y, &execution), ATTN_ECANCELLED);
    ck_assert_int_eq(attn_project(&x, &weight, NULL, &y, NULL), ATTN_OK);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("calls of attention");
    TCase *tests = tcase_create("calls");
    tcase_add_test(tests, a_wrong_call_says_what_was_expected_and_found);
    tcase_add_test(tests, every_stage_of_every_head_comes_in_order);
    tcase_add_test(tests, an_executor_changes_nothing_but_the_order);
    tcase_add_test(tests, a_cancelled_call_stops_between_blocks);
    tcase_add_test(tests, the_cost_counts_what_is_not_skipped);
    tcase_add_test(tests, scratch_without_weights_does_not_grow_with_the_queries);
    tcase_add_test(tests, projections_are_linear_layers_over_any_lanes);
    tcase_add_test(tests, projections_refuse_what_does_not_fit_and_can_be_cancelled);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
