/*
 * The library behind plain arguments, for bench/library.py: a plan over query = key = value (self-attention), run and
 * timed here, so that Python's call overhead is not counted. Built as build/bench/attn_shim.so.
 */
#include <attn/attn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct bench {
    struct attn_layer layer;
    struct attn_plan *plan;
};

struct bench_case {
    size_t tokens, width, heads;
    int is_causal, per_head, average, output;
    float *input;
    float *in_proj_weight, *in_proj_bias, *out_proj_weight, *out_proj_bias; /* NULL: no projections */
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int resolve(struct bench *bench, const struct bench_case *c) {
    size_t e = c->width;
    struct attn_named_view tensors[] = {
        {"in_proj_weight", attn_view_contiguous(c->in_proj_weight, ATTN_FLOAT32, 2, (size_t[]){3 * e, e})},
        {"in_proj_bias", attn_view_contiguous(c->in_proj_bias, ATTN_FLOAT32, 1, (size_t[]){3 * e})},
        {"out_proj.weight", attn_view_contiguous(c->out_proj_weight, ATTN_FLOAT32, 2, (size_t[]){e, e})},
        {"out_proj.bias", attn_view_contiguous(c->out_proj_bias, ATTN_FLOAT32, 1, (size_t[]){e})},
    };
    struct attn_layer_config config = {.num_heads = c->heads};
    return attn_layer_resolve(tensors, 4, &config, &bench->layer, NULL);
}

__attribute__((visibility("default"))) struct bench *bench_create(const struct bench_case *c);
__attribute__((visibility("default"))) int bench_run(struct bench *bench, size_t count, double *seconds);
__attribute__((visibility("default"))) int bench_fetch(struct bench *bench, int group, const char *name, float *to);
__attribute__((visibility("default"))) void bench_destroy(struct bench *bench);

struct bench *bench_create(const struct bench_case *c) {
    struct bench *bench = calloc(1, sizeof *bench);
    if (!bench) {
        return NULL;
    }
    struct attn_inputs inputs = {
        .query = attn_view_contiguous(c->input, ATTN_FLOAT32, 2, (size_t[]){c->tokens, c->width}),
        .num_heads = c->heads,
        .options = ATTN_SDPA_DEFAULTS,
    };
    inputs.options.is_causal = c->is_causal != 0;
    struct attn_want want = ATTN_WANT_DEFAULTS;
    want.output = c->output != 0;
    want.forms = (c->per_head ? ATTN_BIT(ATTN_FORM_PER_HEAD) : 0U) | (c->average ? ATTN_BIT(ATTN_FORM_AVERAGE) : 0U);
    if (c->in_proj_weight) {
        if (resolve(bench, c)) {
            free(bench);
            return NULL;
        }
        inputs.layer = &bench->layer;
    }
    if (attn_plan_create(&bench->plan, &inputs, &want, NULL)) {
        free(bench);
        return NULL;
    }
    return bench;
}

/* Runs `count` times and writes the seconds that each took. */
int bench_run(struct bench *bench, size_t count, double *seconds) {
    for (size_t i = 0; i < count; i++) {
        struct attn_result *result = NULL;
        double start = now();
        if (attn_plan_run(bench->plan, NULL, &result, NULL)) {
            return 1;
        }
        attn_result_destroy(result);
        seconds[i] = now() - start;
    }
    return 0;
}

/* Copies a tensor of a fresh result, so that peers can be checked against each other before they are timed. */
int bench_fetch(struct bench *bench, int group, const char *name, float *to) {
    struct attn_result *result = NULL;
    if (attn_plan_run(bench->plan, NULL, &result, NULL)) {
        return 1;
    }
    const struct attn_result_tensor *tensor = attn_result_find(result, (attn_group)group, name);
    if (tensor) {
        memcpy(to, tensor->values.data, attn_view_elements(&tensor->values) * sizeof(float));
    }
    attn_result_destroy(result);
    return tensor ? 0 : 1;
}

void bench_destroy(struct bench *bench) {
    attn_plan_destroy(bench->plan);
    free(bench);
}
