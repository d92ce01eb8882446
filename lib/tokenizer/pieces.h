/** @file pieces.h A text cut into pieces, which pre-tokenisers cut further and rewrite. */
#ifndef LIB_TOKENIZER_PIECES_H
#define LIB_TOKENIZER_PIECES_H

#include "lib/tokenizer/text.h"

#include <attn/status.h>

/** Of pieces.text. */
struct attn_piece {
    size_t begin, end;
    uint32_t first; /**< as attn_slice.first */
    int32_t added;  /**< the id where this is an added token, which nothing touches any more; else -1 */
};

struct attn_piece_list {
    struct attn_piece *entries;
    size_t count, capacity;
};

/** Part of a piece, in bytes from its begin. */
struct attn_match {
    size_t begin, end;
    bool is_match;
};

/** Matches in one piece, in order, with what lies between them. */
struct attn_matches {
    struct attn_match *entries;
    size_t count, capacity;
    void *match_data; /**< PCRE2's, made by the first regex that needs it; as is the next */
    void *match_context;
    struct attn_patience *patience; /**< may be NULL */
};

/** Start from zeros; free with attn_pieces_reset. */
struct attn_pieces {
    struct attn_text text, next;
    struct attn_piece_list list, next_list;
    struct attn_matches matches, joined;
};

/** What becomes of matches. */
enum attn_split_behavior {
    ATTN_SPLIT_REMOVED,
    ATTN_SPLIT_ISOLATED,
    ATTN_SPLIT_MERGED_WITH_PREVIOUS,
    ATTN_SPLIT_MERGED_WITH_NEXT,
    ATTN_SPLIT_CONTIGUOUS
};

/** Names in tokenizer.json, in the order of attn_split_behavior. */
extern const char *const attn_split_behavior_names[5];

void attn_pieces_reset(struct attn_pieces *pieces);
/** @return the piece as a slice of pieces->text. */
struct attn_slice attn_pieces_slice(const struct attn_pieces *pieces, const struct attn_piece *piece);
/** @return false without memory. Empty pieces are left out. */
bool attn_piece_push(struct attn_piece_list *list, const struct attn_piece *piece);

/** Appends a match; the stretch before it, as none, first. @return false without memory. */
bool attn_matches_push(struct attn_matches *matches, size_t begin, size_t end);

/** Finds all matches in `text` and pushes them with attn_matches_push. */
typedef attn_status (*attn_find_function)(const void *data, const char *text, size_t length,
                                          struct attn_matches *matches, struct attn_error *error);

/** Cuts every piece that is no added token at its matches. */
attn_status attn_pieces_split(struct attn_pieces *pieces, attn_find_function find, const void *data,
                              enum attn_split_behavior behavior, bool invert, struct attn_error *error);

/** Cuts at single characters. */
attn_status attn_pieces_split_at(struct attn_pieces *pieces, bool (*is_delimiter)(uint32_t code_point),
                                 enum attn_split_behavior behavior, struct attn_error *error);

/** next and next_list, once they are written, become text and list. */
void attn_pieces_swap(struct attn_pieces *pieces);

/** Appends the piece, rewritten, to `out`. @return false without memory. */
typedef bool (*attn_rewrite_function)(const void *data, const struct attn_slice *piece, struct attn_text *out);

/** Rewrites every piece that is no added token. */
attn_status attn_pieces_rewrite(struct attn_pieces *pieces, attn_rewrite_function rewrite, const void *data,
                                struct attn_error *error);

#endif
