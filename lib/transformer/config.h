/** @file config.h Reading config.json into settings, by the tables of family.h. */
#ifndef LIB_TRANSFORMER_CONFIG_H
#define LIB_TRANSFORMER_CONFIG_H

#include "lib/transformer/family.h"

#include <jansson.h>

/** A stack's settings. Sizes and switches are exact in a double. */
struct attn_settings {
    double values[ATTN_SET_COUNT];
    bool is_given[ATTN_SET_COUNT]; /**< by the config or a fallback; what follows from other settings is not */
};

static inline double attn_setting_number(const struct attn_settings *settings, enum attn_setting setting) {
    return settings->values[setting];
}
static inline size_t attn_setting_size(const struct attn_settings *settings, enum attn_setting setting) {
    return settings->is_given[setting] ? (size_t)settings->values[setting] : 0;
}
static inline bool attn_setting_is_on(const struct attn_settings *settings, enum attn_setting setting) {
    return settings->values[setting] != 0;
}

/** Reads a JSON object, `name` in `directory`. @return ATTN_OK, ATTN_EIO, ATTN_EFORMAT, ATTN_ENOMEM; field is `name` */
attn_status attn_document_read(json_t **document, const char *directory, const char *name, struct attn_error *error);

/** @return ATTN_OK, ATTN_ECONFLICT: a rule of the family is broken. */
attn_status attn_config_obey(const json_t *config, const struct attn_family *family, struct attn_error *error);

/** Reads a stack's settings. @return ATTN_OK, ATTN_ECONFLICT, ATTN_ERANGE; error->field is "config.json/<key>" */
attn_status attn_config_settings(struct attn_settings *settings, const json_t *config, const struct attn_family *family,
                                 const struct attn_stack_recipe *recipe, struct attn_error *error);

/** @return whether the layer attends within the window only. */
attn_status attn_config_layer_window(const json_t *config, const struct attn_settings *settings,
                                     const struct attn_stack_recipe *recipe, size_t layer, bool *is_windowed,
                                     struct attn_error *error);

/** attn_fail with the field "config.json/<key>". */
attn_status attn_config_fail(struct attn_error *error, attn_status status, const char *key, const char *format, ...)
    ATTN_PRINTF(4, 5);

#endif
