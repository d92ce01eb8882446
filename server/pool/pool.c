#include "server/pool/pool.h"
#include "server/base/clock.h"
#include <pthread.h>
#include <stdlib.h>

/** One computation that has been split into tasks: lives on its caller's stack. */
struct crew {
    attn_task task;
    void *argument;
    size_t task_count;
    size_t lane_count; /* the most lanes that may join, the caller's included */
    _Atomic size_t next_task;
    size_t lanes_taken, active; /* under the pool's lock; active counts helpers at work */
    pthread_cond_t is_left;
    struct crew *next;
};

struct worker {
    struct pool *pool;
    pthread_t thread;
    uint64_t deadline_ns; /* under the lock: of the job that it runs (the job may be freed meanwhile); 0: none */
};

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t has_work;
    struct pool_job *head, **tail;
    struct crew *crews; /* that want helpers */
    size_t queued, queue_limit, busy, helping;
    size_t worker_count;
    bool is_ending;
    struct worker workers[];
};

/** Runs tasks until none is left. */
static void crew_work(struct crew *crew, size_t lane) {
    for (;;) {
        size_t index = atomic_fetch_add_explicit(&crew->next_task, 1, memory_order_relaxed);
        if (index >= crew->task_count) {
            return;
        }
        crew->task(crew->argument, index, lane);
    }
}

static void crew_unlink(struct pool *pool, const struct crew *crew) {
    for (struct crew **at = &pool->crews; *at != NULL; at = &(*at)->next) {
        if (*at == crew) {
            *at = crew->next;
            return;
        }
    }
}

/** With the lock held: helps the first crew that wants it, and returns with the lock held. */
static void help(struct pool *pool) {
    struct crew *crew = pool->crews;
    size_t lane = crew->lanes_taken++;
    crew->active++;
    pool->helping++;
    if (crew->lanes_taken >= crew->lane_count) {
        crew_unlink(pool, crew);
    }
    pthread_mutex_unlock(&pool->lock);
    crew_work(crew, lane);
    pthread_mutex_lock(&pool->lock);
    crew_unlink(pool, crew); /* no task is left: nobody else need come */
    pool->helping--;
    if (--crew->active == 0) {
        pthread_cond_signal(&crew->is_left);
    }
}

/** With the lock held: takes the first job and runs it, and returns with the lock held. */
static void run_job(struct pool *pool, struct worker *worker) {
    struct pool_job *job = pool->head;
    pool->head = job->next;
    if (pool->head == NULL) {
        pool->tail = &pool->head;
    }
    pool->queued--;
    pool->busy++;
    job->started_ns = clock_ns();
    worker->deadline_ns = job->deadline_ns;
    pthread_mutex_unlock(&pool->lock);
    job->run(job);
    pthread_mutex_lock(&pool->lock);
    worker->deadline_ns = 0;
    pool->busy--;
}

