#include "lib/transformer/build.h"
#include "lib/tensor/error.h"
#include "lib/tensor/shape.h"

#include <stdio.h>
#include <string.h>

enum { MAX_NAME = 256 };

static bool is_on(const struct attn_builder *builder, const struct attn_tensor_name *name) {
    if (name->present_if == ATTN_SET_NONE)
        return true;
    return attn_setting_is_on(&builder->settings, name->present_if) != ((name->flags & ATTN_UNLESS) != 0);
}

static bool name_is_used(const struct attn_builder *builder, const struct attn_tensor_name *name) {
    return name->name != NULL && (is_on(builder, name) || name->otherwise != NULL) &&
           !((name->flags & ATTN_NOT_FIRST) && builder->layer == 0);
}

static const char *weight_suffix(const struct attn_tensor_name *name) {
    return name->flags & ATTN_BARE ? "" : name->flags & ATTN_UNDERSCORE ? "_weight" : ".weight";
}

static const char *bias_suffix(const struct attn_tensor_name *name) {
    return name->flags & (ATTN_BARE | ATTN_UNDERSCORE) ? "_bias" : ".bias";
}

bool attn_builder_has(const struct attn_builder *builder, enum attn_role role) {
    return name_is_used(builder, &builder->recipe->tensors[role]);
}

/* prefix + name with '#' and '@' replaced by numbers + suffix. */
static bool write_name(char *text, const struct attn_builder *builder, const char *name, const char *suffix) {
    int used = snprintf(text, MAX_NAME, "%s", builder->prefix != NULL ? builder->prefix : "");
    for (; *name != '\0' && used < MAX_NAME; name++) {
        if (*name == '#' || *name == '@')
            used +=
                snprintf(text + used, (size_t)(MAX_NAME - used), "%zu", *name == '#' ? builder->layer : builder->inner);
        else
            used += snprintf(text + used, (size_t)(MAX_NAME - used), "%c", *name);
    }
    return used < MAX_NAME && used + snprintf(text + used, (size_t)(MAX_NAME - used), "%s", suffix) < MAX_NAME;
}

static attn_status fail_tensor(const struct attn_builder *builder, attn_status status, const char *file,
                               const char *name, const char *message) {
    char field[sizeof builder->error->field];
    if (builder->model->tensors.is_lent)
        file = "";
    snprintf(field, sizeof field, "%.60s%s%.90s", file, file[0] != '\0' ? "/" : "", name);
    return attn_fail(builder->error, status, field, "%s", message);
}

/* Drops axes of 1 before the expected ones. @return whether the rest is as expected */
static bool squeeze(struct attn_view *view, const struct attn_shape *shape) {
    const int extra = view->rank - shape->rank;
    if (extra < 0)
        return false;
    for (int axis = 0; axis < view->rank; axis++)
        if (view->shape[axis] != (axis < extra ? 1 : shape->axes[axis - extra]))
            return false;
    view->rank = shape->rank;
    for (int axis = 0; axis < shape->rank; axis++) {
        view->shape[axis] = view->shape[axis + extra];
        view->stride[axis] = view->stride[axis + extra];
    }
    return true;
}

attn_status attn_builder_named(const struct attn_builder *builder, const char *name, const struct attn_shape *shape,
                               struct attn_view *view) {
    const char *file = "";
    struct attn_named_view found = attn_tensors_find(&builder->model->tensors, name, &file);
    char message[400], expected[ATTN_SHAPE_TEXT], is[ATTN_SHAPE_TEXT];
    if (found.name == NULL) {
        snprintf(message, sizeof message, "missing: %s needs it, of shape %s", builder->family->model_type,
                 attn_shape_text(expected, shape->rank, shape->axes));
        return fail_tensor(builder, ATTN_ECONFLICT,
                           builder->model->tensors.count > 1 ? "model.safetensors.index.json" : "model.safetensors",
                           name, message);
    }
    if (!squeeze(&found.view, shape)) {
        snprintf(message, sizeof message, "expected shape %s by config.json, found %s",
                 attn_shape_text(expected, shape->rank, shape->axes),
                 attn_shape_text(is, found.view.rank, found.view.shape));
        return fail_tensor(builder, ATTN_ESHAPE, file, name, message);
    }
    if (!attn_dtype_is_floating(found.view.dtype)) {
        snprintf(message, sizeof message, "expected a floating dtype, found %s", attn_dtype_name(found.view.dtype));
        return fail_tensor(builder, ATTN_EDTYPE, file, name, message);
    }
    *view = found.view;
    return ATTN_OK;
}

