/**
 * @file pool.h
 * A bounded queue and the worker threads that empty it. Knows nothing of HTTP.
 */
#ifndef SERVER_POOL_POOL_H
#define SERVER_POOL_POOL_H

#include <attn/execution.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool;

/** Why a job should stop, read by whoever works on it between blocks. */
enum job_stop { JOB_GOES_ON, JOB_CLIENT_GONE, JOB_DEADLINE, JOB_SHUTDOWN };

/** A unit of work, embedded in the caller's own object; the pool never frees it. */
struct pool_job {
    void (*run)(struct pool_job *job); /**< on a worker; the job may be freed in it */
    uint64_t deadline_ns;              /**< CLOCK_MONOTONIC; 0: none */
    _Atomic int stop;                  /**< enum job_stop; set by pool_job_cancel or the clock */
    uint64_t submitted_ns, started_ns; /**< set by the pool */
    struct pool_job *next;             /**< the pool's */
};

/** @param queue_limit jobs that may wait. @return NULL out of memory or threads. */
struct pool *pool_create(size_t workers, size_t queue_limit);
/** Finishes what is queued and running, ends the threads. */
void pool_destroy(struct pool *pool);

/** @return false where the queue is full. Any thread. */
bool pool_submit(struct pool *pool, struct pool_job *job);
/** Takes a job out of the queue. @return false where it runs, has run or was never there. Any thread. */
bool pool_withdraw(struct pool *pool, struct pool_job *job);
/** Tells a job to stop; it still runs (briefly) if it was queued. Any thread. */
void pool_job_cancel(struct pool_job *job, enum job_stop why);
/** Whether to go on; looks at the flag and at the deadline. For struct attn_execution.is_cancelled (context: the job).
 */
bool pool_job_is_stopped(void *job);

/** Lends the pool's idle workers, and the calling thread, to one computation; takes none while jobs are queued. */
struct attn_executor pool_executor(struct pool *pool);

struct pool_state {
    size_t workers, busy, queued, queue_limit;
    uint64_t oldest_overdue_ns; /**< how long the most overdue running job is past its deadline; 0: none */
};
struct pool_state pool_state(struct pool *pool);

#endif
