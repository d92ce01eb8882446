/** @file numbers.h Golden tensors: the generator of inputs that are named by seed, and comparison with tolerances. */
#ifndef TESTS_GOLDEN_NUMBERS_H
#define TESTS_GOLDEN_NUMBERS_H

#include <attn/tensor.h>

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** Everything that one case allocates, freed at once. */
struct golden_memory {
    void *blocks[64];
    size_t count;
};

static inline void *golden_alloc(struct golden_memory *memory, size_t bytes) {
    void *block = memory->count < 64 ? calloc(1, bytes ? bytes : 1) : NULL;
    if (!block) {
        fprintf(stderr, "golden: out of memory\n");
        abort();
    }
    return memory->blocks[memory->count++] = block;
}

static inline void golden_free(struct golden_memory *memory) {
    while (memory->count)
        free(memory->blocks[--memory->count]);
}

/** Element i of the stream of a seed (README.md, "Format"). */
static inline uint64_t golden_random(uint64_t seed, uint64_t i) {
    uint64_t z = seed * 0xD1342543DE82EF95U + (i + 1) * 0x9E3779B97F4A7C15U;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
}

/** A tensor of the stream, float32 or float64. */
static inline struct attn_view golden_random_view(struct golden_memory *memory, uint64_t seed, attn_dtype dtype,
                                                  int rank, const size_t *shape) {
    struct attn_view view = attn_view_contiguous(NULL, dtype, rank, shape);
    size_t elements = attn_view_elements(&view);
    view.data = golden_alloc(memory, elements * attn_dtype_bytes(dtype));
    for (size_t i = 0; i < elements; i++) {
        uint64_t z = golden_random(seed, i);
        if (dtype == ATTN_FLOAT32)
            ((float *)view.data)[i] = (float)((int64_t)(z >> 40) - (1 << 23)) / (float)(1 << 22);
        else
            ((double *)view.data)[i] = (double)((int64_t)(z >> 11) - (1LL << 52)) / (double)(1LL << 51);
    }
    return view;
}

/** Element `flat` (row-major) of a view of any strides, as a double; exact for what the golden files hold. */
static inline double golden_element(const struct attn_view *view, size_t flat) {
    ptrdiff_t at = 0;
    for (int axis = view->rank - 1; axis >= 0; axis--) {
        at += (ptrdiff_t)(flat % view->shape[axis]) * view->stride[axis];
        flat /= view->shape[axis];
    }
    if (view->dtype == ATTN_FLOAT32)
        return (double)((const float *)view->data)[at];
    if (view->dtype == ATTN_FLOAT64)
        return ((const double *)view->data)[at];
    return (double)((const int64_t *)view->data)[at];
}

static inline bool golden_same_shape(const struct attn_view *a, const struct attn_view *b) {
    return a->rank == b->rank && a->dtype == b->dtype &&
           memcmp(a->shape, b->shape, (size_t)a->rank * sizeof a->shape[0]) == 0;
}

static inline bool golden_close(double found, double expected, double tolerance) {
    if (isnan(found) || isnan(expected))
        return isnan(found) && isnan(expected);
    if (isinf(found) || isinf(expected))
        return found == expected;
    return fabs(found - expected) <= tolerance + tolerance * fabs(expected);
}

static inline void golden_print_shape(FILE *to, const struct attn_view *view) {
    fprintf(to, "%s (", attn_dtype_name(view->dtype));
    for (int axis = 0; axis < view->rank; axis++)
        fprintf(to, "%s%zu", axis ? ", " : "", view->shape[axis]);
    fprintf(to, ")");
}

static inline void golden_say_shapes(const char *what, const char *path, const struct attn_view *found,
                                     const struct attn_view *expected) {
    fprintf(stderr, "%s: %s: shape ", what, path);
    golden_print_shape(stderr, found);
    fprintf(stderr, ", expected ");
    golden_print_shape(stderr, expected);
    fprintf(stderr, "\n");
}

/** Compares, and says on stderr where the first difference is and how many there are. @return whether all agree. */
static inline bool golden_agrees(const char *what, const char *path, const struct attn_view *found,
                                 const struct attn_view *expected, double tolerance) {
    if (!golden_same_shape(found, expected)) {
        golden_say_shapes(what, path, found, expected);
        return false;
    }
    size_t elements = attn_view_elements(expected), wrong = 0, first = 0;
    for (size_t i = 0; i < elements; i++)
        if (!golden_close(golden_element(found, i), golden_element(expected, i), tolerance) && !wrong++)
            first = i;
    if (!wrong)
        return true;
    double is = golden_element(found, first), should = golden_element(expected, first);
    fprintf(stderr, "%s: %s[%zu] is %.17g, expected %.17g (off by %.3g); %zu of %zu differ\n", what, path, first, is,
            should, is - should, wrong, elements);
    return false;
}

#endif
