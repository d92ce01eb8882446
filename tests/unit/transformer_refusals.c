/* Files that are not what config.json says, state dicts that lack something, inputs that a model does not read. */
#include "lib/transformer/forward.h"
#include "tests/unit/directory.h"
#include "tests/unit/run_suite.h"

#include <attn/model.h>

#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODELS "tests/golden/data/models/"

static struct attn_error error;

static void *read_file(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s", path);
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    *length = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*length);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_eq(fread(bytes, 1, *length, file), *length);
    fclose(file);
    return bytes;
}

/* Replaces the first occurrence; the caller frees what comes back, and `bytes` is gone. */
static char *replaced(char *bytes, size_t *length, const char *from, const char *to) {
    char *found = memmem(bytes, *length, from, strlen(from));
    ck_assert_msg(found != NULL, "%s", from);
    const size_t before = (size_t)(found - bytes), after = *length - before - strlen(from);
    char *edited = malloc(before + strlen(to) + after);
    ck_assert_ptr_nonnull(edited);
    memcpy(edited, bytes, before);
    memcpy(edited + before, to, strlen(to));
    memcpy(edited + before + strlen(to), found + strlen(from), after);
    *length = before + strlen(to) + after;
    free(bytes);
    return edited;
}

/* One word of one file of a model replaced, and what is then said. Words in safetensors keep their length. */
static const struct lie {
    const char *model, *file, *from, *to;
    attn_status status;
    const char *field;
} lies[] = {
    {"bert", "config.json", "{", "[", ATTN_EFORMAT, "config.json"},
    {"bert", "config.json", "\"model_type\": \"bert\"", "\"model_type\": null", ATTN_ECONFLICT,
     "config.json/model_type"},
    {"bert", "config.json", "\"hidden_act\": \"gelu\"", "\"hidden_act\": \"mish\"", ATTN_ECONFLICT,
     "config.json/hidden_act"},
    {"bert", "config.json", "\"is_decoder\": false", "\"is_decoder\": true", ATTN_ECONFLICT, "config.json/is_decoder"},
    {"bert", "config.json", "\"use_cache\": true", "\"position_embedding_type\": \"relative_key\"", ATTN_ECONFLICT,
     "config.json/position_embedding_type"},
    {"bert", "config.json", "\"use_cache\": true", "\"quantization_config\": {}", ATTN_ECONFLICT,
     "config.json/quantization_config"},
    {"bert", "config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", ATTN_ECONFLICT,
     "model.safetensors.index.json/encoder.layer.2.attention.output.LayerNorm.weight"},
    {"bert", "model.safetensors.index.json", "model-00001-of", "../bert/model-00001-of", ATTN_EFORMAT,
     "model.safetensors.index.json/weight_map"},
    {"bert", "model.safetensors.index.json", "model-00001-of-00003.safetensors", "..", ATTN_EFORMAT,
     "model.safetensors.index.json/weight_map"},
    {"bert", "model.safetensors.index.json", "model-00001-of", "model-00002-of", ATTN_EFORMAT,
     "model.safetensors.index.json/weight_map"},
    {"bert", "model.safetensors.index.json", "model-00001-of", "model-00004-of", ATTN_EIO,
     "model-00004-of-00003.safetensors"},
    {"bert", "model.safetensors.index.json", "weight_map", "weights_map", ATTN_EFORMAT,
     "model.safetensors.index.json/weight_map"},
    {"gpt2", "config.json", "\"n_layer\": 2", "\"n_layer\": 2.5", ATTN_ERANGE, "config.json/n_layer"},
    {"gpt2", "config.json", "\"n_layer\": 2", "\"n_layer\": 1e300", ATTN_ERANGE, "config.json/n_layer"},
    {"gpt2", "config.json", "\"n_layer\": 2", "\"n_layer\": \"2\"", ATTN_ERANGE, "config.json/n_layer"},
    {"gpt2", "config.json", "\"n_embd\": 24", "\"n_embd\": -24", ATTN_ERANGE, "config.json/n_embd"},
    {"gpt2", "config.json", "\"n_embd\"", "\"embd\"", ATTN_ECONFLICT, "config.json/n_embd"},
    {"gpt2", "config.json", "\"vocab_size\": 67", "\"vocab_size\": 68", ATTN_ESHAPE,
     "model.safetensors/transformer.wte.weight"},
    {"qwen3", "config.json", "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3", ATTN_ERANGE,
     "config.json/num_key_value_heads"},
    {"llama_llama3", "config.json", "\"rope_type\": \"llama3\"", "\"rope_type\": \"ntk\"", ATTN_ECONFLICT,
     "config.json/rope_parameters"},
    {"llama_llama3", "config.json", "\"low_freq_factor\": 1.0", "\"low_freq_factor\": 4.0", ATTN_ERANGE,
     "config.json/rope_parameters"},
    {"llama_yarn", "config.json", "\"factor\": 4.0", "\"factor\": -4.0", ATTN_ERANGE, "config.json/rope_scaling"},
    {"modernbert", "config.json", "\"sliding_attention\"", "\"chunked_attention\"", ATTN_ECONFLICT,
     "config.json/layer_types"},
    {"gpt_oss", "config.json", "\"num_experts_per_tok\": 2", "\"num_experts_per_tok\": 5", ATTN_ERANGE,
     "config.json/num_experts_per_tok"},
    {"gpt_oss", "config.json", "\"rope_parameters\"", "\"rope_parametres\"", ATTN_ECONFLICT,
     "config.json/rope_scaling"},
    {"vit", "config.json", "\"vit\"", "\"vat\"", ATTN_ECONFLICT, "config.json/model_type"},
    {"vit", "config.json", "\"image_size\": 12", "\"image_size\": 16", ATTN_ESHAPE,
     "model.safetensors/embeddings.position_embeddings"},
    {"vit", "config.json", "\"image_size\": 12", "\"image_size\": [12, 12, 12]", ATTN_ERANGE, "config.json/image_size"},
    {"vit", "config.json", "\"patch_size\": 4", "\"patch_size\": 40", ATTN_ERANGE, "config.json/patch_size"},
    {"vit", "config.json", "\"patch_size\": 4", "\"patch_size\": 0", ATTN_ERANGE, "config.json/patch_size"},
    {"vit", "config.json", "\"num_channels\": 3", "\"num_channels\": 4", ATTN_ESHAPE,
     "model.safetensors/embeddings.patch_embeddings.projection.weight"},
    {"vit", "config.json", "\"num_attention_heads\": 3", "\"num_attention_heads\": 5", ATTN_ERANGE,
     "config.json/hidden_size"},
    {"vit", "model.safetensors", "embeddings.cls_token", "embeddings.clz_token", ATTN_ECONFLICT,
     "model.safetensors/embeddings.cls_token"},
    {"deit", "model.safetensors", "embeddings.distillation_token", "embeddings.distillation_tokem", ATTN_ECONFLICT,
     "model.safetensors/embeddings.distillation_token"},
    {"dinov2", "config.json", "\"image_size\": 12", "\"image_size\": [4, 36]", ATTN_ECONFLICT,
     "config.json/image_size"},
    {"modernbert_biases", "config.json", "\"global_attn_every_n_layers\": 2", "\"global_attn_every_n_layers\": 0",
     ATTN_ERANGE, "config.json/global_attn_every_n_layers"},
    {"dinov2", "config.json", "\"mlp_ratio\": 2", "\"mlp_ratio\": 3", ATTN_ESHAPE,
     "model.safetensors/encoder.layer.0.mlp.fc1.weight"},
    {"dinov2", "model.safetensors", "1.layer_scale2.lambda1", "1.layer_scale2.lambda2", ATTN_ECONFLICT,
     "model.safetensors/encoder.layer.1.layer_scale2.lambda1"},
    {"clip", "config.json", "\"vision_config\"", "\"visions_config\"", ATTN_ECONFLICT, "config.json/vision_config"},
    {"clip", "config.json", "\"max_position_embeddings\": 20", "\"max_position_embeddings\": 21", ATTN_ESHAPE,
     "model.safetensors/text_model.embeddings.position_embedding.weight"},
    {"whisper", "config.json", "\"num_mel_bins\": 10", "\"num_mel_bins\": 12", ATTN_ESHAPE,
     "model.safetensors/model.encoder.conv1.weight"},
    {"whisper", "config.json", "\"max_source_positions\": 9", "\"max_source_positions\": 8", ATTN_ESHAPE,
     "model.safetensors/model.encoder.embed_positions.weight"},
    {"bart", "config.json", "\"decoder_layers\": 2", "\"decoder_layers\": 3", ATTN_ECONFLICT,
     "model.safetensors/model.decoder.layers.2.self_attn_layer_norm.weight"},
    {"bart", "config.json", "\"vocab_size\": 67", "\"vocab_size\": 68", ATTN_ESHAPE,
     "model.safetensors/model.shared.weight"},
    {"bart", "model.safetensors", "0.encoder_attn.k_proj.bias", "0.encoder_attn.k_proj.bies", ATTN_ECONFLICT,
     "model.safetensors/model.decoder.layers.0.encoder_attn.k_proj.bias"},
    {"marian", "config.json", "\"max_position_embeddings\": 32", "\"max_position_embeddings\": 268435456", ATTN_ERANGE,
     "config.json/max_position_embeddings"},
    {"marian", "config.json", "\"swish\"", "\"mish\"", ATTN_ECONFLICT, "config.json/activation_function"},
    {"t5_gated", "config.json", "\"d_kv\": 7", "\"d_kv\": 8", ATTN_ESHAPE,
     "model.safetensors/encoder.block.0.layer.0.SelfAttention.q.weight"},
    {"t5_gated", "config.json", "gated-gelu", "relu", ATTN_ECONFLICT,
     "model.safetensors/encoder.block.0.layer.1.DenseReluDense.wi.weight"},
    {"t5_gated", "config.json", "\"relative_attention_num_buckets\": 8", "\"relative_attention_num_buckets\": 9",
     ATTN_ESHAPE, "model.safetensors/encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"},
};

