/** What comes before the first layer where it is no table of tokens: pictures' patches, speech's convolutions. */
#include "lib/tensor/error.h"
#include "lib/tensor/shape.h"
#include "lib/transformer/build.h"

#include <math.h>

/* Tables of sines are made, not read: a file of no size could ask for any. */
enum { CONVOLUTION_WIDTH = 3, MAX_SINUSOIDS = 1 << 26 };

static attn_status no_memory(const struct attn_builder *builder) {
    return attn_fail(builder->error, ATTN_ENOMEM, "", "no memory for the model's description");
}

/* A convolution's weight as that of a linear layer: (out, all the rest). */
static attn_status build_flat(struct attn_builder *builder, enum attn_role role, const struct attn_shape *shape,
                              struct attn_weight **weight) {
    const struct attn_tensor_name *name = &builder->recipe->tensors[role];
    struct attn_view view;
    size_t in = 0;
    if (!attn_size_product(shape->axes + 1, (size_t)shape->rank - 1, &in))
        return attn_fail(builder->error, ATTN_ERANGE, "config.json", "a weight is too large");
    attn_status status = attn_builder_tensor(builder, name, ".weight", shape, &view);
    if (status != ATTN_OK)
        return status;
    const struct attn_view flat = attn_view_contiguous(view.data, view.dtype, 2, (size_t[]){shape->axes[0], in});
    *weight = attn_model_weight(builder->model, &flat);
    if (*weight == NULL)
        return no_memory(builder);
    if (name->flags & ATTN_NO_BIAS)
        return ATTN_OK;
    return attn_builder_vector(builder, name, ".bias", shape->axes[0], &(*weight)->bias);
}

static attn_status build_patches(struct attn_builder *builder) {
    static const enum attn_setting sides[2] = {ATTN_SET_IMAGE_HEIGHT, ATTN_SET_IMAGE_WIDTH};
    static const enum attn_setting patch_sides[2] = {ATTN_SET_PATCH_HEIGHT, ATTN_SET_PATCH_WIDTH};
    struct attn_transformer_stack *stack = builder->stack;
    size_t patches = 1;
    stack->channels = attn_setting_size(&builder->settings, ATTN_SET_CHANNELS);
    for (size_t i = 0; i < 2; i++) {
        stack->image[i] = attn_setting_size(&builder->settings, sides[i]);
        stack->patch[i] = attn_setting_size(&builder->settings, patch_sides[i]);
        if (stack->patch[i] == 0 || stack->image[i] < stack->patch[i])
            return attn_config_fail(builder->error, ATTN_ERANGE, "patch_size", "%zu does not fit into a side of %zu",
                                    stack->patch[i], stack->image[i]);
        patches *= stack->image[i] / stack->patch[i]; /* both at most 65536 */
    }
    if ((builder->recipe->flags & ATTN_STACK_SQUARE) && stack->image[0] != stack->image[1])
        return attn_config_fail(builder->error, ATTN_ECONFLICT, "image_size",
                                "the positions of a picture that is not square are resampled, which is not done here");
    const struct attn_shape shape = {4, {stack->hidden, stack->channels, stack->patch[0], stack->patch[1]}};
    const struct attn_tensor_name *tensors = builder->recipe->tensors;
    attn_status status = build_flat(builder, ATTN_ROLE_PATCHES, &shape, &stack->patches);
    if (status == ATTN_OK)
        status = attn_builder_vector(builder, &tensors[ATTN_ROLE_CLASS_TOKEN], "", stack->hidden, &stack->class_token);
    if (status == ATTN_OK)
        status =
            attn_builder_vector(builder, &tensors[ATTN_ROLE_SECOND_TOKEN], "", stack->hidden, &stack->second_token);
    stack->positions = patches + (stack->class_token.size > 0) + (stack->second_token.size > 0);
    return status;
}

static attn_status build_convolutions(struct attn_builder *builder) {
    struct attn_transformer_stack *stack = builder->stack;
    stack->channels = attn_setting_size(&builder->settings, ATTN_SET_MEL_BINS);
    stack->positions = attn_setting_size(&builder->settings, ATTN_SET_POSITIONS);
    const struct attn_shape first = {3, {stack->hidden, stack->channels, CONVOLUTION_WIDTH}};
    const struct attn_shape second = {3, {stack->hidden, stack->hidden, CONVOLUTION_WIDTH}};
    attn_status status = build_flat(builder, ATTN_ROLE_CONVOLUTION_1, &first, &stack->convolution[0]);
    return status == ATTN_OK ? build_flat(builder, ATTN_ROLE_CONVOLUTION_2, &second, &stack->convolution[1]) : status;
}

attn_status attn_build_stem(struct attn_builder *builder) {
    if (attn_builder_has(builder, ATTN_ROLE_PATCHES))
        return build_patches(builder);
    return attn_builder_has(builder, ATTN_ROLE_CONVOLUTION_1) ? build_convolutions(builder) : ATTN_OK;
}

attn_status attn_build_sinusoids(struct attn_builder *builder) {
    struct attn_transformer_stack *stack = builder->stack;
    const size_t width = stack->embedding, half = (width + 1) / 2, shape[] = {stack->positions, width};
    size_t elements = 0;
    if (!attn_size_product(shape, 2, &elements) || elements > MAX_SINUSOIDS)
        return attn_config_fail(builder->error, ATTN_ERANGE, "max_position_embeddings",
                                "%zu positions %zu wide: expected at most %d numbers in a table of sines", shape[0],
                                shape[1], MAX_SINUSOIDS);
    float *table = attn_model_keep(builder->model, elements, sizeof *table);
    if (table == NULL)
        return no_memory(builder);
    for (size_t position = 0; position < stack->positions; position++)
        for (size_t i = 0; i < width; i++) {
            const size_t pair = i < half ? i : i - half;
            const double angle = (double)position / pow(10000, 2 * (double)pair / (double)width);
            table[position * width + i] = (float)(i < half ? sin(angle) : cos(angle));
        }
    stack->position_table = attn_view_contiguous(table, ATTN_FLOAT32, 2, shape);
    return ATTN_OK;
}
