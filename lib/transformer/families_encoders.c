/* Families that read text in both directions: BERT and those that came of it. */
#include "lib/transformer/family.h"

#define TAKES_TEXT (ATTN_TAKES_IDS | ATTN_TAKES_EMBEDS)

/* Settings that BERT's code has and that are not computed here. */
static const struct attn_family_rule bert_rules[] = {
    {"position_embedding_type", "\"absolute\""}, {"is_decoder", "false"}, {"add_cross_attention", "false"}, {0}};

/* BERT's names, many of which its descendants have kept. */
#define BERT_EMBEDDINGS                                                                                                \
    [ATTN_ROLE_TOKENS] = {"embeddings.word_embeddings"}, [ATTN_ROLE_POSITIONS] = {"embeddings.position_embeddings"},   \
    [ATTN_ROLE_EMBEDDING_NORM] = {"embeddings.LayerNorm"}
#define BERT_TYPES [ATTN_ROLE_TYPES] = {"embeddings.token_type_embeddings"}
#define BERT_FFN                                                                                                       \
    [ATTN_ROLE_FFN_UP] = {"encoder.layer.#.intermediate.dense"},                                                       \
    [ATTN_ROLE_FFN_DOWN] = {"encoder.layer.#.output.dense"},                                                           \
    [ATTN_ROLE_FFN_NORM_AFTER] = {"encoder.layer.#.output.LayerNorm"}
/* `layer` is what stands before a layer's names. */
#define ATTENTION(layer, query, key, value, out, norm)                                                                 \
    [ATTN_ROLE_QUERY] = {layer query}, [ATTN_ROLE_KEY] = {layer key}, [ATTN_ROLE_VALUE] = {layer value},               \
    [ATTN_ROLE_OUT] = {layer out}, [ATTN_ROLE_ATTENTION_NORM_AFTER] = {layer norm}
#define BERT_TENSORS                                                                                                   \
    BERT_EMBEDDINGS, BERT_TYPES, BERT_FFN,                                                                             \
        ATTENTION("encoder.layer.#.attention.", "self.query", "self.key", "self.value", "output.dense",                \
                  "output.LayerNorm")

static const struct attn_family_key bert_keys[] = {{ATTN_SET_TYPES, "type_vocab_size", 2}, {0}};
static const struct attn_stack_recipe bert_stack = {.tensors = {BERT_TENSORS}};
static const struct attn_head_recipe bert_head = {
    .dense = {"cls.predictions.transform.dense"},
    .norm = {"cls.predictions.transform.LayerNorm"},
    .decoder = {"cls.predictions.decoder"},
    .bias = {"cls.predictions.decoder.bias", "cls.predictions.bias"},
};
static const struct attn_family bert = {
    .model_type = "bert",
    .takes = TAKES_TEXT | ATTN_TAKES_TYPES,
    .prefixes = {"", "bert."},
    .keys = bert_keys,
    .rules = bert_rules,
    .encoder = &bert_stack,
    .head = &bert_head,
};

static const struct attn_family_key distilbert_keys[] = {
    {ATTN_SET_LAYERS, "n_layers", ATTN_REQUIRED},
    {ATTN_SET_HEADS, "n_heads", ATTN_REQUIRED},
    {ATTN_SET_HIDDEN, "dim", ATTN_REQUIRED},
    {ATTN_SET_INTERMEDIATE, "hidden_dim", ATTN_REQUIRED},
    {ATTN_SET_ACTIVATION, "activation", ATTN_REQUIRED},
    {ATTN_SET_NORM_EPSILON, NULL, 1e-12},
    {0},
};
static const struct attn_stack_recipe distilbert_stack = {
    .tensors =
        {
            BERT_EMBEDDINGS,
            ATTENTION("transformer.layer.#.", "attention.q_lin", "attention.k_lin", "attention.v_lin",
                      "attention.out_lin", "sa_layer_norm"),
            [ATTN_ROLE_FFN_UP] = {"transformer.layer.#.ffn.lin1"},
            [ATTN_ROLE_FFN_DOWN] = {"transformer.layer.#.ffn.lin2"},
            [ATTN_ROLE_FFN_NORM_AFTER] = {"transformer.layer.#.output_layer_norm"},
        },
};
static const struct attn_head_recipe distilbert_head = {
    .dense = {"vocab_transform"},
    .norm = {"vocab_layer_norm"},
    .decoder = {"vocab_projector"},
    .bias = {"vocab_projector.bias"},
};
static const struct attn_family distilbert = {
    .model_type = "distilbert",
    .takes = TAKES_TEXT,
    .prefixes = {"", "distilbert."},
    .keys = distilbert_keys,
    .encoder = &distilbert_stack,
    .head = &distilbert_head,
};

