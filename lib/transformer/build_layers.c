#include "lib/transformer/build.h"
#include "lib/tensor/error.h"
#include "lib/tensor/shape.h"

#include <attn/sdpa.h>
#include <math.h>

/* The roles that an attention has in common, self or cross. */
struct attention_roles {
    enum attn_role query, key, value, joined, out;
};

static void place_heads(struct attn_attention *attention, enum attn_qkv_order order, bool is_cross) {
    const size_t queries = attention->heads * attention->head_dim, keys = attention->kv_heads * attention->head_dim;
    const size_t values = attention->kv_heads * attention->value_dim;
    for (size_t i = 0; i < 3; i++)
        attention->place[i].head_stride = i < 2 ? attention->head_dim : attention->value_dim;
    if (order == ATTN_QKV_BY_HEAD && !is_cross) {
        for (size_t i = 0; i < 3; i++)
            attention->place[i] = (struct attn_place){i * attention->head_dim, 3 * attention->head_dim};
        attention->row_width = 3 * queries;
        return;
    }
    attention->place[1].offset = is_cross ? 0 : queries;
    attention->place[2].offset = attention->place[1].offset + keys;
    attention->row_width = is_cross ? queries : queries + keys + values;
    attention->memory_width = is_cross ? keys + values : 0;
}

/* Cross attention's queries and keys are of two inputs, so that a joined weight has to be cut. */
static attn_status split_joined(struct attn_builder *builder, struct attn_attention *attention, const size_t outs[3],
                                size_t memory_hidden) {
    const struct attn_tensor_name *name = &builder->recipe->tensors[ATTN_ROLE_CROSS_QKV];
    struct attn_weight *whole = NULL;
    if (memory_hidden != builder->stack->hidden)
        return attn_fail(builder->error, ATTN_ESHAPE, name->name, "encoder and decoder are not equally wide");
    attn_status status = attn_builder_linear(builder, name, outs[0] + outs[1] + outs[2], memory_hidden, &whole);
    for (size_t i = 0, begin = 0; i < 3 && status == ATTN_OK; begin += outs[i++])
        status = attn_builder_part(builder, whole, begin, outs[i], &attention->projection[i]);
    return status;
}

static attn_status build_projections(struct attn_builder *builder, struct attn_attention *attention,
                                     const struct attention_roles *roles, size_t memory_hidden) {
    const struct attn_tensor_name *tensors = builder->recipe->tensors;
    const size_t hidden = builder->stack->hidden;
    const size_t outs[3] = {attention->heads * attention->head_dim, attention->kv_heads * attention->head_dim,
                            attention->kv_heads * attention->value_dim};
    const enum attn_role each[3] = {roles->query, roles->key, roles->value};
    attn_status status = ATTN_OK;
    if (roles->joined == ATTN_ROLE_CROSS_QKV && attn_builder_has(builder, ATTN_ROLE_CROSS_QKV))
        return split_joined(builder, attention, outs, memory_hidden);
    if (roles->joined == ATTN_ROLE_QKV && attn_builder_has(builder, ATTN_ROLE_QKV)) {
        if (builder->recipe->qkv == ATTN_QKV_BY_HEAD && attention->heads != attention->kv_heads)
            return attn_config_fail(builder->error, ATTN_ECONFLICT, "num_key_value_heads",
                                    "grouped heads are not computed in this family");
        return attn_builder_linear(builder, &tensors[ATTN_ROLE_QKV], outs[0] + outs[1] + outs[2], hidden,
                                   &attention->joined);
    }
    for (size_t i = 0; i < 3 && status == ATTN_OK; i++)
        status = attn_builder_linear(builder, &tensors[each[i]], outs[i], i == 0 ? hidden : memory_hidden,
                                     &attention->projection[i]);
    return status;
}

static double score_scale(const struct attn_settings *settings) {
    if (!attn_setting_is_on(settings, ATTN_SET_SCALES_SCORES))
        return 1;
    return 1 / sqrt(attn_setting_number(settings, ATTN_SET_SCORE_DIVISOR));
}

