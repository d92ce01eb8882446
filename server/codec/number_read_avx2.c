/*
 * Reading runs of numbers with AVX2, one at a time: the comma is found by one compare of 32 bytes, the number of at
 * most 16 bytes is loaded so that it ends its lane, its grammar is checked by masks of 16 bits, and its digits are
 * summed up by multiply-and-add. What has an exponent, is longer, or is wrong goes through the portable reader.
 */
#include "server/codec/number_internal.h"

#if defined(__AVX2__)
#include <immintrin.h>

#define LANE_BYTES 16
/** How far the search for a comma looks. */
#define LOOK_BYTES 32

/** A number's digits, where the point was in its lane (LANE_BYTES: nowhere), and its sign as the highest bit. */
struct plain {
    uint64_t mantissa;
    unsigned place;
    uint64_t sign;
};

/** Sixteen bytes from the middle of this, `n` before it, are a mask of the last `n` bytes of a lane. */
static const uint8_t last_bytes[2 * LANE_BYTES] = {0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
                                                   0,    0,    0,    0,    0,    0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                                   0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/** Moves the bytes before the point over it. @param place the point's, LANE_BYTES where there is none */
static inline __m128i close_gap(__m128i digits, unsigned place) {
    __m128i iota = _mm_set_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    char last_moved = (char)((place & (LANE_BYTES - 1)) - place / LANE_BYTES); /* -1 where there is none */
    __m128i stays = _mm_cmpgt_epi8(iota, _mm_set1_epi8(last_moved));
    return _mm_blendv_epi8(_mm_slli_si128(digits, 1), digits, stays);
}

static inline uint64_t sum_digits(__m128i digits) {
    __m128i pairs = _mm_maddubs_epi16(digits, _mm_set1_epi16(0x010a));
    __m128i fours = _mm_madd_epi16(pairs, _mm_set1_epi32(0x00010064));
    __m128i eights = _mm_madd_epi16(_mm_packus_epi32(fours, fours), _mm_set1_epi32(0x00012710));
    uint64_t both = (uint64_t)_mm_cvtsi128_si64(eights);
    return (both & 0xffffffff) * 100000000 + (both >> 32);
}

/** @return whether -?(0|[1-9][0-9]*)(.[0-9]+)? ends at `end`, `length` bytes long, at most a lane. */
static inline bool take_plain(const char *end, size_t length, struct plain *plain) {
    __m128i lane = _mm_loadu_si128((const __m128i *)(end - LANE_BYTES));
    __m128i mask = _mm_loadu_si128((const __m128i *)(last_bytes + length));
    __m128i values = _mm_sub_epi8(lane, _mm_set1_epi8('0'));
    __m128i is_digit = _mm_and_si128(mask, _mm_cmpeq_epi8(_mm_min_epu8(values, _mm_set1_epi8(9)), values));
    __m128i is_point = _mm_and_si128(mask, _mm_cmpeq_epi8(lane, _mm_set1_epi8('.')));
    __m128i is_minus = _mm_and_si128(mask, _mm_cmpeq_epi8(lane, _mm_set1_epi8('-')));
    values = _mm_and_si128(values, is_digit);
    unsigned number = 0xffffu << (LANE_BYTES - length) & 0xffff;
    unsigned digit = (unsigned)_mm_movemask_epi8(is_digit);
    unsigned point = (unsigned)_mm_movemask_epi8(is_point);
    unsigned minus = (unsigned)_mm_movemask_epi8(is_minus);
    unsigned zero = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(values, _mm_setzero_si128()));
    unsigned magnitude = number & ~minus;
    unsigned first_digit = magnitude & -magnitude;
    /* No branches on the number's shape: signs and lengths are random. */
    unsigned faults = (number ^ (digit | point | minus)) | (minus & ~(number & -number));
    faults |= (first_digit & ~digit) | (point & (point - 1)) | (point & 0x8000);
    faults |= (first_digit & zero) << 1 & digit;
    unsigned place = (unsigned)__builtin_ctz(point | 1u << LANE_BYTES);
    *plain = (struct plain){sum_digits(close_gap(values, place)), place, (uint64_t)(minus != 0) << 63};
    return faults == 0 && first_digit != 0;
}

