/** @file folder.h The folder of a whole model: which files it has, by what they are known, their hash, its removal. */
#ifndef SERVER_REGISTRY_FOLDER_H
#define SERVER_REGISTRY_FOLDER_H

#include "server/registry/hash.h"
#include <sys/stat.h>
#include <time.h>

/** By which a changed file is known. */
struct file_identity {
    dev_t device;
    ino_t inode;
    off_t bytes;
    struct timespec modified;
};

/** A regular file of a folder. Links are followed. */
struct folder_file {
    char *name;
    struct file_identity identity;
};

struct folder {
    struct folder_file *files; /**< sorted by name */
    size_t count, capacity;
    struct file_identity identity; /**< of the folder itself */
};

struct file_identity file_identity_of(const struct stat *about);
/** @return false where there is no such thing. */
bool file_identity_read(const char *path, struct file_identity *identity);
bool file_identity_is_same(const struct file_identity *left, const struct file_identity *right);

/** Lists a folder of zeros. @return false with errno; folder_reset is due on failure too. */
bool folder_list(struct folder *folder, int fd);
/** @return whether both have the same files, unchanged. */
bool folder_is_same(const struct folder *left, const struct folder *right);
/** @return whether the folder that the path names now is this one, unchanged. */
bool folder_is_current(const struct folder *folder, const char *path);
void folder_reset(struct folder *folder);

/**
 * The hash of a model in a folder: of one line a file, in the order of the names' bytes: the file's SHA-256 in
 * lower-case hex, two spaces, its name. (So `sha256sum * | sha256sum` finds it, in the C locale.)
 * @return false where a file cannot be read any more, or `stops` (NULL: never) became true
 */
bool folder_hash(const struct folder *folder, int fd, const atomic_bool *stops, char *text);

/** @return whether the path is a folder with a config.json. */
bool folder_has_model(const char *path);
/** Removes a folder with all that is in it, or a file, or a link to one. */
void folder_remove(const char *path);

#endif
