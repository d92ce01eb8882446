#include "lib/transformer/model.h"
#include "lib/tensor/error.h"
#include "lib/transformer/build.h"
#include "lib/transformer/stem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *attn_model_keep(struct attn_model *model, size_t count, size_t bytes) {
    if (model->kept_count == model->kept_room) {
        const size_t room = model->kept_room == 0 ? 64 : 2 * model->kept_room;
        void **grown = reallocarray(model->kept, room, sizeof *grown);
        if (grown == NULL)
            return NULL;
        model->kept = grown;
        model->kept_room = room;
    }
    void *memory = calloc(count > 0 ? count : 1, bytes);
    if (memory != NULL)
        model->kept[model->kept_count++] = memory;
    return memory;
}

struct attn_weight *attn_model_weight(struct attn_model *model, const struct attn_view *view) {
    if (model->weight_count == model->weight_room) {
        const size_t room = model->weight_room == 0 ? 64 : 2 * model->weight_room;
        struct attn_weight **grown = reallocarray(model->weights, room, sizeof *grown);
        if (grown == NULL)
            return NULL;
        model->weights = grown;
        model->weight_room = room;
    }
    struct attn_weight *weight = attn_model_keep(model, 1, sizeof *weight);
    if (weight == NULL || pthread_mutex_init(&weight->packing, NULL) != 0)
        return NULL;
    weight->view = *view;
    for (size_t i = 0; i < 2; i++) {
        const size_t bytes = attn_weight_lane_bytes(view, i == 0 ? ATTN_FLOAT32 : ATTN_FLOAT64);
        if (bytes > model->max_lane_bytes[i])
            model->max_lane_bytes[i] = bytes;
    }
    model->weights[model->weight_count++] = weight;
    return weight;
}

bool attn_model_vector(struct attn_model *model, struct attn_vector *vector, const struct attn_view *view) {
    const size_t size = attn_view_elements(view);
    const struct attn_view flat = {
        .data = view->data, .dtype = view->dtype, .rank = 1, .shape = {size}, .stride = {view->stride[view->rank - 1]}};
    vector->float32 = attn_model_keep(model, size, sizeof *vector->float32);
    vector->float64 = attn_model_keep(model, size, sizeof *vector->float64);
    vector->size = size;
    if (vector->float32 == NULL || vector->float64 == NULL)
        return false;
    const struct attn_view singles = attn_view_contiguous(vector->float32, ATTN_FLOAT32, 1, &size);
    const struct attn_view doubles = attn_view_contiguous(vector->float64, ATTN_FLOAT64, 1, &size);
    return attn_view_convert(&flat, &singles, NULL) == ATTN_OK && attn_view_convert(&flat, &doubles, NULL) == ATTN_OK;
}

/* @return NULL, with the reason in *error (ATTN_ECONFLICT), where the family is not known. */
static const struct attn_family *find_family(const json_t *config, struct attn_error *error) {
    const char *type = json_string_value(json_object_get(config, "model_type"));
    const struct attn_family *family = type != NULL ? attn_family_find(type) : NULL;
    if (family != NULL)
        return family;
    char known[340] = "";
    size_t used = 0;
    const char *name;
    for (size_t i = 0; (name = attn_model_family(i)) != NULL && used + strlen(name) + 3 < sizeof known; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "", name);
    attn_config_fail(error, ATTN_ECONFLICT, "model_type", "%.60s%s is not known; known are %s",
                     type != NULL ? type : "", type != NULL ? "" : "a model without one", known);
    return NULL;
}

static attn_status build_stack(struct attn_builder *builder, const struct attn_stack_recipe *recipe,
                               struct attn_transformer_stack *stack, attn_stack kind) {
    if (recipe == NULL)
        return ATTN_OK;
    builder->recipe = recipe;
    builder->stack = stack;
    builder->layer = 0;
    stack->kind = kind;
    attn_status status =
        attn_config_settings(&builder->settings, builder->config, builder->family, recipe, builder->error);
    if (status == ATTN_OK)
        status = attn_builder_prefix(builder);
    if (status == ATTN_OK)
        status = attn_build_ends(builder);
    return status == ATTN_OK ? attn_build_layers(builder) : status;
}

