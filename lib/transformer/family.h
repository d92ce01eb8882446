/**
 * @file family.h
 * Families of models as data: which settings config.json has under which keys, which tensor plays which role under
 * which name, and which of the shared blocks are put together how. docs/families.md is the recipe for a new one.
 *
 * A family is one row (struct attn_family) with one recipe a stack. A recipe says nothing twice: a role that has a name
 * exists, one that has none does not, and the blocks follow from that. A norm before a sub-layer makes a pre-norm
 * model, one after the sum a post-norm one, one on the branch before the sum the other half of a sandwich; any mixture
 * works.
 */
#ifndef LIB_TRANSFORMER_FAMILY_H
#define LIB_TRANSFORMER_FAMILY_H

#include "lib/kernels/packed.h"

#include <attn/model.h>

/** What kind of value a setting is. Switches are 0 or 1; activations are members of attn_activation. */
enum attn_setting_kind {
    ATTN_KIND_SIZE,
    ATTN_KIND_ID,
    ATTN_KIND_NUMBER,
    ATTN_KIND_SWITCH,
    ATTN_KIND_ACTIVATION,
    ATTN_KIND_HEIGHT, /**< a size, or the first of two in an array */
    ATTN_KIND_WIDTH,  /**< a size, or the second of two in an array */
    ATTN_KIND_GATED   /**< a switch, or the name of an activation, that may begin with "gated-" */
};

/** A fallback: the key must be there. */
#define ATTN_REQUIRED (-1e300)
/** A fallback: the setting is not given, and what stands beside it in the table follows. */
#define ATTN_ABSENT (-2e300)

/**
 * Settings: member, kind, the key that most families read it from (NULL: only those that name one), the fallback where
 * the key is missing or null, the least and the greatest value.
 */
