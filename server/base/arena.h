/**
 * @file arena.h
 * A request's memory: grows by chunks, freed once. Large blocks are mapped, so that their pages are touched only when
 * used and go back to the system when the request ends. One owner at a time; no locking.
 */
#ifndef SERVER_BASE_ARENA_H
#define SERVER_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct arena;

/** Who is asked as an arena grows, and told what a reservation leaves unused. */
struct arena_account {
    bool (*take)(void *context, size_t bytes); /**< false: there is no more */
    void (*give)(void *context, size_t bytes);
    void *context;
};

/** @return a new arena, or NULL out of memory. */
struct arena *arena_create(void);
/** Frees everything that came from it; NULL is allowed. */
void arena_destroy(struct arena *arena);
/**
 * Makes the arena as good as new for another request, but for one chunk of at most ARENA_KEPT_BYTES, which it keeps:
 * the next request finds it warm, without the allocator. It has no account then, and what is kept is not taken from
 * one.
 */
void arena_reset(struct arena *arena);
#define ARENA_KEPT_BYTES ((size_t)256 << 10)
/** @return `bytes` zeroed bytes aligned to 64, or NULL. */
void *arena_alloc(struct arena *arena, size_t bytes);
/** @return a NUL-terminated copy of length bytes of text, or NULL. */
char *arena_copy_text(struct arena *arena, const char *text, size_t length);
/**
 * Reserves room for at most `capacity` bytes whose pages cost nothing until they are written.
 * Close it with arena_commit, giving how much was used. Only one reservation may be open.
 */
void *arena_reserve(struct arena *arena, size_t capacity);
void arena_commit(struct arena *arena, size_t used_bytes);
/**
 * From here on memory is taken from the account before it is held, and where that refuses, allocations return NULL.
 * A reservation is taken whole and given back but for what is committed. What the arena holds when it is destroyed is
 * the account's to forget.
 */
void arena_set_account(struct arena *arena, struct arena_account account);
/** Takes from the account for memory that is held elsewhere on the arena's behalf. @return false where it refuses. */
bool arena_charge(struct arena *arena, size_t bytes);
/** Gives back to the account what arena_charge took, where it is not held until the end. */
void arena_refund(struct arena *arena, size_t bytes);
/** @return bytes held (reservations count what was committed). */
size_t arena_bytes(const struct arena *arena);

#endif
