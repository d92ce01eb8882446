/**
 * @file number.h
 * Numbers between JSON text and memory, correctly rounded both ways. Single numbers and runs of them; the fastest form
 * that the processor can do is picked once.
 *
 * Reading: Clinger 1990; Lemire, "Number Parsing at a Gigabyte per Second", 2021. Printing: shortest digits that read
 * back to the same bits (Steele and White 1990; Schubfach, Giulietti 2020).
 */
#ifndef SERVER_CODEC_NUMBER_H
#define SERVER_CODEC_NUMBER_H

#include <stddef.h>
#include <stdint.h>

enum number_status {
    NUMBER_OK,
    NUMBER_SYNTAX,   /**< not a number of RFC 8259 */
    NUMBER_OVERFLOW, /**< a finite number too large for the type */
    NUMBER_FRACTION  /**< number_read_i64: not an integer, or beyond int64 */
};

/** Most bytes that one printed number takes (sign, digits, point, exponent). */
#define NUMBER_MAX_TEXT 32

/**
 * Reads one number of RFC 8259 that starts at `text`. @param after receives the first byte behind it (on failure, the
 * byte at fault). Never reads at or beyond `end`. Thread safe.
 */
enum number_status number_read_f32(const char *text, const char *end, float *value, const char **after);
enum number_status number_read_f64(const char *text, const char *end, double *value, const char **after);
/** An exact integer: 2, 2.0 and 2e0 are 2; 1.5 is NUMBER_FRACTION. */
enum number_status number_read_i64(const char *text, const char *end, int64_t *value, const char **after);

/**
 * Reads a run "1, 2.5 , -3e1" of numbers separated by commas and white space, starting at a number.
 * Stops behind the last number that is followed (after white space) by something other than ", number" -- at ']' as a
 * rule --, at the first thing it cannot read, or when `capacity` numbers are read.
 *
 * @param values   receives them
 * @param count    receives how many
 * @param after    receives the byte behind the last white space that was passed: ']' or ',' or what is at fault
 * @return NUMBER_OK; NUMBER_SYNTAX or NUMBER_OVERFLOW with *after at the number at fault. Never reads beyond `end`.
 *         A comma followed by something that is no number ('[', '"', 't') is left to the caller: *after is that thing
 *         and the status NUMBER_SYNTAX.
 */
enum number_status number_read_run_f32(const char *text, const char *end, float *values, size_t capacity, size_t *count,
                                       const char **after);
enum number_status number_read_run_f64(const char *text, const char *end, double *values, size_t capacity,
                                       size_t *count, const char **after);

/**
 * Prints the shortest digits that read back to the same bits, and of these the nearest. From 1e-4 up to as many digits
 * as the type has (below 1e9, double 1e16) in plain notation with a point, "1.0", so that every reader sees a float;
 * else with an exponent, "1e-7", "1.5e20". A zero keeps its sign: "-0.0". What is JSON: numbers without a leading '+';
 * not-finite ones as "\"NaN\"", "\"Infinity\"", "\"-Infinity\"" with their quotes. Writes at most NUMBER_MAX_TEXT
 * bytes, no NUL. @return the byte behind the last. Thread safe.
 */
char *number_print_f32(char *to, float value);
char *number_print_f64(char *to, double value);
/** `digits` significant digits (1..9, double 1..17), correctly rounded, trailing zeros dropped. */
char *number_print_digits_f32(char *to, float value, int digits);
char *number_print_digits_f64(char *to, double value, int digits);
char *number_print_i64(char *to, int64_t value);

/**
 * Prints `count` numbers separated by commas; digits 0 is shortest. `to` must have room for count * NUMBER_MAX_TEXT.
 */
char *number_print_run_f32(char *to, const float *values, size_t count, int digits);
char *number_print_run_f64(char *to, const double *values, size_t count, int digits);

/** @return the name of the variant picked at start ("portable", "avx2", "avx512"); ATTND_NUMBERS forces one. */
const char *number_variant(void);

#endif
