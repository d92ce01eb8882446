#include "lib/transformer/rope.h"
#include "lib/tensor/error.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    enum attn_rope_type type;
} type_names[] = {
    {"default", ATTN_ROPE_TYPE_DEFAULT}, {"linear", ATTN_ROPE_TYPE_LINEAR}, {"dynamic", ATTN_ROPE_TYPE_DYNAMIC},
    {"yarn", ATTN_ROPE_TYPE_YARN},       {"llama3", ATTN_ROPE_TYPE_LLAMA3}, {"longrope", ATTN_ROPE_TYPE_LONGROPE},
    {"su", ATTN_ROPE_TYPE_LONGROPE},
};

/* Where the rotation's parameters stand: an object of its own (rope_parameters, rope_scaling), and the top. */
struct source {
    const json_t *config;
    const json_t *own; /* NULL: none */
    const char *name;  /* of own, for errors */
};

/* rope_parameters may hold one object for each kind of layer. */
static struct source find_source(const json_t *config, bool is_windowed) {
    const json_t *own = json_object_get(config, "rope_parameters");
    if (json_is_object(own)) {
        const json_t *layers = json_object_get(own, is_windowed ? "sliding_attention" : "full_attention");
        return (struct source){config, json_is_object(layers) ? layers : own, "rope_parameters"};
    }
    own = json_object_get(config, "rope_scaling");
    return (struct source){config, json_is_object(own) ? own : NULL, "rope_scaling"};
}

static attn_status read_number(const struct source *source, const char *key, const char *top_key, double fallback,
                               double *value, struct attn_error *error) {
    const json_t *found = source->own != NULL ? json_object_get(source->own, key) : NULL;
    bool is_own = found != NULL && !json_is_null(found);
    if (!is_own && top_key != NULL)
        found = json_object_get(source->config, top_key);
    *value = fallback;
    if (found == NULL || json_is_null(found)) {
        if (fallback > ATTN_REQUIRED)
            return ATTN_OK;
        return attn_config_fail(error, ATTN_ECONFLICT, source->name, "%s is missing", key);
    }
    *value = json_number_value(found);
    if (json_is_number(found) && *value > 0 && *value < 1e12)
        return ATTN_OK;
    return attn_config_fail(error, ATTN_ERANGE, is_own ? source->name : top_key, "%s: expected a number above 0", key);
}

/* Windowed layers with a rotation of their own, in a family whose layers share one. */
static bool is_split(const json_t *config) {
    const json_t *own = json_object_get(config, "rope_parameters");
    const json_t *full = json_object_get(own, "full_attention"), *local = json_object_get(own, "sliding_attention");
    return json_is_object(full) && json_is_object(local) && !json_equal(full, local);
}

static attn_status read_type(struct attn_rope *rope, const struct source *source, const struct attn_rope_recipe *recipe,
                             struct attn_error *error) {
    const json_t *found = json_object_get(source->own, "rope_type");
    if (found == NULL)
        found = json_object_get(source->own, "type");
    const char *name = found != NULL ? json_string_value(found) : "default";
    if (source->own == NULL && recipe->must_be_given)
        return attn_config_fail(error, ATTN_ECONFLICT, "rope_scaling", "missing");
    for (size_t i = 0; name != NULL && i < sizeof type_names / sizeof *type_names; i++)
        if (strcmp(type_names[i].name, name) == 0) {
            rope->type = type_names[i].type;
            return ATTN_OK;
        }
    return attn_config_fail(error, ATTN_ECONFLICT, source->name,
                            "rope type \"%.60s\" is not computed here; default, linear, dynamic, yarn, llama3, "
                            "longrope are",
                            name != NULL ? name : "");
}

