/**
 * @file aggregate.h
 * What can be made of attention weights: the forms in which they are handed out, and the analyses of them. Both are
 * tables; names are those of the HTTP interface.
 */
#ifndef ATTN_AGGREGATE_H
#define ATTN_AGGREGATE_H

#include <attn/result.h>
#include <attn/sdpa.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Forms of the weights. Shapes are a batch item's. */
typedef enum attn_form {
    ATTN_FORM_AVERAGE,       /**< (L, T): mean over heads */
    ATTN_FORM_PER_HEAD,      /**< (H, L, T) */
    ATTN_FORM_CONCAT,        /**< (L, T, H) */
    ATTN_FORM_MAX,           /**< (L, T) */
    ATTN_FORM_MIN,           /**< (L, T) */
    ATTN_FORM_HEAD_WEIGHTED, /**< (L, T): mean weighted by attn_want.head_weights, normalised to sum 1 */
    ATTN_FORM_PCA,           /**< (L, T, components): heads as features, cells as samples */
    ATTN_FORM_VALUE_NORM,    /**< (H, L, T): |w_ij| * ||v_j|| (Kobayashi et al. 2020) */
    ATTN_FORM_OUTPUT_NORM,   /**< (H, L, T): ||w_ij * v_j * W_O^h|| (Kobayashi et al. 2020) */
    ATTN_FORM_ROLLOUT,       /**< (L, L), across layers (Abnar and Zuidema 2020) */
    ATTN_FORM_FLOW,          /**< (L, L), across layers (the same), maximum flow */
    ATTN_FORM_COUNT          /**< how many there are */
} attn_form;

/**
 * Analyses of the softmax weights, over rows that attend to something: others count in no mean, and are 0 in (H, L). A
 * mean over no rows is 0. p_i = i + offset. Natural logarithms. H counts the chosen heads, T all columns of the weights
 * (those behind the keys too). A key that key_lengths or key_padding_mask call padding does not exist.
 */
typedef enum attn_analysis {
    ATTN_ANALYSIS_ENTROPY,         /**< (H, L): -sum_j w log w (Shannon 1948), in nats */
    ATTN_ANALYSIS_MEAN_DISTANCE,   /**< (H): mean over rows of sum_j w_ij |p_i - j| (Vig and Belinkov 2019) */
    ATTN_ANALYSIS_HEAD_DISTANCE,   /**< (H, H): sqrt of the Jensen-Shannon divergence of two heads' rows, row mean
                                        (Clark et al. 2019; Endres and Schindelin 2003); rows are scaled to sum 1 */
    ATTN_ANALYSIS_HEAD_CONFIDENCE, /**< (H): mean over rows of the largest weight (Voita et al. 2019) */
    ATTN_ANALYSIS_RECEIVED,        /**< (H, T): mean over rows of each column */
    ATTN_ANALYSIS_SINK,            /**< (H): mean weight on the first key that is no padding (Xiao et al. 2024) */
    ATTN_ANALYSIS_SINK_MASS,       /**< (H, L): 1 - sum of the row: what `sinks` took */
    ATTN_ANALYSIS_DIAGONAL,        /**< (H): mean weight on key p_i, over rows where it exists */
    ATTN_ANALYSIS_PREVIOUS,        /**< (H): on key p_i - 1 */
    ATTN_ANALYSIS_NEXT,            /**< (H): on key p_i + 1 */
    ATTN_ANALYSIS_DUPLICATE,       /**< (H): summed over earlier places j < p_i of the same token, over rows that have
                                        such places (Wang et al. 2022) (needs tokens) */
    ATTN_ANALYSIS_INDUCTION,       /**< (H): over the places j + 1 right after those (Olsson et al. 2022) (needs
                                        tokens) */
    ATTN_ANALYSIS_COUNT            /**< how many there are */
} attn_analysis;

