/* Assumes AVX2 and FMA. */
#if defined(__x86_64__)
#include "lib/kernels/kernels.h"
#include "lib/kernels/x86/float32_constants.h"

#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define ROWS attn_rows_avx2_float32
#define VECTOR __m256
#define WIDTH 8

static inline __m256i first(size_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static inline VECTOR v_set(float value) {
    return _mm256_set1_ps(value);
}

static inline VECTOR v_load(const float *from) {
    return _mm256_loadu_ps(from);
}

static inline void v_store(float *to, VECTOR v) {
    _mm256_storeu_ps(to, v);
}

static inline VECTOR v_load_part(const float *from, size_t count, float rest) {
    const __m256i mask = first(count);
    return _mm256_blendv_ps(v_set(rest), _mm256_maskload_ps(from, mask), _mm256_castsi256_ps(mask));
}

static inline void v_store_part(float *to, size_t count, VECTOR v) {
    _mm256_maskstore_ps(to, first(count), v);
}

static inline VECTOR v_fma(VECTOR a, VECTOR b, VECTOR c) {
    return _mm256_fmadd_ps(a, b, c);
}

static inline VECTOR v_max(VECTOR a, VECTOR b) {
    return _mm256_max_ps(a, b);
}

static inline VECTOR v_min(VECTOR a, VECTOR b) {
    return _mm256_min_ps(a, b);
}

static inline VECTOR v_abs(VECTOR a) {
    return _mm256_andnot_ps(v_set(-0.0F), a);
}

static inline VECTOR v_copy_sign(VECTOR size, VECTOR sign) {
    return _mm256_or_ps(size, _mm256_and_ps(sign, v_set(-0.0F)));
}

static inline VECTOR v_round(VECTOR a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline VECTOR v_power(__m256i exponent) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(exponent, _mm256_set1_epi32(127)), 23));
}

/* For exponents that leave the result a normal number. A NaN exponent comes with a NaN `a`. */
static inline VECTOR v_scale(VECTOR a, VECTOR exponent) {
    return a * v_power(_mm256_cvtps_epi32(exponent));
}

/* v where x is not below the floor (NaN is not), else 0. */
static inline VECTOR v_zero_below(VECTOR v, VECTOR x, VECTOR floor) {
    return _mm256_and_ps(_mm256_cmp_ps(x, floor, _CMP_NLT_UQ), v);
}

/* The first elements of v, and 0. */
static inline VECTOR v_first(VECTOR v, size_t count) {
    return _mm256_and_ps(_mm256_castsi256_ps(first(count)), v);
}

static inline VECTOR v_index(void) {
    return _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7);
}

static inline float v_sum(VECTOR v) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

static inline float v_largest(VECTOR v) {
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

static inline VECTOR v_masked_sum(VECTOR score, VECTOR mask) {
    const VECTOR none = v_set(-INFINITY);
    const VECTOR hidden = _mm256_or_ps(_mm256_cmp_ps(score, none, _CMP_EQ_OQ), _mm256_cmp_ps(mask, none, _CMP_EQ_OQ));
    return _mm256_blendv_ps(v_max(v_set(REAL_LOWEST), score + mask), none, hidden);
}

static inline VECTOR v_load_float32(const float *from, size_t count) {
    return v_load_part(from, count, 0);
}

/* A finite float64 below float32's range becomes the lowest finite float32, not -Infinity. */
static inline VECTOR v_load_float64(const double *from, size_t count) {
    float values[WIDTH] = {0};
    for (size_t i = 0; i < count; i++)
        values[i] = from[i] < (double)REAL_LOWEST && from[i] != (double)-INFINITY ? REAL_LOWEST : (float)from[i];
    return v_load(values);
}

static inline VECTOR v_keep_where(VECTOR v, const uint8_t *mask, size_t count, bool keep) {
    uint64_t bytes = 0;
    if (count == WIDTH)
        memcpy(&bytes, mask, WIDTH);
    else
        for (size_t i = 0; i < count; i++)
            bytes |= (uint64_t)mask[i] << (8 * i);
    const __m256i wide = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)bytes));
    const VECTOR zero = _mm256_castsi256_ps(_mm256_cmpeq_epi32(wide, _mm256_setzero_si256()));
    const VECTOR none = v_set(-INFINITY);
    return keep ? _mm256_blendv_ps(v, none, zero) : _mm256_blendv_ps(none, v, zero);
}

/* By the sign bit of x. */
static inline VECTOR v_where_negative(VECTOR x, VECTOR negative, VECTOR otherwise) {
    return _mm256_blendv_ps(otherwise, negative, x);
}

/* 8 rows of 8 elements become columns, rows behind the first `count` 0: pairs, quadruples, then halves of vectors
 * change places. */
static inline void v_turn(const float *from, ptrdiff_t stride, size_t count, float *to, ptrdiff_t to_stride) {
    VECTOR r[8], t[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        r[i] = (size_t)i < count ? v_load(from + i * stride) : v_set(0);
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        v_store(to + i * to_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        v_store(to + (i + 4) * to_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}
#define V_TURN
#define TILE_ROWS 6

#include "lib/kernels/x86/rows_template.h"

static inline VECTOR v_load_float16(const uint16_t *from) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const void *)from));
}

static inline void v_load_bfloat16(const uint16_t *from, VECTOR *low, VECTOR *high) {
    const __m256i pairs = _mm256_loadu_si256((const void *)from);
    *low = _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
    *high = _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32((int)0xffff0000U)));
}

#define PANELS attn_panels_avx2
#include "lib/kernels/x86/panels_template.h"

#else
typedef int attn_no_kernels_here;
#endif