attn_status attn_builder_tensor(const struct attn_builder *builder, const struct attn_tensor_name *name,
                                const char *suffix, const struct attn_shape *shape, struct attn_view *view) {
    char text[MAX_NAME];
    const char *word = is_on(builder, name) ? name->name : name->otherwise;
    bool fits = write_name(text, builder, word, suffix);
    if (fits && name->otherwise != NULL && name->present_if == ATTN_SET_NONE &&
        attn_tensors_find(&builder->model->tensors, text, NULL).name == NULL)
        fits = write_name(text, builder, name->otherwise, suffix);
    if (!fits)
        return attn_fail(builder->error, ATTN_ERANGE, "config.json/model_type", "a tensor's name is too long");
    return attn_builder_named(builder, text, shape, view);
}

static attn_status no_memory(const struct attn_builder *builder) {
    return attn_fail(builder->error, ATTN_ENOMEM, "", "no memory for the model's description");
}

attn_status attn_builder_vector(const struct attn_builder *builder, const struct attn_tensor_name *name,
                                const char *suffix, size_t size, struct attn_vector *vector) {
    const struct attn_shape shape = {1, {size}};
    struct attn_view view;
    if (!name_is_used(builder, name))
        return ATTN_OK;
    attn_status status = attn_builder_tensor(builder, name, suffix, &shape, &view);
    if (status != ATTN_OK)
        return status;
    return attn_model_vector(builder->model, vector, &view) ? ATTN_OK : no_memory(builder);
}

static bool has_bias(const struct attn_builder *builder, const struct attn_tensor_name *name) {
    if (name->flags & ATTN_NO_BIAS)
        return false;
    return name->bias_if == ATTN_SET_NONE || attn_setting_is_on(&builder->settings, name->bias_if);
}

attn_status attn_builder_linear(const struct attn_builder *builder, const struct attn_tensor_name *name, size_t out,
                                size_t in, struct attn_weight **weight) {
    if (!name_is_used(builder, name))
        return ATTN_OK;
    const bool is_transposed = (name->flags & ATTN_TRANSPOSED) != 0;
    const struct attn_shape shape = {2, {is_transposed ? in : out, is_transposed ? out : in}};
    struct attn_view view;
    attn_status status = attn_builder_tensor(builder, name, weight_suffix(name), &shape, &view);
    if (status != ATTN_OK)
        return status;
    if (is_transposed) {
        view.shape[0] = out;
        view.shape[1] = in;
        view.stride[0] = 1;
        view.stride[1] = (ptrdiff_t)out;
    }
    struct attn_weight *made = attn_model_weight(builder->model, &view);
    if (made == NULL)
        return no_memory(builder);
    *weight = made;
    if (!has_bias(builder, name))
        return ATTN_OK;
    return attn_builder_vector(builder, name, bias_suffix(name), out, &made->bias);
}

attn_status attn_builder_part(const struct attn_builder *builder, const struct attn_weight *whole, size_t begin,
                              size_t count, struct attn_weight **part) {
    const struct attn_view view = attn_view_part(&whole->view, 0, begin, count);
    *part = attn_model_weight(builder->model, &view);
    if (*part == NULL)
        return no_memory(builder);
    if (whole->bias.size > 0)
        (*part)->bias = (struct attn_vector){whole->bias.float32 + begin, whole->bias.float64 + begin, count};
    return ATTN_OK;
}

/* The first BERT files call a norm's weight and bias gamma and beta. */
static bool has_old_names(const struct attn_builder *builder, const struct attn_tensor_name *name) {
    char text[MAX_NAME];
    return write_name(text, builder, name->name, ".gamma") &&
           attn_tensors_find(&builder->model->tensors, text, NULL).name != NULL;
}

attn_status attn_builder_norm(const struct attn_builder *builder, const struct attn_tensor_name *name,
                              enum attn_norm_kind kind, double epsilon, size_t width, struct attn_norm_weight *norm) {
    if (!name_is_used(builder, name))
        return ATTN_OK;
    *norm = (struct attn_norm_weight){.width = width,
                                      .centres = kind == ATTN_NORM_LAYER,
                                      .epsilon = epsilon,
                                      .weight_plus = kind == ATTN_NORM_RMS_PLUS_ONE ? 1 : 0};
    const bool is_old = has_old_names(builder, name);
    attn_status status = attn_builder_vector(builder, name, is_old ? ".gamma" : ".weight", width, &norm->weight);
    if (status == ATTN_OK && kind == ATTN_NORM_LAYER && has_bias(builder, name))
        status = attn_builder_vector(builder, name, is_old ? ".beta" : ".bias", width, &norm->bias);
    return status;
}

