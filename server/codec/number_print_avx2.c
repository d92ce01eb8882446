/*
 * Printing runs of floats, four at a time: number_print_avx512.c for processors without AVX-512. See there for the
 * method, the slack, and why it is right; the steps have the same names.
 */
#include "server/codec/number_internal.h"

#if defined(__AVX2__)
#include <immintrin.h>

#define LANES 4
#define FRACTION_BITS 36
#define SLACK 8

struct decimals {
    __m256i digits;
    __m256i scientific;
};

struct scaled {
    __m256i value, half_above, half_below, power;
    __m256i is_odd; /**< all bits or none, as in all masks here */
};

static inline __m256i set(uint64_t value) {
    return _mm256_set1_epi64x((long long)value);
}

static inline __m256i choose(__m256i mask, __m256i then, __m256i otherwise) {
    return _mm256_blendv_epi8(otherwise, then, mask);
}

static inline __m256i is_less(__m256i left, __m256i right) {
    return _mm256_cmpgt_epi64(right, left);
}

static inline __m256i is_odd(__m256i value) {
    return _mm256_sub_epi64(_mm256_setzero_si256(), _mm256_and_si256(value, set(1)));
}

static inline struct scaled scale(__m256i bits) {
    __m256i fraction = _mm256_and_si256(bits, set(0x7fffff));
    __m256i biased = _mm256_and_si256(_mm256_srli_epi64(bits, 23), set(0xff));
    __m256i is_uneven = _mm256_cmpeq_epi64(fraction, _mm256_setzero_si256());
    __m256i row = _mm256_slli_epi64(_mm256_add_epi64(biased, _mm256_and_si256(is_uneven, set(256))), 1);
    __m256i factor = _mm256_i64gather_epi64((const long long *)&number_scales_f32[0][0].scale, row, 8);
    __m256i c = _mm256_slli_epi64(_mm256_or_si256(fraction, set(0x800000)), 8);
    __m256i low = _mm256_mul_epu32(c, factor);
    __m256i high = _mm256_mul_epu32(c, _mm256_srli_epi64(factor, 32));
    __m256i half = _mm256_srli_epi64(factor, 25);
    return (struct scaled){
        .value = _mm256_add_epi64(high, _mm256_srli_epi64(low, 32)),
        .half_above = half,
        .half_below = choose(is_uneven, _mm256_srli_epi64(half, 1), half),
        .power = _mm256_i64gather_epi64((const long long *)&number_scales_f32[0][0].power, row, 8),
        .is_odd = is_odd(fraction),
    };
}

static inline struct decimals align(__m256i digits, __m256i power) {
    __m256i is_short = is_less(digits, set(100000000));
    __m256i is_shorter = is_less(digits, set(10000000));
    __m256i factor = choose(is_shorter, set(100), choose(is_short, set(10), set(1)));
    __m256i scientific = _mm256_add_epi64(_mm256_add_epi64(power, set(8)), _mm256_add_epi64(is_short, is_shorter));
    return (struct decimals){_mm256_mul_epu32(digits, factor), scientific};
}

static inline struct decimals shortest(__m256i bits) {
    struct scaled y = scale(bits);
    __m256i one = _mm256_srli_epi64(y.value, FRACTION_BITS);
    __m256i fraction = _mm256_and_si256(y.value, set(((uint64_t)1 << FRACTION_BITS) - 1));
    __m256i ten = _mm256_srli_epi64(_mm256_mul_epu32(one, set(0xcccccccd)), 35);
    __m256i tens = _mm256_mul_epu32(ten, set(10));
    __m256i above = _mm256_sub_epi64(y.value, _mm256_slli_epi64(tens, FRACTION_BITS));
    __m256i below = _mm256_sub_epi64(set((uint64_t)10 << FRACTION_BITS), above);
    /* One more than the slack, since "not above" is "less than one more". */
    __m256i slack = choose(y.is_odd, _mm256_set1_epi64x(1 - SLACK), set(1 + SLACK));
    __m256i is_ten_in = is_less(above, _mm256_add_epi64(y.half_below, slack));
    __m256i is_next_ten_in = is_less(below, _mm256_add_epi64(y.half_above, slack));
    uint64_t half = (uint64_t)1 << (FRACTION_BITS - 1);
    __m256i middle = choose(is_odd(one), set(half - SLACK - 1), set(half + SLACK - 1));
    __m256i is_up =
        _mm256_or_si256(is_less(middle, fraction), is_less(_mm256_add_epi64(y.half_below, set(SLACK)), fraction));
    __m256i digits = _mm256_sub_epi64(one, is_up);
    digits = choose(is_ten_in, tens, digits);
    digits = choose(is_next_ten_in, _mm256_add_epi64(tens, set(10)), digits);
    return align(digits, y.power);
}

