/* What is legal and probably a mistake. */
#include "lib/plan/plan.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

void attn_warn(struct attn_result *result, const char *field, const char *format, ...) {
    if (result->warning_count == ATTN_MAX_WARNINGS)
        return;
    struct attn_warning *warning = &result->warnings[result->warning_count++];
    snprintf(warning->field, sizeof warning->field, "%s", field);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(warning->detail, sizeof warning->detail, format, arguments);
    va_end(arguments);
}

static long long least_offset(const struct attn_plan *plan) {
    long long least = 0;
    for (size_t item = 0; item < plan->sizes.batch; item++) {
        long long offset =
            attn_sdpa_offset(&plan->inputs.options, item, plan->sizes.query_length, plan->sizes.key_length);
        least = item == 0 || offset < least ? offset : least;
    }
    return least;
}

void attn_plan_warn_of_options(const struct attn_plan *plan, struct attn_result *result) {
    const struct attn_sdpa_options *options = &plan->inputs.options;
    const struct attn_view *mask = &options->attn_mask;
    long long offset = options->is_causal ? least_offset(plan) : 0;
    if (offset < 0)
        attn_warn(result, "is_causal", "the causal offset is %lld: the first queries stand before every key", offset);
    if (mask->data != NULL && mask->rank == 2 && plan->sizes.batch > 1 && mask->shape[0] == plan->sizes.batch &&
        plan->sizes.batch == plan->sizes.query_length)
        attn_warn(result, "attn_mask",
                  "a mask of shape (%zu, %zu) is read as (L, T) here; one of shape (N, T) is key_padding_mask",
                  mask->shape[0], mask->shape[1]);
}

/* The fields that can leave a row with nothing to attend to, the likeliest first. */
static const char *emptying_field(const struct attn_plan *plan) {
    const struct attn_sdpa_options *options = &plan->inputs.options;
    if (options->attn_mask.data != NULL)
        return "attn_mask";
    if (options->key_padding_mask.data != NULL)
        return "key_padding_mask";
    if (options->key_lengths.data != NULL)
        return "key_lengths";
    if (options->segment_ids.data != NULL)
        return "segment_ids";
    if (options->window_left != ATTN_UNBOUNDED || options->window_right != ATTN_UNBOUNDED)
        return "window";
    if (options->is_causal && least_offset(plan) < 0)
        return "is_causal";
    return NULL;
}

bool attn_plan_may_leave_rows_empty(const struct attn_plan *plan) {
    return plan->sizes.tail == 0 && emptying_field(plan) != NULL;
}

static bool is_empty(const struct attn_plan *plan, const void *logsumexp, size_t at) {
    double value =
        plan->dtype == ATTN_FLOAT64 ? ((const double *)logsumexp)[at] : (double)((const float *)logsumexp)[at];
    return isinf(value) && value < 0;
}

void attn_plan_warn_of_rows(const struct attn_plan *plan, const void *logsumexp, struct attn_result *result) {
    size_t heads = plan->sizes.heads, queries = plan->sizes.query_length, count = 0;
    for (size_t item = 0; item < plan->sizes.batch; item++)
        for (size_t query = 0; query < queries; query++) {
            bool found = false;
            for (size_t head = 0; head < heads && !found; head++)
                found = is_empty(plan, logsumexp, (item * heads + head) * queries + query);
            count += found;
        }
    if (count > 0)
        attn_warn(result, emptying_field(plan), "%zu query row%s to nothing", count,
                  count == 1 ? " attends" : "s attend");
}
