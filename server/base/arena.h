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

/** @return a new arena, or NULL out of memory. */
struct arena *arena_create(void);
/** Frees everything that came from it; NULL is allowed. */
void arena_destroy(struct arena *arena);
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
/** @return bytes held (reservations count what was committed). */
size_t arena_bytes(const struct arena *arena);

#endif
