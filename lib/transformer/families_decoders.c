/* Families that read text from left to right: GPT's and Llama's kin. */
#include "lib/transformer/family.h"

#define TAKES_TEXT (ATTN_TAKES_IDS | ATTN_TAKES_EMBEDS)

static const struct attn_head_recipe plain_head = {.predicts_next = true, .decoder = {"lm_head"}};

static const struct attn_family_rule gpt2_rules[] = {{"add_cross_attention", "false"}, {0}};
static const struct attn_family_key gpt2_keys[] = {
    {ATTN_SET_LAYERS, "n_layer", ATTN_REQUIRED},
    {ATTN_SET_HEADS, "n_head", ATTN_REQUIRED},
    {ATTN_SET_HIDDEN, "n_embd", ATTN_REQUIRED},
    {ATTN_SET_INTERMEDIATE, "n_inner", ATTN_ABSENT},
    {ATTN_SET_POSITIONS, "n_positions", ATTN_REQUIRED},
    {ATTN_SET_ACTIVATION, "activation_function", ATTN_REQUIRED},
    {ATTN_SET_NORM_EPSILON, "layer_norm_epsilon", 1e-5},
    {ATTN_SET_SCALES_BY_LAYER, "scale_attn_by_inverse_layer_idx", 0},
    {ATTN_SET_SCALES_SCORES, "scale_attn_weights", 1},
    {0},
};
static const struct attn_stack_recipe gpt2_stack = {
    .flags = ATTN_STACK_CAUSAL,
    .tensors =
        {
            [ATTN_ROLE_TOKENS] = {"wte"},
            [ATTN_ROLE_POSITIONS] = {"wpe"},
            [ATTN_ROLE_ATTENTION_NORM_IN] = {"h.#.ln_1"},
            [ATTN_ROLE_QKV] = {"h.#.attn.c_attn", ATTN_TRANSPOSED},
            [ATTN_ROLE_OUT] = {"h.#.attn.c_proj", ATTN_TRANSPOSED},
            [ATTN_ROLE_FFN_NORM_IN] = {"h.#.ln_2"},
            [ATTN_ROLE_FFN_UP] = {"h.#.mlp.c_fc", ATTN_TRANSPOSED},
            [ATTN_ROLE_FFN_DOWN] = {"h.#.mlp.c_proj", ATTN_TRANSPOSED},
            [ATTN_ROLE_FINAL_NORM] = {"ln_f"},
        },
};
static const struct attn_family gpt2 = {
    .model_type = "gpt2",
    .takes = TAKES_TEXT,
    .prefixes = {"", "transformer."},
    .keys = gpt2_keys,
    .rules = gpt2_rules,
    .decoder = &gpt2_stack,
    .head = &plain_head,
};

static const struct attn_family_key gpt_neox_keys[] = {
    {ATTN_SET_NORM_EPSILON, "layer_norm_eps", 1e-5},
    {ATTN_SET_PARALLEL, "use_parallel_residual", 1},
    {ATTN_SET_ATTENTION_BIAS, "attention_bias", 1},
    {ATTN_SET_TIED, "tie_word_embeddings", 0},
    {0},
};
static const struct attn_stack_recipe gpt_neox_stack = {
    .flags = ATTN_STACK_CAUSAL,
    .qkv = ATTN_QKV_BY_HEAD,
    .rope = {.style = ATTN_ROPE_HALVES,
             .theta = 10000,
             .theta_key = "rotary_emb_base",
             .fraction = 0.25,
             .fraction_key = "rotary_pct"},
    .tensors =
        {
            [ATTN_ROLE_TOKENS] = {"embed_in"},
            [ATTN_ROLE_ATTENTION_NORM_IN] = {"layers.#.input_layernorm"},
            [ATTN_ROLE_QKV] = {"layers.#.attention.query_key_value", .bias_if = ATTN_SET_ATTENTION_BIAS},
            [ATTN_ROLE_OUT] = {"layers.#.attention.dense", .bias_if = ATTN_SET_ATTENTION_BIAS},
            [ATTN_ROLE_FFN_NORM_IN] = {"layers.#.post_attention_layernorm"},
            [ATTN_ROLE_FFN_UP] = {"layers.#.mlp.dense_h_to_4h"},
            [ATTN_ROLE_FFN_DOWN] = {"layers.#.mlp.dense_4h_to_h"},
            [ATTN_ROLE_FINAL_NORM] = {"final_layer_norm"},
        },
};
static const struct attn_head_recipe gpt_neox_head = {.predicts_next = true, .decoder = {"embed_out"}};
static const struct attn_family gpt_neox = {
    .model_type = "gpt_neox",
    .takes = TAKES_TEXT,
    .prefixes = {"", "gpt_neox."},
    .keys = gpt_neox_keys,
    .decoder = &gpt_neox_stack,
    .head = &gpt_neox_head,
};

