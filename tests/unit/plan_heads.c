/** A choice of heads: the others are not computed where nobody reads them, and the chosen ones are as they always are.
 */
#include <attn/attn.h>

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { N = 2, H = 8, KV = 4, L = 5, T = 7, D = 4 };

static void fill(float *numbers, size_t count, unsigned seed) {
    for (size_t i = 0; i < count; i++)
        numbers[i] = (float)(((i + seed) * 2654435761U) % 1000U) / 500.0F - 1.0F;
}

static struct attn_result *run(const struct attn_inputs *inputs, const struct attn_want *want) {
    struct attn_plan *plan;
    struct attn_result *result;
    struct attn_error error = {0};
    ck_assert_msg(attn_plan_create(&plan, inputs, want, &error) == ATTN_OK, "%s: %s", error.field, error.message);
    ck_assert_msg(attn_plan_run(plan, NULL, &result, &error) == ATTN_OK, "%s: %s", error.field, error.message);
    attn_plan_destroy(plan);
    return result;
}

/* Everything of which heads have their own: key heads, masks, slopes, sinks. */
static float query[N * H * L * D], key[N * KV * T * D], value[N * KV * T * D], mask[N * H * L * T], slopes[H], sinks[H];

static struct attn_inputs inputs_of_all_kinds(void) {
    struct attn_inputs inputs = {.options = ATTN_SDPA_DEFAULTS};
    fill(query, N * H * L * D, 1);
    fill(key, N * KV * T * D, 2);
    fill(value, N * KV * T * D, 3);
    fill(mask, N * H * L * T, 4);
    fill(slopes, H, 5);
    fill(sinks, H, 6);
    mask[3] = mask[(H + 3) * L * T] = -INFINITY;
    inputs.query = attn_view_contiguous(query, ATTN_FLOAT32, 4, (size_t[]){N, H, L, D});
    inputs.key = attn_view_contiguous(key, ATTN_FLOAT32, 4, (size_t[]){N, KV, T, D});
    inputs.value = attn_view_contiguous(value, ATTN_FLOAT32, 4, (size_t[]){N, KV, T, D});
    inputs.options.attn_mask = attn_view_contiguous(mask, ATTN_FLOAT32, 4, (size_t[]){N, H, L, T});
    inputs.options.alibi_slopes = attn_view_contiguous(slopes, ATTN_FLOAT32, 1, (size_t[]){H});
    inputs.options.sinks = attn_view_contiguous(sinks, ATTN_FLOAT32, 1, (size_t[]){H});
    return inputs;
}

static const float *values_of(const struct attn_result *result, attn_group group, const char *name) {
    const struct attn_result_tensor *tensor = attn_result_find(result, group, name);
    ck_assert_ptr_nonnull(tensor);
    return tensor->values.data;
}

/* The chosen heads without the output against those heads of all. */
static void check_heads(const struct attn_inputs *inputs, const long long *heads, size_t count) {
    struct attn_want want = ATTN_WANT_DEFAULTS;
    want.forms = ATTN_BIT(ATTN_FORM_PER_HEAD) | ATTN_BIT(ATTN_FORM_VALUE_NORM);
    want.analyses = ATTN_BIT(ATTN_ANALYSIS_ENTROPY);
    struct attn_result *all = run(inputs, &want);
    want.output = false;
    want.heads = heads;
    want.heads_count = count;
    struct attn_result *some = run(inputs, &want);
    static const struct {
        attn_group group;
        const char *name;
        size_t cells;
    } tensors[] = {{ATTN_GROUP_WEIGHTS, "per_head", L * T}, {ATTN_GROUP_WEIGHTS, "value_norm", L * T}};
    for (size_t t = 0; t < sizeof tensors / sizeof *tensors; t++) {
        const float *of_all = values_of(all, tensors[t].group, tensors[t].name);
        const float *of_some = values_of(some, tensors[t].group, tensors[t].name);
        const size_t cells = tensors[t].cells;
        for (size_t n = 0; n < N; n++)
            for (size_t i = 0; i < count; i++)
                for (size_t cell = 0; cell < cells; cell++) {
                    const float wanted = of_all[(n * H + (size_t)heads[i]) * cells + cell];
                    const float found = of_some[(n * count + i) * cells + cell];
                    ck_assert_msg(fabsf(found - wanted) < 1e-6F, "%s of item %zu, head %lld: %g, not %g",
                                  tensors[t].name, n, heads[i], (double)found, (double)wanted);
                }
    }
    attn_result_destroy(all);
    attn_result_destroy(some);
}

START_TEST(chosen_heads_are_those_of_all) {
    static const struct {
        size_t count;
        long long heads[3];
    } choices[] = {{1, {0}}, {1, {3}}, {1, {7}}, {2, {5, 4}}, {2, {3, 4}}, {3, {6, 1, 2}}, {2, {0, 7}}};
    const struct attn_inputs inputs = inputs_of_all_kinds();
    check_heads(&inputs, choices[_i].heads, choices[_i].count);
}
END_TEST

START_TEST(masks_with_any_axes_go_with_chosen_heads) {
    static const long long heads[] = {3, 4};
    struct attn_inputs inputs = inputs_of_all_kinds();
    const size_t shapes[][4] = {{L, T}, {N * H, L, T}, {1, H, 1, T}, {N, 1, L, T}, {H, 1, T}};
    const int ranks[] = {2, 3, 4, 4, 3};
    inputs.options.attn_mask = attn_view_contiguous(mask, ATTN_FLOAT32, ranks[_i], shapes[_i]);
    check_heads(&inputs, heads, 2);
}
END_TEST

/* Each head's numbers begin a page of their own; only those of one can be read. */
START_TEST(heads_that_nobody_reads_are_not_computed) {
    enum { HEADS = 3, ONE = 1 };
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, HEADS * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(pages, MAP_FAILED);
    for (size_t head = 0; head < HEADS; head++)
        fill((float *)(void *)(pages + head * page), L * D, (unsigned)head);
    struct attn_inputs inputs = {.options = ATTN_SDPA_DEFAULTS};
    inputs.query = attn_view_contiguous(pages, ATTN_FLOAT32, 4, (size_t[]){1, HEADS, L, D});
    inputs.query.stride[1] = (ptrdiff_t)(page / sizeof(float));
    inputs.query.stride[0] = HEADS * inputs.query.stride[1];
    static const long long heads[] = {ONE};
    struct attn_want want = ATTN_WANT_DEFAULTS;
    want.output = false;
    want.heads = heads;
    want.heads_count = 1;
    ck_assert_int_eq(mprotect(pages, ONE * page, PROT_NONE), 0);
    ck_assert_int_eq(mprotect(pages + (ONE + 1) * page, (HEADS - ONE - 1) * page, PROT_NONE), 0);
    struct attn_result *result = run(&inputs, &want);
    ck_assert_float_gt(values_of(result, ATTN_GROUP_WEIGHTS, "average")[0], 0);
    attn_result_destroy(result);
    munmap(pages, HEADS * page);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("plan_heads");
    TCase *cases = tcase_create("heads");
    tcase_add_loop_test(cases, chosen_heads_are_those_of_all, 0, 7);
    tcase_add_loop_test(cases, masks_with_any_axes_go_with_chosen_heads, 0, 5);
    tcase_add_test(cases, heads_that_nobody_reads_are_not_computed);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
