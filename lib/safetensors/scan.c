#include "lib/safetensors/scan.h"
#include "lib/tensor/error.h"
#include <stdarg.h>
#include <stdio.h>

attn_status attn_scan_fail(const struct attn_scan *scan, size_t offset, const char *format, ...) {
    char message[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    attn_fail(scan->error, ATTN_EFORMAT, scan->field, "%s", message);
    if (scan->error != NULL)
        scan->error->offset = offset;
    return ATTN_EFORMAT;
}

void attn_scan_space(struct attn_scan *scan) {
    while (scan->at < scan->end) {
        unsigned char byte = scan->bytes[scan->at];
        if (byte != ' ' && byte != '\t' && byte != '\n' && byte != '\r')
            return;
        scan->at++;
    }
}

bool attn_scan_take(struct attn_scan *scan, char byte) {
    attn_scan_space(scan);
    if (scan->at == scan->end || scan->bytes[scan->at] != (unsigned char)byte)
        return false;
    scan->at++;
    return true;
}

/* "expected …, found …" at the byte that comes next. */
static attn_status fail_expected(const struct attn_scan *scan, const char *what) {
    if (scan->at == scan->end)
        return attn_scan_fail(scan, scan->at, "expected %s, found the end of the header", what);
    unsigned char found = scan->bytes[scan->at];
    if (found > ' ' && found < 0x7F)
        return attn_scan_fail(scan, scan->at, "expected %s, found '%c'", what, found);
    return attn_scan_fail(scan, scan->at, "expected %s, found byte 0x%02X", what, found);
}

attn_status attn_scan_expect(struct attn_scan *scan, char byte, const char *what) {
    return attn_scan_take(scan, byte) ? ATTN_OK : fail_expected(scan, what);
}

/* Bytes of the UTF-8 sequence at `bytes` (RFC 3629, section 4); 0 where there is none within `left` bytes. */
static size_t utf8_length(const unsigned char *bytes, size_t left) {
    unsigned lead = bytes[0];
    size_t length = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
    if (length < 2)
        return length;
    if (length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((bytes[i] & 0xC0U) != 0x80)
            return 0;
    unsigned second = bytes[1];
    bool is_overlong = (lead == 0xE0 && second < 0xA0) || (lead == 0xF0 && second < 0x90);
    bool is_beyond = (lead == 0xED && second > 0x9F) || (lead == 0xF4 && second > 0x8F);
    return is_overlong || is_beyond ? 0 : length;
}

static void put_utf8(struct attn_scan *scan, uint32_t point) {
    char *to = scan->pool + scan->pool_used;
    if (point < 0x80) {
        to[0] = (char)point;
        scan->pool_used += 1;
        return;
    }
    int tail = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    static const unsigned char leads[] = {0, 0xC0, 0xE0, 0xF0};
    to[0] = (char)(leads[tail] | (point >> (6 * tail)));
    for (int i = 1; i <= tail; i++)
        to[i] = (char)(0x80 | ((point >> (6 * (tail - i))) & 0x3F));
    scan->pool_used += (size_t)tail + 1;
}

static bool read_hex4(struct attn_scan *scan, uint32_t *number) {
    if (scan->end - scan->at < 4)
        return false;
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char byte = scan->bytes[scan->at + (size_t)i];
        unsigned lower = byte | 0x20U;
        uint32_t digit = byte >= '0' && byte <= '9' ? byte - (uint32_t)'0' : lower - 'a' + 10;
        if (digit > 15 || (byte > '9' && (lower < 'a' || lower > 'f')))
            return false;
        value = value * 16 + digit;
    }
    scan->at += 4;
    *number = value;
    return true;
}

/* Behind "\u": four digits, or a surrogate pair. A NUL would cut the name where C ends it, so it is refused. */
static attn_status read_unicode_escape(struct attn_scan *scan, size_t start) {
    uint32_t point, low;
    if (!read_hex4(scan, &point) || point == 0 || (point >= 0xDC00 && point <= 0xDFFF))
        return attn_scan_fail(scan, start, "expected a \\u escape of a character other than NUL");
    if (point >= 0xD800 && point <= 0xDBFF) {
        bool has_low = scan->end - scan->at >= 2 && scan->bytes[scan->at] == '\\' && scan->bytes[scan->at + 1] == 'u';
        scan->at += has_low ? 2 : 0;
        if (!has_low || !read_hex4(scan, &low) || low < 0xDC00 || low > 0xDFFF)
            return attn_scan_fail(scan, start, "expected the second half of a surrogate pair");
        point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
    }
    put_utf8(scan, point);
    return ATTN_OK;
}

static attn_status read_escape(struct attn_scan *scan) {
    static const char escapes[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
    size_t start = scan->at++;
    if (scan->at == scan->end)
        return fail_expected(scan, "an escaped character");
    unsigned char byte = scan->bytes[scan->at++];
    if (byte == 'u')
        return read_unicode_escape(scan, start);
    for (size_t i = 0; i + 1 < sizeof escapes; i += 2)
        if (byte == (unsigned char)escapes[i]) {
            put_utf8(scan, (unsigned char)escapes[i + 1]);
            return ATTN_OK;
        }
    return attn_scan_fail(scan, start, "expected one of the escapes of JSON behind '\\'");
}

attn_status attn_scan_text(struct attn_scan *scan, const char **text, const char *what) {
    attn_status status = attn_scan_expect(scan, '"', what);
    if (status != ATTN_OK)
        return status;
    char *start = scan->pool + scan->pool_used;
    while (scan->at < scan->end && scan->bytes[scan->at] != '"') {
        unsigned char byte = scan->bytes[scan->at];
        if (byte < 0x20)
            return attn_scan_fail(scan, scan->at, "expected no control character in a string, found byte 0x%02X", byte);
        if (byte == '\\') {
            if ((status = read_escape(scan)) != ATTN_OK)
                return status;
            continue;
        }
        size_t length = utf8_length(scan->bytes + scan->at, scan->end - scan->at);
        if (length == 0)
            return attn_scan_fail(scan, scan->at, "expected UTF-8, found byte 0x%02X", byte);
        for (size_t i = 0; i < length; i++)
            scan->pool[scan->pool_used++] = (char)scan->bytes[scan->at++];
    }
    if (scan->at == scan->end)
        return fail_expected(scan, "'\"' at the end of a string");
    scan->at++;
    scan->pool[scan->pool_used++] = '\0'; /* in the room of the opening quote */
    *text = start;
    return ATTN_OK;
}

attn_status attn_scan_whole(struct attn_scan *scan, uint64_t *number, const char *what) {
    attn_scan_space(scan);
    size_t start = scan->at;
    uint64_t value = 0;
    for (; scan->at < scan->end && scan->bytes[scan->at] >= '0' && scan->bytes[scan->at] <= '9'; scan->at++) {
        uint64_t digit = scan->bytes[scan->at] - (uint64_t)'0';
        if (value > (UINT64_MAX - digit) / 10)
            return attn_scan_fail(scan, start, "expected %s, found one beyond 64 bits", what);
        value = value * 10 + digit;
    }
    if (scan->at == start)
        return fail_expected(scan, what);
    if (scan->bytes[start] == '0' && scan->at - start > 1)
        return attn_scan_fail(scan, start, "expected %s without leading zeros", what);
    if (scan->at < scan->end && (scan->bytes[scan->at] == '.' || (scan->bytes[scan->at] | 0x20) == 'e'))
        return attn_scan_fail(scan, scan->at, "expected %s without fraction and exponent", what);
    *number = value;
    return ATTN_OK;
}
