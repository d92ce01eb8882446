/** Encoder-decoders: T5, BART and its like, Whisper. */
#include "lib/transformer/family.h"

/* T5 (Raffel et al. 2020): relative buckets in place of positions, scores that are not scaled, RMS norms. */

static const struct attn_family_key t5_keys[] = {
    {ATTN_SET_HIDDEN, "d_model", ATTN_REQUIRED},
    {ATTN_SET_HEADS, "num_heads", ATTN_REQUIRED},
    {ATTN_SET_HEAD_DIM, "d_kv", ATTN_REQUIRED},
    {ATTN_SET_INTERMEDIATE, "d_ff", ATTN_REQUIRED},
    {ATTN_SET_LAYERS, "num_layers", ATTN_REQUIRED},
    {ATTN_SET_POSITIONS, NULL, ATTN_ABSENT},
    {ATTN_SET_BUCKETS, "relative_attention_num_buckets", 32},
    {ATTN_SET_BUCKET_DISTANCE, "relative_attention_max_distance", 128},
    {ATTN_SET_NORM_EPSILON, "layer_norm_epsilon", 1e-6},
    {ATTN_SET_ACTIVATION, "feed_forward_proj", ATTN_ACTIVATION_RELU},
    {ATTN_SET_GATED, "feed_forward_proj", 0},
    {ATTN_SET_SCALES_SCORES, NULL, 0},
    {ATTN_SET_DECODER_START, "decoder_start_token_id", -1},
    /* transformers 4 had no word of its own for it. */
    {ATTN_SET_SCALES_LOGITS, "scale_decoder_outputs", 1},
    {ATTN_SET_SCALES_LOGITS, "tie_word_embeddings", 1},
    {ATTN_SET_TIED, NULL, 1},
    {ATTN_SET_NONE, NULL, 0},
};

static const struct attn_family_key t5_decoder_keys[] = {
    {ATTN_SET_LAYERS, "num_decoder_layers", ATTN_REQUIRED},
    {ATTN_SET_LAYERS, "num_layers", ATTN_REQUIRED},
    {ATTN_SET_NONE, NULL, 0},
};

static const struct attn_stack_recipe t5_encoder = {
    .norm = ATTN_NORM_RMS,
    .tensors =
        {
            [ATTN_ROLE_TOKENS] = {"encoder.embed_tokens", .otherwise = "shared"},
            [ATTN_ROLE_RELATIVE_BIAS] = {"encoder.block.0.layer.0.SelfAttention.relative_attention_bias"},
            [ATTN_ROLE_ATTENTION_NORM_IN] = {"encoder.block.#.layer.0.layer_norm", ATTN_NO_BIAS},
            [ATTN_ROLE_QUERY] = {"encoder.block.#.layer.0.SelfAttention.q", ATTN_NO_BIAS},
            [ATTN_ROLE_KEY] = {"encoder.block.#.layer.0.SelfAttention.k", ATTN_NO_BIAS},
            [ATTN_ROLE_VALUE] = {"encoder.block.#.layer.0.SelfAttention.v", ATTN_NO_BIAS},
            [ATTN_ROLE_OUT] = {"encoder.block.#.layer.0.SelfAttention.o", ATTN_NO_BIAS},
            [ATTN_ROLE_FFN_NORM_IN] = {"encoder.block.#.layer.1.layer_norm", ATTN_NO_BIAS},
            [ATTN_ROLE_FFN_GATE] = {"encoder.block.#.layer.1.DenseReluDense.wi_0", ATTN_NO_BIAS,
                                    .present_if = ATTN_SET_GATED},
            [ATTN_ROLE_FFN_UP] = {"encoder.block.#.layer.1.DenseReluDense.wi_1", ATTN_NO_BIAS,
                                  .present_if = ATTN_SET_GATED,
                                  .otherwise = "encoder.block.#.layer.1.DenseReluDense.wi"},
            [ATTN_ROLE_FFN_DOWN] = {"encoder.block.#.layer.1.DenseReluDense.wo", ATTN_NO_BIAS},
            [ATTN_ROLE_FINAL_NORM] = {"encoder.final_layer_norm", ATTN_NO_BIAS},
        },
};

