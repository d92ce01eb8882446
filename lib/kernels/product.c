#include "lib/kernels/blas.h"
#include "lib/kernels/kernels.h"

#include <cblas.h>
#include <limits.h>

/*
 * BLAS is for processors that have no table of their own: beside one, OpenBLAS 0.3.21 needs 1.1 to 2.7 times the time
 * at attention's sizes, and five times on a processor that is newer than it, for which it falls back to SSE. It packs
 * both factors and costs a microsecond before its first multiplication, so small products go to the table's own loops:
 * those with few multiplications in all, and those with so few rows that packing the right factor would cost as much as
 * using it.
 */
enum { FEWEST_ROWS = 4 };
static const size_t fewest_multiplications = 16384;

static bool fits_blas(size_t extent) {
    return extent <= INT_MAX;
}

/* BLAS counts in int, and wants rows that do not overlap. */
static bool stride_fits_blas(ptrdiff_t stride, size_t width) {
    return stride >= 1 && stride <= INT_MAX && (size_t)stride >= width;
}

static bool wants_blas(const struct attn_row_kernels *kernels, const struct attn_product *p, size_t right_width) {
    if (kernels->beats_blas || p->rows < FEWEST_ROWS || p->rows * p->columns * p->depth < fewest_multiplications ||
        p->factor == 0)
        return false;
    return fits_blas(p->rows) && fits_blas(p->columns) && fits_blas(p->depth) &&
           stride_fits_blas(p->left_stride, p->depth) && stride_fits_blas(p->right_stride, right_width) &&
           stride_fits_blas(p->out_stride, p->columns);
}

static void multiply(attn_dtype dtype, CBLAS_TRANSPOSE right_transposed, const struct attn_product *p) {
    const int rows = (int)p->rows, columns = (int)p->columns, depth = (int)p->depth;
    const int left_stride = (int)p->left_stride, right_stride = (int)p->right_stride, out_stride = (int)p->out_stride;
    attn_blas_enter();
    if (dtype == ATTN_FLOAT64)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, right_transposed, rows, columns, depth, p->factor, p->left,
                    left_stride, p->right, right_stride, p->accumulate ? 1.0 : 0.0, p->out, out_stride);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, right_transposed, rows, columns, depth, (float)p->factor, p->left,
                    left_stride, p->right, right_stride, p->accumulate ? 1.0F : 0.0F, p->out, out_stride);
    attn_blas_leave();
}

void attn_product_transposed(const struct attn_row_kernels *kernels, attn_dtype dtype,
                             const struct attn_product *product) {
    if (wants_blas(kernels, product, product->depth))
        multiply(dtype, CblasTrans, product);
    else
        kernels->product_transposed(product);
}

void attn_product_plain(const struct attn_row_kernels *kernels, attn_dtype dtype, const struct attn_product *product) {
    if (wants_blas(kernels, product, product->columns))
        multiply(dtype, CblasNoTrans, product);
    else
        kernels->product_plain(product);
}