static const struct attn_family_key roberta_keys[] = {
    {ATTN_SET_TYPES, "type_vocab_size", 2}, {ATTN_SET_PAD, "pad_token_id", 1}, {0}};
static const struct attn_stack_recipe roberta_stack = {
    .positions = ATTN_POSITIONS_NOT_PAD,
    .tensors = {BERT_TENSORS},
};
/* The head's activation is gelu, whatever the layers' is. */
static const struct attn_head_recipe roberta_head = {
    .has_activation = true,
    .activation = ATTN_ACTIVATION_GELU,
    .dense = {"lm_head.dense"},
    .norm = {"lm_head.layer_norm"},
    .decoder = {"lm_head.decoder"},
    .bias = {"lm_head.decoder.bias", "lm_head.bias"},
};
#define ROBERTA_FAMILY(name)                                                                                           \
    {                                                                                                                  \
        .model_type = (name), .takes = TAKES_TEXT | ATTN_TAKES_TYPES, .prefixes = {"", "roberta."},                    \
        .keys = roberta_keys, .rules = bert_rules, .encoder = &roberta_stack, .head = &roberta_head                    \
    }
static const struct attn_family roberta = ROBERTA_FAMILY("roberta");
static const struct attn_family xlm_roberta = ROBERTA_FAMILY("xlm-roberta");

/* Positions count from 2, and buckets are 32, whatever the configuration says. */
static const struct attn_family_rule mpnet_rules[] = {
    {"pad_token_id", "1"}, {"relative_attention_num_buckets", "32"}, {0}};
static const struct attn_family_key mpnet_keys[] = {
    {ATTN_SET_PAD, "pad_token_id", 1}, {ATTN_SET_BUCKETS, "relative_attention_num_buckets", 32}, {0}};
static const struct attn_stack_recipe mpnet_stack = {
    .positions = ATTN_POSITIONS_NOT_PAD,
    .tensors =
        {
            BERT_EMBEDDINGS,
            [ATTN_ROLE_RELATIVE_BIAS] = {"encoder.relative_attention_bias"},
            ATTENTION("encoder.layer.#.attention.", "attn.q", "attn.k", "attn.v", "attn.o", "LayerNorm"),
            BERT_FFN,
        },
};
static const struct attn_family mpnet = {
    .model_type = "mpnet",
    .takes = TAKES_TEXT,
    .prefixes = {"", "mpnet."},
    .keys = mpnet_keys,
    .rules = mpnet_rules,
    .encoder = &mpnet_stack,
    .head = &roberta_head,
};

static const struct attn_family_key electra_keys[] = {
    {ATTN_SET_TYPES, "type_vocab_size", 2}, {ATTN_SET_EMBEDDING, "embedding_size", ATTN_REQUIRED}, {0}};
static const struct attn_stack_recipe electra_stack = {
    .tensors = {BERT_TENSORS, [ATTN_ROLE_EMBEDDING_PROJECTION] = {"embeddings_project"}},
};
static const struct attn_head_recipe electra_head = {
    .has_activation = true,
    .activation = ATTN_ACTIVATION_GELU,
    .dense = {"generator_predictions.dense"},
    .norm = {"generator_predictions.LayerNorm"},
    .decoder = {"generator_lm_head"},
    .bias = {"generator_lm_head.bias"},
};
static const struct attn_family electra = {
    .model_type = "electra",
    .takes = TAKES_TEXT | ATTN_TAKES_TYPES,
    .prefixes = {"", "electra."},
    .keys = electra_keys,
    .rules = bert_rules,
    .encoder = &electra_stack,
    .head = &electra_head,
};

static const struct attn_family_rule albert_rules[] = {{"position_embedding_type", "\"absolute\""}, {0}};
static const struct attn_family_key albert_keys[] = {{ATTN_SET_TYPES, "type_vocab_size", 2},
                                                     {ATTN_SET_EMBEDDING, "embedding_size", ATTN_REQUIRED},
                                                     {ATTN_SET_GROUPS, "num_hidden_groups", 1},
                                                     {ATTN_SET_INNER, "inner_group_num", 1},
                                                     {0}};
