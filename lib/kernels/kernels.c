#include "lib/kernels/kernels.h"

#include <stdlib.h>
#include <string.h>

static bool always(void) {
    return true;
}

/* Best first; the last one runs everywhere. */
static const struct attn_kernels tables[] = {
    {"portable", always, &attn_rows_portable_float32, &attn_rows_portable_float64},
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

/* OpenBLAS's; other libraries and its serial flavour may lack it. */
extern void openblas_set_num_threads(int count) __attribute__((weak));

/* Runs when the library is loaded: parallelism is the callers' executor's, so BLAS must not start threads itself. */
__attribute__((constructor)) static void kernels_init(void) {
    picked = pick(getenv("ATTN_KERNELS"));
    if (openblas_set_num_threads != NULL)
        openblas_set_num_threads(1);
}

const struct attn_kernels *attn_kernels_picked(void) {
    return picked;
}
