/** @file layers.h What is made of several layers' weights at once: attention rollout and attention flow. */
#ifndef LIB_AGGREGATE_LAYERS_H
#define LIB_AGGREGATE_LAYERS_H

#include "lib/aggregate/collector.h"

/**
 * A layer's matrix A: rows of (fused + I) scaled to sum 1. Rollout is the product of all (Abnar and Zuidema 2020,
 * section 3), kept as it grows; only flow needs every layer's at the end.
 */
struct attn_layers {
    struct attn_collect collect;
    size_t count;
    const uint8_t *exists; /**< (N, L): 0 is padding, whose rows are 0; NULL: none is */
    double *adjacency;     /**< (layers, N, L, L) for flow, else (N, L, L): the last one put */
    double *rollout;       /**< (N, L, L): the product of those put; NULL where it is not wanted */
    double *product;       /**< (L, L) working memory */
};

/** Bytes that so many layers of a collection take, to be planned for. @return false on overflow. */
bool attn_layers_bytes(const struct attn_collect *collect, size_t count, size_t *bytes);

/** @param collect of any of the layers, which are all alike; attn_layers_reset is due in any case. */
attn_status attn_layers_init(struct attn_layers *layers, size_t count, const struct attn_collect *collect);
void attn_layers_reset(struct attn_layers *layers);

/** Puts a layer's weights fused over heads, (N, L, L), in its place. Layers come one after the other from the first. */
void attn_layers_put(struct attn_layers *layers, size_t layer, const void *fused,
                     const struct attn_execution *execution);

/** Hands out what of the two is not NULL. @return ATTN_OK, ATTN_ENOMEM, ATTN_ECANCELLED. */
attn_status attn_layers_finish(const struct attn_layers *layers, struct attn_result_tensor *rollout,
                               struct attn_result_tensor *flow, const struct attn_execution *execution,
                               struct attn_error *error);

/**
 * The maximum flow from each token of the last layer to each input token, (L, L), rows scaled to sum 1.
 * @param adjacency (count, L, L) by layer, each `layer_stride` elements behind the one before
 */
attn_status attn_flow(const double *adjacency, size_t count, size_t layer_stride, size_t length, double *flow,
                      const struct attn_execution *execution);

#endif