START_TEST(a_model_whose_files_contradict_each_other_is_refused_by_name) {
    const struct lie *lie = &lies[_i];
    char command[512];
    make_directory();
    snprintf(command, sizeof command, "cp " MODELS "%s/* %s", lie->model, directory);
    ck_assert_int_eq(system(command), 0);
    size_t length;
    char *bytes = read_file(in_directory(lie->file), &length);
    bytes = replaced(bytes, &length, lie->from, lie->to);
    write_bytes(in_directory(lie->file), bytes, length);
    free(bytes);
    struct attn_model *model = NULL;
    const attn_status status = attn_model_open(&model, directory, &error);
    remove_directory();
    ck_assert_msg(status == lie->status, "%s: %s: %s", attn_status_name(status), error.field, error.message);
    ck_assert_str_eq(error.field, lie->field);
    ck_assert_ptr_null(model);
}
END_TEST

START_TEST(a_family_that_is_not_known_is_told_which_are) {
    struct attn_model *model = NULL;
    make_directory();
    write_text(in_directory("config.json"), "{\"model_type\": \"word2vec\"}");
    ck_assert_int_eq(attn_model_open(&model, directory, &error), ATTN_ECONFLICT);
    remove_directory();
    ck_assert_str_eq(error.field, "config.json/model_type");
    for (size_t i = 0; attn_model_family(i); i++)
        ck_assert_msg(strstr(error.message, attn_model_family(i)) != NULL, "%s: %s", attn_model_family(i),
                      error.message);
    ck_assert_ptr_nonnull(attn_model_family(20));
}
END_TEST

