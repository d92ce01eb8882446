/** @file internal.h What reading (registry.c) and writing (write.c) models have in common. */
#ifndef SERVER_REGISTRY_INTERNAL_H
#define SERVER_REGISTRY_INTERNAL_H

#include "server/registry/table.h"

/* Two locks, taken in this order: `writing` is held through a change of the disk, `lock` for moments. */
struct registry {
    struct registry_options options;
    struct registry_named *named; /**< the options', in a copy of our own */
    pthread_mutex_t writing;
    pthread_mutex_t lock; /**< guards table */
    struct table table;
    pthread_t loader;
    bool has_loader;
    struct loaded **awaited; /**< what was found at start, loading; the loader's */
    size_t awaited_count;
    atomic_size_t pending;
    atomic_bool stops;
};

/** @return the model of that id, to be released; NULL: none. */
struct loaded *registry_find(struct registry *registry, const char *id);
/** Gives the table a reference that is the caller's. Where it cannot take it, it is released. */
bool registry_publish(struct registry *registry, struct loaded *loaded);
/** Takes a model out of the table. */
void registry_drop(struct registry *registry, const char *id);
/** @return whether the id was given by --model. */
bool registry_is_named(const struct registry *registry, const char *id);

#endif
