/*
 * Packed weights and products over them.
 *
 * The order of a product: a block of panels that stays in the second-level cache; for it, tile after tile of rows; for
 * a tile, ATTN_PANEL_DEPTH inputs at a time, panel after panel. Sums wait in a buffer on the stack until the last
 * inputs are in, and what follows the product is done to them there. The first tile of a block asks for the weights a
 * little ahead of their use; the others ask, bit by bit, for those of the block to come. A sum's terms are added in the
 * same order whatever tile it falls into, so that the result does not depend on how the work was cut.
 */
#include "lib/kernels/packed.h"
#include "lib/kernels/kernels.h"
#include "lib/tensor/execution.h"
#include "lib/tensor/shape.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_PANELS = 8,         /* the most panels of a block: so many sums wait on the stack */
    BLOCK_BYTES = 800 * 1024, /* of a block: two and a tile of rows fit a second-level cache of 2 MB */
    SHALLOW_PANELS = 64,      /* the most where no sums wait */
    AHEAD_BYTES = 4096,       /* how far ahead the first tile asks */
    AHEAD_TILES = 8,          /* tiles that share asking for the next block's weights */
    ALIASING_BYTES = 4096,
    GROUP_TILES = 5,  /* row tiles that share a block at least, where several lanes share rows */
    TASKS_A_LANE = 8, /* tasks are cut until there are so many: lanes are seldom equally fast */
    ALIGNMENT = 64,   /* a cache line */
    PACK_DEPTH = 128  /* inputs that are packed at a time */
};

struct attn_packed {
    const struct attn_panel_kernels *kernels;
    attn_dtype dtype;
    size_t out, in, bytes;
    size_t panels, panel_bytes;
    char *data;
};

/* Copies inputs begin .. begin+count-1 of one output, elements side by side. Mapped files need not be aligned. */
static void copy_inputs(const struct attn_view *weight, size_t output, size_t begin, size_t count, char *to) {
    const ptrdiff_t bytes = (ptrdiff_t)attn_dtype_bytes(weight->dtype), step = weight->stride[1] * bytes;
    const char *from =
        (const char *)weight->data + (ptrdiff_t)output * weight->stride[0] * bytes + (ptrdiff_t)begin * step;
    if (step == bytes)
        memcpy(to, from, count * (size_t)bytes);
    else
        for (size_t i = 0; i < count; i++, from += step)
            memcpy(to + (ptrdiff_t)i * bytes, from, (size_t)bytes);
}

/* (columns, count) with rows PACK_DEPTH apart becomes (count, columns). */
static void turn_32_bits(const uint32_t *from, size_t columns, size_t count, uint32_t *to) {
    for (size_t d = 0; d < count; d++)
        for (size_t j = 0; j < columns; j++)
            to[d * columns + j] = from[j * PACK_DEPTH + d];
}

static void turn_16_bits(const uint16_t *from, size_t columns, size_t count, uint16_t *to, bool in_pairs) {
    const size_t half = columns / 2;
    for (size_t d = 0; d < count; d++)
        for (size_t j = 0; j < columns; j++) {
            const size_t place = !in_pairs ? j : j < half ? 2 * j : 2 * (j - half) + 1;
            to[d * columns + place] = from[j * PACK_DEPTH + d];
        }
}

static void pack_panel(const struct attn_packed *packed, const struct attn_view *weight, size_t panel) {
    union {
        uint32_t wide[ATTN_PANEL_MAX_COLUMNS * PACK_DEPTH];
        uint16_t narrow[ATTN_PANEL_MAX_COLUMNS * PACK_DEPTH];
    } rows = {{0}};
    const size_t columns = packed->kernels->columns, first = panel * columns, bytes = attn_dtype_bytes(packed->dtype);
    const size_t there = packed->out - first < columns ? packed->out - first : columns;
    char *to = packed->data + panel * packed->panel_bytes;
    for (size_t begin = 0; begin < packed->in; begin += PACK_DEPTH) {
        const size_t count = packed->in - begin < PACK_DEPTH ? packed->in - begin : PACK_DEPTH;
        for (size_t j = 0; j < there; j++)
            copy_inputs(weight, first + j, begin, count, (char *)&rows + j * PACK_DEPTH * bytes);
        void *part = to + begin * columns * bytes;
        if (packed->dtype == ATTN_FLOAT32)
            turn_32_bits(rows.wide, columns, count, part);
        else
            turn_16_bits(rows.narrow, columns, count, part, packed->dtype == ATTN_BFLOAT16);
    }
}