static const struct attn_family_rule opt_rules[] = {{"layer_norm_elementwise_affine", "true"}, {0}};
static const struct attn_family_key opt_keys[] = {
    {ATTN_SET_INTERMEDIATE, "ffn_dim", ATTN_REQUIRED},
    {ATTN_SET_EMBEDDING, "word_embed_proj_dim", ATTN_ABSENT},
    {ATTN_SET_ACTIVATION, "activation_function", ATTN_REQUIRED},
    {ATTN_SET_NORM_FIRST, "do_layer_norm_before", 1},
    {ATTN_SET_NO_FINAL_NORM, "_remove_final_layer_norm", 0},
    {ATTN_SET_ATTENTION_BIAS, "enable_bias", 1},
    {ATTN_SET_POSITION_OFFSET, NULL, 2},
    {ATTN_SET_NORM_EPSILON, NULL, 1e-5},
    {0},
};
/* A norm that stands before its sub-layer or after the sum, by do_layer_norm_before. */
#define OPT_BEFORE(name)                                                                                               \
    { name, .present_if = ATTN_SET_NORM_FIRST }
#define OPT_AFTER(name)                                                                                                \
    { name, ATTN_UNLESS, .present_if = ATTN_SET_NORM_FIRST }
static const struct attn_stack_recipe opt_stack = {
    .flags = ATTN_STACK_CAUSAL | ATTN_STACK_POSITIONS_LATE,
    .positions = ATTN_POSITIONS_UNMASKED,
    .tensors =
        {
            [ATTN_ROLE_TOKENS] = {"embed_tokens"},
            [ATTN_ROLE_POSITIONS] = {"embed_positions"},
            [ATTN_ROLE_EMBEDDING_PROJECTION] = {"project_in", ATTN_NO_BIAS},
            [ATTN_ROLE_ATTENTION_NORM_IN] = OPT_BEFORE("layers.#.self_attn_layer_norm"),
            [ATTN_ROLE_QUERY] = {"layers.#.self_attn.q_proj", .bias_if = ATTN_SET_ATTENTION_BIAS},
            [ATTN_ROLE_KEY] = {"layers.#.self_attn.k_proj", .bias_if = ATTN_SET_ATTENTION_BIAS},
            [ATTN_ROLE_VALUE] = {"layers.#.self_attn.v_proj", .bias_if = ATTN_SET_ATTENTION_BIAS},
            [ATTN_ROLE_OUT] = {"layers.#.self_attn.out_proj", .bias_if = ATTN_SET_ATTENTION_BIAS},
            [ATTN_ROLE_ATTENTION_NORM_AFTER] = OPT_AFTER("layers.#.self_attn_layer_norm"),
            [ATTN_ROLE_FFN_NORM_IN] = OPT_BEFORE("layers.#.final_layer_norm"),
            [ATTN_ROLE_FFN_UP] = {"layers.#.fc1", .bias_if = ATTN_SET_ATTENTION_BIAS},
            [ATTN_ROLE_FFN_DOWN] = {"layers.#.fc2", .bias_if = ATTN_SET_ATTENTION_BIAS},
            [ATTN_ROLE_FFN_NORM_AFTER] = OPT_AFTER("layers.#.final_layer_norm"),
            [ATTN_ROLE_FINAL_NORM] = {"final_layer_norm", .present_if = ATTN_SET_FINAL_NORM},
            [ATTN_ROLE_OUTPUT_PROJECTION] = {"project_out", ATTN_NO_BIAS},
        },
};
static const struct attn_family opt = {
    .model_type = "opt",
    .takes = TAKES_TEXT,
    .prefixes = {"decoder.", "model.decoder."},
    .keys = opt_keys,
    .rules = opt_rules,
    .decoder = &opt_stack,
    .head = &plain_head,
};

