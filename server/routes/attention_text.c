#include "server/routes/attention_transformer.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/*
 * What a tokenizer holds for each byte of a text while it works on it, at most about: the token, which may be a byte
 * long, and beside it the text, its offsets, the pieces that are merged, and room into which they grow. Up to 200 were
 * seen. A character beyond ASCII may become longer when it is normalised (U+FDFA eleven times): up to 630 a byte.
 */
#define ENCODING_BYTES_AN_ASCII_BYTE 256
#define ENCODING_BYTES_ANOTHER_BYTE 768

static bool out_of_memory(struct problem *problem) {
    problem_set(problem, PROBLEM_BUSY, NULL, "out of memory");
    problem->retry_after_s = 1;
    return false;
}

/** Texts of one field on their way to ids. */
struct encoder_state {
    const struct attention_transformer *transformer;
    const struct attention_work_place *place;
    const struct attention_texts *texts, *pairs; /**< pairs: may hold none */
    const char *name;                            /**< the field's */
    size_t limit;                                /**< the most tokens; 0: any number */
    bool is_decoder;
    int64_t start; /**< of a decoder: the id it starts with, or -1 */
    size_t longest;
};

/** "/text", or "/text/2" in an array. */
static void place_of(const struct encoder_state *state, size_t item, char *pointer, size_t capacity) {
    if (state->texts->has_batch) {
        snprintf(pointer, capacity, "/%s/%zu", state->name, item);
    } else {
        snprintf(pointer, capacity, "/%s", state->name);
    }
}

static bool fail_encoding(const struct encoder_state *state, size_t item, const struct attn_error *error,
                          struct problem *problem) {
    problem_from_attn(problem, error);
    if (strcmp(error->field, "text_pair") == 0 && state->texts->has_batch) {
        snprintf(problem->pointer, sizeof problem->pointer, "/text_pair/%zu", item);
    } else if (strcmp(error->field, "text_pair") != 0) {
        place_of(state, item, problem->pointer, sizeof problem->pointer);
    }
    return false;
}

/** Hugging Face makes a decoder's ids of the target text by moving it one place to the right behind the start token;
 * the closing token falls out. A text that begins with the start token (Whisper) has it already. */
static size_t shift_right(struct attn_token *tokens, size_t count, int64_t start) {
    count -= count > 0 && tokens[count - 1].special && tokens[count - 1].id != start;
    if (start < 0 || (count > 0 && tokens[0].id == start)) {
        return count;
    }
    memmove(tokens + 1, tokens, count * sizeof *tokens);
    tokens[0] = (struct attn_token){.id = start, .special = true, .sequence = -1};
    return count + 1;
}

static bool check_count(const struct encoder_state *state, size_t item, size_t count, struct problem *problem) {
    char pointer[96];
    place_of(state, item, pointer, sizeof pointer);
    if (count == 0) {
        problem_set(problem, PROBLEM_INVALID, pointer, "expected a text of one token or more, found none in it");
        return false;
    }
    if (state->limit > 0 && count > state->limit) {
        problem_set(problem, PROBLEM_INVALID, pointer,
                    "expected at most %zu tokens, the longest that model \"%.100s\" takes, found %zu; "
                    "\"truncation\": true cuts",
                    state->limit, state->place->model->id, count);
        return false;
    }
    return true;
}

/** The tokens of an encoding, in the arena, with one place to spare. */
static struct attn_token *keep_tokens(const struct encoder_state *state, const struct attn_encoding *encoding,
                                      size_t *count) {
    size_t bytes;
    if (!attn_size_product((size_t[]){encoding->count + 1, sizeof(struct attn_token)}, 2, &bytes)) {
        return NULL;
    }
    struct attn_token *tokens = arena_alloc(state->place->arena, bytes);
    if (tokens == NULL) {
        return NULL;
    }
    if (encoding->count > 0) {
        memcpy(tokens, encoding->tokens, encoding->count * sizeof *tokens);
    }
    *count = state->is_decoder ? shift_right(tokens, encoding->count, state->start) : encoding->count;
    if (state->transformer->truncation && state->limit > 0 && *count > state->limit) {
        *count = state->limit; /* a start token came in front of a text that was as long as may be */
    }
    for (size_t i = 0; i < *count; i++) {
        /* an encoding's own texts go with it; the tokenizer's live as long as the model */
        tokens[i].text = attn_tokenizer_token_text(state->place->model->tokenizer, tokens[i].id);
    }
    return tokens;
}

/** What encoding a text may take, at most about. Texts are far shorter than SIZE_MAX divided by it. */
static size_t encoding_bytes(const char *text, size_t length) {
    size_t bytes = 0;
    for (size_t i = 0; i < length; i++) {
        bytes += (unsigned char)text[i] < 0x80 ? ENCODING_BYTES_AN_ASCII_BYTE : ENCODING_BYTES_ANOTHER_BYTE;
    }
    return bytes;
}

