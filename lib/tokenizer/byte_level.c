/*
 * ByteLevel: words are cut by GPT-2's pattern
 *     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 * which is written out here, for it is at work in most tokenizers; then each byte becomes a character.
 */
#include "lib/tokenizer/byte_level.h"

#include "lib/tensor/error.h"
#include "lib/tokenizer/normalizers.h"
#include "lib/tokenizer/tokenizer.h"
#include "lib/tokenizer/unicode.h"

struct byte_level {
    bool add_prefix_space, use_regex;
};

uint32_t attn_byte_character(unsigned char byte) {
    if (byte <= 0x20)
        return 0x100U + byte;
    if (byte >= 0x7f && byte <= 0xa0)
        return 0x121U + byte - 0x7f;
    return byte == 0xad ? 0x143U : byte;
}

int attn_character_byte(uint32_t code_point) {
    if (code_point >= 0x144)
        return -1;
    if (code_point == 0x143)
        return 0xad;
    if (code_point >= 0x121)
        return (int)code_point - 0x121 + 0x7f;
    if (code_point >= 0x100)
        return (int)code_point - 0x100;
    return attn_byte_character((unsigned char)code_point) == code_point ? (int)code_point : -1;
}

bool attn_byte_level_append(struct attn_text *text, const struct attn_slice *slice) {
    if (slice->length > SIZE_MAX / 2 || !attn_text_reserve(text, slice->length * 2))
        return false;
    char *bytes = text->bytes + text->length;
    struct attn_origin *origins = text->origins + text->length;
    size_t length = 0;
    for (size_t i = 0; i < slice->length; i++) {
        unsigned char byte = (unsigned char)slice->bytes[i];
        if (byte > ' ' && byte < 0x7f) {
            bytes[length] = (char)byte;
            origins[length++] = slice->origins[i];
            continue;
        }
        attn_utf8_write(bytes + length, attn_byte_character(byte)); /* always two bytes */
        origins[length] = origins[length + 1] = slice->origins[i];
        length += 2;
    }
    text->length += length;
    return true;
}

attn_status attn_byte_level_normalizer_read(struct attn_reader *reader, const json_t *object, void **data) {
    (void)object;
    (void)data;
    reader->tokenizer->is_byte_level = true;
    return ATTN_OK;
}

attn_status attn_byte_level_normalizer_apply(const void *data, struct attn_normal *normal, struct attn_error *error) {
    (void)data;
    struct attn_slice in = attn_normal_slice(normal);
    if (!attn_byte_level_append(&normal->next, &in))
        return attn_normal_no_memory(error);
    attn_normal_swap(normal);
    return ATTN_OK;
}

attn_status attn_byte_level_read(struct attn_reader *reader, const json_t *object, void **data) {
    struct byte_level *byte_level = attn_pool_take(reader->pool, 1, sizeof *byte_level);
    if (byte_level == NULL)
        return attn_reader_no_memory(reader);
    *data = byte_level;
    byte_level->use_regex = true;
    reader->tokenizer->is_byte_level = true;
    attn_status status =
        attn_read_bool(reader, object, "add_prefix_space", ATTN_REQUIRED, &byte_level->add_prefix_space);
    if (status == ATTN_OK)
        status = attn_read_bool(reader, object, "use_regex", ATTN_OPTIONAL, &byte_level->use_regex);
    return status;
}

enum class { LETTER, NUMBER, SPACE, OTHER };

static enum class class_at(const char *text, size_t *size) {
    uint32_t code_point = attn_utf8_read(text, size); if (attn_is_regex_letter(code_point)) return LETTER;
    if (attn_is_whitespace(code_point)) return SPACE;
    return attn_is_regex_number(code_point) ? NUMBER : OTHER;
}

/* @return the end of the run of `wanted` from `at`. */
static size_t run_end(const char *text, size_t length, size_t at, enum class wanted) {
    size_t size;
    while (at < length && class_at(text + at, &size) == wanted)
        at += size;
    return at;
}