static attn_status build_attention(struct attn_builder *builder, struct attn_attention *attention, bool is_cross) {
    static const struct attention_roles own = {ATTN_ROLE_QUERY, ATTN_ROLE_KEY, ATTN_ROLE_VALUE, ATTN_ROLE_QKV,
                                               ATTN_ROLE_OUT};
    static const struct attention_roles cross = {ATTN_ROLE_CROSS_QUERY, ATTN_ROLE_CROSS_KEY, ATTN_ROLE_CROSS_VALUE,
                                                 ATTN_ROLE_CROSS_QKV, ATTN_ROLE_CROSS_OUT};
    const struct attention_roles *roles = is_cross ? &cross : &own;
    const struct attn_settings *settings = &builder->settings;
    const struct attn_stack_recipe *recipe = builder->recipe;
    attention->heads = attn_setting_size(settings, ATTN_SET_HEADS);
    attention->kv_heads = is_cross ? attention->heads : attn_setting_size(settings, ATTN_SET_KV_HEADS);
    attention->head_dim = attention->value_dim = attn_setting_size(settings, ATTN_SET_HEAD_DIM);
    attention->scale = score_scale(settings);
    attention->softcap = attn_setting_number(settings, ATTN_SET_SOFTCAP);
    attention->window_left = attention->window_right = ATTN_UNBOUNDED;
    place_heads(attention, recipe->qkv, is_cross);
    const size_t memory_hidden = is_cross ? builder->model->encoder.output_width : builder->stack->hidden;
    attn_status status = build_projections(builder, attention, roles, memory_hidden);
    if (status == ATTN_OK)
        status = attn_builder_linear(builder, &recipe->tensors[roles->out], builder->stack->hidden,
                                     attention->heads * attention->value_dim, &attention->out);
    return status;
}

/* Norms of queries and keys, and sinks, which only self-attention has. */
static attn_status build_attention_extras(struct attn_builder *builder, struct attn_attention *attention) {
    const struct attn_stack_recipe *recipe = builder->recipe;
    const double epsilon = attn_setting_number(&builder->settings, ATTN_SET_NORM_EPSILON);
    /* A norm over all heads together (OLMo 2) has a weight as wide as all of them. */
    const bool is_whole = (recipe->tensors[ATTN_ROLE_QUERY_NORM].flags & ATTN_ALL_HEADS) != 0;
    const size_t heads = is_whole ? attention->heads : 1, kv_heads = is_whole ? attention->kv_heads : 1;
    attn_status status = attn_builder_norm(builder, &recipe->tensors[ATTN_ROLE_QUERY_NORM], recipe->norm, epsilon,
                                           heads * attention->head_dim, &attention->query_norm);
    if (status == ATTN_OK)
        status = attn_builder_norm(builder, &recipe->tensors[ATTN_ROLE_KEY_NORM], recipe->norm, epsilon,
                                   kv_heads * attention->head_dim, &attention->key_norm);
    if (status == ATTN_OK)
        status =
            attn_builder_vector(builder, &recipe->tensors[ATTN_ROLE_SINKS], "", attention->heads, &attention->sinks);
    return status;
}

/* What differs from layer to layer even where layers share weights. */
static attn_status set_layer(struct attn_builder *builder, struct attn_attention *attention, size_t layer) {
    const struct attn_stack_recipe *recipe = builder->recipe;
    struct attn_transformer_stack *stack = builder->stack;
    attn_status status = attn_config_layer_window(builder->config, &builder->settings, recipe, layer,
                                                  &attention->is_windowed, builder->error);
    if (status != ATTN_OK)
        return status;
    attention->scale = score_scale(&builder->settings);
    if (attn_setting_is_on(&builder->settings, ATTN_SET_SCALES_BY_LAYER))
        attention->scale /= (double)(layer + 1);
    attention->window_left = attention->window_right = ATTN_UNBOUNDED;
    const long long window = (long long)attn_setting_size(&builder->settings, ATTN_SET_WINDOW);
    if (attention->is_windowed && (recipe->flags & ATTN_STACK_WINDOW_HALVED))
        attention->window_left = attention->window_right = window / 2;
    else if (attention->is_windowed)
        attention->window_left = window - 1;
    attention->rope_index = stack->rope_count > 1 && attention->is_windowed ? 1 : 0;
    attention->rope = stack->rope_count > 0 ? &stack->ropes[attention->rope_index] : NULL;
    return ATTN_OK;
}