/* Llama's names, which most of its kin have kept. Each adds its own; of two rows for one setting whose key config.json
 * does not have, the last one's fallback counts. */
#define LLAMA_ATTENTION(query_key_value, output)                                                                       \
    [ATTN_ROLE_TOKENS] = {"embed_tokens"}, [ATTN_ROLE_QUERY] = {"layers.#.self_attn.q_proj", query_key_value},         \
    [ATTN_ROLE_KEY] = {"layers.#.self_attn.k_proj", query_key_value},                                                  \
    [ATTN_ROLE_VALUE] = {"layers.#.self_attn.v_proj", query_key_value},                                                \
    [ATTN_ROLE_OUT] = {"layers.#.self_attn.o_proj", output}, [ATTN_ROLE_FINAL_NORM] = {"norm"}
#define LLAMA_NORMS                                                                                                    \
    [ATTN_ROLE_ATTENTION_NORM_IN] = {"layers.#.input_layernorm"}, [ATTN_ROLE_FFN_NORM_IN] = {                          \
                                                                      "layers.#.post_attention_layernorm"}
#define LLAMA_FFN(bias)                                                                                                \
    [ATTN_ROLE_FFN_GATE] = {"layers.#.mlp.gate_proj", bias}, [ATTN_ROLE_FFN_UP] = {"layers.#.mlp.up_proj", bias},      \
    [ATTN_ROLE_FFN_DOWN] = {"layers.#.mlp.down_proj", bias}
#define BY_CONFIG .bias_if = ATTN_SET_ATTENTION_BIAS
#define LLAMA_KEYS                                                                                                     \
    {ATTN_SET_KV_HEADS, "num_key_value_heads", ATTN_ABSENT}, {ATTN_SET_HEAD_DIM, "head_dim", ATTN_ABSENT},             \
        {ATTN_SET_NORM_EPSILON, "rms_norm_eps", 1e-6}, {ATTN_SET_ATTENTION_BIAS, "attention_bias", 0}, {               \
        ATTN_SET_FFN_BIAS, "mlp_bias", 0                                                                               \
    }
#define LLAMA_FAMILY(name)                                                                                             \
    .model_type = #name, .takes = TAKES_TEXT, .prefixes = {"", "model."}, .keys = name##_keys,                         \
    .decoder = &name##_stack, .head = &plain_head
#define NOT_TIED                                                                                                       \
    { ATTN_SET_TIED, "tie_word_embeddings", 0 }

/* pretraining_tp above 1 splits the products, and changes nothing but their rounding. */
static const struct attn_family_key llama_keys[] = {LLAMA_KEYS, NOT_TIED, {0}};
static const struct attn_stack_recipe llama_stack = {
    .flags = ATTN_STACK_CAUSAL,
    .norm = ATTN_NORM_RMS,
    .rope = {.style = ATTN_ROPE_HALVES, .theta = 10000},
    .tensors = {LLAMA_ATTENTION(BY_CONFIG, BY_CONFIG), LLAMA_NORMS, LLAMA_FFN(.bias_if = ATTN_SET_FFN_BIAS)},
};
static const struct attn_family llama = {LLAMA_FAMILY(llama)};