#define ATTN_SETTING_TABLE(X)                                                                                          \
    X(LAYERS, SIZE, "num_hidden_layers", ATTN_REQUIRED, 1, 4096)                                                       \
    X(HEADS, SIZE, "num_attention_heads", ATTN_REQUIRED, 1, 65536)                                                     \
    X(KV_HEADS, SIZE, NULL, ATTN_ABSENT, 1, 65536) /* heads */                                                         \
    X(HEAD_DIM, SIZE, NULL, ATTN_ABSENT, 1, 65536) /* hidden / heads */                                                \
    X(HIDDEN, SIZE, "hidden_size", ATTN_REQUIRED, 1, 1 << 20)                                                          \
    X(EMBEDDING, SIZE, NULL, ATTN_ABSENT, 1, 1 << 20)                     /* hidden */                                 \
    X(INTERMEDIATE, SIZE, "intermediate_size", ATTN_REQUIRED, 1, 1 << 24) /* ABSENT: 4 * hidden */                     \
    X(VOCAB, SIZE, "vocab_size", ATTN_REQUIRED, 1, 1 << 26)                                                            \
    X(POSITIONS, SIZE, "max_position_embeddings", ATTN_REQUIRED, 1, 1 << 28)                                           \
    X(POSITION_OFFSET, SIZE, NULL, 0, 0, 1 << 20) /* rows of the position table before position 0 */                   \
    X(TYPES, SIZE, NULL, 0, 0, 65536)                                                                                  \
    X(GROUPS, SIZE, NULL, ATTN_ABSENT, 1, 4096)    /* layers: sets of layer weights that the layers share */           \
    X(INNER, SIZE, NULL, 1, 1, 64)                 /* attentions of a layer, each with its FFN (ALBERT) */             \
    X(WINDOW, SIZE, NULL, ATTN_ABSENT, 1, 1 << 28) /* none */                                                          \
    X(WINDOW_STEP, SIZE, NULL, ATTN_ABSENT, 0, 4096)                                                                   \
    X(BUCKETS, SIZE, NULL, ATTN_ABSENT, 2, 65536)                                                                      \
    X(BUCKET_DISTANCE, SIZE, NULL, 128, 2, 1 << 28)                                                                    \
    X(EXPERTS, SIZE, NULL, ATTN_ABSENT, 1, 4096)                                                                       \
    X(EXPERTS_USED, SIZE, NULL, ATTN_ABSENT, 1, 4096)                                                                  \
    X(IMAGE_HEIGHT, HEIGHT, NULL, ATTN_ABSENT, 1, 65536)                                                               \
    X(IMAGE_WIDTH, WIDTH, NULL, ATTN_ABSENT, 1, 65536)                                                                 \
    X(PATCH_HEIGHT, HEIGHT, NULL, ATTN_ABSENT, 1, 65536)                                                               \
    X(PATCH_WIDTH, WIDTH, NULL, ATTN_ABSENT, 1, 65536)                                                                 \
    X(CHANNELS, SIZE, NULL, ATTN_ABSENT, 1, 65536)                                                                     \
    X(MEL_BINS, SIZE, NULL, ATTN_ABSENT, 1, 65536)                                                                     \
    X(FFN_RATIO, SIZE, NULL, ATTN_ABSENT, 1, 256) /* intermediate / hidden */                                          \
    X(PAD, ID, "pad_token_id", -1, -1, 1 << 26)                                                                        \
    X(DECODER_START, ID, NULL, -1, -1, 1 << 26)                                                                        \
    X(NORM_EPSILON, NUMBER, "layer_norm_eps", 1e-12, 0, 1)                                                             \
    X(EMBEDDING_SCALE, NUMBER, NULL, 1, -1e6, 1e6)                                                                     \
    X(SCORE_DIVISOR, NUMBER, NULL, ATTN_ABSENT, 1e-6, 1e9) /* scores are divided by its root; head_dim */              \
    X(SOFTCAP, NUMBER, NULL, 0, 0, 1e6)                                                                                \
    X(LOGIT_SOFTCAP, NUMBER, NULL, 0, 0, 1e6)                                                                          \
    X(LOGIT_SCALE, NUMBER, NULL, 1, -1e6, 1e6)                                                                         \
    X(GLU_ALPHA, NUMBER, NULL, 1, 0, 1e6)                                                                              \
    X(GLU_LIMIT, NUMBER, NULL, 0, 0, 1e9)                                                                              \
    X(NORM_FIRST, SWITCH, NULL, 1, 0, 1)                                                                               \
    X(PARALLEL, SWITCH, NULL, 0, 0, 1)        /* attention and FFN both read the layer's input */                      \
    X(SCALES_BY_LAYER, SWITCH, NULL, 0, 0, 1) /* layer i's scores are divided by i + 1 (GPT-2) */                      \
    X(SCALES_SCORES, SWITCH, NULL, 1, 0, 1)                                                                            \
    X(USES_WINDOW, SWITCH, NULL, 1, 0, 1)                                                                              \
    X(ATTENTION_BIAS, SWITCH, NULL, 0, 0, 1)                                                                           \
    X(FFN_BIAS, SWITCH, NULL, 0, 0, 1)                                                                                 \
    X(NORM_BIAS, SWITCH, NULL, 0, 0, 1)                                                                                \
    X(HEAD_BIAS, SWITCH, NULL, 0, 0, 1)                                                                                \
    X(HEAD_DENSE_BIAS, SWITCH, NULL, 0, 0, 1)                                                                          \
    X(GATED, GATED, NULL, 0, 0, 1)             /* the feed-forward has a gate */                                       \
    X(SCALES_EMBEDDING, SWITCH, NULL, 0, 0, 1) /* by the root of hidden */                                             \
    X(SCALES_LOGITS, SWITCH, NULL, 0, 0, 1)    /* the head's input is divided by the root of hidden */                 \
    X(NO_FINAL_NORM, SWITCH, NULL, 0, 0, 1)                                                                            \
    X(FINAL_NORM, SWITCH, NULL, ATTN_ABSENT, 0, 1) /* NORM_FIRST and not NO_FINAL_NORM */                              \
    X(TIED, SWITCH, "tie_word_embeddings", 1, 0, 1)                                                                    \
    X(ACTIVATION, ACTIVATION, "hidden_act", ATTN_REQUIRED, 0, 0)                                                       \
    X(HEAD_ACTIVATION, ACTIVATION, NULL, ATTN_ABSENT, 0, 0) /* activation */

