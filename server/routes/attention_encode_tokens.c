#include "server/codec/number.h"
#include "server/routes/attention_answer.h"

static void put_text_or_null(struct encoder *encoder, const char *text) {
    if (text != NULL) {
        encoder_text(encoder, text);
    } else {
        encoder_null(encoder);
    }
}

static void put_count_or_null(struct encoder *encoder, bool is_known, size_t count) {
    if (is_known) {
        encoder_integer(encoder, (int64_t)count);
    } else {
        encoder_null(encoder);
    }
}

/** @param is_known whether a tokenizer said what the token is */
static void encode_token(struct encoder *encoder, const struct attn_token *token, bool is_known) {
    bool has_place = token->sequence >= 0;
    encoder_begin_object(encoder);
    encoder_key(encoder, "id");
    encoder_integer(encoder, token->id);
    encoder_key(encoder, "text");
    put_text_or_null(encoder, token->text);
    encoder_key(encoder, "start");
    put_count_or_null(encoder, has_place, token->start);
    encoder_key(encoder, "end");
    put_count_or_null(encoder, has_place, token->end);
    encoder_key(encoder, "special");
    if (is_known) {
        encoder_bool(encoder, token->special);
    } else {
        encoder_null(encoder);
    }
    encoder_key(encoder, "sequence");
    put_count_or_null(encoder, has_place, (size_t)(has_place ? token->sequence : 0));
    encoder_end_object(encoder);
}

static void begin_batch(struct encoder *encoder, const struct attention_tokens *tokens) {
    if (tokens->has_batch) {
        encoder_begin_array(encoder);
    }
}

static void end_batch(struct encoder *encoder, const struct attention_tokens *tokens) {
    if (tokens->has_batch) {
        encoder_end_array(encoder);
    }
}

static void encode_list(struct encoder *encoder, const char *name, const struct attention_tokens *tokens,
                        bool is_known) {
    if (tokens->batch == 0 || tokens->items == NULL) {
        return;
    }
    encoder_key(encoder, name);
    begin_batch(encoder, tokens);
    for (size_t item = 0; item < tokens->batch; item++) {
        encoder_begin_array(encoder);
        for (size_t i = 0; i < tokens->lengths[item]; i++) {
            encode_token(encoder, &tokens->items[item][i], is_known);
        }
        encoder_end_array(encoder);
    }
    end_batch(encoder, tokens);
}

static void encode_lengths(struct encoder *encoder, const char *name, const struct attention_tokens *tokens) {
    if (tokens->batch == 0) {
        return;
    }
    encoder_key(encoder, name);
    begin_batch(encoder, tokens);
    for (size_t item = 0; item < tokens->batch; item++) {
        encoder_integer(encoder, (int64_t)tokens->lengths[item]);
    }
    end_batch(encoder, tokens);
}

void attention_encode_tokens(struct encoder *encoder, const struct attention_answer *answer) {
    const struct attention_transformer *transformer = answer->transformer;
    bool is_known = answer->tokenizer != NULL;
    if (transformer == NULL) {
        return;
    }
    encode_list(encoder, "tokens", &transformer->tokens, is_known);
    encode_lengths(encoder, "lengths", &transformer->tokens);
    encode_list(encoder, "decoder_tokens", &transformer->decoder_tokens, is_known);
    encode_lengths(encoder, "decoder_lengths", &transformer->decoder_tokens);
}

static void encode_prediction(struct encoder *encoder, const struct attn_result_tensor *predictions, size_t at,
                              const struct attn_tokenizer *tokenizer) {
    int64_t id = ((const int64_t *)predictions->indices.data)[at];
    encoder_begin_object(encoder);
    encoder_key(encoder, "id");
    encoder_integer(encoder, id);
    encoder_key(encoder, "text");
    put_text_or_null(encoder, tokenizer != NULL ? attn_tokenizer_token_text(tokenizer, id) : NULL);
    encoder_key(encoder, "probability");
    encoder_element(encoder, &predictions->values, at);
    encoder_end_object(encoder);
}

void attention_encode_predictions(struct encoder *encoder, const struct attn_result_tensor *predictions,
                                  const struct attention_answer *answer) {
    const struct attn_view *ids = &predictions->indices;
    const struct attention_transformer *transformer = answer->transformer;
    const struct attention_tokens *tokens =
        transformer->decoder_tokens.batch > 0 ? &transformer->decoder_tokens : &transformer->tokens;
    bool has_batch = ids->rank > 2;
    size_t batch = has_batch ? ids->shape[0] : 1, length = ids->shape[ids->rank - 2], k = ids->shape[ids->rank - 1];
    encoder_key(encoder, predictions->name);
    if (has_batch) {
        encoder_begin_array(encoder);
    }
    for (size_t item = 0; item < batch; item++) {
        size_t taken = item < tokens->batch && tokens->lengths[item] < length ? tokens->lengths[item] : length;
        encoder_begin_array(encoder);
        for (size_t i = 0; i < taken; i++) {
            encoder_begin_array(encoder);
            for (size_t rank = 0; rank < k; rank++) {
                encode_prediction(encoder, predictions, (item * length + i) * k + rank, answer->tokenizer);
            }
            encoder_end_array(encoder);
        }
        encoder_end_array(encoder);
    }
    if (has_batch) {
        encoder_end_array(encoder);
    }
}
