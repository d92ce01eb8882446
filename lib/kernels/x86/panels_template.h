/*
 * Packed products over vectors. The including file has included rows_template.h for float32 and defines
 *     PANELS           the name of the table
 *     TILE_ROWS        rows of a part: 2 * TILE_ROWS sums, a row's weights and one input fit the registers
 *     v_load_float16   a vector of a panel's weights, widened
 *     v_load_bfloat16  two vectors of them, widened: the panel has their elements in turns
 *
 * A row of the panel is two vectors; each input of a row of the left factor is spread over a vector and multiplied with
 * both. With 14 rows that is 28 multiplications for 16 loads, and the sums of 4 rows already hide a multiplication's
 * latency. The weights' way from memory is hidden by asking for them ahead of their use.
 */

/* A row of a panel. */
static inline void load_panel(attn_dtype dtype, const void *panel, size_t row, VECTOR *low, VECTOR *high) {
    if (dtype == ATTN_FLOAT32) {
        const float *from = (const float *)panel + row * 2 * WIDTH;
        *low = v_load(from);
        *high = v_load(from + WIDTH);
        return;
    }
    const uint16_t *from = (const uint16_t *)panel + row * 2 * WIDTH;
    if (dtype == ATTN_FLOAT16) {
        *low = v_load_float16(from);
        *high = v_load_float16(from + WIDTH);
        return;
    }
    v_load_bfloat16(from, low, high);
}

/* `rows` and `dtype` are constants where this is called. */
static inline __attribute__((always_inline)) void multiply_rows(size_t rows, attn_dtype dtype,
                                                                const struct attn_panel_part *part) {
    VECTOR low[TILE_ROWS], high[TILE_ROWS];
#pragma GCC unroll 14
    for (size_t i = 0; i < rows; i++)
        low[i] = high[i] = v_set(0);
    const size_t depth = part->depth, step = part->ahead_step;
    const ptrdiff_t stride = part->left_stride;
    const float *left = part->left;
    /* Few pointers, for addresses that the processor can work out by itself. */
    const float *lefts[3] = {left, rows > 5 ? left + 5 * stride : left, rows > 10 ? left + 10 * stride : left};
    const char *ahead = part->ahead;
    for (size_t d = 0; d < depth; d++, ahead += step) {
        VECTOR a, b;
        load_panel(dtype, part->panel, d, &a, &b);
        __builtin_prefetch(ahead, 0, 3);
        __builtin_prefetch(ahead + 64, 0, 3);
#pragma GCC unroll 14
        for (size_t i = 0; i < rows; i++) {
            const VECTOR x = v_set(lefts[i / 5][(ptrdiff_t)(i % 5) * stride + (ptrdiff_t)d]);
            low[i] = v_fma(x, a, low[i]);
            high[i] = v_fma(x, b, high[i]);
        }
    }
#pragma GCC unroll 14
    for (size_t i = 0; i < rows; i++) {
        float *sums = part->sums + i * 2 * WIDTH;
        if (part->accumulate) {
            low[i] += v_load(sums);
            high[i] += v_load(sums + WIDTH);
        }
        v_store(sums, low[i]);
        v_store(sums + WIDTH, high[i]);
    }
}

static inline __attribute__((always_inline)) void multiply_dtype(attn_dtype dtype, const struct attn_panel_part *part) {
    switch (part->rows) {
#define CASE(n)                                                                                                        \
    case n:                                                                                                            \
        multiply_rows(n, dtype, part);                                                                                 \
        break;
        EACH_TILE(CASE)
#undef CASE
    default:
        break;
    }
}

static void panel_multiply(const struct attn_panel_part *part) {
    if (part->dtype == ATTN_FLOAT32)
        multiply_dtype(ATTN_FLOAT32, part);
    else if (part->dtype == ATTN_FLOAT16)
        multiply_dtype(ATTN_FLOAT16, part);
    else
        multiply_dtype(ATTN_BFLOAT16, part);
}

static void panel_finish(const struct attn_linear *linear, size_t row, size_t rows, size_t column, size_t columns,
                         const float *sums) {
    for (size_t i = 0; i < rows; i++, sums += 2 * WIDTH) {
        const ptrdiff_t at = (ptrdiff_t)(row + i);
        for (size_t j = 0; j < columns; j += WIDTH) {
            const size_t left = columns - j < WIDTH ? columns - j : WIDTH;
            const ptrdiff_t to = (ptrdiff_t)(column + j);
            VECTOR v = v_load(sums + j);
            if (linear->bias != NULL)
                v += v_load_part(linear->bias + to, left, 0);
            v = v_activate(linear->activation, v);
            if (linear->gate != NULL)
                v = v * v_load_part(linear->gate + at * linear->gate_stride + to, left, 0);
            if (linear->residual != NULL)
                v += v_load_part(linear->residual + at * linear->residual_stride + to, left, 0);
            v_store_part(linear->out + at * linear->out_stride + to, left, v);
        }
    }
}

const struct attn_panel_kernels PANELS = {
    .rows = TILE_ROWS,
    .columns = 2 * WIDTH,
    .multiply = panel_multiply,
    .finish = panel_finish,
};
