/** @file reader.h Members of JSON objects, checked; every complaint names the file and the path. */
#ifndef LIB_TOKENIZER_READER_H
#define LIB_TOKENIZER_READER_H

#include "lib/tokenizer/pool.h"

#include <attn/status.h>
#include <jansson.h>
#include <stdint.h>

/** Sequences in sequences, at most. */
enum { ATTN_READER_DEPTH = 16 };

struct attn_reader {
    struct attn_pool *pool;           /**< the tokenizer's: what readers keep lives there */
    struct attn_tokenizer *tokenizer; /**< readers may set its flags */
    struct attn_error *error;         /**< may be NULL */
    int depth;                        /**< of attn_reader_enter */
    bool has_exact_numbers;           /**< the document was not read from JSON, but made */
    char path[sizeof((struct attn_error *)0)->field];
};

/** Whether a member may be missing. */
enum attn_presence {
    ATTN_REQUIRED,
    ATTN_OPTIONAL /**< missing or null leaves the output alone */
};

/** Fails with ATTN_EFORMAT at the path, and `key` below it where it is not NULL. */
attn_status attn_reader_fail(struct attn_reader *reader, const char *key, const char *format, ...) ATTN_PRINTF(3, 4);

/** Fails with ATTN_ENOMEM. */
attn_status attn_reader_no_memory(struct attn_reader *reader);

/** Goes one step down. @return the length to hand to attn_reader_leave. */
size_t attn_reader_enter(struct attn_reader *reader, const char *key);
/** As attn_reader_enter, for an entry of an array. */
size_t attn_reader_enter_index(struct attn_reader *reader, size_t index);
void attn_reader_leave(struct attn_reader *reader, size_t length);

/** Members of `object`, which is any value. Texts are copied into the pool, a NUL behind them. */
attn_status attn_read_bool(struct attn_reader *reader, const json_t *object, const char *key,
                           enum attn_presence presence, bool *value);
attn_status attn_read_string(struct attn_reader *reader, const json_t *object, const char *key,
                             enum attn_presence presence, struct attn_string *value);
/** A whole number from 0 to `largest`. */
attn_status attn_read_size(struct attn_reader *reader, const json_t *object, const char *key,
                           enum attn_presence presence, size_t largest, size_t *value);
/** A text of one character. */
attn_status attn_read_char(struct attn_reader *reader, const json_t *object, const char *key,
                           enum attn_presence presence, uint32_t *code_point);
/** An array. @param array NULL where it is missing or null and may be */
attn_status attn_read_array(struct attn_reader *reader, const json_t *object, const char *key,
                            enum attn_presence presence, const json_t **array);
/** One of `count` names. */
attn_status attn_read_choice(struct attn_reader *reader, const json_t *object, const char *key,
                             enum attn_presence presence, const char *const *names, size_t count, size_t *choice);

/** The rows of a table of kinds: every kind begins with its name. */
struct attn_kinds {
    const char *what; /**< "normalizer" … for messages */
    const void *rows;
    size_t count, size;
    const char *parts; /**< the member of a kind "Sequence" that has its parts */
};

/** Finds the row that the member "type" names. */
attn_status attn_read_kind(struct attn_reader *reader, const json_t *object, const struct attn_kinds *kinds,
                           const void **row);

/** Reads `object` (already known to be an object) into the pool; *data stays NULL where there is nothing to keep. */
typedef attn_status (*attn_part_reader)(struct attn_reader *reader, const json_t *object, void **data);

/** A part of any table: its row, and what the row's reader has kept. */
struct attn_part {
    const void *kind;
    void *data;
};

/** Parts that do their work one after the other. */
struct attn_sequence {
    struct attn_part *parts;
    size_t count;
};

/** Reads a part by its row. Every kind of the table begins with its name and an attn_part_reader, NULL: no settings. */
attn_status attn_read_part(struct attn_reader *reader, const json_t *json, const struct attn_kinds *kinds,
                           struct attn_part *part);

/** Reads the parts of a kind "Sequence". @param data becomes a struct attn_sequence */
attn_status attn_read_sequence(struct attn_reader *reader, const json_t *object, const struct attn_kinds *kinds,
                               void **data);

#endif
