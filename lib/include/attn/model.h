/**
 * @file model.h
 * Whole transformer models: opened from Hugging Face's directory layout or from a torch state dict, checked against
 * their configuration, and run by a plan (attn_plan_create_model), which hands out the attention of every layer.
 */
#ifndef ATTN_MODEL_H
#define ATTN_MODEL_H

#include <attn/layer.h>
#include <attn/safetensors.h>
#include <attn/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The stacks of layers that a model has, by where their attention looks. */
typedef enum attn_stack {
    ATTN_STACK_ENCODER, /**< self-attention of an encoder; the only one of BERT's and ViT's kind */
    ATTN_STACK_DECODER, /**< self-attention of a decoder; the only one of GPT's kind */
    ATTN_STACK_CROSS,   /**< a decoder's attention to the encoder's output */
    ATTN_STACK_COUNT    /**< how many there are */
} attn_stack;

/** @return the name by which the HTTP interface knows it ("cross"); NULL out of range. Thread safe. */
ATTN_API const char *attn_stack_name(attn_stack stack);

/** An opened model. Opaque; immutable after opening for its users, so that many threads may run it. */
struct attn_model;

/** What a model can be asked, as bits. */
enum {
    ATTN_TAKES_IDS = 1,      /**< input_ids, or inputs_embeds */
    ATTN_TAKES_EMBEDS = 2,   /**< inputs_embeds only where ATTN_TAKES_IDS is not set */
    ATTN_TAKES_PIXELS = 4,   /**< pixel_values */
    ATTN_TAKES_FEATURES = 8, /**< input_features */
    ATTN_TAKES_TYPES = 16    /**< token_type_ids */
};

/** What a model is. Strings live as long as the model. */
struct attn_model_info {
    const char *family;               /**< model_type of config.json ("bert"); "torch.nn.TransformerEncoder" … */
    const char *architecture;         /**< architectures[0] of config.json ("BertModel"); else the family */
    unsigned takes;                   /**< ATTN_TAKES_ bits */
    bool is_encoder_decoder;          /**< has all three stacks */
    bool has_head;                    /**< a language-model head: predictions can be asked for */
    bool predicts_next;               /**< the head predicts the next token (causal); else the token at its place */
    size_t layers;                    /**< of the one self-attention stack, or of encoder and decoder together */
    size_t heads;                     /**< query heads a layer (the decoder's where there are two stacks) */
    size_t kv_heads;                  /**< key/value heads a layer */
    size_t hidden_size;               /**< width of the hidden state */
    size_t vocab_size;                /**< rows of the embedding; 0 where there is none */
    size_t max_positions;             /**< the most tokens of a text; 0: any number */
    size_t decoder_max_positions;     /**< likewise for the decoder's, where there are two stacks */
    size_t image[3];                  /**< channels, height, width of pixel_values */
    size_t features[2];               /**< mel bins, frames of input_features */
    long long pad_token_id;           /**< -1: none */
    long long decoder_start_token_id; /**< -1: none */
    size_t parameters;                /**< elements of all tensors of the files */
    size_t bytes;                     /**< of the files */
    attn_dtype dtype;                 /**< of the weights; of most of them where they differ */
};

/**
 * Opens a directory in Hugging Face's layout: `config.json`, and `model.safetensors` or
 * `model.safetensors.index.json` with its shards. Everything is checked before the model is given out: that every
 * tensor the family needs is there with the shape that the configuration says. Weights stay memory-mapped; what is
 * packed for products is packed when it is first used.
 *
 * @param model receives the model, to be freed by attn_model_close; untouched on failure
 * @return ATTN_OK; ATTN_EIO for files that cannot be read; ATTN_EFORMAT for files that are not what they claim;
 *         ATTN_ECONFLICT for a family that is not known (the message names the known ones), a setting that the family
 *         is not computed with here, a missing tensor; ATTN_ESHAPE, ATTN_EDTYPE for tensors; ATTN_ERANGE for settings;
 *         ATTN_ENOMEM. error->field is a file's name, a '/' and the key in it ("config.json/hidden_size",
 *         "model.safetensors/embeddings.word_embeddings.weight"). Thread safe.
 */
ATTN_API attn_status attn_model_open(struct attn_model **model, const char *directory, struct attn_error *error);

/** What a state dict does not say. */
struct attn_state_dict_config {
    size_t num_heads;       /**< nhead; required */
    bool norm_first;        /**< default false, as in torch.nn.TransformerEncoderLayer */
    const char *activation; /**< "relu" (default where NULL), "gelu" */
    double layer_norm_eps;  /**< 0: 1e-5 */
};