static const struct attn_stack_recipe t5_decoder = {
    .flags = ATTN_STACK_CAUSAL | ATTN_STACK_BUCKETS_ONE_WAY,
    .norm = ATTN_NORM_RMS,
    .keys = t5_decoder_keys,
    .tensors =
        {
            [ATTN_ROLE_TOKENS] = {"decoder.embed_tokens", .otherwise = "shared"},
            [ATTN_ROLE_RELATIVE_BIAS] = {"decoder.block.0.layer.0.SelfAttention.relative_attention_bias"},
            [ATTN_ROLE_ATTENTION_NORM_IN] = {"decoder.block.#.layer.0.layer_norm", ATTN_NO_BIAS},
            [ATTN_ROLE_QUERY] = {"decoder.block.#.layer.0.SelfAttention.q", ATTN_NO_BIAS},
            [ATTN_ROLE_KEY] = {"decoder.block.#.layer.0.SelfAttention.k", ATTN_NO_BIAS},
            [ATTN_ROLE_VALUE] = {"decoder.block.#.layer.0.SelfAttention.v", ATTN_NO_BIAS},
            [ATTN_ROLE_OUT] = {"decoder.block.#.layer.0.SelfAttention.o", ATTN_NO_BIAS},
            [ATTN_ROLE_CROSS_NORM_IN] = {"decoder.block.#.layer.1.layer_norm", ATTN_NO_BIAS},
            [ATTN_ROLE_CROSS_QUERY] = {"decoder.block.#.layer.1.EncDecAttention.q", ATTN_NO_BIAS},
            [ATTN_ROLE_CROSS_KEY] = {"decoder.block.#.layer.1.EncDecAttention.k", ATTN_NO_BIAS},
            [ATTN_ROLE_CROSS_VALUE] = {"decoder.block.#.layer.1.EncDecAttention.v", ATTN_NO_BIAS},
            [ATTN_ROLE_CROSS_OUT] = {"decoder.block.#.layer.1.EncDecAttention.o", ATTN_NO_BIAS},
            [ATTN_ROLE_FFN_NORM_IN] = {"decoder.block.#.layer.2.layer_norm", ATTN_NO_BIAS},
            [ATTN_ROLE_FFN_GATE] = {"decoder.block.#.layer.2.DenseReluDense.wi_0", ATTN_NO_BIAS,
                                    .present_if = ATTN_SET_GATED},
            [ATTN_ROLE_FFN_UP] = {"decoder.block.#.layer.2.DenseReluDense.wi_1", ATTN_NO_BIAS,
                                  .present_if = ATTN_SET_GATED,
                                  .otherwise = "decoder.block.#.layer.2.DenseReluDense.wi"},
            [ATTN_ROLE_FFN_DOWN] = {"decoder.block.#.layer.2.DenseReluDense.wo", ATTN_NO_BIAS},
            [ATTN_ROLE_FINAL_NORM] = {"decoder.final_layer_norm", ATTN_NO_BIAS},
        },
};

static const struct attn_head_recipe t5_head = {
    .predicts_next = true, .decoder = {"lm_head", ATTN_NO_BIAS}, .shared = "shared.weight"};

static const struct attn_family t5 = {
    .model_type = "t5",
    .takes = ATTN_TAKES_IDS,
    .prefixes = {"", "transformer."},
    .keys = t5_keys,
    .encoder = &t5_encoder,
    .decoder = &t5_decoder,
    .head = &t5_head,
};

/* BART (Lewis et al. 2020), Marian (Junczys-Dowmunt et al. 2018), Whisper (Radford et al. 2022). */

static const struct attn_family_key bart_keys[] = {
    {ATTN_SET_HIDDEN, "d_model", ATTN_REQUIRED},
    {ATTN_SET_POSITIONS, "max_position_embeddings", 1024},
    {ATTN_SET_POSITION_OFFSET, NULL, 2},
    {ATTN_SET_NORM_EPSILON, NULL, 1e-5},
    {ATTN_SET_ACTIVATION, "activation_function", ATTN_REQUIRED},
    {ATTN_SET_SCALES_EMBEDDING, "scale_embedding", 0},
    {ATTN_SET_DECODER_START, "decoder_start_token_id", 2},
    {ATTN_SET_NONE, NULL, 0},
};

static const struct attn_family_key marian_keys[] = {
    {ATTN_SET_HIDDEN, "d_model", ATTN_REQUIRED},
    {ATTN_SET_POSITIONS, "max_position_embeddings", 1024},
    {ATTN_SET_NORM_EPSILON, NULL, 1e-5},
    {ATTN_SET_ACTIVATION, "activation_function", ATTN_REQUIRED},
    {ATTN_SET_SCALES_EMBEDDING, "scale_embedding", 0},
    {ATTN_SET_DECODER_START, "decoder_start_token_id", -1},
    {ATTN_SET_NONE, NULL, 0},
};

static const struct attn_family_key whisper_keys[] = {
    {ATTN_SET_HIDDEN, "d_model", ATTN_REQUIRED},
    {ATTN_SET_NORM_EPSILON, NULL, 1e-5},
    {ATTN_SET_ACTIVATION, "activation_function", ATTN_REQUIRED},
    {ATTN_SET_MEL_BINS, "num_mel_bins", ATTN_REQUIRED},
    {ATTN_SET_DECODER_START, "decoder_start_token_id", -1},
    {ATTN_SET_NONE, NULL, 0},
};