static attn_status read_factors(struct attn_rope *rope, const struct source *source, struct attn_error *error) {
    const size_t count = rope->width / 2;
    const char *const keys[] = {"short_factor", "long_factor"};
    rope->short_factors = calloc(2 * count + 1, sizeof *rope->short_factors);
    if (rope->short_factors == NULL)
        return attn_fail(error, ATTN_ENOMEM, "config.json", "no memory for longrope's factors");
    rope->long_factors = rope->short_factors + count;
    for (size_t list = 0; list < 2; list++) {
        const json_t *factors = json_object_get(source->own, keys[list]);
        if (json_array_size(factors) != count)
            return attn_config_fail(error, ATTN_ECONFLICT, source->name, "%s: expected %zu numbers", keys[list], count);
        for (size_t i = 0; i < count; i++) {
            double value = json_number_value(json_array_get(factors, i));
            if (!(value > 0))
                return attn_config_fail(error, ATTN_ERANGE, source->name, "%s: expected numbers above 0", keys[list]);
            rope->short_factors[list * count + i] = value;
        }
    }
    return ATTN_OK;
}

static double yarn_scale(double factor, double multiplier) {
    return factor <= 1 ? 1 : 0.1 * multiplier * log(factor) + 1;
}

/* What yarn and longrope multiply cosines and sines with where the config does not say. */
static attn_status read_attention_factor(struct attn_rope *rope, const struct source *source,
                                         struct attn_error *error) {
    const double unset = 1e11;
    double scale, scale_all;
    attn_status status = read_number(source, "attention_factor", NULL, unset, &rope->attention_factor, error);
    if (status != ATTN_OK || rope->attention_factor < unset)
        return status;
    if (rope->type == ATTN_ROPE_TYPE_LONGROPE) {
        rope->attention_factor = rope->factor <= 1 ? 1 : sqrt(1 + log(rope->factor) / log(rope->first_positions));
        return ATTN_OK;
    }
    if ((status = read_number(source, "mscale", NULL, unset, &scale, error)) != ATTN_OK ||
        (status = read_number(source, "mscale_all_dim", NULL, unset, &scale_all, error)) != ATTN_OK)
        return status;
    rope->attention_factor = scale < unset && scale_all < unset
                                 ? yarn_scale(rope->factor, scale) / yarn_scale(rope->factor, scale_all)
                                 : yarn_scale(rope->factor, 1);
    return ATTN_OK;
}

static attn_status read_scaling(struct attn_rope *rope, const struct source *source, struct attn_error *error) {
    attn_status status = ATTN_OK;
    const bool is_long = rope->type == ATTN_ROPE_TYPE_YARN || rope->type == ATTN_ROPE_TYPE_LONGROPE;
    if ((status = read_number(source, "original_max_position_embeddings", "original_max_position_embeddings",
                              rope->positions, &rope->first_positions, error)) != ATTN_OK ||
        (status = read_number(source, "factor", NULL, is_long ? rope->positions / rope->first_positions : ATTN_REQUIRED,
                              &rope->factor, error)) != ATTN_OK)
        return status;
    if (rope->type == ATTN_ROPE_TYPE_LLAMA3) {
        status = read_number(source, "low_freq_factor", NULL, ATTN_REQUIRED, &rope->low_factor, error);
        if (status == ATTN_OK)
            status = read_number(source, "high_freq_factor", NULL, ATTN_REQUIRED, &rope->high_factor, error);
        if (status == ATTN_OK && rope->low_factor == rope->high_factor)
            status = attn_config_fail(error, ATTN_ERANGE, source->name, "low_freq_factor is high_freq_factor");
        return status;
    }
    if (rope->type == ATTN_ROPE_TYPE_YARN) {
        status = read_number(source, "beta_fast", NULL, 32, &rope->beta_fast, error);
        if (status == ATTN_OK)
            status = read_number(source, "beta_slow", NULL, 1, &rope->beta_slow, error);
        rope->truncates = !json_is_false(json_object_get(source->own, "truncate"));
    }
    if (status == ATTN_OK && rope->type == ATTN_ROPE_TYPE_LONGROPE)
        status = read_factors(rope, source, error);
    return status == ATTN_OK && is_long ? read_attention_factor(rope, source, error) : status;
}