/* State dicts */

static const struct {
    const char *model, *from, *to;
    struct attn_state_dict_config config;
    attn_status status;
    const char *field;
} dicts[] = {
    {"torch_encoder", NULL, NULL, {.num_heads = 0}, ATTN_ECONFLICT, "num_heads"},
    {"torch_encoder", NULL, NULL, {.num_heads = 5}, ATTN_ERANGE, "num_heads"},
    {"torch_encoder", NULL, NULL, {.num_heads = SIZE_MAX}, ATTN_ERANGE, "num_heads"},
    {"torch_encoder", NULL, NULL, {.num_heads = 3, .activation = "swish"}, ATTN_ECONFLICT, "activation"},
    {"torch_encoder", NULL, NULL, {.num_heads = 3, .layer_norm_eps = -1}, ATTN_ERANGE, "layer_norm_eps"},
    {"torch_encoder",
     "layers.1.linear2.weight",
     "layers.1.linear3.weight",
     {.num_heads = 3},
     ATTN_ECONFLICT,
     "layers.1.linear2.weight"},
    {"torch_encoder", "0.norm2.bias", "0.norm2.bios", {.num_heads = 3}, ATTN_ECONFLICT, "layers.0.norm2.bias"},
    {"torch_transformer",
     "decoder.layers.0.multihead_attn.in_proj_bias",
     "decoder.layers.0.multihead_attn.in_proj_bies",
     {.num_heads = 3},
     ATTN_ECONFLICT,
     "decoder.layers.0.multihead_attn.in_proj_bias"},
    {"torch_transformer", "[36,24]", "[24,36]", {.num_heads = 3}, ATTN_ESHAPE, "decoder.layers.0.linear1.weight"},
};

