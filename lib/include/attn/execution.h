/**
 * @file execution.h
 * How the library is lent threads and told to stop. It makes no threads of its own: a caller that has a thread pool
 * lends it through an executor; without one everything runs on the calling thread.
 */
#ifndef ATTN_EXECUTION_H
#define ATTN_EXECUTION_H

#include <attn/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/** One task of a set. @param lane which of the executor's lanes (0 .. width-1) runs it: the index of its scratch. */
typedef void (*attn_task)(void *argument, size_t task_index, size_t lane);

/** Lends threads. */
struct attn_executor {
    /** The most lanes that ever run at once; at least 1. */
    size_t width;
    /**
     * Runs task(argument, 0 .. task_count-1), each once, in any order, and returns when all have returned. Two tasks
     * that run at the same time have different lanes. Everything the tasks wrote is visible to the caller afterwards.
     */
    void (*run)(void *self, size_t task_count, attn_task task, void *argument);
    /** Handed to run as its first argument. */
    void *self;
};

/** What one computation runs under; all zero is "one thread, never cancelled". */
struct attn_execution {
    /** NULL: the calling thread alone. */
    const struct attn_executor *executor;
    /** Asked between blocks of work, from any lane; true ends the computation with ATTN_ECANCELLED. May be NULL. */
    bool (*is_cancelled)(void *cancel_context);
    /** Handed to is_cancelled. */
    void *cancel_context;
};

#ifdef __cplusplus
}
#endif
#endif
