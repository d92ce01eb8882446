#include "server/routes/attention_request.h"
#include "server/routes/json_value.h"
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/** Forms that other stages than the softmax can be asked for. */
#define STAGED_FORMS                                                                                                   \
    (ATTN_BIT(ATTN_FORM_AVERAGE) | ATTN_BIT(ATTN_FORM_PER_HEAD) | ATTN_BIT(ATTN_FORM_CONCAT) |                         \
     ATTN_BIT(ATTN_FORM_MAX) | ATTN_BIT(ATTN_FORM_MIN) | ATTN_BIT(ATTN_FORM_HEAD_WEIGHTED))

/** `weights` takes "none" beside the forms: its index is 0, a form's is one more than its number. */
static const char *weights_name(int index) {
    return index == 0 ? "none" : attn_form_name((attn_form)(index - 1));
}

static const char *analysis_name(int index) {
    return attn_analysis_name((attn_analysis)index);
}

static const char *internal_name(int index) {
    return attn_internal_name((attn_internal)index);
}

static const char *stage_name(int index) {
    return attn_stage_name((attn_stage)index);
}

static const char *fusion_name(int index) {
    return attn_fusion_name((attn_fusion)index);
}

static const char *encoding_name(int index) {
    static const char *const names[] = {"nested", "flat", "base64"};
    return names[index];
}

static bool read_weights(const json_t *json, unsigned *forms, struct problem *problem) {
    struct json_names names = {weights_name, ATTN_FORM_COUNT + 1};
    unsigned set;
    int index;
    if (!json_is_array(json)) {
        if (!json_is_string(json)) {
            problem_set(problem, PROBLEM_INVALID, "/weights", "expected a name or an array of names, found %s",
                        json_value_kind(json));
            return false;
        }
        if (!json_value_name(json, "/weights", names, &index, problem)) {
            return false;
        }
        *forms = ATTN_BIT(index) >> 1;
        return true;
    }
    if (!json_value_name_set(json, "/weights", names, &set, problem)) {
        return false;
    }
    if ((set & 1U) != 0 && set != 1U) {
        problem_set(problem, PROBLEM_INVALID, "/weights", "\"none\" stands alone; found it beside other forms");
        return false;
    }
    *forms = set >> 1;
    return true;
}

static bool read_forms(struct attention_request *request, struct problem *problem) {
    struct attn_want *want = &request->want;
    const json_t *weights = attention_json(request, "weights");
    const json_t *analyses = attention_json(request, "analyses");
    const json_t *internals = attention_json(request, "internals");
    struct json_names analysis_names = {analysis_name, ATTN_ANALYSIS_COUNT};
    struct json_names internal_names = {internal_name, ATTN_INTERNAL_COUNT};
    return (weights == NULL || read_weights(weights, &want->forms, problem)) &&
           (analyses == NULL || json_value_name_set(analyses, "/analyses", analysis_names, &want->analyses, problem)) &&
           (internals == NULL ||
            json_value_name_set(internals, "/internals", internal_names, &want->internals, problem));
}

static bool check_stage(const struct attn_want *want, enum attention_mode mode, struct problem *problem) {
    if (want->stage == ATTN_STAGE_SOFTMAX) {
        return true;
    }
    if (mode == ATTENTION_GIVEN) {
        problem_set(problem, PROBLEM_INVALID, "/weights_stage",
                    "`attention_weights` are what they are: expected \"softmax\" or nothing, found \"%s\"",
                    attn_stage_name(want->stage));
        return false;
    }
    for (int form = 0; form < ATTN_FORM_COUNT; form++) {
        if ((want->forms & ~STAGED_FORMS & ATTN_BIT(form)) != 0) {
            problem_set(problem, PROBLEM_INVALID, "/weights_stage",
                        "\"%s\" is always of the softmax: expected \"softmax\", found \"%s\"",
                        attn_form_name((attn_form)form), attn_stage_name(want->stage));
            return false;
        }
    }
    if (want->analyses != 0) {
        problem_set(problem, PROBLEM_INVALID, "/weights_stage",
                    "analyses are always of the softmax: expected \"softmax\", found \"%s\"",
                    attn_stage_name(want->stage));
        return false;
    }
    return true;
}

static bool read_stage(struct attention_request *request, struct problem *problem) {
    const json_t *stage = attention_json(request, "weights_stage");
    int index;
    if (stage == NULL) {
        return true;
    }
    if (!json_value_name(stage, "/weights_stage", (struct json_names){stage_name, ATTN_STAGE_COUNT}, &index, problem)) {
        return false;
    }
    request->want.stage = (attn_stage)index;
    return check_stage(&request->want, request->mode, problem);
}

