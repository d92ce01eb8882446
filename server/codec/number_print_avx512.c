/*
 * Printing runs of floats, eight at a time: everything but the store, whose length varies, in vectors.
 *
 * A float c * 2^q is scaled to y = c * 2^q / 10^k with 7 to 9 digits before the point and 36 bits behind it; half the
 * distance to its neighbours is scaled alike. Of the decimals in that interval the multiple of ten, if there is one, is
 * the shortest (there is at most one, and trailing zeros are dropped later); else it is the nearest integer. This is
 * Schubfach (Giulietti 2020) with the three products replaced by one and two sums. y is too large by less than two of
 * its last bits, so that comparisons allow for SLACK: an exact tie looks like one, and everything else is farther away
 * (checked for every float by tests/exhaustive).
 */
#include "server/codec/number_internal.h"

#if defined(__AVX512VBMI2__)
#include <immintrin.h>

#define LANES 8
#define FRACTION_BITS 36
#define SLACK 8

/** Eight numbers: `digits` holds nine decimal digits, the first of them not zero (but for zero itself). */
struct decimals {
    __m512i digits;
    __m512i scientific; /**< the exponent of the first digit */
};

/** Eight scaled floats. */
struct scaled {
    __m512i value;      /**< y */
    __m512i half_above; /**< half the distance to the next float, in the same units */
    __m512i half_below;
    __m512i power; /**< k */
    __mmask8 is_odd;
};

static inline __m512i set(uint64_t value) {
    return _mm512_set1_epi64((long long)value);
}

static inline struct scaled scale(__m512i bits) {
    __m512i fraction = _mm512_and_si512(bits, set(0x7fffff));
    __m512i biased = _mm512_and_si512(_mm512_srli_epi64(bits, 23), set(0xff));
    __mmask8 is_uneven = _mm512_testn_epi64_mask(fraction, fraction);
    __m512i row = _mm512_mask_add_epi64(biased, is_uneven, biased, set(256));
    row = _mm512_slli_epi64(row, 1); /* rows of 16 bytes, the gather's scale is 8 */
    __m512i factor = _mm512_i64gather_epi64(row, &number_scales_f32[0][0].scale, 8);
    __m512i power = _mm512_i64gather_epi64(row, &number_scales_f32[0][0].power, 8);
    __m512i c = _mm512_slli_epi64(_mm512_or_si512(fraction, set(0x800000)), 8);
    __m512i low = _mm512_mul_epu32(c, factor);
    __m512i high = _mm512_mul_epu32(c, _mm512_srli_epi64(factor, 32));
    __m512i half = _mm512_srli_epi64(factor, 25);
    return (struct scaled){
        .value = _mm512_add_epi64(high, _mm512_srli_epi64(low, 32)),
        .half_above = half,
        .half_below = _mm512_mask_srli_epi64(half, is_uneven, half, 1),
        .power = power,
        .is_odd = _mm512_test_epi64_mask(fraction, set(1)),
    };
}

/** Scales `digits` of 7 to 9 digits to nine, and says where its first digit stands. */
static inline struct decimals align(__m512i digits, __m512i power) {
    __mmask8 is_short = _mm512_cmplt_epu64_mask(digits, set(100000000));
    __mmask8 is_shorter = _mm512_cmplt_epu64_mask(digits, set(10000000));
    __m512i factor = _mm512_mask_mov_epi64(set(1), is_short, set(10));
    factor = _mm512_mask_mov_epi64(factor, is_shorter, set(100));
    __m512i scientific = _mm512_add_epi64(power, set(8));
    scientific = _mm512_mask_sub_epi64(scientific, is_short, scientific, set(1));
    scientific = _mm512_mask_sub_epi64(scientific, is_shorter, scientific, set(1));
    return (struct decimals){_mm512_mul_epu32(digits, factor), scientific};
}

