#include "server/codec/scan.h"
#include "server/codec/utf8.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>

void scan_begin(struct scan *scan, const char *text, size_t length, size_t max_depth) {
    *scan = (struct scan){.text = text, .at = text, .end = text + length};
    scan->max_depth = max_depth == 0 ? 64 : max_depth > SCAN_MAX_DEPTH ? SCAN_MAX_DEPTH : max_depth;
}

int scan_peek(struct scan *scan) {
    const char *at = scan->at;
    while (at < scan->end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) {
        at++;
    }
    scan->at = at;
    return at < scan->end ? (unsigned char)*at : -1;
}

bool scan_fail(struct scan *scan, const char *at, const char *why) {
    scan->fault = at;
    snprintf(scan->why, sizeof scan->why, "%s", why);
    return false;
}

static bool starts_with(const struct scan *scan, const char *word) {
    size_t length = strlen(word);
    return (size_t)(scan->end - scan->at) >= length && memcmp(scan->at, word, length) == 0;
}

bool scan_expected(struct scan *scan, const char *what) {
    scan->fault = scan->at;
    static const char *const not_finite[] = {"NaN", "Infinity", "-Infinity"};
    for (size_t i = 0; i < sizeof not_finite / sizeof *not_finite; i++) {
        if (starts_with(scan, not_finite[i])) {
            snprintf(scan->why, sizeof scan->why, "a bare %s is not JSON: quote it, as \"%s\"", not_finite[i],
                     not_finite[i]);
            return false;
        }
    }
    if (scan->at == scan->end) {
        snprintf(scan->why, sizeof scan->why, "expected %s, found the end of the text", what);
        return false;
    }
    unsigned char byte = (unsigned char)*scan->at;
    const char *format = byte > 0x20 && byte < 0x7F ? "expected %s, found '%c'" : "expected %s, found the byte 0x%02X";
    snprintf(scan->why, sizeof scan->why, format, what, byte);
    return false;
}

bool scan_token(struct scan *scan, char token, const char *what) {
    if (scan_peek(scan) != (unsigned char)token) {
        return scan_expected(scan, what);
    }
    scan->at++;
    return true;
}

bool scan_end(struct scan *scan) {
    return scan_peek(scan) == -1 || scan_expected(scan, "the end of the text");
}