static attn_status table(const struct attn_builder *builder, enum attn_role role, size_t rows, size_t width,
                         struct attn_view *view) {
    const struct attn_shape shape = {2, {rows, width}};
    const struct attn_tensor_name *name = &builder->recipe->tensors[role];
    if (!attn_builder_has(builder, role))
        return ATTN_OK;
    return attn_builder_tensor(builder, name, weight_suffix(name), &shape, view);
}

static bool is_in_files(const struct attn_builder *builder, const struct attn_tensor_name *name, const char *word) {
    char text[MAX_NAME];
    return word != NULL && write_name(text, builder, word, weight_suffix(name)) &&
           attn_tensors_find(&builder->model->tensors, text, NULL).name != NULL;
}

attn_status attn_builder_prefix(struct attn_builder *builder) {
    static const enum attn_role probes[] = {ATTN_ROLE_TOKENS, ATTN_ROLE_PATCHES, ATTN_ROLE_CONVOLUTION_1};
    const struct attn_tensor_name *probe = &builder->recipe->tensors[probes[0]];
    for (size_t i = 1; i < sizeof probes / sizeof *probes && probe->name == NULL; i++)
        probe = &builder->recipe->tensors[probes[i]];
    builder->prefix = builder->family->prefixes[0];
    for (size_t i = 0; i < sizeof builder->family->prefixes / sizeof *builder->family->prefixes; i++) {
        builder->prefix = builder->family->prefixes[i];
        if (builder->prefix == NULL || probe->name == NULL)
            break;
        if (is_in_files(builder, probe, probe->name) || is_in_files(builder, probe, probe->otherwise))
            return ATTN_OK;
    }
    builder->prefix = builder->family->prefixes[0]; /* the error will name the tensor that is not there */
    return ATTN_OK;
}

/* The most tokens of a text, and the rows of the position table. */
static attn_status build_positions(struct attn_builder *builder) {
    struct attn_transformer_stack *stack = builder->stack;
    const struct attn_settings *settings = &builder->settings;
    if (stack->positions == 0) /* else the stem has said it */
        stack->positions = attn_setting_size(settings, ATTN_SET_POSITIONS);
    stack->position_offset = attn_setting_size(settings, ATTN_SET_POSITION_OFFSET);
    stack->position_kind = builder->recipe->positions;
    stack->max_length = stack->positions;
    if (stack->position_kind == ATTN_POSITIONS_NOT_PAD) {
        if (stack->pad < 0 || (size_t)stack->pad + 1 >= stack->positions)
            return attn_config_fail(builder->error, ATTN_ERANGE, "pad_token_id",
                                    "expected an id below max_position_embeddings - 1, found %lld", stack->pad);
        stack->max_length = stack->positions - (size_t)stack->pad - 1;
    }
    const struct attn_tensor_name *name = &builder->recipe->tensors[ATTN_ROLE_POSITIONS];
    if ((builder->recipe->flags & ATTN_STACK_SINUSOIDS) && !is_in_files(builder, name, name->name))
        return attn_build_sinusoids(builder);
    return table(builder, ATTN_ROLE_POSITIONS, stack->positions + stack->position_offset,
                 stack->has_late_positions ? stack->hidden : stack->embedding, &stack->position_table);
}

static attn_status build_ropes(struct attn_builder *builder) {
    struct attn_transformer_stack *stack = builder->stack;
    const struct attn_rope_recipe *recipe = &builder->recipe->rope;
    if (recipe->style == ATTN_ROPE_NONE)
        return ATTN_OK;
    stack->rope_count = recipe->local_theta > 0 ? 2 : 1;
    for (size_t i = 0; i < stack->rope_count; i++) {
        attn_status status =
            attn_rope_read(&stack->ropes[i], builder->config, &builder->settings, recipe, i == 1, builder->error);
        if (status != ATTN_OK)
            return status;
        if (stack->ropes[i].type == ATTN_ROPE_TYPE_DYNAMIC)
            stack->max_length = 0;
    }
    return ATTN_OK;
}

