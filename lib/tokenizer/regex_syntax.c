#include "lib/tokenizer/regex_syntax.h"

#include <string.h>

struct translation {
    struct attn_reader *reader;
    const char *key;
    struct attn_string source;
    size_t at; /* in source */
    char *out;
    size_t length;
    int class_depth; /* 1 in [...] */
};

/* What an escape becomes outside and within a class; NULL: it cannot be said. The word class is that of
 * Oniguruma 6.9: letters, marks, decimal digits, connectors, and six characters of Latin-1. */
#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"
static const struct escape {
    char letter;
    const char *outside, *within;
} escapes[] = {
    {'s', "\\p{White_Space}", "\\p{White_Space}"},
    {'S', "\\P{White_Space}", "\\P{White_Space}"},
    {'w', "[" WORD "]", WORD},
    {'W', "[^" WORD "]", NULL},
    {'h', "[0-9a-fA-F]", "0-9a-fA-F"},
    {'H', "[^0-9a-fA-F]", NULL},
};
enum { LONGEST_ESCAPE = 96 };

static void put(struct translation *translation, const char *bytes, size_t length) {
    memcpy(translation->out + translation->length, bytes, length);
    translation->length += length;
}

/* @return the length of "{…}" at bytes; 0 where there is none. */
static size_t braces(const char *bytes, size_t left) {
    const char *end = left > 0 && bytes[0] == '{' ? memchr(bytes, '}', left) : NULL;
    return end != NULL ? (size_t)(end - bytes) + 1 : 0;
}

static attn_status translate_escape(struct translation *translation) {
    const char *bytes = translation->source.bytes + translation->at;
    size_t left = translation->source.length - translation->at;
    if (left < 2)
        return attn_reader_fail(translation->reader, translation->key, "the pattern ends in a backslash");
    translation->at += 2;
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
        if (bytes[1] != escapes[i].letter)
            continue;
        const char *text = translation->class_depth > 0 ? escapes[i].within : escapes[i].outside;
        if (text == NULL)
            return attn_reader_fail(translation->reader, translation->key, "\\%c in a class is not taken", bytes[1]);
        put(translation, text, strlen(text));
        return ATTN_OK;
    }
    size_t length = 2 + (strchr("pPx", bytes[1]) != NULL ? braces(bytes + 2, left - 2) : 0);
    put(translation, bytes, length);
    translation->at += length - 2;
    return ATTN_OK;
}

/* [:alpha:] and the like within a class are PCRE2's too. @return their length, 0 where there is none. */
static size_t posix_class(const char *bytes, size_t left) {
    if (left < 4 || bytes[1] != ':')
        return 0;
    const char *end = memmem(bytes + 2, left - 2, ":]", 2);
    return end != NULL ? (size_t)(end - bytes) + 2 : 0;
}

static attn_status translate_in_class(struct translation *translation) {
    const char *bytes = translation->source.bytes + translation->at;
    size_t left = translation->source.length - translation->at;
    size_t posix = bytes[0] == '[' ? posix_class(bytes, left) : 0;
    if (posix == 0 && bytes[0] == '[')
        return attn_reader_fail(translation->reader, translation->key, "classes within classes are not taken");
    if (left > 1 && bytes[0] == '&' && bytes[1] == '&')
        return attn_reader_fail(translation->reader, translation->key, "intersections of classes are not taken");
    if (bytes[0] == ']')
        translation->class_depth = 0;
    put(translation, bytes, posix > 0 ? posix : 1);
    translation->at += posix > 0 ? posix : 1;
    return ATTN_OK;
}

/* Options such as (?m) mean other things there and here; (?i) is the same. */
static bool has_foreign_option(const char *bytes, size_t left) {
    if (left < 3 || bytes[1] != '?')
        return false;
    for (size_t i = 2; i < left && strchr("imxsnaUD-", bytes[i]) != NULL && bytes[i] != '\0'; i++) {
        if (bytes[i] != 'i' && bytes[i] != '-' && bytes[i] != 'x')
            return true;
    }
    return false;
}

static attn_status translate_outside(struct translation *translation) {
    const char *bytes = translation->source.bytes + translation->at;
    size_t left = translation->source.length - translation->at;
    if (bytes[0] == '(' && has_foreign_option(bytes, left))
        return attn_reader_fail(translation->reader, translation->key, "of the options (?…) only i and x are taken");
    size_t length = bytes[0] == '{' ? braces(bytes, left) : 1;
    if (length > 1 && left > length && bytes[length] == '+')
        return attn_reader_fail(translation->reader, translation->key, "a '+' behind {…} is not taken");
    if (length == 0)
        length = 1;
    if (bytes[0] == '[') {
        translation->class_depth = 1;
        if (left > 1 && bytes[1] == '^')
            length = 2;
        if (left > length && bytes[length] == ']') /* a bracket that stands first is one of the class */
            length++;
    }
    put(translation, bytes, length);
    translation->at += length;
    return ATTN_OK;
}

attn_status attn_regex_translate(struct attn_reader *reader, const char *key, struct attn_string source,
                                 struct attn_string *pattern) {
    struct translation translation = {.reader = reader, .key = key, .source = source};
    translation.out = attn_pool_take(reader->pool, source.length + 1, LONGEST_ESCAPE);
    if (translation.out == NULL)
        return attn_reader_no_memory(reader);
    attn_status status = ATTN_OK;
    while (status == ATTN_OK && translation.at < source.length) {
        if (source.bytes[translation.at] == '\\')
            status = translate_escape(&translation);
        else if (translation.class_depth > 0)
            status = translate_in_class(&translation);
        else
            status = translate_outside(&translation);
    }
    *pattern = (struct attn_string){translation.out, translation.length};
    return status;
}
