#include "server/codec/base64.h"
#include <stdint.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* A character's value plus one; 0 is no base64. */
static const uint8_t values[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
};

size_t base64_decoded_bound(size_t length) {
    return length / 4 * 3 + 3;
}

/* The last group: two or three characters and their padding. */
static bool decode_tail(const char *text, size_t length, size_t count, unsigned char *to, size_t *written,
                        size_t *read) {
    uint32_t bits = 0;
    for (size_t i = 0; i < count; i++) {
        bits = bits << 6 | (uint32_t)(values[(unsigned char)text[i]] - 1);
    }
    *read += count;
    if (count == 1) {
        return false;
    }
    for (size_t i = count; i < 4; i++) {
        if (i >= length || text[i] != '=') {
            return false;
        }
        ++*read;
    }
    bits <<= 6 * (4 - count);
    to[0] = (unsigned char)(bits >> 16);
    to[1] = (unsigned char)(bits >> 8);
    *written += count - 1;
    return true;
}

bool base64_decode(const char *text, size_t length, unsigned char *to, size_t *written, size_t *read) {
    size_t at = 0, out = 0;
    while (length - at >= 4) {
        uint32_t a = values[(unsigned char)text[at]], b = values[(unsigned char)text[at + 1]];
        uint32_t c = values[(unsigned char)text[at + 2]], d = values[(unsigned char)text[at + 3]];
        if (a == 0 || b == 0 || c == 0 || d == 0) {
            break;
        }
        uint32_t bits = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6 | (d - 1);
        to[out] = (unsigned char)(bits >> 16);
        to[out + 1] = (unsigned char)(bits >> 8);
        to[out + 2] = (unsigned char)bits;
        at += 4;
        out += 3;
    }
    size_t count = 0;
    while (count < 4 && at + count < length && values[(unsigned char)text[at + count]] != 0) {
        count++;
    }
    *written = out;
    *read = at;
    return count == 0 || decode_tail(text + at, length - at, count, to + out, written, read);
}

size_t base64_encoded_length(size_t bytes) {
    return (bytes + 2) / 3 * 4;
}

size_t base64_encode(const unsigned char *bytes, size_t count, char *to) {
    char *start = to;
    size_t i = 0;
    for (; i + 3 <= count; i += 3) {
        uint32_t bits = (uint32_t)bytes[i] << 16 | (uint32_t)bytes[i + 1] << 8 | bytes[i + 2];
        *to++ = alphabet[bits >> 18];
        *to++ = alphabet[bits >> 12 & 63];
        *to++ = alphabet[bits >> 6 & 63];
        *to++ = alphabet[bits & 63];
    }
    if (i < count) {
        bool has_two = count - i == 2;
        uint32_t bits = (uint32_t)bytes[i] << 16 | (has_two ? (uint32_t)bytes[i + 1] << 8 : 0);
        *to++ = alphabet[bits >> 18];
        *to++ = alphabet[bits >> 12 & 63];
        *to++ = has_two ? alphabet[bits >> 6 & 63] : '=';
        *to++ = '=';
    }
    return (size_t)(to - start);
}
