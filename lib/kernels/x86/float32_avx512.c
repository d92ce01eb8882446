/* Assumes AVX-512 F, DQ, BW and VL. */
#if defined(__x86_64__)
#include "lib/kernels/kernels.h"
#include "lib/kernels/x86/float32_constants.h"

#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define ROWS attn_rows_avx512_float32
#define VECTOR __m512
#define WIDTH 16

static inline __mmask16 first(size_t count) {
    return (__mmask16)((1U << count) - 1U);
}

static inline VECTOR v_set(float value) {
    return _mm512_set1_ps(value);
}

static inline VECTOR v_load(const float *from) {
    return _mm512_loadu_ps(from);
}

static inline void v_store(float *to, VECTOR v) {
    _mm512_storeu_ps(to, v);
}

static inline VECTOR v_load_part(const float *from, size_t count, float rest) {
    return _mm512_mask_loadu_ps(v_set(rest), first(count), from);
}

static inline void v_store_part(float *to, size_t count, VECTOR v) {
    _mm512_mask_storeu_ps(to, first(count), v);
}

static inline VECTOR v_fma(VECTOR a, VECTOR b, VECTOR c) {
    return _mm512_fmadd_ps(a, b, c);
}

static inline VECTOR v_max(VECTOR a, VECTOR b) {
    return _mm512_max_ps(a, b);
}

static inline VECTOR v_min(VECTOR a, VECTOR b) {
    return _mm512_min_ps(a, b);
}

static inline VECTOR v_abs(VECTOR a) {
    return _mm512_abs_ps(a);
}

static inline VECTOR v_copy_sign(VECTOR size, VECTOR sign) {
    return _mm512_or_ps(size, _mm512_and_ps(sign, v_set(-0.0F)));
}

static inline VECTOR v_round(VECTOR a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline VECTOR v_scale(VECTOR a, VECTOR exponent) {
    return _mm512_scalef_ps(a, exponent);
}

/* v where x is not below the floor (NaN is not), else 0. */
static inline VECTOR v_zero_below(VECTOR v, VECTOR x, VECTOR floor) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, floor, _CMP_NLT_UQ), v);
}

/* The first elements of v, and 0. */
static inline VECTOR v_first(VECTOR v, size_t count) {
    return _mm512_maskz_mov_ps(first(count), v);
}

static inline VECTOR v_index(void) {
    return _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

static inline float v_sum(VECTOR v) {
    return _mm512_reduce_add_ps(v);
}

static inline float v_largest(VECTOR v) {
    return _mm512_reduce_max_ps(v);
}

static inline VECTOR v_masked_sum(VECTOR score, VECTOR mask) {
    const VECTOR none = v_set(-INFINITY);
    const __mmask16 hidden = _mm512_cmp_ps_mask(score, none, _CMP_EQ_OQ) | _mm512_cmp_ps_mask(mask, none, _CMP_EQ_OQ);
    return _mm512_mask_blend_ps(hidden, v_max(v_set(REAL_LOWEST), score + mask), none);
}

static inline VECTOR v_load_float32(const float *from, size_t count) {
    return v_load_part(from, count, 0);
}

/* A finite float64 below float32's range becomes the lowest finite float32, not -Infinity. */
static inline VECTOR v_load_float64(const double *from, size_t count) {
    const __mmask16 mask = first(count);
    const __m512d low = _mm512_maskz_loadu_pd((__mmask8)mask, from);
    const __m512d high = count > 8 ? _mm512_maskz_loadu_pd((__mmask8)(mask >> 8), from + 8) : _mm512_setzero_pd();
    const __m512d none = _mm512_set1_pd((double)-INFINITY);
    const unsigned hidden =
        (unsigned)_mm512_cmp_pd_mask(low, none, _CMP_EQ_OQ) | (unsigned)_mm512_cmp_pd_mask(high, none, _CMP_EQ_OQ) << 8;
    const VECTOR both = _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)), _mm512_cvtpd_ps(high), 1);
    return _mm512_mask_blend_ps((__mmask16)hidden, v_max(v_set(REAL_LOWEST), both), v_set(-INFINITY));
}

static inline VECTOR v_keep_where(VECTOR v, const uint8_t *mask, size_t count, bool keep) {
    const __m128i bytes = _mm_maskz_loadu_epi8(first(count), mask);
    const __mmask16 set = _mm_test_epi8_mask(bytes, bytes);
    return _mm512_mask_blend_ps((__mmask16)(keep ? set : ~set), v_set(-INFINITY), v);
}

/* By the sign bit of x. */
static inline VECTOR v_where_negative(VECTOR x, VECTOR negative, VECTOR otherwise) {
    return _mm512_mask_blend_ps(_mm512_movepi32_mask(_mm512_castps_si512(x)), otherwise, negative);
}

/* 16 rows of 16 elements become columns, rows behind the first `count` 0: pairs, quadruples, then quarters of vectors
 * change places. */
static inline void v_turn(const float *from, ptrdiff_t stride, size_t count, float *to, ptrdiff_t to_stride) {
    VECTOR r[16], t[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        r[i] = (size_t)i < count ? v_load(from + i * stride) : v_set(0);
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        const __m512d a = _mm512_castps_pd(t[i]), b = _mm512_castps_pd(t[i + 1]);
        const __m512d c = _mm512_castps_pd(t[i + 2]), d = _mm512_castps_pd(t[i + 3]);
        r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
        r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
        r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
        r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
    enum { EVEN = 0x88, ODD = 0xdd };
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const VECTOR a = _mm512_shuffle_f32x4(r[i], r[i + 4], EVEN), b = _mm512_shuffle_f32x4(r[i], r[i + 4], ODD);
        const VECTOR c = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], EVEN);
        const VECTOR d = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], ODD);
        v_store(to + i * to_stride, _mm512_shuffle_f32x4(a, c, EVEN));
        v_store(to + (i + 4) * to_stride, _mm512_shuffle_f32x4(b, d, EVEN));
        v_store(to + (i + 8) * to_stride, _mm512_shuffle_f32x4(a, c, ODD));
        v_store(to + (i + 12) * to_stride, _mm512_shuffle_f32x4(b, d, ODD));
    }
}
#define V_TURN
#define TILE_ROWS 14

#include "lib/kernels/x86/rows_template.h"

static inline VECTOR v_load_float16(const uint16_t *from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)from));
}

static inline void v_load_bfloat16(const uint16_t *from, VECTOR *low, VECTOR *high) {
    const __m512i pairs = _mm512_loadu_si512(from);
    *low = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
    *high = _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xffff0000U)));
}

#define PANELS attn_panels_avx512
#include "lib/kernels/x86/panels_template.h"

#else
typedef int attn_no_kernels_here;
#endif
