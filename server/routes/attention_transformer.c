#include "server/routes/attention_transformer.h"
#include "server/routes/attention_request.h"
#include "server/routes/json_value.h"
#include <stdio.h>
#include <string.h>

/** What a model can be given: exactly one of these, and which bits of attn_model_info.takes it needs. */
static const struct source {
    const char *name;
    unsigned takes;
} sources[] = {
    {"text", ATTN_TAKES_IDS},
    {"input_ids", ATTN_TAKES_IDS},
    {"inputs_embeds", ATTN_TAKES_IDS | ATTN_TAKES_EMBEDS},
    {"pixel_values", ATTN_TAKES_PIXELS},
    {"input_features", ATTN_TAKES_FEATURES},
};
#define SOURCE_COUNT (sizeof sources / sizeof *sources)

/** The same of a decoder; none is its start token. */
static const char *const decoder_sources[] = {"decoder_text", "decoder_input_ids", "decoder_inputs_embeds"};

static bool is_given(const struct attention_request *request, const char *name) {
    return document_find(&request->document, name) != NULL;
}

static bool fail_at(const char *name, struct problem *problem, const char *what) {
    char pointer[64];
    snprintf(pointer, sizeof pointer, "/%s", name);
    problem_set(problem, PROBLEM_INVALID, pointer, "%s", what);
    return false;
}

/** Writes "`text`, `input_ids`" for what a model can be given. */
static void list_sources(unsigned takes, char *text, size_t capacity) {
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < SOURCE_COUNT; i++) {
        if ((sources[i].takes & takes) != 0 && used < capacity) {
            used += (size_t)snprintf(text + used, capacity - used, "%s`%s`", used > 0 ? ", " : "", sources[i].name);
        }
    }
}

/** @return the first source that the model takes, for a pointer where none is there. */
static const char *first_source(unsigned takes) {
    for (size_t i = 0; i < SOURCE_COUNT; i++) {
        if ((sources[i].takes & takes) != 0) {
            return sources[i].name;
        }
    }
    return sources[0].name;
}

static bool check_source(const struct attention_request *request, unsigned takes, struct problem *problem) {
    const struct source *chosen = NULL;
    char list[128], pointer[64];
    list_sources(takes, list, sizeof list);
    for (size_t i = 0; i < SOURCE_COUNT; i++) {
        if (!is_given(request, sources[i].name)) {
            continue;
        }
        snprintf(pointer, sizeof pointer, "/%s", sources[i].name);
        if ((sources[i].takes & takes) == 0) {
            problem_set(problem, PROBLEM_INVALID, pointer, "model \"%.100s\" takes %s, found `%s`", request->model->id,
                        list, sources[i].name);
            return false;
        }
        if (chosen != NULL) {
            problem_set(problem, PROBLEM_INVALID, pointer, "expected exactly one of %s, found `%s` and `%s`", list,
                        chosen->name, sources[i].name);
            return false;
        }
        chosen = &sources[i];
    }
    if (chosen != NULL) {
        return true;
    }
    snprintf(pointer, sizeof pointer, "/%s", first_source(takes));
    problem_set(problem, PROBLEM_INVALID, pointer, "expected one of %s, found none", list);
    return false;
}

/** What says how a text becomes ids, where there is none. */
static bool check_text_options(const struct attention_request *request, struct problem *problem) {
    static const char *const of_texts[] = {"truncation", "add_special_tokens"};
    if (is_given(request, "text") || is_given(request, "decoder_text")) {
        return true;
    }
    for (size_t i = 0; i < sizeof of_texts / sizeof *of_texts; i++) {
        if (is_given(request, of_texts[i])) {
            return fail_at(of_texts[i], problem,
                           "this field goes with `text` or `decoder_text`; ids stand as they are");
        }
    }
    return true;
}

/** What means nothing without something else. */
static bool check_companions(const struct attention_request *request, unsigned takes, struct problem *problem) {
    static const char *const beside_ids[] = {"attention_mask", "token_type_ids"};
    bool has_ids = is_given(request, "input_ids") || is_given(request, "inputs_embeds");
    if (is_given(request, "text_pair") && !is_given(request, "text")) {
        return fail_at("text_pair", problem, "`text_pair` is the second of a pair: it needs `text`");
    }
    for (size_t i = 0; i < 2; i++) {
        if (is_given(request, beside_ids[i]) && !has_ids) {
            return fail_at(beside_ids[i], problem,
                           "this field goes with `input_ids` or `inputs_embeds`; a text has its own");
        }
    }
    if (is_given(request, "token_type_ids") && (takes & ATTN_TAKES_TYPES) == 0) {
        return fail_at("token_type_ids", problem, "this model has no token types");
    }
    return check_text_options(request, problem);
}

