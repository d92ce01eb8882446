#include "server/routes/attention_transformer.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static bool out_of_memory(struct problem *problem) {
    problem_set(problem, PROBLEM_BUSY, NULL, "out of memory");
    problem->retry_after_s = 1;
    return false;
}

/** Element `index`, row-major, of a contiguous view. */
static int64_t integer_at(const struct attn_view *view, size_t index) {
    return view->dtype == ATTN_INT64 ? ((const int64_t *)view->data)[index]
                                     : (int64_t)((const unsigned char *)view->data)[index];
}

bool attention_check_flags(const struct attn_view *flags, const char *pointer, struct problem *problem) {
    size_t elements = flags->data == NULL || flags->dtype == ATTN_BOOL ? 0 : attn_view_elements(flags);
    for (size_t i = 0; i < elements; i++) {
        int64_t value = integer_at(flags, i);
        if (value == 0 || value == 1) {
            continue;
        }
        size_t row = flags->shape[flags->rank - 1];
        char place[96];
        if (flags->rank == 1) {
            snprintf(place, sizeof place, "%s/%zu", pointer, i);
        } else {
            snprintf(place, sizeof place, "%s/%zu/%zu", pointer, i / row, i % row);
        }
        problem_set(problem, PROBLEM_INVALID, place, "expected 1 (takes part) or 0 (is padding), found %lld",
                    (long long)value);
        return false;
    }
    return true;
}

/** @return the place behind the last of `length` tokens that takes part. */
static size_t extent(const struct attn_view *mask, size_t item, size_t length) {
    while (mask->data != NULL && length > 0 && integer_at(mask, item * mask->shape[mask->rank - 1] + length - 1) == 0) {
        length--;
    }
    return length;
}

/** Tokens that the post-processor adds: those are special. They are few. */
#define MOST_SPECIAL 16
struct special_ids {
    int64_t ids[MOST_SPECIAL];
    size_t count;
};

static void add_special(struct special_ids *special, int64_t id) {
    if (id >= 0 && special->count < MOST_SPECIAL) {
        special->ids[special->count++] = id;
    }
}

static bool is_special(const struct special_ids *special, int64_t id) {
    for (size_t i = 0; i < special->count; i++) {
        if (special->ids[i] == id) {
            return true;
        }
    }
    return false;
}

/** Which ids the tokenizer puts around a text, by what it makes of empty ones; and the model's own. */
static struct special_ids find_special(const struct model *model) {
    struct attn_model_info info = attn_model_info(model->transformer);
    struct special_ids special = {.count = 0};
    static const char *const pairs[] = {NULL, ""};
    add_special(&special, info.pad_token_id);
    add_special(&special, info.decoder_start_token_id);
    for (size_t i = 0; i < 2 && model->tokenizer != NULL; i++) {
        struct attn_encoding encoding = {0};
        struct attn_error error;
        if (attn_tokenizer_encode(model->tokenizer, "", 0, pairs[i], 0, NULL, &encoding, &error) != ATTN_OK) {
            continue;
        }
        for (size_t j = 0; j < encoding.count; j++) {
            if (!is_special(&special, encoding.tokens[j].id)) {
                add_special(&special, encoding.tokens[j].id);
            }
        }
        attn_encoding_reset(&encoding);
    }
    return special;
}

/** One item's ids as tokens that have no place in a text. */
static void list_item(const struct attention_work_place *place, const struct special_ids *special, const int64_t *ids,
                      size_t length, struct attn_token *tokens) {
    const struct attn_tokenizer *tokenizer = place->model->tokenizer;
    for (size_t i = 0; i < length; i++) {
        tokens[i] = (struct attn_token){.id = ids[i],
                                        .text = tokenizer != NULL ? attn_tokenizer_token_text(tokenizer, ids[i]) : NULL,
                                        .special = is_special(special, ids[i]),
                                        .sequence = -1};
    }
}

/** The tokens of ids (or of embeddings, of which only the lengths are known) and their mask. */
static bool list_tokens(struct attention_tokens *tokens, const struct attn_view *ids, const struct attn_view *embeds,
                        const struct attn_view *mask, const struct attention_work_place *place,
                        struct problem *problem) {
    const struct attn_view *given = ids->data != NULL ? ids : embeds;
    int axis = given->rank - (given == ids ? 1 : 2);
    if (given->data == NULL || tokens->batch > 0) {
        return true; /* nothing to list, or listed when the text was encoded */
    }
    size_t length = given->shape[axis], batch = axis > 0 ? given->shape[0] : 1;
    struct special_ids special = find_special(place->model);
    tokens->lengths = arena_alloc(place->arena, batch * sizeof *tokens->lengths);
    tokens->items = given == ids ? arena_alloc(place->arena, batch * sizeof *tokens->items) : NULL;
    if (tokens->lengths == NULL || (given == ids && tokens->items == NULL)) {
        return out_of_memory(problem);
    }
    tokens->batch = batch;
    tokens->has_batch = axis > 0;
    for (size_t item = 0; item < batch; item++) {
        tokens->lengths[item] = extent(mask, item, length);
        if (tokens->items == NULL) {
            continue;
        }
        tokens->items[item] = arena_alloc(place->arena, length * sizeof **tokens->items);
        if (tokens->items[item] == NULL) {
            return out_of_memory(problem);
        }
        list_item(place, &special, (const int64_t *)ids->data + item * length, tokens->lengths[item],
                  tokens->items[item]);
    }
    return true;
}

bool attention_list_tokens(struct attention_transformer *transformer, const struct attention_work_place *place,
                           struct problem *problem) {
    const struct attn_model_inputs *inputs = &transformer->inputs;
    return list_tokens(&transformer->tokens, &inputs->input_ids, &inputs->inputs_embeds, &inputs->attention_mask, place,
                       problem) &&
           list_tokens(&transformer->decoder_tokens, &inputs->decoder_input_ids, &inputs->decoder_inputs_embeds,
                       &inputs->decoder_attention_mask, place, problem);
}

/** If the error is about the ids of a text: what of it the pointer is to be ("text/2"). */
static bool is_about_text(const char *field, const char *ids, const struct attention_texts *texts, const char *name,
                          char *to, size_t capacity) {
    size_t length = strlen(ids);
    if (texts->count == 0 || strncmp(field, ids, length) != 0 || (field[length] != '\0' && field[length] != '/')) {
        return false;
    }
    int item = texts->has_batch && field[length] == '/' ? (int)strcspn(field + length + 1, "/") + 1 : 0;
    snprintf(to, capacity, "%s%.*s", name, item, field + length);
    return true;
}

void attention_problem_from_inputs(struct problem *problem, const struct attention_transformer *transformer,
                                   const struct attn_error *error) {
    struct attn_error moved = *error;
    bool is_text =
        is_about_text(error->field, "input_ids", &transformer->text, "text", moved.field, sizeof moved.field) ||
        is_about_text(error->field, "decoder_input_ids", &transformer->decoder_text, "decoder_text", moved.field,
                      sizeof moved.field);
    if (is_text && error->status == ATTN_ERANGE) {
        snprintf(moved.message, sizeof moved.message, "the tokenizer makes an id of it that the model has not: %.150s",
                 error->message);
    }
    problem_from_attn(problem, &moved);
}
