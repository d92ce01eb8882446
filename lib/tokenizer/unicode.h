/** @file unicode.h UTF-8 and properties of characters, by the versions of Unicode that the tokenizers package uses. */
#ifndef LIB_TOKENIZER_UNICODE_H
#define LIB_TOKENIZER_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** @return the character at valid UTF-8; *size is its length in bytes. */
static inline uint32_t attn_utf8_read(const char *text, size_t *size) {
    const unsigned char *byte = (const unsigned char *)text;
    if (byte[0] < 0x80) {
        *size = 1;
        return byte[0];
    }
    if (byte[0] < 0xe0) {
        *size = 2;
        return (byte[0] & 0x1fU) << 6 | (byte[1] & 0x3fU);
    }
    if (byte[0] < 0xf0) {
        *size = 3;
        return (byte[0] & 0x0fU) << 12 | (byte[1] & 0x3fU) << 6 | (byte[2] & 0x3fU);
    }
    *size = 4;
    return (byte[0] & 0x07U) << 18 | (byte[1] & 0x3fU) << 12 | (byte[2] & 0x3fU) << 6 | (byte[3] & 0x3fU);
}

/** @return the length in bytes of the character that begins with `byte`. */
static inline size_t attn_utf8_size(char byte) {
    unsigned char value = (unsigned char)byte;
    return value < 0x80 ? 1 : value < 0xe0 ? 2 : value < 0xf0 ? 3 : 4;
}

/** Writes a character. @return its length in bytes, 1 to 4. */
size_t attn_utf8_write(char *text, uint32_t code_point);

/** @return the bytes that are valid UTF-8 from the start; `length` if all are. */
size_t attn_utf8_valid(const char *text, size_t length);

/** @return the bytes, at least 1, at `text` that one U+FFFD stands for; they are no UTF-8. Unicode 15, section 3.9. */
size_t attn_utf8_bad_size(const char *text, size_t length);

/** @return the bytes of the character before `at`, which is not 0, in valid UTF-8. */
size_t attn_utf8_size_before(const char *text, size_t at);

bool attn_is_whitespace(uint32_t code_point);      /**< White_Space */
bool attn_is_punctuation(uint32_t code_point);     /**< ASCII's and P* */
bool attn_is_word(uint32_t code_point);            /**< \w */
bool attn_is_numeric(uint32_t code_point);         /**< N* */
bool attn_is_other(uint32_t code_point);           /**< what BERT's clean_text drops */
bool attn_is_nonspacing_mark(uint32_t code_point); /**< what BERT's strip_accents drops */
bool attn_is_combining_mark(uint32_t code_point);  /**< M* */

bool attn_is_regex_letter(uint32_t code_point); /**< \p{L} in regular expressions */
bool attn_is_regex_number(uint32_t code_point); /**< \p{N} in regular expressions */

/** Whether newer versions of Unicode decompose or combine a character that the package leaves alone. */
bool attn_is_later(uint32_t code_point);

/** Writes the lower-case characters. @return how many, 1 or 2. */
size_t attn_lowercase(uint32_t code_point, uint32_t lower[2]);

#endif
