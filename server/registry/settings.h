/** @file settings.h What tensors alone do not say about a model: from the query string of an upload, or its file. */
#ifndef SERVER_REGISTRY_SETTINGS_H
#define SERVER_REGISTRY_SETTINGS_H

#include "server/registry/registry.h"

/** A setting that may stand in the query string or in the file, and must not differ where it stands in both. */
struct setting {
    const char *name, *allowed, *given; /**< `given` is the query string's; NULL or "": nothing */
    bool (*parse)(const char *text, size_t *value);
    size_t value; /**< what it is; before it is read, what it is where it is not given */
};

#define SETTING_HEADS_ALLOWED "a whole number from 1 to 1000000"
#define SETTING_CLAIM_ALLOWED "true or false"

/** "8", and nothing like "+8", "8.0" or "0". */
bool setting_parse_heads(const char *text, size_t *heads);
/** "true" and "false", as Python writes them too, and 1 and 0. */
bool setting_parse_claim(const char *text, size_t *claim);

/** @return false with the problem filled. */
bool setting_read(const struct attn_safetensors *file, struct setting *setting, struct problem *problem);
/** Points to where the setting was said: the query string, or else the file. */
void setting_blame(const struct setting *setting, struct problem *problem);
/** Fills the problem for a setting that is needed and was not said. */
void setting_fail_missing(const struct setting *setting, struct problem *problem);
/** Fills the problem where a query parameter was given that this kind of model does not have. @return whether not. */
bool setting_check_absent(const char *name, const char *given, const char *kind, struct problem *problem);

/**
 * Settings of the query string that the file lacks: to be written into it, so that they are there after a restart.
 * @param missing room for SETTING_COUNT
 */
#define SETTING_COUNT 5
size_t settings_missing(const struct attn_safetensors *file, const struct registry_put_options *options,
                        struct attn_metadata *missing);

#endif
