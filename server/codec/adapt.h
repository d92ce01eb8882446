/** @file adapt.h From the dtype in which a tensor came to the one that its field wants. */
#ifndef SERVER_CODEC_ADAPT_H
#define SERVER_CODEC_ADAPT_H

#include "server/codec/document.h"

enum adapt_status {
    ADAPT_OK,
    ADAPT_NO_MEMORY,
    ADAPT_DTYPE,    /**< the field does not take this dtype */
    ADAPT_OVERFLOW, /**< a finite value too large for the request's dtype */
    ADAPT_FRACTION  /**< not an integer, or beyond int64 */
};

/**
 * Makes the view's data what the field's kind wants: floating of `floating`, int64, or a mask. Where it is that
 * already, and aligned, the view stays as it is; else it becomes one of a converted copy in the arena.
 * @param view   contiguous
 * @param index  receives the element at fault (ADAPT_OVERFLOW, ADAPT_FRACTION)
 */
enum adapt_status adapt_view(struct arena *arena, enum field_kind kind, attn_dtype floating, struct attn_view *view,
                             size_t *index);

/** @return whether a field of the kind takes the dtype. */
bool adapt_takes(enum field_kind kind, attn_dtype dtype);
/** @return which dtypes a kind takes, for an error. */
const char *adapt_dtypes(enum field_kind kind);

#endif
