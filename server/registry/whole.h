/** @file whole.h Whole transformer models: a folder in Hugging Face's layout, or a state dict of torch in one file. */
#ifndef SERVER_REGISTRY_WHOLE_H
#define SERVER_REGISTRY_WHOLE_H

#include "server/registry/loaded.h"

/** Opens the model and the tokenizer of loaded->path. @return false with the problem filled. */
bool whole_open_folder(struct loaded *loaded, struct problem *problem);
/** Makes model.transformer of model.file. @return false with the problem filled. */
bool whole_open_state_dict(struct loaded *loaded, const struct registry_put_options *options, struct problem *problem);

#endif
