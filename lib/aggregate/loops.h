/**
 * @file loops.h
 * The inner loops over rows of weights, once for each floating dtype, as a table of functions. A row is contiguous;
 * `count` is its length. Sums are taken in double.
 */
#ifndef LIB_AGGREGATE_LOOPS_H
#define LIB_AGGREGATE_LOOPS_H

#include <attn/tensor.h>

struct attn_loops {
    /** to = factor * row */
    void (*scale)(void *to, const void *row, size_t count, double factor);
    /** to += factor * row */
    void (*add_scaled)(void *to, const void *row, size_t count, double factor);
    /** to = max(to, row), NaN winning */
    void (*maximum)(void *to, const void *row, size_t count);
    void (*minimum)(void *to, const void *row, size_t count);
    /** to = |row| * norms, 0 where row is 0 whatever the norm */
    void (*norm_product)(void *to, const void *row, const void *norms, size_t count);
    /** to (keys, heads) = rows (heads, keys), turned */
    void (*interleave)(void *to, const void *rows, size_t heads, size_t keys);
    /** to = row, from doubles */
    void (*from_double)(void *to, const double *row, size_t count);
    void (*to_double)(double *to, const void *row, size_t count);
    double (*sum)(const void *row, size_t count);
    /** The largest entry; NaN entries are passed over. */
    double (*largest)(const void *row, size_t count);
    bool (*has_nonzero)(const void *row, size_t count);
    bool (*has_negative)(const void *row, size_t count);
    /** sum of row[j] * |place - (first + j)| */
    double (*distance)(const void *row, size_t count, double first, double place);
    /** sums[j] += row[j] */
    void (*add_to_sums)(double *sums, const void *row, size_t count);
    /** -sum of row[j] * log(row[j]), entries of 0 adding nothing */
    double (*entropy)(const void *row, size_t count);
    /** Jensen-Shannon divergence in nats of left * left_scale and right * right_scale. */
    double (*divergence)(const void *left, const void *right, size_t count, double left_scale, double right_scale);
    /** Sum of row[j] where tokens[j] == token. */
    double (*token_sum)(const void *row, const int64_t *tokens, size_t count, int64_t token);
    double (*at)(const void *row, size_t index);
    double (*dot)(const void *left, const void *right, size_t count);
    /**
     * The `kept` largest entries, descending, ties to the lower index, NaN above everything.
     * @param keys receives first_key + index, and serves as scratch
     */
    void (*top)(void *values, int64_t *keys, size_t kept, const void *row, size_t count, size_t first_key);
};

/** @return the loops for float32 or float64. Thread safe. */
const struct attn_loops *attn_loops_of(attn_dtype dtype);

#endif
