/**
 * @file scan.h
 * A bounded reader of the JSON in a safetensors header (RFC 8259): it walks over the bytes once and allocates nothing.
 */
#ifndef LIB_SAFETENSORS_SCAN_H
#define LIB_SAFETENSORS_SCAN_H

#include <attn/status.h>
#include <stdint.h>

struct attn_scan {
    const unsigned char *bytes;
    size_t at, end; /**< the next byte, and the one behind the last */
    char *pool;     /**< receives decoded texts; as large as the JSON, plus one byte */
    size_t pool_used;
    const char *field; /**< the tensor that is being read, for errors; "" outside */
    struct attn_error *error;
};

/** Fails with ATTN_EFORMAT at byte `offset`. */
attn_status attn_scan_fail(const struct attn_scan *scan, size_t offset, const char *format, ...) ATTN_PRINTF(3, 4);
/** Skips white space, then takes `byte` if it is there. */
bool attn_scan_take(struct attn_scan *scan, char byte);
/** The same, failing where it is not; `what` says what stands there ("',' or '}' behind a tensor"). */
attn_status attn_scan_expect(struct attn_scan *scan, char byte, const char *what);
/** Reads a string; *text points into the pool, decoded, UTF-8, without NULs inside, terminated. */
attn_status attn_scan_text(struct attn_scan *scan, const char **text, const char *what);
/** Reads a whole number without sign, fraction, exponent and leading zeros. */
attn_status attn_scan_whole(struct attn_scan *scan, uint64_t *number, const char *what);
/** Skips white space. */
void attn_scan_space(struct attn_scan *scan);

#endif
