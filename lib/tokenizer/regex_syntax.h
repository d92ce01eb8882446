/** @file regex_syntax.h From Oniguruma's syntax to PCRE2's. */
#ifndef LIB_TOKENIZER_REGEX_SYNTAX_H
#define LIB_TOKENIZER_REGEX_SYNTAX_H

#include "lib/tokenizer/reader.h"

/**
 * Writes a pattern so that PCRE2 understands by it what Oniguruma's Ruby syntax does: \s and \w are the classes of
 * that library, \h is a hexadecimal digit. What cannot be said (intersections of classes, (?m), \W in a class) is
 * refused.
 */
attn_status attn_regex_translate(struct attn_reader *reader, const char *key, struct attn_string source,
                                 struct attn_string *pattern);

#endif
