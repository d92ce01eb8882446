/* What someone who takes the library alone writes; tests/library/test_install builds it against an installed copy. */
#include <attn/attn.h>
#include <stdio.h>

int main(void) {
    float x[] = {1, 0, 0, 1};
    struct attn_inputs inputs = {.query = attn_view_contiguous(x, ATTN_FLOAT32, 2, (size_t[]){2, 2}),
                                 .options = ATTN_SDPA_DEFAULTS};
    struct attn_want want = ATTN_WANT_DEFAULTS;
    struct attn_plan *plan = NULL;
    struct attn_result *result = NULL;
    struct attn_error error = {0};
    if (attn_plan_create(&plan, &inputs, &want, &error) || attn_plan_run(plan, NULL, &result, &error)) {
        return fprintf(stderr, "%s: %s\n", error.field, error.message), 1;
    }
    const float *average = attn_result_find(result, ATTN_GROUP_WEIGHTS, "average")->values.data;
    printf("%.4f %.4f\n%.4f %.4f\n", (double)average[0], (double)average[1], (double)average[2], (double)average[3]);
    attn_result_destroy(result);
    attn_plan_destroy(plan);
    return 0;
}
