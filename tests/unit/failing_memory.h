/**
 * @file failing_memory.h
 * Lets the k-th allocation fail, and counts what is held. A program that includes it is linked with --wrap (see the
 * Makefile); what other libraries allocate themselves is neither counted nor failed.
 */
#ifndef TESTS_UNIT_FAILING_MEMORY_H
#define TESTS_UNIT_FAILING_MEMORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_reallocarray(void *old, size_t count, size_t bytes);
char *__real_strdup(const char *text);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void *__real_mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset);
void __real_free(void *memory);
int __real_munmap(void *address, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_reallocarray(void *old, size_t count, size_t bytes);
char *__wrap_strdup(const char *text);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap_mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset);
void __wrap_free(void *memory);
int __wrap_munmap(void *address, size_t bytes);

/* Only the thread that runs the test allocates while these count, and lanes' threads in its stead. */
static atomic_bool is_watching;
static atomic_long until_failure, held, mapped_bytes;

static bool fails(void) {
    return atomic_load(&is_watching) && atomic_fetch_sub(&until_failure, 1) == 1;
}

static void *noted(void *memory) {
    if (atomic_load(&is_watching) && memory != NULL)
        atomic_fetch_add(&held, 1);
    return memory;
}

static long whole_pages(size_t bytes) {
    return (long)((bytes + 4095) / 4096 * 4096);
}

void *__wrap_malloc(size_t bytes) {
    return fails() ? NULL : noted(__real_malloc(bytes));
}

void *__wrap_calloc(size_t count, size_t bytes) {
    return fails() ? NULL : noted(__real_calloc(count, bytes));
}

void *__wrap_realloc(void *old, size_t bytes) {
    if (fails())
        return NULL;
    void *memory = __real_realloc(old, bytes);
    return old == NULL ? noted(memory) : memory;
}

void *__wrap_reallocarray(void *old, size_t count, size_t bytes) {
    if (fails())
        return NULL;
    void *memory = __real_reallocarray(old, count, bytes);
    return old == NULL ? noted(memory) : memory;
}

char *__wrap_strdup(const char *text) {
    return fails() ? NULL : noted(__real_strdup(text));
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes) {
    return fails() ? NULL : noted(__real_aligned_alloc(alignment, bytes));
}

void *__wrap_mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset) {
    if (fails())
        return MAP_FAILED;
    if (atomic_load(&is_watching))
        atomic_fetch_add(&mapped_bytes, whole_pages(bytes));
    return __real_mmap(address, bytes, protection, flags, file, offset);
}

void __wrap_free(void *memory) {
    if (atomic_load(&is_watching) && memory != NULL)
        atomic_fetch_sub(&held, 1);
    __real_free(memory);
}

int __wrap_munmap(void *address, size_t bytes) {
    if (atomic_load(&is_watching))
        atomic_fetch_sub(&mapped_bytes, whole_pages(bytes));
    return __real_munmap(address, bytes);
}

#endif
