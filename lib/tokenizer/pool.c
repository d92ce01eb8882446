#include "lib/tokenizer/pool.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 1 << 16, ALIGNMENT = 16 };

struct attn_pool_block {
    struct attn_pool_block *next;
    size_t used, capacity;
    _Alignas(ALIGNMENT) unsigned char bytes[];
};

struct attn_pool_deferred {
    struct attn_pool_deferred *next;
    void (*release)(void *);
    void *thing;
};

static void *take_bytes(struct attn_pool *pool, size_t bytes, size_t alignment) {
    struct attn_pool_block *block = pool->blocks;
    size_t at = block != NULL ? (block->used + alignment - 1) & ~(alignment - 1) : 0;
    if (block == NULL || at > block->capacity || bytes > block->capacity - at) {
        size_t capacity = bytes > BLOCK_BYTES / 4 ? bytes : BLOCK_BYTES;
        if (capacity > SIZE_MAX - sizeof *block)
            return NULL;
        block = malloc(sizeof *block + capacity);
        if (block == NULL)
            return NULL;
        *block = (struct attn_pool_block){.capacity = capacity};
        /* A block of its own goes behind the one that still has room. */
        struct attn_pool_block **place =
            pool->blocks != NULL && capacity == bytes ? &pool->blocks->next : &pool->blocks;
        block->next = *place;
        *place = block;
        at = 0;
    }
    block->used = at + bytes;
    return block->bytes + at;
}

void *attn_pool_take(struct attn_pool *pool, size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    void *memory = take_bytes(pool, bytes, ALIGNMENT);
    if (memory != NULL)
        memset(memory, 0, bytes);
    return memory;
}

char *attn_pool_copy(struct attn_pool *pool, const char *bytes, size_t length) {
    if (length == SIZE_MAX)
        return NULL;
    char *copy = take_bytes(pool, length + 1, 1);
    if (copy != NULL) {
        if (length > 0)
            memcpy(copy, bytes, length);
        copy[length] = '\0';
    }
    return copy;
}

bool attn_pool_defer(struct attn_pool *pool, void (*release)(void *), void *thing) {
    struct attn_pool_deferred *deferred = attn_pool_take(pool, 1, sizeof *deferred);
    if (deferred == NULL) {
        release(thing);
        return false;
    }
    *deferred = (struct attn_pool_deferred){.next = pool->deferred, .release = release, .thing = thing};
    pool->deferred = deferred;
    return true;
}

void attn_pool_reset(struct attn_pool *pool) {
    for (struct attn_pool_deferred *deferred = pool->deferred; deferred != NULL; deferred = deferred->next)
        deferred->release(deferred->thing);
    for (struct attn_pool_block *block = pool->blocks; block != NULL;) {
        struct attn_pool_block *next = block->next;
        free(block);
        block = next;
    }
    *pool = (struct attn_pool){0};
}
