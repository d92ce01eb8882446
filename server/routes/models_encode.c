#include "server/routes/models_encode.h"
#include "server/codec/encode.h"

static void put_text(struct encoder *encoder, const char *key, const char *text) {
    encoder_key(encoder, key);
    if (text != NULL && text[0] != '\0')
        encoder_text(encoder, text);
    else
        encoder_null(encoder);
}

/* A count that is not known, as of a model that failed, is 0 in memory and null in JSON. */
static void put_count(struct encoder *encoder, const char *key, size_t count) {
    encoder_key(encoder, key);
    if (count > 0)
        encoder_integer(encoder, (int64_t)count);
    else
        encoder_null(encoder);
}

static void put_members(struct encoder *encoder, const struct model *model) {
    static const char *const statuses[] = {
        [MODEL_READY] = "ready", [MODEL_LOADING] = "loading", [MODEL_FAILED] = "failed"};
    put_text(encoder, "id", model->id);
    put_text(encoder, "kind", model->kind);
    put_text(encoder, "architecture", model->architecture);
    put_count(encoder, "layers", model->layers);
    put_count(encoder, "heads", model->heads);
    put_count(encoder, "kv_heads", model->kv_heads);
    put_count(encoder, "hidden_size", model->hidden_size);
    put_count(encoder, "max_positions", model->max_positions);
    put_count(encoder, "parameters", model->parameters);
    put_text(encoder, "dtype", model->dtype);
    put_count(encoder, "bytes", model->bytes);
    put_text(encoder, "status", statuses[model->status]);
    if (model->status == MODEL_FAILED)
        put_text(encoder, "reason", model->reason);
    put_text(encoder, "sha256", registry_model_sha256(model));
}

static void put_tensor(struct encoder *encoder, const struct attn_named_view *tensor) {
    encoder_begin_object(encoder);
    encoder_key(encoder, "name");
    encoder_text(encoder, tensor->name);
    encoder_key(encoder, "shape");
    encoder_begin_array(encoder);
    for (int i = 0; i < tensor->view.rank; i++)
        encoder_integer(encoder, (int64_t)tensor->view.shape[i]);
    encoder_end_array(encoder);
    put_text(encoder, "dtype", attn_dtype_name(tensor->view.dtype));
    encoder_end_object(encoder);
}

static void put_tensors_of(struct encoder *encoder, const struct attn_safetensors *file) {
    for (size_t i = 0; i < attn_safetensors_count(file); i++) {
        struct attn_named_view tensor = attn_safetensors_tensor(file, i);
        put_tensor(encoder, &tensor);
    }
}

/* A whole model may be in several files. */
static void put_tensors(struct encoder *encoder, const struct model *model) {
    encoder_key(encoder, "tensors");
    encoder_begin_array(encoder);
    if (model->file != NULL)
        put_tensors_of(encoder, model->file);
    else if (model->transformer != NULL)
        for (size_t i = 0; i < attn_model_file_count(model->transformer); i++)
            put_tensors_of(encoder, attn_model_file(model->transformer, i));
    encoder_end_array(encoder);
}

/* Such documents are small: in one piece they get a length. @param is_whole whether the last call found memory */
static const char *finish(struct arena *arena, struct encoder *encoder, bool is_whole, size_t *length) {
    static const size_t least = 64;
    size_t capacity = encoder_bound(encoder) + least, written;
    char *text = is_whole ? arena_alloc(arena, capacity) : NULL;
    if (text == NULL)
        return NULL;
    *length = 0;
    while (capacity - *length >= least && (written = encoder_next(encoder, text + *length, capacity - *length)) > 0)
        *length += written;
    return text;
}

const char *models_encode_list(struct arena *arena, const struct model *const *models, size_t count, size_t *length) {
    struct encoder *encoder = encoder_create(arena, (struct encode_options){.digits = 0});
    if (encoder == NULL)
        return NULL;
    encoder_begin_object(encoder);
    encoder_key(encoder, "models");
    encoder_begin_array(encoder);
    for (size_t i = 0; i < count; i++) {
        encoder_begin_object(encoder);
        put_members(encoder, models[i]);
        encoder_end_object(encoder);
    }
    encoder_end_array(encoder);
    return finish(arena, encoder, encoder_end_object(encoder), length);
}

const char *models_encode_one(struct arena *arena, const struct model *model, size_t *length) {
    struct encoder *encoder = encoder_create(arena, (struct encode_options){.digits = 0});
    if (encoder == NULL)
        return NULL;
    encoder_begin_object(encoder);
    put_members(encoder, model);
    put_tensors(encoder, model);
    return finish(arena, encoder, encoder_end_object(encoder), length);
}