attn_status attn_rope_read(struct attn_rope *rope, const json_t *config, const struct attn_settings *settings,
                           const struct attn_rope_recipe *recipe, bool is_windowed, struct attn_error *error) {
    *rope = (struct attn_rope){.attention_factor = 1, .factor = 1, .is_paired = recipe->style == ATTN_ROPE_PAIRS};
    if (recipe->style == ATTN_ROPE_NONE)
        return ATTN_OK;
    if (recipe->local_theta == 0 && is_split(config))
        return attn_config_fail(error, ATTN_ECONFLICT, "rope_parameters",
                                "one rotation for all layers is computed in this family");
    const struct source source = find_source(config, is_windowed);
    const bool is_local = is_windowed && recipe->local_theta > 0;
    const char *theta_key = recipe->theta_key != NULL ? recipe->theta_key : "rope_theta";
    const char *fraction_key = recipe->fraction_key != NULL ? recipe->fraction_key : "partial_rotary_factor";
    double fraction;
    attn_status status = read_type(rope, &source, recipe, error);
    if (status == ATTN_OK)
        status = read_number(&source, "rope_theta", is_local ? recipe->local_theta_key : theta_key,
                             is_local ? recipe->local_theta : recipe->theta, &rope->theta, error);
    if (status == ATTN_OK)
        status = read_number(&source, "partial_rotary_factor", fraction_key,
                             recipe->fraction > 0 ? recipe->fraction : 1, &fraction, error);
    if (status != ATTN_OK)
        return status;
    const double head_dim = attn_setting_number(settings, ATTN_SET_HEAD_DIM);
    rope->width = fraction <= 1 ? (size_t)(head_dim * fraction) : 0;
    rope->positions = attn_setting_number(settings, ATTN_SET_POSITIONS);
    if (rope->width == 0 || rope->width % 2 != 0)
        return attn_config_fail(error, ATTN_ERANGE, fraction_key,
                                "expected a part of the head's width (%.0f) that is even, found %zu", head_dim,
                                rope->width);
    if (rope->type == ATTN_ROPE_TYPE_DYNAMIC && rope->width <= 2)
        return attn_config_fail(error, ATTN_ERANGE, source.name, "dynamic needs a head wider than 2");
    return rope->type == ATTN_ROPE_TYPE_DEFAULT ? ATTN_OK : read_scaling(rope, &source, error);
}

void attn_rope_free(struct attn_rope *rope) {
    free(rope->short_factors);
    rope->short_factors = rope->long_factors = NULL;
}

/* Yarn's ramp: 0 where a frequency is kept, 1 where it is divided by the factor. */
static double yarn_ramp(const struct attn_rope *rope, size_t i) {
    const double dim = (double)rope->width, turns = rope->first_positions / (2 * M_PI);
    double low = dim * log(turns / rope->beta_fast) / (2 * log(rope->theta));
    double high = dim * log(turns / rope->beta_slow) / (2 * log(rope->theta));
    if (rope->truncates) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, dim - 1);
    if (low == high)
        high += 0.001;
    return fmin(fmax(((double)i - low) / (high - low), 0), 1);
}

static double llama3_frequency(const struct attn_rope *rope, double frequency) {
    const double length = 2 * M_PI / frequency, turns = rope->first_positions / length;
    if (length < rope->first_positions / rope->high_factor)
        return frequency;
    if (length > rope->first_positions / rope->low_factor)
        return frequency / rope->factor;
    const double smooth = (turns - rope->low_factor) / (rope->high_factor - rope->low_factor);
    return (1 - smooth) * frequency / rope->factor + smooth * frequency;
}

