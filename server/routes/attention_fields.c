#include "server/routes/attention_fields.h"
#include <stdio.h>
#include <string.h>

#define RAW ATTENTION_RAW
#define PARAMS ATTENTION_PARAMS
#define MODEL ATTENTION_MODEL
#define GIVEN ATTENTION_GIVEN
#define TRANSFORMER ATTENTION_TRANSFORMER
#define TENSORS_IN (RAW | PARAMS | MODEL)
#define COMPUTED (TENSORS_IN | TRANSFORMER)
#define LAYERED (GIVEN | TRANSFORMER)
#define EVERY (COMPUTED | GIVEN)

/* name, how it is read, the modes that take it */
#define ATTENTION_FIELD_TABLE(X)                                                                                       \
    X("query", FIELD_TENSOR, TENSORS_IN)                                                                               \
    X("key", FIELD_TENSOR, TENSORS_IN)                                                                                 \
    X("value", FIELD_TENSOR, TENSORS_IN)                                                                               \
    X("num_heads", FIELD_JSON, RAW | PARAMS)                                                                           \
    X("num_kv_heads", FIELD_JSON, RAW | PARAMS)                                                                        \
    X("params", FIELD_TENSORS, PARAMS)                                                                                 \
    X("add_zero_attn", FIELD_JSON, PARAMS)                                                                             \
    X("model", FIELD_JSON, MODEL | TRANSFORMER)                                                                        \
    X("attention_weights", FIELD_TENSOR, GIVEN)                                                                        \
    X("layout", FIELD_JSON, GIVEN)                                                                                     \
    X("tokens", FIELD_JSON, GIVEN)                                                                                     \
    X("key_tokens", FIELD_JSON, GIVEN)                                                                                 \
    X("attn_mask", FIELD_MASK, TENSORS_IN)                                                                             \
    X("key_padding_mask", FIELD_PADDING, TENSORS_IN)                                                                   \
    X("mask_convention", FIELD_JSON, TENSORS_IN)                                                                       \
    X("is_causal", FIELD_JSON, TENSORS_IN)                                                                             \
    X("causal_alignment", FIELD_JSON, TENSORS_IN)                                                                      \
    X("window", FIELD_JSON, TENSORS_IN)                                                                                \
    X("key_lengths", FIELD_INTEGERS, TENSORS_IN)                                                                       \
    X("segment_ids", FIELD_INTEGERS, TENSORS_IN)                                                                       \
    X("prefix_length", FIELD_INTEGERS, TENSORS_IN)                                                                     \
    X("past_key", FIELD_TENSOR, TENSORS_IN)                                                                            \
    X("past_value", FIELD_TENSOR, TENSORS_IN)                                                                          \
    X("scale", FIELD_JSON, TENSORS_IN)                                                                                 \
    X("softcap", FIELD_JSON, TENSORS_IN)                                                                               \
    X("alibi_slopes", FIELD_TENSOR, TENSORS_IN)                                                                        \
    X("sinks", FIELD_TENSOR, TENSORS_IN)                                                                               \
    X("weights", FIELD_JSON, EVERY)                                                                                    \
    X("weights_stage", FIELD_JSON, EVERY)                                                                              \
    X("head_weights", FIELD_TENSOR, EVERY)                                                                             \
    X("components", FIELD_JSON, EVERY)                                                                                 \
    X("rollout", FIELD_JSON, EVERY)                                                                                    \
    X("layers", FIELD_JSON, LAYERED)                                                                                   \
    X("heads", FIELD_JSON, EVERY)                                                                                      \
    X("pairs", FIELD_JSON, LAYERED)                                                                                    \
    X("query_range", FIELD_JSON, EVERY)                                                                                \
    X("key_range", FIELD_JSON, EVERY)                                                                                  \
    X("top_k", FIELD_JSON, EVERY)                                                                                      \
    X("internals", FIELD_JSON, COMPUTED)                                                                               \
    X("analyses", FIELD_JSON, EVERY)                                                                                   \
    X("return_output", FIELD_JSON, COMPUTED)                                                                           \
    X("return_present", FIELD_JSON, TENSORS_IN)                                                                        \
    X("store", FIELD_JSON, EVERY)                                                                                      \
    X("encoding", FIELD_JSON, EVERY)                                                                                   \
    X("digits", FIELD_JSON, EVERY)                                                                                     \
    X("dtype", FIELD_JSON, EVERY)                                                                                      \
    X("predictions", FIELD_JSON, TRANSFORMER)                                                                          \
    X("text", FIELD_JSON, TRANSFORMER)                                                                                 \
    X("text_pair", FIELD_JSON, TRANSFORMER)                                                                            \
    X("truncation", FIELD_JSON, TRANSFORMER)                                                                           \
    X("add_special_tokens", FIELD_JSON, TRANSFORMER)                                                                   \
    X("offset_unit", FIELD_JSON, TRANSFORMER)                                                                          \
    X("input_ids", FIELD_INTEGERS, TRANSFORMER)                                                                        \
    X("attention_mask", FIELD_FLAGS, TRANSFORMER)                                                                      \
    X("token_type_ids", FIELD_INTEGERS, TRANSFORMER)                                                                   \
    X("inputs_embeds", FIELD_TENSOR, TRANSFORMER)                                                                      \
    X("pixel_values", FIELD_TENSOR, TRANSFORMER)                                                                       \
    X("input_features", FIELD_TENSOR, TRANSFORMER)                                                                     \
    X("decoder_text", FIELD_JSON, TRANSFORMER)                                                                         \
    X("decoder_input_ids", FIELD_INTEGERS, TRANSFORMER)                                                                \
    X("decoder_attention_mask", FIELD_FLAGS, TRANSFORMER)                                                              \
    X("decoder_inputs_embeds", FIELD_TENSOR, TRANSFORMER)                                                              \
    X("stacks", FIELD_JSON, TRANSFORMER)                                                                               \
    X("pooling", FIELD_JSON, TRANSFORMER)                                                                              \
    X("normalize", FIELD_JSON, TRANSFORMER)

