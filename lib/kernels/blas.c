#include "lib/kernels/blas.h"

#include <pthread.h>
#include <stdbool.h>

/* OpenBLAS's; other libraries lack them. */
extern void openblas_set_num_threads(int count) __attribute__((weak));
extern int openblas_get_parallel(void) __attribute__((weak));

/* Written by the constructor, before any other code of the program runs, and only read after that. */
static bool takes_turns;

/* The state that it guards is the library's own: its buffers are one for the process. */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

/* Parallelism is the callers' executor's, so BLAS must not start threads itself. */
__attribute__((constructor)) static void blas_init(void) {
    enum { WITHOUT_THREADS = 0 };
    takes_turns = openblas_get_parallel != NULL && openblas_get_parallel() == WITHOUT_THREADS;
    if (openblas_set_num_threads != NULL) {
        openblas_set_num_threads(1);
    }
}

void attn_blas_enter(void) {
    if (takes_turns) {
        pthread_mutex_lock(&turn);
    }
}

void attn_blas_leave(void) {
    if (takes_turns) {
        pthread_mutex_unlock(&turn);
    }
}