static void inverse_double(const struct attn_rope *rope, size_t length, double *inverse) {
    const double dim = (double)rope->width;
    double theta = rope->theta;
    if (rope->type == ATTN_ROPE_TYPE_DYNAMIC && (double)length > rope->positions)
        theta *= pow(rope->factor * (double)length / rope->positions - (rope->factor - 1), dim / (dim - 2));
    const double *factors = (double)length > rope->first_positions ? rope->long_factors : rope->short_factors;
    for (size_t i = 0; i < rope->width / 2; i++) {
        const double frequency = 1 / pow(theta, 2 * (double)i / dim);
        inverse[i] = frequency;
        if (rope->type == ATTN_ROPE_TYPE_LINEAR)
            inverse[i] = frequency / rope->factor;
        else if (rope->type == ATTN_ROPE_TYPE_LLAMA3)
            inverse[i] = llama3_frequency(rope, frequency);
        else if (rope->type == ATTN_ROPE_TYPE_LONGROPE)
            inverse[i] = frequency / factors[i];
        else if (rope->type == ATTN_ROPE_TYPE_YARN) {
            const double ramp = yarn_ramp(rope, i);
            inverse[i] = frequency / rope->factor * ramp + frequency * (1 - ramp);
        }
    }
}

static float llama3_single(const struct attn_rope *rope, float frequency) {
    const float factor = (float)rope->factor, length = (float)(2 * M_PI) / frequency;
    if (length < (float)(rope->first_positions / rope->high_factor))
        return frequency;
    if (length > (float)(rope->first_positions / rope->low_factor))
        return frequency / factor;
    const float turns = (float)rope->first_positions / length;
    const float smooth = (turns - (float)rope->low_factor) / (float)(rope->high_factor - rope->low_factor);
    return (1 - smooth) * frequency / factor + smooth * frequency;
}

/*
 * In the roundings that models were trained with: at position 2000 the last bit of a frequency is worth 1e-4 of an
 * angle, so that frequencies that are more exact than float32's give other attention in long texts.
 */
static void inverse_single(const struct attn_rope *rope, size_t length, double *inverse) {
    const double dim = (double)rope->width;
    const float factor = (float)rope->factor;
    float theta = (float)rope->theta;
    if (rope->type == ATTN_ROPE_TYPE_DYNAMIC && (double)length > rope->positions)
        theta *= (float)pow((double)(factor * (float)length / (float)rope->positions - (float)(rope->factor - 1)),
                            dim / (dim - 2));
    const double *factors = (double)length > rope->first_positions ? rope->long_factors : rope->short_factors;
    for (size_t i = 0; i < rope->width / 2; i++) {
        const float power = powf(theta, (float)(2 * i) / (float)dim);
        float frequency = 1 / power;
        if (rope->type == ATTN_ROPE_TYPE_LINEAR)
            frequency /= factor;
        else if (rope->type == ATTN_ROPE_TYPE_LLAMA3)
            frequency = llama3_single(rope, frequency);
        else if (rope->type == ATTN_ROPE_TYPE_LONGROPE)
            frequency = 1 / ((float)factors[i] * power);
        else if (rope->type == ATTN_ROPE_TYPE_YARN) {
            const float kept = 1 - (float)yarn_ramp(rope, i);
            frequency = 1 / (factor * power) * (1 - kept) + frequency * kept;
        }
        inverse[i] = (double)frequency;
    }
}

void attn_rope_inverse(const struct attn_rope *rope, size_t length, attn_dtype dtype, double *inverse) {
    if (dtype == ATTN_FLOAT64)
        inverse_double(rope, length, inverse);
    else
        inverse_single(rope, length, inverse);
}

void attn_rope_table(const struct attn_rope *rope, size_t length, attn_dtype dtype, double *inverse, void *table) {
    const size_t half = rope->width / 2;
    attn_rope_inverse(rope, length, dtype, inverse);
    for (size_t position = 0; position < length; position++)
        for (size_t i = 0; i < half; i++) {
            const size_t at = position * rope->width + i;
            if (dtype == ATTN_FLOAT64) {
                const double angle = inverse[i] * (double)position;
                ((double *)table)[at] = cos(angle) * rope->attention_factor;
                ((double *)table)[at + half] = sin(angle) * rope->attention_factor;
                continue;
            }
            const float angle = (float)inverse[i] * (float)position;
            ((float *)table)[at] = (float)cos((double)angle) * (float)rope->attention_factor;
            ((float *)table)[at + half] = (float)sin((double)angle) * (float)rope->attention_factor;
        }
}
