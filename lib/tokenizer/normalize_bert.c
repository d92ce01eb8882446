/* BERT's own normaliser: drop control characters, set CJK apart, strip accents, lower case. */
#include "lib/tokenizer/normalizers.h"
#include "lib/tokenizer/unicode.h"

struct bert {
    bool clean_text, handle_chinese_chars, strip_accents, lowercase;
};

attn_status attn_bert_normalizer_read(struct attn_reader *reader, const json_t *object, void **data) {
    struct bert *bert = attn_pool_take(reader->pool, 1, sizeof *bert);
    if (bert == NULL)
        return attn_reader_no_memory(reader);
    *data = bert;
    attn_status status = attn_read_bool(reader, object, "clean_text", ATTN_REQUIRED, &bert->clean_text);
    if (status == ATTN_OK)
        status = attn_read_bool(reader, object, "handle_chinese_chars", ATTN_REQUIRED, &bert->handle_chinese_chars);
    if (status == ATTN_OK)
        status = attn_read_bool(reader, object, "lowercase", ATTN_REQUIRED, &bert->lowercase);
    bert->strip_accents = bert->lowercase; /* unless it is said */
    if (status == ATTN_OK)
        status = attn_read_bool(reader, object, "strip_accents", ATTN_OPTIONAL, &bert->strip_accents);
    return status;
}

/* The block of CJK ideographs in the widest sense, as BERT's authors listed it; kana and hangul are not in it. */
static bool is_chinese(uint32_t c) {
    return c >= 0x3400 &&
           ((c >= 0x4e00 && c <= 0x9fff) || c <= 0x4dbf || (c >= 0x20000 && c <= 0x2a6df) ||
            (c >= 0x2a700 && c <= 0x2b73f) || (c >= 0x2b740 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) ||
            (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f));
}

/* ASCII's share of clean_text and lower case, in place. @return whether all was ASCII, and is done. */
static bool clean_ascii(const struct bert *bert, struct attn_text *text) {
    size_t length = 0;
    for (size_t i = 0; i < text->length; i++) {
        if ((unsigned char)text->bytes[i] >= 0x80)
            return false;
    }
    for (size_t i = 0; i < text->length; i++) {
        char byte = text->bytes[i];
        if (bert->clean_text && (byte < ' ' || byte == 0x7f)) {
            if (byte != '\t' && byte != '\n' && byte != '\r')
                continue;
            byte = ' ';
        }
        if (bert->lowercase && byte >= 'A' && byte <= 'Z')
            byte = (char)(byte + ('a' - 'A'));
        text->bytes[length] = byte;
        text->origins[length++] = text->origins[i];
    }
    text->length = length;
    return true;
}

static bool clean_character(const struct bert *bert, struct attn_normal *normal, size_t at, size_t size,
                            uint32_t code_point) {
    struct attn_origin origin = normal->text.origins[at];
    const char *bytes = normal->text.bytes + at;
    if (bert->clean_text && attn_is_other(code_point))
        return true;
    if (bert->clean_text && attn_is_whitespace(code_point))
        return attn_text_append_bytes(&normal->next, " ", 1, origin);
    if (!bert->handle_chinese_chars || !is_chinese(code_point))
        return attn_text_append_bytes(&normal->next, bytes, size, origin);
    return attn_text_append_bytes(&normal->next, " ", 1, origin) &&
           attn_text_append_bytes(&normal->next, bytes, size, origin) &&
           attn_text_append_bytes(&normal->next, " ", 1, origin);
}

static bool is_no_nonspacing_mark(uint32_t code_point) {
    return !attn_is_nonspacing_mark(code_point);
}

attn_status attn_bert_normalizer_apply(const void *data, struct attn_normal *normal, struct attn_error *error) {
    const struct bert *bert = data;
    if (clean_ascii(bert, &normal->text))
        return ATTN_OK;
    size_t size;
    for (size_t at = 0; at < normal->text.length; at += size) {
        uint32_t code_point = attn_utf8_read(normal->text.bytes + at, &size);
        if (!clean_character(bert, normal, at, size, code_point))
            return attn_normal_no_memory(error);
    }
    attn_normal_swap(normal);
    attn_status status = ATTN_OK;
    if (bert->strip_accents)
        status = attn_nfd_apply(NULL, normal, error);
    if (bert->strip_accents && status == ATTN_OK)
        status = attn_normal_filter(normal, is_no_nonspacing_mark, error);
    return status == ATTN_OK && bert->lowercase ? attn_lowercase_apply(NULL, normal, error) : status;
}
