/** Models that look at pictures: ViT, DeiT, DINOv2; and CLIP's two towers. */
#include "lib/transformer/family.h"
#include "lib/kernels/packed.h"

/* ViT (Dosovitskiy et al. 2021), DeiT with its distillation token (Touvron et al. 2021), DINOv2 (Oquab et al. 2023). */

static const struct attn_family_key vit_keys[] = {
    {ATTN_SET_IMAGE_HEIGHT, "image_size", 224},       {ATTN_SET_IMAGE_WIDTH, "image_size", 224},
    {ATTN_SET_PATCH_HEIGHT, "patch_size", 16},        {ATTN_SET_PATCH_WIDTH, "patch_size", 16},
    {ATTN_SET_CHANNELS, "num_channels", 3},           {ATTN_SET_ATTENTION_BIAS, "qkv_bias", 1},
    {ATTN_SET_NORM_EPSILON, "layer_norm_eps", 1e-12}, {ATTN_SET_VOCAB, NULL, ATTN_ABSENT},
    {ATTN_SET_POSITIONS, NULL, ATTN_ABSENT},          {ATTN_SET_NONE, NULL, 0},
};

static const struct attn_family_key dinov2_keys[] = {
    {ATTN_SET_IMAGE_HEIGHT, "image_size", 224},
    {ATTN_SET_IMAGE_WIDTH, "image_size", 224},
    {ATTN_SET_PATCH_HEIGHT, "patch_size", 14},
    {ATTN_SET_PATCH_WIDTH, "patch_size", 14},
    {ATTN_SET_CHANNELS, "num_channels", 3},
    {ATTN_SET_ATTENTION_BIAS, "qkv_bias", 1},
    {ATTN_SET_GATED, "use_swiglu_ffn", 0},
    {ATTN_SET_FFN_RATIO, "mlp_ratio", 4},
    {ATTN_SET_INTERMEDIATE, NULL, ATTN_ABSENT},
    {ATTN_SET_NORM_EPSILON, "layer_norm_eps", 1e-6},
    {ATTN_SET_VOCAB, NULL, ATTN_ABSENT},
    {ATTN_SET_POSITIONS, NULL, ATTN_ABSENT},
    {ATTN_SET_NONE, NULL, 0},
};

#define VIT_EMBEDDINGS                                                                                                 \
    [ATTN_ROLE_PATCHES] = {"embeddings.patch_embeddings.projection"},                                                  \
    [ATTN_ROLE_CLASS_TOKEN] = {"embeddings.cls_token", ATTN_BARE},                                                     \
    [ATTN_ROLE_POSITIONS] = {"embeddings.position_embeddings", ATTN_BARE}
#define VIT_ATTENTION                                                                                                  \
    [ATTN_ROLE_QUERY] = {"encoder.layer.#.attention.attention.query", .bias_if = ATTN_SET_ATTENTION_BIAS},             \
    [ATTN_ROLE_KEY] = {"encoder.layer.#.attention.attention.key", .bias_if = ATTN_SET_ATTENTION_BIAS},                 \
    [ATTN_ROLE_VALUE] = {"encoder.layer.#.attention.attention.value", .bias_if = ATTN_SET_ATTENTION_BIAS},             \
    [ATTN_ROLE_OUT] = {"encoder.layer.#.attention.output.dense"}
#define VIT_LAYERS                                                                                                     \
    VIT_ATTENTION, [ATTN_ROLE_ATTENTION_NORM_IN] = {"encoder.layer.#.layernorm_before"},                               \
                   [ATTN_ROLE_FFN_NORM_IN] = {"encoder.layer.#.layernorm_after"},                                      \
                   [ATTN_ROLE_FFN_UP] = {"encoder.layer.#.intermediate.dense"},                                        \
                   [ATTN_ROLE_FFN_DOWN] = {"encoder.layer.#.output.dense"}, [ATTN_ROLE_FINAL_NORM] = {"layernorm"}

static const struct attn_stack_recipe vit_stack = {.tensors = {VIT_EMBEDDINGS, VIT_LAYERS}};

static const struct attn_stack_recipe deit_stack = {
    .tensors = {VIT_EMBEDDINGS, [ATTN_ROLE_SECOND_TOKEN] = {"embeddings.distillation_token", ATTN_BARE}, VIT_LAYERS},
};

static const struct attn_stack_recipe dinov2_stack = {
    .flags = ATTN_STACK_SQUARE,
    .tensors =
        {
            VIT_EMBEDDINGS,
            VIT_ATTENTION,
            [ATTN_ROLE_ATTENTION_NORM_IN] = {"encoder.layer.#.norm1"},
            [ATTN_ROLE_ATTENTION_SCALE] = {"encoder.layer.#.layer_scale1.lambda1", ATTN_BARE},
            [ATTN_ROLE_FFN_NORM_IN] = {"encoder.layer.#.norm2"},
            [ATTN_ROLE_FFN_SCALE] = {"encoder.layer.#.layer_scale2.lambda1", ATTN_BARE},
            [ATTN_ROLE_FFN_GATE_UP] = {"encoder.layer.#.mlp.weights_in", ATTN_SILU_GATE, .present_if = ATTN_SET_GATED},
            [ATTN_ROLE_FFN_UP] = {"encoder.layer.#.mlp.fc1", ATTN_UNLESS, .present_if = ATTN_SET_GATED},
            [ATTN_ROLE_FFN_DOWN] = {"encoder.layer.#.mlp.weights_out", .present_if = ATTN_SET_GATED,
                                    .otherwise = "encoder.layer.#.mlp.fc2"},
            [ATTN_ROLE_FINAL_NORM] = {"layernorm"},
        },
};