/** An array of different integers. The library checks their range: it knows how many heads and layers there are. */
static bool read_selection(struct attention_request *request, const char *name, const long long **values, size_t *count,
                           struct problem *problem) {
    const json_t *json = attention_json(request, name);
    char pointer[64], place[96];
    if (json == NULL) {
        return true;
    }
    snprintf(pointer, sizeof pointer, "/%s", name);
    if (!json_value_filled_array(json, pointer, problem)) {
        return false;
    }
    size_t length = json_array_size(json);
    long long *read = arena_alloc(request->document.arena, length * sizeof *read);
    if (read == NULL) {
        return attention_out_of_memory(problem);
    }
    for (size_t i = 0; i < length; i++) {
        json_value_at(place, sizeof place, pointer, i);
        if (!json_value_integer(json_array_get(json, i), place, LLONG_MIN, LLONG_MAX, &read[i], problem)) {
            return false;
        }
    }
    *values = read;
    *count = length;
    return true;
}

static bool read_pair(const json_t *json, size_t index, long long pair[2], struct problem *problem) {
    char pointer[64], place[96];
    json_value_at(pointer, sizeof pointer, "/pairs", index);
    if (!json_is_array(json) || json_array_size(json) != 2) {
        problem_set(problem, PROBLEM_INVALID, pointer, "expected [layer, head], found %s",
                    json_is_array(json) ? "an array of another length" : json_value_kind(json));
        return false;
    }
    for (size_t i = 0; i < 2; i++) {
        json_value_at(place, sizeof place, pointer, i);
        if (!json_value_integer(json_array_get(json, i), place, LLONG_MIN, LLONG_MAX, &pair[i], problem)) {
            return false;
        }
    }
    return true;
}

static bool read_pairs(struct attention_request *request, struct problem *problem) {
    const json_t *json = attention_json(request, "pairs");
    if (json == NULL) {
        return true;
    }
    if (!json_value_filled_array(json, "/pairs", problem)) {
        return false;
    }
    size_t length = json_array_size(json);
    long long(*pairs)[2] = arena_alloc(request->document.arena, length * sizeof *pairs);
    if (pairs == NULL) {
        return attention_out_of_memory(problem);
    }
    for (size_t i = 0; i < length; i++) {
        if (!read_pair(json_array_get(json, i), i, pairs[i], problem)) {
            return false;
        }
    }
    request->want.pairs = (const long long(*)[2])pairs;
    request->want.pairs_count = length;
    return true;
}

/** Layers and pairs are for weights that have a layer axis; pairs stand in place of heads and layers. */
static bool check_selections(const struct attention_request *request, struct problem *problem) {
    static const char *const of_layers[] = {"layers", "pairs"};
    static const char *const replaced[] = {"layers", "heads"};
    char pointer[64];
    bool has_layers = request->mode == ATTENTION_TRANSFORMER || request->given.weights.rank == 5;
    for (size_t i = 0; i < 2 && !has_layers; i++) {
        if (attention_json(request, of_layers[i]) != NULL) {
            snprintf(pointer, sizeof pointer, "/%s", of_layers[i]);
            problem_set(problem, PROBLEM_INVALID, pointer,
                        "`%s` needs layers: `attention_weights` of rank 5 (layers, N, H, L, T), found rank %d",
                        of_layers[i], request->given.weights.rank);
            return false;
        }
    }
    for (size_t i = 0; i < 2 && request->want.pairs_count > 0; i++) {
        if (attention_json(request, replaced[i]) != NULL) {
            problem_set(problem, PROBLEM_INVALID, "/pairs",
                        "`pairs` stands in place of `layers` and `heads`; found `%s` too", replaced[i]);
            return false;
        }
    }
    return true;
}

static bool read_selections(struct attention_request *request, struct problem *problem) {
    struct attn_want *want = &request->want;
    const json_t *query_range = attention_json(request, "query_range");
    const json_t *key_range = attention_json(request, "key_range");
    const json_t *top_k = attention_json(request, "top_k");
    want->has_query_range = query_range != NULL;
    want->has_key_range = key_range != NULL;
    return read_selection(request, "heads", &want->heads, &want->heads_count, problem) &&
           read_selection(request, "layers", &want->layers, &want->layers_count, problem) &&
           read_pairs(request, problem) && check_selections(request, problem) &&
           (query_range == NULL || json_value_range(query_range, "/query_range", want->query_range, problem)) &&
           (key_range == NULL || json_value_range(key_range, "/key_range", want->key_range, problem)) &&
           (top_k == NULL || json_value_size(top_k, "/top_k", 1, &want->top_k, problem));
}