static attn_status build_wrapping(struct attn_builder *builder, const enum attn_role roles[4],
                                  struct attn_wrapping *wrapping) {
    const struct attn_stack_recipe *recipe = builder->recipe;
    const double epsilon = attn_setting_number(&builder->settings, ATTN_SET_NORM_EPSILON);
    struct attn_norm_weight *norms[3] = {&wrapping->in, &wrapping->out, &wrapping->after};
    for (size_t i = 0; i < 3; i++) {
        if (roles[i] == ATTN_ROLE_LAYER)
            continue;
        attn_status status = attn_builder_norm(builder, &recipe->tensors[roles[i]], recipe->norm, epsilon,
                                               builder->stack->hidden, norms[i]);
        if (status != ATTN_OK)
            return status;
    }
    if (roles[3] == ATTN_ROLE_LAYER)
        return ATTN_OK;
    return attn_builder_vector(builder, &recipe->tensors[roles[3]], "", builder->stack->hidden, &wrapping->scale);
}

static attn_status build_layer(struct attn_builder *builder, struct attn_transformer_layer *layer) {
    static const enum attn_role around_attention[4] = {ATTN_ROLE_ATTENTION_NORM_IN, ATTN_ROLE_ATTENTION_NORM_OUT,
                                                       ATTN_ROLE_ATTENTION_NORM_AFTER, ATTN_ROLE_ATTENTION_SCALE};
    static const enum attn_role around_cross[4] = {ATTN_ROLE_CROSS_NORM_IN, ATTN_ROLE_LAYER, ATTN_ROLE_CROSS_NORM_AFTER,
                                                   ATTN_ROLE_LAYER};
    static const enum attn_role around_ffn[4] = {ATTN_ROLE_FFN_NORM_IN, ATTN_ROLE_FFN_NORM_OUT,
                                                 ATTN_ROLE_FFN_NORM_AFTER, ATTN_ROLE_FFN_SCALE};
    attn_status status = build_wrapping(builder, around_attention, &layer->around_attention);
    if (status == ATTN_OK)
        status = build_attention(builder, &layer->attention, false);
    if (status == ATTN_OK)
        status = build_attention_extras(builder, &layer->attention);
    if (status == ATTN_OK &&
        (attn_builder_has(builder, ATTN_ROLE_CROSS_QUERY) || attn_builder_has(builder, ATTN_ROLE_CROSS_QKV))) {
        status = build_wrapping(builder, around_cross, &layer->around_cross);
        if (status == ATTN_OK)
            status = build_attention(builder, &layer->cross, true);
    }
    if (status == ATTN_OK)
        status = build_wrapping(builder, around_ffn, &layer->around_ffn);
    return status == ATTN_OK ? attn_build_ffn(builder, layer) : status;
}

attn_status attn_build_layers(struct attn_builder *builder) {
    struct attn_transformer_stack *stack = builder->stack;
    stack->layers = attn_model_keep(builder->model, stack->layer_count, sizeof *stack->layers);
    if (stack->layers == NULL)
        return attn_fail(builder->error, ATTN_ENOMEM, "", "no memory for the model's layers");
    const size_t inner = attn_setting_size(&builder->settings, ATTN_SET_INNER);
    const size_t groups = attn_setting_size(&builder->settings, ATTN_SET_GROUPS);
    const size_t whole = attn_setting_size(&builder->settings, ATTN_SET_LAYERS);
    if (inner == 0 || whole == 0)
        return attn_config_fail(builder->error, ATTN_ERANGE, "num_hidden_layers", "no layers");
    for (size_t i = 0; i < stack->layer_count; i++) {
        attn_status status = ATTN_OK;
        builder->layer = i / inner * groups / whole;
        builder->inner = i % inner;
        if (i >= inner && (i / inner - 1) * groups / whole == builder->layer)
            stack->layers[i] = stack->layers[i - inner];
        else
            status = build_layer(builder, &stack->layers[i]);
        if (status == ATTN_OK)
            status = set_layer(builder, &stack->layers[i].attention, i);
        if (status != ATTN_OK)
            return status;
    }
    return ATTN_OK;
}
