#include "lib/transformer/build.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Architectures with a language-model head; one that shares its weight with the embedding leaves no other trace. */
static bool claims_head(const json_t *config) {
    static const char *const endings[] = {"ForCausalLM", "LMHeadModel",     "ForMaskedLM",
                                          "LMHead",      "ForPreTraining",  "ForConditionalGeneration",
                                          "MTModel",     "DoubleHeadsModel"};
    const char *name = json_string_value(json_array_get(json_object_get(config, "architectures"), 0));
    const size_t length = name != NULL ? strlen(name) : 0;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (length >= strlen(endings[i]) && strcmp(name + length - strlen(endings[i]), endings[i]) == 0)
            return true;
    return false;
}

static bool has_tensor(const struct attn_builder *builder, const struct attn_tensor_name *name) {
    char text[256];
    snprintf(text, sizeof text, "%s.weight", name->name);
    return attn_tensors_find(&builder->model->tensors, text, NULL).name != NULL;
}

/* The files may have a part of it only: heads of other tasks begin alike. */
static bool is_there(const struct attn_builder *builder, const struct attn_head_recipe *recipe) {
    if (recipe->dense.name != NULL && !has_tensor(builder, &recipe->dense))
        return false;
    return has_tensor(builder, &recipe->decoder) || claims_head(builder->config);
}

static attn_status build_decoder_bias(struct attn_builder *builder, const struct attn_head_recipe *recipe,
                                      struct attn_weight *decoder) {
    const enum attn_setting bias_if = recipe->decoder.bias_if;
    if (recipe->bias[0] == NULL || (bias_if != ATTN_SET_NONE && !attn_setting_is_on(&builder->settings, bias_if)))
        return ATTN_OK;
    const char *name = recipe->bias[0];
    for (size_t i = 0; i < sizeof recipe->bias / sizeof *recipe->bias && recipe->bias[i] != NULL; i++)
        if (attn_tensors_find(&builder->model->tensors, recipe->bias[i], NULL).name != NULL) {
            name = recipe->bias[i];
            break;
        }
    const struct attn_tensor_name bias = {.name = name, .flags = ATTN_BARE};
    return attn_builder_vector(builder, &bias, "", builder->stack->vocab, &decoder->bias);
}

/* Of two stacks each may have an embedding of its own beside the one that the head shares. */
static attn_status find_shared(struct attn_builder *builder, const struct attn_head_recipe *recipe,
                               struct attn_view *tokens) {
    const struct attn_family *family = builder->family;
    for (size_t i = 0; recipe->shared != NULL && i < sizeof family->prefixes / sizeof *family->prefixes; i++) {
        char text[256];
        const char *prefix = family->prefixes[i];
        snprintf(text, sizeof text, "%s%s", prefix != NULL ? prefix : "", recipe->shared);
        const struct attn_shape shape = {2, {builder->stack->vocab, builder->stack->embedding}};
        if (prefix != NULL && attn_tensors_find(&builder->model->tensors, text, NULL).name != NULL)
            return attn_builder_named(builder, text, &shape, tokens);
    }
    return ATTN_OK;
}

static attn_status build_decoder(struct attn_builder *builder, const struct attn_head_recipe *recipe, size_t width,
                                 struct attn_head *head) {
    const bool is_tied = attn_setting_is_on(&builder->settings, ATTN_SET_TIED);
    if (has_tensor(builder, &recipe->decoder) || !is_tied) {
        struct attn_tensor_name name = recipe->decoder;
        name.flags |= ATTN_NO_BIAS;
        attn_status status = attn_builder_linear(builder, &name, builder->stack->vocab, width, &head->decoder);
        if (status != ATTN_OK)
            return status;
    } else {
        struct attn_view tokens = builder->stack->tokens;
        attn_status status = find_shared(builder, recipe, &tokens);
        if (status != ATTN_OK)
            return status;
        if (width != builder->stack->embedding)
            return attn_config_fail(builder->error, ATTN_ECONFLICT, "tie_word_embeddings",
                                    "the embedding's width is not the head's");
        head->decoder = attn_model_weight(builder->model, &tokens);
        if (head->decoder == NULL)
            return attn_config_fail(builder->error, ATTN_ENOMEM, "", "no memory for the model's head");
    }
    return build_decoder_bias(builder, recipe, head->decoder);
}

attn_status attn_build_head(struct attn_builder *builder) {
    const struct attn_head_recipe *recipe = builder->family->head;
    struct attn_head *head = &builder->model->head;
    const struct attn_settings *settings = &builder->settings;
    builder->prefix = "";
    builder->layer = 1;
    if (recipe == NULL || !is_there(builder, recipe))
        return ATTN_OK;
    const size_t in = builder->stack->output_width, width = recipe->dense.name != NULL ? builder->stack->embedding : in;
    const double epsilon =
        recipe->norm_epsilon > 0 ? recipe->norm_epsilon : attn_setting_number(settings, ATTN_SET_NORM_EPSILON);
    head->predicts_next = recipe->predicts_next;
    head->activation = recipe->has_activation
                           ? recipe->activation
                           : (attn_activation)attn_setting_number(settings, ATTN_SET_HEAD_ACTIVATION);
    head->softcap = attn_setting_number(settings, ATTN_SET_LOGIT_SOFTCAP);
    head->scale = attn_setting_number(settings, ATTN_SET_LOGIT_SCALE);
    if (attn_setting_is_on(settings, ATTN_SET_SCALES_LOGITS))
        head->scale /= sqrt((double)in);
    attn_status status = attn_builder_linear(builder, &recipe->dense, width, in, &head->dense);
    if (status == ATTN_OK)
        status = attn_builder_norm(builder, &recipe->norm, recipe->norm_kind, epsilon, width, &head->norm);
    if (status == ATTN_OK)
        status = build_decoder(builder, recipe, width, head);
    head->is_there = status == ATTN_OK;
    return status;
}
