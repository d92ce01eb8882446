#include "lib/tokenizer/regex_syntax.h"

#include "lib/tokenizer/parts.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <string.h>

struct translation {
    struct attn_reader *reader;
    const char *key;
    struct attn_string source;
    size_t at; /* in source */
    struct attn_tokens out;
    bool has_memory;
    int class_depth; /* 1 in [...] */
};

#include "lib/tokenizer/regex_classes.inc"

/* Oniguruma's words: letters, marks, decimal digits, connectors; outside classes six characters of Latin-1 too. */
#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}" MORE_w
#define OUTER_WORD WORD "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"

/* What an escape becomes outside and within a class; NULL: it cannot be said. */
static const struct escape {
    char letter;
    const char *outside, *within;
} escapes[] = {
    {'s', "\\p{White_Space}", "\\p{White_Space}"},
    {'S', "\\P{White_Space}", "\\P{White_Space}"},
    {'w', "[" OUTER_WORD "]", WORD},
    {'W', "[^" OUTER_WORD "]", NULL},
    {'b', "(?:(?<=[" OUTER_WORD "])(?![" OUTER_WORD "])|(?<![" OUTER_WORD "])(?=[" OUTER_WORD "]))", "\\b"},
    {'B', "(?:(?<=[" OUTER_WORD "])(?=[" OUTER_WORD "])|(?<![" OUTER_WORD "])(?![" OUTER_WORD "]))", NULL},
    {'h', "[0-9a-fA-F]", "0-9a-fA-F"},
    {'H', "[^0-9a-fA-F]", NULL},
};

/* Categories with the characters that newer versions of Unicode added. */
static const struct category {
    const char *name, *more;
} categories[] = {
    {"L", MORE_L},   {"Lu", MORE_Lu}, {"Ll", MORE_Ll}, {"Lt", MORE_Lt}, {"Lm", MORE_Lm}, {"Lo", MORE_Lo}, {"M", MORE_M},
    {"Mn", MORE_Mn}, {"Mc", MORE_Mc}, {"N", MORE_N},   {"Nd", MORE_Nd}, {"Nl", MORE_Nl}, {"No", MORE_No}, {"P", MORE_P},
    {"Po", MORE_Po}, {"S", MORE_S},   {"Sc", MORE_Sc}, {"Sm", MORE_Sm}, {"So", MORE_So},
};

static void put(struct translation *translation, const char *bytes, size_t length) {
    if (!attn_tokens_put(&translation->out, bytes, length))
        translation->has_memory = false;
}

static void put_text(struct translation *translation, const char *text) {
    put(translation, text, strlen(text));
}

/* @return the length of "{…}" at bytes; 0 where there is none. */
static size_t braces(const char *bytes, size_t left) {
    const char *end = left > 0 && bytes[0] == '{' ? memchr(bytes, '}', left) : NULL;
    return end != NULL ? (size_t)(end - bytes) + 1 : 0;
}

/* PCRE2 takes a script's name for all that is written in it; Oniguruma, for what is of that script alone. */
static bool is_script(const char *name, size_t length) {
    char pattern[64];
    int number;
    PCRE2_SIZE offset;
    snprintf(pattern, sizeof pattern, "\\p{sc:%.*s}", length < 40 ? (int)length : 0, name);
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF, &number, &offset, NULL);
    pcre2_code_free(code);
    return code != NULL;
}

static void put_property(struct translation *translation, bool is_negated, const char *name, size_t length) {
    const char *more = "";
    for (size_t i = 0; i < sizeof categories / sizeof *categories; i++) {
        if (strlen(categories[i].name) == length && memcmp(categories[i].name, name, length) == 0)
            more = categories[i].more;
    }
    bool is_class = *more != '\0' && translation->class_depth == 0;
    if (is_class)
        put_text(translation, is_negated ? "[^" : "[");
    put_text(translation, is_negated && !is_class ? "\\P{" : "\\p{");
    put_text(translation, length > 2 && is_script(name, length) ? "sc:" : "");
    put(translation, name, length);
    put_text(translation, "}");
    if (is_class || !is_negated) /* a negated category within a class stays as PCRE2 knows it */
        put_text(translation, more);
    put_text(translation, is_class ? "]" : "");
}

static bool is_hex_digit(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* \uHHHH, which PCRE2 writes in another way. */
static attn_status translate_code_point(struct translation *translation, const char *digits, size_t left) {
    size_t count = 0;
    while (count < 4 && count < left && is_hex_digit(digits[count]))
        count++;
    if (count < 4)
        return attn_reader_fail(translation->reader, translation->key, "four digits are needed behind \\u");
    put_text(translation, "\\x{");
    put(translation, digits, count);
    put_text(translation, "}");
    translation->at += count;
    return ATTN_OK;
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
        put_text(translation, text);
        return ATTN_OK;
    }
    if (bytes[1] == 'u')
        return translate_code_point(translation, bytes + 2, left - 2);
    size_t length = strchr("pPx", bytes[1]) != NULL ? braces(bytes + 2, left - 2) : 0;
    translation->at += length;
    if (length > 0 && bytes[1] != 'x')
        put_property(translation, bytes[1] == 'P', bytes + 3, length - 2);
    else
        put(translation, bytes, 2 + length);
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
    struct translation translation = {.reader = reader, .key = key, .source = source, .has_memory = true};
    attn_status status = ATTN_OK;
    while (status == ATTN_OK && translation.at < source.length) {
        if (source.bytes[translation.at] == '\\')
            status = translate_escape(&translation);
        else if (translation.class_depth > 0)
            status = translate_in_class(&translation);
        else
            status = translate_outside(&translation);
    }
    pattern->length = translation.out.length;
    pattern->bytes = attn_pool_copy(reader->pool, translation.out.bytes, translation.out.length);
    attn_tokens_reset(&translation.out);
    if (status == ATTN_OK && (!translation.has_memory || pattern->bytes == NULL))
        status = attn_reader_no_memory(reader);
    return status;
}