/* -- strings -- */

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four hexadecimal digits behind "\u". @return -1 where they are none. */
static int32_t hex4(const char *at, const char *end) {
    if (end - at < 4) {
        return -1;
    }
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(at[i]);
        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

/* scan->at stands at "\u". */
static bool scan_unicode_escape(struct scan *scan) {
    int32_t unit = hex4(scan->at + 2, scan->end);
    if (unit < 0) {
        return scan_fail(scan, scan->at, "expected four hexadecimal digits behind \\u");
    }
    if (unit >= 0xDC00 && unit <= 0xDFFF) {
        return scan_fail(scan, scan->at, "a low surrogate without a high one before it");
    }
    if (unit < 0xD800 || unit > 0xDBFF) {
        scan->at += 6;
        return true;
    }
    bool has_second = scan->end - scan->at >= 12 && scan->at[6] == '\\' && scan->at[7] == 'u';
    int32_t second = has_second ? hex4(scan->at + 8, scan->end) : -1;
    if (second < 0xDC00 || second > 0xDFFF) {
        return scan_fail(scan, scan->at, "a high surrogate without a low one behind it");
    }
    scan->at += 12;
    return true;
}

static bool scan_escape(struct scan *scan) {
    if (scan->at + 1 == scan->end) {
        return scan_fail(scan, scan->end, "the text ends within a string");
    }
    char code = scan->at[1];
    if (code == 'u') {
        return scan_unicode_escape(scan);
    }
    if (code == '\0' || strchr("\"\\/bfnrt", code) == NULL) {
        return scan_fail(scan, scan->at, "there is no such escape in JSON");
    }
    scan->at += 2;
    return true;
}

/* A byte that is no plain ASCII character of a string: an escape, UTF-8, or a fault. */
static bool scan_special_byte(struct scan *scan) {
    unsigned char byte = (unsigned char)*scan->at;
    if (byte == '\\') {
        return scan_escape(scan);
    }
    if (byte < 0x20) {
        return scan_fail(scan, scan->at, "a control character in a string must be escaped");
    }
    size_t length = utf8_length((const unsigned char *)scan->at, (size_t)(scan->end - scan->at));
    if (length == 0) {
        return scan_fail(scan, scan->at, "the text is not UTF-8");
    }
    scan->at += length;
    return true;
}

bool scan_string(struct scan *scan, const char *what, struct scan_text *text) {
    if (scan_peek(scan) != '"') {
        return scan_expected(scan, what);
    }
    scan->at++;
    *text = (struct scan_text){.text = scan->at};
    while (scan->at < scan->end && *scan->at != '"') {
        unsigned char byte = (unsigned char)*scan->at;
        if (byte >= 0x20 && byte < 0x80 && byte != '\\') {
            scan->at++;
            continue;
        }
        text->has_escapes = text->has_escapes || byte == '\\';
        if (!scan_special_byte(scan)) {
            return false;
        }
    }
    if (scan->at == scan->end) {
        return scan_fail(scan, scan->end, "the text ends within a string");
    }
    text->length = (size_t)(scan->at - text->text);
    scan->at++;
    return true;
}

/* "\uXXXX" or a pair of them; @return bytes read. */
static size_t unescape_unicode(const char *at, const char *end, char *to, size_t *written) {
    uint32_t point = (uint32_t)hex4(at + 2, end);
    size_t taken = 6;
    if (point >= 0xD800 && point <= 0xDBFF) {
        point = 0x10000 + ((point - 0xD800) << 10) + ((uint32_t)hex4(at + 8, end) - 0xDC00);
        taken = 12;
    }
    *written += utf8_put(point, to);
    return taken;
}

size_t scan_unescape(const struct scan_text *text, char *to) {
    static const char codes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    const char *at = text->text, *end = at + text->length;
    size_t written = 0;
    while (at < end) {
        if (*at != '\\') {
            to[written++] = *at++;
        } else if (at[1] == 'u') {
            at += unescape_unicode(at, end, to + written, &written);
        } else {
            const char *code = strchr(codes, at[1]);
            to[written++] = code != NULL ? meanings[code - codes] : at[1];
            at += 2;
        }
    }
    return written;
}

/* -- values -- */

static bool is_digit(const struct scan *scan) {
    return scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9';
}

static bool scan_digits(struct scan *scan, const char *what) {
    if (!is_digit(scan)) {
        return scan_expected(scan, what);
    }
    while (is_digit(scan)) {
        scan->at++;
    }
    return true;
}

static bool take(struct scan *scan, char a, char b) {
    bool is_there = scan->at < scan->end && (*scan->at == a || *scan->at == b);
    scan->at += is_there;
    return is_there;
}

static bool scan_number(struct scan *scan) {
    const char *start = scan->at;
    if (take(scan, '-', '-') && scan->at < scan->end && *scan->at == 'I') {
        scan->at = start;
        return scan_expected(scan, "a digit");
    }
    if (take(scan, '0', '0')) {
        if (is_digit(scan)) {
            return scan_fail(scan, scan->at, "a number has no leading zeros");
        }
    } else if (!scan_digits(scan, "a digit")) {
        return false;
    }
    if (take(scan, '.', '.') && !scan_digits(scan, "a digit behind the decimal point")) {
        return false;
    }
    if (take(scan, 'e', 'E')) {
        take(scan, '+', '-');
        return scan_digits(scan, "a digit of the exponent");
    }
    return true;
}

static bool scan_word(struct scan *scan, const char *word) {
    if (!starts_with(scan, word)) {
        return scan_expected(scan, "a value");
    }
    scan->at += strlen(word);
    return true;
}

static bool scan_scalar(struct scan *scan, int first) {
    struct scan_text ignored;
    switch (first) {
    case '"':
        return scan_string(scan, "a string", &ignored);
    case 't':
        return scan_word(scan, "true");
    case 'f':
        return scan_word(scan, "false");
    case 'n':
        return scan_word(scan, "null");
    default:
        return first == '-' || (first >= '0' && first <= '9') ? scan_number(scan) : scan_expected(scan, "a value");
    }
}

/* The open arrays and objects, a bit each. */
struct nesting {
    size_t depth;
    uint64_t is_object[SCAN_MAX_DEPTH / 64];
};

static bool innermost_is_object(const struct nesting *nesting) {
    size_t top = nesting->depth - 1;
    return nesting->depth > 0 && ((nesting->is_object[top / 64] >> (top % 64)) & 1) != 0;
}

static bool nesting_push(struct scan *scan, struct nesting *nesting, bool is_object) {
    if (nesting->depth == scan->max_depth) {
        snprintf(scan->why, sizeof scan->why, "nested deeper than %zu arrays and objects", scan->max_depth);
        scan->fault = scan->at;
        return false;
    }
    uint64_t bit = (uint64_t)1 << (nesting->depth % 64);
    uint64_t *word = &nesting->is_object[nesting->depth / 64];
    *word = is_object ? *word | bit : *word & ~bit;
    nesting->depth++;
    scan->at++;
    return true;
}

static bool scan_key(struct scan *scan) {
    struct scan_text ignored;
    return scan_string(scan, "a string as the key", &ignored) && scan_token(scan, ':', "':' behind the key");
}

/* Behind a value: closes what ends here and stands at the next value, or leaves depth 0. */
static bool scan_behind_value(struct scan *scan, struct nesting *nesting) {
    while (nesting->depth > 0) {
        bool in_object = innermost_is_object(nesting);
        int next = scan_peek(scan);
        if (next == ',') {
            scan->at++;
            return !in_object || scan_key(scan);
        }
        if (next != (in_object ? '}' : ']')) {
            return scan_expected(scan, in_object ? "',' or '}'" : "',' or ']'");
        }
        scan->at++;
        nesting->depth--;
    }
    return true;
}

/* A value starts here: a scalar is read, an array or object entered (an empty one is read). @param is_open whether the
 * next thing is the first value inside. */
static bool scan_one(struct scan *scan, struct nesting *nesting, bool *is_open) {
    int first = scan_peek(scan);
    *is_open = false;
    if (first != '{' && first != '[') {
        return scan_scalar(scan, first);
    }
    if (!nesting_push(scan, nesting, first == '{')) {
        return false;
    }
    if (scan_peek(scan) == (first == '{' ? '}' : ']')) {
        scan->at++;
        nesting->depth--;
        return true;
    }
    *is_open = true;
    return first != '{' || scan_key(scan);
}

bool scan_value(struct scan *scan) {
    struct nesting nesting = {.depth = 0};
    do {
        bool is_open;
        if (!scan_one(scan, &nesting, &is_open)) {
            return false;
        }
        if (!is_open && !scan_behind_value(scan, &nesting)) {
            return false;
        }
    } while (nesting.depth > 0);
    return true;
}
