/** @file models_encode.h Models as JSON. */
#ifndef SERVER_ROUTES_MODELS_ENCODE_H
#define SERVER_ROUTES_MODELS_ENCODE_H

#include "server/base/arena.h"
#include "server/registry/registry.h"

/** @return {"models": […]} in the arena, `length` bytes; NULL out of memory. */
const char *models_encode_list(struct arena *arena, const struct model *const *models, size_t count, size_t *length);
/** @return one model with its tensors, likewise. */
const char *models_encode_one(struct arena *arena, const struct model *model, size_t *length);

#endif