/** @return whether the tensors' names are those of a whole nn.TransformerEncoder or nn.Transformer. Thread safe. */
ATTN_API bool attn_model_is_state_dict(const struct attn_safetensors *file);

/**
 * Opens a whole torch.nn.TransformerEncoder ("layers.0.self_attn.in_proj_weight" …, "norm.weight") or
 * torch.nn.Transformer
 * ("encoder.layers.0…", "decoder.layers.0…") state dict, which takes inputs_embeds.
 *
 * @param file read while the model lives: the caller closes it after attn_model_close
 * @return as attn_model_open; error->field is a tensor's name, "num_heads" or "activation". Thread safe.
 */
ATTN_API attn_status attn_model_from_state_dict(struct attn_model **model, const struct attn_safetensors *file,
                                                const struct attn_state_dict_config *config, struct attn_error *error);

/** Frees a model; plans and results that were made with it must be gone, but for results. NULL is allowed. */
ATTN_API void attn_model_close(struct attn_model *model);

/** @return what the model is. Thread safe. */
ATTN_API struct attn_model_info attn_model_info(const struct attn_model *model);

/**
 * Memory that a model holds beside its mapped files: weights that runs in float32 have packed for products so far. Each
 * is packed by the first run that multiplies with it, once for all threads, in its file's dtype (float64 as float32),
 * and kept until attn_model_close. The most is about the files' size, and once more the embedding where a head is tied
 * to it. Runs in float64 pack nothing. No plan counts it as cost. @return its bytes. Thread safe.
 */
ATTN_API size_t attn_model_packed_bytes(const struct attn_model *model);

/** @return how many safetensors files it maps; they are the model's, and stay open as long. Thread safe. */
ATTN_API size_t attn_model_file_count(const struct attn_model *model);
/** @return file `index` (below the count). Thread safe. */
ATTN_API const struct attn_safetensors *attn_model_file(const struct attn_model *model, size_t index);

/** @return the model_type of family `index` of those that can be opened, or NULL behind the last. Thread safe. */
ATTN_API const char *attn_model_family(size_t index);

/**
 * What a model reads. Views stay the caller's and must outlive the plan. A view with no batch axis (input_ids of rank
 * 1) gives results without one; all inputs have one or none has.
 */
struct attn_model_inputs {
    struct attn_view input_ids;              /**< int64 (N, L) */
    struct attn_view attention_mask;         /**< int64 or bool (N, L): 0 is padding; not given: all take part */
    struct attn_view token_type_ids;         /**< int64 (N, L); not given: zeros */
    struct attn_view inputs_embeds;          /**< floating (N, L, E): in place of input_ids */
    struct attn_view pixel_values;           /**< floating (N, channels, height, width) */
    struct attn_view input_features;         /**< floating (N, mel bins, frames) */
    struct attn_view decoder_input_ids;      /**< int64 (N, decoder L) */
    struct attn_view decoder_attention_mask; /**< as attention_mask */
    struct attn_view decoder_inputs_embeds;  /**< floating (N, decoder L, E), in place of decoder_input_ids */
};

/** How the last hidden state becomes one vector an item. */
typedef enum attn_pooling {
    ATTN_POOLING_NONE, /**< it does not */
    ATTN_POOLING_MEAN, /**< mean over the tokens that are no padding, special tokens counted */
    ATTN_POOLING_CLS,  /**< the first token that is no padding */
    ATTN_POOLING_LAST, /**< the last token that is no padding */
    ATTN_POOLING_COUNT /**< how many there are */
} attn_pooling;

/** @return the name by which the HTTP interface knows it ("mean"); NULL out of range. Thread safe. */
ATTN_API const char *attn_pooling_name(attn_pooling pooling);

/** What is wanted of a model beside attn_want. Zero is "every stack, nothing else". */
struct attn_model_want {
    attn_dtype dtype;     /**< ATTN_FLOAT32 (0) or ATTN_FLOAT64: what is computed and answered in */
    unsigned stacks;      /**< bits 1 << attn_stack whose attention is wanted; 0: all the model has */
    attn_pooling pooling; /**< adds `embedding` */
    bool normalize;       /**< scales `embedding` to length 1 (L2) */
    size_t predictions;   /**< k likeliest tokens at each position; 0: none */
};

#ifdef __cplusplus
}
#endif
#endif
