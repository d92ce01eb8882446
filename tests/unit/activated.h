/* Activations in long double, by the C library. */
#ifndef ATTN_TESTS_ACTIVATED_H
#define ATTN_TESTS_ACTIVATED_H

#include "lib/kernels/kernels.h"

#include <math.h>

static inline long double sigmoid(long double x) {
    return 1 / (1 + expl(-x));
}

/* u of GELU_TANH's (1 + tanh(u)) / 2 = sigmoid(2 u), twice. */
static inline long double twice_u(long double x) {
    return 2 * 0.79788456080286535587989211986876373695L * (x + 0.044715L * x * x * x);
}

static inline long double activated(attn_activation activation, long double x) {
    switch (activation) {
    case ATTN_ACTIVATION_RELU:
        return x < 0 ? 0 : x;
    case ATTN_ACTIVATION_GELU:
        return x * erfcl(x * -0.70710678118654752440084436210484903928L) / 2;
    case ATTN_ACTIVATION_GELU_TANH:
        return x * sigmoid(twice_u(x));
    case ATTN_ACTIVATION_GELU_QUICK:
        return x * sigmoid(1.702L * x);
    case ATTN_ACTIVATION_SILU:
        return x * sigmoid(x);
    case ATTN_ACTIVATION_TANH:
        return tanhl(x);
    case ATTN_ACTIVATION_NONE:
    case ATTN_ACTIVATION_COUNT:
        break;
    }
    return x;
}

#endif
