#include "server/registry/scan.h"
#include "server/registry/folder.h"
#include "server/registry/registry.h"
#include "server/registry/store.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char reason_id[] = "the file's name makes no possible model id";

static bool is_folder(const char *path) {
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

static bool add(struct scan *scan, char *id, char *path, const char *reason) {
    if (id == NULL || path == NULL)
        goto failed;
    if (scan->count == scan->capacity) {
        size_t capacity = scan->capacity == 0 ? 16 : scan->capacity * 2;
        struct scanned *items = reallocarray(scan->items, capacity, sizeof *items);
        if (items == NULL)
            goto failed;
        scan->items = items;
        scan->capacity = capacity;
    }
    scan->items[scan->count++] = (struct scanned){id, path, is_folder(path), reason};
    return true;
failed:
    free(id);
    free(path);
    return false;
}

static char *join(const char *front, const char *joint, const char *name, size_t name_length) {
    char *text = NULL;
    return asprintf(&text, "%s%s%.*s", front, joint, (int)name_length, name) < 0 ? NULL : text;
}

/* Length of the name without the suffix; 0 where it lacks that. */
static size_t stem_length(const char *name) {
    size_t length = strlen(name), suffix = strlen(STORE_SUFFIX);
    return length > suffix && strcmp(name + length - suffix, STORE_SUFFIX) == 0 ? length - suffix : 0;
}

/* Names outside ASCII would be no text of a JSON answer: such files are left alone. */
static bool is_printable(const char *text) {
    for (; *text != '\0'; text++)
        if (*text <= ' ' || *text > '~')
            return false;
    return true;
}

static bool add_checked(struct scan *scan, char *id, const char *path) {
    struct problem ignored;
    if (id != NULL && !is_printable(id)) {
        free(id);
        return true;
    }
    bool is_possible = id == NULL || registry_id_check(id, NULL, &ignored);
    return add(scan, id, strdup(path), is_possible ? NULL : reason_id);
}

static bool scan_folder(struct scan *scan, const char *folder, const char *organisation);

/* One thing in a folder. Organisations are not nested. */
static bool scan_entry(struct scan *scan, const char *path, const char *name, const char *organisation) {
    const char *joint = organisation[0] != '\0' ? "/" : "";
    size_t stem = stem_length(name);
    if (!is_folder(path))
        return stem == 0 || add_checked(scan, join(organisation, joint, name, stem), path);
    if (folder_has_model(path))
        return add_checked(scan, join(organisation, joint, name, strlen(name)), path);
    return organisation[0] != '\0' || scan_folder(scan, path, name);
}

static bool scan_folder(struct scan *scan, const char *folder, const char *organisation) {
    DIR *directory = opendir(folder);
    bool is_fine = true;
    if (directory == NULL)
        return true;
    for (struct dirent *entry; is_fine && (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        char *path = join(folder, "/", entry->d_name, strlen(entry->d_name));
        is_fine = path != NULL && scan_entry(scan, path, entry->d_name, organisation);
        free(path);
    }
    closedir(directory);
    return is_fine;
}

bool scan_directory(struct scan *scan, const char *directory) {
    return scan_folder(scan, directory, "");
}

bool scan_add_named(struct scan *scan, const char *id, const char *path) {
    return add(scan, strdup(id), strdup(path), NULL);
}

void scan_reset(struct scan *scan) {
    for (size_t i = 0; i < scan->count; i++) {
        free(scan->items[i].id);
        free(scan->items[i].path);
    }
    free(scan->items);
    *scan = (struct scan){NULL, 0, 0};
}
