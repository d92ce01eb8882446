/** @file regex.h Patterns in Oniguruma's syntax, as tokenizer.json holds them, matched by PCRE2. */
#ifndef LIB_TOKENIZER_REGEX_H
#define LIB_TOKENIZER_REGEX_H

#include "lib/tokenizer/pieces.h"
#include "lib/tokenizer/reader.h"

/** Text to be found as it is, or a regular expression. */
struct attn_pattern {
    struct attn_string literal; /**< bytes is NULL for a regular expression */
    struct attn_regex *regex;
};

/** Reads {"String": …} or {"Regex": …}. */
attn_status attn_read_pattern(struct attn_reader *reader, const json_t *object, const char *key,
                              struct attn_pattern *pattern);

/** What is to be found, and what is to stand in its place. */
struct attn_replacement {
    struct attn_pattern pattern;
    struct attn_string content;
};

/** An attn_part_reader: the members "pattern" and "content". @param data becomes a struct attn_replacement */
attn_status attn_replacement_read(struct attn_reader *reader, const json_t *object, void **data);

/** Compiles a regular expression; key is where it stands, for errors. */
attn_status attn_read_regex(struct attn_reader *reader, const char *key, struct attn_string source,
                            struct attn_pattern *pattern);

/** An attn_find_function; data is the pattern. ATTN_ELIMIT where the pattern takes too many steps. */
attn_status attn_pattern_find(const void *pattern, const char *text, size_t length, struct attn_matches *matches,
                              struct attn_error *error);

/** Frees what attn_pattern_find left in matches. */
void attn_matches_reset(struct attn_matches *matches);

#endif