/* Counts elements and bytes of the files, and finds the dtype that most elements have. */
static void count_tensors(struct attn_model *model) {
    size_t elements[ATTN_BOOL + 1] = {0};
    struct attn_model_info *info = &model->info;
    for (size_t i = 0; i < model->tensors.count; i++) {
        size_t length = 0;
        attn_safetensors_bytes(model->tensors.files[i], &length);
        info->bytes += length;
        for (size_t j = 0; j < attn_safetensors_count(model->tensors.files[i]); j++) {
            const struct attn_view view = attn_safetensors_tensor(model->tensors.files[i], j).view;
            elements[view.dtype] += attn_view_elements(&view);
            info->parameters += attn_view_elements(&view);
        }
    }
    for (size_t dtype = 0; dtype < sizeof elements / sizeof *elements; dtype++)
        if (elements[dtype] > elements[info->dtype])
            info->dtype = (attn_dtype)dtype;
}

static void describe(struct attn_model *model, const struct attn_builder *builder) {
    struct attn_model_info *info = &model->info;
    const struct attn_transformer_stack *encoder = &model->encoder, *decoder = &model->decoder;
    const struct attn_transformer_stack *main = decoder->is_there ? decoder : encoder;
    const struct attn_transformer_stack *first = encoder->is_there ? encoder : decoder;
    info->family = builder->family->model_type;
    info->architecture = model->architecture != NULL ? model->architecture : info->family;
    info->takes = builder->family->takes;
    for (size_t i = 0; i < 2; i++)
        if (builder->family->towers[i].family != NULL)
            info->takes |= builder->family->towers[i].family->takes;
    info->is_encoder_decoder = encoder->is_there && decoder->is_there;
    info->has_head = model->head.is_there;
    info->predicts_next = model->head.predicts_next;
    info->layers = encoder->layer_count + decoder->layer_count;
    info->heads = main->layers[0].attention.heads;
    info->kv_heads = main->layers[0].attention.kv_heads;
    info->hidden_size = main->output_width;
    info->vocab_size = main->vocab;
    info->max_positions = first->max_length;
    info->decoder_max_positions = info->is_encoder_decoder ? decoder->max_length : 0;
    const struct attn_transformer_stack *pictures = model->pictures.is_there ? &model->pictures : encoder;
    if (pictures->patches != NULL) {
        info->image[0] = pictures->channels;
        info->image[1] = pictures->image[0];
        info->image[2] = pictures->image[1];
    }
    if (encoder->convolution[0] != NULL) {
        size_t features[3];
        attn_stem_shape(encoder, features);
        info->features[0] = features[0];
        info->features[1] = features[1];
    }
    info->pad_token_id = main->pad;
    info->decoder_start_token_id = (long long)attn_setting_number(&builder->settings, ATTN_SET_DECODER_START);
    count_tensors(model);
}

/* The encoder of two stacks may have been saved alone (T5EncoderModel). */
static bool is_encoder_alone(const json_t *config) {
    static const char ending[] = "EncoderModel";
    const char *name = json_string_value(json_array_get(json_object_get(config, "architectures"), 0));
    const size_t length = name != NULL ? strlen(name) : 0, tail = sizeof ending - 1;
    return length >= tail && strcmp(name + length - tail, ending) == 0;
}

static attn_status build_stacks(struct attn_builder *builder) {
    const struct attn_family *family = builder->family;
    struct attn_model *model = builder->model;
    attn_status status = build_stack(builder, family->encoder, &model->encoder, ATTN_STACK_ENCODER);
    if (status == ATTN_OK && (family->encoder == NULL || !is_encoder_alone(builder->config)))
        status = build_stack(builder, family->decoder, &model->decoder, ATTN_STACK_DECODER);
    return status == ATTN_OK ? attn_build_head(builder) : status;
}

/* Two models side by side: that of text is the encoder. */
static attn_status build_towers(struct attn_builder *builder) {
    const struct attn_family *family = builder->family;
    const json_t *config = builder->config;
    attn_status status = ATTN_OK;
    for (size_t i = 2; i-- > 0 && status == ATTN_OK;) { /* that of text last, so that its settings are described */
        const char *key = family->towers[i].config_key;
        builder->family = family->towers[i].family;
        builder->config = json_object_get(config, key);
        const bool is_text = (builder->family->takes & ATTN_TAKES_IDS) != 0;
        if (!json_is_object(builder->config))
            status = attn_config_fail(builder->error, ATTN_ECONFLICT, key, "missing: %s needs it", family->model_type);
        else
            status = build_stack(builder, builder->family->encoder,
                                 is_text ? &builder->model->encoder : &builder->model->pictures, ATTN_STACK_ENCODER);
    }
    builder->family = family;
    builder->config = config;
    return status;
}

