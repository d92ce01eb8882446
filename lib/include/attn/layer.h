/**
 * @file layer.h
 * The weights of one multi-head attention layer, resolved from a state dict's names, and its projections.
 */
#ifndef ATTN_LAYER_H
#define ATTN_LAYER_H

#include <attn/execution.h>
#include <attn/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A tensor by its name in a state dict. */
struct attn_named_view {
    const char *name;      /**< ends in a NUL */
    struct attn_view view; /**< its elements */
};

/** What a state dict does not say. */
struct attn_layer_config {
    size_t num_heads;    /**< required */
    size_t num_kv_heads; /**< 0: num_heads */
    bool add_zero_attn;  /**< a column of zeros behind the keys (torch.nn.MultiheadAttention) */
};

/**
 * One attention layer's weights, each (out, in) as torch.nn.Linear keeps them. Views; whoever made the layer keeps the
 * tensors. A bias that the layer lacks has data NULL; so has out_weight where there is no output projection.
 * E query width, Ek key width, Ev value width; out = H*D for query, Hkv*D for key, Hkv*Dv for value.
 */
struct attn_layer {
    size_t num_heads;            /**< H */
    size_t num_kv_heads;         /**< Hkv */
    size_t head_dim;             /**< D */
    size_t value_head_dim;       /**< Dv */
    size_t query_width;          /**< E */
    size_t key_width;            /**< Ek */
    size_t value_width;          /**< Ev */
    size_t output_width;         /**< out_weight's out; H*Dv without it */
    struct attn_view q_weight;   /**< (H*D, E) */
    struct attn_view k_weight;   /**< (Hkv*D, Ek) */
    struct attn_view v_weight;   /**< (Hkv*Dv, Ev) */
    struct attn_view out_weight; /**< (output_width, H*Dv) */
    struct attn_view q_bias;     /**< (H*D) */
    struct attn_view k_bias;     /**< (Hkv*D) */
    struct attn_view v_bias;     /**< (Hkv*Dv) */
    struct attn_view out_bias;   /**< (output_width) */
    struct attn_view bias_k;     /**< (Hkv*D): one more key behind the T (add_bias_kv) */
    struct attn_view bias_v;     /**< (Hkv*Dv): its value */
    bool add_zero_attn;          /**< a column of zeros behind the keys */
};

/**
 * Resolves names to a layer. Taken are torch.nn.MultiheadAttention's (in_proj_weight or q/k/v_proj_weight,
 * in_proj_bias, out_proj.weight, out_proj.bias, bias_k, bias_v) and hand-written modules' (q_linear, k_linear,
 * v_linear, out_linear; q_proj, k_proj, v_proj, out_proj (o_proj); wq, wk, wv, wo; query, key, value, out — each with
 * .weight and optionally .bias). Families may not be mixed. The views must be float32 or float64, all alike, with last
 * stride 1.
 *
 * @return ATTN_OK; ATTN_ESHAPE, ATTN_EDTYPE, ATTN_ERANGE, ATTN_ECONFLICT; error->field is the tensor's name, or
 *         "num_heads" / "num_kv_heads". Thread safe.
 */
ATTN_API attn_status attn_layer_resolve(const struct attn_named_view *tensors, size_t count,
                                        const struct attn_layer_config *config, struct attn_layer *layer,
                                        struct attn_error *error);

#ifdef __cplusplus
}
#endif
#endif