#define ALBERT_LAYER "encoder.albert_layer_groups.#.albert_layers.@."
static const struct attn_stack_recipe albert_stack = {
    .tensors =
        {
            BERT_EMBEDDINGS,
            BERT_TYPES,
            [ATTN_ROLE_EMBEDDING_PROJECTION] = {"encoder.embedding_hidden_mapping_in", ATTN_ALWAYS},
            ATTENTION(ALBERT_LAYER, "attention.query", "attention.key", "attention.value", "attention.dense",
                      "attention.LayerNorm"),
            [ATTN_ROLE_FFN_UP] = {ALBERT_LAYER "ffn"},
            [ATTN_ROLE_FFN_DOWN] = {ALBERT_LAYER "ffn_output"},
            [ATTN_ROLE_FFN_NORM_AFTER] = {ALBERT_LAYER "full_layer_layer_norm"},
        },
};
static const struct attn_head_recipe albert_head = {
    .dense = {"predictions.dense"},
    .norm = {"predictions.LayerNorm"},
    .decoder = {"predictions.decoder"},
    .bias = {"predictions.decoder.bias", "predictions.bias"},
};
static const struct attn_family albert = {
    .model_type = "albert",
    .takes = TAKES_TEXT | ATTN_TAKES_TYPES,
    .prefixes = {"", "albert."},
    .keys = albert_keys,
    .rules = albert_rules,
    .encoder = &albert_stack,
    .head = &albert_head,
};

static const struct attn_family_key modernbert_keys[] = {
    {ATTN_SET_ACTIVATION, "hidden_activation", ATTN_REQUIRED},
    {ATTN_SET_HEAD_ACTIVATION, "classifier_activation", ATTN_ACTIVATION_GELU},
    {ATTN_SET_NORM_EPSILON, "norm_eps", 1e-5},
    {ATTN_SET_NORM_BIAS, "norm_bias", 0},
    {ATTN_SET_ATTENTION_BIAS, "attention_bias", 0},
    {ATTN_SET_FFN_BIAS, "mlp_bias", 0},
    {ATTN_SET_HEAD_BIAS, "decoder_bias", 1},
    {ATTN_SET_HEAD_DENSE_BIAS, "classifier_bias", 0},
    {ATTN_SET_WINDOW, "local_attention", 128},
    {ATTN_SET_WINDOW_STEP, "global_attn_every_n_layers", 3},
    {0},
};
static const struct attn_stack_recipe modernbert_stack = {
    .flags = ATTN_STACK_WINDOW_HALVED,
    .window = ATTN_WINDOW_NOT_STEP,
    .rope = {.style = ATTN_ROPE_HALVES,
             .theta = 160000,
             .theta_key = "global_rope_theta",
             .local_theta = 10000,
             .local_theta_key = "local_rope_theta"},
    .tensors =
        {
            [ATTN_ROLE_TOKENS] = {"embeddings.tok_embeddings"},
            [ATTN_ROLE_EMBEDDING_NORM] = {"embeddings.norm", .bias_if = ATTN_SET_NORM_BIAS},
            [ATTN_ROLE_ATTENTION_NORM_IN] = {"layers.#.attn_norm", ATTN_NOT_FIRST, .bias_if = ATTN_SET_NORM_BIAS},
            [ATTN_ROLE_QKV] = {"layers.#.attn.Wqkv", .bias_if = ATTN_SET_ATTENTION_BIAS},
            [ATTN_ROLE_OUT] = {"layers.#.attn.Wo", .bias_if = ATTN_SET_ATTENTION_BIAS},
            [ATTN_ROLE_FFN_NORM_IN] = {"layers.#.mlp_norm", .bias_if = ATTN_SET_NORM_BIAS},
            [ATTN_ROLE_FFN_GATE_UP] = {"layers.#.mlp.Wi", .bias_if = ATTN_SET_FFN_BIAS},
            [ATTN_ROLE_FFN_DOWN] = {"layers.#.mlp.Wo", .bias_if = ATTN_SET_FFN_BIAS},
            [ATTN_ROLE_FINAL_NORM] = {"final_norm", .bias_if = ATTN_SET_NORM_BIAS},
        },
};
static const struct attn_head_recipe modernbert_head = {
    .dense = {"head.dense", .bias_if = ATTN_SET_HEAD_DENSE_BIAS},
    .norm = {"head.norm", .bias_if = ATTN_SET_NORM_BIAS},
    .decoder = {"decoder", .bias_if = ATTN_SET_HEAD_BIAS},
    .bias = {"decoder.bias"},
};
static const struct attn_family modernbert = {
    .model_type = "modernbert",
    .takes = TAKES_TEXT,
    .prefixes = {"", "model."},
    .keys = modernbert_keys,
    .encoder = &modernbert_stack,
    .head = &modernbert_head,
};

const struct attn_family *const attn_families_encoders[] = {
    &bert, &distilbert, &roberta, &xlm_roberta, &mpnet, &electra, &albert, &modernbert, NULL,
};