static inline struct decimals shortest(__m512i bits) {
    struct scaled y = scale(bits);
    __m512i one = _mm512_srli_epi64(y.value, FRACTION_BITS);
    __m512i fraction = _mm512_and_si512(y.value, set(((uint64_t)1 << FRACTION_BITS) - 1));
    __m512i ten = _mm512_srli_epi64(_mm512_mul_epu32(one, set(0xcccccccd)), 35);
    __m512i tens = _mm512_mul_epu32(ten, set(10));
    __m512i above = _mm512_sub_epi64(y.value, _mm512_slli_epi64(tens, FRACTION_BITS));
    __m512i below = _mm512_sub_epi64(set((uint64_t)10 << FRACTION_BITS), above);
    /* The interval's ends belong to it when c is even. */
    __m512i slack = _mm512_mask_mov_epi64(set(SLACK), y.is_odd, _mm512_set1_epi64(-SLACK));
    __mmask8 is_ten_in = _mm512_cmple_epi64_mask(above, _mm512_add_epi64(y.half_below, slack));
    __mmask8 is_next_ten_in = _mm512_cmple_epi64_mask(below, _mm512_add_epi64(y.half_above, slack));
    /* The nearest integer, ties to even; not the one below where that lies outside. */
    __mmask8 is_one_odd = _mm512_test_epi64_mask(one, set(1));
    __m512i middle = _mm512_mask_mov_epi64(set(((uint64_t)1 << (FRACTION_BITS - 1)) + SLACK), is_one_odd,
                                           set(((uint64_t)1 << (FRACTION_BITS - 1)) - SLACK));
    __mmask8 is_up = _mm512_cmpge_epi64_mask(fraction, middle) |
                     _mm512_cmpgt_epi64_mask(fraction, _mm512_add_epi64(y.half_below, set(SLACK)));
    __m512i digits = _mm512_mask_add_epi64(one, is_up, one, set(1));
    digits = _mm512_mask_mov_epi64(digits, is_ten_in, tens);
    digits = _mm512_mask_add_epi64(digits, is_next_ten_in, tens, set(10));
    return align(digits, y.power);
}

static inline __m512i choose(const uint64_t *of, __mmask8 is_8_or_9, __mmask8 is_9) {
    __m512i chosen = _mm512_mask_mov_epi64(set(of[0]), is_8_or_9, set(of[1]));
    return _mm512_mask_mov_epi64(chosen, is_9, set(of[2]));
}

static inline struct decimals rounded(__m512i bits, const struct number_cut *cut) {
    struct scaled y = scale(bits);
    __m512i integer = _mm512_srli_epi64(y.value, FRACTION_BITS);
    __mmask8 is_8_or_9 = _mm512_cmpge_epu64_mask(integer, set(10000000));
    __mmask8 is_9 = _mm512_cmpge_epu64_mask(integer, set(100000000));
    __m512i unit = choose(cut->unit, is_8_or_9, is_9);
    __m512i quotient = _mm512_mul_epu32(integer, choose(cut->reciprocal, is_8_or_9, is_9));
    quotient = _mm512_srlv_epi64(quotient, choose(cut->shift, is_8_or_9, is_9));
    __m512i cut_off = _mm512_slli_epi64(_mm512_mul_epu32(quotient, unit), FRACTION_BITS);
    cut_off = _mm512_sub_epi64(y.value, cut_off);
    __mmask8 is_odd = _mm512_test_epi64_mask(quotient, set(1));
    __m512i middle = _mm512_slli_epi64(unit, FRACTION_BITS - 1);
    middle = _mm512_add_epi64(middle, _mm512_mask_mov_epi64(set(SLACK), is_odd, _mm512_set1_epi64(-SLACK)));
    __mmask8 is_up = _mm512_cmpge_epu64_mask(cut_off, middle);
    quotient = _mm512_mask_add_epi64(quotient, is_up, quotient, set(1));
    __m512i digits = _mm512_mul_epu32(quotient, set(cut->widen));
    __m512i scientific = _mm512_add_epi64(y.power, set(6));
    scientific = _mm512_mask_add_epi64(scientific, is_8_or_9, scientific, set(1));
    scientific = _mm512_mask_add_epi64(scientific, is_9, scientific, set(1));
    __mmask8 is_carried = _mm512_cmpeq_epi64_mask(digits, set(1000000000));
    digits = _mm512_mask_mov_epi64(digits, is_carried, set(100000000));
    return (struct decimals){digits, _mm512_mask_add_epi64(scientific, is_carried, scientific, set(1))};
}

