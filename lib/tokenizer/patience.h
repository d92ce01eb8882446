/** @file patience.h Whether a long piece of work on a text is to be given up: what the caller's is_cancelled says. */
#ifndef LIB_TOKENIZER_PATIENCE_H
#define LIB_TOKENIZER_PATIENCE_H

#include <stdbool.h>
#include <stddef.h>

/** Steps between two questions, each of some nanoseconds. */
enum { ATTN_PATIENCE_STEPS = 1 << 20 };

struct attn_patience {
    bool (*is_cancelled)(void *cancel_context); /**< NULL: never */
    void *cancel_context;
    size_t left;  /**< steps until it is asked again */
    bool is_over; /**< it said yes: whatever was under way has failed */
};

/** Takes note of steps that are done. @param patience NULL has no end @return false where the work is to be given up */
static inline bool attn_patience_spend(struct attn_patience *patience, size_t steps) {
    if (patience == NULL || patience->is_cancelled == NULL)
        return true;
    if (patience->left > steps) {
        patience->left -= steps;
        return !patience->is_over;
    }
    patience->left = ATTN_PATIENCE_STEPS;
    patience->is_over = patience->is_over || patience->is_cancelled(patience->cancel_context);
    return !patience->is_over;
}

#endif
