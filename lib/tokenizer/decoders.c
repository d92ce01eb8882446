#include "lib/tokenizer/decoders.h"

#include "lib/tensor/error.h"

#include <stdlib.h>
#include <string.h>

static attn_status read_sequence(struct attn_reader *reader, const json_t *object, void **data);

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

static const struct attn_kinds table = {"decoder", kinds, sizeof kinds / sizeof *kinds, sizeof *kinds, "decoders"};

static attn_status read_sequence(struct attn_reader *reader, const json_t *object, void **data) {
    return attn_read_sequence(reader, object, &table, data);
}

attn_status attn_decoder_read(struct attn_reader *reader, const json_t *json, struct attn_decoder *decoder) {
    struct attn_part part;
    attn_status status = attn_read_part(reader, json, &table, &part);
    *decoder = (struct attn_decoder){part.kind, part.data};
    return status;
}

attn_status attn_decoder_apply(const struct attn_decoder *decoder, struct attn_tokens *tokens,
                               struct attn_error *error) {
    if (decoder->kind->apply == NULL) {
        const struct attn_sequence *sequence = decoder->data;
        attn_status status = ATTN_OK;
        for (size_t i = 0; status == ATTN_OK && i < sequence->count; i++) {
            const struct attn_decoder part = {sequence->parts[i].kind, sequence->parts[i].data};
            status = attn_decoder_apply(&part, tokens, error);
        }
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
