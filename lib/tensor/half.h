/** @file half.h The 16-bit floating formats as float32, exactly. */
#ifndef LIB_TENSOR_HALF_H
#define LIB_TENSOR_HALF_H

#include <stdint.h>
#include <string.h>

/** @return the float32 with those bits; bfloat16 is the upper half of one. */
static inline float attn_float_from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/** @return the value of a float16. */
static inline float attn_float_from_half(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000U) << 16, exponent = (half >> 10) & 31U, mantissa = half & 1023U;
    if (exponent == 31)
        return attn_float_from_bits(sign | 0x7f800000U | mantissa << 13);
    if (exponent == 0)
        return (sign != 0 ? -1.0F : 1.0F) * (float)mantissa * 0x1p-24F;
    return attn_float_from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

#endif
