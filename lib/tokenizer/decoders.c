#include "lib/tokenizer/decoders.h"

#include "lib/tensor/error.h"

#include <stdlib.h>
#include <string.h>

struct sequence {
    struct attn_decoder *parts;
    size_t count;
};

static attn_status read_sequence(struct attn_reader *reader, const json_t *object, void **data) {
    const json_t *array;
    attn_status status = attn_read_array(reader, object, "decoders", ATTN_REQUIRED, &array);
    if (status != ATTN_OK)
        return status;
    struct sequence *sequence = attn_pool_take(reader->pool, 1, sizeof *sequence);
    if (sequence == NULL)
        return attn_reader_no_memory(reader);
    sequence->count = json_array_size(array);
    sequence->parts = attn_pool_take(reader->pool, sequence->count, sizeof *sequence->parts);
    if (sequence->parts == NULL)
        return attn_reader_no_memory(reader);
    size_t outer = attn_reader_enter(reader, "decoders");
    for (size_t i = 0; i < sequence->count; i++) {
        size_t inner = attn_reader_enter_index(reader, i);
        status = attn_decoder_read(reader, json_array_get(array, i), &sequence->parts[i]);
        if (status != ATTN_OK)
            return status;
        attn_reader_leave(reader, inner);
    }
    attn_reader_leave(reader, outer);
    *data = sequence;
    return ATTN_OK;
}

static const struct attn_decoder_kind kinds[] = {
    {"WordPiece", attn_wordpiece_decoder_read, attn_wordpiece_decoder_apply},
    {"ByteLevel", attn_byte_level_decoder_read, attn_byte_level_decoder_apply},
    {"ByteFallback", NULL, attn_byte_fallback_decoder_apply},
    {"BPEDecoder", attn_bpe_decoder_read, attn_bpe_decoder_apply},
    {"CTC", attn_ctc_decoder_read, attn_ctc_decoder_apply},
    {"Replace", attn_replace_decoder_read, attn_replace_decoder_apply},
    {"Strip", attn_strip_decoder_read, attn_strip_decoder_apply},
    {"Metaspace", attn_metaspace_decoder_read, attn_metaspace_decoder_apply},
    {"Fuse", NULL, attn_fuse_decoder_apply},
    {"Sequence", read_sequence, NULL}, /* attn_decoder_apply walks it */
};

attn_status attn_decoder_read(struct attn_reader *reader, const json_t *json, struct attn_decoder *decoder) {
    static const struct attn_kinds table = {"decoder", kinds, sizeof kinds / sizeof *kinds, sizeof *kinds};
    const void *row = NULL;
    attn_status status = attn_read_kind(reader, json, &table, &row);
    if (status != ATTN_OK)
        return status;
    decoder->kind = row;
    return decoder->kind->read != NULL ? decoder->kind->read(reader, json, &decoder->data) : ATTN_OK;
}

attn_status attn_decoder_apply(const struct attn_decoder *decoder, struct attn_tokens *tokens,
                               struct attn_error *error) {
    if (decoder->kind->apply == NULL) {
        const struct sequence *sequence = decoder->data;
        attn_status status = ATTN_OK;
        for (size_t i = 0; status == ATTN_OK && i < sequence->count; i++)
            status = attn_decoder_apply(&sequence->parts[i], tokens, error);
        return status;
    }
    struct attn_tokens out = {0};
    attn_status status = decoder->kind->apply(decoder->data, tokens, &out, error);
    attn_tokens_reset(tokens);
    *tokens = out;
    return status;
}

void attn_tokens_reset(struct attn_tokens *tokens) {
    free(tokens->bytes);
    free(tokens->entries);
    *tokens = (struct attn_tokens){0};
}

bool attn_tokens_put(struct attn_tokens *tokens, const char *bytes, size_t length) {
    if (length > tokens->capacity - tokens->length) {
        size_t capacity = tokens->capacity < 256 ? 256 : tokens->capacity;
        while (capacity - tokens->length < length) {
            if (capacity >= ATTN_TEXT_LIMIT) /* as far as decoders that blow a text up come */
                return false;
            capacity *= 2;
        }
        char *grown = realloc(tokens->bytes, capacity);
        if (grown == NULL)
            return false;
        tokens->bytes = grown;
        tokens->capacity = capacity;
    }
    if (length > 0)
        memcpy(tokens->bytes + tokens->length, bytes, length);
    tokens->length += length;
    return true;
}

bool attn_tokens_end(struct attn_tokens *tokens) {
    if (tokens->count == tokens->entry_capacity) {
        size_t capacity = tokens->entry_capacity < 64 ? 64 : tokens->entry_capacity * 2;
        struct attn_token_range *entries = realloc(tokens->entries, capacity * sizeof *entries);
        if (entries == NULL)
            return false;
        tokens->entries = entries;
        tokens->entry_capacity = capacity;
    }
    size_t begin = tokens->count > 0 ? tokens->entries[tokens->count - 1].end : 0;
    tokens->entries[tokens->count++] = (struct attn_token_range){begin, tokens->length};
    return true;
}