static bool encode_item(struct encoder_state *state, size_t item, struct attention_tokens *tokens,
                        struct problem *problem) {
    const struct attention_transformer *transformer = state->transformer;
    struct attn_encode_options options = ATTN_ENCODE_DEFAULTS;
    struct attn_encoding encoding = {0};
    struct attn_error error = {0};
    bool is_pair = state->pairs != NULL && state->pairs->count > 0;
    const char *text = state->texts->texts[item], *pair = is_pair ? state->pairs->texts[item] : NULL;
    size_t length = state->texts->lengths[item], pair_length = is_pair ? state->pairs->lengths[item] : 0;
    size_t charge = encoding_bytes(text, length) + encoding_bytes(pair, pair_length);
    options.add_special_tokens = transformer->add_special_tokens;
    options.truncation = transformer->truncation;
    options.max_length = transformer->truncation ? state->limit : 0;
    options.offset_unit = transformer->offset_unit;
    if (state->place->execution != NULL) {
        options.is_cancelled = state->place->execution->is_cancelled;
        options.cancel_context = state->place->execution->cancel_context;
    }
    if (!arena_charge(state->place->arena, charge)) {
        return out_of_memory(problem);
    }
    attn_status status = attn_tokenizer_encode(state->place->model->tokenizer, text, length, pair, pair_length,
                                               &options, &encoding, &error);
    if (status == ATTN_OK) {
        tokens->items[item] = keep_tokens(state, &encoding, &tokens->lengths[item]);
        attn_encoding_reset(&encoding);
    }
    arena_refund(state->place->arena, charge);
    if (status != ATTN_OK) {
        return fail_encoding(state, item, &error, problem);
    }
    if (tokens->items[item] == NULL) {
        return out_of_memory(problem);
    }
    state->longest = tokens->lengths[item] > state->longest ? tokens->lengths[item] : state->longest;
    return check_count(state, item, tokens->lengths[item], problem);
}

static bool is_stopped(const struct attn_execution *execution) {
    return execution != NULL && execution->is_cancelled != NULL && execution->is_cancelled(execution->cancel_context);
}

static bool check_tokenizer(const struct encoder_state *state, struct problem *problem) {
    const struct model *model = state->place->model;
    char pointer[64];
    if (model->tokenizer != NULL) {
        return true;
    }
    snprintf(pointer, sizeof pointer, "/%s", state->name);
    problem_set(problem, PROBLEM_INVALID, pointer, "model \"%.100s\" has no tokenizer%s%.250s: expected `%sinput_ids`",
                model->id, model->tokenizer_reason != NULL ? " that can be used, as " : "",
                model->tokenizer_reason != NULL ? model->tokenizer_reason : "", state->is_decoder ? "decoder_" : "");
    return false;
}

static bool encode_items(struct encoder_state *state, struct attention_tokens *tokens, struct problem *problem) {
    size_t count = state->texts->count;
    if (!check_tokenizer(state, problem)) {
        return false;
    }
    tokens->lengths = arena_alloc(state->place->arena, count * sizeof *tokens->lengths);
    tokens->items = arena_alloc(state->place->arena, count * sizeof(struct attn_token *));
    if (tokens->lengths == NULL || tokens->items == NULL) {
        return out_of_memory(problem);
    }
    for (size_t item = 0; item < count; item++) {
        if (is_stopped(state->place->execution)) {
            problem_from_attn(problem, &(struct attn_error){.status = ATTN_ECANCELLED, .message = "stopped"});
            return false;
        }
        if (!encode_item(state, item, tokens, problem)) {
            return false;
        }
    }
    tokens->batch = count;
    tokens->has_batch = state->texts->has_batch;
    return true;
}

/** Memory for (N, L), or (L) without a batch axis. */
static bool new_view(const struct encoder_state *state, attn_dtype dtype, struct attn_view *view,
                     struct problem *problem) {
    const size_t shape[2] = {state->texts->count, state->longest};
    bool has_batch = state->texts->has_batch;
    void *data = arena_alloc(state->place->arena, shape[0] * shape[1] * attn_dtype_bytes(dtype));
    *view = attn_view_contiguous(data, dtype, has_batch ? 2 : 1, has_batch ? shape : shape + 1);
    return data != NULL || out_of_memory(problem);
}

static bool is_uneven(const struct encoder_state *state, const struct attention_tokens *tokens) {
    for (size_t item = 0; item < tokens->batch; item++) {
        if (tokens->lengths[item] != state->longest) {
            return true;
        }
    }
    return false;
}

/** Where the ids of texts go. */
struct targets {
    struct attn_view *ids, *mask, *types; /**< types: NULL where the model has none */
};

static void fill(const struct encoder_state *state, const struct attention_tokens *tokens,
                 const struct targets *targets, int64_t pad) {
    bool has_mask = targets->mask->data != NULL;
    for (size_t item = 0; item < tokens->batch; item++) {
        for (size_t i = 0; i < state->longest; i++) {
            size_t at = item * state->longest + i;
            bool is_token = i < tokens->lengths[item];
            ((int64_t *)targets->ids->data)[at] = is_token ? tokens->items[item][i].id : pad;
            if (has_mask) {
                ((unsigned char *)targets->mask->data)[at] = is_token;
            }
            if (targets->types != NULL) {
                ((int64_t *)targets->types->data)[at] = is_token ? tokens->items[item][i].type_id : 0;
            }
        }
    }
}