static bool check_decoder(const struct attention_request *request, bool has_decoder, struct problem *problem) {
    const char *chosen = NULL;
    for (size_t i = 0; i < sizeof decoder_sources / sizeof *decoder_sources; i++) {
        const char *name = decoder_sources[i];
        if (!is_given(request, name)) {
            continue;
        }
        if (!has_decoder) {
            return fail_at(name, problem, "this field is for encoder-decoder models, and this one has one stack");
        }
        if (chosen != NULL) {
            return fail_at(name, problem,
                           "expected at most one of `decoder_text`, `decoder_input_ids` and `decoder_inputs_embeds`");
        }
        chosen = name;
    }
    if (is_given(request, "decoder_attention_mask") && (chosen == NULL || chosen == decoder_sources[0])) {
        return fail_at("decoder_attention_mask", problem,
                       "this field goes with `decoder_input_ids` or `decoder_inputs_embeds`");
    }
    return true;
}

/** One string, or an array of strings. */
static bool read_texts(const struct attention_request *request, const char *name, struct attention_texts *texts,
                       struct problem *problem) {
    const json_t *json = attention_json(request, name);
    char pointer[64], place[96];
    if (json == NULL) {
        return true;
    }
    snprintf(pointer, sizeof pointer, "/%s", name);
    if (!json_is_string(json) && !json_is_array(json)) {
        problem_set(problem, PROBLEM_INVALID, pointer, "expected a string or an array of strings, found %s",
                    json_value_kind(json));
        return false;
    }
    texts->has_batch = json_is_array(json);
    if (texts->has_batch && !json_value_filled_array(json, pointer, problem)) {
        return false;
    }
    texts->count = texts->has_batch ? json_array_size(json) : 1;
    texts->texts = arena_alloc(request->document.arena, texts->count * sizeof *texts->texts);
    texts->lengths = arena_alloc(request->document.arena, texts->count * sizeof *texts->lengths);
    if (texts->texts == NULL || texts->lengths == NULL) {
        return attention_out_of_memory(problem);
    }
    for (size_t i = 0; i < texts->count; i++) {
        const json_t *text = texts->has_batch ? json_array_get(json, i) : json;
        json_value_at(place, sizeof place, pointer, i);
        if (json_value_text(text, texts->has_batch ? place : pointer, problem) == NULL) {
            return false;
        }
        texts->texts[i] = json_string_value(text);
        texts->lengths[i] = json_string_length(text);
    }
    return true;
}

/** As many as there are texts, and an array where those are one. */
static bool check_texts(const struct attention_texts *texts, const struct attention_texts *of, const char *name,
                        struct problem *problem) {
    char pointer[64];
    if (texts->count == 0 || of->count == 0 || (texts->count == of->count && texts->has_batch == of->has_batch)) {
        return true;
    }
    snprintf(pointer, sizeof pointer, "/%s", name);
    if (!of->has_batch) {
        problem_set(problem, PROBLEM_INVALID, pointer, "expected one string, as `text` is, found an array");
    } else if (!texts->has_batch) {
        problem_set(problem, PROBLEM_INVALID, pointer, "expected an array of %zu strings, as `text` is, found a string",
                    of->count);
    } else {
        problem_set(problem, PROBLEM_INVALID, pointer, "expected %zu strings, one for each of `text`, found %zu",
                    of->count, texts->count);
    }
    return false;
}

static const char *unit_name(int index) {
    static const char *const names[ATTN_OFFSET_UNIT_COUNT] = {
        [ATTN_OFFSET_CODE_POINTS] = "code_points", [ATTN_OFFSET_UTF16] = "utf16"};
    return names[index];
}

