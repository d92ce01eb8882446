#include "lib/transformer/config.h"
#include "lib/kernels/packed.h"
#include "lib/tensor/error.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The index of the largest models is some megabytes. */
enum { MAX_DOCUMENT_BYTES = 64 << 20 };

static const struct setting_row {
    enum attn_setting_kind kind;
    const char *key;
    double fallback, low, high;
} setting_rows[ATTN_SET_COUNT] = {
#define ATTN_SETTING_ROW(name, kind, key, fallback, low, high)                                                         \
    [ATTN_SET_##name] = {ATTN_KIND_##kind, key, fallback, low, high},
    ATTN_SETTING_TABLE(ATTN_SETTING_ROW)
#undef ATTN_SETTING_ROW
};

/* Hugging Face's names of activations. "gelu_python" and the like are other ways to compute the same. */
static const struct {
    const char *name;
    attn_activation activation;
} activation_names[] = {
    {"gelu", ATTN_ACTIVATION_GELU},
    {"gelu_python", ATTN_ACTIVATION_GELU},
    {"gelu_new", ATTN_ACTIVATION_GELU_TANH},
    {"gelu_pytorch_tanh", ATTN_ACTIVATION_GELU_TANH},
    {"gelu_fast", ATTN_ACTIVATION_GELU_TANH},
    {"gelu_accurate", ATTN_ACTIVATION_GELU_TANH},
    {"gelu_python_tanh", ATTN_ACTIVATION_GELU_TANH},
    {"quick_gelu", ATTN_ACTIVATION_GELU_QUICK},
    {"silu", ATTN_ACTIVATION_SILU},
    {"swish", ATTN_ACTIVATION_SILU},
    {"relu", ATTN_ACTIVATION_RELU},
    {"tanh", ATTN_ACTIVATION_TANH},
    {"gated-gelu", ATTN_ACTIVATION_GELU_TANH}, /* T5's names */
    {"gated-silu", ATTN_ACTIVATION_SILU},
    {"gated-relu", ATTN_ACTIVATION_RELU},
    {"linear", ATTN_ACTIVATION_NONE},
};

attn_status attn_config_fail(struct attn_error *error, attn_status status, const char *key, const char *format, ...) {
    char field[160], message[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    snprintf(field, sizeof field, "config.json/%s", key);
    return attn_fail(error, status, field, "%s", message);
}

static attn_status read_text(FILE *file, const char *name, char **text, size_t *length, struct attn_error *error) {
    struct stat about;
    if (fstat(fileno(file), &about) != 0 || !S_ISREG(about.st_mode))
        return attn_fail(error, ATTN_EIO, name, "not a regular file");
    if (about.st_size > MAX_DOCUMENT_BYTES)
        return attn_fail(error, ATTN_EFORMAT, name, "larger than %d bytes", MAX_DOCUMENT_BYTES);
    char *bytes = malloc((size_t)about.st_size + 1);
    if (bytes == NULL)
        return attn_fail(error, ATTN_ENOMEM, name, "no memory to read it");
    *length = fread(bytes, 1, (size_t)about.st_size, file);
    if (ferror(file)) {
        free(bytes);
        return attn_fail(error, ATTN_EIO, name, "%s", strerror(errno));
    }
    *text = bytes;
    return ATTN_OK;
}

attn_status attn_document_read(json_t **document, const char *directory, const char *name, struct attn_error *error) {
    char path[4096];
    if ((size_t)snprintf(path, sizeof path, "%s/%s", directory, name) >= sizeof path)
        return attn_fail(error, ATTN_EIO, name, "the directory's name is too long");
    FILE *file = fopen(path, "rbe");
    if (file == NULL)
        return attn_fail(error, ATTN_EIO, name, "%s: %s", path, strerror(errno));
    char *text = NULL;
    size_t length = 0;
    attn_status status = read_text(file, name, &text, &length, error);
    fclose(file);
    if (status != ATTN_OK)
        return status;
    json_error_t problem = {0};
    json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    free(text);
    if (!json_is_object(root)) {
        bool is_json = root != NULL;
        json_decref(root);
        status = attn_fail(error, ATTN_EFORMAT, name, "expected a JSON object%s%s", is_json ? "" : ": ", problem.text);
        if (error != NULL)
            error->offset = problem.position > 0 ? (size_t)problem.position : 0;
        return status;
    }
    *document = root;
    return ATTN_OK;
}

attn_status attn_config_obey(const json_t *config, const struct attn_family *family, struct attn_error *error) {
    const json_t *quantized = json_object_get(config, "quantization_config");
    if (quantized != NULL && !json_is_null(quantized))
        return attn_config_fail(error, ATTN_ECONFLICT, "quantization_config",
                                "quantised weights are not computed with here; float32, float16 and bfloat16 are");
    for (const struct attn_family_rule *rule = family->rules; rule != NULL && rule->key != NULL; rule++) {
        const json_t *found = json_object_get(config, rule->key);
        if (found == NULL || json_is_null(found))
            continue;
        json_t *expected = json_loads(rule->value, JSON_DECODE_ANY, NULL);
        bool is_equal = json_equal(expected, found) || (json_is_number(expected) && json_is_number(found) &&
                                                        json_number_value(expected) == json_number_value(found));
        json_decref(expected);
        if (!is_equal)
            return attn_config_fail(error, ATTN_ECONFLICT, rule->key, "%s is computed with %s here, and nothing else",
                                    family->model_type, rule->value);
    }
    return ATTN_OK;
}

static attn_status read_activation(double *value, const json_t *found, const char *key, struct attn_error *error) {
    const char *name = json_string_value(found);
    if (name == NULL)
        return attn_config_fail(error, ATTN_ECONFLICT, key, "expected the name of an activation");
    for (size_t i = 0; i < sizeof activation_names / sizeof *activation_names; i++)
        if (strcmp(activation_names[i].name, name) == 0) {
            *value = activation_names[i].activation;
            return ATTN_OK;
        }
    return attn_config_fail(error, ATTN_ECONFLICT, key,
                            "activation \"%.60s\" is not computed here; gelu, gelu_new, gelu_pytorch_tanh, quick_gelu, "
                            "silu, relu, tanh are",
                            name);
}

static attn_status read_value(double *value, const json_t *found, const struct setting_row *row, const char *key,
                              struct attn_error *error) {
    if (row->kind == ATTN_KIND_ACTIVATION)
        return read_activation(value, found, key, error);
    if (row->kind == ATTN_KIND_GATED && json_is_string(found)) {
        *value = strncmp(json_string_value(found), "gated-", strlen("gated-")) == 0 ? 1 : 0;
        return ATTN_OK;
    }
    if ((row->kind == ATTN_KIND_HEIGHT || row->kind == ATTN_KIND_WIDTH) && json_array_size(found) == 2)
        found = json_array_get(found, row->kind == ATTN_KIND_WIDTH);
    if (row->kind == ATTN_KIND_SWITCH || row->kind == ATTN_KIND_GATED) {
        if (!json_is_boolean(found))
            return attn_config_fail(error, ATTN_ERANGE, key, "expected true or false");
        *value = json_is_true(found) ? 1 : 0;
        return ATTN_OK;
    }
    const bool is_whole = row->kind != ATTN_KIND_NUMBER;
    if (!json_is_number(found))
        return attn_config_fail(error, ATTN_ERANGE, key, "expected a number");
    *value = json_number_value(found);
    if (!(*value >= row->low && *value <= row->high) || (is_whole && *value != floor(*value)))
        return attn_config_fail(error, ATTN_ERANGE, key, "expected %s from %.12g to %.12g, found %.12g",
                                is_whole ? "a whole number" : "a number", row->low, row->high, *value);
    return ATTN_OK;
}

/* A list's departure from the table: the first row of the setting whose key is in config.json, else the last. */
static const struct attn_family_key *departure(enum attn_setting setting, const struct attn_family_key *keys,
                                               const json_t *config) {
    const struct attn_family_key *last = NULL;
    for (; keys != NULL && keys->setting != ATTN_SET_NONE; keys++) {
        if (keys->setting != setting)
            continue;
        last = keys;
        const json_t *found = keys->key != NULL ? json_object_get(config, keys->key) : NULL;
        if (found != NULL && !json_is_null(found))
            break;
    }
    return last;
}

/* Settings that are switched off by null, and stand at their fallback where config.json does not have the key. */
static bool null_is_none(enum attn_setting setting) {
    return setting == ATTN_SET_WINDOW || setting == ATTN_SET_SOFTCAP || setting == ATTN_SET_LOGIT_SOFTCAP;
}

static attn_status read_setting(struct attn_settings *settings, enum attn_setting setting, const json_t *config,
                                const struct attn_family *family, const struct attn_stack_recipe *recipe,
                                struct attn_error *error) {
    const struct setting_row *row = &setting_rows[setting];
    const struct attn_family_key *departs = departure(setting, recipe->keys, config); /* the stack's comes first */
    if (departs == NULL)
        departs = departure(setting, family->keys, config);
    const char *key = departs != NULL ? departs->key : row->key;
    const double fallback = departs != NULL ? departs->fallback : row->fallback;
    const json_t *found = key != NULL ? json_object_get(config, key) : NULL;
    settings->is_given[setting] = true;
    if (json_is_null(found) && null_is_none(setting)) {
        settings->is_given[setting] = false;
        return ATTN_OK;
    }
    if (found != NULL && !json_is_null(found))
        return read_value(&settings->values[setting], found, row, key, error);
    if (fallback <= ATTN_REQUIRED && fallback > ATTN_ABSENT)
        return attn_config_fail(error, ATTN_ECONFLICT, key != NULL ? key : "", "missing: %s needs it",
                                family->model_type);
    settings->is_given[setting] = fallback > ATTN_REQUIRED;
    settings->values[setting] = settings->is_given[setting] ? fallback : 0;
    return ATTN_OK;
}

static void follow(struct attn_settings *settings, enum attn_setting setting, double value) {
    if (settings->is_given[setting])
        return;
    settings->values[setting] = value;
    settings->is_given[setting] = true;
}

static attn_status check_heads(const struct attn_settings *settings, struct attn_error *error) {
    const size_t heads = attn_setting_size(settings, ATTN_SET_HEADS);
    const size_t kv_heads = attn_setting_size(settings, ATTN_SET_KV_HEADS);
    if (kv_heads == 0 || heads % kv_heads != 0)
        return attn_config_fail(error, ATTN_ERANGE, "num_key_value_heads", "%zu heads are no multiple of %zu", heads,
                                kv_heads);
    if (attn_setting_size(settings, ATTN_SET_HEAD_DIM) == 0)
        return attn_config_fail(error, ATTN_ERANGE, "num_attention_heads", "more heads than a hidden state's width");
    if (attn_setting_size(settings, ATTN_SET_GROUPS) > attn_setting_size(settings, ATTN_SET_LAYERS))
        return attn_config_fail(error, ATTN_ERANGE, "num_hidden_groups", "more groups than layers");
    return ATTN_OK;
}

/* DINOv2's feed-forward: a multiple of the hidden width; with a gate two thirds of it, up to a multiple of 8. */
static void follow_ratio(struct attn_settings *settings) {
    const double width = settings->values[ATTN_SET_FFN_RATIO] * settings->values[ATTN_SET_HIDDEN];
    if (!settings->is_given[ATTN_SET_FFN_RATIO])
        return;
    const double gated = floor((floor(width * 2 / 3) + 7) / 8) * 8;
    follow(settings, ATTN_SET_INTERMEDIATE, settings->values[ATTN_SET_GATED] != 0 ? gated : width);
}

attn_status attn_config_settings(struct attn_settings *settings, const json_t *config, const struct attn_family *family,
                                 const struct attn_stack_recipe *recipe, struct attn_error *error) {
    *settings = (struct attn_settings){0};
    for (enum attn_setting setting = ATTN_SET_NONE + 1; setting < ATTN_SET_COUNT; setting++) {
        attn_status status = read_setting(settings, setting, config, family, recipe, error);
        if (status != ATTN_OK)
            return status;
    }
    const double hidden = settings->values[ATTN_SET_HIDDEN], heads = settings->values[ATTN_SET_HEADS];
    if (!settings->is_given[ATTN_SET_HEAD_DIM] && fmod(hidden, heads) != 0)
        return attn_config_fail(error, ATTN_ERANGE, "hidden_size", "%.0f is no multiple of the %.0f heads", hidden,
                                heads);
    follow(settings, ATTN_SET_KV_HEADS, heads);
    follow(settings, ATTN_SET_HEAD_DIM, floor(hidden / heads));
    follow(settings, ATTN_SET_EMBEDDING, hidden);
    follow_ratio(settings);
    follow(settings, ATTN_SET_INTERMEDIATE, 4 * hidden);
    follow(settings, ATTN_SET_GROUPS, settings->values[ATTN_SET_LAYERS]);
    follow(settings, ATTN_SET_SCORE_DIVISOR, settings->values[ATTN_SET_HEAD_DIM]);
    follow(settings, ATTN_SET_HEAD_ACTIVATION, settings->values[ATTN_SET_ACTIVATION]);
    follow(settings, ATTN_SET_FINAL_NORM,
           settings->values[ATTN_SET_NORM_FIRST] != 0 && settings->values[ATTN_SET_NO_FINAL_NORM] == 0 ? 1 : 0);
    return check_heads(settings, error);
}

attn_status attn_config_layer_window(const json_t *config, const struct attn_settings *settings,
                                     const struct attn_stack_recipe *recipe, size_t layer, bool *is_windowed,
                                     struct attn_error *error) {
    *is_windowed = false;
    if (attn_setting_size(settings, ATTN_SET_WINDOW) == 0 || !attn_setting_is_on(settings, ATTN_SET_USES_WINDOW))
        return ATTN_OK;
    const json_t *types = json_object_get(config, "layer_types");
    if (json_is_array(types) && recipe->window != ATTN_WINDOW_ALL) {
        const char *type = json_string_value(json_array_get(types, layer));
        *is_windowed = type != NULL && strcmp(type, "sliding_attention") == 0;
        if (type == NULL || !(*is_windowed || strcmp(type, "full_attention") == 0))
            return attn_config_fail(error, ATTN_ECONFLICT, "layer_types",
                                    "expected full_attention or sliding_attention for layer %zu", layer);
        return ATTN_OK;
    }
    const size_t step = attn_setting_size(settings, ATTN_SET_WINDOW_STEP);
    switch (recipe->window) {
    case ATTN_WINDOW_ALL:
        *is_windowed = true;
        break;
    case ATTN_WINDOW_ALTERNATE:
        *is_windowed = layer % 2 == 0;
        break;
    case ATTN_WINDOW_FROM_STEP:
        *is_windowed = layer >= step;
        break;
    case ATTN_WINDOW_NOT_STEP:
        if (step == 0)
            return attn_config_fail(error, ATTN_ERANGE, "global_attn_every_n_layers", "expected 1 or more, found 0");
        *is_windowed = layer % step != 0;
        break;
    }
    return ATTN_OK;
}
