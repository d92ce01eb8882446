/*
 * Times the library alone, on one thread:
 *
 *     lib_bench TOKENS WIDTH HEADS per_head|average|none CAUSAL(0|1) sdpa|mha REPETITIONS
 *
 * prints the median processor seconds of one call, batch 1, float32. `mha` adds the four projections with biases.
 */
#include "lib/attention/projection.h"
#include <attn/sdpa.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct bench {
    size_t tokens, width, heads;
    bool is_causal, has_projections;
    float *input, *query, *key, *value, *context, *output, *matrix;
    float *weights[4], *bias;
    struct attn_sdpa_options options;
    struct attn_sdpa_result result;
};

/* Processor time, so that neighbours on the machine count less. */
static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static float *numbers(size_t count, float scale) {
    static unsigned state = 1;
    float *values = malloc(count * sizeof *values);
    for (size_t i = 0; values != NULL && i < count; i++) {
        state = state * 1664525U + 1013904223U;
        values[i] = scale * ((float)(state >> 8) / (float)(1 << 23) - 1);
    }
    if (values == NULL)
        exit(1);
    return values;
}

static struct attn_view tokens_view(const struct bench *b, float *data) {
    return attn_view_contiguous(data, ATTN_FLOAT32, 3, (size_t[]){1, b->tokens, b->width});
}

static struct attn_view heads_view(const struct bench *b, float *data) {
    struct attn_view tokens = tokens_view(b, data), view;
    attn_view_split_heads(&tokens, b->heads, "", &view, NULL);
    return view;
}

/* The mean over heads: (L, T). */
static void add_to_average(void *context, const struct attn_block *block) {
    struct bench *b = context;
    const float share = 1 / (float)b->heads;
    for (size_t row = 0; row < block->query_count; row++) {
        float *to = b->matrix + (block->query_begin + row) * b->tokens;
        const float *from = (const float *)block->rows + row * block->row_stride;
        if (block->head == 0)
            memset(to, 0, b->tokens * sizeof *to);
        for (size_t key = block->key_begin; key < block->key_end; key++)
            to[key] += share * from[key];
    }
}

static void project(const struct bench *b, float *from, int which, float *to) {
    const struct attn_view input = tokens_view(b, from), output = tokens_view(b, to);
    const struct attn_view weight =
        attn_view_contiguous(b->weights[which], ATTN_FLOAT32, 2, (size_t[]){b->width, b->width});
    const struct attn_view bias = attn_view_contiguous(b->bias, ATTN_FLOAT32, 1, &b->width);
    attn_project(&input, &weight, &bias, &output, NULL);
}

static void call(const struct bench *b) {
    if (b->has_projections) {
        project(b, b->input, 0, b->query);
        project(b, b->input, 1, b->key);
        project(b, b->input, 2, b->value);
    }
    const struct attn_view query = heads_view(b, b->query), key = heads_view(b, b->key),
                           value = heads_view(b, b->value);
    struct attn_error error;
    if (attn_sdpa(&query, &key, &value, &b->options, &b->result, NULL, &error) != ATTN_OK) {
        fprintf(stderr, "%s: %s\n", error.field, error.message);
        exit(1);
    }
    if (b->has_projections)
        project(b, b->context, 3, b->output);
}

static int compare(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median_seconds(const struct bench *b, size_t repetitions) {
    double *times = calloc(repetitions, sizeof *times);
    if (times == NULL)
        exit(1);
    call(b);
    for (size_t i = 0; i < repetitions; i++) {
        double begin = seconds();
        call(b);
        times[i] = seconds() - begin;
    }
    qsort(times, repetitions, sizeof *times, compare);
    double median = times[repetitions / 2];
    free(times);
    return median;
}

static void set_up(struct bench *b, const char *mode) {
    static const struct attn_sdpa_options defaults = ATTN_SDPA_DEFAULTS;
    const size_t elements = b->tokens * b->width;
    b->input = numbers(elements, 1);
    b->query = numbers(elements, 1);
    b->key = numbers(elements, 1);
    b->value = numbers(elements, 1);
    b->context = numbers(elements, 1);
    b->output = numbers(elements, 1);
    b->bias = numbers(b->width, 1);
    for (int i = 0; i < 4; i++)
        b->weights[i] = numbers(b->width * b->width, 1 / sqrtf((float)b->width));
    b->options = defaults;
    b->options.is_causal = b->is_causal;
    b->result.output = heads_view(b, b->context);
    if (strcmp(mode, "per_head") == 0) {
        b->matrix = numbers(b->heads * b->tokens * b->tokens, 1);
        b->result.weights =
            attn_view_contiguous(b->matrix, ATTN_FLOAT32, 4, (size_t[]){1, b->heads, b->tokens, b->tokens});
    } else if (strcmp(mode, "average") == 0) {
        b->matrix = numbers(b->tokens * b->tokens, 1);
        b->result.sinks[ATTN_STAGE_SOFTMAX] = (struct attn_block_sink){add_to_average, b};
    }
}

int main(int argc, char **argv) {
    if (argc != 8) {
        fprintf(stderr, "usage: lib_bench TOKENS WIDTH HEADS per_head|average|none CAUSAL sdpa|mha REPETITIONS\n");
        return 2;
    }
    struct bench b = {
        .tokens = strtoul(argv[1], NULL, 10),
        .width = strtoul(argv[2], NULL, 10),
        .heads = strtoul(argv[3], NULL, 10),
        .is_causal = strcmp(argv[5], "1") == 0,
        .has_projections = strcmp(argv[6], "mha") == 0,
    };
    const size_t repetitions = strtoul(argv[7], NULL, 10);
    if (b.tokens == 0 || b.heads == 0 || b.width % b.heads != 0 || repetitions == 0)
        return 2;
    set_up(&b, argv[4]);
    printf("%.9f\n", median_seconds(&b, repetitions));
    return 0;
}
