/**
 * Whole torch.nn.TransformerEncoder and torch.nn.Transformer state dicts (PyTorch, torch/nn/modules/transformer.py):
 * what config.json says of other models is read off the tensors, and the rest is as everywhere.
 */
#include "lib/tensor/error.h"
#include "lib/transformer/build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The most layers that are looked for. */
enum { MAX_LAYERS = 4096 };

/* Keys of the configuration that is made up here. */
static const struct attn_family_key torch_keys[] = {
    {ATTN_SET_VOCAB, NULL, ATTN_ABSENT},
    {ATTN_SET_POSITIONS, NULL, ATTN_ABSENT},
    {ATTN_SET_NORM_EPSILON, "layer_norm_eps", 1e-5},
    {ATTN_SET_NORM_FIRST, "norm_first", 0},
    {ATTN_SET_ATTENTION_BIAS, "bias", 1},
    {ATTN_SET_FFN_BIAS, "bias", 1},
    {ATTN_SET_NORM_BIAS, "bias", 1},
    {ATTN_SET_NONE, NULL, 0},
};

static const struct attn_family_key encoder_keys[] = {
    {ATTN_SET_LAYERS, "encoder_layers", ATTN_REQUIRED},
    {ATTN_SET_INTERMEDIATE, "encoder_dim_feedforward", ATTN_REQUIRED},
    {ATTN_SET_NO_FINAL_NORM, "encoder_lacks_norm", 0},
    {ATTN_SET_NONE, NULL, 0},
};

static const struct attn_family_key decoder_keys[] = {
    {ATTN_SET_LAYERS, "decoder_layers", ATTN_REQUIRED},
    {ATTN_SET_INTERMEDIATE, "decoder_dim_feedforward", ATTN_REQUIRED},
    {ATTN_SET_NO_FINAL_NORM, "decoder_lacks_norm", 0},
    {ATTN_SET_NONE, NULL, 0},
};

