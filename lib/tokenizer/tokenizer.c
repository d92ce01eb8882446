/* What is asked of an opened tokenizer by id, and ids back to text. */
#include "lib/tokenizer/tokenizer.h"

#include "lib/tensor/error.h"
#include "lib/tokenizer/decoders.h"
#include "lib/tokenizer/unicode.h"

#include <stdlib.h>
#include <string.h>

/* NUL ends a text for who reads it: it becomes a byte that is no UTF-8, and so U+FFFD. */
static void hide_nul(struct attn_tokens *bytes) {
    for (size_t i = 0; i < bytes->length; i++)
        if (bytes->bytes[i] == '\0')
            bytes->bytes[i] = (char)0xff;
}

/* How a token of the model reads; `tokens` is emptied first. @return false without memory. */
static bool put_readable(const struct attn_tokenizer *tokenizer, struct attn_string token, struct attn_tokens *bytes,
                         struct attn_tokens *tokens) {
    bytes->length = tokens->length = 0;
    if (tokenizer->is_byte_level) {
        if (!attn_tokens_put_byte_level(bytes, token))
            return false;
        hide_nul(bytes);
        return attn_tokens_put_lossy(tokens, bytes->bytes, bytes->length);
    }
    size_t size;
    for (size_t at = 0; at < token.length; at += size) {
        bool is_space = attn_utf8_read(token.bytes + at, &size) == tokenizer->space_sign;
        if (!(is_space ? attn_tokens_put(tokens, " ", 1) : attn_tokens_put(tokens, token.bytes + at, size)))
            return false;
    }
    return true;
}

static bool fill_texts(struct attn_tokenizer *tokenizer, struct attn_tokens *bytes, struct attn_tokens *readable) {
    for (size_t id = 0; id < tokenizer->id_count; id++) {
        struct attn_string token = tokenizer->tokens[id];
        tokenizer->texts[id] = token;
        bool is_as_it_is = !tokenizer->is_byte_level && tokenizer->space_sign == 0;
        if (token.bytes == NULL || is_as_it_is || attn_added_by_id(&tokenizer->added, (int64_t)id) != NULL)
            continue;
        if (!put_readable(tokenizer, token, bytes, readable))
            return false;
        if (readable->length > 0 && readable->length == token.length &&
            memcmp(readable->bytes, token.bytes, token.length) == 0)
            continue;
        const char *copy = attn_pool_copy(&tokenizer->pool, readable->bytes, readable->length);
        if (copy == NULL)
            return false;
        tokenizer->texts[id] = (struct attn_string){copy, readable->length};
    }
    return true;
}

/* The package tells special tokens by what they decode to. */
static bool is_special(const struct attn_added *added, struct attn_string token) {
    int64_t id = attn_vocabulary_id(&added->by_content, token.bytes, token.length);
    const struct attn_added_token *found = attn_added_by_id(added, id);
    return found != NULL && found->special;
}

static void fill_tokens(struct attn_tokenizer *tokenizer) {
    for (size_t id = 0; id < tokenizer->id_count; id++) {
        const struct attn_added_token *added = attn_added_by_id(&tokenizer->added, (int64_t)id);
        tokenizer->tokens[id] =
            added != NULL ? added->normalized : attn_vocabulary_text(&tokenizer->model.vocabulary, (int64_t)id);
        if (tokenizer->tokens[id].bytes != NULL)
            tokenizer->specials[id] = is_special(&tokenizer->added, tokenizer->tokens[id]);
    }
}

attn_status attn_tokenizer_finish(struct attn_reader *reader) {
    struct attn_tokenizer *tokenizer = reader->tokenizer;
    tokenizer->id_count = tokenizer->model.vocabulary.id_count;
    for (size_t i = 0; i < tokenizer->added.count; i++) {
        size_t id = (size_t)tokenizer->added.tokens[i].id;
        tokenizer->id_count = id >= tokenizer->id_count ? id + 1 : tokenizer->id_count;
    }
    tokenizer->tokens = attn_pool_take(&tokenizer->pool, tokenizer->id_count, sizeof *tokenizer->tokens);
    tokenizer->texts = attn_pool_take(&tokenizer->pool, tokenizer->id_count, sizeof *tokenizer->texts);
    tokenizer->specials = attn_pool_take(&tokenizer->pool, tokenizer->id_count, sizeof *tokenizer->specials);
    if (tokenizer->tokens == NULL || tokenizer->texts == NULL || tokenizer->specials == NULL)
        return attn_reader_no_memory(reader);
    fill_tokens(tokenizer);
    struct attn_tokens bytes = {0}, readable = {0};
    bool has_memory = fill_texts(tokenizer, &bytes, &readable);
    attn_tokens_reset(&bytes);
    attn_tokens_reset(&readable);
    return has_memory ? ATTN_OK : attn_reader_no_memory(reader);
}