/** Matrices that a computation hands out beside the weights. */
typedef enum attn_internal {
    ATTN_INTERNAL_QUERY,     /**< (N, H, L, D) as they enter the product */
    ATTN_INTERNAL_KEY,       /**< (N, Hkv, T, D) */
    ATTN_INTERNAL_VALUE,     /**< (N, Hkv, T, Dv) */
    ATTN_INTERNAL_CONTEXT,   /**< (N, H, L, Dv): each head's output before the output projection */
    ATTN_INTERNAL_LOGSUMEXP, /**< (N, H, L) of the masked scores */
    ATTN_INTERNAL_MAX_SCORE, /**< (N, H, L) */
    ATTN_INTERNAL_COUNT      /**< how many there are */
} attn_internal;

/** How rollout and flow make one matrix of a layer's heads (Abnar and Zuidema 2020: mean). */
typedef enum attn_fusion {
    ATTN_FUSION_MEAN, /**< arithmetic mean over heads */
    ATTN_FUSION_MAX,  /**< elementwise maximum */
    ATTN_FUSION_MIN,  /**< elementwise minimum */
    ATTN_FUSION_COUNT /**< how many there are */
} attn_fusion;

/** @return the name by which the HTTP interface knows it ("head_weighted"); NULL out of range. Thread safe. */
ATTN_API const char *attn_form_name(attn_form form);
/** @return the name by which the HTTP interface knows it ("mean_distance"); NULL out of range. Thread safe. */
ATTN_API const char *attn_analysis_name(attn_analysis analysis);
/** @return the name by which the HTTP interface knows it ("logsumexp"); NULL out of range. Thread safe. */
ATTN_API const char *attn_internal_name(attn_internal internal);
/** @return the name by which the HTTP interface knows it ("softmax"); NULL out of range. Thread safe. */
ATTN_API const char *attn_stage_name(attn_stage stage);
/** @return the name by which the HTTP interface knows it ("mean"); NULL out of range. Thread safe. */
ATTN_API const char *attn_fusion_name(attn_fusion fusion);

/** Bit of a form, analysis or internal in a set. */
#define ATTN_BIT(member) (1U << (unsigned)(member))

/**
 * What a caller wants back. Start from ATTN_WANT_DEFAULTS. Arrays stay the caller's and are read by attn_plan_create
 * only. Forms and analyses are over the chosen heads; output, present keys and internals over all of them. Ranges and
 * top_k cut the forms, not the analyses; rollout and flow are over all layers, whatever layers are chosen.
 */
struct attn_want {
    bool output;            /**< the output; default true */
    bool present;           /**< present_key, present_value */
    unsigned forms;         /**< ATTN_BIT(attn_form) set; 0: none of the weights */
    attn_stage stage;       /**< default softmax; other stages for average, per_head, concat, max, min, head_weighted */
    unsigned analyses;      /**< ATTN_BIT(attn_analysis) set */
    unsigned internals;     /**< ATTN_BIT(attn_internal) set */
    const long long *heads; /**< which heads, in the order given, negative from the end; NULL: all */
    size_t heads_count;     /**< entries of heads */
    const long long *layers;     /**< likewise for layers, where there are layers */
    size_t layers_count;         /**< entries of layers */
    const long long (*pairs)[2]; /**< (layer, head) in place of both */
    size_t pairs_count;          /**< entries of pairs */
    bool has_query_range;        /**< query_range is given */
    bool has_key_range;          /**< key_range is given */
    size_t query_range[2];       /**< start, end (not included): the rows of each matrix that are handed out */
    size_t key_range[2];         /**< start, end (not included): the columns that are handed out */
    size_t top_k;                /**< 0: dense; else the k largest of each row, ties to the lower key */
    const double *head_weights;  /**< one a chosen head, for ATTN_FORM_HEAD_WEIGHTED */
    size_t head_weights_count;   /**< entries of head_weights */
    size_t components;           /**< of pca; default 3 */
    attn_fusion fusion;          /**< of rollout and flow; default mean */
    size_t max_elements;         /**< 0: no limit; a tensor held or returned with more is ATTN_ELIMIT */
};

/** The output and the average of the softmax weights. */
#define ATTN_WANT_DEFAULTS                                                                                             \
    { .output = true, .forms = ATTN_BIT(ATTN_FORM_AVERAGE), .stage = ATTN_STAGE_SOFTMAX, .components = 3 }

#ifdef __cplusplus
}
#endif
#endif
