/* Feed-forward by experts: a router picks some for each row, and their answers are added in the shares it gives. */
#include "lib/transformer/rows.h"
#include "lib/transformer/run.h"

#include <math.h>
#include <string.h>

static double number_at(const struct attn_run *run, const void *row, size_t i) {
    return run->dtype == ATTN_FLOAT64 ? ((const double *)row)[i] : (double)((const float *)row)[i];
}

/* Whether expert a comes before b: the larger score, the lower index among equals. NaN comes last. */
static bool is_before(const struct attn_run *run, const void *scores, size_t a, size_t b) {
    const double left = number_at(run, scores, a), right = number_at(run, scores, b);
    if (left > right || (isnan(right) && !isnan(left)))
        return true;
    return !(right > left || (isnan(left) && !isnan(right))) && a < b;
}

/* The `used` largest of a row's scores, the lower index first among equals, and their softmax. */
static void choose(const struct attn_run *run, const void *scores, size_t experts, size_t used, size_t *chosen,
                   double *shares) {
    for (size_t rank = 0; rank < used; rank++) {
        size_t best = experts;
        for (size_t i = 0; i < experts; i++)
            if ((rank == 0 || is_before(run, scores, chosen[rank - 1], i)) &&
                (best == experts || is_before(run, scores, i, best)))
                best = i;
        chosen[rank] = best;
        shares[rank] = number_at(run, scores, best);
    }
    double sum = 0;
    const double largest = shares[0];
    for (size_t rank = 0; rank < used; rank++)
        sum += shares[rank] = exp(shares[rank] - largest);
    for (size_t rank = 0; rank < used; rank++)
        shares[rank] /= sum;
}

/* The rows that chose `expert`, side by side. @return how many */
static size_t gather(struct attn_run *run, const struct attn_stack_run *stack, const struct attn_feed_forward *ffn,
                     size_t expert, const void *in) {
    const size_t hidden = stack->stack->hidden;
    size_t count = 0;
    for (size_t place = 0; place < stack->rows * ffn->experts_used; place++)
        if (stack->at.expert_rows[place] == expert)
            memcpy(attn_run_at(run, stack->at.expert_in, count++, hidden, 0),
                   attn_run_at(run, (void *)in, place / ffn->experts_used, hidden, 0), hidden * run->bytes);
    return count;
}

static void scatter(struct attn_run *run, const struct attn_stack_run *stack, const struct attn_feed_forward *ffn,
                    size_t expert, void *out) {
    const size_t hidden = stack->stack->hidden;
    size_t count = 0;
    for (size_t place = 0; place < stack->rows * ffn->experts_used; place++)
        if (stack->at.expert_rows[place] == expert)
            attn_row_add_scaled(run->dtype, attn_run_at(run, out, place / ffn->experts_used, hidden, 0),
                                stack->at.expert_shares[place],
                                attn_run_at(run, stack->at.expert_in, count++, hidden, 0), hidden);
}

static attn_status run_expert(struct attn_run *run, struct attn_stack_run *stack, const struct attn_feed_forward *ffn,
                              size_t expert, const void *in, void *out) {
    const ptrdiff_t hidden = (ptrdiff_t)stack->stack->hidden, width = (ptrdiff_t)ffn->width;
    const size_t count = gather(run, stack, ffn, expert, in);
    if (count == 0)
        return ATTN_OK;
    struct attn_product_call call = {.weight = ffn->expert_gate[expert],
                                     .rows = count,
                                     .left = stack->at.expert_in,
                                     .left_stride = hidden,
                                     .out = stack->at.expert_gate,
                                     .out_stride = width};
    attn_status status = attn_weight_apply(&call, run->dtype, &run->lanes, run->execution);
    call.weight = ffn->expert_up[expert];
    call.out = stack->at.expert_up;
    if (status == ATTN_OK)
        status = attn_weight_apply(&call, run->dtype, &run->lanes, run->execution);
    if (status != ATTN_OK)
        return status;
    attn_row_clamped_glu(run->dtype, stack->at.expert_gate, stack->at.expert_up, ffn->alpha, ffn->limit,
                         count * ffn->width);
    call = (struct attn_product_call){.weight = ffn->expert_down[expert],
                                      .rows = count,
                                      .left = stack->at.expert_gate,
                                      .left_stride = width,
                                      .out = stack->at.expert_in,
                                      .out_stride = hidden};
    status = attn_weight_apply(&call, run->dtype, &run->lanes, run->execution);
    if (status == ATTN_OK)
        scatter(run, stack, ffn, expert, out);
    return status;
}

attn_status attn_run_experts(struct attn_run *run, struct attn_stack_run *stack, const struct attn_feed_forward *ffn,
                             const void *in, void *out) {
    const size_t hidden = stack->stack->hidden;
    const struct attn_product_call call = {.weight = ffn->router,
                                           .rows = stack->rows,
                                           .left = in,
                                           .left_stride = (ptrdiff_t)hidden,
                                           .out = stack->at.router,
                                           .out_stride = (ptrdiff_t)ffn->experts};
    attn_status status = attn_weight_apply(&call, run->dtype, &run->lanes, run->execution);
    if (status != ATTN_OK)
        return status;
    for (size_t row = 0; row < stack->rows; row++)
        choose(run, attn_run_at(run, stack->at.router, row, ffn->experts, 0), ffn->experts, ffn->experts_used,
               stack->at.expert_rows + row * ffn->experts_used, stack->at.expert_shares + row * ffn->experts_used);
    memset(stack->at.expert_out, 0, stack->rows * hidden * run->bytes);
    for (size_t expert = 0; expert < ffn->experts && status == ATTN_OK; expert++)
        status = run_expert(run, stack, ffn, expert, in, stack->at.expert_out);
    if (status == ATTN_OK)
        memcpy(out, stack->at.expert_out, stack->rows * hidden * run->bytes);
    return status;
}
