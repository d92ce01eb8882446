#include "server/codec/base64.h"
#include <stdint.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* A character's value plus one; 0 is no base64. */
#define V(c, value) [c] = (value) + 1
static const uint8_t values[256] = {
    V('A', 0),  V('B', 1),  V('C', 2),  V('D', 3),  V('E', 4),  V('F', 5),  V('G', 6),  V('H', 7),
    V('I', 8),  V('J', 9),  V('K', 10), V('L', 11), V('M', 12), V('N', 13), V('O', 14), V('P', 15),
    V('Q', 16), V('R', 17), V('S', 18), V('T', 19), V('U', 20), V('V', 21), V('W', 22), V('X', 23),
    V('Y', 24), V('Z', 25), V('a', 26), V('b', 27), V('c', 28), V('d', 29), V('e', 30), V('f', 31),
    V('g', 32), V('h', 33), V('i', 34), V('j', 35), V('k', 36), V('l', 37), V('m', 38), V('n', 39),
    V('o', 40), V('p', 41), V('q', 42), V('r', 43), V('s', 44), V('t', 45), V('u', 46), V('v', 47),
    V('w', 48), V('x', 49), V('y', 50), V('z', 51), V('0', 52), V('1', 53), V('2', 54), V('3', 55),
    V('4', 56), V('5', 57), V('6', 58), V('7', 59), V('8', 60), V('9', 61), V('+', 62), V('/', 63),
};
#undef V

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
