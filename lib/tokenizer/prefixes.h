/** @file prefixes.h All tokens that a text begins with. */
#ifndef LIB_TOKENIZER_PREFIXES_H
#define LIB_TOKENIZER_PREFIXES_H

#include "lib/tokenizer/vocabulary.h"

/** Tokens are no longer, in bytes, so that looking for them takes a bounded time at every place of a text. */
enum { ATTN_PREFIX_LIMIT = 1024 };

struct attn_prefix_entry {
    struct attn_string text;
    int32_t id;
};

/** Tokens in the order of their bytes; the memory is the pool's. */
struct attn_prefixes {
    struct attn_prefix_entry *entries;
    size_t count;
    uint32_t first[257]; /**< where tokens begin whose first byte is that or larger */
};

/** Makes the table of all tokens but the empty one. @return false without memory. */
bool attn_prefixes_build(struct attn_pool *pool, const struct attn_vocabulary *vocabulary,
                         struct attn_prefixes *prefixes);

/** Where a search is: the tokens that begin with the `depth` bytes before. */
struct attn_prefix_search {
    size_t low, high, depth;
};

/**
 * Goes on to the next longer token that `text` begins with.
 * @param search starts from zeros
 * @return the token; NULL where there is none any more
 */
const struct attn_prefix_entry *attn_prefixes_next(const struct attn_prefixes *prefixes,
                                                   struct attn_prefix_search *search, const char *text, size_t length);

#endif
