#include "lib/safetensors/header.h"
#include "lib/safetensors/scan.h"
#include "lib/tensor/error.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX_BYTES 8

/* Names of the format alone: attn_dtype_parse takes "float32" too. */
static const char *const dtype_names[] = {
#define DTYPE_NAME(name, text, short_name, bytes) [(name)] = (short_name),
    ATTN_DTYPE_TABLE(DTYPE_NAME)
#undef DTYPE_NAME
};
#define DTYPE_NAMES_TAKEN "F32, F64, F16, BF16, I64, I32, U8 and BOOL"

static const char *const dtypes_not_taken[] = {"I8",      "I16",     "U16",     "U32",     "U64",     "C64",
                                               "F8_E4M3", "F8_E5M2", "F8_E8M0", "F6_E2M3", "F6_E3M2", "F4"};

/* Makes room for one more item in a growing array. */
static bool grow(void **items, size_t count, size_t *capacity, size_t item_bytes) {
    if (count < *capacity)
        return true;
    size_t wanted = *capacity == 0 ? 16 : *capacity * 2;
    void *grown = reallocarray(*items, wanted, item_bytes);
    if (grown == NULL)
        return false;
    *items = grown;
    *capacity = wanted;
    return true;
}

static attn_status fail_memory(const struct attn_scan *scan) {
    return attn_fail(scan->error, ATTN_ENOMEM, scan->field, "no memory for the header's contents");
}

static attn_status read_dtype(struct attn_scan *scan, struct attn_entry *entry) {
    const char *name;
    attn_scan_space(scan);
    size_t start = scan->at;
    attn_status status = attn_scan_text(scan, &name, "a dtype");
    if (status != ATTN_OK)
        return status;
    for (size_t i = 0; i < sizeof dtype_names / sizeof *dtype_names; i++)
        if (strcmp(name, dtype_names[i]) == 0) {
            entry->dtype = (attn_dtype)i;
            return ATTN_OK;
        }
    for (size_t i = 0; i < sizeof dtypes_not_taken / sizeof *dtypes_not_taken; i++)
        if (strcmp(name, dtypes_not_taken[i]) == 0)
            return attn_scan_fail(scan, start, "dtype %s is not taken; taken are " DTYPE_NAMES_TAKEN, name);
    return attn_scan_fail(scan, start, "unknown dtype \"%.40s\"; taken are " DTYPE_NAMES_TAKEN, name);
}

static attn_status read_shape(struct attn_scan *scan, struct attn_entry *entry) {
    attn_status status = attn_scan_expect(scan, '[', "'[' before a shape");
    entry->rank = 0;
    if (status != ATTN_OK || attn_scan_take(scan, ']'))
        return status;
    do {
        uint64_t size;
        attn_scan_space(scan);
        size_t start = scan->at;
        if ((status = attn_scan_whole(scan, &size, "a whole number of elements")) != ATTN_OK)
            return status;
        if (entry->rank == ATTN_MAX_RANK)
            return attn_scan_fail(scan, start, "more than %d axes; at most that many are taken", ATTN_MAX_RANK);
        if (size > SIZE_MAX)
            return attn_scan_fail(scan, start, "an axis of %" PRIu64 " elements does not fit memory", size);
        entry->shape[entry->rank++] = (size_t)size;
    } while (attn_scan_take(scan, ','));
    return attn_scan_expect(scan, ']', "',' or ']' in a shape");
}

static attn_status read_offsets(struct attn_scan *scan, struct attn_entry *entry) {
    static const char what[] = "a whole number of bytes";
    attn_status status;
    attn_scan_space(scan);
    entry->at = scan->at;
    if ((status = attn_scan_expect(scan, '[', "'[' before data_offsets")) != ATTN_OK ||
        (status = attn_scan_whole(scan, &entry->begin, what)) != ATTN_OK ||
        (status = attn_scan_expect(scan, ',', "',' between two data_offsets")) != ATTN_OK ||
        (status = attn_scan_whole(scan, &entry->end, what)) != ATTN_OK)
        return status;
    return attn_scan_expect(scan, ']', "']' behind two data_offsets");
}

/* The members of a tensor's object, each to be there once. */
static const struct {
    const char *name;
    attn_status (*read)(struct attn_scan *scan, struct attn_entry *entry);
} members[] = {{"dtype", read_dtype}, {"shape", read_shape}, {"data_offsets", read_offsets}};
#define MEMBER_COUNT (sizeof members / sizeof *members)

static attn_status read_member(struct attn_scan *scan, struct attn_entry *entry, bool *was_read) {
    const char *name;
    attn_scan_space(scan);
    size_t start = scan->at;
    attn_status status = attn_scan_text(scan, &name, "'\"' before \"dtype\", \"shape\" or \"data_offsets\"");
    if (status != ATTN_OK || (status = attn_scan_expect(scan, ':', "':' behind a member's name")) != ATTN_OK)
        return status;
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        if (strcmp(name, members[i].name) != 0)
            continue;
        if (was_read[i])
            return attn_scan_fail(scan, start, "the member \"%s\" comes twice", name);
        was_read[i] = true;
        return members[i].read(scan, entry);
    }
    return attn_scan_fail(scan, start, "unknown member \"%.80s\"; expected dtype, shape and data_offsets", name);
}

