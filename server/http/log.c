#include "server/http/log.h"
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 4096

/** A line being put together; what does not fit is cut. */
struct line {
    size_t used;
    char text[LINE_BYTES];
};

static void put(struct line *line, const char *format, ...) ATTN_PRINTF(2, 3);
static void put(struct line *line, const char *format, ...) {
    va_list arguments;
    size_t room = sizeof line->text - line->used;
    va_start(arguments, format);
    int length = vsnprintf(line->text + line->used, room, format, arguments);
    va_end(arguments);
    if (length > 0) {
        line->used += (size_t)length < room ? (size_t)length : room - 1;
    }
}

/** The bytes of the UTF-8 character at text, or 0 where it is none (RFC 3629: nothing overlong, no surrogates). */
static size_t utf8_length(const char *text) {
    unsigned char first = (unsigned char)text[0], second = (unsigned char)(first == 0 ? 0 : text[1]);
    if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second >= 0xa0) || (first == 0xf0 && second < 0x90) ||
        (first == 0xf4 && second >= 0x90)) {
        return 0;
    }
    size_t length = first < 0x80 ? 1 : first >= 0xc2 && first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    if (first >= 0x80 && first < 0xc2) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if (((unsigned char)text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

size_t log_escape(char *to, size_t capacity, const char *text) {
    size_t used = 0;
    while (*text != '\0' && used + 8 < capacity) {
        size_t length = utf8_length(text);
        unsigned char byte = (unsigned char)*text;
        if (length == 0 || byte < 0x20 || byte == 0x7f) {
            used += (size_t)snprintf(to + used, capacity - used, length == 0 ? "\\ufffd" : "\\u%04x", byte);
            text++;
            continue;
        }
        if (byte == '"' || byte == '\\') {
            to[used++] = '\\';
        }
        memcpy(to + used, text, length);
        used += length;
        text += length;
    }
    to[used] = '\0';
    return used;
}

/* The request line is written for every request: digits by hand, since printf would cost more than the request. */

static void put_bytes(struct line *line, const char *bytes, size_t length) {
    size_t room = sizeof line->text - 1 - line->used;
    length = length < room ? length : room;
    memcpy(line->text + line->used, bytes, length);
    line->used += length;
}

/** A count in decimal, with zeros in front up to `width` digits. @return the length, at most 20 */
static size_t write_digits(char *to, uint64_t value, size_t width) {
    char digits[24];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0 || sizeof digits - at < width);
    memcpy(to, digits + at, sizeof digits - at);
    return sizeof digits - at;
}

static void put_digits(struct line *line, uint64_t value, size_t width) {
    char digits[24];
    size_t length = write_digits(digits, value, width);
    put_bytes(line, digits, length);
}

size_t log_ms(char *to, double ms) {
    uint64_t microseconds = ms > 0 && ms < 1e15 ? (uint64_t)(ms * 1e3 + 0.5) : 0;
    size_t used = write_digits(to, microseconds / 1000, 1);
    to[used++] = '.';
    return used + write_digits(to + used, microseconds % 1000, 3);
}

/** "2026-08-01T12:00:00." */
static void write_date(char to[24], time_t second) {
    struct tm utc;
    size_t used = 0;
    gmtime_r(&second, &utc);
    const struct {
        int value, width;
        char then;
    } parts[] = {{utc.tm_year + 1900, 4, '-'}, {utc.tm_mon + 1, 2, '-'}, {utc.tm_mday, 2, 'T'},
                 {utc.tm_hour, 2, ':'},        {utc.tm_min, 2, ':'},     {utc.tm_sec, 2, '.'}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts && used < 18; i++) {
        used += write_digits(to + used, (uint64_t)parts[i].value % 10000, (size_t)parts[i].width);
        to[used++] = parts[i].then;
    }
    to[used] = '\0';
}

/** @param buffer remembers the second that was written last; NULL: nobody does */
static void put_time(struct line *line, struct log_buffer *buffer) {
    struct timespec now;
    char own[24], *date = buffer == NULL ? own : buffer->date;
    clock_gettime(CLOCK_REALTIME, &now);
    if (buffer == NULL || buffer->second != now.tv_sec) {
        write_date(date, now.tv_sec);
    }
    if (buffer != NULL) {
        buffer->second = now.tv_sec;
    }
    put_bytes(line, date, strlen(date));
    put_digits(line, (uint64_t)now.tv_nsec / 1000000, 3);
    put_bytes(line, "Z", 1);
}

static void write_all(int fd, const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t written = write(fd, bytes, length);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return; /* a log that nobody takes must not stop the server */
        }
        bytes += written;
        length -= (size_t)written;
    }
}

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_line(const struct log *log, enum log_level level, const char *format, ...) {
    char message[1024], escaped[2048];
    struct line line = {0};
    va_list arguments;
    if (level < log->level) {
        return;
    }
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    log_escape(escaped, sizeof escaped, message);
    put(&line, log->format == LOG_JSON ? "{\"time\":\"" : "");
    put_time(&line, NULL);
    put(&line, log->format == LOG_JSON ? "\",\"level\":\"%s\",\"message\":\"%s\"}\n" : " %s %s\n", level_names[level],
        escaped);
    write_all(log->fd, line.text, line.used);
}