static const struct attn_family vit = {
    .model_type = "vit",
    .takes = ATTN_TAKES_PIXELS,
    .prefixes = {"vit.", ""},
    .keys = vit_keys,
    .encoder = &vit_stack,
};

static const struct attn_family deit = {
    .model_type = "deit",
    .takes = ATTN_TAKES_PIXELS,
    .prefixes = {"deit.", ""},
    .keys = vit_keys,
    .encoder = &deit_stack,
};

static const struct attn_family dinov2 = {
    .model_type = "dinov2",
    .takes = ATTN_TAKES_PIXELS,
    .prefixes = {"dinov2.", ""},
    .keys = dinov2_keys,
    .encoder = &dinov2_stack,
};

/* CLIP (Radford et al. 2021). A model of both towers leaves out of config.json what is as in its first release. */

static const struct attn_family_key clip_text_keys[] = {
    {ATTN_SET_HIDDEN, "hidden_size", 512},
    {ATTN_SET_LAYERS, "num_hidden_layers", 12},
    {ATTN_SET_HEADS, "num_attention_heads", 8},
    {ATTN_SET_INTERMEDIATE, "intermediate_size", 2048},
    {ATTN_SET_VOCAB, "vocab_size", 49408},
    {ATTN_SET_POSITIONS, "max_position_embeddings", 77},
    {ATTN_SET_NORM_EPSILON, "layer_norm_eps", 1e-5},
    {ATTN_SET_ACTIVATION, "hidden_act", ATTN_ACTIVATION_GELU_QUICK},
    {ATTN_SET_PAD, "pad_token_id", 1},
    {ATTN_SET_NONE, NULL, 0},
};

static const struct attn_family_key clip_vision_keys[] = {
    {ATTN_SET_HIDDEN, "hidden_size", 768},
    {ATTN_SET_LAYERS, "num_hidden_layers", 12},
    {ATTN_SET_HEADS, "num_attention_heads", 12},
    {ATTN_SET_INTERMEDIATE, "intermediate_size", 3072},
    {ATTN_SET_IMAGE_HEIGHT, "image_size", 224},
    {ATTN_SET_IMAGE_WIDTH, "image_size", 224},
    {ATTN_SET_PATCH_HEIGHT, "patch_size", 32},
    {ATTN_SET_PATCH_WIDTH, "patch_size", 32},
    {ATTN_SET_CHANNELS, "num_channels", 3},
    {ATTN_SET_NORM_EPSILON, "layer_norm_eps", 1e-5},
    {ATTN_SET_ACTIVATION, "hidden_act", ATTN_ACTIVATION_GELU_QUICK},
    {ATTN_SET_VOCAB, NULL, ATTN_ABSENT},
    {ATTN_SET_POSITIONS, NULL, ATTN_ABSENT},
    {ATTN_SET_NONE, NULL, 0},
};

#define CLIP_LAYERS                                                                                                    \
    [ATTN_ROLE_ATTENTION_NORM_IN] = {"encoder.layers.#.layer_norm1"},                                                  \
    [ATTN_ROLE_QUERY] = {"encoder.layers.#.self_attn.q_proj"},                                                         \
    [ATTN_ROLE_KEY] = {"encoder.layers.#.self_attn.k_proj"},                                                           \
    [ATTN_ROLE_VALUE] = {"encoder.layers.#.self_attn.v_proj"},                                                         \
    [ATTN_ROLE_OUT] = {"encoder.layers.#.self_attn.out_proj"},                                                         \
    [ATTN_ROLE_FFN_NORM_IN] = {"encoder.layers.#.layer_norm2"}, [ATTN_ROLE_FFN_UP] = {"encoder.layers.#.mlp.fc1"},     \
    [ATTN_ROLE_FFN_DOWN] = {"encoder.layers.#.mlp.fc2"}

static const struct attn_stack_recipe clip_text_stack = {
    .flags = ATTN_STACK_CAUSAL,
    .keys = clip_text_keys,
    .tensors = {[ATTN_ROLE_TOKENS] = {"embeddings.token_embedding"},
                [ATTN_ROLE_POSITIONS] = {"embeddings.position_embedding"},
                CLIP_LAYERS,
                [ATTN_ROLE_FINAL_NORM] = {"final_layer_norm"}},
};

/* The last hidden state is before the norm that the class token alone goes through ("post_layernorm"). */
static const struct attn_stack_recipe clip_vision_stack = {
    .keys = clip_vision_keys,
    .tensors = {[ATTN_ROLE_PATCHES] = {"embeddings.patch_embedding", ATTN_NO_BIAS},
                [ATTN_ROLE_CLASS_TOKEN] = {"embeddings.class_embedding", ATTN_BARE},
                [ATTN_ROLE_POSITIONS] = {"embeddings.position_embedding"},
                [ATTN_ROLE_EMBEDDING_NORM] = {"pre_layrnorm"},
                CLIP_LAYERS},
};

static const struct attn_family clip_text = {
    .model_type = "clip_text_model",
    .takes = ATTN_TAKES_IDS,
    .prefixes = {"text_model.", ""},
    .encoder = &clip_text_stack,
};

static const struct attn_family clip_vision = {
    .model_type = "clip_vision_model",
    .takes = ATTN_TAKES_PIXELS,
    .prefixes = {"vision_model.", ""},
    .encoder = &clip_vision_stack,
};

static const struct attn_family clip = {
    .model_type = "clip",
    .towers = {{"text_config", &clip_text}, {"vision_config", &clip_vision}},
};

const struct attn_family *const attn_families_vision[] = {&vit, &deit, &dinov2, &clip, &clip_text, &clip_vision, NULL};