#define BART_ENCODER_KEYS                                                                                              \
    {ATTN_SET_LAYERS, "encoder_layers", ATTN_REQUIRED}, {ATTN_SET_HEADS, "encoder_attention_heads", ATTN_REQUIRED}, {  \
        ATTN_SET_INTERMEDIATE, "encoder_ffn_dim", ATTN_REQUIRED                                                        \
    }
#define BART_DECODER_KEYS                                                                                              \
    {ATTN_SET_LAYERS, "decoder_layers", ATTN_REQUIRED}, {ATTN_SET_HEADS, "decoder_attention_heads", ATTN_REQUIRED}, {  \
        ATTN_SET_INTERMEDIATE, "decoder_ffn_dim", ATTN_REQUIRED                                                        \
    }

static const struct attn_family_key bart_encoder_keys[] = {BART_ENCODER_KEYS, {ATTN_SET_NONE, NULL, 0}};
static const struct attn_family_key bart_decoder_keys[] = {BART_DECODER_KEYS, {ATTN_SET_NONE, NULL, 0}};
static const struct attn_family_key marian_decoder_keys[] = {
    BART_DECODER_KEYS,
    {ATTN_SET_VOCAB, "decoder_vocab_size", ATTN_REQUIRED},
    {ATTN_SET_VOCAB, "vocab_size", ATTN_REQUIRED},
    {ATTN_SET_NONE, NULL, 0},
};
static const struct attn_family_key whisper_encoder_keys[] = {
    BART_ENCODER_KEYS,
    {ATTN_SET_POSITIONS, "max_source_positions", ATTN_REQUIRED},
    {ATTN_SET_NONE, NULL, 0},
};
static const struct attn_family_key whisper_decoder_keys[] = {
    BART_DECODER_KEYS,
    {ATTN_SET_POSITIONS, "max_target_positions", ATTN_REQUIRED},
    {ATTN_SET_NONE, NULL, 0},
};

/* What the three share; key_flags: whether keys have a bias. */
#define BART_SELF_ATTENTION(stack, key_flags)                                                                          \
    [ATTN_ROLE_QUERY] = {stack ".layers.#.self_attn.q_proj"},                                                          \
    [ATTN_ROLE_KEY] = {stack ".layers.#.self_attn.k_proj", key_flags},                                                 \
    [ATTN_ROLE_VALUE] = {stack ".layers.#.self_attn.v_proj"}, [ATTN_ROLE_OUT] = {stack ".layers.#.self_attn.out_proj"}
#define BART_CROSS_ATTENTION(key_flags)                                                                                \
    [ATTN_ROLE_CROSS_QUERY] = {"decoder.layers.#.encoder_attn.q_proj"},                                                \
    [ATTN_ROLE_CROSS_KEY] = {"decoder.layers.#.encoder_attn.k_proj", key_flags},                                       \
    [ATTN_ROLE_CROSS_VALUE] = {"decoder.layers.#.encoder_attn.v_proj"},                                                \
    [ATTN_ROLE_CROSS_OUT] = {"decoder.layers.#.encoder_attn.out_proj"}