static const struct attn_family_key mistral_keys[] = {
    LLAMA_KEYS, NOT_TIED, {ATTN_SET_WINDOW, "sliding_window", 4096}, {0}};
static const struct attn_stack_recipe mistral_stack = {
    .flags = ATTN_STACK_CAUSAL,
    .norm = ATTN_NORM_RMS,
    .window = ATTN_WINDOW_ALL,
    .rope = {.style = ATTN_ROPE_HALVES, .theta = 10000},
    .tensors = {LLAMA_ATTENTION(ATTN_NO_BIAS, ATTN_NO_BIAS), LLAMA_NORMS, LLAMA_FFN(ATTN_NO_BIAS)},
};
static const struct attn_family mistral = {LLAMA_FAMILY(mistral)};

#define QWEN_WINDOW                                                                                                    \
    {ATTN_SET_WINDOW, "sliding_window", 4096}, {ATTN_SET_USES_WINDOW, "use_sliding_window", 0}, {                      \
        ATTN_SET_WINDOW_STEP, "max_window_layers", 28                                                                  \
    }
static const struct attn_family_key qwen2_keys[] = {LLAMA_KEYS, NOT_TIED, QWEN_WINDOW, {0}};
static const struct attn_stack_recipe qwen2_stack = {
    .flags = ATTN_STACK_CAUSAL,
    .norm = ATTN_NORM_RMS,
    .window = ATTN_WINDOW_FROM_STEP,
    .rope = {.style = ATTN_ROPE_HALVES, .theta = 10000},
    .tensors = {LLAMA_ATTENTION(0, ATTN_NO_BIAS), LLAMA_NORMS, LLAMA_FFN(ATTN_NO_BIAS)},
};
static const struct attn_family qwen2 = {LLAMA_FAMILY(qwen2)};

static const struct attn_family_key qwen3_keys[] = {
    LLAMA_KEYS, {ATTN_SET_HEAD_DIM, "head_dim", 128}, NOT_TIED, QWEN_WINDOW, {0}};
static const struct attn_stack_recipe qwen3_stack = {
    .flags = ATTN_STACK_CAUSAL,
    .norm = ATTN_NORM_RMS,
    .window = ATTN_WINDOW_FROM_STEP,
    .rope = {.style = ATTN_ROPE_HALVES, .theta = 10000},
    .tensors = {LLAMA_ATTENTION(BY_CONFIG, BY_CONFIG), LLAMA_NORMS,
                LLAMA_FFN(ATTN_NO_BIAS), [ATTN_ROLE_QUERY_NORM] = {"layers.#.self_attn.q_norm"},
                [ATTN_ROLE_KEY_NORM] = {"layers.#.self_attn.k_norm"}},
};
static const struct attn_family qwen3 = {LLAMA_FAMILY(qwen3)};

static const struct attn_family_rule gemma2_rules[] = {{"use_bidirectional_attention", "false"}, {0}};
static const struct attn_family_key gemma2_keys[] = {
    LLAMA_KEYS,
    {ATTN_SET_HEAD_DIM, "head_dim", 256},
    {ATTN_SET_ACTIVATION, "hidden_activation", ATTN_REQUIRED},
    {ATTN_SET_SCORE_DIVISOR, "query_pre_attn_scalar", 256},
    {ATTN_SET_SOFTCAP, "attn_logit_softcapping", 50},
    {ATTN_SET_LOGIT_SOFTCAP, "final_logit_softcapping", 30},
    {ATTN_SET_WINDOW, "sliding_window", 4096},
    {0},
};
static const struct attn_stack_recipe gemma2_stack = {
    .flags = ATTN_STACK_CAUSAL | ATTN_STACK_SCALES_BY_ROOT,
    .norm = ATTN_NORM_RMS_PLUS_ONE,
    .window = ATTN_WINDOW_ALTERNATE,
    .rope = {.style = ATTN_ROPE_HALVES, .theta = 10000},
    .tensors = {LLAMA_ATTENTION(BY_CONFIG, BY_CONFIG),
                LLAMA_FFN(ATTN_NO_BIAS), [ATTN_ROLE_ATTENTION_NORM_IN] = {"layers.#.input_layernorm"},
                [ATTN_ROLE_ATTENTION_NORM_OUT] = {"layers.#.post_attention_layernorm"},
                [ATTN_ROLE_FFN_NORM_IN] = {"layers.#.pre_feedforward_layernorm"},
                [ATTN_ROLE_FFN_NORM_OUT] = {"layers.#.post_feedforward_layernorm"}},
};
static const struct attn_family gemma2 = {LLAMA_FAMILY(gemma2), .rules = gemma2_rules};

