/*
 * Products of factors that are used once. Beside what rows_template.h needs, the including file defines
 *     TILE_ROWS  rows of a tile: 2 * TILE_ROWS sums, two vectors of the right factor and an element of the left one fit
 *                the registers
 *     V_TURN     where there is v_turn(from, stride, count, to, to_stride), which turns the first rows of WIDTH of
 * WIDTH elements
 *
 * A tile of out is TILE_ROWS rows by two vectors. Its sums stay in registers along the whole depth: each element of the
 * left factor is spread over a vector and multiplied with two of the right one, whose rows hold columns, or are turned
 * so that they do. Against OpenBLAS, which copies both factors first: 1.5 to 3 times as fast at the sizes of one head.
 */

/* Depth of the right factor that is turned at a time: 128 rows of two vectors on the stack, 16 kB. */
enum { TURNED = 128, PANEL = 2 * WIDTH, FEWEST_TURNED_ROWS = 3 };

/* Rows this far apart fall into the same places of the first-level cache, which has 8 to 12 of a kind. */
enum { ALIASING_BYTES = 4096, ALIASING_ROWS = 8 };

static inline void v_put(const struct attn_product *p, REAL *to, size_t count, VECTOR sum) {
    sum = sum * v_set((REAL)p->factor);
    if (p->accumulate)
        sum += v_load_part(to, count, 0);
    v_store_part(to, count, sum);
}

/* CASE for every number of rows that a tile may have: the compiler unrolls each by itself. */
#define EACH_TO_6(CASE) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#if TILE_ROWS == 6
#define EACH_TILE(CASE) EACH_TO_6(CASE)
#elif TILE_ROWS == 14
#define EACH_TILE(CASE) EACH_TO_6(CASE) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14)
#endif

/* `rows` rows by `vectors` vectors of out; both are constants where this is called. The right factor may be read up to
 * whole vectors; of out, `columns` are written. */
static inline __attribute__((always_inline)) void tile(size_t rows, size_t vectors, const struct attn_product *p,
                                                       const REAL *left, const REAL *right, ptrdiff_t right_stride,
                                                       REAL *out, size_t columns) {
    VECTOR sums[TILE_ROWS][2];
#pragma GCC unroll 14
    for (size_t i = 0; i < rows; i++)
        sums[i][0] = sums[i][1] = v_set(0);
    /* Few pointers, for addresses that the processor can work out by itself. */
    const ptrdiff_t stride = p->left_stride;
    const REAL *lefts[3] = {left, rows > 5 ? left + 5 * stride : left, rows > 10 ? left + 10 * stride : left};
    for (size_t d = 0; d < p->depth; d++, right += right_stride) {
        const VECTOR a = v_load(right), b = vectors > 1 ? v_load(right + WIDTH) : a;
#pragma GCC unroll 14
        for (size_t i = 0; i < rows; i++) {
            const VECTOR x = v_set(lefts[i / 5][(ptrdiff_t)(i % 5) * stride + (ptrdiff_t)d]);
            sums[i][0] = v_fma(x, a, sums[i][0]);
            if (vectors > 1)
                sums[i][1] = v_fma(x, b, sums[i][1]);
        }
    }
#pragma GCC unroll 14
    for (size_t i = 0; i < rows; i++, out += p->out_stride) {
        v_put(p, out, columns < WIDTH ? columns : WIDTH, sums[i][0]);
        if (vectors > 1)
            v_put(p, out + WIDTH, columns - WIDTH, sums[i][1]);
    }
}

static inline __attribute__((always_inline)) void tile_of(size_t rows, size_t vectors, const struct attn_product *p,
                                                          const REAL *left, const REAL *right, ptrdiff_t right_stride,
                                                          REAL *out, size_t columns) {
    switch (rows) {
#define CASE(n)                                                                                                        \
    case n:                                                                                                            \
        tile(n, vectors, p, left, right, right_stride, out, columns);                                                  \
        break;
        EACH_TILE(CASE)
#undef CASE
    default:
        break;
    }
}

/* All rows by `columns` columns, 1 to PANEL, from `column` on: in tiles of almost the same number of rows. */
static void product_panel(const struct attn_product *p, const REAL *right, ptrdiff_t right_stride, size_t column,
                          size_t columns) {
    const bool aliases = p->left_stride * (ptrdiff_t)sizeof(REAL) % ALIASING_BYTES == 0 && ALIASING_ROWS < TILE_ROWS;
    const size_t most = aliases ? ALIASING_ROWS : TILE_ROWS;
    size_t tiles = (p->rows + most - 1) / most;
    for (size_t row = 0, rows; row < p->rows; row += rows, tiles--) {
        rows = (p->rows - row + tiles - 1) / tiles;
        const REAL *left = (const REAL *)p->left + (ptrdiff_t)row * p->left_stride;
        REAL *out = (REAL *)p->out + (ptrdiff_t)row * p->out_stride + column;
        if (columns > WIDTH)
            tile_of(rows, 2, p, left, right, right_stride, out, columns);
        else
            tile_of(rows, 1, p, left, right, right_stride, out, columns);
    }
}

