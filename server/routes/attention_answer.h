/**
 * @file attention_answer.h
 * What an answer is made of, and its parts that are no tensors.
 */
#ifndef SERVER_ROUTES_ATTENTION_ANSWER_H
#define SERVER_ROUTES_ATTENTION_ANSWER_H

#include "server/codec/encode.h"
#include "server/routes/attention_transformer.h"
#include <attn/result.h>

/** Everything must live as long as the exchange. */
struct attention_answer {
    const struct attn_result *result;
    const struct attention_transformer *transformer; /**< NULL: attention that is no transformer's */
    const struct attn_tokenizer *tokenizer;          /**< of the model; NULL: it has none */
};

/* Out of memory is told by the encoder's next call. */

/** `tokens`, `lengths`, and the decoder's: nothing where there are none. (attention_encode_tokens.c) */
void attention_encode_tokens(struct encoder *encoder, const struct attention_answer *answer);

/** `predictions`, with each item's positions but those of padding. (attention_encode_tokens.c) */
void attention_encode_predictions(struct encoder *encoder, const struct attn_result_tensor *predictions,
                                  const struct attention_answer *answer);

#endif
