#include "lib/transformer/build.h"
#include "lib/tensor/error.h"
#include "lib/tensor/shape.h"

static attn_status build_plain(struct attn_builder *builder, struct attn_feed_forward *ffn) {
    const struct attn_tensor_name *tensors = builder->recipe->tensors;
    const size_t hidden = builder->stack->hidden;
    attn_status status = ATTN_OK;
    if (attn_builder_has(builder, ATTN_ROLE_FFN_GATE_UP)) {
        struct attn_weight *both = NULL;
        if (tensors[ATTN_ROLE_FFN_GATE_UP].flags & ATTN_SILU_GATE)
            ffn->activation = ATTN_ACTIVATION_SILU;
        status = attn_builder_linear(builder, &tensors[ATTN_ROLE_FFN_GATE_UP], 2 * ffn->width, hidden, &both);
        if (status == ATTN_OK)
            status = attn_builder_part(builder, both, 0, ffn->width, &ffn->gate);
        if (status == ATTN_OK)
            status = attn_builder_part(builder, both, ffn->width, ffn->width, &ffn->up);
    } else {
        status = attn_builder_linear(builder, &tensors[ATTN_ROLE_FFN_UP], ffn->width, hidden, &ffn->up);
        if (status == ATTN_OK)
            status = attn_builder_linear(builder, &tensors[ATTN_ROLE_FFN_GATE], ffn->width, hidden, &ffn->gate);
    }
    if (status == ATTN_OK)
        status = attn_builder_linear(builder, &tensors[ATTN_ROLE_FFN_DOWN], hidden, ffn->width, &ffn->down);
    return status;
}

/* One expert's matrix out of a joined tensor (experts, in, columns): every `step`th column from `first`. */
static bool expert_weight(struct attn_builder *builder, const struct attn_view *all, const struct attn_view *biases,
                          size_t expert, size_t first, ptrdiff_t step, struct attn_weight **weight) {
    const struct attn_view one = attn_view_part(all, 0, expert, 1);
    const struct attn_view columns = attn_view_part(&one, 2, first, all->shape[2] / (size_t)step);
    const struct attn_view view = {.data = columns.data,
                                   .dtype = all->dtype,
                                   .rank = 2,
                                   .shape = {columns.shape[2], all->shape[1]},
                                   .stride = {step, all->stride[1]}};
    const struct attn_view bias_row = attn_view_part(biases, 0, expert, 1);
    const struct attn_view bias_part = attn_view_part(&bias_row, 1, first, columns.shape[2]);
    const struct attn_view bias = {
        .data = bias_part.data, .dtype = biases->dtype, .rank = 1, .shape = {columns.shape[2]}, .stride = {step}};
    *weight = attn_model_weight(builder->model, &view);
    return *weight != NULL && attn_model_vector(builder->model, &(*weight)->bias, &bias);
}

static attn_status joined_experts(struct attn_builder *builder, enum attn_role role, size_t in, size_t out,
                                  size_t experts, struct attn_view *weights, struct attn_view *biases) {
    const struct attn_tensor_name *name = &builder->recipe->tensors[role];
    const struct attn_shape shape = {3, {experts, in, out}}, bias_shape = {2, {experts, out}};
    attn_status status = attn_builder_tensor(builder, name, "", &shape, weights);
    return status == ATTN_OK ? attn_builder_tensor(builder, name, "_bias", &bias_shape, biases) : status;
}

static attn_status build_experts(struct attn_builder *builder, struct attn_feed_forward *ffn) {
    const struct attn_settings *settings = &builder->settings;
    const size_t hidden = builder->stack->hidden, experts = attn_setting_size(settings, ATTN_SET_EXPERTS);
    struct attn_view gate_up, gate_up_bias, down, down_bias;
    ffn->experts = experts;
    ffn->experts_used = attn_setting_size(settings, ATTN_SET_EXPERTS_USED);
    ffn->alpha = attn_setting_number(settings, ATTN_SET_GLU_ALPHA);
    ffn->limit = attn_setting_number(settings, ATTN_SET_GLU_LIMIT);
    if (ffn->experts_used == 0 || ffn->experts_used > experts)
        return attn_config_fail(builder->error, ATTN_ERANGE, "num_experts_per_tok", "expected 1 to %zu, found %zu",
                                experts, ffn->experts_used);
    attn_status status =
        attn_builder_linear(builder, &builder->recipe->tensors[ATTN_ROLE_ROUTER], experts, hidden, &ffn->router);
    if (status == ATTN_OK)
        status = joined_experts(builder, ATTN_ROLE_EXPERTS_GATE_UP, hidden, 2 * ffn->width, experts, &gate_up,
                                &gate_up_bias);
    if (status == ATTN_OK)
        status = joined_experts(builder, ATTN_ROLE_EXPERTS_DOWN, ffn->width, hidden, experts, &down, &down_bias);
    if (status != ATTN_OK)
        return status;
    struct attn_weight **lists = attn_model_keep(builder->model, 3 * experts, sizeof(struct attn_weight *));
    bool is_kept = lists != NULL;
    for (size_t i = 0; i < experts && is_kept; i++)
        is_kept = expert_weight(builder, &gate_up, &gate_up_bias, i, 0, 2, &lists[i]) &&
                  expert_weight(builder, &gate_up, &gate_up_bias, i, 1, 2, &lists[experts + i]) &&
                  expert_weight(builder, &down, &down_bias, i, 0, 1, &lists[2 * experts + i]);
    if (!is_kept)
        return attn_fail(builder->error, ATTN_ENOMEM, "", "no memory for the model's description");
    ffn->expert_gate = lists;
    ffn->expert_up = lists + experts;
    ffn->expert_down = lists + 2 * experts;
    return ATTN_OK;
}

attn_status attn_build_ffn(struct attn_builder *builder, struct attn_transformer_layer *layer) {
    struct attn_feed_forward *ffn = &layer->ffn;
    ffn->width = attn_setting_size(&builder->settings, ATTN_SET_INTERMEDIATE);
    ffn->activation = (attn_activation)attn_setting_number(&builder->settings, ATTN_SET_ACTIVATION);
    return attn_builder_has(builder, ATTN_ROLE_ROUTER) ? build_experts(builder, ffn) : build_plain(builder, ffn);
}
