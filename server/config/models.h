/** @file models.h The registry that the settings ask for: --models and each --model. */
#ifndef SERVER_CONFIG_MODELS_H
#define SERVER_CONFIG_MODELS_H

#include "server/config/config.h"
#include "server/registry/registry.h"

/** @return the registry, loading in a thread of its own, to be destroyed; NULL with one line in `why`. */
struct registry *config_open_registry(const struct config *config, char *why, size_t why_capacity);

#endif
