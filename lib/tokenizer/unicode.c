#include "lib/tokenizer/unicode.h"

struct range {
    uint32_t first, last;
};

/* Every step-th character from first to last has its lower case at `difference`. */
struct case_run {
    uint32_t first, last;
    int32_t step, difference;
};

#include "lib/tokenizer/unicode_tables.inc"

size_t attn_utf8_write(char *text, uint32_t code_point) {
    if (code_point < 0x80) {
        text[0] = (char)code_point;
        return 1;
    }
    if (code_point < 0x800) {
        text[0] = (char)(0xc0 | code_point >> 6);
        text[1] = (char)(0x80 | (code_point & 0x3f));
        return 2;
    }
    if (code_point < 0x10000) {
        text[0] = (char)(0xe0 | code_point >> 12);
        text[1] = (char)(0x80 | (code_point >> 6 & 0x3f));
        text[2] = (char)(0x80 | (code_point & 0x3f));
        return 3;
    }
    text[0] = (char)(0xf0 | code_point >> 18);
    text[1] = (char)(0x80 | (code_point >> 12 & 0x3f));
    text[2] = (char)(0x80 | (code_point >> 6 & 0x3f));
    text[3] = (char)(0x80 | (code_point & 0x3f));
    return 4;
}

/*
 * Walks over the character at text as far as it is well-formed; Unicode 15, table 3-7.
 * @return the bytes walked over; *is_whole tells whether they are a character
 */
static size_t walk_character(const unsigned char *text, size_t length, bool *is_whole) {
    unsigned char first = text[0], low = 0x80, high = 0xbf;
    size_t size = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    if (first == 0xe0)
        low = 0xa0;
    if (first == 0xed)
        high = 0x9f;
    if (first == 0xf0)
        low = 0x90;
    if (first == 0xf4)
        high = 0x8f;
    size_t at = 1;
    while (at < size && at < length && text[at] >= low && text[at] <= high) {
        low = 0x80;
        high = 0xbf;
        at++;
    }
    *is_whole = at == size;
    return at;
}

size_t attn_utf8_bad_size(const char *text, size_t length) {
    bool is_whole;
    return walk_character((const unsigned char *)text, length, &is_whole);
}

size_t attn_utf8_valid(const char *text, size_t length) {
    bool is_whole = true;
    for (size_t at = 0; at < length;) {
        size_t size = walk_character((const unsigned char *)text + at, length - at, &is_whole);
        if (!is_whole)
            return at;
        at += size;
    }
    return length;
}

size_t attn_utf8_size_before(const char *text, size_t at) {
    size_t size = 1;
    while (size < at && ((unsigned char)text[at - size] & 0xc0) == 0x80)
        size++;
    return size;
}

static bool is_in(const struct range *ranges, size_t count, uint32_t code_point) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (code_point > ranges[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && code_point >= ranges[low].first;
}

#define IS_IN(table, code_point) is_in(table, sizeof(table) / sizeof *(table), code_point)

bool attn_is_whitespace(uint32_t code_point) {
    if (code_point < 0x1680)
        return code_point == ' ' || (code_point >= '\t' && code_point <= '\r') || code_point == 0x85 ||
               code_point == 0xa0;
    return code_point == 0x1680 || (code_point >= 0x2000 && code_point <= 0x200a) || code_point == 0x2028 ||
           code_point == 0x2029 || code_point == 0x202f || code_point == 0x205f || code_point == 0x3000;
}

bool attn_is_punctuation(uint32_t code_point) {
    if (code_point < 0x80)
        return code_point > ' ' && code_point < 0x7f &&
               !((code_point >= '0' && code_point <= '9') ||
                 ((code_point | 0x20) >= 'a' && (code_point | 0x20) <= 'z'));
    return IS_IN(punctuation, code_point);
}

bool attn_is_word(uint32_t code_point) {
    if (code_point < 0x80)
        return (code_point >= '0' && code_point <= '9') || code_point == '_' ||
               ((code_point | 0x20) >= 'a' && (code_point | 0x20) <= 'z');
    return IS_IN(word, code_point);
}

bool attn_is_numeric(uint32_t code_point) {
    if (code_point < 0x80)
        return code_point >= '0' && code_point <= '9';
    return IS_IN(numeric, code_point);
}

bool attn_is_other(uint32_t code_point) {
    return IS_IN(other, code_point);
}

bool attn_is_nonspacing_mark(uint32_t code_point) {
    return code_point >= nonspacing_mark[0].first && IS_IN(nonspacing_mark, code_point);
}

bool attn_is_combining_mark(uint32_t code_point) {
    return code_point >= combining_mark[0].first && IS_IN(combining_mark, code_point);
}

bool attn_is_regex_letter(uint32_t code_point) {
    if (code_point < 0x80)
        return (code_point | 0x20) >= 'a' && (code_point | 0x20) <= 'z';
    return IS_IN(regex_letter, code_point);
}

bool attn_is_regex_number(uint32_t code_point) {
    if (code_point < 0x80)
        return code_point >= '0' && code_point <= '9';
    return IS_IN(regex_number, code_point);
}

bool attn_is_later(uint32_t code_point) {
    return code_point >= later[0].first && IS_IN(later, code_point);
}

size_t attn_lowercase(uint32_t code_point, uint32_t lower[2]) {
    lower[0] = code_point;
    if (code_point < 0x80) {
        if (code_point >= 'A' && code_point <= 'Z')
            lower[0] += 'a' - 'A';
        return 1;
    }
    if (code_point == 0x130) { /* the only one that becomes two: i and a dot above */
        lower[0] = 'i';
        lower[1] = 0x307;
        return 2;
    }
    size_t low = 0, high = sizeof case_runs / sizeof *case_runs;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (code_point > case_runs[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < sizeof case_runs / sizeof *case_runs && code_point >= case_runs[low].first &&
        (code_point - case_runs[low].first) % (uint32_t)case_runs[low].step == 0)
        lower[0] = (uint32_t)((int32_t)code_point + case_runs[low].difference);
    return 1;
}
