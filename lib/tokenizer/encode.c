/* A text's way: added tokens out, normalised, cut into pieces, cut into tokens; then truncated and framed. */
#include "lib/tensor/error.h"
#include "lib/tokenizer/tokenizer.h"
#include "lib/tokenizer/unicode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static attn_status no_memory(struct attn_error *error, const char *field) {
    return attn_fail(error, ATTN_ENOMEM, field, "no memory for the tokens");
}

/* Copies a text; each byte comes from the character that it is part of. */
static bool copy_text(struct attn_text *text, const char *bytes, size_t length) {
    if (!attn_text_reserve(text, length + 1))
        return false;
    uint32_t character = UINT32_MAX;
    for (size_t i = 0; i < length; i++) {
        character += ((unsigned char)bytes[i] & 0xc0) != 0x80;
        text->bytes[i] = bytes[i];
        text->origins[i] = (struct attn_origin){character, character + 1};
    }
    text->length = length;
    return true;
}

static attn_status push_added(struct attn_run *run, int32_t id) {
    struct attn_string value = {run->piece.bytes, run->piece.length};
    return attn_run_push(run, id, 0, run->piece.length, value);
}

enum { STEPS_A_PIECE = 128 };

static attn_status tokenize(const struct attn_tokenizer *tokenizer, struct attn_run *run) {
    attn_status status = ATTN_OK;
    for (size_t i = 0; status == ATTN_OK && i < run->pieces.list.count; i++) {
        const struct attn_piece *piece = &run->pieces.list.entries[i];
        if (!attn_patience_spend(run->patience, STEPS_A_PIECE))
            return attn_fail(run->error, ATTN_ECANCELLED, "text", "stopped");
        run->piece = attn_pieces_slice(&run->pieces, piece);
        status = piece->added >= 0 ? push_added(run, piece->added)
                                   : tokenizer->model.kind->tokenize(tokenizer->model.data, run);
    }
    return status;
}

/* What wrote to a text or was working for long only knows that it cannot go on. */
static attn_status say_why(const struct attn_run *run, attn_status status) {
    if (run->patience->is_over)
        return attn_fail(run->error, ATTN_ECANCELLED, "text", "stopped");
    if (status == ATTN_ENOMEM && (run->pieces.text.is_full || run->pieces.next.is_full))
        return attn_fail(run->error, ATTN_ELIMIT, "text", "the tokenizer makes more than %zu bytes of the text",
                         run->pieces.text.limit);
    return status;
}

/*
 * What a text may become when it is normalised, and its tokens at most: a blank becomes a sign of three bytes; beyond
 * ASCII, NFKC makes eleven times as much at most, and bytes that are written as characters twice that. More is made by
 * tokenizers that blow texts up only, and would take memory that no caller expects.
 */
static size_t longest_text(const char *bytes, size_t length) {
    enum { FREE = 4096, AN_ASCII_BYTE = 4, ANOTHER_BYTE = 24 };
    size_t limit = FREE;
    for (size_t i = 0; i < length; i++)
        limit += (unsigned char)bytes[i] < 0x80 ? AN_ASCII_BYTE : ANOTHER_BYTE;
    return limit < ATTN_TEXT_LIMIT ? limit : ATTN_TEXT_LIMIT;
}

/* Cuts one text into run->cuts. */
static attn_status run_text(const struct attn_tokenizer *tokenizer, struct attn_run *run, const char *bytes,
                            size_t length, const char *field) {
    size_t valid = attn_utf8_valid(bytes, length);
    if (valid < length) {
        attn_status status = attn_fail(run->error, ATTN_EFORMAT, field, "the text is no UTF-8 at byte %zu", valid);
        if (run->error != NULL)
            run->error->offset = valid;
        return status;
    }
    if (length > ATTN_LONGEST_INPUT)
        return attn_fail(run->error, ATTN_ELIMIT, field, "a text has at most %d bytes", ATTN_LONGEST_INPUT);
    run->pieces.text.limit = run->pieces.next.limit = longest_text(bytes, length);
    struct attn_text text = {0};
    attn_status status = copy_text(&text, bytes, length) ? ATTN_OK : no_memory(run->error, field);
    struct attn_slice slice = {.bytes = text.bytes, .origins = text.origins, .length = length};
    if (status == ATTN_OK)
        status = attn_added_extract(&tokenizer->added, &tokenizer->normalizer, &slice, &run->pieces, run->error);
    attn_text_reset(&text);
    if (status == ATTN_OK)
        status = attn_pre_tokenizer_apply(&tokenizer->pre_tokenizer, &run->pieces, run->error);
    if (status == ATTN_OK)
        status = tokenize(tokenizer, run);
    status = say_why(run, status);
    if (status != ATTN_OK && run->error != NULL && strcmp(run->error->field, "text") == 0)
        snprintf(run->error->field, sizeof run->error->field, "%s", field);
    return status;
}

