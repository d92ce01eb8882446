/* A directory of a test's own, and files in it. */
#ifndef ATTN_TESTS_DIRECTORY_H
#define ATTN_TESTS_DIRECTORY_H

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where it is; a program has one at a time. */
static char directory[64];

static inline void make_directory(void) {
    snprintf(directory, sizeof directory, "/tmp/attnd-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
}

static inline int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *place) {
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

/* With all that is in it; links are not followed. */
static inline void remove_directory(void) {
    ck_assert_int_eq(nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* A path in it, which stays until the fourth one behind it. */
static inline char *in_directory(const char *name) {
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

static inline void write_bytes(const char *path, const void *bytes, size_t length) {
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, length, file), length);
    ck_assert_int_eq(fclose(file), 0);
}

static inline void write_text(const char *path, const char *text) {
    write_bytes(path, text, strlen(text));
}

#endif
