#include "server/registry/layer.h"
#include "server/registry/settings.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MOST_TENSORS 256

/* num_heads and the rest, and who said num_kv_heads. */
struct layer_settings {
    struct attn_layer_config config;
    struct setting kv_heads;
};

static bool read_settings(const struct attn_safetensors *file, const struct registry_put_options *options,
                          struct layer_settings *settings, struct problem *problem) {
    static const char kind[] = "an attention layer";
    struct setting heads = {"num_heads", SETTING_HEADS_ALLOWED, options->num_heads, setting_parse_heads, 0};
    struct setting kv_heads = {"num_kv_heads", SETTING_HEADS_ALLOWED, options->num_kv_heads, setting_parse_heads, 0};
    struct setting zero = {"add_zero_attn", SETTING_CLAIM_ALLOWED, options->add_zero_attn, setting_parse_claim, 0};
    if (!setting_check_absent("norm_first", options->norm_first, kind, problem) ||
        !setting_check_absent("activation", options->activation, kind, problem) ||
        !setting_read(file, &heads, problem) || !setting_read(file, &kv_heads, problem) ||
        !setting_read(file, &zero, problem))
        return false;
    if (heads.value == 0) {
        setting_fail_missing(&heads, problem);
        return false;
    }
    *settings = (struct layer_settings){{heads.value, kv_heads.value, zero.value != 0}, kv_heads};
    return true;
}

/* float64 where any tensor is: every other floating dtype goes into it without loss; float32 else. */
static attn_dtype choose_dtype(const struct attn_safetensors *file) {
    for (size_t i = 0; i < attn_safetensors_count(file); i++)
        if (attn_safetensors_tensor(file, i).view.dtype == ATTN_FLOAT64)
            return ATTN_FLOAT64;
    return ATTN_FLOAT32;
}

/* Tensors of many layers that are no state dict of torch's own modules. */
static bool check_is_one_layer(const struct attn_safetensors *file, struct problem *problem) {
    static const char *const prefixes[] = {"layers.", "encoder.", "decoder.", "model.", "transformer."};
    for (size_t i = 0; i < attn_safetensors_count(file); i++)
        for (size_t j = 0; j < sizeof prefixes / sizeof *prefixes; j++) {
            const char *name = attn_safetensors_tensor(file, i).name;
            if (strncmp(name, prefixes[j], strlen(prefixes[j])) != 0)
                continue;
            problem_set(problem, PROBLEM_INVALID, NULL,
                        "expected one attention layer, or the whole state dict of an nn.TransformerEncoder or "
                        "nn.Transformer (other whole models come as a tar with their config.json); found \"%.80s\"",
                        name);
            problem_pointer_append(problem->pointer, sizeof problem->pointer, name, strlen(name));
            return false;
        }
    return true;
}

/* Makes *view one of `dtype` that kernels can read: in place where it is so already, else a copy. */
static bool adopt_tensor(struct loaded *loaded, const char *name, attn_dtype dtype, struct attn_view *view,
                         struct problem *problem) {
    struct attn_error error;
    size_t element = attn_dtype_bytes(dtype), bytes = 0, sizes[2] = {attn_view_elements(view), element};
    if (view->dtype == dtype && (uintptr_t)view->data % element == 0)
        return true;
    void *copy = attn_size_product(sizes, 2, &bytes) ? aligned_alloc(64, (bytes / 64 + 1) * 64) : NULL;
    if (copy == NULL) {
        problem_set(problem, PROBLEM_NO_ROOM, NULL, "no memory for the tensor \"%.80s\"", name);
        return false;
    }
    loaded->copies[loaded->copy_count++] = copy;
    struct attn_view to = attn_view_contiguous(copy, dtype, view->rank, view->shape);
    if (view->dtype == dtype) {
        memcpy(copy, view->data, bytes);
    } else if (attn_view_convert(view, &to, &error) != ATTN_OK) {
        problem_set(problem, PROBLEM_INVALID, NULL,
                    "expected floating tensors in an attention layer, found %s in \"%.80s\"",
                    attn_dtype_name(view->dtype), name);
        problem_pointer_append(problem->pointer, sizeof problem->pointer, name, strlen(name));
        return false;
    }
    *view = to;
    return true;
}

static bool adopt_tensors(struct loaded *loaded, struct attn_named_view *tensors, size_t count,
                          struct problem *problem) {
    attn_dtype dtype = choose_dtype(loaded->model.file);
    loaded->copies = calloc(count + 1, sizeof *loaded->copies);
    if (loaded->copies == NULL) {
        problem_set(problem, PROBLEM_NO_ROOM, NULL, "no memory for the model");
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        tensors[i] = attn_safetensors_tensor(loaded->model.file, i);
        if (!adopt_tensor(loaded, tensors[i].name, dtype, &tensors[i].view, problem))
            return false;
    }
    return true;
}

bool layer_resolve(struct loaded *loaded, const struct registry_put_options *options, struct problem *problem) {
    struct attn_named_view tensors[MOST_TENSORS];
    struct layer_settings settings;
    struct attn_error error = {.status = ATTN_OK};
    size_t count = attn_safetensors_count(loaded->model.file);
    if (!check_is_one_layer(loaded->model.file, problem))
        return false;
    if (count > MOST_TENSORS) {
        problem_set(problem, PROBLEM_INVALID, NULL, "expected one attention layer, found %zu tensors", count);
        return false;
    }
    if (!read_settings(loaded->model.file, options, &settings, problem) ||
        !adopt_tensors(loaded, tensors, count, problem))
        return false;
    struct model *model = &loaded->model;
    if (attn_layer_resolve(tensors, count, &settings.config, &model->layer, &error) != ATTN_OK) {
        problem_from_attn(problem, &error);
        if (strcmp(error.field, "num_kv_heads") == 0)
            setting_blame(&settings.kv_heads, problem);
        return false;
    }
    model->layers = 1;
    model->heads = model->layer.num_heads;
    model->kv_heads = model->layer.num_kv_heads;
    model->hidden_size = model->layer.query_width;
    return true;
}
