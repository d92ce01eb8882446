/**
 * @file guard.h
 * Keeps the server alive when a mapped model file is cut short under it. A read behind the file's new end raises
 * SIGBUS; inside a guarded range the handler puts zero pages there and notes that the range is broken, so that the read
 * goes on and whoever uses the numbers can ask. Any other SIGBUS ends the process as usual.
 */
#ifndef SERVER_REGISTRY_GUARD_H
#define SERVER_REGISTRY_GUARD_H

#include <stdbool.h>
#include <stddef.h>

/** Most ranges at once. */
#define GUARD_CAPACITY 4096

struct guard;

/** Guards a mapping (and installs the handler the first time). @return NULL where there are too many. Any thread. */
struct guard *guard_add(void *begin, size_t length);
/** Ends it, before the range is unmapped. NULL is allowed. Any thread. */
void guard_remove(struct guard *guard);
/** @return whether a part of the range could not be read. Any thread. */
bool guard_is_broken(const struct guard *guard);

#endif
