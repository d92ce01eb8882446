/*
 * Printing, one number at a time. Shortest digits: Schubfach (Giulietti, "The Schubfach way to render doubles", 2020).
 * A given count of digits: one 192-bit product, and the C library where that cannot tell a tie from its neighbours.
 */
#include "server/codec/number_internal.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/** digits * 10^exponent */
struct digits {
    uint64_t digits;
    int exponent;
};

static const char digit_pairs[] = "0001020304050607080910111213141516171819"
                                  "2021222324252627282930313233343536373839"
                                  "4041424344454647484950515253545556575859"
                                  "6061626364656667686970717273747576777879"
                                  "8081828384858687888990919293949596979899";

static const uint64_t powers[] = {1u,
                                  10u,
                                  100u,
                                  1000u,
                                  10000u,
                                  100000u,
                                  1000000u,
                                  10000000u,
                                  100000000u,
                                  1000000000u,
                                  10000000000u,
                                  100000000000u,
                                  1000000000000u,
                                  10000000000000u,
                                  100000000000000u,
                                  1000000000000000u,
                                  10000000000000000u,
                                  100000000000000000u,
                                  1000000000000000000u,
                                  10000000000000000000u};

static inline int digit_count(uint64_t value) {
    int guess = (64 - __builtin_clzll(value | 1)) * 1233 >> 12;
    return guess + (value >= powers[guess]) + (value == 0);
}

static inline char *copy(char *to, const char *from, size_t length) {
    memcpy(to, from, length);
    return to + length;
}

/** Writes exactly `count` digits of `value`. */
static inline void write_digits(char *to, uint64_t value, int count) {
    char *p = to + count;
    for (; count >= 2; count -= 2) {
        p -= 2;
        memcpy(p, digit_pairs + value % 100 * 2, 2);
        value /= 100;
    }
    if (count == 1) {
        *--p = (char)('0' + value);
    }
}

static char *write_exponent(char *to, int exponent) {
    *to++ = 'e';
    if (exponent < 0) {
        *to++ = '-';
        exponent = -exponent;
    }
    int count = exponent < 10 ? 1 : exponent < 100 ? 2 : 3;
    write_digits(to, (uint64_t)exponent, count);
    return to + count;
}

/** Writes a number that is not 0, plain below 10^limit. */
static char *write_number(char *to, struct digits number, int limit) {
    while (number.digits % 10 == 0) {
        number.digits /= 10;
        number.exponent++;
    }
    int count = digit_count(number.digits);
    int scientific = number.exponent + count - 1;
    if (scientific < NUMBER_PLAIN_FIRST || scientific >= limit) {
        write_digits(to + 1, number.digits, count);
        to[0] = to[1];
        to[1] = '.';
        return write_exponent(to + (count > 1 ? count + 1 : 1), scientific);
    }
    if (scientific < 0) {
        memset(to, '0', 8);
        to[1] = '.';
        write_digits(to + 1 - scientific, number.digits, count);
        return to + 1 - scientific + count;
    }
    if (count <= scientific + 1) {
        write_digits(to, number.digits, count);
        memset(to + count, '0', (size_t)(scientific + 1 - count));
        return copy(to + scientific + 1, ".0", 2);
    }
    write_digits(to + 1, number.digits, count);
    memmove(to, to + 1, (size_t)scientific + 1);
    to[scientific + 1] = '.';
    return to + count + 1;
}

/** Zero and what is not finite. */
static char *write_special(char *to, bool is_negative, bool is_zero, bool is_nan) {
    if (is_nan) {
        return copy(to, "\"NaN\"", 5);
    }
    if (is_zero) {
        return is_negative ? copy(to, "-0.0", 4) : copy(to, "0.0", 3);
    }
    return is_negative ? copy(to, "\"-Infinity\"", 11) : copy(to, "\"Infinity\"", 10);
}

/** floor(log10(2^exponent)), and of 3/4 of it. */
static inline int log10_of_power2(int exponent) {
    return (exponent * 1262611) >> 22;
}

static inline int log10_of_three_quarters(int exponent) {
    return (exponent * 1262611 - 524031) >> 22;
}

/** A power of ten not rounded down, as the proof wants it. */
static inline struct power_of_ten power_from_above(int exponent) {
    struct power_of_ten ten = number_power(exponent);
    ten.low += exponent > 55;
    return ten;
}

/** The product's integer part, its last bit set where a fraction was left out (rounding to odd). */
static inline uint64_t round_to_odd_f64(struct power_of_ten ten, uint64_t factor) {
    number_u128 low = (number_u128)ten.low * factor;
    number_u128 high = (number_u128)ten.high * factor + (uint64_t)(low >> 64);
    return (uint64_t)(high >> 64) | ((uint64_t)high > 1);
}

