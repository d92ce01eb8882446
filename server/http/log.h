/**
 * @file log.h
 * The log on standard error: one line a request and lines of the server's own, as JSON or text. Any thread; lines are
 * written whole.
 */
#ifndef SERVER_HTTP_LOG_H
#define SERVER_HTTP_LOG_H

#include "server/config/config.h"
#include "server/http/exchange.h"

struct log {
    enum log_format format;
    enum log_level level;
    int fd;
};

/** Writes one line of the server's own. */
void log_line(const struct log *log, enum log_level level, const char *format, ...) ATTN_PRINTF(3, 4);

/** What is logged of a request; NULL texts are left out. */
struct log_request {
    const char *id, *method, *path, *route, *model, *client, *key_name, *traceparent, *problem;
    int status;
    bool is_cut; /**< the connection ended before the whole answer had gone */
    uint64_t bytes_in, bytes_out;
    struct exchange_timings timings;
    double total_ms;
};

/** Lines that wait to be written together; one owner. */
struct log_buffer {
    size_t used;
    int64_t second; /* that `date` is of */
    char date[24];
    char bytes[16 << 10];
};
void log_request(const struct log *log, struct log_buffer *buffer, const struct log_request *request);
void log_flush(const struct log *log, struct log_buffer *buffer);

/** Bytes that log_ms writes at most. */
#define LOG_MS_BYTES 24
/** Writes milliseconds with three places, in a tenth of printf's time; no NUL. @return the length */
size_t log_ms(char *to, double ms);

/** Writes text as the inside of a JSON string, cut where it is full. @return the length. */
size_t log_escape(char *to, size_t capacity, const char *text);

#endif
