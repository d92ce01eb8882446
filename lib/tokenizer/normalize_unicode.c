/*
 * NFC, NFD, NFKC, NFKD: decompositions and classes from utf8proc; the walk is our own, for it must tell how many
 * characters each new one stands for. Unicode Standard Annex 15.
 */
#include "lib/tokenizer/normalizers.h"
#include "lib/tokenizer/unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* A character of the stretch at work. */
struct mark {
    uint32_t code_point, order; /* order: as they stood */
    int32_t change;             /* as in attn_transform_put */
    uint8_t class;              /* canonical combining class */
};

struct stretch {
    struct mark *marks;
    size_t count, capacity;
    struct attn_patience *patience;
};

enum { LONGEST_DECOMPOSITION = 32, STEPS_A_CHARACTER = 32 };

static bool push(struct stretch *stretch, uint32_t code_point, int32_t change) {
    if (stretch->count == stretch->capacity) {
        size_t capacity = stretch->capacity < 64 ? 64 : stretch->capacity * 2;
        struct mark *marks = realloc(stretch->marks, capacity * sizeof *marks);
        if (marks == NULL)
            return false;
        stretch->marks = marks;
        stretch->capacity = capacity;
    }
    uint8_t class = (uint8_t)utf8proc_get_property((utf8proc_int32_t)code_point)->combining_class;
    stretch->marks[stretch->count] = (struct mark){
        .code_point = code_point,
        .order = (uint32_t)stretch->count,
        .change = change,
        .class = class != 0 && attn_is_later(code_point) ? 0 : class,
    };
    stretch->count++;
    return true;
}

static bool decompose(struct stretch *stretch, uint32_t code_point, bool is_compatible) {
    utf8proc_int32_t parts[LONGEST_DECOMPOSITION];
    int boundary = 0;
    utf8proc_ssize_t count;
    parts[0] = (utf8proc_int32_t)code_point;
    utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (is_compatible ? UTF8PROC_COMPAT : 0);
    count = utf8proc_decompose_char(parts[0], parts, LONGEST_DECOMPOSITION, options, &boundary);
    bool is_changed = count != 1 || (uint32_t)parts[0] != code_point;
    if (count < 1 || count > LONGEST_DECOMPOSITION || (is_changed && attn_is_later(code_point))) {
        parts[0] = (utf8proc_int32_t)code_point;
        count = 1;
    }
    for (utf8proc_ssize_t i = 0; i < count; i++) {
        if (!push(stretch, (uint32_t)parts[i], i > 0))
            return false;
    }
    return true;
}

