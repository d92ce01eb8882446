/** @file table.h Models by id, in order. The table holds one reference of each. No locking: its owner's. */
#ifndef SERVER_REGISTRY_TABLE_H
#define SERVER_REGISTRY_TABLE_H

#include "server/registry/loaded.h"

struct table {
    struct loaded **models; /**< sorted by id */
    size_t count, capacity;
};

/** @return the model, its reference still the table's; NULL: none. */
struct loaded *table_find(const struct table *table, const char *id);
/**
 * Puts a model, whose reference becomes the table's, in the place of the one of its id.
 * @param old receives that one, to be released; NULL where there was none
 * @return false out of memory, for a new id only
 */
bool table_put(struct table *table, struct loaded *loaded, struct loaded **old);
/** Takes a model out. @return it, to be released; NULL: none. */
struct loaded *table_remove(struct table *table, const char *id);
/** Releases all. */
void table_reset(struct table *table);

#endif
