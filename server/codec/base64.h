/** @file base64.h The base64 of RFC 4648 section 4: padded, no line breaks, nothing else accepted. */
#ifndef SERVER_CODEC_BASE64_H
#define SERVER_CODEC_BASE64_H

#include <stdbool.h>
#include <stddef.h>

/** @return the most bytes that `length` characters decode to. */
size_t base64_decoded_bound(size_t length);
/**
 * Decodes up to `length` characters, stopping before the first that is no base64 (a closing quote).
 * @param written  receives the count of bytes
 * @param read     receives the count of characters that were read; on failure, the place of the one at fault
 * @return false where the text is cut short, or its padding is wrong.
 */
bool base64_decode(const char *text, size_t length, unsigned char *to, size_t *written, size_t *read);

/** @return the characters that `bytes` bytes take, padding included. */
size_t base64_encoded_length(size_t bytes);
/** Encodes, padding the end where bytes is no multiple of 3. @return characters written. */
size_t base64_encode(const unsigned char *bytes, size_t count, char *to);

#endif
