/**
 * @file attention_transformer.h
 * The part of a request to a transformer model that attention layers do not have: text, ids, embeddings, pictures or
 * speech, and the tokens that are answered.
 */
#ifndef SERVER_ROUTES_ATTENTION_TRANSFORMER_H
#define SERVER_ROUTES_ATTENTION_TRANSFORMER_H

#include "server/base/arena.h"
#include "server/base/problem.h"
#include "server/registry/registry.h"
#include <attn/execution.h>
#include <attn/model.h>
#include <attn/tokenizer.h>

/** Texts as they were given; they live in the document. */
struct attention_texts {
    size_t count;   /**< 0: none were given */
    bool has_batch; /**< an array was given, not one string */
    const char **texts;
    size_t *lengths; /**< in bytes: a text may hold NULs */
};

/** The tokens of one stack, as they are answered: an item's have no padding behind them. */
struct attention_tokens {
    size_t batch; /**< 0: nothing is known, and nothing is answered */
    bool has_batch;
    size_t *lengths;           /**< of each item */
    struct attn_token **items; /**< NULL: only the lengths are known */
};

/** What a transformer reads, and what is wanted of it beside attn_want. */
struct attention_transformer {
    struct attn_model_inputs inputs; /**< those of texts are there after attention_encode_texts */
    struct attn_model_want want;
    struct attention_texts text, text_pair, decoder_text;
    bool truncation, add_special_tokens;
    attn_offset_unit offset_unit;
    struct attention_tokens tokens, decoder_tokens; /**< after attention_list_tokens */
};

/** What the work on a transformer's inputs needs beside them. */
struct attention_work_place {
    const struct model *model;
    struct arena *arena;
    size_t max_elements;
    const struct attn_execution *execution; /**< when to stop; may be NULL */
};

/* All: false with the problem filled. */

/**
 * Texts to ids, padded at the right where they are uneven, and the default of the decoder: its start token. Counts
 * as decoding, but takes too long for an event thread. (attention_text.c)
 */
bool attention_encode_texts(struct attention_transformer *transformer, const struct attention_work_place *place,
                            struct problem *problem);

/** Checks that masks hold 0 and 1 only. (attention_ids.c) */
bool attention_check_flags(const struct attn_view *flags, const char *pointer, struct problem *problem);

/** Lists the tokens of ids that were given, and the lengths. After the plan, which checks shapes. (attention_ids.c) */
bool attention_list_tokens(struct attention_transformer *transformer, const struct attention_work_place *place,
                           struct problem *problem);

/** Turns a library error about a model's inputs into a problem that points at what was given in their place: an id
 * that came from a text is the text's. */
void attention_problem_from_inputs(struct problem *problem, const struct attention_transformer *transformer,
                                   const struct attn_error *error);

#endif
