/*
 * Whole models behind plain arguments, for bench/models.py: a plan over token ids with every layer's weights per head,
 * run and timed here, on the calling thread or on lanes of its own. Built as build/bench/models_shim.so.
 */
#include <attn/attn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_LANES = 64, SPINS = 20000 };

/* Lanes that wait for work by looking at it for a while before they sleep, as OpenMP's do. */
struct lanes {
    pthread_mutex_t lock;
    pthread_cond_t has_work;
    atomic_size_t generation, next, busy;
    size_t task_count, width;
    attn_task task;
    void *argument;
    bool is_closing;
    pthread_t threads[MOST_LANES];
};

struct lane {
    struct lanes *lanes;
    size_t index;
};

struct bench_model {
    struct attn_model *model;
    struct attn_plan *plan;
    struct lanes lanes;
    struct lane lane[MOST_LANES];
    struct attn_executor executor;
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void work(struct lanes *lanes, size_t lane) {
    for (size_t task; (task = atomic_fetch_add(&lanes->next, 1)) < lanes->task_count;)
        lanes->task(lanes->argument, task, lane);
}

static size_t wait_for_work(struct lanes *lanes, size_t seen) {
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&lanes->generation, memory_order_acquire) != seen)
            return seen + 1;
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
    pthread_mutex_lock(&lanes->lock);
    while (atomic_load(&lanes->generation) == seen)
        pthread_cond_wait(&lanes->has_work, &lanes->lock);
    pthread_mutex_unlock(&lanes->lock);
    return seen + 1;
}

static void *lane_main(void *argument) {
    const struct lane *lane = argument;
    struct lanes *lanes = lane->lanes;
    for (size_t seen = 0;;) {
        seen = wait_for_work(lanes, seen);
        if (lanes->is_closing)
            return NULL;
        work(lanes, lane->index);
        atomic_fetch_sub(&lanes->busy, 1);
    }
}

static void wake(struct lanes *lanes) {
    pthread_mutex_lock(&lanes->lock);
    atomic_fetch_add(&lanes->generation, 1);
    pthread_cond_broadcast(&lanes->has_work);
    pthread_mutex_unlock(&lanes->lock);
}

static void lanes_run(void *self, size_t task_count, attn_task task, void *argument) {
    struct lanes *lanes = self;
    lanes->task_count = task_count;
    lanes->task = task;
    lanes->argument = argument;
    atomic_store(&lanes->next, 0);
    atomic_store(&lanes->busy, lanes->width - 1);
    wake(lanes);
    work(lanes, 0);
    while (atomic_load_explicit(&lanes->busy, memory_order_acquire) > 0)
        continue;
}

__attribute__((visibility("default"))) struct bench_model *bench_model_open(const char *directory, size_t threads);
__attribute__((visibility("default"))) int bench_model_plan(struct bench_model *bench, int64_t *ids, size_t tokens);
__attribute__((visibility("default"))) int bench_model_run(struct bench_model *bench, size_t count, double *seconds);
__attribute__((visibility("default"))) int bench_model_fetch(struct bench_model *bench, int layer, float *to);
__attribute__((visibility("default"))) void bench_model_close(struct bench_model *bench);

struct bench_model *bench_model_open(const char *directory, size_t threads) {
    struct bench_model *bench = calloc(1, sizeof *bench);
    struct lanes *lanes = &bench->lanes;
    if (threads > MOST_LANES || attn_model_open(&bench->model, directory, NULL) != ATTN_OK) {
        free(bench);
        return NULL;
    }
    lanes->width = threads;
    pthread_mutex_init(&lanes->lock, NULL);
    pthread_cond_init(&lanes->has_work, NULL);
    for (size_t i = 1; i < threads; i++) {
        bench->lane[i] = (struct lane){lanes, i};
        pthread_create(&lanes->threads[i], NULL, lane_main, &bench->lane[i]);
    }
    bench->executor = (struct attn_executor){.width = threads, .run = lanes_run, .self = lanes};
    return bench;
}

int bench_model_plan(struct bench_model *bench, int64_t *ids, size_t tokens) {
    const struct attn_model_inputs inputs = {.input_ids =
                                                 attn_view_contiguous(ids, ATTN_INT64, 2, (size_t[]){1, tokens})};
    struct attn_want want = ATTN_WANT_DEFAULTS;
    want.forms = ATTN_BIT(ATTN_FORM_PER_HEAD);
    const struct attn_model_want model_want = {.dtype = ATTN_FLOAT32};
    attn_plan_destroy(bench->plan);
    bench->plan = NULL;
    return (int)attn_plan_create_model(&bench->plan, bench->model, &inputs, &want, &model_want, NULL);
}

static attn_status run(const struct bench_model *bench, struct attn_result **result) {
    const struct attn_execution execution = {.executor = bench->executor.width > 1 ? &bench->executor : NULL};
    return attn_plan_run(bench->plan, &execution, result, NULL);
}

/* Runs `count` times and writes the seconds that each took. */
int bench_model_run(struct bench_model *bench, size_t count, double *seconds) {
    for (size_t i = 0; i < count; i++) {
        struct attn_result *result = NULL;
        const double start = now();
        const attn_status status = run(bench, &result);
        attn_result_destroy(result);
        seconds[i] = now() - start;
        if (status != ATTN_OK)
            return (int)status;
    }
    return 0;
}

/* Copies a layer's weights of a fresh result, or the output where layer is -1. */
int bench_model_fetch(struct bench_model *bench, int layer, float *to) {
    struct attn_result *result = NULL;
    const attn_status status = run(bench, &result);
    if (status != ATTN_OK)
        return (int)status;
    int found = -1;
    for (size_t i = 0; i < result->tensor_count; i++) {
        const struct attn_result_tensor *t = &result->tensors[i];
        if (layer < 0 ? t->group != ATTN_GROUP_OUTPUT : t->layer != layer)
            continue;
        memcpy(to, t->values.data, attn_view_elements(&t->values) * sizeof(float));
        found = 0;
    }
    attn_result_destroy(result);
    return found;
}

void bench_model_close(struct bench_model *bench) {
    bench->lanes.is_closing = true;
    wake(&bench->lanes);
    for (size_t i = 1; i < bench->lanes.width; i++)
        pthread_join(bench->lanes.threads[i], NULL);
    attn_plan_destroy(bench->plan);
    attn_model_close(bench->model);
    free(bench);
}