static const struct attn_family_key gpt_oss_keys[] = {
    LLAMA_KEYS,
    {ATTN_SET_HEAD_DIM, "head_dim", 64},
    {ATTN_SET_NORM_EPSILON, "rms_norm_eps", 1e-5},
    {ATTN_SET_ATTENTION_BIAS, "attention_bias", 1},
    NOT_TIED,
    {ATTN_SET_WINDOW, "sliding_window", 128},
    {ATTN_SET_EXPERTS, "num_local_experts", ATTN_REQUIRED},
    {ATTN_SET_EXPERTS_USED, "num_experts_per_tok", ATTN_REQUIRED},
    {ATTN_SET_GLU_ALPHA, "swiglu_alpha", 1.702},
    {ATTN_SET_GLU_LIMIT, "swiglu_limit", 7},
    {0},
};
static const struct attn_stack_recipe gpt_oss_stack = {
    .flags = ATTN_STACK_CAUSAL,
    .norm = ATTN_NORM_RMS,
    .window = ATTN_WINDOW_ALTERNATE,
    .rope = {.style = ATTN_ROPE_HALVES, .theta = 150000, .must_be_given = true},
    .tensors = {LLAMA_ATTENTION(BY_CONFIG, BY_CONFIG),
                LLAMA_NORMS, [ATTN_ROLE_SINKS] = {"layers.#.self_attn.sinks", ATTN_BARE},
                [ATTN_ROLE_ROUTER] = {"layers.#.mlp.router"},
                [ATTN_ROLE_EXPERTS_GATE_UP] = {"layers.#.mlp.experts.gate_up_proj", ATTN_BARE},
                [ATTN_ROLE_EXPERTS_DOWN] = {"layers.#.mlp.experts.down_proj", ATTN_BARE}},
};
static const struct attn_family gpt_oss = {LLAMA_FAMILY(gpt_oss)};

static const struct attn_family_key starcoder2_keys[] = {
    {ATTN_SET_KV_HEADS, "num_key_value_heads", ATTN_ABSENT}, {ATTN_SET_HEAD_DIM, "head_dim", ATTN_ABSENT},
    {ATTN_SET_NORM_EPSILON, "norm_epsilon", 1e-5},           {ATTN_SET_ATTENTION_BIAS, "use_bias", 1},
    {ATTN_SET_WINDOW, "sliding_window", ATTN_ABSENT},        {0},
};
static const struct attn_stack_recipe starcoder2_stack = {
    .flags = ATTN_STACK_CAUSAL,
    .window = ATTN_WINDOW_ALL,
    .rope = {.style = ATTN_ROPE_HALVES, .theta = 10000},
    .tensors = {LLAMA_ATTENTION(BY_CONFIG, BY_CONFIG),
                LLAMA_NORMS, [ATTN_ROLE_FFN_UP] = {"layers.#.mlp.c_fc", BY_CONFIG},
                [ATTN_ROLE_FFN_DOWN] = {"layers.#.mlp.c_proj", BY_CONFIG}},
};
static const struct attn_family starcoder2 = {LLAMA_FAMILY(starcoder2)};

const struct attn_family *const attn_families_decoders[] = {
    &gpt2, &gpt_neox, &opt, &llama, &mistral, &qwen2, &qwen3, &gemma2, &gpt_oss, &starcoder2, NULL,
};