const struct field_spec attention_field_specs[] = {
#define SPEC(name, kind, modes) {name, kind},
    ATTENTION_FIELD_TABLE(SPEC)
#undef SPEC
};
const size_t attention_field_count = sizeof attention_field_specs / sizeof *attention_field_specs;

static const unsigned field_modes[] = {
#define MODES(name, kind, modes) modes,
    ATTENTION_FIELD_TABLE(MODES)
#undef MODES
};

/** A mode, the field that chooses it (raw has none), and its name. */
static const struct {
    enum attention_mode mode;
    const char *field, *name;
} modes_table[] = {
    {ATTENTION_RAW, NULL, "raw"},
    {ATTENTION_PARAMS, "params", "params"},
    {ATTENTION_MODEL, "model", "model (attention layer)"},
    {ATTENTION_GIVEN, "attention_weights", "attention_weights"},
    {ATTENTION_TRANSFORMER, NULL, "model (transformer)"},
};
#define MODE_COUNT (sizeof modes_table / sizeof *modes_table)

const char *attention_mode_name(enum attention_mode mode) {
    for (size_t i = 0; i < MODE_COUNT; i++) {
        if (modes_table[i].mode == mode) {
            return modes_table[i].name;
        }
    }
    return "";
}

bool attention_mode_find(const struct document *document, enum attention_mode *mode, struct problem *problem) {
    const char *chosen = NULL;
    *mode = ATTENTION_RAW;
    for (size_t i = 0; i < MODE_COUNT; i++) {
        const char *field = modes_table[i].field;
        if (field == NULL || document_find(document, field) == NULL) {
            continue;
        }
        if (chosen != NULL) {
            char pointer[64];
            snprintf(pointer, sizeof pointer, "/%s", field);
            problem_set(
                problem, PROBLEM_INVALID, pointer,
                "`%s` and `%s` are both there; exactly one of `params`, `model` and `attention_weights`, or none "
                "of them, is taken",
                chosen, field);
            return false;
        }
        chosen = field;
        *mode = modes_table[i].mode;
    }
    return true;
}