/** A setting. ATTN_SET_NONE is the answer to "which setting decides": none does. */
enum attn_setting {
    ATTN_SET_NONE,
#define ATTN_SETTING_MEMBER(name, kind, key, fallback, low, high) ATTN_SET_##name,
    ATTN_SETTING_TABLE(ATTN_SETTING_MEMBER)
#undef ATTN_SETTING_MEMBER
        ATTN_SET_COUNT
};

/**
 * Where a family departs from the table: another key or another fallback. key NULL: the fallback is the value. Several
 * rows of one setting are several keys for it: the first that config.json has, and the last one's fallback.
 */
struct attn_family_key {
    enum attn_setting setting;
    const char *key;
    double fallback;
};

/** A key that must have one value, or be missing or null, because others are not computed here. */
struct attn_family_rule {
    const char *key;
    const char *value; /**< as JSON has it: "\"absolute\"", "false", "1" */
};

/** What a tensor is for. Layers' roles come after ATTN_ROLE_LAYER. */
enum attn_role {
    ATTN_ROLE_TOKENS,               /**< (vocab, embedding) */
    ATTN_ROLE_POSITIONS,            /**< (positions + offset, embedding, or hidden with ATTN_STACK_POSITIONS_LATE) */
    ATTN_ROLE_TYPES,                /**< (types, embedding) */
    ATTN_ROLE_EMBEDDING_NORM,       /**< of the sum of the three */
    ATTN_ROLE_EMBEDDING_PROJECTION, /**< (hidden, embedding); where the two differ, or always with ATTN_ALWAYS */
    ATTN_ROLE_RELATIVE_BIAS,        /**< (buckets, heads), added to the scores of all layers (T5) */
    ATTN_ROLE_PATCHES,              /**< (hidden, channels, patch, patch): convolution whose steps are its size */
    ATTN_ROLE_CLASS_TOKEN,          /**< (1, 1, hidden) or (hidden), put first */
    ATTN_ROLE_SECOND_TOKEN,         /**< likewise, put second */
    ATTN_ROLE_CONVOLUTION_1,        /**< (hidden, mel bins, 3) */
    ATTN_ROLE_CONVOLUTION_2,        /**< (hidden, hidden, 3), steps of 2 */
    ATTN_ROLE_FINAL_NORM,
    ATTN_ROLE_OUTPUT_PROJECTION, /**< (embedding, hidden), where the two differ */
    ATTN_ROLE_LAYER,             /**< no role: from here on a name has a '#' */
    ATTN_ROLE_ATTENTION_NORM_IN,
    ATTN_ROLE_QUERY,
    ATTN_ROLE_KEY,
    ATTN_ROLE_VALUE,
    ATTN_ROLE_QKV, /**< the three in one, in the order that the recipe's qkv says */
    ATTN_ROLE_QUERY_NORM,
    ATTN_ROLE_KEY_NORM,
    ATTN_ROLE_SINKS, /**< (heads) */
    ATTN_ROLE_OUT,
    ATTN_ROLE_ATTENTION_NORM_OUT,   /**< of the branch */
    ATTN_ROLE_ATTENTION_SCALE,      /**< (hidden), multiplies the branch */
    ATTN_ROLE_ATTENTION_NORM_AFTER, /**< of the sum */
    ATTN_ROLE_CROSS_NORM_IN,
    ATTN_ROLE_CROSS_QUERY,
    ATTN_ROLE_CROSS_KEY,
    ATTN_ROLE_CROSS_VALUE,
    ATTN_ROLE_CROSS_QKV, /**< the three in one block after the other */
    ATTN_ROLE_CROSS_OUT,
    ATTN_ROLE_CROSS_NORM_AFTER,
    ATTN_ROLE_FFN_NORM_IN,
    ATTN_ROLE_FFN_UP,
    ATTN_ROLE_FFN_GATE,    /**< activated, and multiplied with "up" */
    ATTN_ROLE_FFN_GATE_UP, /**< both in one, the gate first */
    ATTN_ROLE_FFN_DOWN,
    ATTN_ROLE_ROUTER,          /**< (experts, hidden) */
    ATTN_ROLE_EXPERTS_GATE_UP, /**< (experts, hidden, 2 * intermediate), gate and up by turns (gpt-oss) */
    ATTN_ROLE_EXPERTS_DOWN,    /**< (experts, intermediate, hidden) */
    ATTN_ROLE_FFN_NORM_OUT,
    ATTN_ROLE_FFN_SCALE,
    ATTN_ROLE_FFN_NORM_AFTER,
    ATTN_ROLE_COUNT
};