static inline __m256i choose_of(const uint64_t *of, __m256i is_8_or_9, __m256i is_9) {
    return choose(is_9, set(of[2]), choose(is_8_or_9, set(of[1]), set(of[0])));
}

static inline struct decimals rounded(__m256i bits, const struct number_cut *cut) {
    struct scaled y = scale(bits);
    __m256i integer = _mm256_srli_epi64(y.value, FRACTION_BITS);
    __m256i is_8_or_9 = is_less(set(10000000 - 1), integer);
    __m256i is_9 = is_less(set(100000000 - 1), integer);
    __m256i unit = choose_of(cut->unit, is_8_or_9, is_9);
    __m256i quotient = _mm256_mul_epu32(integer, choose_of(cut->reciprocal, is_8_or_9, is_9));
    quotient = _mm256_srlv_epi64(quotient, choose_of(cut->shift, is_8_or_9, is_9));
    __m256i cut_off = _mm256_slli_epi64(_mm256_mul_epu32(quotient, unit), FRACTION_BITS);
    cut_off = _mm256_sub_epi64(y.value, cut_off);
    __m256i middle = _mm256_slli_epi64(unit, FRACTION_BITS - 1);
    middle = _mm256_add_epi64(middle, choose(is_odd(quotient), _mm256_set1_epi64x(-SLACK - 1), set(SLACK - 1)));
    quotient = _mm256_sub_epi64(quotient, is_less(middle, cut_off));
    __m256i digits = _mm256_mul_epu32(quotient, set(cut->widen));
    __m256i is_carried = _mm256_cmpeq_epi64(digits, set(1000000000));
    digits = choose(is_carried, set(100000000), digits);
    __m256i scientific = _mm256_sub_epi64(_mm256_add_epi64(y.power, set(6)), _mm256_add_epi64(is_8_or_9, is_9));
    return (struct decimals){digits, _mm256_sub_epi64(scientific, is_carried)};
}

/** Four numbers: their digits behind the first, in the order of text; the first digit; its exponent. */
struct ready {
    _Alignas(32) uint64_t digits[LANES];
    uint64_t firsts[LANES];
    int64_t scientific[LANES];
};

static inline __m256i spread_digits(__m256i value) {
    __m256i quotient = _mm256_srli_epi64(_mm256_mul_epu32(value, set(0xd1b71759)), 45); /* by 10^4 */
    __m256i rest = _mm256_sub_epi64(value, _mm256_mul_epu32(quotient, set(10000)));
    value = _mm256_or_si256(quotient, _mm256_slli_epi64(rest, 32));
    quotient = _mm256_srli_epi16(_mm256_mulhi_epu16(value, _mm256_set1_epi16(5243)), 3); /* by 100 */
    rest = _mm256_sub_epi16(value, _mm256_mullo_epi16(quotient, _mm256_set1_epi16(100)));
    value = _mm256_or_si256(quotient, _mm256_slli_epi32(rest, 16));
    quotient = _mm256_mulhi_epu16(value, _mm256_set1_epi16(6554)); /* by 10 */
    rest = _mm256_sub_epi16(value, _mm256_mullo_epi16(quotient, _mm256_set1_epi16(10)));
    return _mm256_or_si256(quotient, _mm256_slli_epi16(rest, 8));
}

