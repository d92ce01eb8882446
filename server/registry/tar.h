/**
 * @file tar.h
 * Reads tar archives of one flat directory of regular files: POSIX ustar and pax, GNU's and version 7's. Every header
 * is checked before a byte is unpacked; what could reach outside the directory (links, devices, paths) is refused.
 */
#ifndef SERVER_REGISTRY_TAR_H
#define SERVER_REGISTRY_TAR_H

#include "server/base/problem.h"
#include <stdint.h>

#define TAR_MOST_FILES 1024
#define TAR_NAME_BYTES 256

/** A regular file of an archive. */
struct tar_member {
    char name[TAR_NAME_BYTES]; /**< printable ASCII without a slash, not "." or ".."; unique */
    uint64_t offset;           /**< of its first byte in the archive */
    uint64_t bytes;
};

struct tar {
    struct tar_member *members; /**< in the archive's order */
    size_t count, capacity;
};

/**
 * Reads the headers of a whole archive. A tar of zeros is made full; tar_reset frees it, on failure too.
 * @param fd a regular file, read from its first byte, its position left alone
 * @return false with PROBLEM_MALFORMED and the byte offset, or PROBLEM_NO_ROOM
 */
bool tar_read(struct tar *tar, int fd, struct problem *problem);
/** @return the member of that name, NULL: none. */
const struct tar_member *tar_find(const struct tar *tar, const char *name);
void tar_reset(struct tar *tar);

#endif
