/** @file limits.h What the cgroups of this process allow (cgroup-v2.rst; v1's cpu and memory controllers too). */
#ifndef SERVER_CONFIG_LIMITS_H
#define SERVER_CONFIG_LIMITS_H

#include <stddef.h>

/**
 * The least of the limits from the process's group up to the root of the hierarchy.
 * @param membership a file like /proc/self/cgroup
 * @param root where the hierarchies are mounted, /sys/fs/cgroup
 * @return cores, rounded up, at least 1; SIZE_MAX: no limit
 */
size_t limits_cgroup_cores(const char *membership, const char *root);
/** The same for bytes of memory. */
size_t limits_cgroup_memory(const char *membership, const char *root);

#endif
