#include "server/http/headers.h"
#include <string.h>
#include <strings.h>

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_alphanumeric(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool header_is_token(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\0' || (!is_alphanumeric(text[i]) && strchr("!#$%&'*+-.^_`|~", text[i]) == NULL)) {
            return false;
        }
    }
    return length > 0;
}

static bool has_control_byte(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if ((byte < 0x20 && byte != '\t') || byte == 0x7f) {
            return true;
        }
    }
    return false;
}

static bool is_name(const char *name, size_t length, const char *wanted) {
    return strlen(wanted) == length && strncasecmp(name, wanted, length) == 0;
}

static bool refuse(struct problem *problem, const char *detail) {
    problem_set(problem, PROBLEM_BAD_FRAMING, NULL, "%s", detail);
    return false;
}

static bool read_length(const char *text, size_t length, uint64_t *value) {
    *value = 0;
    for (size_t i = 0; i < length; i++) {
        if (!is_digit(text[i]) || *value > (UINT64_MAX - 9) / 10) {
            return false;
        }
        *value = *value * 10 + (uint64_t)(text[i] - '0');
    }
    return length > 0;
}

static bool check_known(struct header_census *census, const char *name, size_t name_length, const char *value,
                        size_t value_length, struct problem *problem) {
    if (is_name(name, name_length, "Host")) {
        return ++census->hosts == 1 || refuse(problem, "expected one Host header field, found several");
    }
    if (is_name(name, name_length, "Content-Length")) {
        if (++census->lengths > 1) {
            return refuse(problem, "expected one Content-Length, found several");
        }
        return read_length(value, value_length, &census->length) ||
               refuse(problem, "expected Content-Length in decimal digits");
    }
    if (is_name(name, name_length, "Transfer-Encoding")) {
        census->is_chunked = true;
        if (++census->codings > 1 || !is_name(value, value_length, "chunked")) {
            return refuse(problem, "expected Transfer-Encoding to be chunked, alone and once");
        }
    }
    return true;
}

bool header_check(struct header_census *census, const char *name, size_t name_length, const char *value,
                  size_t value_length, struct problem *problem) {
    if (!header_is_token(name, name_length)) {
        return refuse(problem, "expected a token as the name of each header field, found another character");
    }
    if (has_control_byte(value, value_length)) {
        return refuse(problem, "found a control character in a header field's value");
    }
    return check_known(census, name, name_length, value, value_length, problem);
}

bool header_check_end(const struct header_census *census, struct problem *problem) {
    if (census->is_chunked && census->lengths > 0) {
        return refuse(problem, "expected Content-Length or Transfer-Encoding, found both");
    }
    return true;
}

bool header_is_request_id(const char *text) {
    size_t length = text == NULL ? 0 : strlen(text);
    for (size_t i = 0; i < length; i++) {
        if (!is_alphanumeric(text[i]) && strchr("._-", text[i]) == NULL) {
            return false;
        }
    }
    return length >= 1 && length <= 128;
}

bool header_timeout_ms(const char *text, uint32_t *milliseconds) {
    uint64_t value;
    if (!read_length(text, strlen(text), &value) || value < 1 || value > 86400000) {
        return false;
    }
    *milliseconds = (uint32_t)value;
    return true;
}

static int hex_value(char c) {
    if (is_digit(c)) {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

size_t header_unescape(char *text) {
    char *to = text;
    for (const char *from = text; *from != '\0';) {
        int high = from[0] == '%' ? hex_value(from[1]) : -1;
        int low = high >= 0 ? hex_value(from[2]) : -1;
        if (low >= 0 && (high | low) != 0) {
            *to++ = (char)(high * 16 + low);
            from += 3;
        } else {
            *to++ = *from++;
        }
    }
    *to = '\0';
    return (size_t)(to - text);
}
