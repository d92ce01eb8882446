#define REAL double
#define REAL_LOWEST (-DBL_MAX)
#define REAL_EXP exp
#define REAL_TANH tanh
#define REAL_ERFC erfc
#define REAL_FMA fma
#define ROWS attn_rows_portable_float64
#include "lib/kernels/portable/rows_template.h"
