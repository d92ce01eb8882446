/*
 * Reading runs of numbers, eight at a time.
 *
 * Pass 1 finds where numbers start and end: masks of commas and blanks, 64 bytes at once, their positions compressed
 * into lists. Pass 2 takes eight numbers of at most 16 bytes, each at the end of a 16-byte lane, checks the grammar by
 * bit masks (16 bits a number), closes the gap of the point, and sums the digits up. What has an exponent, is longer,
 * or is wrong goes through the portable reader, number by number.
 *
 * To float: digits and power of ten are rounded to double, and so is their product, so that it is off by less than
 * three units in its last place. That is as good as exact unless it lies within so little of the middle of two floats;
 * then the portable reader decides. To double: one division of exact doubles (Clinger 1990).
 */
#include "server/codec/number_internal.h"

#if defined(__AVX512VBMI2__)
#include <immintrin.h>

#define LANE_BYTES 16
#define GROUP 8
#define BLOCK 64
#define CHUNK_BLOCKS 16
#define CHUNK_BYTES (CHUNK_BLOCKS * BLOCK)
/** At most every other byte is a comma; the stores of pass 1 go a block further. */
#define LIST_ROOM (CHUNK_BYTES / 2 + 2 * BLOCK)
/** How far lanes reach back from a number's end. */
#define REACH (2 * LANE_BYTES)
/** The first bytes of a run are read from a copy, so that lanes do not reach back beyond the text. */
#define HEAD_BYTES 128
/** Shorter texts are left to the portable reader. */
#define BYTES_MIN 32

/** Sixteen bits a number: the first and the last byte of a lane, and those but the first. */
#define LANE_FIRST 0x0001000100010001u
#define LANE_LAST 0x8000800080008000u
#define LANE_TAIL 0xfffefffefffefffeu

/** Where the numbers of a chunk are, counted from its base. Each ends at a comma, the last one maybe at a ']'. */
struct places {
    uint16_t starts[LIST_ROOM];
    uint16_t ends[LIST_ROOM];
    size_t count;
    uint16_t closing; /**< where the ']' is */
    bool is_last;     /**< something else than numbers, commas and single blanks behind commas was met */
    bool is_closed;   /**< that was a ']', and the last number ends there */
};

/** Eight numbers, taken apart. */
struct parts {
    __m512i mantissa;
    __m512i zeros; /**< modulo 16, how many digits stand behind the point */
    __mmask8 is_negative;
    __mmask8 is_long; /**< sixteen more of them stand behind the point */
    __mmask8 is_bad;  /**< not of the plain form, or too long */
};

static inline void append(uint16_t *list, __mmask64 which, size_t base) {
    __m512i iota = _mm512_set_epi8(63, 62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43,
                                   42, 41, 40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22,
                                   21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    __m512i places = _mm512_maskz_compress_epi8(which, iota);
    __m512i offset = _mm512_set1_epi16((short)base);
    __m512i low = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(places));
    _mm512_storeu_si512(list, _mm512_add_epi16(low, offset));
    if (__builtin_popcountll(which) > 32) {
        __m512i high = _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(places, 1));
        _mm512_storeu_si512(list + 32, _mm512_add_epi16(high, offset));
    }
}

/** The bits below the lowest one that is set; all where none is. */
static inline uint64_t below_lowest(uint64_t bits) {
    return bits == 0 ? UINT64_MAX : (bits - 1) & ~bits;
}