/** Eight numbers ready for their shuffles: digits in the first eight bytes of each lane, the rest behind them. */
struct ready {
    _Alignas(64) uint64_t even[LANES]; /**< numbers 0, 2, 4, 6, sixteen bytes each */
    uint64_t odd[LANES];
    uint64_t rows[LANES]; /**< of number_shuffles */
};

/** Values below 10^8 to eight bytes, the first digit in the lowest. */
static inline __m512i spread_digits(__m512i value) {
    __m512i quotient = _mm512_srli_epi64(_mm512_mul_epu32(value, set(0xd1b71759)), 45); /* by 10^4 */
    __m512i rest = _mm512_sub_epi64(value, _mm512_mul_epu32(quotient, set(10000)));
    value = _mm512_or_si512(quotient, _mm512_slli_epi64(rest, 32));
    quotient = _mm512_srli_epi16(_mm512_mulhi_epu16(value, _mm512_set1_epi16(5243)), 3); /* by 100 */
    rest = _mm512_sub_epi16(value, _mm512_mullo_epi16(quotient, _mm512_set1_epi16(100)));
    value = _mm512_or_si512(quotient, _mm512_slli_epi32(rest, 16));
    quotient = _mm512_mulhi_epu16(value, _mm512_set1_epi16(6554)); /* by 10 */
    rest = _mm512_sub_epi16(value, _mm512_mullo_epi16(quotient, _mm512_set1_epi16(10)));
    return _mm512_or_si512(quotient, _mm512_slli_epi16(rest, 8));
}

/** Rows and exponent digits of the numbers that are written with an exponent. */
static inline void put_exponents(__mmask8 which, __m512i scientific, __m512i count, __m512i *rows, __m512i *others) {
    __m512i size = _mm512_abs_epi64(scientific);
    __m512i tens = _mm512_srli_epi64(_mm512_mul_epu32(size, set(205)), 11);
    __m512i ones = _mm512_sub_epi64(size, _mm512_mul_epu32(tens, set(10)));
    __m512i row = _mm512_add_epi64(_mm512_slli_epi64(count, 2), set(117 - 4));
    row = _mm512_mask_add_epi64(row, _mm512_test_epi64_mask(tens, tens), row, set(2));
    row = _mm512_mask_add_epi64(row, _mm512_movepi64_mask(scientific), row, set(1));
    *rows = _mm512_mask_mov_epi64(*rows, which, row);
    __m512i text = _mm512_or_si512(_mm512_slli_epi64(tens, 32), _mm512_slli_epi64(ones, 40));
    *others = _mm512_mask_add_epi64(*others, which, *others, text);
}

static inline void make_ready(struct ready *ready, __m512i bits, struct decimals decimals) {
    /* "?.-e00,0" behind the digits, '?' being the first digit's place */
    __m512i first = _mm512_srli_epi64(_mm512_mul_epu32(decimals.digits, set(0xabcc7712)), 58); /* by 10^8 */
    __m512i others = _mm512_add_epi64(first, set(0x302c3030652d2e30));
    __m512i rest = _mm512_sub_epi64(decimals.digits, _mm512_mul_epu32(first, set(100000000)));
    __m512i digits = spread_digits(rest);
    __m512i count = _mm512_sub_epi64(set(9), _mm512_srli_epi64(_mm512_lzcnt_epi64(digits), 3));
    digits = _mm512_add_epi8(digits, _mm512_set1_epi8('0'));
    __m512i place = _mm512_sub_epi64(decimals.scientific, _mm512_set1_epi64(NUMBER_PLAIN_FIRST));
    __m512i rows = _mm512_add_epi64(_mm512_slli_epi64(place, 3), _mm512_add_epi64(place, count));
    rows = _mm512_sub_epi64(rows, set(1));
    __mmask8 has_exponent = _mm512_cmpge_epu64_mask(place, set(NUMBER_PLAIN_LIMIT_F32 - NUMBER_PLAIN_FIRST));
    if (has_exponent != 0) {
        put_exponents(has_exponent, decimals.scientific, count, &rows, &others);
    }
    rows = _mm512_add_epi64(_mm512_slli_epi64(rows, 1), _mm512_srli_epi64(bits, 31));
    _mm512_store_si512(ready->even, _mm512_unpacklo_epi64(digits, others));
    _mm512_store_si512(ready->odd, _mm512_unpackhi_epi64(digits, others));
    _mm512_store_si512(ready->rows, rows);
}

