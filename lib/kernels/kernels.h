/**
 * @file kernels.h
 * The inner loops of attention, one table of functions an instruction set, and the matrix products over them and BLAS.
 *
 * Adding a kernel: write its meaning in portable/ (rows_template.h serves both float32 and float64), add the member
 * here, add the fast version to x86/rows_template.h, which serves all four x86 tables, and a property test that
 * compares the two at awkward sizes (tests/unit/kernels_rows.c runs every table that the machine can). Adding an
 * instruction set: one file a set whose name ends in the suffix that the Makefile gives its flags, one row in
 * kernels.c, best first.
 *
 * Rows are contiguous, of the table's dtype, aligned to no more than an element, and may be empty.
 */
#ifndef LIB_KERNELS_KERNELS_H
#define LIB_KERNELS_KERNELS_H

#include "lib/kernels/packed.h"
#include <attn/tensor.h>

/** One matrix product. Strides are elements between rows; columns are contiguous. */
struct attn_product {
    size_t rows, columns, depth;
    double factor; /**< multiplies the product */
    const void *left;
    ptrdiff_t left_stride;
    const void *right;
    ptrdiff_t right_stride;
    void *out;
    ptrdiff_t out_stride;
    bool accumulate; /**< add to what is in out; else out is only written */
};

/** The loops for one dtype; `row` is float32 or float64 according to the table it stands in. */
struct attn_row_kernels {
    /** Its products are for all sizes, and not only for those that BLAS is slow at. */
    bool beats_blas;
    /** @return the largest entry, NaN ignored; -Infinity for none. */
    double (*maximum)(const void *row, size_t count);
    /** row = exp(row - shift), for a finite shift that is at least the maximum. Below
     * the smallest normal number it may be 0. @return the sum; NaN if one is NaN. */
    double (*exponentials)(void *row, size_t count, double shift);
    /**
     * row = exp(row - maximum) / sum. @return false where maximum or sum is not finite, or there is no entry: the row
     * is then as it was, or holds NaN where exp gave it.
     */
    bool (*softmax)(void *row, size_t count, double *maximum, double *sum);
    void (*scale)(void *row, size_t count, double factor);
    void (*fill)(void *row, size_t count, double value);
    /** row = cap * tanh(row / cap) */
    void (*softcap)(void *row, size_t count, double cap);
    /** row += slope * -|first - j| for j = 0 .. count-1, rounded once. */
    void (*add_distance)(void *row, size_t count, double slope, double first);
    /**
     * row += mask. An entry where row or mask is -Infinity becomes -Infinity, whatever the other is; a sum of finite
     * terms does not pass the lowest finite number, so that a merely huge negative mask masks nothing out.
     */
    void (*add_mask_float32)(void *row, const float *mask, size_t count);
    void (*add_mask_float64)(void *row, const double *mask, size_t count);
    /** row = -Infinity where (mask != 0) != keep. */
    void (*keep_where)(void *row, const uint8_t *mask, size_t count, bool keep);
    bool (*has_nan)(const void *row, size_t count);
    bool (*is_finite)(const void *row, size_t count);
    /** out = sum over j of weights[j] * value[j], leaving out every j whose weight is exactly 0. */
    void (*combine_nonzero)(const void *weights, size_t count, const void *value, ptrdiff_t value_stride, void *out,
                            size_t width);
    /** out (rows, columns) = factor * left (rows, depth) . right (columns, depth)^T */
    void (*product_transposed)(const struct attn_product *product);
    /** out (rows, columns) = factor * left (rows, depth) . right (depth, columns) */
    void (*product_plain)(const struct attn_product *product);
    /** row = activation(row), as attn_activate says. */
    void (*activate)(attn_activation activation, void *row, size_t count);
    /** out = norm(in), one row of `width` elements; out may be in. */
    void (*normalise)(const struct attn_norm *norm, size_t width, const void *in, void *out);
};

