/*
 * Reading, one number at a time. The text is scanned into a decimal of at most 19 digits; where double arithmetic is
 * exact it gives the value (Clinger 1990), else a 128-bit product does (Lemire 2021; that its one doubtful case never
 * arises is Mushtak and Lemire, "Fast Number Parsing Without Fallback", 2023). Only longer numbers whose first 19
 * digits do not settle the rounding go to the C library.
 */
#include "server/codec/number_internal.h"
#include <math.h>
#include <stdlib.h>

/** More digits than any tie between two doubles has (767), so that one more digit can stand for all the rest. */
#define DECISIVE_DIGITS 800
/** Beyond any exponent that matters, however many digits the text has. */
#define EXPONENT_CAP ((int64_t)1 << 60)

/** A scanned number: (-1)^is_negative * mantissa * 10^exponent, a little more where is_cut. */
struct decimal {
    uint64_t mantissa;
    int64_t exponent;
    bool is_negative;
    bool is_cut;        /**< digits behind the first 19 were left out, not all of them zero */
    const char *digits; /**< the first digit's place in the text, for the rare number that needs all of them */
    const char *digits_end;
    int64_t scale; /**< the exponent as written */
};

static inline bool is_digit(char c) {
    return (unsigned char)(c - '0') < 10;
}

static inline const char *scan_digits(const char *text, const char *end, uint64_t *mantissa) {
    uint64_t sum = *mantissa;
    while (text < end && is_digit(*text)) {
        sum = sum * 10 + (uint64_t)(*text++ - '0');
    }
    *mantissa = sum;
    return text;
}

/** Reads "e-12" behind the digits; *text moves behind it, or to the byte at fault. */
static bool scan_exponent(const char **text, const char *end, int64_t *scale) {
    const char *p = *text + 1;
    bool is_negative = false;
    if (p < end && (*p == '-' || *p == '+')) {
        is_negative = *p++ == '-';
    }
    const char *first = p;
    int64_t sum = 0;
    while (p < end && is_digit(*p)) {
        if (sum < EXPONENT_CAP / 16) {
            sum = sum * 10 + (*p - '0');
        }
        p++;
    }
    *text = p;
    *scale = is_negative ? -sum : sum;
    return p > first;
}

/** The first 19 significant digits of a number that has more than 19 digits, zeros in front among them. */
static void scan_long(struct decimal *decimal) {
    const char *p = decimal->digits;
    int64_t fraction_count = 0;
    int64_t dropped_count = 0;
    int significant_count = 0;
    bool is_behind_point = false;
    decimal->mantissa = 0;
    for (; p < decimal->digits_end; p++) {
        if (*p == '.') {
            is_behind_point = true;
            continue;
        }
        fraction_count += is_behind_point;
        if (significant_count == 19) {
            dropped_count++;
            decimal->is_cut |= *p != '0';
            continue;
        }
        decimal->mantissa = decimal->mantissa * 10 + (uint64_t)(*p - '0');
        significant_count += decimal->mantissa != 0;
    }
    decimal->exponent = decimal->scale - fraction_count + dropped_count;
}

/** @return whether a number of RFC 8259 stands at `text`; *after is the byte behind it, or the one at fault. */
static inline bool scan(const char *text, const char *end, struct decimal *decimal, const char **after) {
    const char *p = text;
    *decimal = (struct decimal){0};
    if (p < end && *p == '-') {
        decimal->is_negative = true;
        p++;
    }
    decimal->digits = p;
    *after = p;
    if (p == end || !is_digit(*p)) {
        return false;
    }
    int64_t digit_count = 1;
    if (*p == '0') {
        p++;
    } else {
        p = scan_digits(p, end, &decimal->mantissa);
        digit_count = p - decimal->digits;
    }
    if (p < end && *p == '.') {
        const char *fraction = ++p;
        p = scan_digits(p, end, &decimal->mantissa);
        *after = p;
        if (p == fraction) {
            return false;
        }
        decimal->exponent = fraction - p;
        digit_count += p - fraction;
    }
    decimal->digits_end = p;
    if (p < end && (*p | 0x20) == 'e') {
        bool is_good = scan_exponent(&p, end, &decimal->scale);
        *after = p;
        if (!is_good) {
            return false;
        }
        decimal->exponent += decimal->scale;
    }
    if (digit_count > 19) {
        scan_long(decimal);
    }
    *after = p;
    return true;
}

/** What tells binary32 from binary64 in the rounding below. */
struct format {
    int fraction_bits;
    int exponent_bias;
    int exponent_infinite;
    int power_zero;    /**< below this power of ten, 2^64 of it round to zero */
    int power_max;     /**< above this power of ten, one of it is too large */
    int power_tie_min; /**< only between these powers can a number of 64 bits lie midway between two of the format */
    int power_tie_max;
};

static const struct format format_f32 = {23, 127, 0xff, -64, 38, -17, 10};
static const struct format format_f64 = {52, 1023, 0x7ff, -342, 308, -4, 23};

