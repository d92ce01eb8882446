/* Decoders that treat each token by itself. */
#include "lib/tokenizer/decoders.h"

#include "lib/tensor/error.h"
#include "lib/tokenizer/regex.h"
#include "lib/tokenizer/tokenizer.h"
#include "lib/tokenizer/unicode.h"

#include <string.h>

static attn_status no_memory(struct attn_error *error) {
    return attn_fail(error, ATTN_ENOMEM, "ids", "no memory for the text");
}

static struct attn_string token_at(const struct attn_tokens *tokens, size_t i) {
    return (struct attn_string){tokens->bytes + tokens->entries[i].begin,
                                tokens->entries[i].end - tokens->entries[i].begin};
}

/* Appends `text` with each `from` replaced. */
static bool put_replaced(struct attn_tokens *out, struct attn_string text, struct attn_string from,
                         struct attn_string to) {
    const char *at = text.bytes, *end = text.bytes + text.length, *found;
    while (from.length > 0 && at < end && (found = memmem(at, (size_t)(end - at), from.bytes, from.length)) != NULL) {
        if (!attn_tokens_put(out, at, (size_t)(found - at)) || !attn_tokens_put(out, to.bytes, to.length))
            return false;
        at = found + from.length;
    }
    return attn_tokens_put(out, at, (size_t)(end - at));
}

