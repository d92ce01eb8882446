#include "lib/tensor/error.h"
#include <attn/safetensors.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PREFIX_BYTES 8

static void put_text(FILE *to, const char *text) {
    putc('"', to);
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\')
            fprintf(to, "\\%c", *at);
        else if (*at < 0x20)
            fprintf(to, "\\u%04x", *at);
        else
            putc(*at, to);
    }
    putc('"', to);
}

static void put_metadata(FILE *to, const struct attn_metadata *metadata, size_t count) {
    fputs("\"__metadata__\":{", to);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            putc(',', to);
        put_text(to, metadata[i].key);
        putc(':', to);
        put_text(to, metadata[i].value);
    }
    putc('}', to);
}

static const char *dtype_name(attn_dtype dtype) {
    static const char *const names[] = {
#define DTYPE_NAME(name, text, short_name, bytes) [(name)] = (short_name),
        ATTN_DTYPE_TABLE(DTYPE_NAME)
#undef DTYPE_NAME
    };
    return names[dtype];
}

/* Writes one tensor's claims and moves *offset behind its data. */
static bool put_item(FILE *to, const struct attn_safetensors_item *item, uint64_t *offset) {
    const struct attn_view *view = &item->view;
    size_t sizes[ATTN_MAX_RANK + 1] = {attn_dtype_bytes(view->dtype)}, bytes;
    for (int i = 0; i < view->rank; i++)
        sizes[i + 1] = view->shape[i];
    if (!attn_size_product(sizes, (size_t)view->rank + 1, &bytes) || bytes > UINT64_MAX - *offset)
        return false;
    put_text(to, item->name);
    fprintf(to, ":{\"dtype\":\"%s\",\"shape\":[", dtype_name(view->dtype));
    for (int i = 0; i < view->rank; i++)
        fprintf(to, "%s%zu", i > 0 ? "," : "", view->shape[i]);
    fprintf(to, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", *offset, *offset + bytes);
    *offset += bytes;
    return true;
}

static bool put_header(FILE *to, const struct attn_safetensors_item *items, size_t count,
                       const struct attn_metadata *metadata, size_t metadata_count) {
    uint64_t offset = 0;
    for (int i = 0; i < PREFIX_BYTES; i++)
        putc('\0', to);
    putc('{', to);
    if (metadata_count > 0)
        put_metadata(to, metadata, metadata_count);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 || metadata_count > 0)
            putc(',', to);
        if (!put_item(to, &items[i], &offset))
            return false;
    }
    putc('}', to);
    while (ftell(to) % 8 != 0)
        putc(' ', to);
    return true;
}

attn_status attn_safetensors_header(const struct attn_safetensors_item *items, size_t count,
                                    const struct attn_metadata *metadata, size_t metadata_count, unsigned char **header,
                                    size_t *header_length, struct attn_error *error) {
    char *bytes = NULL;
    size_t length = 0;
    FILE *to = open_memstream(&bytes, &length);
    if (to == NULL)
        return attn_fail(error, ATTN_ENOMEM, "", "no memory for a header");
    bool fits = put_header(to, items, count, metadata, metadata_count);
    bool is_written = !ferror(to);
    is_written = fclose(to) == 0 && is_written;
    if (!fits || !is_written) {
        free(bytes);
        return fits ? attn_fail(error, ATTN_ENOMEM, "", "no memory for a header")
                    : attn_fail(error, ATTN_ERANGE, "", "the tensors' sizes overflow");
    }
    for (unsigned i = 0; i < PREFIX_BYTES; i++)
        bytes[i] = (char)(unsigned char)((length - PREFIX_BYTES) >> (8 * i));
    *header = (unsigned char *)bytes;
    *header_length = length;
    return ATTN_OK;
}
