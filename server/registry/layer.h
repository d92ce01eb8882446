/** @file layer.h The model in a safetensors file that is one attention layer. */
#ifndef SERVER_REGISTRY_LAYER_H
#define SERVER_REGISTRY_LAYER_H

#include "server/registry/loaded.h"

/** Fills model.layer from model.file. @return false with the problem filled. */
bool layer_resolve(struct loaded *loaded, const struct registry_put_options *options, struct problem *problem);

#endif
