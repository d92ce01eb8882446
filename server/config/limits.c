#include "server/config/limits.h"
#include "server/config/config.h"
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Reads one group's limit; SIZE_MAX: none. */
typedef size_t (*limit_reader)(const char *group);

/* The first line of a small file. */
static bool read_text(const char *group, const char *name, char *text, int capacity) {
    char path[4352];
    if (snprintf(path, sizeof path, "%s/%s", group, name) >= (int)sizeof path)
        return false;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    bool is_read = fgets(text, capacity, file) != NULL;
    fclose(file);
    return is_read;
}

static size_t cores_of(double quota, double period) {
    if (quota <= 0 || period <= 0)
        return SIZE_MAX;
    double cores = quota / period;
    size_t whole = (size_t)cores;
    return (double)whole < cores ? whole + 1 : whole;
}

static size_t read_cores_v2(const char *group) {
    char text[128];
    double quota, period;
    if (!read_text(group, "cpu.max", text, sizeof text) || sscanf(text, "%lf %lf", &quota, &period) != 2)
        return SIZE_MAX;
    return cores_of(quota, period);
}

static size_t read_cores_v1(const char *group) {
    char quota[64], period[64];
    if (!read_text(group, "cpu.cfs_quota_us", quota, sizeof quota) ||
        !read_text(group, "cpu.cfs_period_us", period, sizeof period))
        return SIZE_MAX;
    return cores_of(strtod(quota, NULL), strtod(period, NULL));
}

static size_t read_bytes(const char *group, const char *name) {
    char text[64], *end;
    if (!read_text(group, name, text, sizeof text))
        return SIZE_MAX;
    unsigned long long bytes = strtoull(text, &end, 10);
    return end == text || bytes == 0 ? SIZE_MAX : (size_t)bytes;
}

static size_t read_memory_v2(const char *group) {
    return read_bytes(group, "memory.max");
}

static size_t read_memory_v1(const char *group) {
    return read_bytes(group, "memory.limit_in_bytes");
}

/* The least limit from root/path up to root. Inside a container the path may not exist there; its parents do. */
static size_t least_upwards(const char *root, const char *path, limit_reader read_limit) {
    char group[4096];
    size_t least = SIZE_MAX, root_length = strlen(root);
    if (snprintf(group, sizeof group, "%s%s", root, path) >= (int)sizeof group)
        return SIZE_MAX;
    for (;;) {
        size_t limit = read_limit(group);
        least = limit < least ? limit : least;
        char *slash = strrchr(group, '/');
        if (slash == NULL || (size_t)(slash - group) < root_length)
            return least;
        *slash = '\0';
    }
}

static bool has_controller(const char *list, const char *controller) {
    size_t length = strlen(controller);
    for (const char *at = list; *at != '\0'; at += strcspn(at, ",")) {
        at += *at == ',';
        if (strncmp(at, controller, length) == 0 && (at[length] == ',' || at[length] == '\0'))
            return true;
    }
    return false;
}

/* A line of the membership file: "0::/path" in v2, "4:cpu,cpuacct:/path" in v1. */
static size_t limit_of_line(char *line, const char *root, const char *controller, limit_reader v1, limit_reader v2) {
    char hierarchy[4096];
    char *list = strchr(line, ':');
    char *path = list != NULL ? strchr(list + 1, ':') : NULL;
    if (path == NULL)
        return SIZE_MAX;
    *path++ = '\0';
    path[strcspn(path, "\n")] = '\0';
    if (strcmp(path, "/") == 0)
        *path = '\0';
    if (list[1] == '\0')
        return least_upwards(root, path, v2);
    if (!has_controller(list + 1, controller) ||
        snprintf(hierarchy, sizeof hierarchy, "%s/%s", root, controller) >= (int)sizeof hierarchy)
        return SIZE_MAX;
    return least_upwards(hierarchy, path, v1);
}

static size_t cgroup_limit(const char *membership, const char *root, const char *controller, limit_reader v1,
                           limit_reader v2) {
    char *line = NULL;
    size_t capacity = 0, least = SIZE_MAX;
    FILE *file = fopen(membership, "re");
    if (file == NULL)
        return SIZE_MAX;
    while (getline(&line, &capacity, file) >= 0) {
        size_t limit = limit_of_line(line, root, controller, v1, v2);
        least = limit < least ? limit : least;
    }
    free(line);
    fclose(file);
    return least;
}

size_t limits_cgroup_cores(const char *membership, const char *root) {
    return cgroup_limit(membership, root, "cpu", read_cores_v1, read_cores_v2);
}

size_t limits_cgroup_memory(const char *membership, const char *root) {
    return cgroup_limit(membership, root, "memory", read_memory_v1, read_memory_v2);
}

/* The kernel wants a set as large as its own, which may pass CPU_SETSIZE: grow until it is. */
static size_t affinity_cores(void) {
    for (int capacity = 1024; capacity <= 1 << 20; capacity *= 4) {
        cpu_set_t *set = CPU_ALLOC((size_t)capacity);
        if (set == NULL)
            break;
        size_t bytes = CPU_ALLOC_SIZE((size_t)capacity);
        int count = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (count > 0)
            return (size_t)count;
    }
    return 1;
}

size_t config_available_cores(void) {
    size_t allowed = limits_cgroup_cores("/proc/self/cgroup", "/sys/fs/cgroup");
    size_t affine = affinity_cores();
    return affine < allowed ? affine : allowed;
}

size_t config_available_memory(void) {
    size_t allowed = limits_cgroup_memory("/proc/self/cgroup", "/sys/fs/cgroup");
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    size_t machine = pages > 0 && page_bytes > 0 ? (size_t)pages * (size_t)page_bytes : (size_t)1 << 30;
    return machine < allowed ? machine : allowed;
}
