/** @file pool.h Memory that lives as long as a tokenizer, and what else must be freed with it. */
#ifndef LIB_TOKENIZER_POOL_H
#define LIB_TOKENIZER_POOL_H

#include <stdbool.h>
#include <stddef.h>

/** Bytes that need not end in a NUL and may hold some; where a function says so, a NUL stands behind them. */
struct attn_string {
    const char *bytes;
    size_t length;
};

/** Start from zeros. */
struct attn_pool {
    struct attn_pool_block *blocks;
    struct attn_pool_deferred *deferred;
};

/** @return zeroed memory for `count` elements of `size` bytes, aligned for any type; NULL without memory. */
void *attn_pool_take(struct attn_pool *pool, size_t count, size_t size);

/** @return a copy with a NUL behind it; NULL without memory. */
char *attn_pool_copy(struct attn_pool *pool, const char *bytes, size_t length);

/** Has `release(thing)` called by attn_pool_reset. @return false without memory; then `thing` is released at once. */
bool attn_pool_defer(struct attn_pool *pool, void (*release)(void *), void *thing);

/** Frees everything. */
void attn_pool_reset(struct attn_pool *pool);

#endif
