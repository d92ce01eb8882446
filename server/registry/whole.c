#include "server/registry/whole.h"
#include "server/registry/settings.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum problem_id id_of(attn_status status) {
    switch (status) {
    case ATTN_EFORMAT:
        return PROBLEM_MALFORMED;
    case ATTN_ENOMEM:
        return PROBLEM_NO_ROOM;
    default: /* a file that is not there too: the folder is well-formed, and lacks something */
        return PROBLEM_INVALID;
    }
}

/* What the system said of a file, without the path before it: clients know the file by its name in the folder. */
static const char *without_path(const struct attn_error *error) {
    const char *colon = error->status == ATTN_EIO && error->field[0] != '\0' ? strrchr(error->message, ':') : NULL;
    return colon != NULL && colon[1] == ' ' ? colon + 2 : error->message;
}

/* error->field is a file's name and the key in it, both of which the reader needs. */
static void fail_folder(struct problem *problem, const struct attn_error *error) {
    char pointer[sizeof error->field + 1] = "";
    enum problem_id id = id_of(error->status);
    const char *colon = error->field[0] != '\0' ? ": " : "";
    if (error->field[0] != '\0')
        snprintf(pointer, sizeof pointer, "/%s", error->field);
    if (id != PROBLEM_MALFORMED) {
        problem_set(problem, id, pointer, "%s%s%s", error->field, colon, without_path(error));
        return;
    }
    problem_set(problem, id, pointer, "%s%s%s, at byte %zu", error->field, colon, error->message, error->offset);
    problem->has_offset = true;
    problem->offset = error->offset;
}

static void describe(struct model *model) {
    struct attn_model_info info = attn_model_info(model->transformer);
    model->kind = "transformer";
    model->architecture = info.architecture;
    model->layers = info.layers;
    model->heads = info.heads;
    model->kv_heads = info.kv_heads;
    model->hidden_size = info.hidden_size;
    model->max_positions = info.max_positions;
    model->parameters = info.parameters;
    model->bytes = info.bytes;
    model->dtype = attn_dtype_name(info.dtype);
}

static bool guard_files(struct loaded *loaded, struct problem *problem) {
    for (size_t i = 0; i < attn_model_file_count(loaded->model.transformer); i++) {
        size_t length;
        const void *bytes = attn_safetensors_bytes(attn_model_file(loaded->model.transformer, i), &length);
        if (!loaded_guard(loaded, (void *)bytes, length, problem))
            return false;
    }
    return true;
}

static bool read_tokenizer(struct loaded *loaded, struct problem *problem) {
    struct attn_tokenizer *tokenizer = NULL;
    struct attn_error error = {.status = ATTN_OK};
    attn_status status = attn_tokenizer_open(&tokenizer, loaded->path, &error);
    if (!folder_is_current(&loaded->folder, loaded->path)) {
        attn_tokenizer_close(tokenizer);
        problem_set(problem, PROBLEM_MODEL_FAILED, NULL, "the model's files were changed after it was loaded");
        return false;
    }
    loaded->model.tokenizer = tokenizer;
    if (status == ATTN_OK || (status == ATTN_EIO && error.field[0] == '\0'))
        return true;
    fail_folder(problem, &error);
    /* where a part inside is at fault, the file is well-formed */
    if (status == ATTN_EFORMAT && strchr(error.field, '/') != NULL && error.offset == 0)
        problem_set(problem, PROBLEM_INVALID, problem->pointer, "%s: %s", error.field, error.message);
    return false;
}

/* A model whose tokenizer cannot be used still takes ids; why is told to who sends a text. */
bool whole_open_tokenizer(struct loaded *loaded, struct problem *problem) {
    if (read_tokenizer(loaded, problem))
        return true;
    loaded->tokenizer_reason = strdup(problem->detail);
    loaded->model.tokenizer_reason = loaded->tokenizer_reason != NULL ? loaded->tokenizer_reason : "out of memory";
    return false;
}

bool whole_open_folder(struct loaded *loaded, struct problem *problem) {
    struct attn_model *transformer = NULL;
    struct attn_error error = {.status = ATTN_OK};
    if (attn_model_open(&transformer, loaded->path, &error) != ATTN_OK) {
        fail_folder(problem, &error);
        return false;
    }
    loaded->model.transformer = transformer;
    describe(&loaded->model);
    return guard_files(loaded, problem);
}

static bool parse_activation(const char *text, size_t *activation) {
    static const char *const names[] = {"relu", "gelu"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(text, names[i]) == 0) {
            *activation = i;
            return true;
        }
    return false;
}

struct state_dict_settings {
    struct setting heads, norm_first, activation;
};

static bool read_settings(const struct attn_safetensors *file, const struct registry_put_options *options,
                          struct state_dict_settings *settings, struct problem *problem) {
    static const char kind[] = "a whole nn.TransformerEncoder or nn.Transformer";
    *settings =
        (struct state_dict_settings){{"num_heads", SETTING_HEADS_ALLOWED, options->num_heads, setting_parse_heads, 0},
                                     {"norm_first", SETTING_CLAIM_ALLOWED, options->norm_first, setting_parse_claim, 0},
                                     {"activation", "\"relu\" or \"gelu\"", options->activation, parse_activation, 0}};
    if (!setting_check_absent("num_kv_heads", options->num_kv_heads, kind, problem) ||
        !setting_check_absent("add_zero_attn", options->add_zero_attn, kind, problem) ||
        !setting_read(file, &settings->heads, problem) || !setting_read(file, &settings->norm_first, problem) ||
        !setting_read(file, &settings->activation, problem))
        return false;
    if (settings->heads.value == 0)
        setting_fail_missing(&settings->heads, problem);
    return settings->heads.value != 0;
}

bool whole_open_state_dict(struct loaded *loaded, const struct registry_put_options *options, struct problem *problem) {
    struct state_dict_settings settings;
    struct attn_error error = {.status = ATTN_OK};
    struct attn_model *transformer = NULL;
    if (!read_settings(loaded->model.file, options, &settings, problem))
        return false;
    struct attn_state_dict_config config = {.num_heads = settings.heads.value,
                                            .norm_first = settings.norm_first.value != 0,
                                            .activation = settings.activation.value == 0 ? "relu" : "gelu"};
    if (attn_model_from_state_dict(&transformer, loaded->model.file, &config, &error) != ATTN_OK) {
        problem_from_attn(problem, &error);
        if (strcmp(error.field, "num_heads") == 0)
            setting_blame(&settings.heads, problem);
        return false;
    }
    loaded->model.transformer = transformer;
    size_t bytes = loaded->model.bytes; /* the mapping's */
    describe(&loaded->model);
    loaded->model.bytes = bytes;
    return true;
}
