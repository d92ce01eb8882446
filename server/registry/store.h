/**
 * @file store.h
 * The models directory: where an id's file is, uploads beside it, and changes that a crash leaves undone or done.
 */
#ifndef SERVER_REGISTRY_STORE_H
#define SERVER_REGISTRY_STORE_H

#include "server/base/problem.h"
#include <attn/safetensors.h>
#include <stddef.h>

#define STORE_UPLOADS ".uploads"
#define STORE_SUFFIX ".safetensors"

/** @return a malloc'ed "directory/id", a whole model's folder, or "directory/id.safetensors"; NULL out of memory. */
char *store_path(const char *directory, const char *id, bool is_folder);
/** Removes what uploads left behind when the server was killed; those of other servers on the directory are let be. */
void store_clean_uploads(const char *directory);
/** Opens a new temporary file. @return its descriptor and path (malloc'ed), or -1 with the problem. */
int store_upload_open(const char *directory, char **path, struct problem *problem);
/** The same for a folder. While its descriptor is open, no other server takes it for one that was left behind. */
int store_upload_folder(const char *directory, char **path, struct problem *problem);
/**
 * Makes an upload the id's: fsync, rename, fsync of the directory. A folder that is there is exchanged with the new
 * one in one step; what there was of the other kind is removed afterwards, and until then the file goes before the
 * folder, as in a scan: whenever this ends, the old model is there or the new.
 * @param from a file, or a folder whose files are synchronized
 * @return false with the problem
 */
bool store_put(const char *directory, const char *id, const char *from, bool is_folder, struct problem *problem);
/** Removes the id's file and folder. @return false with the problem. */
bool store_delete(const char *directory, const char *id, struct problem *problem);
/**
 * Copies a safetensors file with more metadata into a new upload.
 * @return the new file's path (malloc'ed), or NULL with the problem
 */
char *store_rewrite(const char *directory, const struct attn_safetensors *file, const struct attn_metadata *more,
                    size_t more_count, struct problem *problem);

#endif