/**
 * What packed products (packed.c) are made of. A packed weight is cut into panels of `columns` of its outputs; a panel
 * holds, input by input, the weights of its outputs side by side, so that a product reads it once from front to back.
 */
enum { ATTN_PANEL_DEPTH = 512, ATTN_PANEL_MAX_ROWS = 14, ATTN_PANEL_MAX_COLUMNS = 32 };

/** Some rows times one panel, over a part of the inputs. */
struct attn_panel_part {
    size_t rows;       /**< 1 to the table's */
    size_t depth;      /**< inputs: 0 to ATTN_PANEL_DEPTH */
    attn_dtype dtype;  /**< of the panel: ATTN_FLOAT32, ATTN_FLOAT16, ATTN_BFLOAT16 */
    const float *left; /**< (rows, depth) */
    ptrdiff_t left_stride;
    /**
     * (depth, columns), aligned to 32 bytes. In bfloat16 columns j and j + columns / 2 stand side by side, as the
     * halves of 32 bits: either is widened by one instruction.
     */
    const void *panel;
    float *sums;     /**< (rows, columns), aligned to 64 bytes */
    bool accumulate; /**< add to sums */
    /** Memory that will be wanted soon, to be asked for step by step of the depth; may be past the end of everything.
     */
    const char *ahead;
    size_t ahead_step; /**< bytes a step */
};

/** The loops of packed products of one instruction set. */
struct attn_panel_kernels {
    size_t rows, columns; /**< the most rows of a part, and a panel's columns, which are even */
    /** sums = left . panel, each sum from the first input to the last. */
    void (*multiply)(const struct attn_panel_part *part);
    /** Does what follows the product, for rows of `columns` sums: those of out that begin at (row, column). */
    void (*finish)(const struct attn_linear *linear, size_t row, size_t rows, size_t column, size_t columns,
                   const float *sums);
};

/** One instruction set. */
struct attn_kernels {
    const char *name;
    bool (*is_supported)(void);
    const struct attn_row_kernels *float32, *float64;
    const struct attn_panel_kernels *panels;
};

/**
 * @return the best table that the processor can do, or the one that the environment variable ATTN_KERNELS names
 *         ("portable", "avx2", "avx512") where it can. Picked once, when the library is loaded. Thread safe.
 */
const struct attn_kernels *attn_kernels_picked(void);

/** @return table `index`, best first, whether or not this processor can do it; NULL behind the last. Thread safe. */
const struct attn_kernels *attn_kernels_at(size_t index);

/** @return the loops of a table for float32 or float64. */
static inline const struct attn_row_kernels *attn_kernels_for(const struct attn_kernels *kernels, attn_dtype dtype) {
    return dtype == ATTN_FLOAT64 ? kernels->float64 : kernels->float32;
}

/** out = factor * left . right^T (+ out), by BLAS where that pays. Thread safe for different `out`. */
void attn_product_transposed(const struct attn_row_kernels *kernels, attn_dtype dtype,
                             const struct attn_product *product);
/** out = factor * left . right (+ out), by BLAS where that pays. Thread safe for different `out`. */
void attn_product_plain(const struct attn_row_kernels *kernels, attn_dtype dtype, const struct attn_product *product);

/** The tables' loops; only kernels.c and the files that define them need these. */
extern const struct attn_row_kernels attn_rows_portable_float32, attn_rows_portable_float64;
extern const struct attn_row_kernels attn_rows_avx2_float32, attn_rows_avx2_float64;
extern const struct attn_row_kernels attn_rows_avx512_float32, attn_rows_avx512_float64;
extern const struct attn_panel_kernels attn_panels_portable, attn_panels_avx2, attn_panels_avx512;

/** Packs for the loops of `kernels` and not the picked ones; packed.h has the rest. */
attn_status attn_packed_create_for(struct attn_packed **packed, const struct attn_view *weight,
                                   const struct attn_kernels *kernels);

#endif
