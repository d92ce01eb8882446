/** @file clock.h The monotonic clock. */
#ifndef SERVER_BASE_CLOCK_H
#define SERVER_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/** @return nanoseconds of CLOCK_MONOTONIC. */
static inline uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/** @return milliseconds since a reading of clock_ns. */
static inline double clock_ms_since(uint64_t started_ns) {
    return (double)(clock_ns() - started_ns) / 1e6;
}

#endif
