/** @file hash.h SHA-256 of what a model is made of, in lower-case hex. */
#ifndef SERVER_REGISTRY_HASH_H
#define SERVER_REGISTRY_HASH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/** 64 digits and a NUL. */
#define HASH_TEXT_BYTES 65

/** Each of these ends early, with false, when `stops` (NULL: never) becomes true. */
bool hash_bytes(const void *bytes, size_t length, const atomic_bool *stops, char *text);
/** Reads the descriptor from where it stands to its end. */
bool hash_descriptor(int fd, const atomic_bool *stops, char *text);

#endif