/** Pass 1: lists the numbers that start at `base` or behind it and end at a comma before `end` or the chunk's end. */
static void find_places(struct places *places, const char *base, const char *end) {
    size_t start_count = 1;
    size_t end_count = 0;
    uint64_t comma_before = 0; /* as the last byte of the block before */
    uint64_t start_before = 0; /* behind a blank that was the last byte */
    places->starts[0] = 0;
    places->closing = 0;
    places->is_last = false;
    places->is_closed = false;
    size_t at = 0;
    for (; at < CHUNK_BYTES && base + at < end && !places->is_last; at += BLOCK) {
        size_t left = (size_t)(end - base) - at;
        __mmask64 present = left < BLOCK ? ((uint64_t)1 << left) - 1 : UINT64_MAX;
        __m512i text = _mm512_maskz_loadu_epi8(present, base + at);
        uint64_t commas = _mm512_cmpeq_epi8_mask(text, _mm512_set1_epi8(','));
        uint64_t blanks = _mm512_cmpeq_epi8_mask(text, _mm512_set1_epi8(' '));
        uint64_t controls = _mm512_mask_cmplt_epu8_mask(present, text, _mm512_set1_epi8(' '));
        uint64_t brackets = _mm512_cmpeq_epi8_mask(text, _mm512_set1_epi8(']'));
        uint64_t behind = commas << 1 | comma_before;
        uint64_t stops = brackets | controls | (blanks & ~behind);
        if (stops != 0) {
            places->is_closed = (stops & -stops & brackets) != 0;
            places->closing = (uint16_t)(at + (size_t)__builtin_ctzll(stops));
            commas &= below_lowest(stops);
            behind &= commas << 1 | comma_before;
            places->is_last = true;
        }
        uint64_t starts = (behind & ~blanks) | (behind & blanks) << 1 | start_before;
        comma_before = commas >> 63;
        start_before = (behind & blanks) >> 63;
        append(places->ends + end_count, commas, at);
        append(places->starts + start_count, starts, at);
        end_count += (size_t)__builtin_popcountll(commas);
        start_count += (size_t)__builtin_popcountll(starts);
    }
    if (start_count == end_count) {
        places->starts[end_count] = (uint16_t)at;
    }
    places->ends[end_count] = places->closing;
    end_count += places->is_closed;
    places->count = end_count;
    /* The last group may reach behind the list: let it find harmless places there. */
    memset(places->ends + end_count, 0, GROUP * sizeof(uint16_t));
}

/** The lanes' masks of the numbers 0, 2, 4, 6 and of 1, 3, 5, 7 put in order. */
static inline __m128i in_order(uint64_t even, uint64_t odd) {
    return _mm_unpacklo_epi16(_mm_cvtsi64_si128((long long)even), _mm_cvtsi64_si128((long long)odd));
}

/** Four numbers' grammar. */
struct marks {
    uint64_t digits, points, minuses, faults;
};

/** Loads the numbers `first`, `first` + 2, ... each at its lane's end. */
static inline __m512i load_lanes(const char *base, const uint16_t *ends) {
    const char *from = base - LANE_BYTES;
    __m512i lanes = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(from + ends[0])));
    lanes = _mm512_mask_broadcast_i32x4(lanes, 0x00f0, _mm_loadu_si128((const __m128i *)(from + ends[2])));
    lanes = _mm512_mask_broadcast_i32x4(lanes, 0x0f00, _mm_loadu_si128((const __m128i *)(from + ends[4])));
    return _mm512_mask_broadcast_i32x4(lanes, 0xf000, _mm_loadu_si128((const __m128i *)(from + ends[6])));
}

/**
 * Checks -?(0|[1-9][0-9]*)(.[0-9]+)? in each lane, and gives the digits at the lane's end, zeros before them.
 * @param is_head more digits follow in another lane, so that the point may come last
 */
