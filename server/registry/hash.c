#include "server/registry/hash.h"
#include <gnutls/crypto.h>
#include <stdlib.h>
#include <unistd.h>

#define BLOCK_BYTES ((size_t)1 << 20)
#define DIGEST_BYTES 32

static void print_hex(const unsigned char *digest, char *text) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        text[2 * i] = digits[digest[i] >> 4];
        text[2 * i + 1] = digits[digest[i] & 15];
    }
    text[HASH_TEXT_BYTES - 1] = '\0';
}

static bool is_stopped(const atomic_bool *stops) {
    return stops != NULL && atomic_load(stops);
}

static bool finish(gnutls_hash_hd_t hash, bool is_whole, char *text) {
    unsigned char digest[DIGEST_BYTES];
    gnutls_hash_deinit(hash, digest);
    if (is_whole)
        print_hex(digest, text);
    return is_whole;
}

bool hash_bytes(const void *bytes, size_t length, const atomic_bool *stops, char *text) {
    gnutls_hash_hd_t hash;
    bool is_whole = true;
    if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) != 0)
        return false;
    for (size_t at = 0; at < length && is_whole; at += BLOCK_BYTES) {
        size_t left = length - at;
        is_whole = !is_stopped(stops) &&
                   gnutls_hash(hash, (const char *)bytes + at, left < BLOCK_BYTES ? left : BLOCK_BYTES) == 0;
    }
    return finish(hash, is_whole, text);
}

bool hash_descriptor(int fd, const atomic_bool *stops, char *text) {
    gnutls_hash_hd_t hash;
    void *block = malloc(BLOCK_BYTES);
    ssize_t bytes = -1;
    if (block == NULL || gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) != 0) {
        free(block);
        return false;
    }
    while (!is_stopped(stops) && (bytes = read(fd, block, BLOCK_BYTES)) > 0)
        if (gnutls_hash(hash, block, (size_t)bytes) != 0)
            break;
    free(block);
    return finish(hash, bytes == 0, text);
}
