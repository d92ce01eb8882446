/* Normalisers of a few lines each. */
#include "lib/tensor/error.h"
#include "lib/tokenizer/normalizers.h"
#include "lib/tokenizer/regex.h"
#include "lib/tokenizer/tokenizer.h"
#include "lib/tokenizer/unicode.h"

#include <string.h>

attn_status attn_normal_no_memory(struct attn_error *error) {
    return attn_fail(error, ATTN_ENOMEM, "text", "no memory for the normalised text");
}

/* Writes all characters as `map` has them; 0xffffffff leaves one out. */
static attn_status map_text(struct attn_normal *normal, uint32_t (*map)(uint32_t code_point),
                            struct attn_error *error) {
    const struct attn_text *text = &normal->text;
    size_t size;
    for (size_t at = 0; at < text->length; at += size) {
        uint32_t mapped = map(attn_utf8_read(text->bytes + at, &size));
        char bytes[4];
        if (mapped != UINT32_MAX &&
            !attn_text_append_bytes(&normal->next, bytes, attn_utf8_write(bytes, mapped), text->origins[at]))
            return attn_normal_no_memory(error);
    }
    attn_normal_swap(normal);
    return ATTN_OK;
}

attn_status attn_normal_filter(struct attn_normal *normal, bool (*keep)(uint32_t code_point),
                               struct attn_error *error) {
    struct attn_text *text = &normal->text;
    size_t size, length = 0;
    (void)error;
    for (size_t at = 0; at < text->length; at += size) {
        if (!keep(attn_utf8_read(text->bytes + at, &size)))
            continue;
        if (length != at) {
            memmove(text->bytes + length, text->bytes + at, size);
            memmove(text->origins + length, text->origins + at, size * sizeof *text->origins);
        }
        length += size;
    }
    text->length = length;
    return ATTN_OK;
}

/* In place as long as nothing changes its size. @return the bytes that are done. */
static size_t lower_in_place(struct attn_text *text) {
    size_t size, at;
    for (at = 0; at < text->length; at += size) {
        uint32_t lower[2], code_point = attn_utf8_read(text->bytes + at, &size);
        char bytes[4];
        size_t count = attn_lowercase(code_point, lower);
        if (count == 1 && lower[0] == code_point)
            continue;
        if (count > 1 || attn_utf8_write(bytes, lower[0]) != size)
            return at;
        memcpy(text->bytes + at, bytes, size);
    }
    return at;
}

attn_status attn_lowercase_apply(const void *data, struct attn_normal *normal, struct attn_error *error) {
    (void)data;
    struct attn_text *text = &normal->text;
    size_t done = lower_in_place(text), size;
    if (done == text->length)
        return ATTN_OK;
    struct attn_slice head = {.bytes = text->bytes, .origins = text->origins, .length = done};
    if (!attn_text_append(&normal->next, &head))
        return attn_normal_no_memory(error);
    for (size_t at = done; at < text->length; at += size) {
        uint32_t lower[2];
        size_t count = attn_lowercase(attn_utf8_read(text->bytes + at, &size), lower);
        for (size_t i = 0; i < count; i++) {
            char bytes[4];
            if (!attn_text_append_bytes(&normal->next, bytes, attn_utf8_write(bytes, lower[i]), text->origins[at]))
                return attn_normal_no_memory(error);
        }
    }
    attn_normal_swap(normal);
    return ATTN_OK;
}

static bool is_no_combining_mark(uint32_t code_point) {
    return !attn_is_combining_mark(code_point);
}

attn_status attn_strip_accents_apply(const void *data, struct attn_normal *normal, struct attn_error *error) {
    (void)data;
    return attn_normal_filter(normal, is_no_combining_mark, error);
}

struct strip {
    bool left, right;
};

attn_status attn_strip_read(struct attn_reader *reader, const json_t *object, void **data) {
    struct strip *strip = attn_pool_take(reader->pool, 1, sizeof *strip);
    if (strip == NULL)
        return attn_reader_no_memory(reader);
    *data = strip;
    attn_status status = attn_read_bool(reader, object, "strip_left", ATTN_REQUIRED, &strip->left);
    if (status == ATTN_OK)
        status = attn_read_bool(reader, object, "strip_right", ATTN_REQUIRED, &strip->right);
    return status;
}

