/**
 * @file budget.h
 * The ceiling of --memory: connections, request and result buffers take from it and give back. Lock-free, any thread.
 */
#ifndef SERVER_BASE_BUDGET_H
#define SERVER_BASE_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct budget {
    size_t limit;
    _Atomic size_t used;
};

void budget_init(struct budget *budget, size_t limit);
/** @return false, taking nothing, where it would pass the limit. */
bool budget_take(struct budget *budget, size_t bytes);
void budget_give(struct budget *budget, size_t bytes);
size_t budget_used(const struct budget *budget);

#endif
