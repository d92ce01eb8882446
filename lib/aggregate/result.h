/** @file result.h Making a struct attn_result: all of it in one allocation. */
#ifndef LIB_AGGREGATE_RESULT_H
#define LIB_AGGREGATE_RESULT_H

#include <attn/result.h>

/** A tensor of a result that is to be, axis 0 its batch axis. */
struct attn_tensor_spec {
    attn_group group;
    attn_dtype dtype;
    const char *name;
    const char *field;      /**< what in the request asked for it, for errors */
    int stack, layer, head; /**< -1 where it does not apply */
    int rank;
    size_t shape[4];
    bool has_indices;
};

/** Counts a tensor's elements. @return false if they overflow. */
bool attn_spec_elements(const struct attn_tensor_spec *spec, size_t *elements);

/** Adds up what the tensors of a result take. @return false on overflow. */
bool attn_result_size(const struct attn_tensor_spec *specs, size_t count, size_t *elements, size_t *bytes);

/**
 * Allocates a result with its tensors, contiguous and 64-aligned, values unset (but for large results, which are 0).
 * @param has_batch false: axis 0 (of length 1) is dropped
 * @return ATTN_OK or ATTN_ENOMEM
 */
attn_status attn_result_create(struct attn_result **result, const struct attn_tensor_spec *specs, size_t count,
                               bool has_batch);

#endif