static void reset_run(struct attn_run *run) {
    attn_pieces_reset(&run->pieces);
    free(run->cuts.entries);
    free(run->scratch);
}

static void reset_segments(struct attn_segments *segments) {
    for (size_t i = 0; i < segments->count; i++)
        free(segments->entries[i].entries);
}

/*
 * Cuts tokens away so that `limit` are left. Of a pair the shorter keeps what it has as long as the longer one has
 * more; the package's rule, in its own cases.
 */
static void truncate(struct attn_segments *segments, size_t limit) {
    size_t *first = &segments->entries[0].count, *second = segments->count > 1 ? &segments->entries[1].count : NULL;
    if (second == NULL) {
        *first = *first < limit ? *first : limit;
        return;
    }
    if (*first + *second <= limit)
        return;
    size_t *shorter = *first <= *second ? first : second, *longer = shorter == first ? second : first;
    size_t small = *shorter, large = small;
    if (small <= limit && limit - small > small)
        large = limit - small;
    if (small + large > limit) {
        small = limit / 2;
        large = small + limit % 2;
    }
    *shorter = small < *shorter ? small : *shorter;
    *longer = large < *longer ? large : *longer;
}

static attn_status limit_tokens(const struct attn_tokenizer *tokenizer, const struct attn_encode_options *options,
                                struct attn_segments *segments, struct attn_error *error) {
    size_t added =
        options->add_special_tokens ? attn_post_processor_added(&tokenizer->post_processor, segments->count > 1) : 0;
    if (options->max_length == 0 || !options->truncation)
        return ATTN_OK;
    if (options->max_length < added)
        return attn_fail(error, ATTN_ERANGE, "max_length", "%zu leaves no room for %zu special tokens",
                         options->max_length, added);
    truncate(segments, options->max_length - added);
    return ATTN_OK;
}

/* From code points to UTF-16 units. @return a table of `characters` + 1 places, NULL without memory. */
static uint32_t *utf16_places(const char *bytes, size_t length) {
    uint32_t *places = malloc((length + 1) * sizeof *places), unit = 0;
    size_t character = 0;
    if (places == NULL)
        return NULL;
    for (size_t i = 0; i < length; i++) {
        if (((unsigned char)bytes[i] & 0xc0) == 0x80)
            continue;
        places[character++] = unit;
        unit += (unsigned char)bytes[i] >= 0xf0 ? 2 : 1;
    }
    places[character] = unit;
    return places;
}

/* Appends a segment's tokens; `text` has room for their texts. @return the byte behind the last text. */
static char *write_tokens(const struct attn_tokenizer *tokenizer, const struct attn_cuts *cuts,
                          uint32_t *const places[2], struct attn_encoding *encoding, char *text) {
    for (size_t i = 0; i < cuts->count; i++) {
        const struct attn_cut *cut = &cuts->entries[i];
        const uint32_t *units = cut->sequence >= 0 ? places[cut->sequence] : NULL;
        struct attn_string token = attn_tokenizer_cut_text(tokenizer, cut);
        encoding->tokens[encoding->count++] = (struct attn_token){
            .id = cut->id,
            .text = text,
            .special = cut->sequence < 0,
            .sequence = cut->sequence,
            .start = units != NULL ? units[cut->begin] : cut->begin,
            .end = units != NULL ? units[cut->end] : cut->end,
            .type_id = cut->type_id,
        };
        memcpy(text, token.bytes, token.length);
        text[token.length] = '\0';
        text += token.length + 1;
    }
    return text;
}

