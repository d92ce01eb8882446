/** @file lanes.h An executor of three lanes, so that golden cases also run in parallel. */
#ifndef TESTS_GOLDEN_LANES_H
#define TESTS_GOLDEN_LANES_H

#include <attn/execution.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define GOLDEN_LANES 3

struct golden_run {
    atomic_size_t next;
    size_t task_count;
    attn_task task;
    void *argument;
};

struct golden_lane {
    struct golden_run *run;
    size_t lane;
};

static inline void *golden_lane_work(void *argument) {
    struct golden_lane *own = argument;
    for (size_t i; (i = atomic_fetch_add(&own->run->next, 1)) < own->run->task_count;)
        own->run->task(own->run->argument, i, own->lane);
    return NULL;
}

static inline void golden_lanes_run(void *self, size_t task_count, attn_task task, void *argument) {
    (void)self;
    struct golden_run run = {.task_count = task_count, .task = task, .argument = argument};
    struct golden_lane lanes[GOLDEN_LANES];
    pthread_t threads[GOLDEN_LANES];
    for (size_t lane = 0; lane < GOLDEN_LANES; lane++)
        lanes[lane] = (struct golden_lane){&run, lane};
    for (size_t lane = 1; lane < GOLDEN_LANES; lane++) {
        if (pthread_create(&threads[lane], NULL, golden_lane_work, &lanes[lane])) {
            fprintf(stderr, "golden: no thread\n");
            abort();
        }
    }
    golden_lane_work(&lanes[0]);
    for (size_t lane = 1; lane < GOLDEN_LANES; lane++)
        pthread_join(threads[lane], NULL);
}

static const struct attn_executor golden_lanes = {.width = GOLDEN_LANES, .run = golden_lanes_run};

#endif
