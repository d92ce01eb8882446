/**
 * @file number_internal.h
 * What the files of number.h share among themselves: the table of powers of ten, a number as it was scanned or is to be
 * written, and the table of variants.
 */
#ifndef SERVER_CODEC_NUMBER_INTERNAL_H
#define SERVER_CODEC_NUMBER_INTERNAL_H

#include "server/codec/number.h"
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define NUMBER_POWER_FIRST (-342)
#define NUMBER_POWER_LAST 324

/** The first 128 bits of a power of ten; the bit before the point is the highest of `high`. */
struct power_of_ten {
    uint64_t high, low;
};
extern const struct power_of_ten number_powers[NUMBER_POWER_LAST - NUMBER_POWER_FIRST + 1];

/** For the floats c * 2^q of one exponent: 2^q / 10^power with 60 bits behind the point, not below it, from 1 to 13.4.
 */
struct number_scale {
    uint64_t scale;
    int64_t power;
};
/** By the biased exponent; [1] for powers of two, whose neighbour below is nearer. */
extern const struct number_scale number_scales_f32[2][256];

/** How digits become text: plain numbers by exponent and count of digits, then those with an exponent; each twice, the
 * second with a minus. number_tables.py says from which byte comes what. */
#define NUMBER_SHUFFLE_COUNT 306
extern const uint8_t number_shuffles[NUMBER_SHUFFLE_COUNT][16];
extern const uint8_t number_shuffle_lengths[NUMBER_SHUFFLE_COUNT];

__extension__ typedef unsigned __int128 number_u128;

static inline struct power_of_ten number_power(int exponent) {
    return number_powers[exponent - NUMBER_POWER_FIRST];
}

/** floor(log2(10^exponent)) for |exponent| <= 1233. */
static inline int number_log2_of_power(int exponent) {
    return (exponent * 1741647) >> 19;
}

static inline uint64_t number_bits_f64(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline uint32_t number_bits_f32(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/** Plain notation is for 1e-4 <= |x| < 10^limit: all digits that a number of the type has stand before its ".0". */
#define NUMBER_PLAIN_FIRST (-4)
#define NUMBER_PLAIN_LIMIT_F32 9
#define NUMBER_PLAIN_LIMIT_F64 16

static inline bool number_is_space(char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline const char *number_skip_space(const char *text, const char *end) {
    while (text < end && number_is_space(*text)) {
        text++;
    }
    return text;
}

/** What a count of significant digits needs: by how many digits (7, 8, 9) stand before the point of y. */
struct number_cut {
    uint64_t reciprocal[3], unit[3], shift[3];
    uint64_t widen; /**< to nine digits */
};

static inline struct number_cut number_cut_make(int digits) {
    struct number_cut cut = {.widen = 1};
    for (int i = digits; i < 9; i++) {
        cut.widen *= 10;
    }
    for (int i = 0; i < 3; i++) {
        uint64_t unit = 1;
        for (int j = digits; j < 7 + i; j++) {
            unit *= 10;
        }
        int shift = 31 + (63 - __builtin_clzll(unit));
        cut.unit[i] = unit;
        cut.shift[i] = (uint64_t)shift;
        cut.reciprocal[i] = (((uint64_t)1 << shift) + unit - 1) / unit;
    }
    return cut;
}

/** The functions that a variant may bring; the others are the portable ones. */
struct number_variant {
    const char *name;
    bool (*is_supported)(void);
    enum number_status (*read_run_f32)(const char *text, const char *end, float *values, size_t capacity, size_t *count,
                                       const char **after);
    enum number_status (*read_run_f64)(const char *text, const char *end, double *values, size_t capacity,
                                       size_t *count, const char **after);
    char *(*print_run_f32)(char *to, const float *values, size_t count, int digits);
    char *(*print_run_f64)(char *to, const double *values, size_t count, int digits);
};

enum number_status number_portable_read_run_f32(const char *text, const char *end, float *values, size_t capacity,
                                                size_t *count, const char **after);
enum number_status number_portable_read_run_f64(const char *text, const char *end, double *values, size_t capacity,
                                                size_t *count, const char **after);
char *number_portable_print_run_f32(char *to, const float *values, size_t count, int digits);
char *number_portable_print_run_f64(char *to, const double *values, size_t count, int digits);

enum number_status number_avx2_read_run_f32(const char *text, const char *end, float *values, size_t capacity,
                                            size_t *count, const char **after);
enum number_status number_avx2_read_run_f64(const char *text, const char *end, double *values, size_t capacity,
                                            size_t *count, const char **after);
enum number_status number_avx512_read_run_f32(const char *text, const char *end, float *values, size_t capacity,
                                              size_t *count, const char **after);
enum number_status number_avx512_read_run_f64(const char *text, const char *end, double *values, size_t capacity,
                                              size_t *count, const char **after);
extern const struct number_variant number_avx2;
extern const struct number_variant number_avx512;

/** @return the variants that this build has, fastest first, portable last. */
const struct number_variant *const *number_variants(size_t *count);

#endif
