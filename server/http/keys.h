/**
 * @file keys.h
 * The file of --api-keys: one `key scope[,scope] [name] [rate=N/s]` a line, # begins a comment line. A key has 8 to 256
 * visible ASCII characters; scopes are infer and admin; rate is requests a second (a burst of as many is allowed).
 * Any thread; keys_reload replaces all keys at once.
 */
#ifndef SERVER_HTTP_KEYS_H
#define SERVER_HTTP_KEYS_H

#include "server/http/exchange.h"

struct keys;

/** Reads the file. @return NULL with one line in `why`. */
struct keys *keys_open(const char *path, char *why, size_t why_capacity);
/** Reads it again; on failure the old keys stay. */
bool keys_reload(struct keys *keys, char *why, size_t why_capacity);
void keys_close(struct keys *keys);
/** Whether a file could be read. @return false with one line in `why` */
bool keys_file_is_good(const char *path, char *why, size_t why_capacity);

struct key_verdict {
    bool is_known;
    bool is_limited; /**< its rate is reached: 429 */
    int wait_s;      /**< … until so many seconds have passed */
    bool scopes[3];  /**< by enum scope */
    char name[64];
};
/** Looks a key up, in time that does not depend on how much of it is right, and counts it against its rate. */
struct key_verdict keys_check(struct keys *keys, const char *key, uint64_t now_ns);

#endif