/* The claims of one tensor against each other; those against the others follow when all are read. */
static attn_status check_entry(const struct attn_scan *scan, const struct attn_entry *entry, uint64_t data_bytes) {
    size_t sizes[ATTN_MAX_RANK + 1], bytes = 0;
    sizes[0] = attn_dtype_bytes(entry->dtype);
    memcpy(sizes + 1, entry->shape, (size_t)entry->rank * sizeof *sizes);
    if (!attn_size_product(sizes, (size_t)entry->rank + 1, &bytes))
        return attn_scan_fail(scan, entry->at, "the shape's product overflows");
    if (entry->begin > entry->end)
        return attn_scan_fail(scan, entry->at, "data_offsets end at %" PRIu64 " before they begin at %" PRIu64,
                              entry->end, entry->begin);
    if (entry->end > data_bytes)
        return attn_scan_fail(scan, entry->at,
                              "data_offsets end at %" PRIu64 ", and there are %" PRIu64 " bytes of data", entry->end,
                              data_bytes);
    if (entry->end - entry->begin != bytes)
        return attn_scan_fail(scan, entry->at, "shape and dtype need %zu bytes, data_offsets hold %" PRIu64, bytes,
                              entry->end - entry->begin);
    return ATTN_OK;
}

static attn_status read_entry(struct attn_safetensors *file, struct attn_scan *scan, const char *name, size_t start) {
    struct attn_entry entry = {.name = name};
    bool was_read[MEMBER_COUNT] = {false};
    scan->field = name;
    attn_status status = attn_scan_expect(scan, '{', "'{' before a tensor's members");
    if (status != ATTN_OK)
        return status;
    if (!attn_scan_take(scan, '}')) {
        do
            if ((status = read_member(scan, &entry, was_read)) != ATTN_OK)
                return status;
        while (attn_scan_take(scan, ','));
        if ((status = attn_scan_expect(scan, '}', "',' or '}' behind a tensor's member")) != ATTN_OK)
            return status;
    }
    for (size_t i = 0; i < MEMBER_COUNT; i++)
        if (!was_read[i])
            return attn_scan_fail(scan, start, "the member \"%s\" is missing", members[i].name);
    if ((status = check_entry(scan, &entry, file->length - file->data_start)) != ATTN_OK)
        return status;
    if (!grow((void **)&file->entries, file->entry_count, &file->entry_capacity, sizeof entry))
        return fail_memory(scan);
    file->entries[file->entry_count++] = entry;
    scan->field = "";
    return ATTN_OK;
}

static int compare_metadata(const void *left, const void *right) {
    return strcmp(((const struct attn_metadata *)left)->key, ((const struct attn_metadata *)right)->key);
}

static attn_status read_metadata(struct attn_safetensors *file, struct attn_scan *scan, size_t start) {
    attn_status status = attn_scan_expect(scan, '{', "'{' before the members of __metadata__");
    if (status != ATTN_OK || attn_scan_take(scan, '}'))
        return status;
    do {
        struct attn_metadata item;
        if ((status = attn_scan_text(scan, &item.key, "'\"' before a key of __metadata__")) != ATTN_OK ||
            (status = attn_scan_expect(scan, ':', "':' behind a key of __metadata__")) != ATTN_OK ||
            (status = attn_scan_text(scan, &item.value, "a string as the value of a key of __metadata__")) != ATTN_OK)
            return status;
        if (!grow((void **)&file->metadata, file->metadata_count, &file->metadata_capacity, sizeof item))
            return fail_memory(scan);
        file->metadata[file->metadata_count++] = item;
    } while (attn_scan_take(scan, ','));
    if ((status = attn_scan_expect(scan, '}', "',' or '}' in __metadata__")) != ATTN_OK)
        return status;
    qsort(file->metadata, file->metadata_count, sizeof *file->metadata, compare_metadata);
    for (size_t i = 1; i < file->metadata_count; i++)
        if (strcmp(file->metadata[i - 1].key, file->metadata[i].key) == 0)
            return attn_scan_fail(scan, start, "the key \"%.80s\" of __metadata__ comes twice", file->metadata[i].key);
    return ATTN_OK;
}

static attn_status read_entries(struct attn_safetensors *file, struct attn_scan *scan) {
    bool has_metadata = false;
    attn_status status;
    scan->at++; /* '{', which was seen */
    if (attn_scan_take(scan, '}'))
        return ATTN_OK;
    do {
        const char *name;
        attn_scan_space(scan);
        size_t start = scan->at;
        if ((status = attn_scan_text(scan, &name, "'\"' before a tensor's name")) != ATTN_OK ||
            (status = attn_scan_expect(scan, ':', "':' behind a tensor's name")) != ATTN_OK)
            return status;
        bool is_metadata = strcmp(name, "__metadata__") == 0;
        if (is_metadata && has_metadata)
            return attn_scan_fail(scan, start, "__metadata__ comes twice");
        has_metadata |= is_metadata;
        status = is_metadata ? read_metadata(file, scan, start) : read_entry(file, scan, name, start);
        if (status != ATTN_OK)
            return status;
    } while (attn_scan_take(scan, ','));
    return attn_scan_expect(scan, '}', "',' or '}' behind a tensor");
}

