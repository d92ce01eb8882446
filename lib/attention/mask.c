/* Which keys a query sees: spans that hide keys by their place, and masks and biases over what is left of a row. */
#include "lib/attention/problem.h"

#include <math.h>
#include <string.h>

static long long at_least(long long value, long long bound) {
    return value < bound ? bound : value;
}

static long long at_most(long long value, long long bound) {
    return value > bound ? bound : value;
}

/* i + offset +- width without overflow: beyond the keys in either direction all places are alike. */
static long long place(const struct sdpa_problem *p, long long position, long long distance) {
    const long long far = (long long)p->key_length + (long long)p->query_length + 1;
    return position + at_least(at_most(distance, 2 * far), -2 * far);
}

static struct key_span range_of_rules(const struct sdpa_problem *p, size_t batch, size_t row) {
    const struct attn_sdpa_options *o = &p->options;
    const long long offset = attn_sdpa_offset(o, batch, p->query_length, p->masked_length);
    const long long position = (long long)row + offset;
    long long begin = 0, end = (long long)p->masked_length;
    if (o->is_causal) {
        long long prefix = o->prefix_length.data != NULL ? view_integer(&o->prefix_length, batch, 0) : 0;
        end = at_most(end, at_least(position + 1, prefix));
    }
    if (o->key_lengths.data != NULL)
        end = at_most(end, view_integer(&o->key_lengths, batch, 0));
    if (o->window_left >= 0)
        begin = at_least(begin, place(p, position, -o->window_left));
    if (o->window_right >= 0)
        end = at_most(end, place(p, position, o->window_right) + 1);
    if (end <= begin)
        return (struct key_span){0, 0};
    return (struct key_span){(size_t)begin, (size_t)end};
}

static bool is_boolean(const struct attn_view *mask) {
    return mask->dtype == ATTN_BOOL || mask->dtype == ATTN_UINT8;
}

/* Whether entry `index` of a mask's row hides its key from everyone. */
static bool hides(const struct attn_view *mask, const char *row, ptrdiff_t index, bool ignores) {
    if (is_boolean(mask))
        return (row[index] != 0) == ignores;
    if (mask->dtype == ATTN_FLOAT32)
        return ((const float *)(const void *)row)[index] == -INFINITY;
    return ((const double *)(const void *)row)[index] == (double)-INFINITY;
}

/* Whether eight entries of a boolean mask hide all their keys: none is set, or, where set ones are ignored, all are. */
static bool eight_hide(const char *entries, bool ignores) {
    uint64_t word;
    memcpy(&word, entries, sizeof word);
    if (!ignores)
        return word == 0;
    return ((word - 0x0101010101010101U) & ~word & 0x8080808080808080U) == 0; /* no byte is 0 */
}

/* The same for whole words of a row, roughly: what is left is for trim to look at. */
static struct key_span trim_words(const char *row, struct key_span span, bool ignores) {
    while (span.end - span.begin >= sizeof(uint64_t) && eight_hide(row + span.begin, ignores))
        span.begin += sizeof(uint64_t);
    while (span.end - span.begin >= sizeof(uint64_t) && eight_hide(row + span.end - sizeof(uint64_t), ignores))
        span.end -= sizeof(uint64_t);
    return span;
}

/* Draws both ends of a span in past the keys that a mask's row hides. */
static struct key_span trim(const struct sdpa_problem *p, const struct attn_view *mask, const char *row,
                            struct key_span span) {
    const ptrdiff_t stride = mask->stride[mask->rank - 1];
    const bool ignores = p->options.bool_mask_ignores;
    if (is_boolean(mask) && stride == 1)
        span = trim_words(row, span, ignores);
    while (span.begin < span.end && hides(mask, row, (ptrdiff_t)span.begin * stride, ignores))
        span.begin++;
    while (span.begin < span.end && hides(mask, row, (ptrdiff_t)(span.end - 1) * stride, ignores))
        span.end--;
    return span;
}

static const char *mask_row_of(const struct attn_view *mask, size_t batch, size_t head, size_t row) {
    ptrdiff_t offset = (ptrdiff_t)batch * mask->stride[0];
    if (mask->rank == 4)
        offset += (ptrdiff_t)head * mask->stride[1] + (ptrdiff_t)row * mask->stride[2];
    return (const char *)mask->data + offset * (ptrdiff_t)attn_dtype_bytes(mask->dtype);
}

static long long own_segment(const struct sdpa_problem *p, size_t batch, size_t row) {
    return view_integer(&p->options.segment_ids, batch, row + p->options.past_length);
}

static struct key_span trim_segment(const struct sdpa_problem *p, size_t batch, size_t row, struct key_span span) {
    const long long own = own_segment(p, batch, row);
    while (span.begin < span.end && view_integer(&p->options.segment_ids, batch, span.begin) != own)
        span.begin++;
    while (span.begin < span.end && view_integer(&p->options.segment_ids, batch, span.end - 1) != own)
        span.end--;
    return span;
}

/* A mask that differs between heads trims no span: these are shared by all heads of a block. */
static bool is_shared_by_heads(const struct sdpa_problem *p) {
    return p->mask.data != NULL && (p->heads == 1 || p->mask.stride[1] == 0);
}

bool attn_sdpa_spans_are_dear(const struct sdpa_problem *p) {
    return p->options.segment_ids.data != NULL || is_shared_by_heads(p);
}

