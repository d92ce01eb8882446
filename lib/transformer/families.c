/* The list of all families, and the names of stacks and poolings. */
#include "lib/transformer/family.h"

#include <string.h>

static const struct attn_family *const *const lists[] = {attn_families_encoders, attn_families_decoders,
                                                         attn_families_seq2seq, attn_families_vision};

const struct attn_family *attn_family_at(size_t index) {
    for (size_t list = 0; list < sizeof lists / sizeof *lists; list++)
        for (size_t i = 0; lists[list][i] != NULL; i++)
            if (index-- == 0)
                return lists[list][i];
    return NULL;
}

const struct attn_family *attn_family_find(const char *model_type) {
    const struct attn_family *family;
    for (size_t i = 0; (family = attn_family_at(i)) != NULL; i++)
        if (strcmp(family->model_type, model_type) == 0)
            return family;
    return NULL;
}

const char *attn_model_family(size_t index) {
    const struct attn_family *family = attn_family_at(index);
    return family != NULL ? family->model_type : NULL;
}

const char *attn_stack_name(attn_stack stack) {
    static const char *const names[ATTN_STACK_COUNT] = {"encoder", "decoder", "cross"};
    return (unsigned)stack < ATTN_STACK_COUNT ? names[stack] : NULL;
}

const char *attn_pooling_name(attn_pooling pooling) {
    static const char *const names[ATTN_POOLING_COUNT] = {"none", "mean", "cls", "last"};
    return (unsigned)pooling < ATTN_POOLING_COUNT ? names[pooling] : NULL;
}
