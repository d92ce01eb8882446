#include "lib/kernels/kernels.h"

#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

static bool always(void) {
    return true;
}

#if defined(__x86_64__)
/* Asked of the processor itself: not every compiler's __builtin_cpu_supports knows the name. */
static bool has_f16c(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

static bool has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") &&
           has_f16c();
}

/* All that the Makefile lets the compiler use in files of this suffix. */
static bool has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512vbmi") &&
           __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512ifma");
}
#endif

/* Best first; the last one runs everywhere. */
static const struct attn_kernels tables[] = {
#if defined(__x86_64__)
    {"avx512", has_avx512, &attn_rows_avx512_float32, &attn_rows_avx512_float64, &attn_panels_avx512},
    {"avx2", has_avx2, &attn_rows_avx2_float32, &attn_rows_avx2_float64, &attn_panels_avx2},
#endif
    {"portable", always, &attn_rows_portable_float32, &attn_rows_portable_float64, &attn_panels_portable},
};

enum { TABLE_COUNT = sizeof tables / sizeof *tables };

const struct attn_kernels *attn_kernels_at(size_t index) {
    return index < TABLE_COUNT ? &tables[index] : NULL;
}

static const struct attn_kernels *pick(const char *wanted) {
    const struct attn_kernels *best = NULL;
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        if (!tables[i].is_supported())
            continue;
        if (best == NULL)
            best = &tables[i];
        if (wanted != NULL && strcmp(wanted, tables[i].name) == 0)
            return &tables[i];
    }
    return best;
}

/* Written by the constructor, before any other code of the program runs, and only read after that. */
static const struct attn_kernels *picked;

/* Runs when the library is loaded. */
__attribute__((constructor)) static void kernels_init(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
#endif
    picked = pick(getenv("ATTN_KERNELS"));
}

const struct attn_kernels *attn_kernels_picked(void) {
    return picked;
}
