#include "lib/tokenizer/pieces.h"

#include "lib/tensor/error.h"
#include "lib/tokenizer/regex.h"
#include "lib/tokenizer/unicode.h"

#include <stdlib.h>

const char *const attn_split_behavior_names[5] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext",
                                                  "Contiguous"};

void attn_pieces_reset(struct attn_pieces *pieces) {
    attn_text_reset(&pieces->text);
    attn_text_reset(&pieces->next);
    free(pieces->list.entries);
    free(pieces->next_list.entries);
    attn_matches_reset(&pieces->matches);
    attn_matches_reset(&pieces->joined);
    *pieces = (struct attn_pieces){0};
}

struct attn_slice attn_pieces_slice(const struct attn_pieces *pieces, const struct attn_piece *piece) {
    return (struct attn_slice){
        .bytes = pieces->text.bytes + piece->begin,
        .origins = pieces->text.origins + piece->begin,
        .length = piece->end - piece->begin,
        .first = piece->first,
    };
}

/* Grows an array to twice its size. */
static void *grow(void *entries, size_t *capacity, size_t size) {
    size_t wanted = *capacity < 64 ? 64 : *capacity * 2;
    if (wanted > SIZE_MAX / 2 / size)
        return NULL;
    void *grown = realloc(entries, wanted * size);
    if (grown != NULL)
        *capacity = wanted;
    return grown;
}

bool attn_piece_push(struct attn_piece_list *list, const struct attn_piece *piece) {
    if (piece->begin == piece->end)
        return true;
    if (list->count == list->capacity) {
        void *grown = grow(list->entries, &list->capacity, sizeof *list->entries);
        if (grown == NULL)
            return false;
        list->entries = grown;
    }
    list->entries[list->count++] = *piece;
    return true;
}

static bool push(struct attn_matches *matches, struct attn_match match) {
    if (matches->count == matches->capacity) {
        void *grown = grow(matches->entries, &matches->capacity, sizeof *matches->entries);
        if (grown == NULL)
            return false;
        matches->entries = grown;
    }
    matches->entries[matches->count++] = match;
    return true;
}

static size_t last_end(const struct attn_matches *matches) {
    return matches->count > 0 ? matches->entries[matches->count - 1].end : 0;
}

bool attn_matches_push(struct attn_matches *matches, size_t begin, size_t end) {
    size_t previous = last_end(matches);
    if (previous != begin && !push(matches, (struct attn_match){previous, begin, false}))
        return false;
    return push(matches, (struct attn_match){begin, end, true});
}

/* Joins a stretch to the one before it, or begins a new one. */
static bool join(struct attn_matches *joined, const struct attn_match *match, bool is_joined) {
    if (is_joined && joined->count > 0) {
        joined->entries[joined->count - 1].end = match->end;
        return true;
    }
    return push(joined, (struct attn_match){match->begin, match->end, false});
}

static bool join_contiguous(struct attn_matches *matches, struct attn_matches *joined) {
    bool previous = false, has_memory = true;
    for (size_t i = 0; has_memory && i < matches->count; i++) {
        const struct attn_match *match = &matches->entries[i];
        has_memory = join(joined, match, match->is_match == previous);
        previous = match->is_match;
    }
    return has_memory;
}

static bool join_to_previous(struct attn_matches *matches, struct attn_matches *joined) {
    bool previous = false, has_memory = true;
    for (size_t i = 0; has_memory && i < matches->count; i++) {
        const struct attn_match *match = &matches->entries[i];
        has_memory = join(joined, match, match->is_match && !previous);
        previous = match->is_match;
    }
    return has_memory;
}

/* A match joins what follows unless that is a match too; seen from the end, as the package does it. */
static bool join_to_next(struct attn_matches *matches, struct attn_matches *joined) {
    for (size_t i = 0; i < matches->count; i++) {
        const struct attn_match *match = &matches->entries[i];
        bool is_joined = i > 0 && matches->entries[i - 1].is_match && !match->is_match;
        if (!join(joined, match, is_joined))
            return false;
    }
    return true;
}

/* @return the stretches to keep: those that are no match. */
static const struct attn_matches *behave(struct attn_pieces *pieces, enum attn_split_behavior behavior) {
    struct attn_matches *matches = &pieces->matches, *joined = &pieces->joined;
    joined->count = 0;
    switch (behavior) {
    case ATTN_SPLIT_REMOVED:
        return matches;
    case ATTN_SPLIT_ISOLATED:
        for (size_t i = 0; i < matches->count; i++)
            matches->entries[i].is_match = false;
        return matches;
    case ATTN_SPLIT_MERGED_WITH_PREVIOUS:
        return join_to_previous(matches, joined) ? joined : NULL;
    case ATTN_SPLIT_MERGED_WITH_NEXT:
        return join_to_next(matches, joined) ? joined : NULL;
    case ATTN_SPLIT_CONTIGUOUS:
        return join_contiguous(matches, joined) ? joined : NULL;
    }
    return NULL;
}

