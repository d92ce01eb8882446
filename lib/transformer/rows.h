/** @file rows.h Small loops over the hidden state, for both dtypes of runs. Rows are contiguous. */
#ifndef LIB_TRANSFORMER_ROWS_H
#define LIB_TRANSFORMER_ROWS_H

#include <attn/tensor.h>

/** row += other */
void attn_row_add(attn_dtype dtype, void *row, const void *other, size_t count);
/** row = row * factors */
void attn_row_multiply(attn_dtype dtype, void *row, const void *factors, size_t count);
/** row = row * factor */
void attn_row_scale(attn_dtype dtype, void *row, double factor, size_t count);
/** row += factor * other */
void attn_row_add_scaled(attn_dtype dtype, void *row, double factor, const void *other, size_t count);

/**
 * Rotates pairs of the first `width` elements of a head by the angles of one row of a rotation's table: cosines, then
 * sines, width / 2 each. Pairs are (i, i + width / 2), or (2 i, 2 i + 1) where is_paired.
 */
void attn_row_rotate(attn_dtype dtype, void *head, const void *table, size_t width, bool is_paired);

/** gate = (up + 1) * gate * sigmoid(alpha * gate), both clamped by limit first where it is above 0 (gpt-oss). */
void attn_row_clamped_glu(attn_dtype dtype, void *gate, const void *up, double alpha, double limit, size_t count);

#endif
