/*
 * The loops of loops_template.h for float and double. They are plain loops that the compiler vectorises; the pragma
 * allows it to reorder sums, and nothing else of fast-math: NaN and infinities keep their meaning.
 */
#include "lib/aggregate/loops.h"

#include <math.h>
#include <string.h>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("associative-math", "no-signed-zeros", "no-trapping-math")
#endif

/* Picked by the loader for the machine at hand. Sanitizers do not live with resolvers that run before them. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) &&               \
    !defined(__SANITIZE_THREAD__)
#define CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CLONES
#endif

#define INLINE static inline __attribute__((always_inline))

/*
 * log(x) = e * log(2) + 2 * atanh(s), x = 2^e * m with m in [sqrt(1/2), sqrt(2)), s = (m - 1) / (m + 1), |s| < 0.172.
 * atanh by its Taylor series. For finite x above 0; 0 and NaN give some finite number, so that x * log(x) is right for
 * them too. Both are exact to a few units in the last place.
 */
INLINE double log_float64(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits & 0x7fffffffffffffffU) + (0x3ff0000000000000U - 0x3fe6a09e667f3bcdU);
    uint64_t exponent_bits = 0x4330000000000000U | (bits >> 52); /* 2^52 + biased exponent, as a double */
    uint64_t mantissa_bits = (bits & 0x000fffffffffffffU) + 0x3fe6a09e667f3bcdU;
    double exponent, m;
    memcpy(&exponent, &exponent_bits, sizeof exponent);
    memcpy(&m, &mantissa_bits, sizeof m);
    exponent -= 4503599627370496.0 + 1023.0;
    double s = (m - 1) / (m + 1), z = s * s;
    double series = 1.0 / 23;
    series = series * z + 1.0 / 21;
    series = series * z + 1.0 / 19;
    series = series * z + 1.0 / 17;
    series = series * z + 1.0 / 15;
    series = series * z + 1.0 / 13;
    series = series * z + 1.0 / 11;
    series = series * z + 1.0 / 9;
    series = series * z + 1.0 / 7;
    series = series * z + 1.0 / 5;
    series = series * z + 1.0 / 3;
    return exponent * 0.69314718055994530942 + 2 * (s + s * z * series);
}

INLINE float log_float32(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits & 0x7fffffffU) + (0x3f800000U - 0x3f3504f3U);
    uint32_t mantissa_bits = (bits & 0x007fffffU) + 0x3f3504f3U;
    float exponent = (float)((int32_t)(bits >> 23) - 127), m;
    memcpy(&m, &mantissa_bits, sizeof m);
    float s = (m - 1) / (m + 1), z = s * s;
    float series = 1.0F / 11;
    series = series * z + 1.0F / 9;
    series = series * z + 1.0F / 7;
    series = series * z + 1.0F / 5;
    series = series * z + 1.0F / 3;
    return exponent * 0.693147180F + 2 * (s + s * z * series);
}

/* (1 - d) log(1 - d) + (1 + d) log(1 + d): near 0 by its series, where the logarithms would cancel. */
INLINE double divergence_term(double d) {
    double z = d * d;
    double series = 1.0 / 153;
    series = series * z + 1.0 / 120;
    series = series * z + 1.0 / 91;
    series = series * z + 1.0 / 66;
    series = series * z + 1.0 / 45;
    series = series * z + 1.0 / 28;
    series = series * z + 1.0 / 15;
    series = series * z + 1.0 / 6;
    series = z * (1 + series * z);
    double direct = (1 - d) * log_float64(1 - d) + (1 + d) * log_float64(1 + d);
    return z < 0.015625 ? series : direct;
}

#define REAL float
#define NAMED(name) name##_float32
#include "lib/aggregate/loops_template.h"
#undef REAL
#undef NAMED

#define REAL double
#define NAMED(name) name##_float64
#include "lib/aggregate/loops_template.h"
#undef REAL
#undef NAMED

const struct attn_loops *attn_loops_of(attn_dtype dtype) {
    return dtype == ATTN_FLOAT64 ? &loops_float64 : &loops_float32;
}
