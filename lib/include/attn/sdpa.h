/**
 * @file sdpa.h
 * Scaled dot-product attention over strided views, streaming its weights in blocks.
 */
#ifndef ATTN_SDPA_H
#define ATTN_SDPA_H

#include <attn/execution.h>
#include <attn/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Which matrix: ONNX's qk_matmul_output_mode in brackets (operator Attention, opset 24). */
typedef enum attn_stage {
    ATTN_STAGE_RAW,        /**< scale * query . key^T (0) */
    ATTN_STAGE_SOFTCAPPED, /**< after softcap (1) */
    ATTN_STAGE_MASKED,     /**< after masks and biases (2) */
    ATTN_STAGE_SOFTMAX,    /**< the attention weights (3) */
    ATTN_STAGE_COUNT       /**< how many there are */
} attn_stage;

/** Which key is query 0's own: the offset in "query i sees key j where j <= i + offset". */
typedef enum attn_causal_alignment {
    ATTN_CAUSAL_AUTO,        /**< P with past keys; key_lengths[n] - L where these are given; else 0 (ONNX) */
    ATTN_CAUSAL_TOP_LEFT,    /**< 0 */
    ATTN_CAUSAL_BOTTOM_RIGHT /**< T - L, or key_lengths[n] - L */
} attn_causal_alignment;

/** No bound on this side of the window. */
#define ATTN_UNBOUNDED (-1)

/**
 * Everything that decides what is attended. Start from ATTN_SDPA_DEFAULTS. Views that are not given have data NULL.
 * "Key j is seen by query i" needs every one of the given rules to hold.
 */
struct attn_sdpa_options {
    bool has_scale; /**< scale is given */
    double scale;   /**< default 1/sqrt(D); any finite number */
    double softcap; /**< c * tanh(score / c) before masks and biases; 0 is off */
    /**
     * Broadcasts to (N, H, L, T) as NumPy does. ATTN_BOOL/ATTN_UINT8: not 0 takes part (see bool_mask_ignores);
     * float32 or float64: added to the scores, -Infinity masks out. A last axis shorter than T (and not 1) is taken
     * with key_lengths only, must reach their maximum, and is padded with "not attended". (N*H, L, T) is taken too.
     */
    struct attn_view attn_mask;
    /** (N, T) or (T) for N = 1: boolean as attn_mask, or floating and added. */
    struct attn_view key_padding_mask;
    /** true: a true entry of either boolean mask is left out (torch.nn.MultiheadAttention's meaning). */
    bool bool_mask_ignores;
    bool is_causal;                         /**< query i sees key j where j <= i + offset */
    attn_causal_alignment causal_alignment; /**< what the offset is, here and for windows and ALiBi */
    long long window_left;                  /**< keys from i + offset - window_left; ATTN_UNBOUNDED */
    long long window_right;                 /**< to i + offset + window_right, inclusive; ATTN_UNBOUNDED */
    struct attn_view key_lengths;           /**< int64 (N): keys beyond are padding; 0 to T */
    struct attn_view segment_ids;           /**< int64 (N, T), L = T: a query sees the keys of its own segment */
    struct attn_view prefix_length;         /**< int64 (N): the first so many keys are seen whatever is_causal says */
    struct attn_view alibi_slopes;          /**< floating (H): slope * -|i + offset - j| is added with the mask */
    struct attn_view sinks; /**< floating (H): a logit that joins each row's softmax, its column dropped */
    /**
     * ATTN_BOOL/ATTN_UINT8 (N, L), or (L) for N = 1: a row that is 0 here is padding, whatever bool_mask_ignores says.
     * It attends to nothing, not even to the unmasked tail; in ATTN_STAGE_RAW and ATTN_STAGE_SOFTCAPPED it has scores.
     */
    struct attn_view query_mask;
    size_t past_length;   /**< P: how many of the T keys are past ones (for ATTN_CAUSAL_AUTO) */
    size_t unmasked_tail; /**< the last so many keys are seen by every query whatever the masks, and count neither in T
                               for masks nor for offsets (bias_k, add_zero_attn) */
};

/** Every query sees every key, scaled by 1/sqrt(D). */
#define ATTN_SDPA_DEFAULTS                                                                                             \
    { .window_left = ATTN_UNBOUNDED, .window_right = ATTN_UNBOUNDED }

/**
 * A block of one stage's matrix, lent to a sink while it is warm in the cache: rows
 * query_begin .. query_begin+query_count-1 of one head of one batch item, all key_count columns. Masked-out entries
 * are 0 in ATTN_STAGE_SOFTMAX and -Infinity in ATTN_STAGE_MASKED; rows that attend to nothing are all zero in
 * ATTN_STAGE_SOFTMAX.
 */
