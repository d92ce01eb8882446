/*
 * libFuzzer target: a tokenizer.json up to the first NUL is opened or refused, and encodes the text behind it or
 * refuses that; places lie within the text. Without a NUL the bytes are a text for a small tokenizer of each kind.
 */
#include <attn/tokenizer.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static struct attn_tokenizer *open_json(const char *json, size_t length) {
    char directory[] = "/tmp/fuzz_tokenizer_XXXXXX", path[64];
    struct attn_tokenizer *tokenizer = NULL;
    if (mkdtemp(directory) == NULL)
        abort();
    snprintf(path, sizeof path, "%s/tokenizer.json", directory);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(json, 1, length, file) != length || fclose(file) != 0)
        abort();
    struct attn_error error = {0};
    attn_status status = attn_tokenizer_open(&tokenizer, directory, &error);
    if ((status == ATTN_OK) != (tokenizer != NULL) || (status != ATTN_OK && error.message[0] == '\0'))
        abort();
    unlink(path);
    rmdir(directory);
    return tokenizer;
}

static void decode(const struct attn_tokenizer *tokenizer, const struct attn_encoding *encoding) {
    int64_t *ids = calloc(encoding->count + 1, sizeof *ids);
    char *text = NULL;
    if (ids == NULL)
        abort();
    for (size_t i = 0; i < encoding->count; i++)
        ids[i] = encoding->tokens[i].id;
    if (attn_tokenizer_decode(tokenizer, ids, encoding->count, false, &text, NULL) == ATTN_OK)
        free(text);
    free(ids);
}

static void encode(const struct attn_tokenizer *tokenizer, const char *text, size_t length) {
    struct attn_encode_options options = {.add_special_tokens = true, .offset_unit = ATTN_OFFSET_UTF16};
    struct attn_encoding encoding;
    size_t half = length / 2;
    if (attn_tokenizer_encode(tokenizer, text, length, text + half, length - half, &options, &encoding, NULL) !=
        ATTN_OK)
        return;
    for (size_t i = 0; i < encoding.count; i++) {
        const struct attn_token *token = &encoding.tokens[i];
        if (token->start > token->end || token->end > length || token->text == NULL)
            abort();
    }
    decode(tokenizer, &encoding);
    attn_encoding_reset(&encoding);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    static const char *const small[] = {
        "{\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,\"strip_"
        "accents\":"
        "null,\"lowercase\":true},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"model\":{\"type\":\"WordPiece\","
        "\"vocab\":{\"?\":0,\"a\":1,\"##a\":2},\"unk_token\":\"?\",\"continuing_subword_prefix\":\"##\","
        "\"max_input_chars_per_word\":9}}",
        "{\"normalizer\":{\"type\":\"NFKC\"},\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,"
        "\"trim_offsets\":true},\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"vocab\":{\"?\":0,"
        "\"a\":1,"
        "\"aa\":2},\"merges\":[\"a a\"],\"unk_token\":\"?\"}}",
    };
    const uint8_t *end = length > 0 ? memchr(bytes, '\0', length) : NULL;
    size_t json_length = end != NULL ? (size_t)(end - bytes) : 0;
    for (size_t i = 0; end == NULL && i < sizeof small / sizeof *small; i++) {
        struct attn_tokenizer *tokenizer = open_json(small[i], strlen(small[i]));
        encode(tokenizer, (const char *)bytes, length);
        attn_tokenizer_close(tokenizer);
    }
    struct attn_tokenizer *tokenizer = end != NULL ? open_json((const char *)bytes, json_length) : NULL;
    if (tokenizer != NULL)
        encode(tokenizer, (const char *)end + 1, length - json_length - 1);
    attn_tokenizer_close(tokenizer);
    return 0;
}
