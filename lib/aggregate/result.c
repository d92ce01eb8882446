#include "lib/aggregate/result.h"
#include "lib/tensor/shape.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGNMENT = 64 };

/* From here on pages come from the kernel, asked to be huge, and go back to it: a fault for every 4 kB would cost more
 * than writing the result. Smaller results are left to malloc, which keeps their pages for the next one: 128 tokens'
 * weights of 12 heads (786 kB and the output) took 40 % longer where they were mapped anew each time. */
static const size_t MAPPED_BYTES = (size_t)8 << 20;
static const size_t HUGE_PAGE = (size_t)2 << 20;

/* The whole allocation: this, the tensors, their data. */
struct block {
    struct attn_result result;
    size_t mapped_bytes; /* 0: from malloc */
};

static bool add_aligned(size_t *total, size_t bytes) {
    size_t aligned;
    return !__builtin_add_overflow(bytes, (size_t)(ALIGNMENT - 1), &aligned) &&
           !__builtin_add_overflow(*total, aligned & ~(size_t)(ALIGNMENT - 1), total);
}

bool attn_spec_elements(const struct attn_tensor_spec *spec, size_t *elements) {
    return attn_size_product(spec->shape, (size_t)spec->rank, elements);
}

static bool add_tensor(const struct attn_tensor_spec *spec, size_t *elements, size_t *bytes) {
    size_t own, own_bytes, index_bytes;
    if (!attn_spec_elements(spec, &own) || !attn_size_multiply(own, attn_dtype_bytes(spec->dtype), &own_bytes) ||
        !attn_size_multiply(own, sizeof(int64_t), &index_bytes))
        return false;
    return !__builtin_add_overflow(*elements, own, elements) && add_aligned(bytes, own_bytes) &&
           (!spec->has_indices ||
            (!__builtin_add_overflow(*elements, own, elements) && add_aligned(bytes, index_bytes)));
}

bool attn_result_size(const struct attn_tensor_spec *specs, size_t count, size_t *elements, size_t *bytes) {
    *elements = 0;
    *bytes = 0;
    size_t tensors;
    if (!attn_size_multiply(count, sizeof(struct attn_result_tensor), &tensors) ||
        !add_aligned(bytes, sizeof(struct block)) || !add_aligned(bytes, tensors))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!add_tensor(&specs[i], elements, bytes))
            return false;
    return true;
}

/* Maps bytes that begin at a huge page's border, or the first 2 MB would be faulted in by 4 kB: more is reserved, and
 * what lies outside is given back. @return MAP_FAILED if there is no room */
static void *map_huge(size_t bytes) {
    const size_t page = 4096;
    if (bytes > SIZE_MAX - HUGE_PAGE - page)
        return MAP_FAILED;
    bytes = (bytes + page - 1) / page * page;
    char *memory = mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return MAP_FAILED;
    const size_t before = (HUGE_PAGE - (uintptr_t)memory % HUGE_PAGE) % HUGE_PAGE, after = HUGE_PAGE - before;
    if (before > 0)
        munmap(memory, before);
    munmap(memory + before + bytes, after);
    (void)madvise(memory + before, bytes, MADV_HUGEPAGE);
    return memory + before;
}

static struct block *block_allocate(size_t bytes) {
    if (bytes < MAPPED_BYTES) {
        struct block *block = aligned_alloc(ALIGNMENT, bytes);
        if (block != NULL)
            memset(block, 0, sizeof *block);
        return block;
    }
    void *memory = map_huge(bytes);
    if (memory == MAP_FAILED)
        return NULL;
    struct block *block = memory;
    block->mapped_bytes = bytes;
    return block;
}

/* Takes the next aligned piece for a tensor of that dtype, and gives it its shape. */
static struct attn_view place(char **next, const struct attn_tensor_spec *spec, attn_dtype dtype, bool has_batch) {
    int skipped = has_batch ? 0 : 1;
    struct attn_view view = attn_view_contiguous(*next, dtype, spec->rank - skipped, spec->shape + skipped);
    size_t bytes = attn_view_elements(&view) * attn_dtype_bytes(dtype);
    *next += (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    return view;
}

attn_status attn_result_create(struct attn_result **result, const struct attn_tensor_spec *specs, size_t count,
                               bool has_batch) {
    size_t elements, bytes, head = 0;
    if (!attn_result_size(specs, count, &elements, &bytes))
        return ATTN_ENOMEM;
    struct block *block = block_allocate(bytes);
    if (block == NULL)
        return ATTN_ENOMEM;
    add_aligned(&head, sizeof *block);
    struct attn_result_tensor *tensors = (struct attn_result_tensor *)(void *)((char *)block + head);
    add_aligned(&head, count * sizeof *tensors);
    char *next = (char *)block + head;
    for (size_t i = 0; i < count; i++) {
        const struct attn_tensor_spec *spec = &specs[i];
        tensors[i] = (struct attn_result_tensor){
            .group = spec->group, .name = spec->name, .stack = spec->stack, .layer = spec->layer, .head = spec->head};
        tensors[i].values = place(&next, spec, spec->dtype, has_batch);
        if (spec->has_indices)
            tensors[i].indices = place(&next, spec, ATTN_INT64, has_batch);
    }
    block->result.tensors = tensors;
    block->result.tensor_count = count;
    block->result.memory = block;
    *result = &block->result;
    return ATTN_OK;
}

void attn_result_destroy(struct attn_result *result) {
    if (result == NULL)
        return;
    struct block *block = result->memory;
    if (block->mapped_bytes > 0)
        munmap(block, block->mapped_bytes);
    else
        free(block);
}

const struct attn_result_tensor *attn_result_find(const struct attn_result *result, attn_group group,
                                                  const char *name) {
    for (size_t i = 0; i < result->tensor_count; i++) {
        const struct attn_result_tensor *tensor = &result->tensors[i];
        if (tensor->group == group && tensor->layer == -1 && tensor->head == -1 && strcmp(tensor->name, name) == 0)
            return tensor;
    }
    return NULL;
}