/** Writes "raw, params" for the modes of a set. */
static void list_modes(unsigned modes, char *text, size_t capacity) {
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < MODE_COUNT; i++) {
        if ((modes & (unsigned)modes_table[i].mode) != 0 && used < capacity) {
            used += (size_t)snprintf(text + used, capacity - used, "%s%s", used > 0 ? ", " : "", modes_table[i].name);
        }
    }
}

static bool refuse_field(const char *name, unsigned taken_by, unsigned modes, struct problem *problem) {
    char pointer[64], taken[96];
    const char *mode = modes == ATTENTION_ANY_MODEL ? "model" : attention_mode_name((enum attention_mode)modes);
    snprintf(pointer, sizeof pointer, "/%s", name);
    if (taken_by == TRANSFORMER) {
        problem_set(problem, PROBLEM_INVALID, pointer, "`%s` needs a transformer model; this request is in mode `%s`",
                    name, mode);
        return false;
    }
    list_modes(taken_by, taken, sizeof taken);
    problem_set(problem, PROBLEM_INVALID, pointer, "`%s` does not go with mode `%s`; it is taken in: %s", name, mode,
                taken);
    return false;
}

bool attention_fields_check(const struct document *document, unsigned modes, struct problem *problem) {
    for (size_t i = 0; i < document->field_count; i++) {
        const struct field *field = &document->fields[i];
        unsigned taken_by = field_modes[field->spec - attention_field_specs];
        if ((taken_by & modes) == 0) {
            return refuse_field(field->spec->name, taken_by, modes, problem);
        }
    }
    return true;
}

#define HINT_MAX_NAME 32
/** How many letters may be wrong. */
#define HINT_MAX_DISTANCE 2

static size_t smallest(size_t a, size_t b, size_t c) {
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/** Insertions, deletions, replacements between two names (Levenshtein 1966). */
static size_t edit_distance(const char *a, size_t a_length, const char *b, size_t b_length) {
    size_t row[HINT_MAX_NAME + 1];
    for (size_t j = 0; j <= b_length; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t above = row[j];
            row[j] = smallest(row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[b_length];
}

/** @return the name of the table that is nearest, or NULL where none is near, or it is in the table itself. */
static const char *nearest_field(const char *name) {
    const char *nearest = NULL;
    size_t length = strlen(name), least = HINT_MAX_DISTANCE + 1;
    if (length > HINT_MAX_NAME || strchr(name, '/') != NULL) {
        return NULL;
    }
    for (size_t i = 0; i < attention_field_count; i++) {
        const char *known = attention_field_specs[i].name;
        size_t distance = edit_distance(name, length, known, strlen(known));
        if (distance < least) {
            least = distance;
            nearest = known;
        }
    }
    return least == 0 ? NULL : nearest;
}

/** Rows of ids of different lengths are what everybody tries first. */
static const char *padding_hint(const struct problem *problem) {
    bool is_uneven = strstr(problem->detail, "a tensor is rectangular") != NULL;
    return !is_uneven                                                  ? NULL
           : strncmp(problem->pointer, "/input_ids/", 11) == 0         ? "attention_mask"
           : strncmp(problem->pointer, "/decoder_input_ids/", 19) == 0 ? "decoder_attention_mask"
                                                                       : NULL;
}

void attention_fields_hint(struct problem *problem) {
    const char *nearest = problem->pointer[0] == '/' ? nearest_field(problem->pointer + 1) : NULL;
    const char *mask = padding_hint(problem);
    size_t used = strlen(problem->detail), left = sizeof problem->detail - used;
    if (problem->id != PROBLEM_INVALID) {
        return;
    }
    if (nearest != NULL) {
        snprintf(problem->detail + used, left, "; did you mean `%s`?", nearest);
    } else if (mask != NULL) {
        snprintf(problem->detail + used, left, ": pad the shorter rows, and say where in `%s`", mask);
    }
}
