/*
 * libFuzzer target: the first byte picks a class of tokenizers; the rest is a SentencePiece model, which is read or
 * refused. What is read cuts a text, whose tokens lie within it, and whose ids are tokens.
 */
#include "lib/tokenizer/sentencepiece.h"
#include "lib/tokenizer/tokenizer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static const char *const configs[] = {"{\"tokenizer_class\": \"T5Tokenizer\", \"extra_ids\": 3}",
                                      "{\"tokenizer_class\": \"AlbertTokenizer\"}",
                                      "{\"tokenizer_class\": \"XLMRobertaTokenizer\"}",
                                      "{\"tokenizer_class\": \"LlamaTokenizer\", \"add_bos_token\": true}", "{}"};

static const char text[] =
    "The ca\xcc\x81t \xef\xac\x81 sat <s> on A\xe3\x80\x80the \xe2\x80\x8b mat.\r\n \xf0\x9f\x98\x80 [MASK] "
    "e\xcc\x81 \xe2\x96\x81\xe2\x96\x81 \xe4\xb8\x96\xe7\x95\x8c";

static void use(const struct attn_tokenizer *tokenizer) {
    struct attn_encoding encoding = {0};
    if (attn_tokenizer_encode(tokenizer, text, sizeof text - 1, text, 9, NULL, &encoding, NULL) != ATTN_OK)
        return;
    int64_t *ids = malloc((encoding.count + 1) * sizeof *ids);
    for (size_t i = 0; i < encoding.count; i++) {
        const struct attn_token *token = &encoding.tokens[i];
        ids[i] = token->id;
        if (token->start > token->end || token->end >= sizeof text ||
            attn_tokenizer_token(tokenizer, token->id) == NULL)
            abort();
    }
    char *decoded = NULL;
    if (attn_tokenizer_decode(tokenizer, ids, encoding.count, false, &decoded, NULL) == ATTN_OK)
        free(decoded);
    free(ids);
    attn_encoding_reset(&encoding);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    if (length == 0)
        return 0;
    struct attn_tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    struct attn_error error = {0};
    struct attn_reader reader = {.pool = &tokenizer->pool, .tokenizer = tokenizer, .error = &error};
    struct attn_sentencepiece model;
    json_t *config = json_loads(configs[bytes[0] % 5], 0, NULL), *document = NULL;
    attn_status status = attn_sentencepiece_read(&reader, (const char *)bytes + 1, length - 1, &model);
    if (status == ATTN_OK)
        status = attn_sentencepiece_document(&reader, &model, config, &document);
    if (status == ATTN_OK)
        status = attn_tokenizer_read_json(&reader, document);
    if (status == ATTN_OK)
        status = attn_tokenizer_finish(&reader);
    if (status == ATTN_OK)
        use(tokenizer);
    else if (error.message[0] == '\0')
        abort();
    json_decref(document);
    json_decref(config);
    attn_tokenizer_close(tokenizer);
    return 0;
}