static inline uint64_t round_half_up(uint64_t significand) {
    return (significand + (significand & 1)) >> 1;
}

/** A number of the format that is too small for a normal one; `significand` has one bit too many, to round by. */
static inline uint64_t round_subnormal(uint64_t significand, int shift) {
    return shift >= 64 ? 0 : round_half_up(significand >> shift);
}

/** The first bits of w * 10^power, w with its highest bit set: 128 of them, the last ones only where they can matter.
 */
static inline number_u128 scaled(uint64_t w, int power, int fraction_bits) {
    struct power_of_ten ten = number_power(power);
    number_u128 product = (number_u128)w * ten.high;
    uint64_t doubt = UINT64_MAX >> (fraction_bits + 3);
    if (((uint64_t)(product >> 64) & doubt) == doubt) {
        product += (number_u128)w * ten.low >> 64;
    }
    return product;
}

/** The bits, without the sign, of the number of the format that is nearest to mantissa * 10^exponent. */
static inline uint64_t round_decimal(uint64_t mantissa, int64_t exponent, const struct format *format) {
    uint64_t infinite = (uint64_t)format->exponent_infinite << format->fraction_bits;
    if (mantissa == 0 || exponent < format->power_zero) {
        return 0;
    }
    if (exponent > format->power_max) {
        return infinite;
    }
    int power = (int)exponent;
    int zeros = __builtin_clzll(mantissa);
    number_u128 product = scaled(mantissa << zeros, power, format->fraction_bits);
    uint64_t high = (uint64_t)(product >> 64);
    int upper = (int)(high >> 63);
    int shift = upper + 61 - format->fraction_bits;
    uint64_t significand = high >> shift;
    int biased = number_log2_of_power(power) + 63 + upper - zeros + format->exponent_bias;
    if (biased <= 0) {
        return round_subnormal(significand, 1 - biased);
    }
    if ((uint64_t)product <= 1 && power >= format->power_tie_min && power <= format->power_tie_max &&
        (significand & 3) == 1 && significand << shift == high) {
        significand--; /* midway: to even, which is down */
    }
    significand = round_half_up(significand);
    /* The significand still has its leading one, and carries into the exponent by itself. */
    uint64_t bits = ((uint64_t)(biased - 1) << format->fraction_bits) + significand;
    return bits < infinite ? bits : infinite;
}

/**
 * The number's digits, without a point (so that no locale matters), for the C library. @param room has
 * DECISIVE_DIGITS + 32 bytes.
 */
static void spell(const struct decimal *decimal, char *room) {
    int64_t exponent = decimal->scale;
    int digit_count = 0;
    bool is_behind_point = false;
    bool is_cut = false;
    for (const char *p = decimal->digits; p < decimal->digits_end; p++) {
        if (*p == '.') {
            is_behind_point = true;
            continue;
        }
        exponent -= is_behind_point;
        if (digit_count == 0 && *p == '0') {
            continue;
        }
        if (digit_count < DECISIVE_DIGITS) {
            room[digit_count++] = *p;
            continue;
        }
        exponent++;
        is_cut |= *p != '0';
    }
    if (is_cut) {
        room[digit_count++] = '1';
        exponent--;
    }
    room[digit_count++] = 'e';
    *number_print_i64(room + digit_count, exponent) = '\0';
}

static uint64_t ask_library_f32(const struct decimal *decimal) {
    char room[DECISIVE_DIGITS + 32];
    spell(decimal, room);
    return number_bits_f32(strtof(room, NULL));
}

static uint64_t ask_library_f64(const struct decimal *decimal) {
    char room[DECISIVE_DIGITS + 32];
    spell(decimal, room);
    return number_bits_f64(strtod(room, NULL));
}

/** 10^0 to 10^22: those that a double holds exactly. */
static const double exact_powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                      1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/** @return whether one multiplication or division of exact doubles gives the number correctly rounded. */
static inline bool exact_double(const struct decimal *decimal, double *value) {
    if (decimal->mantissa >> 53 != 0 || decimal->exponent < -22 || decimal->exponent > 22) {
        return false;
    }
    double mantissa = (double)decimal->mantissa;
    *value = decimal->exponent < 0 ? mantissa / exact_powers[-decimal->exponent]
                                   : mantissa * exact_powers[decimal->exponent];
    return true;
}

static inline enum number_status to_f64(const struct decimal *decimal, double *value) {
    double exact;
    if (!decimal->is_cut && exact_double(decimal, &exact)) {
        *value = decimal->is_negative ? -exact : exact;
        return NUMBER_OK;
    }
    uint64_t bits = round_decimal(decimal->mantissa, decimal->exponent, &format_f64);
    if (decimal->is_cut && bits != round_decimal(decimal->mantissa + 1, decimal->exponent, &format_f64)) {
        bits = ask_library_f64(decimal);
    }
    if (bits >> 52 == 0x7ff) {
        return NUMBER_OVERFLOW;
    }
    bits |= (uint64_t)decimal->is_negative << 63;
    memcpy(value, &bits, sizeof *value);
    return NUMBER_OK;
}