static void *worker_main(void *argument) {
    struct worker *worker = argument;
    struct pool *pool = worker->pool;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        if (pool->head != NULL) {
            run_job(pool, worker);
        } else if (pool->crews != NULL) {
            help(pool);
        } else if (pool->is_ending) {
            break;
        } else {
            pthread_cond_wait(&pool->has_work, &pool->lock);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/** Ends the threads that were started and frees the pool. */
static void finish(struct pool *pool, size_t started) {
    pthread_mutex_lock(&pool->lock);
    pool->is_ending = true;
    pthread_cond_broadcast(&pool->has_work);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i < started; i++) {
        pthread_join(pool->workers[i].thread, NULL);
    }
    pthread_cond_destroy(&pool->has_work);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

struct pool *pool_create(size_t workers, size_t queue_limit) {
    if (workers == 0 || workers > (SIZE_MAX - sizeof(struct pool)) / sizeof(struct worker)) {
        return NULL;
    }
    struct pool *pool = calloc(1, sizeof *pool + workers * sizeof(struct worker));
    if (pool == NULL) {
        return NULL;
    }
    pool->worker_count = workers;
    pool->queue_limit = queue_limit;
    pool->tail = &pool->head;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->has_work, NULL);
    for (size_t i = 0; i < workers; i++) {
        pool->workers[i].pool = pool;
        if (pthread_create(&pool->workers[i].thread, NULL, worker_main, &pool->workers[i]) != 0) {
            finish(pool, i);
            return NULL;
        }
    }
    return pool;
}

void pool_destroy(struct pool *pool) {
    if (pool != NULL) {
        finish(pool, pool->worker_count);
    }
}

bool pool_submit(struct pool *pool, struct pool_job *job) {
    pthread_mutex_lock(&pool->lock);
    size_t idle = pool->worker_count - pool->busy - pool->helping;
    bool has_room = pool->queued < pool->queue_limit || pool->queued < idle;
    if (has_room) {
        job->submitted_ns = clock_ns();
        job->next = NULL;
        *pool->tail = job;
        pool->tail = &job->next;
        pool->queued++;
        pthread_cond_signal(&pool->has_work);
    }
    pthread_mutex_unlock(&pool->lock);
    return has_room;
}

bool pool_withdraw(struct pool *pool, struct pool_job *job) {
    bool is_found = false;
    pthread_mutex_lock(&pool->lock);
    for (struct pool_job **at = &pool->head; *at != NULL && !is_found; at = &(*at)->next) {
        is_found = *at == job;
        if (is_found) {
            *at = job->next;
            pool->tail = *at == NULL ? at : pool->tail;
            pool->queued--;
            break;
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return is_found;
}

void pool_job_cancel(struct pool_job *job, enum job_stop why) {
    int goes_on = JOB_GOES_ON;
    atomic_compare_exchange_strong(&job->stop, &goes_on, (int)why);
}

bool pool_job_is_stopped(void *context) {
    struct pool_job *job = context;
    if (atomic_load_explicit(&job->stop, memory_order_relaxed) != JOB_GOES_ON) {
        return true;
    }
    if (job->deadline_ns == 0 || clock_ns() < job->deadline_ns) {
        return false;
    }
    pool_job_cancel(job, JOB_DEADLINE);
    return true;
}

/** How many helpers a computation may ask for now: none while jobs wait. With the lock held. */
static size_t idle_helpers(const struct pool *pool, size_t wanted) {
    size_t idle = pool->worker_count - pool->busy - pool->helping;
    if (pool->head != NULL || idle == 0) {
        return 0;
    }
    return wanted < idle ? wanted : idle;
}

static void executor_run(void *self, size_t task_count, attn_task task, void *argument) {
    struct pool *pool = self;
    struct crew crew = {.task = task, .argument = argument, .task_count = task_count, .lanes_taken = 1};
    if (task_count == 0) {
        return;
    }
    pthread_cond_init(&crew.is_left, NULL);
    pthread_mutex_lock(&pool->lock);
    size_t helpers = idle_helpers(pool, task_count - 1);
    crew.lane_count = helpers + 1;
    if (helpers > 0) {
        crew.next = pool->crews;
        pool->crews = &crew;
        pthread_cond_broadcast(&pool->has_work);
    }
    pthread_mutex_unlock(&pool->lock);
    crew_work(&crew, 0);
    if (helpers > 0) {
        pthread_mutex_lock(&pool->lock);
        crew_unlink(pool, &crew);
        while (crew.active > 0) {
            pthread_cond_wait(&crew.is_left, &pool->lock);
        }
        pthread_mutex_unlock(&pool->lock);
    }
    pthread_cond_destroy(&crew.is_left);
}

struct attn_executor pool_executor(struct pool *pool) {
    /* One lane more than workers: the caller need not be a worker. */
    return (struct attn_executor){.width = pool->worker_count + 1, .run = executor_run, .self = pool};
}

struct pool_state pool_state(struct pool *pool) {
    pthread_mutex_lock(&pool->lock);
    struct pool_state state = {.workers = pool->worker_count,
                               .busy = pool->busy + pool->helping,
                               .queued = pool->queued,
                               .queue_limit = pool->queue_limit};
    uint64_t now = clock_ns();
    for (size_t i = 0; i < pool->worker_count; i++) {
        uint64_t deadline = pool->workers[i].deadline_ns;
        if (deadline != 0 && now > deadline && now - deadline > state.oldest_overdue_ns) {
            state.oldest_overdue_ns = now - deadline;
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return state;
}
