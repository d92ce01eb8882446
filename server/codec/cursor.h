/**
 * @file cursor.h
 * Walks a tensor of any strides row by row, a piece at a time, so that it can be written into whatever room there is.
 */
#ifndef SERVER_CODEC_CURSOR_H
#define SERVER_CODEC_CURSOR_H

#include <attn/tensor.h>

/** The most elements that are gathered at once from a row whose elements do not lie side by side. */
#define CURSOR_GATHER 256

struct cursor {
    struct attn_view view;
    size_t index[ATTN_MAX_RANK]; /**< of the next element */
    size_t left;                 /**< elements */
};

/** Stands at the first element. */
void cursor_begin(struct cursor *cursor, const struct attn_view *view);
/** The same, taking a contiguous view for one long row. */
void cursor_begin_flat(struct cursor *cursor, const struct attn_view *view);
/** @return elements left in the present row. */
size_t cursor_row_left(const struct cursor *cursor);
/** @return on how many axes, from the last, the place is the first one; the rank at the very beginning. */
int cursor_axes_at_start(const struct cursor *cursor);
/**
 * Takes up to `most` elements of the present row.
 * @param gathered  room for CURSOR_GATHER elements of 8 bytes, used where they have to be gathered
 * @return the elements side by side, *count of them
 */
const void *cursor_take(struct cursor *cursor, size_t most, void *gathered, size_t *count);
/** Copies the next elements' bytes, across rows. @return how many elements; fewer than `most` only at the end. */
size_t cursor_copy(struct cursor *cursor, size_t most, unsigned char *to);

#endif
