#include "lib/aggregate/layers.h"
#include "lib/aggregate/lane.h"
#include "lib/tensor/error.h"
#include "lib/tensor/shape.h"

#include <stdlib.h>
#include <string.h>

static bool keeps_all(const struct attn_collect *collect) {
    return attn_has(collect->forms, ATTN_FORM_FLOW);
}

bool attn_layers_bytes(const struct attn_collect *collect, size_t count, size_t *bytes) {
    const size_t length = collect->query_length, kept = keeps_all(collect) ? count : 1;
    const size_t rollout = attn_has(collect->forms, ATTN_FORM_ROLLOUT) ? 1 : 0;
    size_t square, matrices;
    if (!attn_size_product((size_t[]){length, length, sizeof(double)}, 3, &square) ||
        !attn_size_multiply(collect->batch, kept + rollout, &matrices) ||
        __builtin_add_overflow(matrices, 2, &matrices)) /* what is multiplied, and what is handed out */
        return false;
    return attn_size_multiply(square, matrices, bytes);
}

attn_status attn_layers_init(struct attn_layers *layers, size_t count, const struct attn_collect *collect) {
    size_t bytes;
    *layers = (struct attn_layers){.collect = *collect, .count = count};
    if (!attn_layers_bytes(collect, count, &bytes))
        return ATTN_ENOMEM;
    const size_t square = collect->query_length * collect->query_length * sizeof(double);
    layers->adjacency = malloc(square * collect->batch * (keeps_all(collect) ? count : 1));
    layers->product = malloc(square);
    if (attn_has(collect->forms, ATTN_FORM_ROLLOUT))
        layers->rollout = malloc(square * collect->batch);
    const bool has_rollout = layers->rollout != NULL || !attn_has(collect->forms, ATTN_FORM_ROLLOUT);
    return layers->adjacency != NULL && layers->product != NULL && has_rollout ? ATTN_OK : ATTN_ENOMEM;
}

void attn_layers_reset(struct attn_layers *layers) {
    free(layers->adjacency);
    free(layers->rollout);
    free(layers->product);
    layers->adjacency = layers->rollout = layers->product = NULL;
}

static void scale_to_one(double *row, size_t count) {
    double sum = 0;
    for (size_t j = 0; j < count; j++)
        sum += row[j];
    for (size_t j = 0; j < count && sum != 0; j++)
        row[j] /= sum;
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

/* rollout = adjacency . rollout, item by item; whoever cancels finds out at the end. */
static void roll_out(const struct attn_layers *layers, size_t layer, const double *adjacency,
                     const struct attn_execution *execution) {
    const size_t length = layers->collect.query_length, square = length * length;
    if (layer == 0) {
        memcpy(layers->rollout, adjacency, layers->collect.batch * square * sizeof *adjacency);
        return;
    }
    for (size_t item = 0; item < layers->collect.batch; item++) {
        double *rollout = layers->rollout + item * square;
        struct product product = {.left = adjacency + item * square,
                                  .right = rollout,
                                  .to = layers->product,
                                  .length = length,
                                  .execution = execution};
        attn_run_tasks(execution, length, product_row, &product);
        memcpy(rollout, layers->product, square * sizeof *rollout);
    }
}

void attn_layers_put(struct attn_layers *layers, size_t layer, const void *fused,
                     const struct attn_execution *execution) {
    const struct attn_collect *collect = &layers->collect;
    size_t length = collect->query_length, rows = collect->batch * length;
    double *to = layers->adjacency + (keeps_all(collect) ? layer : 0) * rows * length;
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
    if (layers->rollout != NULL)
        roll_out(layers, layer, to, execution);
}

attn_status attn_layers_finish(const struct attn_layers *layers, struct attn_result_tensor *rollout,
                               struct attn_result_tensor *flow, const struct attn_execution *execution,
                               struct attn_error *error) {
    size_t length = layers->collect.query_length, square = length * length;
    attn_status status = ATTN_OK;
    for (size_t item = 0; item < layers->collect.batch && status == ATTN_OK; item++) {
        if (rollout != NULL)
            status = attn_collect_emit(&layers->collect, rollout, item, layers->rollout + item * square);
        if (flow != NULL && status == ATTN_OK)
            status = attn_flow(layers->adjacency + item * square, layers->count, layers->collect.batch * square, length,
                               layers->product, execution);
        if (flow != NULL && status == ATTN_OK)
            status = attn_collect_emit(&layers->collect, flow, item, layers->product);
        if (status == ATTN_OK && attn_is_cancelled(execution))
            status = ATTN_ECANCELLED;
    }
    return status == ATTN_OK ? ATTN_OK : attn_fail(error, status, "", "%s", attn_status_name(status));
}