/* A norm stands before a sub-layer with norm_first, else after the sum. */
#define NORM(role, path)                                                                                               \
    [ATTN_ROLE_##role##_NORM_IN] = {path, .bias_if = ATTN_SET_NORM_BIAS, .present_if = ATTN_SET_NORM_FIRST},           \
    [ATTN_ROLE_##role##_NORM_AFTER] = {path, ATTN_UNLESS, ATTN_SET_NORM_BIAS, ATTN_SET_NORM_FIRST}
#define SELF_AND_FFN(stack)                                                                                            \
    NORM(ATTENTION, stack "layers.#.norm1"),                                                                           \
        [ATTN_ROLE_QKV] = {stack "layers.#.self_attn.in_proj", ATTN_UNDERSCORE, ATTN_SET_ATTENTION_BIAS},              \
        [ATTN_ROLE_OUT] = {stack "layers.#.self_attn.out_proj", .bias_if = ATTN_SET_ATTENTION_BIAS},                   \
        [ATTN_ROLE_FFN_UP] = {stack "layers.#.linear1", .bias_if = ATTN_SET_FFN_BIAS},                                 \
        [ATTN_ROLE_FFN_DOWN] = {stack "layers.#.linear2", .bias_if = ATTN_SET_FFN_BIAS},                               \
        [ATTN_ROLE_FINAL_NORM] = {stack "norm", ATTN_UNLESS, ATTN_SET_NORM_BIAS, ATTN_SET_NO_FINAL_NORM}

static const struct attn_stack_recipe lone_encoder = {
    .keys = encoder_keys,
    .tensors = {SELF_AND_FFN(""), NORM(FFN, "layers.#.norm2")},
};
static const struct attn_stack_recipe encoder = {
    .keys = encoder_keys,
    .tensors = {SELF_AND_FFN("encoder."), NORM(FFN, "encoder.layers.#.norm2")},
};
static const struct attn_stack_recipe decoder = {
    .keys = decoder_keys,
    .tensors =
        {
            SELF_AND_FFN("decoder."),
            NORM(CROSS, "decoder.layers.#.norm2"),
            [ATTN_ROLE_CROSS_QKV] = {"decoder.layers.#.multihead_attn.in_proj", ATTN_UNDERSCORE,
                                     ATTN_SET_ATTENTION_BIAS},
            [ATTN_ROLE_CROSS_OUT] = {"decoder.layers.#.multihead_attn.out_proj", .bias_if = ATTN_SET_ATTENTION_BIAS},
            NORM(FFN, "decoder.layers.#.norm3"),
        },
};

static const struct attn_family transformer_encoder = {
    .model_type = "torch.nn.TransformerEncoder",
    .takes = ATTN_TAKES_EMBEDS,
    .prefixes = {""},
    .keys = torch_keys,
    .encoder = &lone_encoder,
};
static const struct attn_family transformer = {
    .model_type = "torch.nn.Transformer",
    .takes = ATTN_TAKES_EMBEDS,
    .prefixes = {""},
    .keys = torch_keys,
    .encoder = &encoder,
    .decoder = &decoder,
};

static struct attn_view find(const struct attn_safetensors *file, const char *stack, size_t layer, const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%slayers.%zu.%s", stack, layer, name);
    return attn_safetensors_find(file, path).view;
}

static bool has_stack(const struct attn_safetensors *file, const char *stack) {
    return find(file, stack, 0, "self_attn.in_proj_weight").data != NULL &&
           find(file, stack, 0, "linear1.weight").data != NULL;
}

static const struct attn_family *family_of(const struct attn_safetensors *file) {
    if (has_stack(file, "encoder.") && has_stack(file, "decoder."))
        return &transformer;
    return has_stack(file, "") ? &transformer_encoder : NULL;
}

bool attn_model_is_state_dict(const struct attn_safetensors *file) {
    return family_of(file) != NULL;
}

/* Sets what one stack's tensors say. @return false without memory */
static bool describe_stack(json_t *config, const struct attn_safetensors *file, const char *stack, const char *kind) {
    char key[64], norm[32];
    size_t layers = 0;
    while (layers < MAX_LAYERS && find(file, stack, layers, "self_attn.in_proj_weight").data != NULL)
        layers++;
    snprintf(key, sizeof key, "%s_layers", kind);
    bool is_set = json_object_set_new(config, key, json_integer((json_int_t)layers)) == 0;
    const struct attn_view ffn = find(file, stack, 0, "linear1.weight");
    snprintf(key, sizeof key, "%s_dim_feedforward", kind);
    is_set = is_set && json_object_set_new(config, key, json_integer((json_int_t)ffn.shape[0])) == 0;
    snprintf(norm, sizeof norm, "%snorm.weight", stack);
    snprintf(key, sizeof key, "%s_lacks_norm", kind);
    const bool lacks_norm = attn_safetensors_find(file, norm).name == NULL;
    return is_set && json_object_set_new(config, key, json_boolean(lacks_norm)) == 0;
}

static json_t *describe(const struct attn_safetensors *file, const struct attn_state_dict_config *asked,
                        bool is_encoder_alone) {
    const char *stack = is_encoder_alone ? "" : "encoder.";
    const struct attn_view in_proj = find(file, stack, 0, "self_attn.in_proj_weight");
    const bool has_bias = find(file, stack, 0, "linear1.bias").data != NULL;
    json_t *config = json_pack(
        "{s:I, s:I, s:b, s:s, s:f, s:b, s:b}", "hidden_size", (json_int_t)in_proj.shape[in_proj.rank == 2],
        "num_attention_heads", (json_int_t)asked->num_heads, "norm_first", asked->norm_first, "hidden_act",
        asked->activation != NULL ? asked->activation : "relu", "layer_norm_eps",
        asked->layer_norm_eps > 0 ? asked->layer_norm_eps : 1e-5, "bias", has_bias, "tie_word_embeddings", false);
    bool is_made = config != NULL && describe_stack(config, file, stack, "encoder");
    if (is_made && !is_encoder_alone)
        is_made = describe_stack(config, file, "decoder.", "decoder");
    if (is_made)
        return config;
    json_decref(config);
    return NULL;
}

static attn_status check_asked(const struct attn_state_dict_config *asked, struct attn_error *error) {
    if (asked->num_heads == 0)
        return attn_fail(error, ATTN_ECONFLICT, "num_heads", "missing: the state dict does not say it");
    if (asked->num_heads > 65536)
        return attn_fail(error, ATTN_ERANGE, "num_heads", "expected at most 65536, found %zu", asked->num_heads);
    if (asked->activation != NULL && strcmp(asked->activation, "relu") != 0 && strcmp(asked->activation, "gelu") != 0)
        return attn_fail(error, ATTN_ECONFLICT, "activation", "expected \"relu\" or \"gelu\", found \"%.60s\"",
                         asked->activation);
    if (!(asked->layer_norm_eps >= 0 && asked->layer_norm_eps <= 1))
        return attn_fail(error, ATTN_ERANGE, "layer_norm_eps", "expected 0 to 1, found %g", asked->layer_norm_eps);
    return ATTN_OK;
}

/* Settings have no names of their own here: they were read off a tensor, or are wrong with the heads. */
static void rename_field(struct attn_error *error) {
    if (error == NULL || strncmp(error->field, "config.json/", strlen("config.json/")) != 0)
        return;
    const bool is_ffn = strstr(error->field, "dim_feedforward") != NULL;
    snprintf(error->field, sizeof error->field, is_ffn ? "linear1.weight" : "num_heads");
}

attn_status attn_model_from_state_dict(struct attn_model **model, const struct attn_safetensors *file,
                                       const struct attn_state_dict_config *config, struct attn_error *error) {
    const struct attn_family *family = family_of(file);
    if (family == NULL)
        return attn_fail(error, ATTN_ECONFLICT, "", "no state dict of an nn.TransformerEncoder or nn.Transformer");
    attn_status status = check_asked(config, error);
    if (status != ATTN_OK)
        return status;
    json_t *described = describe(file, config, family == &transformer_encoder);
    if (described == NULL)
        return attn_fail(error, ATTN_ENOMEM, "", "no memory for the model's description");
    status = attn_model_build(model, described, family, file, error);
    json_decref(described);
    if (status != ATTN_OK)
        rename_field(error);
    return status;
}