/** How a name is meant, as bits. */
enum {
    ATTN_NO_BIAS = 1,    /**< a linear layer or layer norm without one */
    ATTN_BARE = 2,       /**< the name is the tensor's; else ".weight" and ".bias" follow ("_bias" after a bare one) */
    ATTN_TRANSPOSED = 4, /**< (in, out), GPT-2's Conv1D */
    ATTN_NOT_FIRST = 8,  /**< layer 0 goes without */
    ATTN_ALWAYS = 16,    /**< though sizes do not ask for it */
    ATTN_UNLESS = 32,    /**< present_if decides the other way round */
    ATTN_ALL_HEADS = 64, /**< of QUERY_NORM: both norms are over all heads together (OLMo 2) */
    ATTN_UNDERSCORE = 128, /**< "_weight" and "_bias" follow (torch's in_proj) */
    ATTN_SILU_GATE = 256   /**< of FFN_GATE_UP: activated by SiLU, whatever config.json says (DINOv2) */
};

/**
 * A role's tensor. name NULL: the family has none. `otherwise` is the name where present_if decides against the first,
 * or, without present_if, where the files do not have the first.
 */
struct attn_tensor_name {
    const char *name; /**< without prefix; '#' stands for the layer's number, '@' for that within it (INNER) */
    unsigned flags;
    enum attn_setting bias_if;    /**< the switch that decides whether there is a bias; NONE: there is */
    enum attn_setting present_if; /**< the switch that decides whether there is the tensor; NONE: there is */
    const char *otherwise;
};

enum attn_norm_kind { ATTN_NORM_LAYER, ATTN_NORM_RMS, ATTN_NORM_RMS_PLUS_ONE /**< weights are 1 + w (Gemma) */ };

/** Where a token's position comes from. */
enum attn_position_kind {
    ATTN_POSITIONS_COUNTED,  /**< 0, 1, 2 … (+ offset) */
    ATTN_POSITIONS_NOT_PAD,  /**< RoBERTa's: tokens that are no pad_token_id are counted; pad's is pad's */
    ATTN_POSITIONS_UNMASKED, /**< OPT's: the tokens that the mask lets take part are counted; the others' is -1 */
};

/** How queries, keys and values lie in one product's row. */
enum attn_qkv_order {
    ATTN_QKV_BLOCKS,  /**< all queries, all keys, all values */
    ATTN_QKV_BY_HEAD, /**< head 0's query, key, value, head 1's … (GPT-NeoX) */
};

/** Rotary position embedding (Su et al. 2021). */
enum attn_rope_style {
    ATTN_ROPE_NONE,
    ATTN_ROPE_HALVES, /**< pairs (i, i + width / 2) */
    ATTN_ROPE_PAIRS,  /**< pairs (2 i, 2 i + 1) */
};

struct attn_rope_recipe {
    enum attn_rope_style style;
    double theta;             /**< where the config has none */
    double fraction;          /**< of the head that is rotated, likewise; 0 is 1 */
    const char *theta_key;    /**< old configs' key at the top; NULL is "rope_theta" */
    const char *fraction_key; /**< likewise; NULL is "partial_rotary_factor" */
    double local_theta;       /**< windowed layers' own, where the config has none; 0: they share the others' */
    const char *local_theta_key;
    bool must_be_given; /**< a config without a word of it is refused, as the family's own default is no plain one */
};