attn_status attn_strip_apply(const void *data, struct attn_normal *normal, struct attn_error *error) {
    const struct strip *strip = data;
    const struct attn_text *text = &normal->text;
    size_t begin = 0, end = text->length, size;
    while (strip->left && begin < end && attn_is_whitespace(attn_utf8_read(text->bytes + begin, &size)))
        begin += size;
    while (strip->right && end > begin) {
        size_t last = end - attn_utf8_size_before(text->bytes, end);
        if (!attn_is_whitespace(attn_utf8_read(text->bytes + last, &size)))
            break;
        end = last;
    }
    if (begin == 0) {
        normal->text.length = end;
        return ATTN_OK;
    }
    struct attn_slice rest = {.bytes = text->bytes + begin, .origins = text->origins + begin, .length = end - begin};
    if (!attn_text_append(&normal->next, &rest))
        return attn_normal_no_memory(error);
    attn_normal_swap(normal);
    return ATTN_OK;
}

/* What replaces a match gets the place of its last character. */
static bool write_replaced(const struct attn_replacement *replace, const struct attn_matches *matches,
                           struct attn_normal *normal) {
    struct attn_slice in = attn_normal_slice(normal);
    size_t done = 0;
    for (size_t i = 0; i < matches->count; i++) {
        const struct attn_match *match = &matches->entries[i];
        if (!match->is_match)
            continue;
        struct attn_slice before = {
            .bytes = in.bytes + done, .origins = in.origins + done, .length = match->begin - done};
        struct attn_origin origin = {in.first, in.first};
        if (match->end > 0)
            origin = in.origins[match->end - 1];
        if (!attn_text_append(&normal->next, &before) ||
            !attn_text_append_bytes(&normal->next, replace->content.bytes, replace->content.length, origin))
            return false;
        done = match->end;
    }
    struct attn_slice rest = {.bytes = in.bytes + done, .origins = in.origins + done, .length = in.length - done};
    return attn_text_append(&normal->next, &rest);
}

attn_status attn_replace_apply(const void *data, struct attn_normal *normal, struct attn_error *error) {
    const struct attn_replacement *replace = data;
    struct attn_matches matches = {.patience = normal->patience};
    attn_status status = attn_pattern_find(&replace->pattern, normal->text.bytes, normal->text.length, &matches, error);
    if (status == ATTN_OK && matches.count > 0) {
        if (write_replaced(replace, &matches, normal))
            attn_normal_swap(normal);
        else
            status = attn_normal_no_memory(error);
    }
    attn_matches_reset(&matches);
    return status;
}

attn_status attn_prepend_read(struct attn_reader *reader, const json_t *object, void **data) {
    struct attn_string *prepend = attn_pool_take(reader->pool, 1, sizeof *prepend);
    if (prepend == NULL)
        return attn_reader_no_memory(reader);
    *data = prepend;
    return attn_read_string(reader, object, "prepend", ATTN_REQUIRED, prepend);
}

attn_status attn_prepend_apply(const void *data, struct attn_normal *normal, struct attn_error *error) {
    const struct attn_string *prepend = data;
    struct attn_slice in = attn_normal_slice(normal);
    if (prepend->length == 0) /* the package takes the place of the first character away then */
        for (size_t i = attn_utf8_size(in.bytes[0]); i-- > 0;)
            normal->text.origins[i] = (struct attn_origin){in.first, in.first};
    if (!attn_text_append_bytes(&normal->next, prepend->bytes, prepend->length, in.origins[0]) ||
        !attn_text_append(&normal->next, &in))
        return attn_normal_no_memory(error);
    attn_normal_swap(normal);
    return ATTN_OK;
}

static uint32_t map_nmt(uint32_t code_point) {
    if ((code_point >= 0x1 && code_point <= 0x8) || code_point == 0xb || (code_point >= 0xe && code_point <= 0x1f) ||
        code_point == 0x7f || code_point == 0x8f || code_point == 0x9f)
        return UINT32_MAX;
    bool is_space = code_point == 0x9 || code_point == 0xa || code_point == 0xc || code_point == 0xd ||
                    code_point == 0x1680 || (code_point >= 0x200b && code_point <= 0x200f) || code_point == 0x2028 ||
                    code_point == 0x2029 || code_point == 0x2581 || code_point == 0xfeff || code_point == 0xfffd;
    return is_space ? ' ' : code_point;
}

attn_status attn_nmt_apply(const void *data, struct attn_normal *normal, struct attn_error *error) {
    (void)data;
    return map_text(normal, map_nmt, error);
}