/* Takes out the blanks before marks of punctuation and the like, one rule after the other. */
static bool put_cleaned(struct attn_tokens *out, struct attn_string text) {
    static const struct {
        const char *from, *to;
    } rules[] = {{" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
                 {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    if (text.length == 0 || memchr(text.bytes, ' ', text.length) == NULL)
        return attn_tokens_put(out, text.bytes, text.length);
    struct attn_tokens now = {0}, next = {0};
    bool has_memory = attn_tokens_put(&now, text.bytes, text.length);
    for (size_t i = 0; has_memory && i < sizeof rules / sizeof *rules; i++) {
        next.length = 0;
        has_memory = put_replaced(&next, (struct attn_string){now.bytes, now.length},
                                  (struct attn_string){rules[i].from, strlen(rules[i].from)},
                                  (struct attn_string){rules[i].to, strlen(rules[i].to)});
        struct attn_tokens swap = now;
        now = next;
        next = swap;
    }
    has_memory = has_memory && attn_tokens_put(out, now.bytes, now.length);
    attn_tokens_reset(&now);
    attn_tokens_reset(&next);
    return has_memory;
}

struct wordpiece {
    struct attn_string prefix;
    bool cleanup;
};

attn_status attn_wordpiece_decoder_read(struct attn_reader *reader, const json_t *object, void **data) {
    struct wordpiece *wordpiece = attn_pool_take(reader->pool, 1, sizeof *wordpiece);
    if (wordpiece == NULL)
        return attn_reader_no_memory(reader);
    *data = wordpiece;
    attn_status status = attn_read_string(reader, object, "prefix", ATTN_REQUIRED, &wordpiece->prefix);
    return status == ATTN_OK ? attn_read_bool(reader, object, "cleanup", ATTN_REQUIRED, &wordpiece->cleanup) : status;
}

/* "##ing" goes on with the word, others begin one. */
static bool put_wordpiece(const struct wordpiece *wordpiece, struct attn_string token, bool is_first,
                          struct attn_tokens *out) {
    struct attn_string prefix = wordpiece->prefix;
    if (is_first)
        return attn_tokens_put(out, token.bytes, token.length);
    if (token.length >= prefix.length && memcmp(token.bytes, prefix.bytes, prefix.length) == 0)
        return attn_tokens_put(out, token.bytes + prefix.length, token.length - prefix.length);
    return attn_tokens_put(out, " ", 1) && attn_tokens_put(out, token.bytes, token.length);
}

attn_status attn_wordpiece_decoder_apply(const void *data, const struct attn_tokens *in, struct attn_tokens *out,
                                         struct attn_error *error) {
    const struct wordpiece *wordpiece = data;
    struct attn_tokens raw = {0};
    bool has_memory = true;
    for (size_t i = 0; has_memory && i < in->count; i++) {
        raw.length = 0;
        has_memory = put_wordpiece(wordpiece, token_at(in, i), i == 0, &raw);
        struct attn_string token = {raw.bytes, raw.length};
        if (has_memory)
            has_memory = (wordpiece->cleanup ? put_cleaned(out, token) : attn_tokens_put(out, raw.bytes, raw.length)) &&
                         attn_tokens_end(out);
    }
    attn_tokens_reset(&raw);
    return has_memory ? ATTN_OK : no_memory(error);
}

attn_status attn_bpe_decoder_read(struct attn_reader *reader, const json_t *object, void **data) {
    struct attn_string *suffix = attn_pool_take(reader->pool, 1, sizeof *suffix);
    if (suffix == NULL)
        return attn_reader_no_memory(reader);
    *data = suffix;
    return attn_read_string(reader, object, "suffix", ATTN_REQUIRED, suffix);
}

attn_status attn_bpe_decoder_apply(const void *data, const struct attn_tokens *in, struct attn_tokens *out,
                                   struct attn_error *error) {
    const struct attn_string *suffix = data;
    for (size_t i = 0; i < in->count; i++) {
        struct attn_string blank = {" ", i + 1 < in->count};
        if (!put_replaced(out, token_at(in, i), *suffix, blank) || !attn_tokens_end(out))
            return no_memory(error);
    }
    return ATTN_OK;
}

struct ctc {
    struct attn_string pad_token, word_delimiter_token;
    bool cleanup;
};

attn_status attn_ctc_decoder_read(struct attn_reader *reader, const json_t *object, void **data) {
    struct ctc *ctc = attn_pool_take(reader->pool, 1, sizeof *ctc);
    if (ctc == NULL)
        return attn_reader_no_memory(reader);
    *data = ctc;
    attn_status status = attn_read_string(reader, object, "pad_token", ATTN_REQUIRED, &ctc->pad_token);
    if (status == ATTN_OK)
        status = attn_read_string(reader, object, "word_delimiter_token", ATTN_REQUIRED, &ctc->word_delimiter_token);
    return status == ATTN_OK ? attn_read_bool(reader, object, "cleanup", ATTN_REQUIRED, &ctc->cleanup) : status;
}

static bool put_ctc(const struct ctc *ctc, struct attn_string token, struct attn_tokens *out) {
    struct attn_tokens raw = {0}, cleaned = {0};
    size_t before = out->length;
    bool has_memory = put_replaced(&raw, token, ctc->pad_token, (struct attn_string){0});
    struct attn_string text = {raw.bytes, raw.length};
    if (has_memory && ctc->cleanup) {
        has_memory =
            put_cleaned(&cleaned, text) && put_replaced(out, (struct attn_string){cleaned.bytes, cleaned.length},
                                                        ctc->word_delimiter_token, (struct attn_string){" ", 1});
    } else if (has_memory) {
        has_memory = attn_tokens_put(out, text.bytes, text.length);
    }
    attn_tokens_reset(&raw);
    attn_tokens_reset(&cleaned);
    return has_memory && (out->length == before || attn_tokens_end(out));
}

/* Repeated tokens are one, padding is none. Graves et al. 2006. */
attn_status attn_ctc_decoder_apply(const void *data, const struct attn_tokens *in, struct attn_tokens *out,
                                   struct attn_error *error) {
    struct attn_string last = {0};
    for (size_t i = 0; i < in->count; i++) {
        struct attn_string token = token_at(in, i);
        bool is_repeated = i > 0 && token.length == last.length && memcmp(token.bytes, last.bytes, token.length) == 0;
        last = token;
        if (!is_repeated && !put_ctc(data, token, out))
            return no_memory(error);
    }
    return ATTN_OK;
}

attn_status attn_replace_decoder_read(struct attn_reader *reader, const json_t *object, void **data) {
    attn_status status = attn_replacement_read(reader, object, data);
    if (status != ATTN_OK)
        return status;
    const struct attn_replacement *replacement = *data;
    struct attn_string sign = replacement->pattern.literal, content = replacement->content;
    if (sign.length > 0 && content.length == 1 && content.bytes[0] == ' ') {
        size_t size = 0;
        uint32_t code_point = attn_utf8_read(sign.bytes, &size);
        if (size == sign.length)
            reader->tokenizer->space_sign = code_point;
    }
    return ATTN_OK;
}

static bool put_matches(const struct attn_replacement *replace, struct attn_string token,
                        const struct attn_matches *matches, struct attn_tokens *out) {
    size_t done = 0;
    for (size_t i = 0; i < matches->count; i++) {
        const struct attn_match *match = &matches->entries[i];
        if (!match->is_match)
            continue;
        if (!attn_tokens_put(out, token.bytes + done, match->begin - done) ||
            !attn_tokens_put(out, replace->content.bytes, replace->content.length))
            return false;
        done = match->end;
    }
    return attn_tokens_put(out, token.bytes + done, token.length - done) && attn_tokens_end(out);
}

attn_status attn_replace_decoder_apply(const void *data, const struct attn_tokens *in, struct attn_tokens *out,
                                       struct attn_error *error) {
    const struct attn_replacement *replace = data;
    struct attn_matches matches = {0};
    attn_status status = ATTN_OK;
    for (size_t i = 0; status == ATTN_OK && i < in->count; i++) {
        struct attn_string token = token_at(in, i);
        matches.count = 0;
        if (token.length > 0)
            status = attn_pattern_find(&replace->pattern, token.bytes, token.length, &matches, error);
        if (status == ATTN_OK && !put_matches(replace, token, &matches, out))
            status = no_memory(error);
    }
    attn_matches_reset(&matches);
    return status;
}

struct strip {
    uint32_t content;
    size_t start, stop;
};

attn_status attn_strip_decoder_read(struct attn_reader *reader, const json_t *object, void **data) {
    struct strip *strip = attn_pool_take(reader->pool, 1, sizeof *strip);
    if (strip == NULL)
        return attn_reader_no_memory(reader);
    *data = strip;
    attn_status status = attn_read_char(reader, object, "content", ATTN_REQUIRED, &strip->content);
    if (status == ATTN_OK)
        status = attn_read_size(reader, object, "start", ATTN_REQUIRED, INT32_MAX, &strip->start);
    return status == ATTN_OK ? attn_read_size(reader, object, "stop", ATTN_REQUIRED, INT32_MAX, &strip->stop) : status;
}

attn_status attn_strip_decoder_apply(const void *data, const struct attn_tokens *in, struct attn_tokens *out,
                                     struct attn_error *error) {
    const struct strip *strip = data;
    for (size_t i = 0; i < in->count; i++) {
        struct attn_string token = token_at(in, i);
        size_t begin = 0, end = token.length, size;
        for (size_t k = 0; k < strip->start && begin < end; k++, begin += size) {
            if (attn_utf8_read(token.bytes + begin, &size) != strip->content)
                break;
        }
        for (size_t k = 0; k < strip->stop && end > begin; k++) {
            size_t last = end - attn_utf8_size_before(token.bytes, end);
            if (attn_utf8_read(token.bytes + last, &size) != strip->content)
                break;
            end = last;
        }
        if (!attn_tokens_put(out, token.bytes + begin, end - begin) || !attn_tokens_end(out))
            return no_memory(error);
    }
    return ATTN_OK;
}

struct metaspace {
    uint32_t replacement;
    bool is_prepended;
};

attn_status attn_metaspace_decoder_read(struct attn_reader *reader, const json_t *object, void **data) {
    static const char *const schemes[] = {"first", "never", "always"};
    struct metaspace *metaspace = attn_pool_take(reader->pool, 1, sizeof *metaspace);
    size_t scheme = 2;
    bool add_prefix_space = true;
    if (metaspace == NULL)
        return attn_reader_no_memory(reader);
    *data = metaspace;
    attn_status status = attn_read_char(reader, object, "replacement", ATTN_REQUIRED, &metaspace->replacement);
    if (status == ATTN_OK)
        status = attn_read_choice(reader, object, "prepend_scheme", ATTN_OPTIONAL, schemes, 3, &scheme);
    if (status == ATTN_OK)
        status = attn_read_bool(reader, object, "add_prefix_space", ATTN_OPTIONAL, &add_prefix_space);
    metaspace->is_prepended = scheme != 1 && add_prefix_space;
    reader->tokenizer->space_sign = metaspace->replacement;
    return status;
}

attn_status attn_metaspace_decoder_apply(const void *data, const struct attn_tokens *in, struct attn_tokens *out,
                                         struct attn_error *error) {
    const struct metaspace *metaspace = data;
    for (size_t i = 0; i < in->count; i++) {
        struct attn_string token = token_at(in, i);
        size_t size;
        for (size_t at = 0; at < token.length; at += size) {
            bool is_sign = attn_utf8_read(token.bytes + at, &size) == metaspace->replacement;
            if (is_sign && i == 0 && metaspace->is_prepended)
                continue;
            if (!(is_sign ? attn_tokens_put(out, " ", 1) : attn_tokens_put(out, token.bytes + at, size)))
                return no_memory(error);
        }
        if (!attn_tokens_end(out))
            return no_memory(error);
    }
    return ATTN_OK;
}

attn_status attn_fuse_decoder_apply(const void *data, const struct attn_tokens *in, struct attn_tokens *out,
                                    struct attn_error *error) {
    (void)data;
    if (!attn_tokens_put(out, in->bytes, in->length) || !attn_tokens_end(out))
        return no_memory(error);
    return ATTN_OK;
}