static double element(const struct attn_view *view, size_t index) {
    ptrdiff_t at = (ptrdiff_t)index * view->stride[0];
    return view->dtype == ATTN_FLOAT64 ? ((const double *)view->data)[at] : (double)((const float *)view->data)[at];
}

static bool read_head_weights(struct attention_request *request, struct problem *problem) {
    const struct field *field = document_find(&request->document, "head_weights");
    struct attn_want *want = &request->want;
    if (field == NULL) {
        if ((want->forms & ATTN_BIT(ATTN_FORM_HEAD_WEIGHTED)) != 0) {
            problem_set(problem, PROBLEM_INVALID, "/head_weights",
                        "\"head_weighted\" needs `head_weights`: a number a chosen head, found none");
            return false;
        }
        return true;
    }
    if (field->tensor.rank != 1) {
        problem_set(problem, PROBLEM_INVALID, "/head_weights", "expected an array of numbers, found rank %d",
                    field->tensor.rank);
        return false;
    }
    size_t count = field->tensor.shape[0];
    double *values = arena_alloc(request->document.arena, count * sizeof *values);
    if (values == NULL) {
        return attention_out_of_memory(problem);
    }
    for (size_t i = 0; i < count; i++) {
        values[i] = element(&field->tensor, i);
    }
    want->head_weights = values;
    want->head_weights_count = count;
    return true;
}

static bool read_rollout(struct attention_request *request, struct problem *problem) {
    const json_t *rollout = attention_json(request, "rollout");
    const char *name;
    json_t *member;
    int index;
    if (rollout == NULL) {
        return true;
    }
    if (!json_is_object(rollout)) {
        problem_set(problem, PROBLEM_INVALID, "/rollout", "expected {\"head_fusion\": name}, found %s",
                    json_value_kind(rollout));
        return false;
    }
    json_object_foreach((json_t *)(uintptr_t)rollout, name, member) {
        char pointer[sizeof problem->pointer] = "/rollout";
        problem_pointer_append(pointer, sizeof pointer, name, strlen(name));
        if (strcmp(name, "head_fusion") != 0) {
            problem_set(problem, PROBLEM_INVALID, pointer, "unknown field; `rollout` has `head_fusion`");
            return false;
        }
        if (json_is_null(member)) {
            continue;
        }
        if (!json_value_name(member, pointer, (struct json_names){fusion_name, ATTN_FUSION_COUNT}, &index, problem)) {
            return false;
        }
        request->want.fusion = (attn_fusion)index;
    }
    return true;
}

static bool read_form_options(struct attention_request *request, struct problem *problem) {
    const json_t *components = attention_json(request, "components");
    return (components == NULL || json_value_size(components, "/components", 1, &request->want.components, problem)) &&
           read_head_weights(request, problem) && read_rollout(request, problem);
}

static bool read_returns(struct attention_request *request, struct problem *problem) {
    struct attn_want *want = &request->want;
    const json_t *output = attention_json(request, "return_output");
    const json_t *present = attention_json(request, "return_present");
    if (request->mode == ATTENTION_GIVEN) {
        want->output = false;
    }
    return (output == NULL || json_value_bool(output, "/return_output", &want->output, problem)) &&
           (present == NULL || json_value_bool(present, "/return_present", &want->present, problem));
}

static bool read_encoding(struct attention_request *request, struct problem *problem) {
    const json_t *encoding = attention_json(request, "encoding");
    const json_t *digits = attention_json(request, "digits");
    long long most = request->document.dtype == ATTN_FLOAT64 ? 17 : 9;
    long long count = 0;
    int index = ENCODING_NESTED;
    if (encoding != NULL &&
        !json_value_name(encoding, "/encoding", (struct json_names){encoding_name, 3}, &index, problem)) {
        return false;
    }
    if (digits != NULL && !json_value_integer(digits, "/digits", 1, most, &count, problem)) {
        return false;
    }
    request->encode = (struct encode_options){.encoding = (enum tensor_encoding)index, .digits = (int)count};
    return true;
}

bool attention_read_wanted(struct attention_request *request, struct problem *problem) {
    return read_forms(request, problem) && read_stage(request, problem) && read_selections(request, problem) &&
           read_form_options(request, problem) && read_returns(request, problem) && read_encoding(request, problem);
}