/* @return the length of 's, 't, 're … at an apostrophe; 0 where there is none. */
static size_t contraction(const char *text, size_t left) {
    if (left >= 2 && (text[1] == 's' || text[1] == 't' || text[1] == 'm' || text[1] == 'd'))
        return 2;
    bool is_long = left >= 3 && ((text[1] == 'r' && text[2] == 'e') || (text[1] == 'v' && text[2] == 'e') ||
                                 (text[1] == 'l' && text[2] == 'l'));
    return is_long ? 3 : 0;
}

/* Blanks: all of them at the end of the text, else all but the last, which belongs to what follows. */
static size_t blank_end(const char *text, size_t length, size_t at) {
    size_t end = run_end(text, length, at, SPACE);
    if (end == length)
        return end;
    size_t last = end - attn_utf8_size_before(text, end);
    return last > at ? last : end;
}

/* @return the end of the word that begins at `at`. */
static size_t word_end(const char *text, size_t length, size_t at) {
    size_t size, next_size;
    if (text[at] == '\'') {
        size_t short_end = contraction(text + at, length - at);
        if (short_end > 0)
            return at + short_end;
    }
    enum class first = class_at(text + at, &size);
    if (first != SPACE)
        return run_end(text, length, at + size, first);
    if (text[at] == ' ' && at + 1 < length) {
        enum class next = class_at(text + at + 1, &next_size);
        if (next != SPACE)
            return run_end(text, length, at + 1 + next_size, next);
    }
    return blank_end(text, length, at);
}

/* Cuts one piece and writes its words. */
static bool write_words(struct attn_pieces *pieces, const struct attn_piece *piece, bool use_regex) {
    struct attn_slice slice = attn_pieces_slice(pieces, piece);
    for (size_t at = 0, end; at < slice.length; at = end) {
        end = use_regex ? word_end(slice.bytes, slice.length, at) : slice.length;
        struct attn_slice word = {.bytes = slice.bytes + at, .origins = slice.origins + at, .length = end - at};
        struct attn_piece part = {.begin = pieces->next.length, .added = -1};
        part.first = use_regex ? word.origins[0].begin : piece->first;
        if (!attn_byte_level_append(&pieces->next, &word))
            return false;
        part.end = pieces->next.length;
        if (!attn_piece_push(&pieces->next_list, &part))
            return false;
    }
    return true;
}

static bool copy_added(struct attn_pieces *pieces, const struct attn_piece *piece) {
    struct attn_slice slice = attn_pieces_slice(pieces, piece);
    struct attn_piece copy = *piece;
    copy.begin = pieces->next.length;
    copy.end = copy.begin + slice.length;
    return attn_text_append(&pieces->next, &slice) && attn_piece_push(&pieces->next_list, &copy);
}

static bool prepend_space(const void *data, const struct attn_slice *piece, struct attn_text *out) {
    (void)data;
    return (piece->bytes[0] == ' ' || attn_text_append_bytes(out, " ", 1, piece->origins[0])) &&
           attn_text_append(out, piece);
}

attn_status attn_byte_level_apply(const void *data, struct attn_pieces *pieces, struct attn_error *error) {
    const struct byte_level *byte_level = data;
    if (byte_level->add_prefix_space) {
        attn_status status = attn_pieces_rewrite(pieces, prepend_space, NULL, error);
        if (status != ATTN_OK)
            return status;
    }
    pieces->next.length = 0;
    pieces->next_list.count = 0;
    for (size_t i = 0; i < pieces->list.count; i++) {
        const struct attn_piece *piece = &pieces->list.entries[i];
        if (!(piece->added < 0 ? write_words(pieces, piece, byte_level->use_regex) : copy_added(pieces, piece)))
            return attn_fail(error, ATTN_ENOMEM, "text", "no memory for the pieces of the text");
    }
    attn_pieces_swap(pieces);
    return ATTN_OK;
}