static bool read_text_options(struct attention_request *request, struct problem *problem) {
    struct attention_transformer *transformer = &request->transformer;
    const json_t *truncation = attention_json(request, "truncation");
    const json_t *special = attention_json(request, "add_special_tokens");
    const json_t *unit = attention_json(request, "offset_unit");
    struct json_names names = {unit_name, ATTN_OFFSET_UNIT_COUNT};
    int index = ATTN_OFFSET_CODE_POINTS;
    transformer->add_special_tokens = true;
    if ((truncation != NULL && !json_value_bool(truncation, "/truncation", &transformer->truncation, problem)) ||
        (special != NULL &&
         !json_value_bool(special, "/add_special_tokens", &transformer->add_special_tokens, problem)) ||
        (unit != NULL && !json_value_name(unit, "/offset_unit", names, &index, problem))) {
        return false;
    }
    transformer->offset_unit = (attn_offset_unit)index;
    return read_texts(request, "text", &transformer->text, problem) &&
           read_texts(request, "text_pair", &transformer->text_pair, problem) &&
           read_texts(request, "decoder_text", &transformer->decoder_text, problem) &&
           check_texts(&transformer->text_pair, &transformer->text, "text_pair", problem) &&
           check_texts(&transformer->decoder_text, &transformer->text, "decoder_text", problem);
}

static bool read_tensors(struct attention_request *request, struct problem *problem) {
    struct attn_model_inputs *inputs = &request->transformer.inputs;
    inputs->input_ids = attention_tensor(request, "input_ids");
    inputs->attention_mask = attention_tensor(request, "attention_mask");
    inputs->token_type_ids = attention_tensor(request, "token_type_ids");
    inputs->inputs_embeds = attention_tensor(request, "inputs_embeds");
    inputs->pixel_values = attention_tensor(request, "pixel_values");
    inputs->input_features = attention_tensor(request, "input_features");
    inputs->decoder_input_ids = attention_tensor(request, "decoder_input_ids");
    inputs->decoder_attention_mask = attention_tensor(request, "decoder_attention_mask");
    inputs->decoder_inputs_embeds = attention_tensor(request, "decoder_inputs_embeds");
    return attention_check_flags(&inputs->attention_mask, "/attention_mask", problem) &&
           attention_check_flags(&inputs->decoder_attention_mask, "/decoder_attention_mask", problem);
}

static const char *stack_name(int index) {
    return attn_stack_name((attn_stack)index);
}

/** "none" is the absence of the field. */
static const char *pooling_name(int index) {
    return attn_pooling_name((attn_pooling)(index + 1));
}

static bool read_pooling(struct attention_request *request, struct problem *problem) {
    struct attn_model_want *want = &request->transformer.want;
    const json_t *pooling = attention_json(request, "pooling");
    const json_t *normalize = attention_json(request, "normalize");
    struct json_names names = {pooling_name, ATTN_POOLING_COUNT - 1};
    int index = -1;
    if ((pooling != NULL && !json_value_name(pooling, "/pooling", names, &index, problem)) ||
        (normalize != NULL && !json_value_bool(normalize, "/normalize", &want->normalize, problem))) {
        return false;
    }
    want->pooling = (attn_pooling)(index + 1);
    if (want->normalize && want->pooling == ATTN_POOLING_NONE) {
        return fail_at("normalize", problem, "`normalize` is of the `embedding`, which only `pooling` makes");
    }
    return true;
}

static bool read_model_want(struct attention_request *request, struct problem *problem) {
    struct attn_model_want *want = &request->transformer.want;
    const json_t *stacks = attention_json(request, "stacks");
    const json_t *predictions = attention_json(request, "predictions");
    struct json_names names = {stack_name, ATTN_STACK_COUNT};
    want->dtype = request->document.dtype;
    return (stacks == NULL || json_value_name_set(stacks, "/stacks", names, &want->stacks, problem)) &&
           (predictions == NULL || json_value_size(predictions, "/predictions", 1, &want->predictions, problem)) &&
           read_pooling(request, problem);
}

bool attention_read_transformer(struct attention_request *request, struct problem *problem) {
    struct attn_model_info info = attn_model_info(request->model->transformer);
    return check_source(request, info.takes, problem) && check_companions(request, info.takes, problem) &&
           check_decoder(request, info.is_encoder_decoder, problem) && read_text_options(request, problem) &&
           read_tensors(request, problem) && read_model_want(request, problem);
}
