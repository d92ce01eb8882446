/* Assumes AVX-512 F, DQ, BW and VL. */
#if defined(__x86_64__)
#include "lib/kernels/kernels.h"
#include "lib/kernels/x86/float64_constants.h"

#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define ROWS attn_rows_avx512_float64
#define VECTOR __m512d
#define WIDTH 8

static inline __mmask8 first(size_t count) {
    return (__mmask8)((1U << count) - 1U);
}

static inline VECTOR v_set(double value) {
    return _mm512_set1_pd(value);
}

static inline VECTOR v_load(const double *from) {
    return _mm512_loadu_pd(from);
}

static inline void v_store(double *to, VECTOR v) {
    _mm512_storeu_pd(to, v);
}

static inline VECTOR v_load_part(const double *from, size_t count, double rest) {
    return _mm512_mask_loadu_pd(v_set(rest), first(count), from);
}

static inline void v_store_part(double *to, size_t count, VECTOR v) {
    _mm512_mask_storeu_pd(to, first(count), v);
}

static inline VECTOR v_fma(VECTOR a, VECTOR b, VECTOR c) {
    return _mm512_fmadd_pd(a, b, c);
}

static inline VECTOR v_max(VECTOR a, VECTOR b) {
    return _mm512_max_pd(a, b);
}

static inline VECTOR v_min(VECTOR a, VECTOR b) {
    return _mm512_min_pd(a, b);
}

static inline VECTOR v_abs(VECTOR a) {
    return _mm512_abs_pd(a);
}

static inline VECTOR v_copy_sign(VECTOR size, VECTOR sign) {
    return _mm512_or_pd(size, _mm512_and_pd(sign, v_set(-0.0)));
}

static inline VECTOR v_round(VECTOR a) {
    return _mm512_roundscale_pd(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline VECTOR v_scale(VECTOR a, VECTOR exponent) {
    return _mm512_scalef_pd(a, exponent);
}

/* v where x is not below the floor (NaN is not), else 0. */
static inline VECTOR v_zero_below(VECTOR v, VECTOR x, VECTOR floor) {
    return _mm512_maskz_mov_pd(_mm512_cmp_pd_mask(x, floor, _CMP_NLT_UQ), v);
}

/* The first elements of v, and 0. */
static inline VECTOR v_first(VECTOR v, size_t count) {
    return _mm512_maskz_mov_pd(first(count), v);
}

static inline VECTOR v_index(void) {
    return _mm512_setr_pd(0, 1, 2, 3, 4, 5, 6, 7);
}

static inline double v_sum(VECTOR v) {
    return _mm512_reduce_add_pd(v);
}

static inline double v_largest(VECTOR v) {
    return _mm512_reduce_max_pd(v);
}

static inline VECTOR v_masked_sum(VECTOR score, VECTOR mask) {
    const VECTOR none = v_set((double)-INFINITY);
    const __mmask8 hidden = _mm512_cmp_pd_mask(score, none, _CMP_EQ_OQ) | _mm512_cmp_pd_mask(mask, none, _CMP_EQ_OQ);
    return _mm512_mask_blend_pd(hidden, v_max(v_set(REAL_LOWEST), score + mask), none);
}

static inline VECTOR v_load_float32(const float *from, size_t count) {
    return _mm512_cvtps_pd(_mm256_maskz_loadu_ps(first(count), from));
}

static inline VECTOR v_load_float64(const double *from, size_t count) {
    return v_load_part(from, count, 0);
}

static inline VECTOR v_keep_where(VECTOR v, const uint8_t *mask, size_t count, bool keep) {
    const __m128i bytes = _mm_maskz_loadu_epi8(first(count), mask);
    const __mmask16 set = _mm_test_epi8_mask(bytes, bytes);
    return _mm512_mask_blend_pd((__mmask8)(keep ? set : ~set), v_set((double)-INFINITY), v);
}

/* By the sign bit of x. */
static inline VECTOR v_where_negative(VECTOR x, VECTOR negative, VECTOR otherwise) {
    return _mm512_mask_blend_pd(_mm512_movepi64_mask(_mm512_castpd_si512(x)), otherwise, negative);
}

/* 8 rows of 8 elements become columns, rows behind the first `count` 0: pairs,
 * then quarters of vectors change places. */
static inline void v_turn(const double *from, ptrdiff_t stride, size_t count, double *to, ptrdiff_t to_stride) {
    enum { EVEN = 0x88, ODD = 0xdd };
    VECTOR r[8], t[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        r[i] = (size_t)i < count ? v_load(from + i * stride) : v_set(0);
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm512_unpacklo_pd(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_pd(r[i], r[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        const VECTOR a = _mm512_shuffle_f64x2(t[i], t[i + 2], EVEN), b = _mm512_shuffle_f64x2(t[i], t[i + 2], ODD);
        const VECTOR c = _mm512_shuffle_f64x2(t[i + 4], t[i + 6], EVEN);
        const VECTOR d = _mm512_shuffle_f64x2(t[i + 4], t[i + 6], ODD);
        v_store(to + i * to_stride, _mm512_shuffle_f64x2(a, c, EVEN));
        v_store(to + (i + 2) * to_stride, _mm512_shuffle_f64x2(b, d, EVEN));
        v_store(to + (i + 4) * to_stride, _mm512_shuffle_f64x2(a, c, ODD));
        v_store(to + (i + 6) * to_stride, _mm512_shuffle_f64x2(b, d, ODD));
    }
}
#define V_TURN
#define TILE_ROWS 14

#include "lib/kernels/x86/rows_template.h"

#else
typedef int attn_no_kernels_here;
#endif
