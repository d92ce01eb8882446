#include "server/base/clock.h"
#include "server/pool/pool.h"
#include "tests/unit/run_suite.h"
#include <check.h>
#include <pthread.h>
#include <stdlib.h>

/** A gate that jobs wait at until the test opens it. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_open;
    size_t waiting, finished;
};

struct gated_job {
    struct pool_job job;
    struct gate *gate;
};

static void gate_init(struct gate *gate) {
    *gate = (struct gate){.is_open = false};
    pthread_mutex_init(&gate->lock, NULL);
    pthread_cond_init(&gate->changed, NULL);
}

static void pass_gate(struct pool_job *job) {
    struct gate *gate = ((struct gated_job *)job)->gate;
    pthread_mutex_lock(&gate->lock);
    gate->waiting++;
    pthread_cond_broadcast(&gate->changed);
    while (!gate->is_open) {
        pthread_cond_wait(&gate->changed, &gate->lock);
    }
    gate->finished++;
    pthread_mutex_unlock(&gate->lock);
}

static void wait_for_arrivals(struct gate *gate, size_t wanted) {
    pthread_mutex_lock(&gate->lock);
    while (gate->waiting < wanted) {
        pthread_cond_wait(&gate->changed, &gate->lock);
    }
    pthread_mutex_unlock(&gate->lock);
}

static void gate_open(struct gate *gate) {
    pthread_mutex_lock(&gate->lock);
    gate->is_open = true;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}

START_TEST(a_full_queue_refuses_and_what_was_taken_runs) {
    struct gate gate;
    gate_init(&gate);
    struct gated_job jobs[4];
    struct pool *pool = pool_create(1, 2);
    ck_assert_ptr_nonnull(pool);
    for (size_t i = 0; i < 4; i++) {
        jobs[i] = (struct gated_job){.job.run = pass_gate, .gate = &gate};
    }
    ck_assert(pool_submit(pool, &jobs[0].job));
    wait_for_arrivals(&gate, 1);
    ck_assert(pool_submit(pool, &jobs[1].job));
    ck_assert(pool_submit(pool, &jobs[2].job));
    ck_assert(!pool_submit(pool, &jobs[3].job));
    struct pool_state state = pool_state(pool);
    ck_assert_uint_eq(state.workers, 1);
    ck_assert_uint_eq(state.busy, 1);
    ck_assert_uint_eq(state.queued, 2);
    ck_assert_uint_eq(state.queue_limit, 2);
    gate_open(&gate);
    pool_destroy(pool); /* finishes what is queued */
    ck_assert_uint_eq(gate.finished, 3);
}
END_TEST

START_TEST(a_job_that_is_withdrawn_never_runs_and_leaves_its_place) {
    for (size_t withdrawn = 1; withdrawn <= 3; withdrawn++) {
        struct gate gate;
        gate_init(&gate);
        struct gated_job jobs[5];
        struct pool *pool = pool_create(1, 3);
        for (size_t i = 0; i < 5; i++) {
            jobs[i] = (struct gated_job){.job.run = pass_gate, .gate = &gate};
        }
        ck_assert(pool_submit(pool, &jobs[0].job));
        wait_for_arrivals(&gate, 1);
        for (size_t i = 1; i <= 3; i++) {
            ck_assert(pool_submit(pool, &jobs[i].job));
        }
        ck_assert(!pool_withdraw(pool, &jobs[0].job)); /* it runs */
        ck_assert(pool_withdraw(pool, &jobs[withdrawn].job));
        ck_assert(!pool_withdraw(pool, &jobs[withdrawn].job));
        ck_assert_uint_eq(pool_state(pool).queued, 2);
        ck_assert(pool_submit(pool, &jobs[4].job));
        ck_assert(pool_withdraw(pool, &jobs[4].job)); /* the last, and the queue goes on */
        ck_assert(pool_submit(pool, &jobs[4].job));
        gate_open(&gate);
        pool_destroy(pool);
        ck_assert_uint_eq(gate.finished, 4);
        ck_assert_uint_eq(jobs[withdrawn].job.started_ns, 0);
    }
}
END_TEST

