/* What rows_template.h needs to know of float64. The terms are the Chebyshev fit of (exp(r) - 1) / r, error 2e-17. */
#define REAL double
#define REAL_LOWEST (-DBL_MAX)
#define LN2_HIGH 0x1.62e42feep-1
#define LN2_LOW 1.908214929270587816144e-10
#define EXPM1_TERMS                                                                                                    \
    2.5106274733573294688e-8, 2.7627746540946733362e-7, 2.7557252833516909748e-6, 0.000024801500976060441321,          \
        0.00019841269876864354929, 0.001388888893517243758, 0.0083333333333255446996, 0.041666666666565389888,         \
        0.16666666666666671438, 0.50000000000000062048, 1.0
#define EXP_FLOOR (-708.3)
#define TANH_CEILING 44
#define ROWS_BY_LIBM attn_rows_portable_float64