static bool keep_architecture(struct attn_model *model, const json_t *config) {
    const char *name = json_string_value(json_array_get(json_object_get(config, "architectures"), 0));
    if (name == NULL)
        return true;
    model->architecture = attn_model_keep(model, strlen(name) + 1, 1);
    if (model->architecture != NULL)
        memcpy(model->architecture, name, strlen(name));
    return model->architecture != NULL;
}

static attn_status build_model(struct attn_model *model, const json_t *config, const struct attn_family *family,
                               struct attn_error *error) {
    struct attn_builder builder = {.model = model, .config = config, .family = family, .error = error};
    attn_status status = attn_config_obey(config, family, error);
    if (status == ATTN_OK)
        status = family->towers[0].family != NULL ? build_towers(&builder) : build_stacks(&builder);
    if (status == ATTN_OK && !keep_architecture(model, config))
        status = attn_fail(error, ATTN_ENOMEM, "", "no memory for the model's description");
    if (status == ATTN_OK)
        describe(model, &builder);
    return status;
}

/* Takes the tensors over, or closes them. */
static attn_status open_with(struct attn_model **model, const json_t *config, const struct attn_family *family,
                             struct attn_tensors *tensors, struct attn_error *error) {
    struct attn_model *made = calloc(1, sizeof *made);
    if (made == NULL) {
        attn_tensors_close(tensors);
        return attn_fail(error, ATTN_ENOMEM, "", "no memory for the model's description");
    }
    made->tensors = *tensors;
    attn_status status = build_model(made, config, family, error);
    if (status == ATTN_OK)
        *model = made;
    else
        attn_model_close(made);
    return status;
}

attn_status attn_model_open(struct attn_model **model, const char *directory, struct attn_error *error) {
    json_t *config = NULL;
    struct attn_tensors tensors;
    attn_status status = attn_document_read(&config, directory, "config.json", error);
    if (status != ATTN_OK)
        return status;
    const struct attn_family *family = find_family(config, error);
    status = family != NULL ? attn_tensors_open(&tensors, directory, error) : ATTN_ECONFLICT;
    if (status == ATTN_OK)
        status = open_with(model, config, family, &tensors, error);
    json_decref(config);
    return status;
}

attn_status attn_model_build(struct attn_model **model, const json_t *config, const struct attn_family *family,
                             const struct attn_safetensors *file, struct attn_error *error) {
    struct attn_tensors tensors = {.count = 1, .is_lent = true};
    tensors.files = calloc(1, sizeof *tensors.files);
    tensors.names = calloc(1, sizeof *tensors.names);
    if (tensors.files == NULL || tensors.names == NULL) {
        attn_tensors_close(&tensors);
        return attn_fail(error, ATTN_ENOMEM, "", "no memory for the model's description");
    }
    tensors.files[0] = (struct attn_safetensors *)file; /* is_lent: never written to, nor closed */
    tensors.names[0] = "";
    return open_with(model, config, family, &tensors, error);
}

void attn_model_close(struct attn_model *model) {
    if (model == NULL)
        return;
    for (size_t i = 0; i < model->weight_count; i++)
        attn_weight_release(model->weights[i]);
    for (size_t i = 0; i < 2; i++) {
        attn_rope_free(&model->encoder.ropes[i]);
        attn_rope_free(&model->decoder.ropes[i]);
        attn_rope_free(&model->pictures.ropes[i]);
    }
    for (size_t i = 0; i < model->kept_count; i++)
        free(model->kept[i]);
    free(model->kept);
    free(model->weights);
    attn_tensors_close(&model->tensors);
    free(model);
}

struct attn_model_info attn_model_info(const struct attn_model *model) {
    return model->info;
}

size_t attn_model_packed_bytes(const struct attn_model *model) {
    size_t bytes = 0;
    for (size_t i = 0; i < model->weight_count; i++)
        bytes += attn_weight_packed_bytes(model->weights[i]);
    return bytes;
}

size_t attn_model_file_count(const struct attn_model *model) {
    return model->tensors.count;
}

const struct attn_safetensors *attn_model_file(const struct attn_model *model, size_t index) {
    return model->tensors.files[index];
}
