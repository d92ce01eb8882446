/** @file gunzip.h Golden files that are kept compressed. */
#ifndef TESTS_GOLDEN_RUNNER_GUNZIP_H
#define TESTS_GOLDEN_RUNNER_GUNZIP_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

/** @return what the file unpacks to, to be freed by the caller. */
static inline char *golden_gunzip(const char *path, size_t *length) {
    gzFile file = gzopen(path, "rb");
    ck_assert_msg(file != NULL, "%s cannot be opened", path);
    size_t capacity = 1 << 16;
    char *bytes = malloc(capacity);
    int count;
    *length = 0;
    while (bytes != NULL && (count = gzread(file, bytes + *length, (unsigned)(capacity - *length))) > 0) {
        *length += (size_t)count;
        if (*length == capacity)
            bytes = realloc(bytes, capacity *= 2);
    }
    ck_assert_ptr_nonnull(bytes);
    ck_assert_int_eq(gzclose(file), Z_OK);
    return bytes;
}

/** Unpacks a file into another. */
static inline void golden_gunzip_to(const char *from, const char *to) {
    size_t length;
    char *bytes = golden_gunzip(from, &length);
    FILE *file = fopen(to, "wb");
    ck_assert_msg(file != NULL && fwrite(bytes, 1, length, file) == length && fclose(file) == 0, "%s", to);
    free(bytes);
}

#endif
