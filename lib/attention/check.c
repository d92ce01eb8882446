/* From what a caller gave to a struct sdpa_problem: every check of attn_sdpa, and the sizes of its blocks. */
#include "lib/attention/problem.h"
#include "lib/tensor/error.h"
#include "lib/tensor/shape.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

static attn_status fail_shape(struct attn_error *error, const char *field, const char *expected,
                              const struct attn_view *found) {
    char text[ATTN_SHAPE_TEXT];
    return attn_fail(error, ATTN_ESHAPE, field, "expected shape %s, found %s", expected,
                     attn_shape_text(text, found->rank, found->shape));
}

static attn_status check_shape(const struct attn_view *view, int rank, const size_t *shape, const char *field,
                               struct attn_error *error) {
    bool same = view->rank == rank;
    for (int axis = 0; axis < rank && same; axis++)
        same = view->shape[axis] == shape[axis];
    if (same)
        return ATTN_OK;
    char expected[ATTN_SHAPE_TEXT];
    return fail_shape(error, field, attn_shape_text(expected, rank, shape), view);
}

/* An input or result with contiguous columns, of the given dtype, without empty axes. */
static attn_status check_tensor(const struct attn_view *view, attn_dtype dtype, const char *field,
                                struct attn_error *error) {
    if (view->data == NULL)
        return attn_fail(error, ATTN_ECONFLICT, field, "expected a tensor, found none");
    if (view->rank != 4)
        return fail_shape(error, field, "(N, H, L, D)", view);
    for (int axis = 0; axis < 4; axis++)
        if (view->shape[axis] == 0)
            return fail_shape(error, field, "with every axis at least 1", view);
    if (!attn_shape_fits_memory(view->shape, 4))
        return fail_shape(error, field, "of a size that fits memory", view);
    if (view->dtype != dtype)
        return attn_fail(error, ATTN_EDTYPE, field, "expected %s as in the query, found %s", attn_dtype_name(dtype),
                         attn_dtype_name(view->dtype));
    if (view->shape[3] != 1 && view->stride[3] != 1)
        return attn_fail(error, ATTN_ESHAPE, field, "expected contiguous columns, found a last stride of %td",
                         view->stride[3]);
    return ATTN_OK;
}

static attn_status check_inputs(struct sdpa_problem *p, struct attn_error *error) {
    attn_status status;
    if (p->query.data != NULL && p->query.dtype != ATTN_FLOAT32 && p->query.dtype != ATTN_FLOAT64)
        return attn_fail(error, ATTN_EDTYPE, "query", "expected float32 or float64, found %s",
                         attn_dtype_name(p->query.dtype));
    if ((status = check_tensor(&p->query, p->query.dtype, "query", error)) != ATTN_OK ||
        (status = check_tensor(&p->key, p->query.dtype, "key", error)) != ATTN_OK ||
        (status = check_tensor(&p->value, p->query.dtype, "value", error)) != ATTN_OK)
        return status;
    const size_t key_shape[] = {p->query.shape[0], p->key.shape[1], p->key.shape[2], p->query.shape[3]};
    const size_t value_shape[] = {p->query.shape[0], p->key.shape[1], p->key.shape[2], p->value.shape[3]};
    if ((status = check_shape(&p->key, 4, key_shape, "key", error)) != ATTN_OK ||
        (status = check_shape(&p->value, 4, value_shape, "value", error)) != ATTN_OK)
        return status;
    if (p->query.shape[1] % p->key.shape[1] != 0)
        return attn_fail(error, ATTN_ESHAPE, "num_kv_heads", "expected a divisor of the %zu query heads, found %zu",
                         p->query.shape[1], p->key.shape[1]);
    return ATTN_OK;
}

static void take_sizes(struct sdpa_problem *p) {
    p->dtype = p->query.dtype;
    p->element_bytes = attn_dtype_bytes(p->dtype);
    p->batch = p->query.shape[0];
    p->heads = p->query.shape[1];
    p->query_length = p->query.shape[2];
    p->head_dim = p->query.shape[3];
    p->kv_heads = p->key.shape[1];
    p->key_length = p->key.shape[2];
    p->value_dim = p->value.shape[3];
    p->masked_length = p->key_length - p->options.unmasked_tail;
}

