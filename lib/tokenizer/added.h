/** @file added.h Added tokens: found in a text before the model sees it. */
#ifndef LIB_TOKENIZER_ADDED_H
#define LIB_TOKENIZER_ADDED_H

#include "lib/tokenizer/parts.h"

struct attn_added_token {
    struct attn_string content;    /**< as it was given */
    struct attn_string normalized; /**< what is looked for in a normalised text */
    int32_t id;
    bool single_word, lstrip, rstrip, is_normalized, special;
};

/** A tree of bytes. */
struct attn_added_node {
    uint32_t child, sibling; /**< indices; 0: none */
    int32_t id;              /**< of the token that ends here; -1: none does */
    unsigned char byte;
};

struct attn_added_tree {
    struct attn_added_node *nodes; /**< the first is the root */
    size_t count, capacity;
    uint32_t roots[256]; /**< nodes of tokens' first bytes */
};

struct attn_added {
    struct attn_added_token *tokens;
    size_t count;
    struct attn_added_tree plain, normalized; /**< looked for before and after normalisation */
    struct attn_vocabulary by_content;        /**< ids */
    uint32_t *by_id;                          /**< 1 + index into tokens */
    size_t id_count;
};

/** Reads the array of added tokens. Ids are given as the tokenizers package gives them: the model's, else the next. */
attn_status attn_added_read(struct attn_reader *reader, const json_t *array, const struct attn_model *model,
                            const struct attn_normalizer *normalizer, struct attn_added *added);

/** @return the token with that id, or NULL. */
const struct attn_added_token *attn_added_by_id(const struct attn_added *added, int64_t id);

/** Cuts a text into added tokens and normalised pieces of what lies between them. */
attn_status attn_added_extract(const struct attn_added *added, const struct attn_normalizer *normalizer,
                               const struct attn_slice *text, struct attn_pieces *pieces, struct attn_error *error);

#endif
