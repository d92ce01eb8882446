/** @file build.h From a family's row, settings and tensors to a resolved model, with every tensor checked. */
#ifndef LIB_TRANSFORMER_BUILD_H
#define LIB_TRANSFORMER_BUILD_H

#include "lib/transformer/model.h"

/** What building reads and where it writes. */
struct attn_builder {
    struct attn_model *model;
    const json_t *config;
    const struct attn_family *family;
    const struct attn_stack_recipe *recipe;
    struct attn_settings settings; /**< of the stack that is built */
    struct attn_transformer_stack *stack;
    const char *prefix;
    size_t layer, inner; /**< what '#' and '@' stand for */
    struct attn_error *error;
};

/** Expected shape of a tensor. */
struct attn_shape {
    int rank;
    size_t axes[4];
};

/** @return whether the recipe has the role in this layer. */
bool attn_builder_has(const struct attn_builder *builder, enum attn_role role);

/**
 * Finds a role's tensor. `suffix` is ".weight", ".bias" or "".
 * @return ATTN_OK; ATTN_ECONFLICT missing, ATTN_ESHAPE, ATTN_EDTYPE, with "file/name" as the field
 */
attn_status attn_builder_tensor(const struct attn_builder *builder, const struct attn_tensor_name *name,
                                const char *suffix, const struct attn_shape *shape, struct attn_view *view);

/** Finds a tensor by its whole name. */
attn_status attn_builder_named(const struct attn_builder *builder, const char *name, const struct attn_shape *shape,
                               struct attn_view *view);

/** A linear layer with its bias, if the role has one. *weight stays NULL where the recipe has no such role. */
attn_status attn_builder_linear(const struct attn_builder *builder, const struct attn_tensor_name *name, size_t out,
                                size_t in, struct attn_weight **weight);
attn_status attn_builder_norm(const struct attn_builder *builder, const struct attn_tensor_name *name,
                              enum attn_norm_kind kind, double epsilon, size_t width, struct attn_norm_weight *norm);
attn_status attn_builder_vector(const struct attn_builder *builder, const struct attn_tensor_name *name,
                                const char *suffix, size_t size, struct attn_vector *vector);

/** Rows begin .. begin+count-1 of a linear layer as one of their own. */
attn_status attn_builder_part(const struct attn_builder *builder, const struct attn_weight *whole, size_t begin,
                              size_t count, struct attn_weight **part);

/** Picks the prefix of the tensors' names. @return ATTN_OK, ATTN_ECONFLICT */
attn_status attn_builder_prefix(struct attn_builder *builder);

/** Pictures' patches or speech's convolutions, and how many positions they give, where the stack has any. */
attn_status attn_build_stem(struct attn_builder *builder);
/** The table of positions that are sines and cosines. */
attn_status attn_build_sinusoids(struct attn_builder *builder);
/** The stack's embeddings, final norm and rotations. */
attn_status attn_build_ends(struct attn_builder *builder);
/** All layers. */
attn_status attn_build_layers(struct attn_builder *builder);
/** The feed-forward of one layer. */
attn_status attn_build_ffn(struct attn_builder *builder, struct attn_transformer_layer *layer);
/** The language-model head, where the files have one. */
attn_status attn_build_head(struct attn_builder *builder);

/**
 * A whole model of a state dict, which is lent, and whose configuration was made up.
 * @return as attn_model_open; *model is untouched on failure
 */
attn_status attn_model_build(struct attn_model **model, const json_t *config, const struct attn_family *family,
                             const struct attn_safetensors *file, struct attn_error *error);

#endif