/** Texts to tokens to ids. */
static bool encode(struct encoder_state *state, struct attention_tokens *tokens, const struct targets *targets,
                   struct problem *problem) {
    struct attn_model_info info = attn_model_info(state->place->model->transformer);
    char pointer[64];
    size_t elements;
    if (!encode_items(state, tokens, problem)) {
        return false;
    }
    snprintf(pointer, sizeof pointer, "/%s", state->name);
    if (!attn_size_product((size_t[]){tokens->batch, state->longest}, 2, &elements) ||
        elements > state->place->max_elements) {
        problem_set(problem, PROBLEM_TOO_LARGE, pointer, "expected at most %zu elements, found %zu texts of %zu tokens",
                    state->place->max_elements, tokens->batch, state->longest);
        return false;
    }
    if (!new_view(state, ATTN_INT64, targets->ids, problem) ||
        (is_uneven(state, tokens) && !new_view(state, ATTN_BOOL, targets->mask, problem)) ||
        (targets->types != NULL && !new_view(state, ATTN_INT64, targets->types, problem))) {
        return false;
    }
    fill(state, tokens, targets, info.pad_token_id >= 0 ? info.pad_token_id : 0);
    return true;
}

static bool encode_text(struct attention_transformer *transformer, const struct attention_work_place *place,
                        const struct attn_model_info *info, struct problem *problem) {
    struct attn_model_inputs *inputs = &transformer->inputs;
    struct encoder_state state = {.transformer = transformer,
                                  .place = place,
                                  .texts = &transformer->text,
                                  .pairs = &transformer->text_pair,
                                  .name = "text",
                                  .limit = info->max_positions,
                                  .start = -1};
    struct targets targets = {&inputs->input_ids, &inputs->attention_mask,
                              (info->takes & ATTN_TAKES_TYPES) != 0 ? &inputs->token_type_ids : NULL};
    return transformer->text.count == 0 || encode(&state, &transformer->tokens, &targets, problem);
}

static bool encode_decoder_text(struct attention_transformer *transformer, const struct attention_work_place *place,
                                const struct attn_model_info *info, struct problem *problem) {
    struct attn_model_inputs *inputs = &transformer->inputs;
    struct encoder_state state = {.transformer = transformer,
                                  .place = place,
                                  .texts = &transformer->decoder_text,
                                  .name = "decoder_text",
                                  .limit = info->decoder_max_positions,
                                  .is_decoder = true,
                                  .start = info->decoder_start_token_id};
    struct targets targets = {&inputs->decoder_input_ids, &inputs->decoder_attention_mask, NULL};
    return transformer->decoder_text.count == 0 || encode(&state, &transformer->decoder_tokens, &targets, problem);
}

/** @return the input of the encoder, and in *item_rank the rank that one of its items has. */
static const struct attn_view *encoder_input(const struct attn_model_inputs *inputs, int *item_rank) {
    const struct {
        const struct attn_view *view;
        int item_rank;
    } rows[] = {{&inputs->input_ids, 1}, {&inputs->inputs_embeds, 2}, {&inputs->pixel_values, 3}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].view->data != NULL) {
            *item_rank = rows[i].item_rank;
            return rows[i].view;
        }
    }
    *item_rank = 2;
    return &inputs->input_features;
}

/** A decoder that was given nothing stands where generation begins: at its start token. */
static bool start_decoder(struct attention_transformer *transformer, const struct attention_work_place *place,
                          const struct attn_model_info *info, struct problem *problem) {
    struct attn_model_inputs *inputs = &transformer->inputs;
    int item_rank;
    const struct attn_view *input = encoder_input(inputs, &item_rank);
    bool is_given = inputs->decoder_input_ids.data != NULL || inputs->decoder_inputs_embeds.data != NULL;
    if (!info->is_encoder_decoder || is_given || info->decoder_start_token_id < 0) {
        return true;
    }
    bool has_batch = input->rank > item_rank;
    size_t batch = has_batch ? input->shape[0] : 1;
    int64_t *ids = arena_alloc(place->arena, batch * sizeof *ids);
    if (ids == NULL) {
        return out_of_memory(problem);
    }
    for (size_t i = 0; i < batch; i++) {
        ids[i] = info->decoder_start_token_id;
    }
    inputs->decoder_input_ids =
        attn_view_contiguous(ids, ATTN_INT64, has_batch ? 2 : 1, has_batch ? (size_t[]){batch, 1} : (size_t[]){1});
    return true;
}

bool attention_encode_texts(struct attention_transformer *transformer, const struct attention_work_place *place,
                            struct problem *problem) {
    struct attn_model_info info = attn_model_info(place->model->transformer);
    return encode_text(transformer, place, &info, problem) && encode_decoder_text(transformer, place, &info, problem) &&
           start_decoder(transformer, place, &info, problem);
}
