#include "server/registry/folder.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A folder with more files than this is no model's. */
#define MOST_FILES 10000
#define REMOVAL_DESCRIPTORS 16

struct file_identity file_identity_of(const struct stat *about) {
    return (struct file_identity){about->st_dev, about->st_ino, about->st_size, about->st_mtim};
}

bool file_identity_read(const char *path, struct file_identity *identity) {
    struct stat about;
    if (stat(path, &about) != 0)
        return false;
    *identity = file_identity_of(&about);
    return true;
}

bool file_identity_is_same(const struct file_identity *left, const struct file_identity *right) {
    return left->device == right->device && left->inode == right->inode && left->bytes == right->bytes &&
           left->modified.tv_sec == right->modified.tv_sec && left->modified.tv_nsec == right->modified.tv_nsec;
}

static bool add_file(struct folder *folder, const char *name, const struct stat *about) {
    if (folder->count == MOST_FILES) {
        errno = E2BIG;
        return false;
    }
    if (folder->count == folder->capacity) {
        size_t capacity = folder->capacity == 0 ? 16 : folder->capacity * 2;
        struct folder_file *files = reallocarray(folder->files, capacity, sizeof *files);
        if (files == NULL)
            return false;
        folder->files = files;
        folder->capacity = capacity;
    }
    struct folder_file *file = &folder->files[folder->count];
    *file = (struct folder_file){strdup(name), file_identity_of(about)};
    folder->count += file->name != NULL;
    return file->name != NULL;
}

static int compare_names(const void *left, const void *right) {
    return strcmp(((const struct folder_file *)left)->name, ((const struct folder_file *)right)->name);
}

/* readdir moves the position of its descriptor, so it gets one of its own. */
static DIR *open_again(int fd) {
    int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = again >= 0 ? fdopendir(again) : NULL;
    if (again >= 0 && entries == NULL)
        close(again);
    return entries;
}

bool folder_list(struct folder *folder, int fd) {
    struct stat about;
    DIR *entries = open_again(fd);
    bool is_fine = entries != NULL && fstat(fd, &about) == 0;
    if (is_fine)
        folder->identity = file_identity_of(&about);
    for (struct dirent *entry; is_fine && (entry = readdir(entries)) != NULL;)
        if (fstatat(fd, entry->d_name, &about, 0) == 0 && S_ISREG(about.st_mode))
            is_fine = add_file(folder, entry->d_name, &about);
    if (is_fine && folder->count > 0)
        qsort(folder->files, folder->count, sizeof *folder->files, compare_names);
    if (entries != NULL) {
        int reason = errno;
        closedir(entries);
        errno = reason;
    }
    return is_fine;
}

/* The folder's own time of change is left out: what is not a file in it does not matter. */
bool folder_is_same(const struct folder *left, const struct folder *right) {
    if (left->count != right->count || left->identity.device != right->identity.device ||
        left->identity.inode != right->identity.inode)
        return false;
    for (size_t i = 0; i < left->count; i++)
        if (strcmp(left->files[i].name, right->files[i].name) != 0 ||
            !file_identity_is_same(&left->files[i].identity, &right->files[i].identity))
            return false;
    return true;
}

bool folder_is_current(const struct folder *folder, const char *path) {
    struct folder now = {.count = 0};
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool is_current = fd >= 0 && folder_list(&now, fd) && folder_is_same(folder, &now);
    folder_reset(&now);
    if (fd >= 0)
        close(fd);
    return is_current;
}

void folder_reset(struct folder *folder) {
    for (size_t i = 0; i < folder->count; i++)
        free(folder->files[i].name);
    free(folder->files);
    *folder = (struct folder){.count = 0};
}

static bool hash_file(const char *name, int folder_fd, const atomic_bool *stops, char *text) {
    int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool is_hashed = fd >= 0 && hash_descriptor(fd, stops, text);
    if (fd >= 0)
        close(fd);
    return is_hashed;
}

bool folder_hash(const struct folder *folder, int fd, const atomic_bool *stops, char *text) {
    char *lines = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&lines, &length);
    bool is_hashed = out != NULL;
    for (size_t i = 0; i < folder->count && is_hashed; i++) {
        char one[HASH_TEXT_BYTES];
        is_hashed = hash_file(folder->files[i].name, fd, stops, one) &&
                    fprintf(out, "%s  %s\n", one, folder->files[i].name) > 0;
    }
    if (out != NULL)
        is_hashed = fclose(out) == 0 && is_hashed;
    is_hashed = is_hashed && hash_bytes(lines, length, stops, text);
    free(lines);
    return is_hashed;
}

bool folder_has_model(const char *path) {
    char *config = NULL;
    struct stat about;
    if (asprintf(&config, "%s/config.json", path) < 0)
        return false;
    bool is_there = stat(config, &about) == 0 && S_ISREG(about.st_mode);
    free(config);
    return is_there;
}

static int remove_entry(const char *path, const struct stat *about, int type, struct FTW *place) {
    (void)about;
    (void)type;
    (void)place;
    (void)remove(path);
    return 0;
}

void folder_remove(const char *path) {
    nftw(path, remove_entry, REMOVAL_DESCRIPTORS, FTW_DEPTH | FTW_PHYS);
}