/* `p` for a part of its depth. */
static struct attn_product depth_part(const struct attn_product *p, size_t begin) {
    struct attn_product part = *p;
    part.depth = p->depth - begin < TURNED ? p->depth - begin : TURNED;
    part.left = (const REAL *)p->left + begin;
    part.accumulate = p->accumulate || begin > 0;
    return part;
}

/* The last columns, too few for whole vectors: they are copied, so that nothing behind them is read. */
static void product_plain_rest(const struct attn_product *p, size_t column, size_t columns) {
    REAL copy[TURNED * PANEL] = {0};
    size_t begin = 0;
    do {
        const struct attn_product part = depth_part(p, begin);
        const REAL *right = (const REAL *)p->right + (ptrdiff_t)begin * p->right_stride + column;
        for (size_t d = 0; d < part.depth; d++, right += p->right_stride)
            for (size_t j = 0; j < columns; j += WIDTH) {
                const size_t left = columns - j < WIDTH ? columns - j : WIDTH;
                v_store(copy + d * PANEL + j, v_load_part(right + j, left, 0));
            }
        product_panel(&part, copy, PANEL, column, columns);
        begin += part.depth;
    } while (begin < p->depth);
}

static void product_plain(const struct attn_product *p) {
    size_t column = 0;
    for (; column + PANEL <= p->columns; column += PANEL)
        product_panel(p, (const REAL *)p->right + column, p->right_stride, column, PANEL);
    if (p->columns - column == WIDTH)
        product_panel(p, (const REAL *)p->right + column, p->right_stride, column, WIDTH);
    else if (column < p->columns)
        product_plain_rest(p, column, p->columns - column);
}

/* With few rows, turning the right factor costs more than adding up each product's vector. */
static void product_by_dots(const struct attn_product *p) {
    for (size_t row = 0; row < p->rows; row++) {
        const REAL *left = (const REAL *)p->left + (ptrdiff_t)row * p->left_stride;
        REAL *out = (REAL *)p->out + (ptrdiff_t)row * p->out_stride;
        for (size_t column = 0; column < p->columns; column++) {
            const REAL *right = (const REAL *)p->right + (ptrdiff_t)column * p->right_stride;
            VECTOR sum = v_set(0);
            size_t d = 0;
            for (; d + WIDTH <= p->depth; d += WIDTH)
                sum = v_fma(v_load(left + d), v_load(right + d), sum);
            if (d < p->depth)
                sum = v_fma(v_load_part(left + d, p->depth - d, 0), v_load_part(right + d, p->depth - d, 0), sum);
            const REAL dot = v_sum(sum) * (REAL)p->factor;
            out[column] = p->accumulate ? out[column] + dot : dot;
        }
    }
}

/* `columns` rows of `depth` elements become columns of `to`, whose rows are PANEL long; 0 up to a whole vector. */
static void turn(const REAL *from, ptrdiff_t stride, size_t columns, size_t depth, REAL *to) {
    for (size_t j = 0; j < columns; j += WIDTH) {
        const REAL *rows = from + (ptrdiff_t)j * stride;
        const size_t count = columns - j < WIDTH ? columns - j : WIDTH;
        size_t d = 0;
#ifdef V_TURN
        for (; d + WIDTH <= depth; d += WIDTH)
            v_turn(rows + d, stride, count, to + d * PANEL + j, PANEL);
#endif
        for (; d < depth; d++)
            for (size_t i = 0; i < WIDTH; i++)
                to[d * PANEL + j + i] = i < count ? rows[(ptrdiff_t)i * stride + (ptrdiff_t)d] : 0;
    }
}

static void product_transposed(const struct attn_product *p) {
    if (p->rows < FEWEST_TURNED_ROWS) {
        product_by_dots(p);
        return;
    }
    /* Depth by depth, so that a large left factor's part stays in the second-level cache for all columns. */
    REAL turned[TURNED * PANEL];
    size_t begin = 0;
    do {
        const struct attn_product part = depth_part(p, begin);
        const REAL *right = (const REAL *)p->right + begin;
        for (size_t column = 0; column < p->columns; column += PANEL) {
            const size_t left = p->columns - column, columns = left < PANEL ? left : PANEL;
            turn(right + (ptrdiff_t)column * p->right_stride, p->right_stride, columns, part.depth, turned);
            product_panel(&part, turned, PANEL, column, columns);
        }
        begin += part.depth;
    } while (begin < p->depth);
}