/* Makes the encoding of segments, which are all that is needed. */
static attn_status make_encoding(const struct attn_tokenizer *tokenizer, const struct attn_segments *segments,
                                 const struct attn_encode_options *options, uint32_t *const places[2],
                                 struct attn_encoding *encoding, struct attn_error *error) {
    size_t count = 0, bytes = 1;
    for (size_t i = 0; i < segments->count; i++) {
        const struct attn_cuts *cuts = &segments->entries[i];
        for (size_t j = 0; j < cuts->count; j++)
            bytes += attn_tokenizer_cut_text(tokenizer, &cuts->entries[j]).length + 1;
        count += cuts->count;
    }
    if (options->max_length > 0 && count > options->max_length)
        return attn_fail(error, ATTN_ELIMIT, "text", "%zu tokens, at most %zu are taken", count, options->max_length);
    struct attn_encoding made = {.tokens = calloc(count + 1, sizeof *made.tokens), .memory = malloc(bytes)};
    if (made.tokens == NULL || made.memory == NULL) {
        attn_encoding_reset(&made);
        return no_memory(error, "text");
    }
    char *text = made.memory;
    for (size_t i = 0; i < segments->count; i++)
        text = write_tokens(tokenizer, &segments->entries[i], places, &made, text);
    *encoding = made;
    return ATTN_OK;
}

/* Hands a run's tokens over as a segment. */
static void add_segment(struct attn_segments *segments, struct attn_run *run) {
    uint32_t index = (uint32_t)segments->count;
    for (size_t i = 0; i < run->cuts.count; i++) {
        run->cuts.entries[i].sequence = (int32_t)index;
        run->cuts.entries[i].type_id = index;
    }
    segments->entries[segments->count++] = run->cuts;
    run->cuts = (struct attn_cuts){0};
}

struct texts {
    const char *bytes[2];
    size_t lengths[2];
};

static attn_status frame(const struct attn_tokenizer *tokenizer, const struct texts *texts,
                         const struct attn_encode_options *options, struct attn_segments *segments,
                         struct attn_encoding *encoding, struct attn_error *error) {
    uint32_t *places[2] = {NULL, NULL};
    size_t text_count = segments->count;
    attn_status status = limit_tokens(tokenizer, options, segments, error);
    if (status == ATTN_OK)
        status = attn_post_processor_apply(&tokenizer->post_processor, segments, options->add_special_tokens, error);
    for (size_t i = 0; status == ATTN_OK && options->offset_unit == ATTN_OFFSET_UTF16 && i < text_count; i++) {
        places[i] = utf16_places(texts->bytes[i], texts->lengths[i]);
        if (places[i] == NULL)
            status = no_memory(error, "text");
    }
    if (status == ATTN_OK)
        status = make_encoding(tokenizer, segments, options, places, encoding, error);
    free(places[0]);
    free(places[1]);
    return status;
}

attn_status attn_tokenizer_encode(const struct attn_tokenizer *tokenizer, const char *text, size_t text_length,
                                  const char *pair, size_t pair_length, const struct attn_encode_options *options,
                                  struct attn_encoding *encoding, struct attn_error *error) {
    static const struct attn_encode_options defaults = ATTN_ENCODE_DEFAULTS;
    static const char *const fields[2] = {"text", "text_pair"};
    if (options == NULL)
        options = &defaults;
    struct texts texts = {.bytes = {text, pair}, .lengths = {text_length, pair_length}};
    struct attn_patience patience = {options->is_cancelled, options->cancel_context, ATTN_PATIENCE_STEPS, false};
    struct attn_run run = {.pieces.matches.patience = &patience, .patience = &patience, .error = error};
    struct attn_run runs[2] = {run, run};
    struct attn_segments segments = {0};
    attn_status status = ATTN_OK;
    for (size_t i = 0; status == ATTN_OK && i < (pair != NULL ? 2U : 1U); i++) {
        status = run_text(tokenizer, &runs[i], texts.bytes[i], texts.lengths[i], fields[i]);
        if (status == ATTN_OK)
            add_segment(&segments, &runs[i]);
    }
    if (status == ATTN_OK)
        status = frame(tokenizer, &texts, options, &segments, encoding, error);
    reset_segments(&segments);
    reset_run(&runs[0]); /* only now: special values of added tokens lie in the runs' texts */
    reset_run(&runs[1]);
    return status;
}

void attn_encoding_reset(struct attn_encoding *encoding) {
    free(encoding->tokens);
    free(encoding->memory);
    *encoding = (struct attn_encoding){0};
}