START_TEST(a_job_past_its_deadline_is_stopped_and_counted_as_overdue) {
    struct gate gate;
    gate_init(&gate);
    struct gated_job late = {.job = {.run = pass_gate, .deadline_ns = 1}, .gate = &gate};
    struct pool *pool = pool_create(1, 1);
    ck_assert(pool_submit(pool, &late.job));
    wait_for_arrivals(&gate, 1);
    ck_assert(pool_state(pool).oldest_overdue_ns > 0);
    ck_assert(pool_job_is_stopped(&late.job));
    ck_assert_int_eq(atomic_load(&late.job.stop), JOB_DEADLINE);
    gate_open(&gate);
    pool_destroy(pool);
}
END_TEST

START_TEST(the_first_reason_to_stop_stays) {
    struct pool_job job = {.deadline_ns = clock_ns() + UINT64_C(3600000000000)};
    ck_assert(!pool_job_is_stopped(&job));
    pool_job_cancel(&job, JOB_CLIENT_GONE);
    pool_job_cancel(&job, JOB_SHUTDOWN);
    ck_assert(pool_job_is_stopped(&job));
    ck_assert_int_eq(atomic_load(&job.stop), JOB_CLIENT_GONE);
}
END_TEST

#define TASKS 500
#define LANES 8
struct tally {
    _Atomic int runs[TASKS];
    _Atomic bool lane_is_busy[LANES];
    _Atomic int clashes;
};

static void count_task(void *argument, size_t index, size_t lane) {
    struct tally *tally = argument;
    if (lane >= LANES || atomic_exchange(&tally->lane_is_busy[lane], true)) {
        atomic_fetch_add(&tally->clashes, 1);
        return;
    }
    atomic_fetch_add(&tally->runs[index], 1);
    atomic_store(&tally->lane_is_busy[lane], false);
}

static void assert_each_once(struct tally *tally) {
    ck_assert_int_eq(atomic_load(&tally->clashes), 0);
    for (size_t i = 0; i < TASKS; i++) {
        ck_assert_int_eq(atomic_load(&tally->runs[i]), 1);
    }
}

START_TEST(the_executor_runs_each_task_once_on_lanes_of_its_own) {
    struct pool *pool = pool_create(4, 4);
    struct attn_executor executor = pool_executor(pool);
    ck_assert_uint_eq(executor.width, 5);
    for (int round = 0; round < 50; round++) {
        struct tally tally = {0};
        executor.run(executor.self, TASKS, count_task, &tally);
        assert_each_once(&tally);
    }
    executor.run(executor.self, 0, count_task, NULL);
    pool_destroy(pool);
}
END_TEST

struct crew_job {
    struct pool_job job;
    struct pool *pool;
    struct tally tally;
};

static void run_crew(struct pool_job *job) {
    struct crew_job *crew = (struct crew_job *)job;
    struct attn_executor executor = pool_executor(crew->pool);
    executor.run(executor.self, TASKS, count_task, &crew->tally);
}

START_TEST(many_jobs_may_borrow_workers_at_once) {
    struct crew_job *jobs = calloc(12, sizeof *jobs);
    struct pool *pool = pool_create(3, 12);
    for (size_t i = 0; i < 12; i++) {
        jobs[i].job.run = run_crew;
        jobs[i].pool = pool;
        ck_assert(pool_submit(pool, &jobs[i].job));
    }
    pool_destroy(pool);
    for (size_t i = 0; i < 12; i++) {
        assert_each_once(&jobs[i].tally);
    }
    free(jobs);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("pool jobs");
    TCase *cases = tcase_create("jobs");
    tcase_add_test(cases, a_full_queue_refuses_and_what_was_taken_runs);
    tcase_add_test(cases, a_job_that_is_withdrawn_never_runs_and_leaves_its_place);
    tcase_add_test(cases, a_job_past_its_deadline_is_stopped_and_counted_as_overdue);
    tcase_add_test(cases, the_first_reason_to_stop_stays);
    tcase_add_test(cases, the_executor_runs_each_task_once_on_lanes_of_its_own);
    tcase_add_test(cases, many_jobs_may_borrow_workers_at_once);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
