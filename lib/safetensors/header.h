/** @file header.h What a safetensors header says, read and checked. */
#ifndef LIB_SAFETENSORS_HEADER_H
#define LIB_SAFETENSORS_HEADER_H

#include <attn/safetensors.h>

struct attn_entry {
    const char *name;
    attn_dtype dtype;
    int rank;
    size_t shape[ATTN_MAX_RANK];
    uint64_t begin, end; /**< in the data, behind the header */
    size_t at;           /**< where the header names it, for errors */
};

struct attn_safetensors {
    const unsigned char *bytes;
    size_t length, data_start;
    bool is_mapped;
    char *pool;                 /**< decoded texts */
    struct attn_entry *entries; /**< in the order of the data */
    size_t entry_count, entry_capacity;
    size_t *by_name; /**< indices of entries, sorted by name */
    struct attn_metadata *metadata;
    size_t metadata_count, metadata_capacity;
};

/** Reads the header of file->bytes into the rest of *file. @return as attn_safetensors_parse. */
attn_status attn_header_read(struct attn_safetensors *file, struct attn_error *error);

#endif