struct attn_string attn_tokenizer_cut_text(const struct attn_tokenizer *tokenizer, const struct attn_cut *cut) {
    if ((size_t)cut->id < tokenizer->id_count && tokenizer->texts[cut->id].bytes != NULL)
        return tokenizer->texts[cut->id];
    return cut->value;
}

size_t attn_tokenizer_vocab_size(const struct attn_tokenizer *tokenizer) {
    return tokenizer->id_count;
}

const char *attn_tokenizer_token_text(const struct attn_tokenizer *tokenizer, int64_t id) {
    return id >= 0 && (uint64_t)id < tokenizer->id_count ? tokenizer->texts[id].bytes : NULL;
}

const char *attn_tokenizer_token(const struct attn_tokenizer *tokenizer, int64_t id) {
    return id >= 0 && (uint64_t)id < tokenizer->id_count ? tokenizer->tokens[id].bytes : NULL;
}

int64_t attn_tokenizer_id(const struct attn_tokenizer *tokenizer, const char *token) {
    int32_t id = attn_vocabulary_id(&tokenizer->added.by_content, token, strlen(token));
    return id >= 0 ? id : attn_vocabulary_id(&tokenizer->model.vocabulary, token, strlen(token));
}

static attn_status collect(const struct attn_tokenizer *tokenizer, const int64_t *ids, size_t count, bool skip_special,
                           struct attn_tokens *tokens, struct attn_error *error) {
    for (size_t i = 0; i < count; i++) {
        if (attn_tokenizer_token(tokenizer, ids[i]) == NULL)
            return attn_fail(error, ATTN_ERANGE, "ids", "entry %zu is %lld, and no token has that id", i,
                             (long long)ids[i]);
        struct attn_string token = tokenizer->tokens[ids[i]];
        if (skip_special && tokenizer->specials[ids[i]])
            continue;
        if (!attn_tokens_put(tokens, token.bytes, token.length) || !attn_tokens_end(tokens))
            return attn_fail(error, ATTN_ENOMEM, "ids", "no memory for the text");
    }
    return ATTN_OK;
}

/* Puts tokens together: with blanks between them where there is no decoder. */
static char *put_together(const struct attn_tokens *tokens, const char *between) {
    size_t room = tokens->length + 1 + tokens->count * strlen(between), length = 0;
    char *text = malloc(room);
    for (size_t i = 0; text != NULL && i < tokens->count; i++) {
        size_t size = tokens->entries[i].end - tokens->entries[i].begin;
        if (i > 0 && *between != '\0')
            text[length++] = *between;
        if (size > 0)
            memcpy(text + length, tokens->bytes + tokens->entries[i].begin, size);
        length += size;
    }
    if (text != NULL)
        text[length] = '\0';
    return text;
}

attn_status attn_tokenizer_decode(const struct attn_tokenizer *tokenizer, const int64_t *ids, size_t count,
                                  bool skip_special, char **text, struct attn_error *error) {
    struct attn_tokens tokens = {0};
    bool has_decoder = tokenizer->decoder.kind != NULL;
    attn_status status = collect(tokenizer, ids, count, skip_special, &tokens, error);
    if (status == ATTN_OK && has_decoder)
        status = attn_decoder_apply(&tokenizer->decoder, &tokens, error);
    char *made = status == ATTN_OK ? put_together(&tokens, has_decoder ? "" : " ") : NULL;
    attn_tokens_reset(&tokens);
    if (status == ATTN_OK && made == NULL)
        status = attn_fail(error, ATTN_ENOMEM, "ids", "no memory for the text");
    if (status == ATTN_OK)
        *text = made;
    return status;
}
