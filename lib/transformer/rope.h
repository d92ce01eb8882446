/** @file rope.h Rotary position embedding (Su et al. 2021, section 3.4.2) and the ways in which it is stretched. */
#ifndef LIB_TRANSFORMER_ROPE_H
#define LIB_TRANSFORMER_ROPE_H

#include "lib/transformer/config.h"

enum attn_rope_type {
    ATTN_ROPE_TYPE_DEFAULT,
    ATTN_ROPE_TYPE_LINEAR,   /**< Chen et al. 2023, section 2.3 */
    ATTN_ROPE_TYPE_DYNAMIC,  /**< NTK-aware, by the length of the text (Peng et al. 2023, section 3.3) */
    ATTN_ROPE_TYPE_YARN,     /**< Peng et al. 2023, sections 3.2 (the ramp) and 3.4 (attention_factor) */
    ATTN_ROPE_TYPE_LLAMA3,   /**< Llama 3.1: long waves divided, short ones kept, a ramp between (transformers) */
    ATTN_ROPE_TYPE_LONGROPE, /**< Ding et al. 2024, section 3 */
};

/** One rotation: everything but the text's length, which DYNAMIC and LONGROPE look at. */
struct attn_rope {
    enum attn_rope_type type;
    size_t width; /**< how much of a head is rotated, even; 0: no rotation */
    bool is_paired;
    double theta, factor, attention_factor;
    double low_factor, high_factor;       /**< llama3 */
    double beta_fast, beta_slow;          /**< yarn */
    bool truncates;                       /**< yarn */
    double positions, first_positions;    /**< longest text, and that of the first training */
    double *short_factors, *long_factors; /**< longrope: (width / 2) each, in one block whose owner is short_factors */
};

/**
 * Reads a stack's rotation, of windowed layers or of the others.
 * @return ATTN_OK; ATTN_ECONFLICT, ATTN_ERANGE with "config.json/rope_scaling" and the like; ATTN_ENOMEM
 */
attn_status attn_rope_read(struct attn_rope *rope, const json_t *config, const struct attn_settings *settings,
                           const struct attn_rope_recipe *recipe, bool is_windowed, struct attn_error *error);
void attn_rope_free(struct attn_rope *rope);

/** inverse (width / 2): radians a position, for a text of so many positions; in float32 rounded as the field rounds. */
void attn_rope_inverse(const struct attn_rope *rope, size_t length, attn_dtype dtype, double *inverse);

/**
 * table (length, width): cosines of a position, then sines, width / 2 each, with the attention factor. In float32
 * angles are rounded as the field rounds them: the frequency, then its product with the position.
 * @param inverse (width / 2) working memory
 */
void attn_rope_table(const struct attn_rope *rope, size_t length, attn_dtype dtype, double *inverse, void *table);

#endif
