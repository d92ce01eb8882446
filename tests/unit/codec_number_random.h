/**
 * @file codec_number_random.h
 * Random numbers and random decimals for the tests of number.h: the same ones every time.
 */
#ifndef TESTS_UNIT_CODEC_NUMBER_RANDOM_H
#define TESTS_UNIT_CODEC_NUMBER_RANDOM_H

#include <stdint.h>
#include <stdio.h>

/** SplitMix64 (Steele, Lea and Flood 2014). */
static inline uint64_t next_random(uint64_t *state) {
    *state += 0x9e3779b97f4a7c15;
    uint64_t z = (*state ^ (*state >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

/** A decimal of random shape, at most 100 bytes with its NUL. @return its length */
static inline int random_number(char *to, uint64_t *state) {
    uint64_t shape = next_random(state);
    int whole = (int)(shape % 4 == 0 ? shape / 4 % 22 : shape / 4 % 3);
    int fraction = (int)(shape >> 8) % 3 == 0 ? (int)(shape >> 16) % 30 : (int)(shape >> 16) % 11;
    char *p = to;
    if (shape >> 63 != 0) {
        *p++ = '-';
    }
    if (whole == 0) {
        *p++ = '0';
    }
    for (int i = 0; i < whole; i++) {
        *p++ = (char)('0' + (i == 0 ? 1 + next_random(state) % 9 : next_random(state) % 10));
    }
    if (fraction > 0) {
        *p++ = '.';
    }
    int zeros = (int)(shape >> 24) % 5 == 0 ? fraction / 2 : 0;
    for (int i = 0; i < fraction; i++) {
        *p++ = (char)('0' + (i < zeros ? 0 : next_random(state) % 10));
    }
    if ((shape >> 32) % 4 == 0) {
        static const char *const marks[] = {"e", "E", "e-", "e+", "E-", "e-0"};
        int limit = (shape >> 40) % 4 == 0 ? 340 : 30;
        p += sprintf(p, "%s%d", marks[(shape >> 36) % 6], (int)((shape >> 44) % (unsigned)limit));
    }
    *p = '\0';
    return (int)(p - to);
}

#endif
