/** @file unpack.h Writes an archive's files into a folder, and sees to it that they are on the disk. */
#ifndef SERVER_REGISTRY_UNPACK_H
#define SERVER_REGISTRY_UNPACK_H

#include "server/registry/tar.h"

/**
 * Unpacks into a fresh folder, piece by piece; the archive's room on the disk is given back meanwhile, where the file
 * system can do that. Files and folder are synchronized.
 * @param archive_fd what tar_read has read; its contents are consumed
 * @return false with PROBLEM_NO_ROOM or PROBLEM_INTERNAL; the folder may then hold a part
 */
bool unpack(const struct tar *tar, int archive_fd, int folder_fd, struct problem *problem);

#endif
