/** @file whole.h Whole transformer models: a folder in Hugging Face's layout, or a state dict of torch in one file. */
#ifndef SERVER_REGISTRY_WHOLE_H
#define SERVER_REGISTRY_WHOLE_H

#include "server/registry/loaded.h"

/** Opens the model of loaded->path, without its tokenizer. @return false with the problem filled. */
bool whole_open_folder(struct loaded *loaded, struct problem *problem);
/**
 * Opens the tokenizer beside it into model.tokenizer, or says in model.tokenizer_reason why it cannot be used.
 * @return false in the latter case, with the problem filled; a model without one is none
 */
bool whole_open_tokenizer(struct loaded *loaded, struct problem *problem);
/** Makes model.transformer of model.file. @return false with the problem filled. */
bool whole_open_state_dict(struct loaded *loaded, const struct registry_put_options *options, struct problem *problem);

#endif
