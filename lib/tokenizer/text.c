#include "lib/tokenizer/text.h"

#include "lib/tokenizer/unicode.h"

#include <stdlib.h>
#include <string.h>

void attn_text_reset(struct attn_text *text) {
    free(text->bytes);
    free(text->origins);
    *text = (struct attn_text){0};
}

/* Kept out of line: the check before it is in every loop. */
static __attribute__((noinline)) bool grow(struct attn_text *text, size_t more) {
    size_t wanted;
    size_t limit = text->limit > 0 ? text->limit : ATTN_TEXT_LIMIT;
    text->is_full = __builtin_add_overflow(text->length, more, &wanted) || wanted > limit;
    if (text->is_full)
        return false;
    size_t capacity = text->capacity < 256 ? 256 : text->capacity;
    while (capacity < wanted)
        capacity *= 2;
    char *bytes = realloc(text->bytes, capacity);
    if (bytes == NULL)
        return false;
    text->bytes = bytes;
    struct attn_origin *origins = realloc(text->origins, capacity * sizeof *origins);
    if (origins == NULL)
        return false;
    text->origins = origins;
    text->capacity = capacity;
    return true;
}

bool attn_text_reserve(struct attn_text *text, size_t more) {
    return more <= text->capacity - text->length || grow(text, more);
}

bool attn_text_append(struct attn_text *text, const struct attn_slice *slice) {
    if (slice->length == 0)
        return true;
    if (!attn_text_reserve(text, slice->length))
        return false;
    memcpy(text->bytes + text->length, slice->bytes, slice->length);
    memcpy(text->origins + text->length, slice->origins, slice->length * sizeof *slice->origins);
    text->length += slice->length;
    return true;
}

bool attn_text_append_bytes(struct attn_text *text, const char *bytes, size_t length, struct attn_origin origin) {
    if (!attn_text_reserve(text, length))
        return false;
    for (size_t i = 0; i < length; i++) {
        text->bytes[text->length + i] = bytes[i];
        text->origins[text->length + i] = origin;
    }
    text->length += length;
    return true;
}

void attn_normal_swap(struct attn_normal *normal) {
    struct attn_text text = normal->text;
    normal->text = normal->next;
    normal->next = text;
    normal->next.length = 0;
}

struct attn_slice attn_normal_slice(const struct attn_normal *normal) {
    return (struct attn_slice){
        .bytes = normal->text.bytes,
        .origins = normal->text.origins,
        .length = normal->text.length,
        .first = normal->first,
    };
}

/* Steps over a character that is replaced or left out, if one is left. */
static void step(struct attn_transform *transform) {
    if (transform->at < transform->in.length)
        transform->at += attn_utf8_size(transform->in.bytes[transform->at]);
}

void attn_transform_skip(struct attn_transform *transform, size_t characters) {
    while (characters-- > 0)
        step(transform);
}

bool attn_transform_put(struct attn_transform *transform, uint32_t code_point, ptrdiff_t change) {
    const struct attn_slice *in = &transform->in;
    size_t source = transform->at;
    if (change > 0 || source >= in->length)
        source--;
    struct attn_origin origin = {in->first, in->first};
    if (source < in->length) /* not where something is added before the first byte */
        origin = in->origins[source];
    if (change <= 0)
        attn_transform_skip(transform, 1 + (size_t)-change);
    char bytes[4];
    return attn_text_append_bytes(transform->out, bytes, attn_utf8_write(bytes, code_point), origin);
}
