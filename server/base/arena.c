#include "server/base/arena.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Chunks double from the first size to the last. A block of LARGE_BYTES or more gets a mapping of its own: below that,
 * two system calls and the page faults would cost more than zeroing recycled heap. */
#define FIRST_CHUNK_BYTES ((size_t)8 << 10)
#define LAST_CHUNK_BYTES ((size_t)256 << 10)
#define LARGE_BYTES ((size_t)128 << 10)
#define ALIGNMENT ((size_t)64)

struct block {
    struct block *next;
    unsigned char *data; /* aligned to 64 */
    size_t size;
    size_t used;
    bool is_mapped; /* data is a mapping; else it lies behind the header, in the same heap block */
};

struct arena {
    struct block *chunks; /* the newest, which is allocated from, first */
    struct block *maps;
    struct block *reserved; /* the block of the open reservation, or NULL */
    size_t reserved_start;  /* the reservation's place in it */
    size_t bytes;
    size_t chunk_bytes; /* of the next chunk */
    struct arena_account account;
};

static bool round_up(size_t bytes, size_t multiple, size_t *rounded) {
    if (bytes > SIZE_MAX - (multiple - 1)) {
        return false;
    }
    *rounded = (bytes + multiple - 1) / multiple * multiple;
    return true;
}

static size_t page_bytes(void) {
    long bytes = sysconf(_SC_PAGESIZE);
    return bytes > 0 ? (size_t)bytes : 4096;
}

struct arena *arena_create(void) {
    struct arena *arena = calloc(1, sizeof *arena);
    if (arena != NULL) {
        arena->chunk_bytes = FIRST_CHUNK_BYTES;
    }
    return arena;
}

void arena_set_account(struct arena *arena, struct arena_account account) {
    arena->account = account;
}

bool arena_charge(struct arena *arena, size_t bytes) {
    return arena->account.take == NULL || arena->account.take(arena->account.context, bytes);
}

void arena_refund(struct arena *arena, size_t bytes) {
    if (arena->account.give != NULL && bytes > 0) {
        arena->account.give(arena->account.context, bytes);
    }
}

static void block_free(struct block *block) {
    if (block != NULL && block->is_mapped && block->size > 0) {
        munmap(block->data, block->size);
    }
    free(block);
}

static void blocks_free(struct block *block) {
    while (block != NULL) {
        struct block *next = block->next;
        block_free(block);
        block = next;
    }
}

void arena_destroy(struct arena *arena) {
    if (arena == NULL) {
        return;
    }
    blocks_free(arena->chunks);
    blocks_free(arena->maps);
    free(arena);
}

void arena_reset(struct arena *arena) {
    struct block *kept = NULL;
    for (struct block *chunk = arena->chunks, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        bool is_better = chunk->size <= ARENA_KEPT_BYTES && (kept == NULL || chunk->size > kept->size);
        block_free(is_better ? kept : chunk);
        kept = is_better ? chunk : kept;
    }
    blocks_free(arena->maps);
    *arena = (struct arena){.chunks = kept, .chunk_bytes = arena->chunk_bytes};
    if (kept != NULL) {
        kept->next = NULL;
        kept->used = 0;
        arena->bytes = kept->size;
    }
}

/* A chunk with room for `bytes`, put in front. */
static struct block *chunk_push(struct arena *arena, size_t bytes) {
    const size_t header = (sizeof(struct block) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    size_t size = bytes > arena->chunk_bytes ? bytes : arena->chunk_bytes;
    if (!round_up(size, ALIGNMENT, &size) || size > SIZE_MAX - header) {
        return NULL;
    }
    if (!arena_charge(arena, header + size)) {
        return NULL;
    }
    struct block *chunk = aligned_alloc(ALIGNMENT, header + size);
    if (chunk == NULL) {
        arena_refund(arena, header + size);
        return NULL;
    }
    *chunk = (struct block){.next = arena->chunks, .data = (unsigned char *)chunk + header, .size = size};
    arena->chunks = chunk;
    arena->bytes += header + size;
    if (arena->chunk_bytes < LAST_CHUNK_BYTES) {
        arena->chunk_bytes *= 2;
    }
    return chunk;
}

/* A mapping of its own; not counted in arena->bytes yet. Pages are zero and cost nothing until they are written. */
static struct block *map_push(struct arena *arena, size_t bytes) {
    size_t size;
    if (!round_up(bytes, page_bytes(), &size) || !arena_charge(arena, size)) {
        return NULL;
    }
    struct block *map = malloc(sizeof *map);
    void *data = map == NULL
                     ? MAP_FAILED
                     : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED) {
        free(map);
        arena_refund(arena, size);
        return NULL;
    }
    *map = (struct block){.next = arena->maps, .data = data, .size = size, .is_mapped = true};
    arena->maps = map;
    return map;
}

/* `bytes` bytes of the newest chunk (or of a new one), not zeroed. */
static unsigned char *chunk_take(struct arena *arena, size_t bytes, size_t alignment) {
    struct block *chunk = arena->chunks;
    size_t start = 0;
    bool fits = chunk != NULL && round_up(chunk->used, alignment, &start) && start <= chunk->size &&
                bytes <= chunk->size - start && arena->reserved != chunk;
    if (!fits) {
        chunk = chunk_push(arena, bytes);
        start = 0;
    }
    if (chunk == NULL) {
        return NULL;
    }
    chunk->used = start + bytes;
    return chunk->data + start;
}

void *arena_alloc(struct arena *arena, size_t bytes) {
    if (bytes >= LARGE_BYTES) {
        struct block *map = map_push(arena, bytes);
        if (map == NULL) {
            return NULL;
        }
        map->used = bytes;
        arena->bytes += map->size;
        return map->data;
    }
    unsigned char *data = chunk_take(arena, bytes > 0 ? bytes : 1, ALIGNMENT);
    return data == NULL ? NULL : memset(data, 0, bytes);
}

char *arena_copy_text(struct arena *arena, const char *text, size_t length) {
    if (length == SIZE_MAX) {
        return NULL;
    }
    char *copy = length + 1 >= LARGE_BYTES ? arena_alloc(arena, length + 1) : (char *)chunk_take(arena, length + 1, 1);
    if (copy == NULL) {
        return NULL;
    }
    if (length > 0) {
        memcpy(copy, text, length);
    }
    copy[length] = '\0';
    return copy;
}

void *arena_reserve(struct arena *arena, size_t capacity) {
    if (arena->reserved != NULL) {
        return NULL;
    }
    if (capacity >= LARGE_BYTES) {
        arena->reserved = map_push(arena, capacity);
        arena->reserved_start = 0;
        return arena->reserved == NULL ? NULL : arena->reserved->data;
    }
    unsigned char *data = chunk_take(arena, capacity, ALIGNMENT);
    if (data == NULL) {
        return NULL;
    }
    arena->reserved = arena->chunks;
    arena->reserved_start = (size_t)(data - arena->chunks->data);
    return data;
}

void arena_commit(struct arena *arena, size_t used_bytes) {
    struct block *block = arena->reserved;
    if (block == NULL) {
        return;
    }
    arena->reserved = NULL;
    block->used = arena->reserved_start + used_bytes;
    if (!block->is_mapped) {
        return;
    }
    size_t keep = 0;
    bool has_tail = round_up(used_bytes, page_bytes(), &keep) && keep < block->size;
    if (has_tail && munmap(block->data + keep, block->size - keep) == 0) {
        arena_refund(arena, block->size - keep);
        block->size = keep;
    }
    arena->bytes += block->size;
}

size_t arena_bytes(const struct arena *arena) {
    return arena->bytes;
}
