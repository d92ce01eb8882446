/* What rows_template.h needs to know of float32. The terms are the Chebyshev fit of (exp(r) - 1) / r, error 1.2e-8;
 * those of the normal tail are fitted to the least relative error, 7.4e-8. */
#define REAL float
#define REAL_LOWEST (-FLT_MAX)
#define LN2_HIGH 0x1.62ep-1
#define LN2_LOW 3.19461849453e-5
#define EXPM1_TERMS 0.0013934541928F, 0.0083698697542F, 0.04166645681F, 0.16666498699F, 0.50000000143F, 1.0000000114F
#define EXP_FLOOR (-87.3)
#define TANH_CEILING 20
#define NORMAL_TAIL_TERMS                                                                                              \
    -0.00026299391F, -0.00089775823F, 0.0010747368F, 0.0069200099F, -0.010480095F, -0.047255084F, 0.2300194F,          \
        -0.5093323F, 0.72908366F
#define NORMAL_TAIL_CEILING 14.5