static int compare_marks(const void *left, const void *right) {
    const struct mark *a = left, *b = right;
    if (a->class != b->class)
        return a->class < b->class ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

/* Orders the marks between starters by their classes, equal ones as they stand. */
static void reorder(struct stretch *stretch) {
    struct mark *marks = stretch->marks;
    for (size_t begin = 0, end; begin < stretch->count; begin = end) {
        bool is_sorted = true;
        end = begin + 1;
        for (; marks[begin].class != 0 && end < stretch->count && marks[end].class != 0; end++)
            is_sorted = is_sorted && marks[end - 1].class <= marks[end].class;
        if (!is_sorted)
            qsort(marks + begin, end - begin, sizeof *marks, compare_marks);
    }
}

/* Whether a character of class 0 may join the one before: a vowel or final of Hangul, a mark. */
static bool may_join(const struct mark *mark) {
    return mark->class != 0 || (mark->code_point >= 0x1161 && mark->code_point <= 0x11c2) ||
           attn_is_combining_mark(mark->code_point);
}

/* @return the character that both make, 0 if they make none. */
static uint32_t join(uint32_t first, const struct mark *second) {
    if (!may_join(second) || attn_is_later(first) || attn_is_later(second->code_point))
        return 0;
    utf8proc_int32_t pair[3] = {(utf8proc_int32_t)first, (utf8proc_int32_t)second->code_point, 0};
    utf8proc_ssize_t count = utf8proc_normalize_utf32(pair, 2, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    return count == 1 && !attn_is_later((uint32_t)pair[0]) ? (uint32_t)pair[0] : 0;
}

/* Joins what can be joined, in place. @return false where nobody waits for it any more. */
static bool compose(struct stretch *stretch) {
    struct mark *marks = stretch->marks, *starter = NULL;
    size_t kept = 0;
    int last_class = -1; /* of the last mark that stayed behind the starter; -1: none did */
    for (size_t i = 0; i < stretch->count; i++) {
        if (!attn_patience_spend(stretch->patience, STEPS_A_CHARACTER))
            return false;
        struct mark mark = marks[i];
        bool is_free = last_class < 0 || last_class < mark.class;
        uint32_t joined = starter != NULL && is_free ? join(starter->code_point, &mark) : 0;
        if (joined != 0) {
            starter->code_point = joined;
            starter->change += mark.change - 1;
            continue;
        }
        marks[kept] = mark;
        if (mark.class == 0) {
            starter = &marks[kept];
            last_class = -1;
        } else if (starter != NULL) {
            last_class = mark.class;
        }
        kept++;
    }
    stretch->count = kept;
    return true;
}

static bool write(const struct stretch *stretch, struct attn_transform *transform) {
    for (size_t i = 0; i < stretch->count; i++) {
        if (!attn_transform_put(transform, stretch->marks[i].code_point, stretch->marks[i].change))
            return false;
    }
    return true;
}

/* ASCII does not change, and nothing before an ASCII character has to do with it. @return the end of the stretch. */
static size_t copy_ascii(struct attn_transform *transform, bool *has_memory) {
    const struct attn_slice *in = &transform->in;
    size_t begin = transform->at, end = begin;
    while (end < in->length && (unsigned char)in->bytes[end] < 0x80)
        end++;
    if (end > begin && end < in->length) /* a mark may join the last one */
        end--;
    struct attn_slice run = {.bytes = in->bytes + begin, .origins = in->origins + begin, .length = end - begin};
    *has_memory = attn_text_append(transform->out, &run);
    transform->at = end;
    while (end < in->length && (end == transform->at || (unsigned char)in->bytes[end] >= 0x80))
        end += attn_utf8_size(in->bytes[end]);
    return end;
}

static bool normalize(struct attn_normal *normal, bool is_compatible, bool is_composed, struct stretch *stretch) {
    struct attn_transform transform = {.in = attn_normal_slice(normal), .out = &normal->next};
    bool has_memory = true;
    while (has_memory && transform.at < transform.in.length) {
        size_t end = copy_ascii(&transform, &has_memory), size;
        stretch->count = 0;
        for (size_t at = transform.at; has_memory && at < end; at += size)
            has_memory = decompose(stretch, attn_utf8_read(transform.in.bytes + at, &size), is_compatible) &&
                         attn_patience_spend(stretch->patience, STEPS_A_CHARACTER);
        reorder(stretch);
        has_memory = has_memory && (!is_composed || compose(stretch));
        has_memory = has_memory && write(stretch, &transform);
        transform.at = end;
    }
    return has_memory;
}

static attn_status apply(struct attn_normal *normal, bool is_compatible, bool is_composed, struct attn_error *error) {
    struct stretch stretch = {.patience = normal->patience};
    bool has_memory = normalize(normal, is_compatible, is_composed, &stretch);
    free(stretch.marks);
    if (!has_memory)
        return attn_normal_no_memory(error);
    attn_normal_swap(normal);
    return ATTN_OK;
}

attn_status attn_nfc_apply(const void *data, struct attn_normal *normal, struct attn_error *error) {
    (void)data;
    return apply(normal, false, true, error);
}

attn_status attn_nfd_apply(const void *data, struct attn_normal *normal, struct attn_error *error) {
    (void)data;
    return apply(normal, false, false, error);
}

attn_status attn_nfkc_apply(const void *data, struct attn_normal *normal, struct attn_error *error) {
    (void)data;
    return apply(normal, true, true, error);
}

attn_status attn_nfkd_apply(const void *data, struct attn_normal *normal, struct attn_error *error) {
    (void)data;
    return apply(normal, true, false, error);
}
