/** @file execution.h What computations ask of the struct attn_execution that they run under. */
#ifndef LIB_TENSOR_EXECUTION_H
#define LIB_TENSOR_EXECUTION_H

#include <attn/execution.h>
#include <stdatomic.h>

/** @return whether the caller wants the computation to end. */
static inline bool attn_is_cancelled(const struct attn_execution *execution) {
    return execution != NULL && execution->is_cancelled != NULL && execution->is_cancelled(execution->cancel_context);
}

/** The same for tasks that share a flag: once one of them has seen it, the others need not ask. Any lane. */
static inline bool attn_has_ended(const struct attn_execution *execution, atomic_bool *is_over) {
    if (atomic_load_explicit(is_over, memory_order_relaxed))
        return true;
    if (!attn_is_cancelled(execution))
        return false;
    atomic_store_explicit(is_over, true, memory_order_relaxed);
    return true;
}

/** Runs tasks on the executor, or here. */
static inline void attn_run_tasks(const struct attn_execution *execution, size_t count, attn_task task,
                                  void *argument) {
    if (execution != NULL && execution->executor != NULL && count > 1) {
        execution->executor->run(execution->executor->self, count, task, argument);
        return;
    }
    for (size_t i = 0; i < count; i++)
        task(argument, i, 0);
}

/** @return how many lanes there are. */
static inline size_t attn_lane_count(const struct attn_execution *execution) {
    return execution != NULL && execution->executor != NULL ? execution->executor->width : 1;
}

#endif
