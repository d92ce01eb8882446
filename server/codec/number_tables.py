#!/usr/bin/env python3
"""Writes number_tables.c: the powers of ten that number_read.c and number_print.c scale by, and for the vector variants
the scale of each exponent of a float and the shuffles that put digits, point and exponent where they belong.

Run it in this folder: python3 number_tables.py > number_tables.c
"""

from fractions import Fraction
from math import ceil

FIRST, LAST = -342, 324


def significand(power):
    """The first 128 bits of 10^power: cut off where they go on for power > 0, rounded up for power < 0 (as Lemire 2021
    has them: the error is below one unit of the last bit either way, and none for 0 <= power <= 55)."""
    if power >= 0:
        value = 10**power
        shift = value.bit_length() - 128
        return value >> shift if shift >= 0 else value << -shift
    value = 10**-power
    return (1 << (value.bit_length() + 127)) // value + 1


def float_scale(biased, is_uneven):
    """2^q / 10^k with 60 bits behind the point, rounded up; 10^k is the largest that keeps it at 1 or more."""
    q = biased - 150
    width = Fraction(3, 4) if is_uneven else Fraction(1)
    k = -60
    while width * Fraction(2) ** q >= Fraction(10) ** (k + 1):
        k += 1
    return ceil(Fraction(2) ** q / Fraction(10) ** k * 2**60), k


# Where number_print_avx512.c puts things: eight digits, the digit before them, and what else a number is made of.
DIGITS = [8, 0, 1, 2, 3, 4, 5, 6, 7]
POINT, MINUS, E, TENS, ONES, COMMA, ZERO = range(9, 16)


def plain(scientific, count):
    if scientific < 0:
        return [ZERO, POINT] + [ZERO] * (-scientific - 1) + DIGITS[:count]
    whole = DIGITS[: scientific + 1]
    return whole + [POINT] + (DIGITS[scientific + 1 : count] or [ZERO])


def with_exponent(count, has_tens, is_negative):
    digits = DIGITS[:1] + ([POINT] + DIGITS[1:count] if count > 1 else [])
    return digits + [E] + [MINUS] * is_negative + [TENS] * has_tens + [ONES]


def shuffles():
    rows = [plain(scientific, count) for scientific in range(-4, 9) for count in range(1, 10)]
    rows += [
        with_exponent(count, has_tens, is_negative)
        for count in range(1, 10)
        for has_tens in range(2)
        for is_negative in range(2)
    ]
    return [sign + row + [COMMA] for row in rows for sign in ([], [MINUS])]


def main():
    print("/* Written by number_tables.py: change that, not this. */")
    print('#include "server/codec/number_internal.h"\n')
    print("const struct power_of_ten number_powers[NUMBER_POWER_LAST - NUMBER_POWER_FIRST + 1] = {")
    for power in range(FIRST, LAST + 1):
        bits = significand(power)
        assert bits.bit_length() == 128
        print("    {0x%016x, 0x%016x}, /* %d */" % (bits >> 64, bits & (1 << 64) - 1, power))
    print("};")

    print("\nconst struct number_scale number_scales_f32[2][256] = {")
    for is_uneven in range(2):
        print("    {")
        for biased in range(256):
            print("        {0x%016x, %d}," % float_scale(biased, is_uneven))
        print("    },")
    print("};")

    print("\nconst uint8_t number_shuffles[NUMBER_SHUFFLE_COUNT][16] = {")
    for row in shuffles():
        print("    {%s}," % ", ".join(map(str, row + [ZERO] * (16 - len(row)))))
    print("};\n\nconst uint8_t number_shuffle_lengths[NUMBER_SHUFFLE_COUNT] = {")
    lengths = [len(row) for row in shuffles()]
    assert max(lengths) <= 16
    for i in range(0, len(lengths), 18):
        print("    %s," % ", ".join(map(str, lengths[i : i + 18])))
    print("};")


if __name__ == "__main__":
    main()