struct attn_block {
    attn_stage stage;   /**< whose matrix it is */
    size_t batch;       /**< which batch item */
    size_t head;        /**< which head */
    size_t query_begin; /**< the first row */
    size_t query_count; /**< how many rows */
    size_t key_count;   /**< how many columns: all of them */
    const void *rows;   /**< the computation's dtype */
    attn_dtype dtype;   /**< float32 or float64 */
    size_t row_stride;  /**< elements between rows; columns are contiguous */
    size_t key_begin;   /**< columns before are known to be masked out in all rows, and hold 0 or -Infinity */
    size_t key_end;     /**< so are this one and those behind it */
    size_t lane;        /**< the executor's lane that computed it */
    /**
     * The largest masked score of the first row, -Infinity where it attends to nothing; the next rows' stand
     * row_maxima_stride bytes apart. With sinks in ATTN_STAGE_SOFTMAX, whose rows may underflow to zero; else NULL:
     * there, rows that attend to nothing are those that are all zero.
     */
    const double *row_maxima;
    size_t row_maxima_stride; /**< bytes */
};

/** Receives blocks. All heads of one (batch, query_begin) come in rising order of head, on one lane. */
struct attn_block_sink {
    void (*consume)(void *context, const struct attn_block *block); /**< the block is gone when it returns */
    void *context;                                                  /**< its first argument */
};

/** What is wanted of attn_sdpa; a view with no data, or a sink with no function, is not computed. */
struct attn_sdpa_result {
    struct attn_view output;    /**< (N, H, L, Dv), any strides whose last is 1 */
    struct attn_view weights;   /**< (N, H, L, T), any strides whose last is 1: softmax weights of every head */
    struct attn_view logsumexp; /**< (N, H, L), contiguous: of the masked scores (sinks left out), -Infinity for none */
    struct attn_view max_score; /**< (N, H, L), contiguous: the largest masked score, -Infinity for none */
    struct attn_block_sink sinks[ATTN_STAGE_COUNT]; /**< by stage: who is lent its blocks */
};

/** The work of one call, for cost models and limits. */
struct attn_sdpa_cost {
    double flops;                  /**< multiplications and additions of both products, masked blocks left out */
    double exponentials;           /**< of the softmax */
    size_t scratch_bytes_per_lane; /**< held by each lane while it runs */
};

/**
 * Checks shapes, dtypes and options of attn_sdpa and says what it would cost. Computes nothing.
 *
 * @return ATTN_OK; ATTN_ESHAPE, ATTN_EDTYPE, ATTN_ERANGE, ATTN_ECONFLICT with error->field naming the argument. Thread
 * safe.
 */
ATTN_API attn_status attn_sdpa_check(const struct attn_view *query, const struct attn_view *key,
                                     const struct attn_view *value, const struct attn_sdpa_options *options,
                                     const struct attn_sdpa_result *result, struct attn_sdpa_cost *cost,
                                     struct attn_error *error);

/**
 * The place among the keys of query 0 of batch item n (p_i = i + offset), by causal_alignment. Thread safe.
 * @param key_length T, without the unmasked tail
 */
ATTN_API long long attn_sdpa_offset(const struct attn_sdpa_options *options, size_t batch, size_t query_length,
                                    size_t key_length);

/**
 * Scaled dot-product attention.
 *
 *     weights = softmax(mask(softcap(scale * query . key^T)))
 *     output  = weights . value
 *
 * Vaswani et al. 2017, section 3.2.1; grouped heads: Ainslie et al. 2023; softcap: Gemma 2 report, section 2; ALiBi:
 * Press et al. 2022; sinks: gpt-oss. Without weights and sinks the scores are never held whole (Rabe and Staats 2021;
 * Dao 2022): memory is linear in tokens.
 *
 * @param query   (N, H, L, D), any strides whose last is 1; float32 or float64, the same for all three
 * @param key     (N, Hkv, T, D); H is a multiple of Hkv, and head h reads key head h / (H / Hkv)
 * @param value   (N, Hkv, T, Dv)
 * @param options what is attended; NULL is ATTN_SDPA_DEFAULTS
 * @param result  what is wanted, in the inputs' dtype
 * @param execution threads and cancellation; NULL is one thread
 * @param error   filled on failure; may be NULL
 * @return ATTN_OK; what attn_sdpa_check returns; ATTN_ENOMEM for scratch; ATTN_ECANCELLED. On failure the results are
 *         unspecified.
 *
 * A query with nothing to attend to gets zero weights and zero output. A key that is masked out does not reach the
 * result, NaN and infinities included, nor does a value whose weight is exactly 0. A NaN or +Infinity score that takes
 * part makes its row NaN. The result does not depend, to the bit, on how many lanes compute it. Reads its inputs
 * only; may be called from many threads at once with different results.
 */
ATTN_API attn_status attn_sdpa(const struct attn_view *query, const struct attn_view *key,
                               const struct attn_view *value, const struct attn_sdpa_options *options,
                               const struct attn_sdpa_result *result, const struct attn_execution *execution,
                               struct attn_error *error);

#ifdef __cplusplus
}
#endif
#endif