static attn_status build_embeddings(struct attn_builder *builder) {
    struct attn_transformer_stack *stack = builder->stack;
    const struct attn_stack_recipe *recipe = builder->recipe;
    const double epsilon = attn_setting_number(&builder->settings, ATTN_SET_NORM_EPSILON);
    attn_status status = table(builder, ATTN_ROLE_TOKENS, stack->vocab, stack->embedding, &stack->tokens);
    if (status == ATTN_OK)
        status = build_positions(builder);
    if (status == ATTN_OK)
        status = table(builder, ATTN_ROLE_TYPES, stack->types, stack->embedding, &stack->type_table);
    if (status == ATTN_OK)
        status = attn_builder_norm(builder, &recipe->tensors[ATTN_ROLE_EMBEDDING_NORM], recipe->norm, epsilon,
                                   stack->embedding, &stack->embedding_norm);
    const struct attn_tensor_name *projection = &recipe->tensors[ATTN_ROLE_EMBEDDING_PROJECTION];
    if (status == ATTN_OK && (stack->embedding != stack->hidden || (projection->flags & ATTN_ALWAYS)))
        status =
            attn_builder_linear(builder, projection, stack->hidden, stack->embedding, &stack->embedding_projection);
    return status;
}

static attn_status build_relative_bias(struct attn_builder *builder) {
    struct attn_transformer_stack *stack = builder->stack;
    if (!attn_builder_has(builder, ATTN_ROLE_RELATIVE_BIAS))
        return ATTN_OK;
    stack->bucket_distance = attn_setting_size(&builder->settings, ATTN_SET_BUCKET_DISTANCE);
    stack->buckets_one_way = (builder->recipe->flags & ATTN_STACK_BUCKETS_ONE_WAY) != 0;
    return table(builder, ATTN_ROLE_RELATIVE_BIAS, attn_setting_size(&builder->settings, ATTN_SET_BUCKETS),
                 attn_setting_size(&builder->settings, ATTN_SET_HEADS), &stack->relative_bias);
}

static void set_sizes(struct attn_builder *builder) {
    struct attn_transformer_stack *stack = builder->stack;
    const struct attn_settings *settings = &builder->settings;
    const unsigned flags = builder->recipe->flags;
    stack->is_there = true;
    stack->is_causal = (flags & ATTN_STACK_CAUSAL) != 0;
    stack->is_parallel = attn_setting_is_on(settings, ATTN_SET_PARALLEL);
    stack->has_late_positions = (flags & ATTN_STACK_POSITIONS_LATE) != 0;
    stack->layer_count = attn_setting_size(settings, ATTN_SET_LAYERS) * attn_setting_size(settings, ATTN_SET_INNER);
    stack->hidden = attn_setting_size(settings, ATTN_SET_HIDDEN);
    stack->embedding = attn_setting_size(settings, ATTN_SET_EMBEDDING);
    stack->vocab = attn_builder_has(builder, ATTN_ROLE_TOKENS) ? attn_setting_size(settings, ATTN_SET_VOCAB) : 0;
    stack->types = attn_setting_size(settings, ATTN_SET_TYPES);
    stack->pad = (long long)attn_setting_number(settings, ATTN_SET_PAD);
    stack->embedding_scale = attn_setting_number(settings, ATTN_SET_EMBEDDING_SCALE);
    stack->scales_given = (flags & ATTN_STACK_SCALES_GIVEN) != 0;
    if ((flags & ATTN_STACK_SCALES_BY_ROOT) || attn_setting_is_on(settings, ATTN_SET_SCALES_EMBEDDING))
        stack->embedding_scale = __builtin_sqrt((double)stack->hidden);
}

attn_status attn_build_ends(struct attn_builder *builder) {
    struct attn_transformer_stack *stack = builder->stack;
    const struct attn_stack_recipe *recipe = builder->recipe;
    set_sizes(builder);
    attn_status status = attn_build_stem(builder);
    if (status == ATTN_OK)
        status = build_embeddings(builder);
    if (status == ATTN_OK)
        status = build_relative_bias(builder);
    if (status == ATTN_OK)
        status = build_ropes(builder);
    if (status == ATTN_OK)
        status = attn_builder_norm(builder, &recipe->tensors[ATTN_ROLE_FINAL_NORM], recipe->norm,
                                   attn_setting_number(&builder->settings, ATTN_SET_NORM_EPSILON), stack->hidden,
                                   &stack->final_norm);
    if (status == ATTN_OK && stack->embedding != stack->hidden)
        status = attn_builder_linear(builder, &recipe->tensors[ATTN_ROLE_OUTPUT_PROJECTION], stack->embedding,
                                     stack->hidden, &stack->output_projection);
    stack->output_width = stack->output_projection != NULL ? stack->embedding : stack->hidden;
    return status;
}
