/** @file utf8.h UTF-8 sequences (RFC 3629). */
#ifndef SERVER_CODEC_UTF8_H
#define SERVER_CODEC_UTF8_H

#include <stddef.h>
#include <stdint.h>

/** @return the bytes of the sequence of two or more that starts at `at`, of which `left` are there; 0: it is none. */
size_t utf8_length(const unsigned char *at, size_t left);
/** Writes a code point (at most 4 bytes). @return how many. */
size_t utf8_put(uint32_t point, char *to);

#endif