static attn_status check_result(const struct sdpa_problem *p, struct attn_error *error) {
    const size_t output[] = {p->batch, p->heads, p->query_length, p->value_dim};
    const size_t weights[] = {p->batch, p->heads, p->query_length, p->key_length};
    const struct {
        const struct attn_view *view;
        const char *field;
        const size_t *shape;
        int rank;
    } rows[] = {
        {&p->result.output, "output", output, 4},
        {&p->result.weights, "weights", weights, 4},
        {&p->result.logsumexp, "logsumexp", weights, 3},
        {&p->result.max_score, "max_score", weights, 3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct attn_view *view = rows[i].view;
        if (view->data == NULL)
            continue;
        attn_status status = check_shape(view, rows[i].rank, rows[i].shape, rows[i].field, error);
        if (status != ATTN_OK)
            return status;
        if (view->dtype != p->dtype)
            return attn_fail(error, ATTN_EDTYPE, rows[i].field, "expected %s as in the query, found %s",
                             attn_dtype_name(p->dtype), attn_dtype_name(view->dtype));
        if (rows[i].rank == 3 ? !attn_view_is_contiguous(view) : view->shape[3] != 1 && view->stride[3] != 1)
            return attn_fail(error, ATTN_ESHAPE, rows[i].field, "expected contiguous rows");
    }
    return ATTN_OK;
}

/* int64, of the given shape, every element from 0 to `limit` (no bound for SIZE_MAX). */
static attn_status check_integers(const struct attn_view *view, int rank, const size_t *shape, size_t limit,
                                  const char *field, struct attn_error *error) {
    if (view->data == NULL)
        return ATTN_OK;
    if (view->dtype != ATTN_INT64)
        return attn_fail(error, ATTN_EDTYPE, field, "expected int64, found %s", attn_dtype_name(view->dtype));
    attn_status status = check_shape(view, rank, shape, field, error);
    if (status != ATTN_OK || limit == SIZE_MAX)
        return status;
    for (size_t i = 0; i < shape[0]; i++) {
        long long value = view_integer(view, i, 0);
        if (value >= 0 && (unsigned long long)value <= limit)
            continue;
        char place[64];
        snprintf(place, sizeof place, "%s/%zu", field, i);
        return attn_fail(error, ATTN_ERANGE, place, "expected an integer from 0 to %zu, found %lld", limit, value);
    }
    return ATTN_OK;
}

static attn_status check_reals(const struct attn_view *view, size_t count, const char *field,
                               struct attn_error *error) {
    if (view->data == NULL)
        return ATTN_OK;
    if (!attn_dtype_is_floating(view->dtype))
        return attn_fail(error, ATTN_EDTYPE, field, "expected a floating dtype, found %s",
                         attn_dtype_name(view->dtype));
    return check_shape(view, 1, &count, field, error);
}

static attn_status check_numbers(struct sdpa_problem *p, struct attn_error *error) {
    const struct attn_sdpa_options *o = &p->options;
    p->scale = o->has_scale ? o->scale : 1 / sqrt((double)p->head_dim);
    if (!isfinite(p->scale))
        return attn_fail(error, ATTN_ERANGE, "scale", "expected a finite number, found %g", o->scale);
    if (p->dtype == ATTN_FLOAT32) /* infinity times a product of 0 would be NaN */
        p->scale = fmin(fmax(p->scale, -(double)FLT_MAX), (double)FLT_MAX);
    if (!isfinite(o->softcap) || o->softcap < 0)
        return attn_fail(error, ATTN_ERANGE, "softcap", "expected a finite number of at least 0, found %g", o->softcap);
    if (p->dtype == ATTN_FLOAT32 && o->softcap > 0) /* its reciprocal and itself must be numbers there */
        p->options.softcap = fmin(fmax(o->softcap, (double)FLT_MIN), (double)FLT_MAX);
    if (o->window_left < ATTN_UNBOUNDED)
        return attn_fail(error, ATTN_ERANGE, "window/left", "expected at least -1, found %lld", o->window_left);
    if (o->window_right < ATTN_UNBOUNDED)
        return attn_fail(error, ATTN_ERANGE, "window/right", "expected at least -1, found %lld", o->window_right);
    if (o->past_length > p->masked_length)
        return attn_fail(error, ATTN_ESHAPE, "past_key", "expected at most the %zu keys, found %zu past ones",
                         p->masked_length, o->past_length);
    if (o->past_length > 0 && o->key_lengths.data != NULL)
        return attn_fail(error, ATTN_ECONFLICT, "key_lengths", "key_lengths and past_key do not go together");
    return ATTN_OK;
}

static attn_status check_lists(const struct sdpa_problem *p, struct attn_error *error) {
    const struct attn_sdpa_options *o = &p->options;
    const size_t per_key[] = {p->batch, p->masked_length};
    attn_status status;
    if ((status = check_integers(&o->key_lengths, 1, per_key, p->masked_length, "key_lengths", error)) != ATTN_OK ||
        (status = check_integers(&o->prefix_length, 1, per_key, p->masked_length, "prefix_length", error)) != ATTN_OK ||
        (status = check_integers(&o->segment_ids, 2, per_key, SIZE_MAX, "segment_ids", error)) != ATTN_OK ||
        (status = check_reals(&o->alibi_slopes, p->heads, "alibi_slopes", error)) != ATTN_OK ||
        (status = check_reals(&o->sinks, p->heads, "sinks", error)) != ATTN_OK)
        return status;
    if (o->segment_ids.data != NULL && p->query_length + o->past_length != p->masked_length)
        return attn_fail(error, ATTN_ESHAPE, "segment_ids", "expected as many new keys as queries, %zu, found %zu",
                         p->query_length, p->masked_length - o->past_length);
    return ATTN_OK;
}

static attn_status check_mask_dtype(const struct attn_view *mask, const char *field, struct attn_error *error) {
    if (mask->dtype == ATTN_BOOL || mask->dtype == ATTN_UINT8 || mask->dtype == ATTN_FLOAT32 ||
        mask->dtype == ATTN_FLOAT64)
        return ATTN_OK;
    return attn_fail(error, ATTN_EDTYPE, field, "expected bool, uint8, float32 or float64, found %s",
                     attn_dtype_name(mask->dtype));
}

static size_t longest_key_length(const struct sdpa_problem *p) {
    long long longest = 0;
    for (size_t n = 0; n < p->batch; n++) {
        long long length = view_integer(&p->options.key_lengths, n, 0);
        longest = length > longest ? length : longest;
    }
    return (size_t)longest;
}

/* (N*H, L, T), index n*H + h, as torch's MultiheadAttention takes it; (H, L, T) where it could be either. */
static void split_joined_heads(const struct sdpa_problem *p, struct attn_view *mask) {
    size_t joined;
    if (mask->rank != 3 || p->batch == 1 || mask->shape[0] == p->heads || mask->shape[0] == 1)
        return;
    if (!attn_size_multiply(p->batch, p->heads, &joined) || mask->shape[0] != joined)
        return;
    struct attn_view split = {
        .data = mask->data,
        .dtype = mask->dtype,
        .rank = 4,
        .shape = {p->batch, p->heads, mask->shape[1], mask->shape[2]},
        .stride = {(ptrdiff_t)p->heads * mask->stride[0], mask->stride[0], mask->stride[1], mask->stride[2]},
    };
    *mask = split;
}

static attn_status take_mask(struct sdpa_problem *p, struct attn_error *error) {
    struct attn_view mask = p->options.attn_mask;
    if (mask.data == NULL)
        return ATTN_OK;
    attn_status status = check_mask_dtype(&mask, "attn_mask", error);
    if (status != ATTN_OK)
        return status;
    if (mask.rank < 1 || mask.rank > 4)
        return fail_shape(error, "attn_mask", "of 1 to 4 axes that broadcasts to (N, H, L, T)", &mask);
    split_joined_heads(p, &mask);
    size_t shape[] = {p->batch, p->heads, p->query_length, p->masked_length};
    const size_t columns = mask.shape[mask.rank - 1];
    if (columns < p->masked_length && columns != 1 && p->options.key_lengths.data != NULL) {
        size_t longest = longest_key_length(p);
        if (columns < longest)
            return attn_fail(error, ATTN_ESHAPE, "attn_mask",
                             "expected a last axis that reaches the largest of key_lengths, %zu, found %zu", longest,
                             columns);
        shape[3] = columns;
    }
    return attn_view_broadcast(&mask, 4, shape, "attn_mask", &p->mask, error);
}

static attn_status take_padding(struct sdpa_problem *p, struct attn_error *error) {
    const struct attn_view *mask = &p->options.key_padding_mask;
    if (mask->data == NULL)
        return ATTN_OK;
    attn_status status = check_mask_dtype(mask, "key_padding_mask", error);
    if (status != ATTN_OK)
        return status;
    const size_t shape[] = {p->batch, p->masked_length};
    const bool lacks_batch = mask->rank == 1 && p->batch == 1;
    status = lacks_batch ? check_shape(mask, 1, shape + 1, "key_padding_mask", error)
                         : check_shape(mask, 2, shape, "key_padding_mask", error);
    if (status != ATTN_OK)
        return status;
    return attn_view_broadcast(mask, 2, shape, "key_padding_mask", &p->padding, error);
}

static attn_status take_query_mask(struct sdpa_problem *p, struct attn_error *error) {
    const struct attn_view *mask = &p->options.query_mask;
    if (mask->data == NULL)
        return ATTN_OK;
    if (mask->dtype != ATTN_BOOL && mask->dtype != ATTN_UINT8)
        return attn_fail(error, ATTN_EDTYPE, "query_mask", "expected bool or uint8, found %s",
                         attn_dtype_name(mask->dtype));
    const size_t shape[] = {p->batch, p->query_length};
    const bool lacks_batch = mask->rank == 1 && p->batch == 1;
    const attn_status status = lacks_batch ? check_shape(mask, 1, shape + 1, "query_mask", error)
                                           : check_shape(mask, 2, shape, "query_mask", error);
    if (status != ATTN_OK)
        return status;
    return attn_view_broadcast(mask, 2, shape, "query_mask", &p->query_mask, error);
}

static void take_wishes(struct sdpa_problem *p) {
    const struct attn_sdpa_options *o = &p->options;
    for (int stage = 0; stage < ATTN_STAGE_COUNT; stage++) {
        bool wanted = p->result.sinks[stage].consume != NULL;
        p->wants_sinks |= wanted;
        p->wants_stages |= wanted && stage != ATTN_STAGE_SOFTMAX;
    }
    p->holds_rows = p->wants_sinks || p->result.weights.data != NULL;
    p->has_ranges = o->is_causal || o->window_left >= 0 || o->window_right >= 0 || o->key_lengths.data != NULL ||
                    o->segment_ids.data != NULL || p->mask.data != NULL || p->padding.data != NULL ||
                    p->query_mask.data != NULL;
}

attn_status attn_sdpa_resolve(struct sdpa_problem *p, const struct attn_view *query, const struct attn_view *key,
                              const struct attn_view *value, const struct attn_sdpa_options *options,
                              const struct attn_sdpa_result *result, struct attn_error *error) {
    static const struct attn_sdpa_options defaults = ATTN_SDPA_DEFAULTS;
    *p = (struct sdpa_problem){.query = *query, .key = *key, .value = *value};
    p->options = options != NULL ? *options : defaults;
    p->result = *result;
    attn_status status = check_inputs(p, error);
    if (status != ATTN_OK)
        return status;
    if (p->options.unmasked_tail >= p->key.shape[2])
        return attn_fail(error, ATTN_ERANGE, "key", "expected more keys than the unmasked tail of %zu, found %zu",
                         p->options.unmasked_tail, p->key.shape[2]);
    take_sizes(p);
    if ((status = check_result(p, error)) != ATTN_OK || (status = check_numbers(p, error)) != ATTN_OK ||
        (status = check_lists(p, error)) != ATTN_OK || (status = take_mask(p, error)) != ATTN_OK ||
        (status = take_padding(p, error)) != ATTN_OK || (status = take_query_mask(p, error)) != ATTN_OK)
        return status;
    take_wishes(p);
    attn_sdpa_plan_blocks(p);
    return ATTN_OK;
}

/*
 * A block's scores are to stay in the second-level cache between the two products, and a block needs rows enough for
 * the products to pay for packing the keys: 256 against 128 rows take 10 % less time at 2048 tokens and the same at
 * 512. A short causal or windowed call skips more with fewer: 64 against 128 take 13 % less at 128 tokens, 7 % at 512.
 */
enum { MOST_ROWS = 256, SHORT_ROWS = 128, BANDED_ROWS = 64, SHORT_KEYS = 1024, FEWEST_ROWS = 8, STEP_KEYS = 512 };
static const size_t held_bytes = (size_t)1 << 20;

static size_t smaller(size_t left, size_t right) {
    return left < right ? left : right;
}

static size_t round_up(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

/* A mask whose rows cannot be read in place is gathered into a row of scratch. */
static bool is_scattered(const struct attn_view *mask) {
    return mask->data != NULL && mask->shape[mask->rank - 1] != 1 && mask->stride[mask->rank - 1] != 1;
}

void attn_sdpa_plan_blocks(struct sdpa_problem *p) {
    p->block_keys = p->holds_rows ? p->key_length : smaller(p->key_length, STEP_KEYS);
    const bool is_banded = p->options.is_causal || p->options.window_left >= 0 || p->options.window_right >= 0;
    p->block_rows = p->key_length > SHORT_KEYS ? MOST_ROWS : is_banded ? BANDED_ROWS : SHORT_ROWS;
    while (p->block_rows > FEWEST_ROWS && p->block_rows * p->block_keys * p->element_bytes > held_bytes)
        p->block_rows /= 2;
    p->block_rows = smaller(p->block_rows, p->query_length);
    p->block_count = (p->query_length + p->block_rows - 1) / p->block_rows;
    /* A careful second look at a row needs all its scores at once. */
    size_t scores = p->block_rows * p->block_keys;
    scores = scores < p->key_length ? p->key_length : scores;
    p->lane_scores = round_up(scores * p->element_bytes);
    p->lane_states = round_up(p->block_rows * SDPA_STATE_BYTES);
    p->lane_mask = is_scattered(&p->mask) || is_scattered(&p->padding) ? round_up(p->key_length * sizeof(double)) : 0;
}

long long attn_sdpa_offset(const struct attn_sdpa_options *options, size_t batch, size_t query_length,
                           size_t key_length) {
    const bool has_lengths = options->key_lengths.data != NULL;
    if (options->causal_alignment == ATTN_CAUSAL_TOP_LEFT)
        return 0;
    if (has_lengths)
        return view_integer(&options->key_lengths, batch, 0) - (long long)query_length;
    if (options->causal_alignment == ATTN_CAUSAL_BOTTOM_RIGHT)
        return (long long)key_length - (long long)query_length;
    return (long long)options->past_length;
}

double attn_view_real(const struct attn_view *view, size_t i) {
    double real = 0;
    const size_t one = 1, bytes = attn_dtype_bytes(view->dtype);
    char *at = (char *)view->data + (ptrdiff_t)i * view->stride[0] * (ptrdiff_t)bytes;
    struct attn_view from = attn_view_contiguous(at, view->dtype, 1, &one);
    struct attn_view to = attn_view_contiguous(&real, ATTN_FLOAT64, 1, &one);
    attn_view_convert(&from, &to, NULL);
    return real;
}

/* Rows whose spans are looked at where that is much work. */
enum { SAMPLED_ROWS = 64 };

/* Keys in all rows of a batch item, as far as spans say: an estimate from evenly spaced rows where masks are long. */
static double visible_pairs(const struct sdpa_problem *p, size_t batch) {
    const size_t step = attn_sdpa_spans_are_dear(p) ? (p->query_length + SAMPLED_ROWS - 1) / SAMPLED_ROWS : 1;
    struct key_span item = {0, p->masked_length};
    double pairs = 0, rows = 0;
    if (p->padding.data != NULL)
        item = attn_sdpa_item_span(p, batch);
    for (size_t row = 0; row < p->query_length; row += step, rows++) {
        struct key_span span = attn_sdpa_row_span_within(p, batch, row, item);
        if (!attn_sdpa_is_padding(span))
            pairs += (double)(span.end - span.begin + p->options.unmasked_tail);
    }
    return pairs * (double)p->query_length / rows;
}

attn_status attn_sdpa_check(const struct attn_view *query, const struct attn_view *key, const struct attn_view *value,
                            const struct attn_sdpa_options *options, const struct attn_sdpa_result *result,
                            struct attn_sdpa_cost *cost, struct attn_error *error) {
    struct sdpa_problem p;
    attn_status status = attn_sdpa_resolve(&p, query, key, value, options, result, error);
    if (status != ATTN_OK || cost == NULL)
        return status;
    double pairs = (double)p.batch * (double)p.query_length * (double)p.key_length;
    if (p.has_ranges) {
        pairs = 0;
        for (size_t n = 0; n < p.batch; n++)
            pairs += visible_pairs(&p, n);
    }
    pairs *= (double)p.heads;
    const double widths = (double)p.head_dim + (result->output.data != NULL ? (double)p.value_dim : 0);
    cost->exponentials = pairs;
    cost->flops = 2 * pairs * widths;
    cost->scratch_bytes_per_lane = p.lane_scores + p.lane_states + p.lane_mask;
    return ATTN_OK;
}
