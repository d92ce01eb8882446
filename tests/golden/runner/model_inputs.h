/* What a case of a tiny model reads, found in its expected.safetensors (tests/golden/README.md). */
#ifndef ATTN_TESTS_MODEL_INPUTS_H
#define ATTN_TESTS_MODEL_INPUTS_H

#include <attn/model.h>

#include <stddef.h>
#include <stdio.h>

/* Views into `expected`; data NULL where the case has none. */
static inline struct attn_model_inputs golden_model_inputs(const struct attn_safetensors *expected, const char *one) {
    static const struct {
        const char *name;
        size_t offset;
    } inputs_by_name[] = {
        {"input_ids", offsetof(struct attn_model_inputs, input_ids)},
        {"attention_mask", offsetof(struct attn_model_inputs, attention_mask)},
        {"token_type_ids", offsetof(struct attn_model_inputs, token_type_ids)},
        {"inputs_embeds", offsetof(struct attn_model_inputs, inputs_embeds)},
        {"pixel_values", offsetof(struct attn_model_inputs, pixel_values)},
        {"input_features", offsetof(struct attn_model_inputs, input_features)},
        {"decoder_input_ids", offsetof(struct attn_model_inputs, decoder_input_ids)},
        {"decoder_attention_mask", offsetof(struct attn_model_inputs, decoder_attention_mask)},
        {"decoder_inputs_embeds", offsetof(struct attn_model_inputs, decoder_inputs_embeds)},
    };
    struct attn_model_inputs inputs = {0};
    for (size_t i = 0; i < sizeof inputs_by_name / sizeof *inputs_by_name; i++) {
        char key[256];
        snprintf(key, sizeof key, "%s/inputs/%s", one, inputs_by_name[i].name);
        struct attn_view *to = (struct attn_view *)(void *)((char *)&inputs + inputs_by_name[i].offset);
        *to = attn_safetensors_find(expected, key).view;
    }
    return inputs;
}

#endif
