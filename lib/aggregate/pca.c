/*
 * Principal components of the heads: for each item the L * T cells are samples and the C chosen heads are features.
 *   0. cells of padding are left out, by moving the others together
 *   1. means over cells, and the covariance (C, C), rows of cells at a time, in double
 *   2. its eigenvectors by LAPACK, by falling eigenvalue, the largest loading of each positive
 *   3. each cell's centred features projected on them
 */
#include "lib/aggregate/lane.h"
#include "lib/kernels/blas.h"
#include "lib/tensor/shape.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* LAPACK's symmetric eigenproblem; the last two are the lengths of the two strings, as Fortran compilers pass them. */
void dsyev_(const char *job, const char *triangle, const int *order, double *matrix, const int *leading,
            double *eigenvalues, double *work, const int *work_count, int *info, size_t job_length,
            size_t triangle_length);

struct pca {
    const struct attn_collector *collector;
    const struct attn_loops *loops, *doubles;
    char *cells; /* (C, length, columns) of one item */
    size_t heads, item;
    size_t length, columns; /* rows and keys that are no padding */
    double *rows;           /* (C, T): one row of cells, centred */
    double *projected;      /* (T) */
    double *means;          /* (C) */
    double *covariance;     /* (C, C), then eigenvectors as rows, by rising eigenvalue */
    double *eigenvalues;    /* (C) */
    double *work;           /* LAPACK's */
    int work_count;
};

static double *take(double **next, size_t count) {
    double *taken = *next;
    *next += count;
    return taken;
}

static bool pca_init(struct pca *pca, const struct attn_collector *collector) {
    size_t heads = collector->collect.chosen_count, columns = collector->collect.columns;
    size_t count = heads * columns + columns + heads + heads * heads + heads + 34 * heads;
    double *next = malloc(count * sizeof *next);
    if (next == NULL)
        return false;
    *pca = (struct pca){.collector = collector,
                        .loops = attn_loops_of(collector->collect.dtype),
                        .doubles = attn_loops_of(ATTN_FLOAT64),
                        .heads = heads,
                        .work_count = (int)(34 * heads)};
    pca->rows = take(&next, heads * columns);
    pca->projected = take(&next, columns);
    pca->means = take(&next, heads);
    pca->covariance = take(&next, heads * heads);
    pca->eigenvalues = take(&next, heads);
    pca->work = take(&next, 34 * heads);
    return true;
}

static bool row_exists(const struct pca *pca, size_t query) {
    const uint8_t *rows = pca->collector->inputs.cell_rows;
    return rows == NULL || rows[pca->item * pca->collector->collect.query_length + query] != 0;
}

static bool key_exists(const struct pca *pca, size_t key) {
    const uint8_t *keys = pca->collector->inputs.cell_keys;
    return keys == NULL || keys[pca->item * pca->collector->collect.columns + key] != 0;
}

static void move_together(struct pca *pca) {
    const struct attn_collect *collect = &pca->collector->collect;
    size_t bytes = attn_dtype_bytes(collect->dtype);
    char *to = pca->cells, *from = pca->cells;
    for (size_t head = 0; head < pca->heads; head++)
        for (size_t query = 0; query < collect->query_length; query++)
            for (size_t key = 0; key < collect->columns; key++, from += bytes) {
                if (!row_exists(pca, query) || !key_exists(pca, key))
                    continue;
                memmove(to, from, bytes);
                to += bytes;
            }
}

static void leave_padding_out(struct pca *pca) {
    const struct attn_collect *collect = &pca->collector->collect;
    pca->length = pca->columns = 0;
    for (size_t query = 0; query < collect->query_length; query++)
        pca->length += row_exists(pca, query);
    for (size_t key = 0; key < collect->columns; key++)
        pca->columns += key_exists(pca, key);
    if (pca->length < collect->query_length || pca->columns < collect->columns)
        move_together(pca);
}

static void find_means(struct pca *pca) {
    size_t cells = pca->length * pca->columns;
    size_t bytes = attn_dtype_bytes(pca->collector->collect.dtype);
    for (size_t head = 0; head < pca->heads; head++)
        pca->means[head] = cells > 0 ? pca->loops->sum(pca->cells + head * cells * bytes, cells) / (double)cells : 0;
}

/* Reads row `query` of every head's matrix, less the head's mean. */
static void load_centred(struct pca *pca, size_t query) {
    size_t columns = pca->columns, cells = pca->length * columns;
    size_t bytes = attn_dtype_bytes(pca->collector->collect.dtype);
    for (size_t head = 0; head < pca->heads; head++) {
        double *row = pca->rows + head * columns;
        pca->loops->to_double(row, pca->cells + (head * cells + query * columns) * bytes, columns);
        for (size_t j = 0; j < columns; j++)
            row[j] -= pca->means[head];
    }
}

/* @return false if the computation is to end. */
static bool find_covariance(struct pca *pca, const struct attn_execution *execution) {
    size_t columns = pca->columns;
    memset(pca->covariance, 0, pca->heads * pca->heads * sizeof *pca->covariance);
    for (size_t query = 0; query < pca->length; query++) {
        load_centred(pca, query);
        for (size_t left = 0; left < pca->heads; left++) {
            if (attn_is_cancelled(execution))
                return false;
            for (size_t right = left; right < pca->heads; right++)
                pca->covariance[left * pca->heads + right] +=
                    pca->doubles->dot(pca->rows + left * columns, pca->rows + right * columns, columns);
        }
    }
    return true;
}