static inline void make_ready(struct ready *ready, struct decimals decimals) {
    __m256i first = _mm256_srli_epi64(_mm256_mul_epu32(decimals.digits, set(0xabcc7712)), 58); /* by 10^8 */
    __m256i rest = _mm256_sub_epi64(decimals.digits, _mm256_mul_epu32(first, set(100000000)));
    _mm256_store_si256((__m256i *)ready->digits, spread_digits(rest));
    _mm256_store_si256((__m256i *)ready->firsts, first);
    _mm256_store_si256((__m256i *)ready->scientific, decimals.scientific);
}

static inline char *write_one(char *to, uint64_t digits, uint64_t first, int64_t scientific, bool is_negative) {
    uint64_t count = digits == 0 ? 1 : 9 - (uint64_t)__builtin_clzll(digits) / 8;
    uint64_t others = first + 0x302c3030652d2e30; /* "?.-e00,0" */
    uint64_t place = (uint64_t)(scientific - NUMBER_PLAIN_FIRST);
    uint64_t row = place * 9 + count - 1;
    if (place >= NUMBER_PLAIN_LIMIT_F32 - NUMBER_PLAIN_FIRST) {
        uint64_t size = (uint64_t)(scientific < 0 ? -scientific : scientific);
        row = 117 + (count - 1) * 4 + (size >= 10 ? 2u : 0u) + (scientific < 0 ? 1u : 0u);
        others += (size / 10) << 32 | (size % 10) << 40;
    }
    row = row * 2 + is_negative;
    uint64_t ascii = digits + 0x3030303030303030;
    __m128i text = _mm_set_epi64x((long long)others, (long long)ascii);
    __m128i shuffle = _mm_loadu_si128((const __m128i *)number_shuffles[row]);
    _mm_storeu_si128((__m128i *)to, _mm_shuffle_epi8(text, shuffle));
    return to + number_shuffle_lengths[row];
}

static inline char *print_group(char *to, const float *values, int digits, const struct number_cut *cut) {
    __m256i bits = _mm256_cvtepu32_epi64(_mm_loadu_si128((const __m128i *)values));
    __m256i magnitude = _mm256_and_si256(bits, set(0x7fffffff));
    __m256i is_zero = _mm256_cmpeq_epi64(magnitude, _mm256_setzero_si256());
    __m256i is_normal = _mm256_and_si256(is_less(set(0x800000 - 1), magnitude), is_less(magnitude, set(0x7f800000)));
    if (__builtin_expect(_mm256_movemask_epi8(_mm256_or_si256(is_zero, is_normal)) != -1, 0)) {
        to = number_portable_print_run_f32(to, values, LANES, digits);
        *to = ',';
        return to + 1;
    }
    struct decimals decimals = digits == 0 ? shortest(bits) : rounded(bits, cut);
    decimals.digits = _mm256_andnot_si256(is_zero, decimals.digits);
    decimals.scientific = _mm256_andnot_si256(is_zero, decimals.scientific);
    struct ready ready;
    make_ready(&ready, decimals);
    int signs = _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_slli_epi64(bits, 32)));
    for (int i = 0; i < LANES; i++) {
        to = write_one(to, ready.digits[i], ready.firsts[i], ready.scientific[i], signs >> i & 1);
    }
    return to;
}

static char *print_run_f32(char *to, const float *values, size_t count, int digits) {
    if (digits > 7 || count < LANES) {
        return number_portable_print_run_f32(to, values, count, digits);
    }
    struct number_cut cut = number_cut_make(digits == 0 ? 7 : digits);
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        to = print_group(to, values + i, digits, &cut);
    }
    return i < count ? number_portable_print_run_f32(to, values + i, count - i, digits) : to - 1;
}

static bool is_supported(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma");
}

const struct number_variant number_avx2 = {
    .name = "avx2",
    .is_supported = is_supported,
    .read_run_f32 = number_avx2_read_run_f32,
    .read_run_f64 = number_avx2_read_run_f64,
    .print_run_f32 = print_run_f32,
    .print_run_f64 = number_portable_print_run_f64,
};
#endif