/**
 * Rounding twice, to double and then to float, is only wrong where the double is midway between two floats and the
 * number itself is not. @return whether that can be ruled out, for normal floats.
 */
static inline bool rounds_once(double exact) {
    return (number_bits_f64(exact) & 0x1fffffff) != 0x10000000 && exact >= 0x1p-126 && exact <= 0x1.fffffep127;
}

static inline enum number_status to_f32(const struct decimal *decimal, float *value) {
    double exact;
    if (!decimal->is_cut && exact_double(decimal, &exact) && rounds_once(exact)) {
        *value = (float)(decimal->is_negative ? -exact : exact);
        return NUMBER_OK;
    }
    uint64_t bits = round_decimal(decimal->mantissa, decimal->exponent, &format_f32);
    if (decimal->is_cut && bits != round_decimal(decimal->mantissa + 1, decimal->exponent, &format_f32)) {
        bits = ask_library_f32(decimal);
    }
    if (bits >> 23 == 0xff) {
        return NUMBER_OVERFLOW;
    }
    uint32_t narrow = (uint32_t)bits | (uint32_t)decimal->is_negative << 31;
    memcpy(value, &narrow, sizeof *value);
    return NUMBER_OK;
}

static inline enum number_status read_f32(const char *text, const char *end, float *value, const char **after) {
    struct decimal decimal;
    if (!scan(text, end, &decimal, after)) {
        return NUMBER_SYNTAX;
    }
    enum number_status status = to_f32(&decimal, value);
    *after = status == NUMBER_OK ? *after : text;
    return status;
}

static inline enum number_status read_f64(const char *text, const char *end, double *value, const char **after) {
    struct decimal decimal;
    if (!scan(text, end, &decimal, after)) {
        return NUMBER_SYNTAX;
    }
    enum number_status status = to_f64(&decimal, value);
    *after = status == NUMBER_OK ? *after : text;
    return status;
}

enum number_status number_read_f32(const char *text, const char *end, float *value, const char **after) {
    return read_f32(text, end, value, after);
}

enum number_status number_read_f64(const char *text, const char *end, double *value, const char **after) {
    return read_f64(text, end, value, after);
}

/** Multiplies or divides by the power of ten. @return false where the result is no integer or beyond 64 bits. */
static bool to_integer(const struct decimal *decimal, uint64_t *integer) {
    *integer = decimal->mantissa;
    if (decimal->is_cut) {
        return false;
    }
    if (decimal->mantissa == 0) {
        return true;
    }
    for (int64_t exponent = decimal->exponent; exponent < 0; exponent++) {
        if (*integer % 10 != 0) {
            return false;
        }
        *integer /= 10;
    }
    for (int64_t exponent = decimal->exponent; exponent > 0; exponent--) {
        if (__builtin_mul_overflow(*integer, 10, integer)) {
            return false;
        }
    }
    return true;
}

enum number_status number_read_i64(const char *text, const char *end, int64_t *value, const char **after) {
    struct decimal decimal;
    if (!scan(text, end, &decimal, after)) {
        return NUMBER_SYNTAX;
    }
    uint64_t integer;
    uint64_t limit = (uint64_t)INT64_MAX + decimal.is_negative;
    if (!to_integer(&decimal, &integer) || integer > limit) {
        *after = text;
        return NUMBER_FRACTION;
    }
    *value = (int64_t)(decimal.is_negative ? 0 - integer : integer);
    return NUMBER_OK;
}

/** Passes white space and, where another number is wanted, a comma. @return whether there was one. */
static inline bool pass_comma(const char **text, const char *end, bool is_more_wanted) {
    const char *p = *text;
    if (p < end && *p != ',') {
        p = number_skip_space(p, end);
    }
    *text = p;
    if (!is_more_wanted || p == end || *p != ',') {
        return false;
    }
    *text = number_skip_space(p + 1, end);
    return true;
}

enum number_status number_portable_read_run_f32(const char *text, const char *end, float *values, size_t capacity,
                                                size_t *count, const char **after) {
    *count = 0;
    *after = text;
    if (capacity == 0) {
        return NUMBER_OK;
    }
    do {
        const char *behind;
        enum number_status status = read_f32(*after, end, values + *count, &behind);
        if (status != NUMBER_OK) {
            return status;
        }
        *after = behind;
        ++*count;
    } while (pass_comma(after, end, *count < capacity));
    return NUMBER_OK;
}

enum number_status number_portable_read_run_f64(const char *text, const char *end, double *values, size_t capacity,
                                                size_t *count, const char **after) {
    *count = 0;
    *after = text;
    if (capacity == 0) {
        return NUMBER_OK;
    }
    do {
        const char *behind;
        enum number_status status = read_f64(*after, end, values + *count, &behind);
        if (status != NUMBER_OK) {
            return status;
        }
        *after = behind;
        ++*count;
    } while (pass_comma(after, end, *count < capacity));
    return NUMBER_OK;
}