static inline uint64_t round_to_odd_f32(uint64_t ten, uint64_t factor) {
    number_u128 product = (number_u128)ten * factor;
    return (uint64_t)(product >> 64) | ((uint64_t)(product >> 32 & 0xffffffff) > 1);
}

/**
 * Picks the shortest of what lies in the rounding interval, and of the shortest the nearest.
 * @param value, lower, upper the number and its interval's ends, times 4, in units of 10^exponent
 * @param is_odd the ends themselves do not belong to the interval
 */
static inline struct digits pick(uint64_t value, uint64_t lower, uint64_t upper, bool is_odd, int exponent) {
    uint64_t low = lower + is_odd;
    uint64_t high = upper - is_odd;
    uint64_t one = value / 4;
    uint64_t ten = one / 10;
    bool is_ten_in = low <= 40 * ten;
    bool is_next_ten_in = 40 * (ten + 1) <= high;
    if (is_ten_in != is_next_ten_in) {
        return (struct digits){ten + is_next_ten_in, exponent + 1};
    }
    bool is_one_in = low <= 4 * one;
    bool is_next_one_in = 4 * (one + 1) <= high;
    if (is_one_in != is_next_one_in) {
        return (struct digits){one + is_next_one_in, exponent};
    }
    uint64_t middle = 4 * one + 2;
    bool is_up = value > middle || (value == middle && (one & 1) != 0);
    return (struct digits){one + is_up, exponent};
}

static inline struct digits shortest_f64(uint64_t bits) {
    uint64_t fraction = bits & (((uint64_t)1 << 52) - 1);
    int biased = (int)(bits >> 52);
    uint64_t c = biased == 0 ? fraction : fraction | (uint64_t)1 << 52;
    int q = (biased == 0 ? 1 : biased) - 1075;
    bool is_uneven = fraction == 0 && biased > 1; /* the next number below is nearer than the next above */
    int k = is_uneven ? log10_of_three_quarters(q) : log10_of_power2(q);
    int h = q + number_log2_of_power(-k) + 1;
    struct power_of_ten ten = power_from_above(-k);
    uint64_t value = round_to_odd_f64(ten, 4 * c << h);
    uint64_t lower = round_to_odd_f64(ten, (4 * c - 2 + is_uneven) << h);
    uint64_t upper = round_to_odd_f64(ten, (4 * c + 2) << h);
    return pick(value, lower, upper, c & 1, k);
}

static inline struct digits shortest_f32(uint32_t bits) {
    uint32_t fraction = bits & 0x7fffff;
    int biased = (int)(bits >> 23);
    uint64_t c = biased == 0 ? fraction : fraction | 1u << 23;
    int q = (biased == 0 ? 1 : biased) - 150;
    bool is_uneven = fraction == 0 && biased > 1;
    int k = is_uneven ? log10_of_three_quarters(q) : log10_of_power2(q);
    int h = q + number_log2_of_power(-k) + 1;
    struct power_of_ten power = number_power(-k);
    uint64_t ten = power.high + (power.low != 0);
    uint64_t value = round_to_odd_f32(ten, 4 * c << h);
    uint64_t lower = round_to_odd_f32(ten, (4 * c - 2 + is_uneven) << h);
    uint64_t upper = round_to_odd_f32(ten, (4 * c + 2) << h);
    return pick(value, lower, upper, c & 1, k);
}

static inline char *print_f32(char *to, float value) {
    uint32_t signed_bits = number_bits_f32(value);
    uint32_t bits = signed_bits & 0x7fffffff;
    bool is_negative = signed_bits != bits;
    if (bits - 1 >= 0x7f800000 - 1) {
        return write_special(to, is_negative, bits == 0, bits > 0x7f800000);
    }
    *to = '-';
    return write_number(to + is_negative, shortest_f32(bits), NUMBER_PLAIN_LIMIT_F32);
}

static inline char *print_f64(char *to, double value) {
    uint64_t signed_bits = number_bits_f64(value);
    uint64_t bits = signed_bits & INT64_MAX;
    bool is_negative = signed_bits != bits;
    uint64_t infinite = (uint64_t)0x7ff << 52;
    if (bits - 1 >= infinite - 1) {
        return write_special(to, is_negative, bits == 0, bits > infinite);
    }
    *to = '-';
    return write_number(to + is_negative, shortest_f64(bits), NUMBER_PLAIN_LIMIT_F64);
}

char *number_print_f32(char *to, float value) {
    return print_f32(to, value);
}

