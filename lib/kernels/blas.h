/**
 * @file blas.h
 * The door to BLAS and LAPACK. Calls stand between attn_blas_enter and attn_blas_leave.
 *
 * OpenBLAS built without threads (Debian's libopenblas0-serial) hands one work buffer to two callers at once: products
 * called from several threads then come out wrong, now and then. With such a library calls take turns; with every
 * other one the two functions do nothing.
 */
#ifndef LIB_KERNELS_BLAS_H
#define LIB_KERNELS_BLAS_H

void attn_blas_enter(void);
void attn_blas_leave(void);

#endif