struct key_span attn_sdpa_item_span(const struct sdpa_problem *p, size_t batch) {
    return trim(p, &p->padding, mask_row_of(&p->padding, batch, 0, 0), (struct key_span){0, p->masked_length});
}

/* What a row's place leaves of the keys between the first and the last that the padding mask shows. */
static struct key_span leave_padding_out(struct key_span span, struct key_span item) {
    span.begin = span.begin > item.begin ? span.begin : item.begin;
    span.end = span.end < item.end ? span.end : item.end;
    return span.begin < span.end ? span : (struct key_span){0, 0};
}

static bool is_padding_row(const struct sdpa_problem *p, size_t batch, size_t row) {
    const struct attn_view *mask = &p->query_mask;
    if (mask->data == NULL)
        return false;
    const ptrdiff_t at = (ptrdiff_t)batch * mask->stride[0] + (ptrdiff_t)row * mask->stride[1];
    return ((const uint8_t *)mask->data)[at] == 0;
}

struct key_span attn_sdpa_row_span_within(const struct sdpa_problem *p, size_t batch, size_t row,
                                          struct key_span item) {
    if (is_padding_row(p, batch, row))
        return SDPA_NO_KEYS;
    struct key_span span = range_of_rules(p, batch, row);
    if (p->padding.data != NULL)
        span = leave_padding_out(span, item);
    if (p->options.segment_ids.data != NULL)
        span = trim_segment(p, batch, row, span);
    if (is_shared_by_heads(p))
        span = trim(p, &p->mask, mask_row_of(&p->mask, batch, 0, row), span);
    return span;
}

struct key_span attn_sdpa_row_span(const struct sdpa_problem *p, size_t batch, size_t row) {
    struct key_span item = {0, p->masked_length};
    if (!p->has_ranges)
        return item;
    if (p->row_spans != NULL)
        return p->row_spans[batch * p->query_length + row];
    if (p->padding.data != NULL)
        item = p->item_spans != NULL ? p->item_spans[batch] : attn_sdpa_item_span(p, batch);
    return attn_sdpa_row_span_within(p, batch, row, item);
}

struct key_span attn_sdpa_head_span(const struct sdpa_problem *p, size_t batch, size_t head, size_t row,
                                    struct key_span span) {
    if (p->mask.data == NULL || is_shared_by_heads(p))
        return span;
    return trim(p, &p->mask, mask_row_of(&p->mask, batch, head, row), span);
}

/* A mask's entries for a span, contiguous: in place, or gathered into `gathered`. */
static const void *contiguous(const struct attn_view *mask, const char *row, struct key_span span, void *gathered) {
    const size_t bytes = attn_dtype_bytes(mask->dtype);
    const ptrdiff_t step = mask->stride[mask->rank - 1] * (ptrdiff_t)bytes;
    const char *from = row + (ptrdiff_t)span.begin * step;
    if (step == (ptrdiff_t)bytes || mask->shape[mask->rank - 1] == 1)
        return from;
    char *to = gathered;
    for (size_t j = span.begin; j < span.end; j++, from += step, to += bytes)
        memcpy(to, from, bytes);
    return gathered;
}

static void apply(const struct sdpa_problem *p, const struct attn_view *mask, const char *row, struct key_span span,
                  void *scores, void *gathered) {
    const void *entries = contiguous(mask, row, span, gathered);
    const size_t count = span.end - span.begin;
    if (is_boolean(mask))
        p->kernels->keep_where(scores, entries, count, !p->options.bool_mask_ignores);
    else if (mask->dtype == ATTN_FLOAT32)
        p->kernels->add_mask_float32(scores, entries, count);
    else
        p->kernels->add_mask_float64(scores, entries, count);
}

static void keep_segment(const struct sdpa_problem *p, size_t batch, size_t row, struct key_span span, char *scores) {
    enum { CHUNK = 256 };
    const struct attn_view *ids = &p->options.segment_ids;
    const int64_t own = own_segment(p, batch, row), *from = ids->data;
    uint8_t is_own[CHUNK];
    from += (ptrdiff_t)batch * ids->stride[0];
    for (size_t begin = span.begin; begin < span.end; begin += CHUNK, scores += CHUNK * p->element_bytes) {
        const size_t count = span.end - begin < CHUNK ? span.end - begin : CHUNK;
        for (size_t j = 0; j < count; j++)
            is_own[j] = from[(ptrdiff_t)(begin + j) * ids->stride[1]] == own;
        p->kernels->keep_where(scores, is_own, count, true);
    }
}

void attn_sdpa_mask_row(const struct sdpa_problem *p, size_t batch, size_t head, size_t row, struct key_span span,
                        void *scores, void *mask_row) {
    const struct attn_sdpa_options *o = &p->options;
    if (span.begin >= span.end)
        return;
    if (o->alibi_slopes.data != NULL) {
        double position = (double)row + (double)attn_sdpa_offset(o, batch, p->query_length, p->masked_length);
        p->kernels->add_distance(scores, span.end - span.begin, attn_view_real(&o->alibi_slopes, head),
                                 position - (double)span.begin);
    }
    if (p->mask.data != NULL)
        apply(p, &p->mask, mask_row_of(&p->mask, batch, head, row), span, scores, mask_row);
    if (p->padding.data != NULL)
        apply(p, &p->padding, mask_row_of(&p->padding, batch, 0, 0), span, scores, mask_row);
    if (o->segment_ids.data != NULL)
        keep_segment(p, batch, row, span, scores);
}