static inline char *write_one(char *to, const uint64_t *lane, uint64_t row) {
    __m128i text = _mm_load_si128((const __m128i *)lane);
    __m128i shuffle = _mm_loadu_si128((const __m128i *)number_shuffles[row]);
    _mm_storeu_si128((__m128i *)to, _mm_shuffle_epi8(text, shuffle));
    return to + number_shuffle_lengths[row];
}

/** Writes the first `count` of them, a comma behind each. */
static inline char *write_ready(char *to, const struct ready *ready, size_t count) {
    for (size_t i = 0; i < count; i++) {
        to = write_one(to, (i % 2 == 0 ? ready->even : ready->odd) + i / 2 * 2, ready->rows[i]);
    }
    return to;
}

/** @return the lanes that are neither zero nor normal numbers. */
static inline __mmask8 specials(__m512i bits, __mmask8 *is_zero) {
    __m512i magnitude = _mm512_and_si512(bits, set(0x7fffffff));
    *is_zero = _mm512_testn_epi64_mask(magnitude, magnitude);
    __m512i from_normal = _mm512_sub_epi64(magnitude, set(0x800000));
    return _mm512_cmpge_epu64_mask(from_normal, set(0x7f800000 - 0x800000)) & (__mmask8) ~*is_zero;
}

static inline char *print_group(char *to, const float *values, size_t count, int digits, const struct number_cut *cut) {
    __mmask8 present = (__mmask8)((1u << count) - 1);
    __m512i bits = _mm512_cvtepu32_epi64(_mm256_maskz_loadu_epi32(present, values));
    __mmask8 is_zero;
    if (__builtin_expect(specials(bits, &is_zero) != 0, 0)) {
        to = number_portable_print_run_f32(to, values, count, digits);
        *to = ',';
        return to + 1;
    }
    struct decimals decimals = digits == 0 ? shortest(bits) : rounded(bits, cut);
    decimals.digits = _mm512_mask_mov_epi64(decimals.digits, is_zero, _mm512_setzero_si512());
    decimals.scientific = _mm512_mask_mov_epi64(decimals.scientific, is_zero, _mm512_setzero_si512());
    struct ready ready;
    make_ready(&ready, bits, decimals);
    return write_ready(to, &ready, count);
}

static inline char *print_groups(char *to, const float *values, size_t count, int digits,
                                 const struct number_cut *cut) {
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        to = print_group(to, values + i, LANES, digits, cut);
    }
    if (i < count) {
        to = print_group(to, values + i, count - i, digits, cut);
    }
    return to - (count > 0);
}

static char *print_run_f32(char *to, const float *values, size_t count, int digits) {
    if (digits == 0) {
        return print_groups(to, values, count, 0, NULL);
    }
    if (digits > 7) {
        return number_portable_print_run_f32(to, values, count, digits);
    }
    struct number_cut cut = number_cut_make(digits);
    return print_groups(to, values, count, digits, &cut);
}

static bool is_supported(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512vbmi") &&
           __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512ifma") &&
           __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma");
}

const struct number_variant number_avx512 = {
    .name = "avx512",
    .is_supported = is_supported,
    .read_run_f32 = number_avx512_read_run_f32,
    .read_run_f64 = number_avx512_read_run_f64,
    .print_run_f32 = print_run_f32,
    .print_run_f64 = number_portable_print_run_f64,
};
#endif