static void put_name(struct line *line, enum log_format format, const char *name) {
    put_bytes(line, format == LOG_JSON ? ",\"" : " ", format == LOG_JSON ? 2 : 1);
    put_bytes(line, name, strlen(name));
    put_bytes(line, format == LOG_JSON ? "\":" : "=", format == LOG_JSON ? 2 : 1);
}

static void put_text(struct line *line, enum log_format format, const char *name, const char *value) {
    char escaped[600];
    if (value == NULL || value[0] == '\0') {
        return;
    }
    put_name(line, format, name);
    put_bytes(line, "\"", 1);
    put_bytes(line, escaped, log_escape(escaped, sizeof escaped, value));
    put_bytes(line, "\"", 1);
}

static void put_ms(struct line *line, enum log_format format, const char *name, double value) {
    char text[LOG_MS_BYTES];
    put_name(line, format, name);
    size_t length = log_ms(text, value);
    put_bytes(line, text, length);
}

static void put_count(struct line *line, enum log_format format, const char *name, uint64_t value) {
    put_name(line, format, name);
    put_digits(line, value, 1);
}

static void put_request(struct line *line, enum log_format format, const struct log_request *request) {
    const struct {
        const char *name, *value;
    } texts[] = {{"id", request->id},        {"method", request->method},   {"path", request->path},
                 {"route", request->route},  {"model", request->model},     {"client", request->client},
                 {"key", request->key_name}, {"problem", request->problem}, {"traceparent", request->traceparent}};
    const struct {
        const char *name;
        double value;
    } phases[] = {{"read_ms", request->timings.read_ms},     {"queue_ms", request->timings.queue_ms},
                  {"decode_ms", request->timings.decode_ms}, {"compute_ms", request->timings.compute_ms},
                  {"encode_ms", request->timings.encode_ms}, {"total_ms", request->total_ms}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        put_text(line, format, texts[i].name, texts[i].value);
    }
    put_count(line, format, "status", (uint64_t)request->status);
    put_count(line, format, "bytes_in", request->bytes_in);
    put_count(line, format, "bytes_out", request->bytes_out);
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++) {
        put_ms(line, format, phases[i].name, phases[i].value);
    }
    if (request->is_cut) {
        put(line, format == LOG_JSON ? ",\"cut\":true" : " cut");
    }
}

void log_request(const struct log *log, struct log_buffer *buffer, const struct log_request *request) {
    struct line line;
    if (log->level > LOG_INFO) {
        return;
    }
    line.used = 0;
    put(&line, log->format == LOG_JSON ? "{\"time\":\"" : "");
    put_time(&line, buffer);
    put(&line, log->format == LOG_JSON ? "\",\"level\":\"info\",\"message\":\"request\"" : " info request");
    put_request(&line, log->format, request);
    line.used = line.used < sizeof line.text - 3 ? line.used : sizeof line.text - 3;
    line.used += (size_t)snprintf(line.text + line.used, 3, log->format == LOG_JSON ? "}\n" : "\n");
    if (line.used > sizeof buffer->bytes - buffer->used) {
        log_flush(log, buffer);
    }
    memcpy(buffer->bytes + buffer->used, line.text, line.used);
    buffer->used += line.used;
}

/** @return the length of the whole lines at the start that one write puts into a pipe without another's between them */
static size_t whole_lines(const char *bytes, size_t length) {
    const char *end = memrchr(bytes, '\n', length < PIPE_BUF ? length : PIPE_BUF);
    return length <= PIPE_BUF || end == NULL ? length : (size_t)(end + 1 - bytes);
}

void log_flush(const struct log *log, struct log_buffer *buffer) {
    for (size_t at = 0, length; at < buffer->used; at += length) {
        length = whole_lines(buffer->bytes + at, buffer->used - at);
        write_all(log->fd, buffer->bytes + at, length);
    }
    buffer->used = 0;
}