/** Which layers have the window, where config.json has no layer_types. */
enum attn_window_layers {
    ATTN_WINDOW_ALL,       /**< Mistral */
    ATTN_WINDOW_ALTERNATE, /**< layers 0, 2, 4 … (Gemma 2, gpt-oss) */
    ATTN_WINDOW_FROM_STEP, /**< from layer WINDOW_STEP (Qwen2's max_window_layers) */
    ATTN_WINDOW_NOT_STEP,  /**< all but 0, WINDOW_STEP, 2 * WINDOW_STEP … (ModernBERT) */
};

/** More about a stack, as bits. */
enum {
    ATTN_STACK_CAUSAL = 1,
    ATTN_STACK_WINDOW_HALVED = 2,   /**< WINDOW keys in all, half to each side (ModernBERT) */
    ATTN_STACK_POSITIONS_LATE = 4,  /**< positions are added after the embedding's projection (OPT) */
    ATTN_STACK_BUCKETS_ONE_WAY = 8, /**< relative buckets of keys before the query only (T5's decoder) */
    ATTN_STACK_SCALES_BY_ROOT = 16, /**< embeddings are multiplied by the root of hidden (Gemma) */
    ATTN_STACK_SINUSOIDS = 32,      /**< positions are sines and cosines where the files have no table (Marian) */
    ATTN_STACK_SCALES_GIVEN = 64,   /**< embeddings that are given are scaled too (Marian's decoder) */
    ATTN_STACK_SQUARE = 128         /**< the positions of other pictures are resampled, which is not done here */
};

/** One stack of layers. */
struct attn_stack_recipe {
    unsigned flags;
    enum attn_norm_kind norm;
    enum attn_position_kind positions;
    enum attn_qkv_order qkv;
    enum attn_window_layers window;
    struct attn_rope_recipe rope;
    const struct attn_family_key *keys; /**< beside the family's; ends with setting ATTN_SET_NONE; may be NULL */
    struct attn_tensor_name tensors[ATTN_ROLE_COUNT];
};

/** The language-model head: logits = decoder(norm(activation(dense(hidden)))). */
struct attn_head_recipe {
    bool predicts_next;
    struct attn_tensor_name dense, norm; /**< name NULL: none */
    struct attn_tensor_name decoder;     /**< weight (vocab, width); where tied, the token embedding */
    const char *shared;  /**< the embedding that is tied to, where the files have it; NULL: the stack's */
    const char *bias[3]; /**< names of the decoder's bias, the first that is there; NULL: none */
    double norm_epsilon; /**< 0: the stack's */
    bool has_activation; /**< `activation` is meant, whatever config.json says */
    attn_activation activation;
    enum attn_norm_kind norm_kind;
};

/** A family. */
struct attn_family {
    const char *model_type;
    unsigned takes;          /**< ATTN_TAKES_ bits */
    const char *prefixes[4]; /**< what may stand before all names of the stacks, "" too; the first that fits */
    const struct attn_family_key *keys;                /**< ends with setting ATTN_SET_NONE; may be NULL */
    const struct attn_family_rule *rules;              /**< ends with key NULL; may be NULL */
    const struct attn_stack_recipe *encoder, *decoder; /**< one, or both */
    const struct attn_head_recipe *head;               /**< NULL: none is known */
    /** In place of the stacks: two models side by side, of text and of pictures, each with an object of config.json. */
    struct {
        const char *config_key;
        const struct attn_family *family;
    } towers[2];
};

/** The families by room; each list ends with NULL. */
extern const struct attn_family *const attn_families_encoders[],
    *const attn_families_decoders[], *const attn_families_seq2seq[], *const attn_families_vision[];

/** @return family `index`, or NULL behind the last. */
const struct attn_family *attn_family_at(size_t index);
/** @return the family of a model_type, or NULL. */
const struct attn_family *attn_family_find(const char *model_type);

#endif