START_TEST(a_state_dict_that_lacks_something_is_refused_by_name) {
    char path[512];
    size_t length;
    snprintf(path, sizeof path, MODELS "%s/state_dict.safetensors", dicts[_i].model);
    char *bytes = read_file(path, &length);
    if (dicts[_i].from)
        bytes = replaced(bytes, &length, dicts[_i].from, dicts[_i].to);
    struct attn_safetensors *file = NULL;
    ck_assert_int_eq(attn_safetensors_parse(&file, bytes, length, &error), ATTN_OK);
    struct attn_model *model = NULL;
    const attn_status status = attn_model_from_state_dict(&model, file, &dicts[_i].config, &error);
    ck_assert_msg(status == dicts[_i].status, "%s: %s: %s", attn_status_name(status), error.field, error.message);
    ck_assert_str_eq(error.field, dicts[_i].field);
    ck_assert_ptr_null(model);
    attn_safetensors_close(file);
    free(bytes);
}
END_TEST

START_TEST(one_layer_is_no_whole_state_dict) {
    static const char *const others[] = {"tests/golden/data/minilm-layer0.safetensors",
                                         "tests/golden/data/mha.safetensors", MODELS "vit/model.safetensors"};
    for (size_t i = 0; i < 3; i++) {
        struct attn_safetensors *file = NULL;
        struct attn_model *model = NULL;
        const struct attn_state_dict_config config = {.num_heads = 3};
        ck_assert_int_eq(attn_safetensors_open(&file, others[i], &error), ATTN_OK);
        ck_assert(!attn_model_is_state_dict(file));
        ck_assert_int_eq(attn_model_from_state_dict(&model, file, &config, &error), ATTN_ECONFLICT);
        attn_safetensors_close(file);
    }
}
END_TEST

/* Inputs */

static float numbers[4096];
static int64_t ids[64];

static struct attn_view floats(size_t a, size_t b, size_t c, size_t d) {
    const size_t shape[] = {a, b, c, d};
    return attn_view_contiguous(numbers, ATTN_FLOAT32, d ? 4 : 3, shape);
}

static struct attn_view tokens(size_t batch, size_t length) {
    return attn_view_contiguous(ids, ATTN_INT64, 2, (size_t[]){batch, length});
}

static attn_status check(const char *name, const struct attn_model_inputs *inputs, bool wants_decoder,
                         struct attn_forward_facts *facts) {
    struct attn_model *model = NULL;
    char path[512];
    snprintf(path, sizeof path, MODELS "%s", name);
    ck_assert_msg(attn_model_open(&model, path, &error) == ATTN_OK, "%s: %s", error.field, error.message);
    const struct attn_forward forward = {
        .model = model,
        .inputs = *inputs,
        .layers = {[ATTN_STACK_ENCODER] = SIZE_MAX, [ATTN_STACK_DECODER] = wants_decoder ? SIZE_MAX : 0},
        .wants_encoder_output = true,
    };
    *facts = (struct attn_forward_facts){0};
    const attn_status status = attn_forward_check(&forward, facts, &error);
    attn_model_close(model);
    return status;
}

static void refuses(const char *name, const struct attn_model_inputs *inputs, attn_status status, const char *field) {
    struct attn_forward_facts facts;
    error = (struct attn_error){0};
    const attn_status found = check(name, inputs, true, &facts);
    ck_assert_msg(found == status, "%s: %s %s: %s", name, attn_status_name(found), error.field, error.message);
    ck_assert_str_eq(error.field, field);
}

START_TEST(a_picture_of_another_size_is_refused) {
    refuses("vit", &(struct attn_model_inputs){.pixel_values = floats(1, 3, 12, 16)}, ATTN_ESHAPE, "pixel_values");
    refuses("dinov2", &(struct attn_model_inputs){.pixel_values = floats(1, 3, 16, 16)}, ATTN_ESHAPE, "pixel_values");
    refuses("vit_wide", &(struct attn_model_inputs){.pixel_values = floats(2, 1, 12, 8)}, ATTN_ESHAPE, "pixel_values");
    refuses("vit", &(struct attn_model_inputs){.pixel_values = tokens(3, 12)}, ATTN_EDTYPE, "pixel_values");
    refuses("vit", &(struct attn_model_inputs){0}, ATTN_ECONFLICT, "pixel_values");
    refuses("vit", &(struct attn_model_inputs){.pixel_values = floats(1, 3, 12, 12), .input_ids = tokens(1, 3)},
            ATTN_ECONFLICT, "input_ids");
    refuses("vit", &(struct attn_model_inputs){.pixel_values = floats(1, 3, 12, 12), .attention_mask = tokens(1, 10)},
            ATTN_ECONFLICT, "attention_mask");
}
END_TEST

