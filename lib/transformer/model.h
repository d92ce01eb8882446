/** @file model.h An opened model, resolved: what a run needs, and no names any more. */
#ifndef LIB_TRANSFORMER_MODEL_H
#define LIB_TRANSFORMER_MODEL_H

#include "lib/transformer/linear.h"
#include "lib/transformer/rope.h"
#include "lib/transformer/tensors.h"

/** Where a head's query, key or value lies in a row: head h at offset + h * head_stride. */
struct attn_place {
    size_t offset, head_stride;
};

/** An attention. Self-attention reads and writes one row buffer; cross attention has queries and keys in two. */
struct attn_attention {
    size_t heads, kv_heads, head_dim, value_dim;
    struct attn_weight *joined;        /**< query, key and value in one; else NULL, and the three */
    struct attn_weight *projection[3]; /**< query, key, value */
    struct attn_place place[3];
    size_t row_width;    /**< of the row that holds the three; of the query's alone where it is cross */
    size_t memory_width; /**< of the row that holds key and value where it is cross */
    struct attn_norm_weight query_norm, key_norm; /**< of each head, before rotation */
    struct attn_vector sinks;
    struct attn_weight *out;
    const struct attn_rope *rope; /**< NULL: none */
    size_t rope_index;
    bool is_windowed;
    double scale, softcap;
    long long window_left, window_right;
};

/** A feed-forward: down(activation(gate) * up), down(activation(up)), or experts that a router picks for each row. */
struct attn_feed_forward {
    size_t width;
    attn_activation activation;
    struct attn_weight *up, *gate, *down; /**< gate NULL: none */
    struct attn_weight *router;           /**< NULL: no experts */
    size_t experts, experts_used;
    struct attn_weight **expert_gate, **expert_up, **expert_down;
    double alpha, limit; /**< of the experts' gates */
};

/** What stands around a sub-layer: x = after(x + scale * out(sublayer(in(x)))). */
struct attn_wrapping {
    struct attn_norm_weight in, out, after;
    struct attn_vector scale;
};

struct attn_transformer_layer {
    struct attn_wrapping around_attention, around_cross, around_ffn;
    struct attn_attention attention, cross; /**< cross.heads 0: none */
    struct attn_feed_forward ffn;
};

struct attn_transformer_stack {
    bool is_there, is_causal, is_parallel;
    attn_stack kind;
    size_t layer_count;
    size_t hidden, embedding, output_width;
    size_t vocab, positions, position_offset, types;
    size_t max_length; /**< 0: any */
    enum attn_position_kind position_kind;
    bool has_late_positions;
    long long pad;
    double embedding_scale;
    struct attn_view tokens, position_table, type_table; /**< data NULL: none */
    struct attn_norm_weight embedding_norm, final_norm;
    struct attn_weight *embedding_projection, *output_projection; /**< NULL: none */
    struct attn_view relative_bias;                               /**< (buckets, heads) */
    size_t bucket_distance;
    bool buckets_one_way;
    struct attn_weight *patches, *convolution[2];
    struct attn_vector class_token, second_token;
    size_t image[2], patch[2];             /**< height, width */
    size_t channels;                       /**< of pictures, or mel bins */
    bool scales_given;                     /**< embedding_scale is for embeddings that are given too */
    struct attn_rope ropes[2];             /**< of layers without and with a window */
    size_t rope_count;                     /**< 1: they share the first */
    struct attn_transformer_layer *layers; /**< (layer_count); layers that share weights point to the same */
};

struct attn_head {
    bool is_there, predicts_next;
    struct attn_weight *dense; /**< NULL: none */
    attn_activation activation;
    struct attn_norm_weight norm;
    struct attn_weight *decoder;
    double softcap, scale;
};

struct attn_model {
    struct attn_model_info info;
    char *architecture;
    struct attn_tensors tensors;
    struct attn_transformer_stack encoder, decoder;
    struct attn_transformer_stack pictures; /**< beside `encoder`, where a model has two towers (CLIP) */
    struct attn_head head;
    size_t max_lane_bytes[2]; /**< of products, in float32 and float64 */
    void **kept;              /**< memory that goes with the model */
    size_t kept_count, kept_room;
    struct attn_weight **weights;
    size_t weight_count, weight_room;
};

/** @return the stack that `kind`'s attention is in. */
static inline const struct attn_transformer_stack *attn_model_stack(const struct attn_model *model, attn_stack kind) {
    return kind == ATTN_STACK_ENCODER ? &model->encoder : &model->decoder;
}

/** @return zeroed memory that goes with the model, or NULL. */
void *attn_model_keep(struct attn_model *model, size_t count, size_t bytes);
/** @return a weight of the model, released with it, or NULL. */
struct attn_weight *attn_model_weight(struct attn_model *model, const struct attn_view *view);
/** Copies a view of rank 1 (or with all other axes 1) in both dtypes. @return false without memory */
bool attn_model_vector(struct attn_model *model, struct attn_vector *vector, const struct attn_view *view);

#endif