static attn_status allocate(struct attn_packed *packed) {
    const size_t columns = packed->kernels->columns;
    packed->panels = packed->out / columns + (packed->out % columns != 0);
    size_t row_bytes = columns * attn_dtype_bytes(packed->dtype), all;
    if (!attn_size_multiply(packed->in, row_bytes, &packed->panel_bytes) ||
        !attn_size_multiply(packed->panel_bytes, packed->panels, &all) || all > SIZE_MAX / 2)
        return ATTN_ENOMEM;
    packed->bytes = (all + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    packed->data = aligned_alloc(ALIGNMENT, packed->bytes > 0 ? packed->bytes : ALIGNMENT);
    return packed->data != NULL ? ATTN_OK : ATTN_ENOMEM;
}

attn_status attn_packed_create_for(struct attn_packed **packed, const struct attn_view *weight,
                                   const struct attn_kernels *kernels) {
    if (weight->dtype != ATTN_FLOAT32 && weight->dtype != ATTN_FLOAT16 && weight->dtype != ATTN_BFLOAT16)
        return ATTN_EDTYPE;
    struct attn_packed *made = calloc(1, sizeof *made);
    if (made == NULL)
        return ATTN_ENOMEM;
    made->kernels = kernels->panels;
    made->dtype = weight->dtype;
    made->out = weight->shape[0];
    made->in = weight->shape[1];
    if (allocate(made) != ATTN_OK) {
        free(made);
        return ATTN_ENOMEM;
    }
    for (size_t panel = 0; panel < made->panels; panel++)
        pack_panel(made, weight, panel);
    *packed = made;
    return ATTN_OK;
}

attn_status attn_packed_create(struct attn_packed **packed, const struct attn_view *weight) {
    return attn_packed_create_for(packed, weight, attn_kernels_picked());
}

void attn_packed_destroy(struct attn_packed *packed) {
    if (packed == NULL)
        return;
    free(packed->data);
    free(packed);
}

size_t attn_packed_bytes(const struct attn_packed *packed) {
    return sizeof *packed + packed->bytes;
}

/* `count` things in `parts` parts of almost the same size. */
struct cut {
    size_t count, parts;
};

static size_t cut_begin(struct cut cut, size_t part) {
    const size_t rest = cut.count % cut.parts;
    return cut.count / cut.parts * part + (part < rest ? part : rest);
}

static size_t divide_up(size_t a, size_t b) {
    return a / b + (a % b != 0);
}

struct application {
    const struct attn_packed *packed;
    const struct attn_linear *linear;
    const struct attn_execution *execution;
    size_t lanes;
    struct cut tiles;  /* rows in tiles */
    struct cut groups; /* tiles in groups */
    struct cut blocks; /* panels in blocks; a task is one group and one block */
    atomic_bool is_cancelled;
};

static bool has_ended(struct application *a) {
    return attn_has_ended(a->execution, &a->is_cancelled);
}

/* Some rows times some panels, on their way. */
struct tile {
    size_t first, rows, begin, end; /* rows; panels */
    size_t depth, done;             /* inputs that are multiplied now, and before */
    size_t turn;                    /* which of its block's tiles it is */
    size_t next;                    /* the first panel of the block to come */
    const float *left;
    ptrdiff_t left_stride;
};

/* Rows this far apart would fight for the same places of the first-level cache. */
static bool aliases(ptrdiff_t stride) {
    return stride * (ptrdiff_t)sizeof(float) % ALIASING_BYTES == 0;
}

/* The tile's inputs: where they are, or copied. */
static void take_left(const struct attn_linear *linear, struct tile *tile, float *copy) {
    tile->left = linear->left + (ptrdiff_t)tile->first * linear->left_stride + (ptrdiff_t)tile->done;
    tile->left_stride = linear->left_stride;
    if (!aliases(linear->left_stride) || tile->rows == 1)
        return;
    for (size_t i = 0; i < tile->rows; i++)
        memcpy(copy + i * ATTN_PANEL_DEPTH, tile->left + (ptrdiff_t)i * tile->left_stride, tile->depth * sizeof *copy);
    tile->left = copy;
    tile->left_stride = ATTN_PANEL_DEPTH;
}

static void multiply_panel(const struct attn_packed *packed, const struct tile *tile, size_t panel, float *sums) {
    const size_t row_bytes = packed->kernels->columns * attn_dtype_bytes(packed->dtype);
    const size_t share = row_bytes / AHEAD_TILES, done = tile->done * row_bytes;
    struct attn_panel_part part = {.rows = tile->rows,
                                   .depth = tile->depth,
                                   .dtype = packed->dtype,
                                   .left = tile->left,
                                   .left_stride = tile->left_stride,
                                   .panel = packed->data + panel * packed->panel_bytes + done,
                                   .sums = sums,
                                   .accumulate = tile->done > 0};
    if (tile->turn == 0) {
        part.ahead = (const char *)part.panel + AHEAD_BYTES;
        part.ahead_step = row_bytes;
    } else if (tile->turn <= AHEAD_TILES && tile->next + (panel - tile->begin) < packed->panels) {
        part.ahead = packed->data + (tile->next + (panel - tile->begin)) * packed->panel_bytes + done +
                     (tile->turn - 1) * share * tile->depth;
        part.ahead_step = share;
    } else
        part.ahead = part.panel;
    packed->kernels->multiply(&part);
}

static void finish_panel(const struct application *a, const struct tile *tile, size_t panel, const float *sums) {
    const struct attn_packed *packed = a->packed;
    const size_t columns = packed->kernels->columns, column = panel * columns, there = packed->out - column;
    packed->kernels->finish(a->linear, tile->first, tile->rows, column, there < columns ? there : columns, sums);
}

/* A tile whose inputs are all multiplied at once. */
static void apply_shallow(const struct application *a, struct tile tile) {
    _Alignas(ALIGNMENT) float copy[ATTN_PANEL_MAX_ROWS * ATTN_PANEL_DEPTH];
    _Alignas(ALIGNMENT) float sums[ATTN_PANEL_MAX_ROWS * ATTN_PANEL_MAX_COLUMNS];
    tile.depth = a->packed->in;
    take_left(a->linear, &tile, copy);
    for (size_t panel = tile.begin; panel < tile.end; panel++) {
        multiply_panel(a->packed, &tile, panel, sums);
        finish_panel(a, &tile, panel, sums);
    }
}

static void apply_deep(const struct application *a, struct tile tile) {
    _Alignas(ALIGNMENT) float copy[ATTN_PANEL_MAX_ROWS * ATTN_PANEL_DEPTH];
    _Alignas(ALIGNMENT) float sums[BLOCK_PANELS][ATTN_PANEL_MAX_ROWS * ATTN_PANEL_MAX_COLUMNS];
    const size_t depth = a->packed->in;
    for (tile.done = 0; tile.done < depth; tile.done += tile.depth) {
        tile.depth = depth - tile.done < ATTN_PANEL_DEPTH ? depth - tile.done : ATTN_PANEL_DEPTH;
        take_left(a->linear, &tile, copy);
        for (size_t panel = tile.begin; panel < tile.end; panel++)
            multiply_panel(a->packed, &tile, panel, sums[panel - tile.begin]);
    }
    for (size_t panel = tile.begin; panel < tile.end; panel++)
        finish_panel(a, &tile, panel, sums[panel - tile.begin]);
}

/* Waking another thread costs tens of microseconds: less work than that is done where it is. */
static bool is_worth_sharing(const struct application *a) {
    enum { FLOPS_A_NANOSECOND = 150, BYTES_A_NANOSECOND = 25, LEAST_NANOSECONDS = 50000 };
    const double flops = 2.0 * (double)a->linear->rows * (double)a->packed->out * (double)a->packed->in;
    return flops / FLOPS_A_NANOSECOND + (double)a->packed->bytes / BYTES_A_NANOSECOND > LEAST_NANOSECONDS;
}

static void apply_task(void *argument, size_t task, size_t lane) {
    (void)lane;
    struct application *a = argument;
    const size_t block = task % a->blocks.parts, group = task / a->blocks.parts, next = block + a->lanes;
    const size_t begin = cut_begin(a->groups, group), end = cut_begin(a->groups, group + 1);
    for (size_t i = begin; i < end && !has_ended(a); i++) {
        const struct tile tile = {.first = cut_begin(a->tiles, i),
                                  .rows = cut_begin(a->tiles, i + 1) - cut_begin(a->tiles, i),
                                  .begin = cut_begin(a->blocks, block),
                                  .end = cut_begin(a->blocks, block + 1),
                                  .turn = i - begin,
                                  .next = next < a->blocks.parts ? cut_begin(a->blocks, next) : a->packed->panels};
        if (a->packed->in <= ATTN_PANEL_DEPTH)
            apply_shallow(a, tile);
        else
            apply_deep(a, tile);
    }
}

/* How the work is cut: blocks for the cache, and both ways for lanes. */
static void cut_work(struct application *a) {
    const struct attn_packed *packed = a->packed;
    const size_t lanes = a->lanes, most_panels = packed->in > ATTN_PANEL_DEPTH ? BLOCK_PANELS : SHALLOW_PANELS;
    size_t block = packed->panel_bytes > 0 ? BLOCK_BYTES / packed->panel_bytes : most_panels;
    a->tiles = (struct cut){a->linear->rows, divide_up(a->linear->rows, packed->kernels->rows)};
    a->groups = (struct cut){a->tiles.parts, 1};
    if (lanes > 1) {
        const size_t most = lanes * TASKS_A_LANE, groups = a->tiles.parts / GROUP_TILES;
        a->groups.parts = groups < 1 ? 1 : groups < most ? groups : most;
        const size_t shared = divide_up(packed->panels * a->groups.parts, most);
        block = block < shared ? block : shared;
    }
    block = block < 1 ? 1 : block < most_panels ? block : most_panels;
    a->blocks = (struct cut){packed->panels, divide_up(packed->panels, block)};
}

attn_status attn_packed_apply(const struct attn_packed *packed, const struct attn_linear *linear,
                              const struct attn_execution *execution) {
    if (linear->rows == 0 || packed->out == 0)
        return ATTN_OK;
    const struct attn_executor *executor = execution != NULL ? execution->executor : NULL;
    struct application a = {.packed = packed, .linear = linear, .execution = execution};
    a.lanes = executor != NULL && is_worth_sharing(&a) ? executor->width : 1;
    cut_work(&a);
    const size_t tasks = a.groups.parts * a.blocks.parts;
    if (a.lanes > 1 && tasks > 1)
        executor->run(executor->self, tasks, apply_task, &a);
    else
        for (size_t task = 0; task < tasks; task++)
            apply_task(&a, task, 0);
    return atomic_load(&a.is_cancelled) ? ATTN_ECANCELLED : ATTN_OK;
}

void attn_activate(attn_activation activation, attn_dtype dtype, void *row, size_t count) {
    attn_kernels_for(attn_kernels_picked(), dtype)->activate(activation, row, count);
}

void attn_normalise(const struct attn_norm *norm, attn_dtype dtype, size_t rows, size_t width, const void *in,
                    ptrdiff_t in_stride, void *out, ptrdiff_t out_stride) {
    const struct attn_row_kernels *kernels = attn_kernels_for(attn_kernels_picked(), dtype);
    const ptrdiff_t bytes = (ptrdiff_t)attn_dtype_bytes(dtype);
    for (size_t i = 0; i < rows; i++)
        kernels->normalise(norm, width, (const char *)in + (ptrdiff_t)i * in_stride * bytes,
                           (char *)out + (ptrdiff_t)i * out_stride * bytes);
}
