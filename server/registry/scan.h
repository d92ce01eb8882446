/** @file scan.h What lies in the models directory. */
#ifndef SERVER_REGISTRY_SCAN_H
#define SERVER_REGISTRY_SCAN_H

#include <stdbool.h>
#include <stddef.h>

/** A model's file or folder, or something that cannot be one, with the reason. */
struct scanned {
    char *id, *path;
    bool is_folder;
    const char *reason; /**< static; NULL: to be loaded */
};

struct scan {
    struct scanned *items;
    size_t count, capacity;
};

/**
 * Lists DIR/name.safetensors and DIR/org/name.safetensors, and whole models, DIR/name/ and DIR/org/name/: a folder with
 * a config.json is one, a folder without is an organisation's. @return false out of memory.
 */
bool scan_directory(struct scan *scan, const char *directory);
/** Adds a file or folder under an id of its own. @return false out of memory. */
bool scan_add_named(struct scan *scan, const char *id, const char *path);
void scan_reset(struct scan *scan);

#endif
