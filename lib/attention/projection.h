/** @file projection.h The linear projections around attention: y = x W^T + b, as torch.nn.Linear has it. */
#ifndef LIB_ATTENTION_PROJECTION_H
#define LIB_ATTENTION_PROJECTION_H

#include <attn/execution.h>
#include <attn/tensor.h>

/**
 * output = input . weight^T + bias, tiled over the executor's lanes.
 *
 * @param input     (N, L, E), any strides whose last is 1; float32 or float64, the same for all four
 * @param weight    (out, E), last stride 1
 * @param bias      (out); data NULL: none
 * @param output    (N, L, out), any strides whose last is 1
 * @param execution threads and cancellation; NULL is one thread
 * @return ATTN_OK; ATTN_ESHAPE or ATTN_EDTYPE where the views do not fit each other (the caller checks, with the names
 *         of its own arguments); ATTN_ENOMEM; ATTN_ECANCELLED. Thread safe for different outputs.
 */
attn_status attn_project(const struct attn_view *input, const struct attn_view *weight, const struct attn_view *bias,
                         const struct attn_view *output, const struct attn_execution *execution);

#endif