/* By place; a tensor without elements stands before the one that begins where it does. */
static int compare_places(const void *left, const void *right) {
    const struct attn_entry *a = left, *b = right;
    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    if (a->end != b->end)
        return a->end < b->end ? -1 : 1;
    return a->at < b->at ? -1 : a->at > b->at;
}

static int compare_names(const void *left, const void *right, void *entries) {
    const struct attn_entry *all = entries;
    return strcmp(all[*(const size_t *)left].name, all[*(const size_t *)right].name);
}

static attn_status index_names(struct attn_safetensors *file, struct attn_scan *scan) {
    file->by_name = calloc(file->entry_count + 1, sizeof *file->by_name);
    if (file->by_name == NULL)
        return fail_memory(scan);
    for (size_t i = 0; i < file->entry_count; i++)
        file->by_name[i] = i;
    qsort_r(file->by_name, file->entry_count, sizeof *file->by_name, compare_names, file->entries);
    for (size_t i = 1; i < file->entry_count; i++) {
        const struct attn_entry *a = &file->entries[file->by_name[i - 1]], *b = &file->entries[file->by_name[i]];
        scan->field = b->name;
        if (strcmp(a->name, b->name) == 0)
            return attn_scan_fail(scan, a->at > b->at ? a->at : b->at, "the tensor's name comes twice");
    }
    return ATTN_OK;
}

/* The tensors must tile the data: no byte left out, none in two. */
static attn_status check_tiling(const struct attn_safetensors *file, struct attn_scan *scan) {
    uint64_t covered = 0;
    for (size_t i = 0; i < file->entry_count; i++) {
        const struct attn_entry *entry = &file->entries[i];
        scan->field = entry->name;
        if (entry->begin < covered)
            return attn_scan_fail(scan, entry->at,
                                  "data_offsets begin at %" PRIu64 ", inside the tensor that ends at %" PRIu64,
                                  entry->begin, covered);
        if (entry->begin > covered)
            return attn_scan_fail(scan, entry->at,
                                  "data_offsets begin at %" PRIu64 ", leaving a gap behind byte %" PRIu64, entry->begin,
                                  covered);
        covered = entry->end;
    }
    scan->field = "";
    uint64_t data_bytes = file->length - file->data_start;
    if (covered != data_bytes)
        return attn_scan_fail(scan, file->data_start + (size_t)covered, "%" PRIu64 " bytes of data belong to no tensor",
                              data_bytes - covered);
    return ATTN_OK;
}

/* Reads the eight bytes before the header and says where it ends. */
static attn_status read_prefix(struct attn_safetensors *file, struct attn_scan *scan) {
    uint64_t header_bytes = 0;
    if (file->length < PREFIX_BYTES)
        return attn_scan_fail(scan, file->length, "expected 8 bytes with the header's length, found %zu", file->length);
    for (unsigned i = 0; i < PREFIX_BYTES; i++)
        header_bytes |= (uint64_t)file->bytes[i] << (8 * i);
    if (header_bytes > ATTN_SAFETENSORS_MAX_HEADER)
        return attn_scan_fail(scan, 0, "a header of %" PRIu64 " bytes; at most %u are read", header_bytes,
                              ATTN_SAFETENSORS_MAX_HEADER);
    if (header_bytes > file->length - PREFIX_BYTES)
        return attn_scan_fail(scan, 0, "a header of %" PRIu64 " bytes, and %zu bytes follow", header_bytes,
                              file->length - PREFIX_BYTES);
    file->data_start = PREFIX_BYTES + (size_t)header_bytes;
    scan->at = PREFIX_BYTES;
    scan->end = file->data_start;
    if (header_bytes == 0 || file->bytes[PREFIX_BYTES] != '{')
        return attn_scan_fail(scan, PREFIX_BYTES, "expected '{' at the header's first byte");
    return ATTN_OK;
}

attn_status attn_header_read(struct attn_safetensors *file, struct attn_error *error) {
    struct attn_scan scan = {.bytes = file->bytes, .field = "", .error = error};
    attn_status status = read_prefix(file, &scan);
    if (status != ATTN_OK)
        return status;
    scan.pool = file->pool = malloc(scan.end - scan.at + 1);
    if (scan.pool == NULL)
        return fail_memory(&scan);
    if ((status = read_entries(file, &scan)) != ATTN_OK)
        return status;
    attn_scan_space(&scan);
    if (scan.at != scan.end)
        return attn_scan_fail(&scan, scan.at, "expected nothing but white space behind the header's object");
    if (file->entry_count > 0)
        qsort(file->entries, file->entry_count, sizeof *file->entries, compare_places);
    if ((status = index_names(file, &scan)) != ATTN_OK)
        return status;
    return check_tiling(file, &scan);
}