/** Finds the comma behind the number at `text`. @return whether it is near enough for take_plain. */
static inline bool find_comma(const char *begin, const char *text, const char *end, const char **comma) {
    if (end - text < LOOK_BYTES) {
        return false;
    }
    __m256i look = _mm256_loadu_si256((const __m256i *)text);
    unsigned commas = (unsigned)_mm256_movemask_epi8(_mm256_cmpeq_epi8(look, _mm256_set1_epi8(',')));
    *comma = text + __builtin_ctz(commas | 0x80000000);
    return (commas & 0x1ffff) != 0 && *comma - begin >= LANE_BYTES;
}

/** The power of ten to divide by, for a point at each place of the lane, and for none. */
static const double powers[LANE_BYTES + 1] = {1e15, 1e14, 1e13, 1e12, 1e11, 1e10, 1e9, 1e8, 1e7,
                                              1e6,  1e5,  1e4,  1e3,  1e2,  1e1,  1e0, 1e0};

static inline bool to_f32(const struct plain *plain, float *value) {
    double quotient = (double)(int64_t)plain->mantissa / powers[plain->place];
    uint32_t bits = number_bits_f32((float)quotient) | (uint32_t)(plain->sign >> 32);
    memcpy(value, &bits, sizeof bits);
    /* The mantissa and the quotient are each rounded once: near the middle of two floats that may be once too often. */
    return (number_bits_f64(quotient) & 0x1fffffff) - (0x10000000 - 8) > 16;
}

static inline bool to_f64(const struct plain *plain, double *value) {
    uint64_t bits = number_bits_f64((double)(int64_t)plain->mantissa / powers[plain->place]) | plain->sign;
    memcpy(value, &bits, sizeof bits);
    return plain->mantissa >> 53 == 0;
}

/** Behind a comma: the place of the next number, where it is a usual one. */
static inline const char *pass_blank(const char *comma, const char *end) {
    return comma + 1 < end && comma[1] == ' ' ? comma + 2 : comma + 1;
}

enum number_status number_avx2_read_run_f32(const char *text, const char *end, float *values, size_t capacity,
                                            size_t *count, const char **after) {
    const char *at = text;
    size_t done = 0;
    while (done + 1 < capacity && end - at >= LOOK_BYTES) {
        const char *comma;
        struct plain plain;
        if (!find_comma(text, at, end, &comma) || !take_plain(comma, (size_t)(comma - at), &plain) ||
            !to_f32(&plain, values + done)) {
            if (number_read_f32(at, end, values + done, &comma) != NUMBER_OK || comma == end || *comma != ',') {
                break;
            }
        }
        done++;
        at = pass_blank(comma, end);
    }
    size_t rest_count;
    at = done > 0 ? number_skip_space(at, end) : at;
    enum number_status status =
        number_portable_read_run_f32(at, end, values + done, capacity - done, &rest_count, after);
    *count = done + rest_count;
    return status;
}

enum number_status number_avx2_read_run_f64(const char *text, const char *end, double *values, size_t capacity,
                                            size_t *count, const char **after) {
    const char *at = text;
    size_t done = 0;
    while (done + 1 < capacity && end - at >= LOOK_BYTES) {
        const char *comma;
        struct plain plain;
        if (!find_comma(text, at, end, &comma) || !take_plain(comma, (size_t)(comma - at), &plain) ||
            !to_f64(&plain, values + done)) {
            if (number_read_f64(at, end, values + done, &comma) != NUMBER_OK || comma == end || *comma != ',') {
                break;
            }
        }
        done++;
        at = pass_blank(comma, end);
    }
    size_t rest_count;
    at = done > 0 ? number_skip_space(at, end) : at;
    enum number_status status =
        number_portable_read_run_f64(at, end, values + done, capacity - done, &rest_count, after);
    *count = done + rest_count;
    return status;
}
#endif