#define BART_FFN(stack) [ATTN_ROLE_FFN_UP] = {stack ".layers.#.fc1"}, [ATTN_ROLE_FFN_DOWN] = {stack ".layers.#.fc2"}
#define BART_NORMS(stack, when)                                                                                        \
    [ATTN_ROLE_ATTENTION_NORM_##when] = {stack ".layers.#.self_attn_layer_norm"},                                      \
    [ATTN_ROLE_FFN_NORM_##when] = {stack ".layers.#.final_layer_norm"}

static const struct attn_stack_recipe bart_encoder = {
    .keys = bart_encoder_keys,
    .tensors =
        {
            [ATTN_ROLE_TOKENS] = {"encoder.embed_tokens", .otherwise = "shared"},
            [ATTN_ROLE_POSITIONS] = {"encoder.embed_positions"},
            [ATTN_ROLE_EMBEDDING_NORM] = {"encoder.layernorm_embedding"},
            BART_SELF_ATTENTION("encoder", 0),
            BART_FFN("encoder"),
            BART_NORMS("encoder", AFTER),
        },
};

static const struct attn_stack_recipe bart_decoder = {
    .flags = ATTN_STACK_CAUSAL,
    .keys = bart_decoder_keys,
    .tensors =
        {
            [ATTN_ROLE_TOKENS] = {"decoder.embed_tokens", .otherwise = "shared"},
            [ATTN_ROLE_POSITIONS] = {"decoder.embed_positions"},
            [ATTN_ROLE_EMBEDDING_NORM] = {"decoder.layernorm_embedding"},
            BART_SELF_ATTENTION("decoder", 0),
            BART_CROSS_ATTENTION(0),
            [ATTN_ROLE_CROSS_NORM_AFTER] = {"decoder.layers.#.encoder_attn_layer_norm"},
            BART_FFN("decoder"),
            BART_NORMS("decoder", AFTER),
        },
};

static const struct attn_stack_recipe marian_encoder = {
    .flags = ATTN_STACK_SINUSOIDS,
    .keys = bart_encoder_keys,
    .tensors =
        {
            [ATTN_ROLE_TOKENS] = {"encoder.embed_tokens", .otherwise = "shared"},
            [ATTN_ROLE_POSITIONS] = {"encoder.embed_positions"},
            BART_SELF_ATTENTION("encoder", 0),
            BART_FFN("encoder"),
            BART_NORMS("encoder", AFTER),
        },
};

static const struct attn_stack_recipe marian_decoder = {
    .flags = ATTN_STACK_CAUSAL | ATTN_STACK_SINUSOIDS | ATTN_STACK_SCALES_GIVEN,
    .keys = marian_decoder_keys,
    .tensors =
        {
            [ATTN_ROLE_TOKENS] = {"decoder.embed_tokens", .otherwise = "shared"},
            [ATTN_ROLE_POSITIONS] = {"decoder.embed_positions"},
            BART_SELF_ATTENTION("decoder", 0),
            BART_CROSS_ATTENTION(0),
            [ATTN_ROLE_CROSS_NORM_AFTER] = {"decoder.layers.#.encoder_attn_layer_norm"},
            BART_FFN("decoder"),
            BART_NORMS("decoder", AFTER),
        },
};

static const struct attn_stack_recipe whisper_encoder = {
    .keys = whisper_encoder_keys,
    .tensors =
        {
            [ATTN_ROLE_CONVOLUTION_1] = {"encoder.conv1"},
            [ATTN_ROLE_CONVOLUTION_2] = {"encoder.conv2"},
            [ATTN_ROLE_POSITIONS] = {"encoder.embed_positions"},
            BART_SELF_ATTENTION("encoder", ATTN_NO_BIAS),
            BART_FFN("encoder"),
            BART_NORMS("encoder", IN),
            [ATTN_ROLE_FINAL_NORM] = {"encoder.layer_norm"},
        },
};

static const struct attn_stack_recipe whisper_decoder = {
    .flags = ATTN_STACK_CAUSAL,
    .keys = whisper_decoder_keys,
    .tensors =
        {
            [ATTN_ROLE_TOKENS] = {"decoder.embed_tokens"},
            [ATTN_ROLE_POSITIONS] = {"decoder.embed_positions"},
            BART_SELF_ATTENTION("decoder", ATTN_NO_BIAS),
            BART_CROSS_ATTENTION(ATTN_NO_BIAS),
            [ATTN_ROLE_CROSS_NORM_IN] = {"decoder.layers.#.encoder_attn_layer_norm"},
            BART_FFN("decoder"),
            BART_NORMS("decoder", IN),
            [ATTN_ROLE_FINAL_NORM] = {"decoder.layer_norm"},
        },
};

static const struct attn_head_recipe bart_head = {
    .predicts_next = true,
    .decoder = {"lm_head", ATTN_NO_BIAS},
    .shared = "shared.weight",
    .bias = {"final_logits_bias"},
};

static const struct attn_head_recipe whisper_head = {.predicts_next = true, .decoder = {"proj_out", ATTN_NO_BIAS}};

static const struct attn_family bart = {
    .model_type = "bart",
    .takes = ATTN_TAKES_IDS,
    .prefixes = {"model.", ""},
    .keys = bart_keys,
    .encoder = &bart_encoder,
    .decoder = &bart_decoder,
    .head = &bart_head,
};

static const struct attn_family marian = {
    .model_type = "marian",
    .takes = ATTN_TAKES_IDS,
    .prefixes = {"model.", ""},
    .keys = marian_keys,
    .encoder = &marian_encoder,
    .decoder = &marian_decoder,
    .head = &bart_head,
};

static const struct attn_family whisper = {
    .model_type = "whisper",
    .takes = ATTN_TAKES_FEATURES,
    .prefixes = {"model.", ""},
    .keys = whisper_keys,
    .encoder = &whisper_encoder,
    .decoder = &whisper_decoder,
    .head = &whisper_head,
};

const struct attn_family *const attn_families_seq2seq[] = {&t5, &bart, &marian, &whisper, NULL};
