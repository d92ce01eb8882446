/** @file bpe.h Byte pair encoding: the tables and the merging of one word. */
#ifndef LIB_TOKENIZER_BPE_H
#define LIB_TOKENIZER_BPE_H

#include "lib/tokenizer/parts.h"

struct attn_merge {
    uint64_t pair; /**< left id << 32 | right id */
    uint32_t rank; /**< UINT32_MAX: an empty slot */
    int32_t id;    /**< what the pair becomes */
};

/** Pairs by open addressing. */
struct attn_merges {
    struct attn_merge *slots;
    size_t slot_mask;
    int shift; /**< 64 less the bits of slot_mask */
};

/** One symbol of a word: a token that covers `length` of its bytes. */
struct attn_symbol {
    int32_t id;
    uint32_t length; /**< 0: merged into the one before */
    int32_t previous, next;
};

/** Makes room for `count` pairs. @return false without memory. */
bool attn_merges_reserve(struct attn_pool *pool, struct attn_merges *merges, size_t count);
/** Adds a pair; one that is there gets the new rank and id. @return false if it is one of very many that collide. */
bool attn_merges_add(struct attn_merges *merges, int32_t left, int32_t right, uint32_t rank, int32_t id);

/** What attn_merge_word needs beside the symbols, for `count` of them. */
size_t attn_merge_scratch_bytes(size_t count);
/**
 * Merges the pairs of a word, lowest rank first, the leftmost of equal ones; n log n. Symbols that are merged away are
 * taken out.
 *
 * @param scratch aligned for 8 bytes
 * @param patience where it is over, merging leaves off
 * @return how many symbols are left
 */
size_t attn_merge_word(const struct attn_merges *merges, struct attn_symbol *symbols, size_t count, void *scratch,
                       struct attn_patience *patience);

#endif
