#!/usr/bin/env python3
"""Writes number_tables.c: the powers of ten that number_read.c and number_print.c scale by.

Run it in this folder: python3 number_tables.py > number_tables.c
"""

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


def main():
    print("/* Written by number_tables.py: change that, not this. */")
    print('#include "server/codec/number_internal.h"\n')
    print("const struct power_of_ten number_powers[NUMBER_POWER_LAST - NUMBER_POWER_FIRST + 1] = {")
    for power in range(FIRST, LAST + 1):
        bits = significand(power)
        assert bits.bit_length() == 128
        print("    {0x%016x, 0x%016x}, /* %d */" % (bits >> 64, bits & (1 << 64) - 1, power))
    print("};")


if __name__ == "__main__":
    main()
