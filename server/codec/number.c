/* The variants of number.h's runs, and which one is taken. */
#include "server/codec/number_internal.h"
#include <stdatomic.h>
#include <stdlib.h>

static bool always(void) {
    return true;
}

static const struct number_variant number_portable = {
    .name = "portable",
    .is_supported = always,
    .read_run_f32 = number_portable_read_run_f32,
    .read_run_f64 = number_portable_read_run_f64,
    .print_run_f32 = number_portable_print_run_f32,
    .print_run_f64 = number_portable_print_run_f64,
};

static const struct number_variant *const variants[] = {
#if defined(__x86_64__)
    &number_avx512,
    &number_avx2,
#endif
    &number_portable,
};

const struct number_variant *const *number_variants(size_t *count) {
    *count = sizeof variants / sizeof *variants;
    return variants;
}

static const struct number_variant *pick(void) {
    const char *forced = getenv("ATTND_NUMBERS");
    size_t count = sizeof variants / sizeof *variants;
    for (size_t i = 0; i < count; i++) {
        bool is_wanted = forced == NULL || strcmp(forced, variants[i]->name) == 0;
        if (is_wanted && variants[i]->is_supported()) {
            return variants[i];
        }
    }
    return &number_portable;
}

/** The choice, made once. The memo is no state: whoever writes it writes the same. */
static const struct number_variant *chosen(void) {
    static _Atomic(const struct number_variant *) memo;
    const struct number_variant *variant = atomic_load_explicit(&memo, memory_order_relaxed);
    if (variant == NULL) {
        variant = pick();
        atomic_store_explicit(&memo, variant, memory_order_relaxed);
    }
    return variant;
}

const char *number_variant(void) {
    return chosen()->name;
}

enum number_status number_read_run_f32(const char *text, const char *end, float *values, size_t capacity, size_t *count,
                                       const char **after) {
    return chosen()->read_run_f32(text, end, values, capacity, count, after);
}

enum number_status number_read_run_f64(const char *text, const char *end, double *values, size_t capacity,
                                       size_t *count, const char **after) {
    return chosen()->read_run_f64(text, end, values, capacity, count, after);
}

char *number_print_run_f32(char *to, const float *values, size_t count, int digits) {
    return chosen()->print_run_f32(to, values, count, digits);
}

char *number_print_run_f64(char *to, const double *values, size_t count, int digits) {
    return chosen()->print_run_f64(to, values, count, digits);
}
