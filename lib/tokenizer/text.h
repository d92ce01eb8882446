/**
 * @file text.h A text under way: bytes, and for each byte the code points of the given text that it came from. The
 * rules by which places are handed on are those of the tokenizers package's NormalizedString.
 */
#ifndef LIB_TOKENIZER_TEXT_H
#define LIB_TOKENIZER_TEXT_H

#include "lib/tokenizer/patience.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Code points of the given text, from begin to before end. */
struct attn_origin {
    uint32_t begin, end;
};

/** Part of a text; owns nothing. */
struct attn_slice {
    const char *bytes;                 /**< UTF-8 */
    const struct attn_origin *origins; /**< one a byte */
    size_t length;
    uint32_t first; /**< where the slice begins in the given text, whatever is left of it */
};

/** Bytes of a text under way: normalisers that blow a text up come to an end there; and of one that is given. */
enum { ATTN_TEXT_LIMIT = 1 << 25, ATTN_LONGEST_INPUT = 1 << 23 };

/** A text that grows. Start from zeros; free with attn_text_reset. */
struct attn_text {
    char *bytes;
    struct attn_origin *origins;
    size_t length, capacity;
    size_t limit; /**< the longest it may become; 0: ATTN_TEXT_LIMIT */
    bool is_full; /**< more than that was to be written */
};

void attn_text_reset(struct attn_text *text);
/** Makes room for `more` bytes. @return false without memory. */
bool attn_text_reserve(struct attn_text *text, size_t more);
/** Appends a part as it is. @return false without memory. */
bool attn_text_append(struct attn_text *text, const struct attn_slice *slice);
/** Appends bytes that all come from `origin`. @return false without memory. */
bool attn_text_append_bytes(struct attn_text *text, const char *bytes, size_t length, struct attn_origin origin);

/**
 * What a normaliser works on: reads `text`, writes `next` (empty when it is called), and calls attn_normal_swap; or
 * changes `text` in place.
 */
struct attn_normal {
    struct attn_text text, next;
    uint32_t first;                 /**< as attn_slice.first */
    struct attn_patience *patience; /**< may be NULL */
};

/** `next` becomes `text`, and `next` is emptied. */
void attn_normal_swap(struct attn_normal *normal);
/** @return all of normal->text. */
struct attn_slice attn_normal_slice(const struct attn_normal *normal);

/**
 * Writes a text anew, character by character: `change` 0 replaces the next character of `in`, 1 adds one, which gets
 * the place of the byte before, and -k replaces one and leaves out the k behind it.
 */
struct attn_transform {
    struct attn_slice in;
    size_t at; /**< byte of `in` that is replaced next */
    struct attn_text *out;
};

/** Leaves out the first characters. */
void attn_transform_skip(struct attn_transform *transform, size_t characters);
/** @return false without memory. */
bool attn_transform_put(struct attn_transform *transform, uint32_t code_point, ptrdiff_t change);

#endif
