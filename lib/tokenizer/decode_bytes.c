/* Decoders whose tokens are bytes: byte-level characters, and <0x0A>. */
#include "lib/tokenizer/decoders.h"

#include "lib/tensor/error.h"
#include "lib/tokenizer/byte_level.h"
#include "lib/tokenizer/normalizers.h"
#include "lib/tokenizer/tokenizer.h"
#include "lib/tokenizer/unicode.h"

#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd"

static attn_status no_memory(struct attn_error *error) {
    return attn_fail(error, ATTN_ENOMEM, "ids", "no memory for the text");
}

bool attn_tokens_put_byte_level(struct attn_tokens *tokens, struct attn_string token) {
    size_t before = tokens->length, size;
    for (size_t at = 0; at < token.length; at += size) {
        int byte = attn_character_byte(attn_utf8_read(token.bytes + at, &size));
        char one = (char)byte;
        if (byte < 0) {
            tokens->length = before;
            return attn_tokens_put(tokens, token.bytes, token.length);
        }
        if (!attn_tokens_put(tokens, &one, 1))
            return false;
    }
    return true;
}

bool attn_tokens_put_lossy(struct attn_tokens *tokens, const char *bytes, size_t length) {
    for (size_t at = 0; at < length;) {
        size_t valid = attn_utf8_valid(bytes + at, length - at);
        if (!attn_tokens_put(tokens, bytes + at, valid))
            return false;
        at += valid;
        if (at == length)
            return true;
        if (!attn_tokens_put(tokens, REPLACEMENT, 3))
            return false;
        at += attn_utf8_bad_size(bytes + at, length - at);
    }
    return true;
}

attn_status attn_byte_level_decoder_read(struct attn_reader *reader, const json_t *object, void **data) {
    return attn_byte_level_normalizer_read(reader, object, data);
}

attn_status attn_byte_level_decoder_apply(const void *data, const struct attn_tokens *in, struct attn_tokens *out,
                                          struct attn_error *error) {
    (void)data;
    struct attn_tokens bytes = {0};
    bool has_memory = true;
    for (size_t i = 0; has_memory && i < in->count; i++) {
        struct attn_string token = {in->bytes + in->entries[i].begin, in->entries[i].end - in->entries[i].begin};
        has_memory = attn_tokens_put_byte_level(&bytes, token);
    }
    has_memory = has_memory && attn_tokens_put_lossy(out, bytes.bytes, bytes.length) && attn_tokens_end(out);
    attn_tokens_reset(&bytes);
    return has_memory ? ATTN_OK : no_memory(error);
}

static int hex_digit(char digit) {
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if ((digit | 0x20) >= 'a' && (digit | 0x20) <= 'f')
        return (digit | 0x20) - 'a' + 10;
    return -1;
}

/* @return the byte of "<0x0A>"; -1 for other tokens. */
static int byte_of(const char *token, size_t length) {
    if (length != 6 || memcmp(token, "<0x", 3) != 0 || token[5] != '>')
        return -1;
    int high = hex_digit(token[3]), low = hex_digit(token[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* Ends a run of bytes: one token where they are UTF-8, else U+FFFD for each. */
static bool end_run(struct attn_tokens *bytes, struct attn_tokens *out) {
    size_t count = bytes->length;
    bytes->length = 0;
    if (count == 0)
        return true;
    if (attn_utf8_valid(bytes->bytes, count) == count)
        return attn_tokens_put(out, bytes->bytes, count) && attn_tokens_end(out);
    bool has_memory = true;
    for (size_t i = 0; has_memory && i < count; i++)
        has_memory = attn_tokens_put(out, REPLACEMENT, 3) && attn_tokens_end(out);
    return has_memory;
}

attn_status attn_byte_fallback_decoder_apply(const void *data, const struct attn_tokens *in, struct attn_tokens *out,
                                             struct attn_error *error) {
    (void)data;
    struct attn_tokens bytes = {0};
    bool has_memory = true;
    for (size_t i = 0; has_memory && i < in->count; i++) {
        const char *token = in->bytes + in->entries[i].begin;
        size_t length = in->entries[i].end - in->entries[i].begin;
        int byte = byte_of(token, length);
        char one = (char)byte;
        if (byte >= 0)
            has_memory = attn_tokens_put(&bytes, &one, 1);
        else
            has_memory = end_run(&bytes, out) && attn_tokens_put(out, token, length) && attn_tokens_end(out);
    }
    has_memory = has_memory && end_run(&bytes, out);
    attn_tokens_reset(&bytes);
    return has_memory ? ATTN_OK : no_memory(error);
}
