#include "lib/aggregate/layers.h"
#include "lib/aggregate/loops.h"
#include "lib/tensor/error.h"

#include <stdlib.h>
#include <string.h>

attn_status attn_layers_init(struct attn_layers *layers, size_t count, const struct attn_collect *collect) {
    size_t bytes, length = collect->query_length;
    *layers = (struct attn_layers){.collect = *collect, .count = count};
    if (!attn_size_product((size_t[]){count, collect->batch, length, length, sizeof(double)}, 5, &bytes))
        return ATTN_ENOMEM;
    layers->adjacency = malloc(bytes);
    return layers->adjacency != NULL ? ATTN_OK : ATTN_ENOMEM;
}

void attn_layers_reset(struct attn_layers *layers) {
    free(layers->adjacency);
    layers->adjacency = NULL;
}

static void scale_to_one(double *row, size_t count) {
    double sum = 0;
    for (size_t j = 0; j < count; j++)
        sum += row[j];
    for (size_t j = 0; j < count && sum != 0; j++)
        row[j] /= sum;
}

void attn_layers_put(struct attn_layers *layers, size_t layer, const void *fused) {
    const struct attn_collect *collect = &layers->collect;
    size_t length = collect->query_length, rows = collect->batch * length;
    double *to = layers->adjacency + layer * rows * length;
    attn_loops_of(collect->dtype)->to_double(to, fused, rows * length);
    for (size_t i = 0; i < rows; i++) {
        double *row = to + i * length;
        if (layers->exists != NULL && layers->exists[i] == 0) {
            memset(row, 0, length * sizeof *row);
            continue;
        }
        row[i % length] += 1; /* the residual connection */
        scale_to_one(row, length);
    }
}

struct product {
    const double *left, *right;
    double *to;
    size_t length;
    const struct attn_execution *execution;
};

/* One row of to = left . right, entries of 0 (half of a causal matrix) skipped. */
static void product_row(void *argument, size_t i, size_t lane) {
    const struct product *product = argument;
    const struct attn_loops *loops = attn_loops_of(ATTN_FLOAT64);
    size_t length = product->length;
    double *to = product->to + i * length;
    (void)lane;
    memset(to, 0, length * sizeof *to);
    if (attn_is_cancelled(product->execution))
        return;
    for (size_t k = 0; k < length; k++)
        if (product->left[i * length + k] != 0)
            loops->add_scaled(to, product->right + k * length, length, product->left[i * length + k]);
}

/* The product last . ... . first of one item's matrices ends in one of the two buffers. @return which. */
static const double *rollout_of_item(const struct attn_layers *layers, size_t item, double *buffers,
                                     const struct attn_execution *execution) {
    size_t length = layers->collect.query_length, square = length * length;
    const double *result = layers->adjacency + item * square;
    for (size_t layer = 1; layer < layers->count; layer++) {
        struct product product = {.left = layers->adjacency + (layer * layers->collect.batch + item) * square,
                                  .right = result,
                                  .to = buffers + layer % 2 * square,
                                  .length = length,
                                  .execution = execution};
        attn_run_tasks(execution, length, product_row, &product);
        result = product.to;
    }
    return result;
}

attn_status attn_layers_finish(const struct attn_layers *layers, struct attn_result_tensor *rollout,
                               struct attn_result_tensor *flow, const struct attn_execution *execution,
                               struct attn_error *error) {
    size_t length = layers->collect.query_length, square = length * length;
    attn_status status = ATTN_OK;
    double *buffers = calloc(2 * square, sizeof *buffers);
    if (buffers == NULL)
        return attn_fail(error, ATTN_ENOMEM, "", "out of memory");
    for (size_t item = 0; item < layers->collect.batch && status == ATTN_OK; item++) {
        if (rollout != NULL)
            status =
                attn_collect_emit(&layers->collect, rollout, item, rollout_of_item(layers, item, buffers, execution));
        if (flow != NULL && status == ATTN_OK)
            status = attn_flow(layers->adjacency + item * square, layers->count, layers->collect.batch * square, length,
                               buffers, execution);
        if (flow != NULL && status == ATTN_OK)
            status = attn_collect_emit(&layers->collect, flow, item, buffers);
        if (status == ATTN_OK && attn_is_cancelled(execution))
            status = ATTN_ECANCELLED;
    }
    free(buffers);
    return status == ATTN_OK ? ATTN_OK : attn_fail(error, status, "", "%s", attn_status_name(status));
}
