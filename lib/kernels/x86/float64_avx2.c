/* Assumes AVX2 and FMA. */
#if defined(__x86_64__)
#include "lib/kernels/kernels.h"
#include "lib/kernels/x86/float64_constants.h"

#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define ROWS attn_rows_avx2_float64
#define VECTOR __m256d
#define WIDTH 4

static inline __m256i first(size_t count) {
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x((long long)count), _mm256_setr_epi64x(0, 1, 2, 3));
}

static inline VECTOR v_set(double value) {
    return _mm256_set1_pd(value);
}

static inline VECTOR v_load(const double *from) {
    return _mm256_loadu_pd(from);
}

static inline void v_store(double *to, VECTOR v) {
    _mm256_storeu_pd(to, v);
}

static inline VECTOR v_load_part(const double *from, size_t count, double rest) {
    const __m256i mask = first(count);
    return _mm256_blendv_pd(v_set(rest), _mm256_maskload_pd(from, mask), _mm256_castsi256_pd(mask));
}

static inline void v_store_part(double *to, size_t count, VECTOR v) {
    _mm256_maskstore_pd(to, first(count), v);
}

static inline VECTOR v_fma(VECTOR a, VECTOR b, VECTOR c) {
    return _mm256_fmadd_pd(a, b, c);
}

static inline VECTOR v_max(VECTOR a, VECTOR b) {
    return _mm256_max_pd(a, b);
}

static inline VECTOR v_min(VECTOR a, VECTOR b) {
    return _mm256_min_pd(a, b);
}

static inline VECTOR v_abs(VECTOR a) {
    return _mm256_andnot_pd(v_set(-0.0), a);
}

static inline VECTOR v_copy_sign(VECTOR size, VECTOR sign) {
    return _mm256_or_pd(size, _mm256_and_pd(sign, v_set(-0.0)));
}

static inline VECTOR v_round(VECTOR a) {
    return _mm256_round_pd(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline VECTOR v_power(__m128i exponent) {
    const __m256i wide = _mm256_cvtepi32_epi64(_mm_add_epi32(exponent, _mm_set1_epi32(1023)));
    return _mm256_castsi256_pd(_mm256_slli_epi64(wide, 52));
}

/* For exponents that leave the result a normal number. A NaN exponent comes
 * with a NaN `a`. */
static inline VECTOR v_scale(VECTOR a, VECTOR exponent) {
    return a * v_power(_mm256_cvtpd_epi32(exponent));
}

/* v where x is not below the floor (NaN is not), else 0. */
static inline VECTOR v_zero_below(VECTOR v, VECTOR x, VECTOR floor) {
    return _mm256_and_pd(_mm256_cmp_pd(x, floor, _CMP_NLT_UQ), v);
}

/* The first elements of v, and 0. */
static inline VECTOR v_first(VECTOR v, size_t count) {
    return _mm256_and_pd(_mm256_castsi256_pd(first(count)), v);
}

static inline VECTOR v_index(void) {
    return _mm256_setr_pd(0, 1, 2, 3);
}

static inline double v_sum(VECTOR v) {
    __m128d two = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

static inline double v_largest(VECTOR v) {
    __m128d two = _mm_max_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_max_sd(two, _mm_unpackhi_pd(two, two)));
}

static inline VECTOR v_masked_sum(VECTOR score, VECTOR mask) {
    const VECTOR none = v_set((double)-INFINITY);
    const VECTOR hidden = _mm256_or_pd(_mm256_cmp_pd(score, none, _CMP_EQ_OQ), _mm256_cmp_pd(mask, none, _CMP_EQ_OQ));
    return _mm256_blendv_pd(v_max(v_set(REAL_LOWEST), score + mask), none, hidden);
}

static inline VECTOR v_load_float32(const float *from, size_t count) {
    float values[WIDTH] = {0};
    for (size_t i = 0; i < count; i++)
        values[i] = from[i];
    return _mm256_cvtps_pd(_mm_loadu_ps(values));
}

static inline VECTOR v_load_float64(const double *from, size_t count) {
    return v_load_part(from, count, 0);
}

static inline VECTOR v_keep_where(VECTOR v, const uint8_t *mask, size_t count, bool keep) {
    uint32_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes |= (uint32_t)mask[i] << (8 * i);
    const __m256i wide = _mm256_cvtepu8_epi64(_mm_cvtsi32_si128((int)bytes));
    const VECTOR zero = _mm256_castsi256_pd(_mm256_cmpeq_epi64(wide, _mm256_setzero_si256()));
    const VECTOR none = v_set((double)-INFINITY);
    return keep ? _mm256_blendv_pd(v, none, zero) : _mm256_blendv_pd(none, v, zero);
}

/* By the sign bit of x. */
static inline VECTOR v_where_negative(VECTOR x, VECTOR negative, VECTOR otherwise) {
    return _mm256_blendv_pd(otherwise, negative, x);
}

/* 4 rows of 4 elements become columns, rows behind the first `count` 0: pairs,
 * then halves of vectors change places. */
static inline void v_turn(const double *from, ptrdiff_t stride, size_t count, double *to, ptrdiff_t to_stride) {
    VECTOR r[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        r[i] = (size_t)i < count ? v_load(from + i * stride) : v_set(0);
    const VECTOR a = _mm256_unpacklo_pd(r[0], r[1]), b = _mm256_unpackhi_pd(r[0], r[1]);
    const VECTOR c = _mm256_unpacklo_pd(r[2], r[3]), d = _mm256_unpackhi_pd(r[2], r[3]);
    v_store(to, _mm256_permute2f128_pd(a, c, 0x20));
    v_store(to + to_stride, _mm256_permute2f128_pd(b, d, 0x20));
    v_store(to + 2 * to_stride, _mm256_permute2f128_pd(a, c, 0x31));
    v_store(to + 3 * to_stride, _mm256_permute2f128_pd(b, d, 0x31));
}
#define V_TURN
#define TILE_ROWS 6

#include "lib/kernels/x86/rows_template.h"

#else
typedef int attn_no_kernels_here;
#endif
