#include "server/routes/attention_request.h"
#include "server/routes/json_value.h"
#include <limits.h>
#include <string.h>

static const char *alignment_name(int index) {
    static const char *const names[] = {"auto", "top_left", "bottom_right"};
    return names[index];
}

static const char *convention_name(int index) {
    static const char *const names[] = {"attend", "ignore"};
    return names[index];
}

/** Fields that are handed on as they were read. */
static void read_views(struct attention_request *request) {
    struct attn_sdpa_options *options = &request->inputs.options;
    const struct {
        const char *name;
        struct attn_view *view;
    } rows[] = {
        {"attn_mask", &options->attn_mask},
        {"key_padding_mask", &options->key_padding_mask},
        {"key_lengths", &options->key_lengths},
        {"segment_ids", &options->segment_ids},
        {"prefix_length", &options->prefix_length},
        {"alibi_slopes", &options->alibi_slopes},
        {"sinks", &options->sinks},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct field *field = document_find(&request->document, rows[i].name);
        if (field != NULL) {
            *rows[i].view = field->tensor;
        }
    }
}

/** Without a batch axis segment_ids may come as (T): it is the one item's. */
static void give_batch_axis(struct attention_request *request) {
    struct attn_view *ids = &request->inputs.options.segment_ids;
    if (ids->data != NULL && ids->rank == 1 && request->inputs.query.rank == 2) {
        size_t shape[2] = {1, ids->shape[0]};
        *ids = attn_view_contiguous(ids->data, ids->dtype, 2, shape);
    }
}

static bool is_boolean(const struct attn_view *mask) {
    return mask->data != NULL && !attn_dtype_is_floating(mask->dtype);
}

/** torch.nn.MultiheadAttention's masks say what to leave out, everyone else's what takes part: nobody is to guess. */
static bool read_convention(struct attention_request *request, struct problem *problem) {
    struct attn_sdpa_options *options = &request->inputs.options;
    const json_t *convention = attention_json(request, "mask_convention");
    int index = 0;
    if (convention != NULL) {
        struct json_names names = {convention_name, 2};
        if (!json_value_name(convention, "/mask_convention", names, &index, problem)) {
            return false;
        }
        options->bool_mask_ignores = index == 1;
        return true;
    }
    if (request->mode == ATTENTION_RAW ||
        (!is_boolean(&options->attn_mask) && !is_boolean(&options->key_padding_mask))) {
        return true;
    }
    problem_set(problem, PROBLEM_INVALID, "/mask_convention",
                "a boolean mask with mode `%s` needs `mask_convention`: \"attend\" (true takes part: torch's "
                "scaled_dot_product_attention, ONNX, Hugging Face) or \"ignore\" (true is left out: "
                "torch.nn.MultiheadAttention)",
                attention_mode_name(request->mode));
    return false;
}

/** A side that is left out, null or -1 is unbounded. */
static bool read_window_side(const json_t *json, const char *pointer, long long *side, struct problem *problem) {
    return json == NULL || json_is_null(json) || json_value_integer(json, pointer, -1, LLONG_MAX, side, problem);
}

static bool check_window_members(const json_t *window, struct problem *problem) {
    const char *name;
    json_t *member;
    json_object_foreach((json_t *)(uintptr_t)window, name, member) {
        if (strcmp(name, "left") != 0 && strcmp(name, "right") != 0) {
            char pointer[sizeof problem->pointer] = "/window";
            problem_pointer_append(pointer, sizeof pointer, name, strlen(name));
            problem_set(problem, PROBLEM_INVALID, pointer, "unknown field; `window` has `left` and `right`");
            return false;
        }
    }
    return true;
}

static bool read_window(struct attention_request *request, struct problem *problem) {
    struct attn_sdpa_options *options = &request->inputs.options;
    const json_t *window = attention_json(request, "window");
    if (window == NULL) {
        return true;
    }
    if (!json_is_object(window)) {
        problem_set(problem, PROBLEM_INVALID, "/window", "expected {\"left\": n, \"right\": m}, found %s",
                    json_value_kind(window));
        return false;
    }
    return check_window_members(window, problem) &&
           read_window_side(json_object_get(window, "left"), "/window/left", &options->window_left, problem) &&
           read_window_side(json_object_get(window, "right"), "/window/right", &options->window_right, problem);
}

static bool read_causal(struct attention_request *request, struct problem *problem) {
    struct attn_sdpa_options *options = &request->inputs.options;
    const json_t *is_causal = attention_json(request, "is_causal");
    const json_t *alignment = attention_json(request, "causal_alignment");
    int index = 0;
    if (is_causal != NULL && !json_value_bool(is_causal, "/is_causal", &options->is_causal, problem)) {
        return false;
    }
    if (alignment == NULL) {
        return true;
    }
    if (!json_value_name(alignment, "/causal_alignment", (struct json_names){alignment_name, 3}, &index, problem)) {
        return false;
    }
    options->causal_alignment = (attn_causal_alignment)index;
    return true;
}

static bool read_scaling(struct attention_request *request, struct problem *problem) {
    struct attn_sdpa_options *options = &request->inputs.options;
    const json_t *scale = attention_json(request, "scale");
    const json_t *softcap = attention_json(request, "softcap");
    if (scale != NULL && !json_value_number(scale, "/scale", &options->scale, problem)) {
        return false;
    }
    options->has_scale = scale != NULL;
    if (softcap != NULL && !json_value_number(softcap, "/softcap", &options->softcap, problem)) {
        return false;
    }
    if (options->softcap < 0) {
        problem_set(problem, PROBLEM_INVALID, "/softcap", "expected a number of 0 (off) or more, found %g",
                    options->softcap);
        return false;
    }
    return true;
}

bool attention_read_attended(struct attention_request *request, struct problem *problem) {
    read_views(request);
    give_batch_axis(request);
    return read_convention(request, problem) && read_causal(request, problem) && read_window(request, problem) &&
           read_scaling(request, problem);
}