char *number_print_f64(char *to, double value) {
    return print_f64(to, value);
}

/** The C library's digits, for what the product below cannot settle. Its point, whatever the locale's, is passed over.
 */
static struct digits ask_library(double value, int digits) {
    char text[64];
    snprintf(text, sizeof text, "%.*e", digits - 1, value);
    uint64_t sum = 0;
    const char *p = text;
    for (; *p != 'e'; p++) {
        sum = *p >= '0' && *p <= '9' ? sum * 10 + (uint64_t)(*p - '0') : sum;
    }
    return (struct digits){sum, (int)strtol(p + 1, NULL, 10) - digits + 1};
}

/**
 * significand * 2^exponent * 10^power, rounded to an integer (ties to even). The significand's highest bit is set.
 * @return false where the table's error may reach the tie.
 */
static inline bool scale_and_round(uint64_t significand, int exponent, int power, uint64_t *rounded) {
    struct power_of_ten ten = number_power(power);
    number_u128 low = (number_u128)ten.low * significand;
    number_u128 high = (number_u128)ten.high * significand + (uint64_t)(low >> 64);
    int shift = -(exponent + number_log2_of_power(power) + 1); /* the integer part is high >> 64 >> shift */
    if (shift < 0 || shift > 63) {
        return false;
    }
    uint64_t top = (uint64_t)(high >> 64);
    uint64_t integer = shift == 0 ? top : top >> shift;
    /* What is behind the point, its first bit highest, and what is behind that. */
    number_u128 fraction = shift == 0 ? high << 64 : high << (64 - shift);
    bool is_exact = power >= 0 && power <= 55;
    number_u128 half = (number_u128)1 << 127;
    number_u128 slack = is_exact ? 0 : (number_u128)4 << (64 - shift);
    if (is_exact && fraction == half && (uint64_t)low == 0) {
        *rounded = integer + (integer & 1);
        return true;
    }
    if (!is_exact && fraction - half + slack <= 2 * slack) {
        return false;
    }
    *rounded = integer + (fraction >= half);
    return true;
}

/** `digits` digits of a positive finite number. */
static inline struct digits round_to_digits(double value, int digits) {
    uint64_t bits = number_bits_f64(value);
    int biased = (int)(bits >> 52);
    if (biased == 0) {
        return ask_library(value, digits);
    }
    uint64_t significand = (bits << 11) | (uint64_t)1 << 63;
    int exponent = biased - 1086;
    /* One too high where the number is not below the power of ten between 2^e and 2^(e+1): a digit too many. */
    int power = digits - 1 - log10_of_power2(biased - 1023);
    uint64_t rounded;
    if (!scale_and_round(significand, exponent, power, &rounded)) {
        return ask_library(value, digits);
    }
    if (rounded > powers[digits]) {
        power--;
        if (!scale_and_round(significand, exponent, power, &rounded)) {
            return ask_library(value, digits);
        }
    }
    return (struct digits){rounded, -power};
}

static inline char *print_digits(char *to, double value, int digits, int limit) {
    uint64_t signed_bits = number_bits_f64(value);
    uint64_t bits = signed_bits & INT64_MAX;
    bool is_negative = signed_bits != bits;
    uint64_t infinite = (uint64_t)0x7ff << 52;
    if (bits - 1 >= infinite - 1) {
        return write_special(to, is_negative, bits == 0, bits > infinite);
    }
    *to = '-';
    return write_number(to + is_negative, round_to_digits(fabs(value), digits), limit);
}

char *number_print_digits_f32(char *to, float value, int digits) {
    return print_digits(to, value, digits, NUMBER_PLAIN_LIMIT_F32);
}

char *number_print_digits_f64(char *to, double value, int digits) {
    return print_digits(to, value, digits, NUMBER_PLAIN_LIMIT_F64);
}

char *number_print_i64(char *to, int64_t value) {
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    *to = '-';
    to += value < 0;
    int count = digit_count(magnitude);
    write_digits(to, magnitude, count);
    return to + count;
}

char *number_portable_print_run_f32(char *to, const float *values, size_t count, int digits) {
    for (size_t i = 0; i < count; i++) {
        to = digits == 0 ? print_f32(to, values[i]) : number_print_digits_f32(to, values[i], digits);
        *to++ = ',';
    }
    return to - (count > 0);
}

char *number_portable_print_run_f64(char *to, const double *values, size_t count, int digits) {
    for (size_t i = 0; i < count; i++) {
        to = digits == 0 ? print_f64(to, values[i]) : number_print_digits_f64(to, values[i], digits);
        *to++ = ',';
    }
    return to - (count > 0);
}