/* Pushes the stretches of one piece. */
static bool push_stretches(struct attn_pieces *pieces, const struct attn_piece *piece,
                           const struct attn_matches *stretches) {
    for (size_t i = 0; i < stretches->count; i++) {
        const struct attn_match *stretch = &stretches->entries[i];
        if (stretch->is_match)
            continue;
        struct attn_piece part = {
            .begin = piece->begin + stretch->begin, .end = piece->begin + stretch->end, .added = -1};
        if (part.begin < part.end)
            part.first = pieces->text.origins[part.begin].begin;
        if (!attn_piece_push(&pieces->next_list, &part))
            return false;
    }
    return true;
}

static void swap_lists(struct attn_pieces *pieces) {
    struct attn_piece_list list = pieces->list;
    pieces->list = pieces->next_list;
    pieces->next_list = list;
}

static attn_status split_piece(struct attn_pieces *pieces, const struct attn_piece *piece, attn_find_function find,
                               const void *data, enum attn_split_behavior behavior, bool invert,
                               struct attn_error *error) {
    struct attn_matches *matches = &pieces->matches;
    struct attn_slice slice = attn_pieces_slice(pieces, piece);
    matches->count = 0;
    attn_status status = find(data, slice.bytes, slice.length, matches, error);
    if (status != ATTN_OK)
        return status;
    bool has_memory =
        last_end(matches) == slice.length || push(matches, (struct attn_match){last_end(matches), slice.length, false});
    for (size_t i = 0; invert && i < matches->count; i++)
        matches->entries[i].is_match = !matches->entries[i].is_match;
    const struct attn_matches *stretches = has_memory ? behave(pieces, behavior) : NULL;
    if (stretches == NULL || !push_stretches(pieces, piece, stretches))
        return attn_fail(error, ATTN_ENOMEM, "text", "no memory for the pieces of the text");
    return ATTN_OK;
}

attn_status attn_pieces_split(struct attn_pieces *pieces, attn_find_function find, const void *data,
                              enum attn_split_behavior behavior, bool invert, struct attn_error *error) {
    pieces->next_list.count = 0;
    for (size_t i = 0; i < pieces->list.count; i++) {
        const struct attn_piece *piece = &pieces->list.entries[i];
        attn_status status = ATTN_OK;
        if (piece->added < 0)
            status = split_piece(pieces, piece, find, data, behavior, invert, error);
        else if (!attn_piece_push(&pieces->next_list, piece))
            status = attn_fail(error, ATTN_ENOMEM, "text", "no memory for the pieces of the text");
        if (status != ATTN_OK)
            return status;
    }
    swap_lists(pieces);
    return ATTN_OK;
}

struct delimiter {
    bool (*is_delimiter)(uint32_t code_point);
};

static attn_status find_delimiters(const void *data, const char *text, size_t length, struct attn_matches *matches,
                                   struct attn_error *error) {
    const struct delimiter *delimiter = data;
    size_t size;
    for (size_t at = 0; at < length; at += size) {
        if (delimiter->is_delimiter(attn_utf8_read(text + at, &size)) && !attn_matches_push(matches, at, at + size))
            return attn_fail(error, ATTN_ENOMEM, "text", "no memory for the pieces of the text");
    }
    return ATTN_OK;
}

attn_status attn_pieces_split_at(struct attn_pieces *pieces, bool (*is_delimiter)(uint32_t code_point),
                                 enum attn_split_behavior behavior, struct attn_error *error) {
    struct delimiter delimiter = {is_delimiter};
    return attn_pieces_split(pieces, find_delimiters, &delimiter, behavior, false, error);
}

void attn_pieces_swap(struct attn_pieces *pieces) {
    struct attn_text text = pieces->text;
    pieces->text = pieces->next;
    pieces->next = text;
    swap_lists(pieces);
}

attn_status attn_pieces_rewrite(struct attn_pieces *pieces, attn_rewrite_function rewrite, const void *data,
                                struct attn_error *error) {
    pieces->next.length = 0;
    pieces->next_list.count = 0;
    for (size_t i = 0; i < pieces->list.count; i++) {
        struct attn_piece piece = pieces->list.entries[i];
        struct attn_slice slice = attn_pieces_slice(pieces, &piece);
        piece.begin = pieces->next.length;
        bool done = piece.added < 0 ? rewrite(data, &slice, &pieces->next) : attn_text_append(&pieces->next, &slice);
        piece.end = pieces->next.length;
        if (!done || !attn_piece_push(&pieces->next_list, &piece))
            return attn_fail(error, ATTN_ENOMEM, "text", "no memory for the pieces of the text");
    }
    attn_pieces_swap(pieces);
    return ATTN_OK;
}