static void fill_nan(struct pca *pca) {
    for (size_t i = 0; i < pca->heads * pca->heads; i++)
        pca->covariance[i] = NAN;
    for (size_t i = 0; i < pca->heads; i++)
        pca->eigenvalues[i] = NAN;
}

static void make_largest_positive(double *loadings, size_t count) {
    size_t largest = 0;
    for (size_t i = 1; i < count; i++)
        if (fabs(loadings[i]) > fabs(loadings[largest]))
            largest = i;
    double sign = loadings[largest] < 0 ? -1 : 1;
    for (size_t i = 0; i < count; i++)
        loadings[i] = sign * loadings[i] + 0.0; /* no negative zeros */
}

/* Row-major upper is column-major lower; eigenvectors come back as columns, which are our rows. */
static void find_eigenvectors(struct pca *pca) {
    int order = (int)pca->heads, info = 0;
    for (size_t i = 0; i < pca->heads * pca->heads; i++)
        if (!isfinite(pca->covariance[i])) {
            fill_nan(pca);
            return;
        }
    attn_blas_enter();
    dsyev_("V", "L", &order, pca->covariance, &order, pca->eigenvalues, pca->work, &pca->work_count, &info, 1, 1);
    attn_blas_leave();
    if (info != 0) {
        fill_nan(pca);
        return;
    }
    for (size_t i = 0; i < pca->heads; i++)
        make_largest_positive(pca->covariance + i * pca->heads, pca->heads);
}

static const double *loadings_of(const struct pca *pca, size_t component) {
    return pca->covariance + (pca->heads - 1 - component) * pca->heads;
}

static void write_components(struct pca *pca) {
    const struct attn_collect *collect = &pca->collector->collect;
    size_t bytes = attn_dtype_bytes(collect->dtype), components = collect->components;
    char *loadings = pca->collector->pca_loadings->values.data;
    char *ratios = pca->collector->explained_variance_ratio->values.data;
    double total = 0;
    for (size_t i = 0; i < pca->heads; i++)
        total += pca->eigenvalues[i] > 0 || isnan(pca->eigenvalues[i]) ? pca->eigenvalues[i] : 0;
    for (size_t k = 0; k < components; k++) {
        double variance = pca->eigenvalues[pca->heads - 1 - k];
        double ratio = isnan(total) ? total : total > 0 && variance > 0 ? variance / total : 0;
        size_t at = pca->item * components + k;
        pca->loops->from_double(loadings + at * pca->heads * bytes, loadings_of(pca, k), pca->heads);
        pca->loops->from_double(ratios + at * bytes, &ratio, 1);
    }
}

/* Spreads one component of a row over the keys handed out, those of padding 0. */
static void write_projected(const struct pca *pca, char *to, size_t component) {
    const struct attn_collect *collect = &pca->collector->collect;
    size_t bytes = attn_dtype_bytes(collect->dtype), column = 0;
    const double zero = 0;
    for (size_t key = 0; key < collect->key_end; key++) {
        const bool exists = key_exists(pca, key);
        if (key >= collect->key_begin)
            pca->loops->from_double(to + ((key - collect->key_begin) * collect->components + component) * bytes,
                                    exists ? pca->projected + column : &zero, 1);
        column += exists;
    }
}

/* @param live the row's place among those that are no padding */
static void project_row(struct pca *pca, size_t query, size_t live) {
    const struct attn_collect *collect = &pca->collector->collect;
    size_t columns = pca->columns, keys = collect->key_end - collect->key_begin;
    size_t queries = collect->query_end - collect->query_begin, components = collect->components;
    size_t row = pca->item * queries + query - collect->query_begin;
    size_t bytes = attn_dtype_bytes(collect->dtype);
    char *to = (char *)pca->collector->forms[ATTN_FORM_PCA]->values.data + row * keys * components * bytes;
    if (!row_exists(pca, query)) {
        memset(to, 0, keys * components * bytes);
        return;
    }
    load_centred(pca, live);
    for (size_t k = 0; k < components; k++) {
        memset(pca->projected, 0, columns * sizeof *pca->projected);
        for (size_t head = 0; head < pca->heads; head++)
            pca->doubles->add_scaled(pca->projected, pca->rows + head * columns, columns, loadings_of(pca, k)[head]);
        write_projected(pca, to, k);
    }
}

static void project_rows(struct pca *pca) {
    const struct attn_collect *collect = &pca->collector->collect;
    size_t live = 0;
    for (size_t query = 0; query < collect->query_end; query++) {
        if (query >= collect->query_begin)
            project_row(pca, query, live);
        live += row_exists(pca, query);
    }
}

attn_status attn_pca_finish(struct attn_collector *collector, const struct attn_execution *execution) {
    const struct attn_collect *collect = &collector->collect;
    struct pca pca;
    attn_status status = ATTN_OK;
    if (!pca_init(&pca, collector))
        return ATTN_ENOMEM;
    size_t item_bytes =
        collect->chosen_count * collect->query_length * collect->columns * attn_dtype_bytes(collect->dtype);
    for (pca.item = 0; pca.item < collect->batch && status == ATTN_OK; pca.item++) {
        pca.cells = collector->cells + pca.item * item_bytes;
        leave_padding_out(&pca);
        find_means(&pca);
        if (!find_covariance(&pca, execution)) {
            status = ATTN_ECANCELLED;
            break;
        }
        find_eigenvectors(&pca);
        write_components(&pca);
        project_rows(&pca);
        if (attn_is_cancelled(execution))
            status = ATTN_ECANCELLED;
    }
    free(pca.rows);
    return status;
}