START_TEST(a_picture_alone_has_no_batch_axis) {
    struct attn_forward_facts facts;
    const struct attn_model_inputs one = {.pixel_values = floats(3, 12, 12, 0)};
    ck_assert_int_eq(check("vit", &one, false, &facts), ATTN_OK);
    ck_assert(!facts.has_batch);
    ck_assert_uint_eq(facts.batch, 1);
    ck_assert_uint_eq(facts.stacks[ATTN_STACK_ENCODER].query_length, 10);
}
END_TEST

START_TEST(speech_of_another_length_is_refused) {
    struct attn_model_inputs inputs = {.input_features = floats(1, 10, 16, 0), .decoder_input_ids = tokens(1, 3)};
    refuses("whisper", &inputs, ATTN_ESHAPE, "input_features");
    inputs.input_features = floats(2, 10, 18, 0);
    refuses("whisper", &inputs, ATTN_ESHAPE, "decoder_input_ids");
    inputs.input_features = (struct attn_view){0};
    refuses("whisper", &inputs, ATTN_ECONFLICT, "input_features");
    inputs = (struct attn_model_inputs){.input_features = floats(1, 10, 18, 0)};
    refuses("whisper", &inputs, ATTN_ECONFLICT, "decoder_input_ids");
}
END_TEST

START_TEST(clip_looks_at_text_or_at_pictures) {
    struct attn_forward_facts facts;
    struct attn_model_inputs inputs = {0};
    refuses("clip", &inputs, ATTN_ECONFLICT, "input_ids");
    inputs.pixel_values = floats(2, 3, 12, 12);
    ck_assert_int_eq(check("clip", &inputs, false, &facts), ATTN_OK);
    ck_assert_uint_eq(facts.stacks[ATTN_STACK_ENCODER].heads, 4);
    ck_assert_uint_eq(facts.stacks[ATTN_STACK_ENCODER].width, 20);
    inputs.input_ids = tokens(2, 5);
    refuses("clip", &inputs, ATTN_ECONFLICT, "pixel_values");
    inputs.pixel_values = (struct attn_view){0};
    ck_assert_int_eq(check("clip", &inputs, false, &facts), ATTN_OK);
    ck_assert_uint_eq(facts.stacks[ATTN_STACK_ENCODER].heads, 3);
}
END_TEST

START_TEST(a_decoder_needs_something_to_read_if_it_is_wanted) {
    struct attn_forward_facts facts;
    const struct attn_model_inputs inputs = {.input_ids = tokens(2, 5)};
    static const char *const models[] = {"bart", "t5", "marian"};
    for (size_t i = 0; i < 3; i++) {
        refuses(models[i], &inputs, ATTN_ECONFLICT, "decoder_input_ids");
        ck_assert_int_eq(check(models[i], &inputs, false, &facts), ATTN_OK);
        ck_assert_uint_eq(facts.stacks[ATTN_STACK_DECODER].layers, 0);
        ck_assert_uint_eq(facts.stacks[ATTN_STACK_CROSS].layers, 0);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("transformer_refusals");
    TCase *cases = tcase_create("refusals");
    tcase_set_timeout(cases, 60);
    tcase_add_loop_test(cases, a_model_whose_files_contradict_each_other_is_refused_by_name, 0,
                        (int)(sizeof lies / sizeof *lies));
    tcase_add_test(cases, a_family_that_is_not_known_is_told_which_are);
    tcase_add_loop_test(cases, a_state_dict_that_lacks_something_is_refused_by_name, 0,
                        (int)(sizeof dicts / sizeof *dicts));
    tcase_add_test(cases, one_layer_is_no_whole_state_dict);
    tcase_add_test(cases, a_picture_of_another_size_is_refused);
    tcase_add_test(cases, a_picture_alone_has_no_batch_axis);
    tcase_add_test(cases, speech_of_another_length_is_refused);
    tcase_add_test(cases, clip_looks_at_text_or_at_pictures);
    tcase_add_test(cases, a_decoder_needs_something_to_read_if_it_is_wanted);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
