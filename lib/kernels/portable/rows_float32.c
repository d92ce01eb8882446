#define REAL float
#define REAL_LOWEST (-FLT_MAX)
#define REAL_EXP expf
#define REAL_TANH tanhf
#define REAL_ERFC erfcf
#define REAL_FMA fmaf
#define ROWS attn_rows_portable_float32
#include "lib/kernels/portable/rows_template.h"
