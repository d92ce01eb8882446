/*
 * The language-model head: a block of rows at a time, so that the logits of all rows are never held. Of a row are kept
 * the k likeliest tokens, with probabilities by the softmax over the whole vocabulary.
 */
#include "lib/kernels/kernels.h"
#include "lib/transformer/rows.h"
#include "lib/transformer/run.h"

#include <math.h>
#include <string.h>

struct block {
    struct attn_run *run;
    size_t first; /* row of the stack */
};

static double number_at(const struct attn_run *run, const void *row, size_t i) {
    return run->dtype == ATTN_FLOAT64 ? ((const double *)row)[i] : (double)((const float *)row)[i];
}

/* Whether id a comes behind b: less likely, or as likely and higher. NaN is the least likely, so that there is an
 * order.
 */
static bool is_behind(const struct attn_run *run, const void *logits, int64_t a, int64_t b) {
    const double left = number_at(run, logits, (size_t)a), right = number_at(run, logits, (size_t)b);
    if (left < right || (isnan(left) && !isnan(right)))
        return true;
    return !(right < left || (isnan(right) && !isnan(left))) && a > b;
}

/* Puts id into the heap from `place` down; the hindmost of a heap is its first. */
static void sift(const struct attn_run *run, const void *logits, int64_t *heap, size_t count, size_t place,
                 int64_t id) {
    for (size_t child; (child = 2 * place + 1) < count; place = child) {
        if (child + 1 < count && is_behind(run, logits, heap[child + 1], heap[child]))
            child++;
        if (!is_behind(run, logits, heap[child], id))
            break;
        heap[place] = heap[child];
    }
    heap[place] = id;
}

/* The `most` ids that come first, in order: work grows with V log k, whatever k is asked for. */
static void find_likeliest(const struct attn_run *run, const void *logits, size_t vocab, size_t most, int64_t *ids) {
    for (size_t id = 0; id < most; id++)
        ids[id] = (int64_t)id;
    for (size_t place = most / 2; place-- > 0;)
        sift(run, logits, ids, most, place, ids[place]);
    for (size_t id = most; id < vocab; id++)
        if (is_behind(run, logits, ids[0], (int64_t)id))
            sift(run, logits, ids, most, 0, (int64_t)id);
    for (size_t count = most; count-- > 1;) {
        const int64_t last = ids[count];
        ids[count] = ids[0];
        sift(run, logits, ids, count, 0, last);
    }
}

static void keep_likeliest(const struct attn_run *run, void *logits, size_t vocab, size_t row) {
    const size_t most = run->forward->predictions;
    int64_t *ids = (int64_t *)run->result->ids.data + row * most;
    const struct attn_row_kernels *kernels = attn_kernels_for(attn_kernels_picked(), run->dtype);
    find_likeliest(run, logits, vocab, most, ids);
    const double maximum = kernels->maximum(logits, vocab);
    const double sum = kernels->exponentials(logits, vocab, maximum);
    for (size_t i = 0; i < most; i++) {
        const double probability = number_at(run, logits, (size_t)ids[i]) / sum;
        if (run->dtype == ATTN_FLOAT64)
            ((double *)run->result->probabilities.data)[row * most + i] = probability;
        else
            ((float *)run->result->probabilities.data)[row * most + i] = (float)probability;
    }
}

static void predict_rows(void *context, size_t begin, size_t end, size_t lane) {
    (void)lane;
    const struct block *block = context;
    const struct attn_run *run = block->run;
    const struct attn_head *head = &run->model->head;
    const struct attn_stack_run *stack = attn_run_main(block->run);
    const size_t vocab = head->decoder->view.shape[0], most = run->forward->predictions;
    for (size_t i = begin; i < end; i++) {
        const size_t row = block->first + i;
        void *logits = attn_run_at(run, run->logits, i, vocab, 0);
        if (stack->at.padding != NULL && stack->at.padding[row] == 0) {
            memset((int64_t *)run->result->ids.data + row * most, 0, most * sizeof(int64_t));
            memset(attn_run_at(run, run->result->probabilities.data, row, most, 0), 0, most * run->bytes);
            continue;
        }
        if (head->scale != 1)
            attn_row_scale(run->dtype, logits, head->scale, vocab);
        if (head->softcap > 0)
            attn_kernels_for(attn_kernels_picked(), run->dtype)->softcap(logits, vocab, head->softcap);
        keep_likeliest(run, logits, vocab, row);
    }
}

static attn_status make_logits(struct attn_run *run, const void *hidden, size_t rows) {
    const struct attn_head *head = &run->model->head;
    const ptrdiff_t width = (ptrdiff_t)head->decoder->view.shape[1];
    struct attn_product_call call = {.weight = head->dense,
                                     .rows = rows,
                                     .left = hidden,
                                     .left_stride = (ptrdiff_t)attn_run_main(run)->stack->output_width,
                                     .activation = head->activation,
                                     .out = run->head,
                                     .out_stride = width};
    attn_status status = ATTN_OK;
    if (head->dense != NULL) {
        status = attn_weight_apply(&call, run->dtype, &run->lanes, run->execution);
        call.left = run->head;
        call.left_stride = width;
    }
    if (status == ATTN_OK && head->norm.width > 0) {
        status = attn_norm_apply(&head->norm, run->dtype, rows, call.left, call.left_stride, run->head, width,
                                 run->execution);
        call.left = run->head;
        call.left_stride = width;
    }
    if (status != ATTN_OK)
        return status;
    call.weight = head->decoder;
    call.activation = ATTN_ACTIVATION_NONE;
    call.out = run->logits;
    call.out_stride = (ptrdiff_t)head->decoder->view.shape[0];
    return attn_weight_apply(&call, run->dtype, &run->lanes, run->execution);
}

attn_status attn_run_predict(struct attn_run *run, const struct attn_stack_run *stack) {
    attn_status status = ATTN_OK;
    for (size_t first = 0; first < stack->rows && status == ATTN_OK; first += run->head_rows) {
        const size_t left = stack->rows - first, rows = left < run->head_rows ? left : run->head_rows;
        struct block block = {run, first};
        status = make_logits(run, attn_run_at(run, stack->at.output, first, stack->stack->output_width, 0), rows);
        if (status == ATTN_OK)
            status = attn_over_rows(rows, 1, predict_rows, &block, run->execution);
    }
    return status;
}
