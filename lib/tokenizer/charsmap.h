/**
 * @file charsmap.h SentencePiece's precompiled normalisation: a double-array trie (Aoe 1989, in Darts-clone's layout)
 * from bytes to places in a list of replacements.
 */
#ifndef LIB_TOKENIZER_CHARSMAP_H
#define LIB_TOKENIZER_CHARSMAP_H

#include "lib/tokenizer/parts.h"

struct attn_charsmap {
    uint32_t *units;
    size_t unit_count;
    const char *replacements; /**< UTF-8, a NUL behind each */
    size_t replacements_length;
};

/** Reads a map, whose bytes are copied into the pool. @return NULL, or what is wrong with it. */
const char *attn_charsmap_read(struct attn_pool *pool, const char *bytes, size_t length,
                               struct attn_charsmap *charsmap);

/**
 * @return what is to stand for `text`: the replacement of the shortest entry that it begins with, as in the tokenizers
 * package; bytes is NULL where there is none.
 */
struct attn_string attn_charsmap_find(const struct attn_charsmap *charsmap, const char *text, size_t length);

#endif