static inline __attribute__((always_inline)) __m512i take_digits(__m512i lanes, __m512i lengths, bool is_head,
                                                                 struct marks *marks) {
    __m512i from_end = _mm512_broadcast_i32x4(_mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    __mmask64 is_number = _mm512_cmplt_epu8_mask(from_end, lengths);
    __m512i values = _mm512_sub_epi8(lanes, _mm512_set1_epi8('0'));
    __mmask64 is_digit = _mm512_mask_cmple_epu8_mask(is_number, values, _mm512_set1_epi8(9));
    values = _mm512_maskz_mov_epi8(is_digit, values);
    uint64_t number = is_number;
    uint64_t digit = is_digit;
    uint64_t zero = _mm512_mask_testn_epi8_mask(is_digit, values, values);
    uint64_t point = _mm512_mask_cmpeq_epi8_mask(is_number, lanes, _mm512_set1_epi8('.'));
    uint64_t first = number & ~(number << 1 & LANE_TAIL);
    uint64_t minus = number & ~digit & ~point; /* what else is there had better be one: see not_minus */
    uint64_t faults = minus & ~first;
    uint64_t magnitude = number & ~minus;
    uint64_t first_digit = magnitude & ~(magnitude << 1 & LANE_TAIL);
    faults |= first_digit & ~digit;
    faults |= (first_digit & zero) << 1 & LANE_TAIL & digit;
    faults |= is_head ? 0 : point & LANE_LAST;
    uint64_t has_point = (((point & ~LANE_LAST) + ~LANE_LAST) | point) >> 15 & LANE_FIRST;
    faults |= point & (point - has_point); /* a second one */
    uint64_t has_digit = (((digit & ~LANE_LAST) + ~LANE_LAST) | digit) & LANE_LAST;
    faults |= has_digit ^ LANE_LAST;
    *marks = (struct marks){digit, point, minus, faults};
    uint64_t up_to_point = (point << 1) - has_point;
    return _mm512_mask_mov_epi8(values, up_to_point, _mm512_bslli_epi128(values, 1));
}

/** What stands where a minus should: @return the numbers where it is something else. */
static inline uint64_t not_minus(__m512i lanes, uint64_t where) {
    return _mm512_mask_cmpneq_epi8_mask(where, lanes, _mm512_set1_epi8('-'));
}

/** Sixteen digits each of four and four numbers to two times eight digits of eight numbers in order. */
static inline __m512i sum_digits(__m512i even, __m512i odd) {
    __m512i tens = _mm512_set1_epi16(0x010a);
    __m512i hundreds = _mm512_set1_epi32(0x00010064);
    __m512i ten_thousands = _mm512_set1_epi32(0x00012710);
    even = _mm512_madd_epi16(_mm512_maddubs_epi16(even, tens), hundreds);
    odd = _mm512_madd_epi16(_mm512_maddubs_epi16(odd, tens), hundreds);
    __m512i halves = _mm512_madd_epi16(_mm512_packus_epi32(even, odd), ten_thousands);
    __m512i high = _mm512_mul_epu32(halves, _mm512_set1_epi64(100000000));
    return _mm512_add_epi64(high, _mm512_srli_epi64(halves, 32));
}

/** The lengths of eight numbers, at most a lane's, in all bytes of the lanes of even and odd ones. */
static inline void spread_lengths(__m128i lengths, __m512i *even, __m512i *odd) {
    __m512i all = _mm512_castsi128_si512(_mm_min_epu16(lengths, _mm_set1_epi16(LANE_BYTES)));
    __m512i spread = _mm512_set_epi64(0x0c0c0c0c0c0c0c0c, 0x0c0c0c0c0c0c0c0c, 0x0808080808080808, 0x0808080808080808,
                                      0x0404040404040404, 0x0404040404040404, 0, 0);
    *even = _mm512_permutexvar_epi8(spread, all);
    *odd = _mm512_permutexvar_epi8(_mm512_add_epi8(spread, _mm512_set1_epi8(2)), all);
}

/** Eight lanes taken apart: numbers, or the heads of long ones. @param tails receives where a lane is all digits */
static inline __attribute__((always_inline)) struct parts take_lanes(const char *base, const uint16_t *ends,
                                                                     __m128i lengths, bool is_head, __mmask8 *tails) {
    __m512i even_lengths;
    __m512i odd_lengths;
    spread_lengths(lengths, &even_lengths, &odd_lengths);
    __m512i even = load_lanes(base, ends);
    __m512i odd = load_lanes(base, ends + 1);
    struct marks even_marks;
    struct marks odd_marks;
    __m512i even_digits = take_digits(even, even_lengths, is_head, &even_marks);
    __m512i odd_digits = take_digits(odd, odd_lengths, is_head, &odd_marks);
    struct parts parts = {.mantissa = sum_digits(even_digits, odd_digits)};
    if ((even_marks.minuses | odd_marks.minuses) != 0) {
        even_marks.faults |= not_minus(even, even_marks.minuses);
        odd_marks.faults |= not_minus(odd, odd_marks.minuses);
        __m128i negative = in_order(even_marks.minuses, odd_marks.minuses);
        parts.is_negative = _mm_test_epi16_mask(negative, negative);
    }
    if ((even_marks.faults | odd_marks.faults) != 0) {
        __m128i faults = in_order(even_marks.faults, odd_marks.faults);
        parts.is_bad = _mm_test_epi16_mask(faults, faults);
    }
    __m128i digits = in_order(even_marks.digits, odd_marks.digits);
    *tails = _mm_cmpeq_epi16_mask(digits, _mm_set1_epi16(-1));
    parts.zeros = _mm512_lzcnt_epi64(_mm512_cvtepu16_epi64(in_order(even_marks.points, odd_marks.points)));
    return parts;
}

/** Puts the heads before the tails of the numbers that are longer than a lane. */
static inline void put_heads(struct parts *parts, __mmask8 is_long, __mmask8 tails, const char *base,
                             const uint16_t *ends, __m128i lengths) {
    __m128i head_lengths = _mm_subs_epu16(lengths, _mm_set1_epi16(LANE_BYTES));
    __mmask8 ignored;
    struct parts heads = take_lanes(base - LANE_BYTES, ends, head_lengths, true, &ignored);
    __mmask8 is_good = tails & (__mmask8)~heads.is_bad;
    is_good &= _mm_cmple_epu16_mask(head_lengths, _mm_set1_epi16(LANE_BYTES));
    is_good &= _mm512_cmplt_epu64_mask(heads.mantissa, _mm512_set1_epi64(1000)); /* so that the sum has 64 bits */
    is_good &= _mm512_cmpneq_epi64_mask(heads.zeros, _mm512_set1_epi64(64));     /* it has the point */
    __m512i high = _mm512_mullo_epi64(heads.mantissa, _mm512_set1_epi64(10000000000000000));
    parts->mantissa = _mm512_mask_add_epi64(parts->mantissa, is_long, parts->mantissa, high);
    parts->zeros = _mm512_mask_mov_epi64(parts->zeros, is_long, heads.zeros);
    parts->is_negative = (parts->is_negative & (__mmask8)~is_long) | (heads.is_negative & is_long);
    parts->is_bad = (parts->is_bad & (__mmask8)~is_long) | (is_long & (__mmask8)~is_good);
    parts->is_long = is_long;
}

static inline struct parts take_apart(const char *base, const uint16_t *starts, const uint16_t *ends) {
    __m128i lengths = _mm_sub_epi16(_mm_loadu_si128((const __m128i *)ends), _mm_loadu_si128((const __m128i *)starts));
    __mmask8 is_long = _mm_cmpgt_epu16_mask(lengths, _mm_set1_epi16(LANE_BYTES));
    __mmask8 tails;
    struct parts parts = take_lanes(base, ends, lengths, false, &tails);
    if (is_long != 0) {
        put_heads(&parts, is_long, tails, base, ends, lengths);
    }
    return parts;
}

static inline __m512d power_of(__m512i zeros, const double powers[16]) {
    return _mm512_permutex2var_pd(_mm512_loadu_pd(powers), zeros, _mm512_loadu_pd(powers + 8));
}

/** Writes eight floats. @return those that the portable reader has to read. */
static inline __mmask8 finish_f32(struct parts parts, float *values) {
    static const double powers[16] = {1e-0, 1e-1, 1e-2,  1e-3,  1e-4,  1e-5,  1e-6,  1e-7,
                                      1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13, 1e-14, 1e-15};
    static const double long_powers[16] = {1e-16, 1e-17, 1e-18, 1e-19, 1e-20, 1e-21, 1e-22, 1e-23,
                                           1e-24, 1e-25, 1e-26, 1e-27, 1e-28, 1e-29, 1e-30, 1e-31};
    __m512d power = power_of(parts.zeros, powers);
    if (parts.is_long != 0) {
        power = _mm512_mask_mov_pd(power, parts.is_long, power_of(parts.zeros, long_powers));
    }
    __m512d product = _mm512_mul_pd(_mm512_cvtepu64_pd(parts.mantissa), power);
    __m512i below_float = _mm512_and_si512(_mm512_castpd_si512(product), _mm512_set1_epi64(0x1fffffff));
    __m512i from_middle = _mm512_sub_epi64(below_float, _mm512_set1_epi64(0x10000000 - 8));
    __mmask8 is_doubtful = _mm512_cmple_epu64_mask(from_middle, _mm512_set1_epi64(16));
    __m256i bits = _mm256_castps_si256(_mm512_cvtpd_ps(product));
    bits = _mm256_mask_or_epi32(bits, parts.is_negative, bits, _mm256_set1_epi32(INT32_MIN));
    _mm256_storeu_si256((__m256i *)values, bits);
    return parts.is_bad | is_doubtful;
}

static inline __mmask8 finish_f64(struct parts parts, double *values) {
    static const double powers[16] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                      1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    __mmask8 is_inexact = _mm512_cmpgt_epu64_mask(parts.mantissa, _mm512_set1_epi64((long long)1 << 53));
    __m512d quotient = _mm512_div_pd(_mm512_cvtepu64_pd(parts.mantissa), power_of(parts.zeros, powers));
    __m512i bits = _mm512_castpd_si512(quotient);
    bits = _mm512_mask_or_epi64(bits, parts.is_negative, bits, _mm512_set1_epi64(INT64_MIN));
    _mm512_storeu_si512(values, bits);
    return parts.is_bad | parts.is_long | is_inexact;
}

static inline void copy_head(char *to, const char *from, size_t bytes) {
    for (size_t i = 0; i < HEAD_BYTES; i += BLOCK) {
        size_t left = bytes < i ? 0 : bytes - i;
        __mmask64 present = left < BLOCK ? ((uint64_t)1 << left) - 1 : UINT64_MAX;
        _mm512_storeu_si512(to + i, _mm512_maskz_loadu_epi8(present, from + i));
    }
}

/** What is to be done behind a chunk. */
enum next { GO_ON, HAND_OVER, DONE };

/** A number between two places. @return whether the portable reader takes all of it. */
static inline bool read_slowly_f32(const char *start, const char *end, float *value) {
    const char *after;
    return number_read_f32(start, end, value, &after) == NUMBER_OK && after == end;
}

static inline bool read_slowly_f64(const char *start, const char *end, double *value) {
    const char *after;
    return number_read_f64(start, end, value, &after) == NUMBER_OK && after == end;
}

#define NAME(name) name##_f32
#define TYPE float
#include "server/codec/number_read_avx512.inc"
#undef NAME
#undef TYPE
#define NAME(name) name##_f64
#define TYPE double
#include "server/codec/number_read_avx512.inc"

enum number_status number_avx512_read_run_f32(const char *text, const char *end, float *values, size_t capacity,
                                              size_t *count, const char **after) {
    return read_run_f32(text, end, values, capacity, count, after);
}

enum number_status number_avx512_read_run_f64(const char *text, const char *end, double *values, size_t capacity,
                                              size_t *count, const char **after) {
    return read_run_f64(text, end, values, capacity, count, after);
}
#endif
