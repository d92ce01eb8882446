/* What is wanted back: checked against what there is, and resolved to collections. */
#include "lib/aggregate/lane.h"
#include "lib/aggregate/tables.h"
#include "lib/plan/plan.h"
#include "lib/tensor/error.h"
#include "lib/tensor/shape.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const unsigned ACROSS_LAYERS = ATTN_BIT(ATTN_FORM_ROLLOUT) | ATTN_BIT(ATTN_FORM_FLOW);

static attn_status check_form(unsigned form, const struct attn_want *want, const struct attn_want_facts *facts,
                              struct attn_error *error) {
    const struct attn_form_info *info = &attn_forms[form];
    if ((info->needs & ATTN_NEEDS_SOFTMAX) != 0 && want->stage != ATTN_STAGE_SOFTMAX)
        return attn_fail(error, ATTN_ECONFLICT, "weights_stage", "%s is of the softmax weights, found stage %s",
                         info->name, attn_stage_name(want->stage));
    if ((info->needs & ATTN_NEEDS_VALUES) != 0 && !facts->has_values)
        return attn_fail(error, ATTN_ECONFLICT, "weights", "%s needs values, and given weights come without",
                         info->name);
    if ((info->needs & ATTN_NEEDS_OUT_WEIGHT) != 0 && !facts->has_out_weight)
        return attn_fail(error, ATTN_ECONFLICT, "weights", "%s needs an output projection", info->name);
    if ((info->needs & ATTN_NEEDS_DENSE) != 0 && want->top_k > 0)
        return attn_fail(error, ATTN_ECONFLICT, "top_k", "top_k does not go with %s", info->name);
    if ((info->needs & ATTN_NEEDS_SQUARE) != 0 && facts->query_length != facts->columns)
        return attn_fail(error, ATTN_ESHAPE, "weights", "%s needs as many keys as queries, %zu, found %zu", info->name,
                         facts->query_length, facts->columns);
    return ATTN_OK;
}

static attn_status check_forms(const struct attn_want *want, const struct attn_want_facts *facts,
                               struct attn_error *error) {
    if (want->forms >> ATTN_FORM_COUNT != 0)
        return attn_fail(error, ATTN_ERANGE, "weights", "expected forms of the weights, found an unknown one");
    if ((unsigned)want->stage >= ATTN_STAGE_COUNT)
        return attn_fail(error, ATTN_ERANGE, "weights_stage", "expected a stage, found %d", (int)want->stage);
    if ((unsigned)want->fusion >= ATTN_FUSION_COUNT)
        return attn_fail(error, ATTN_ERANGE, "rollout/head_fusion", "expected a fusion, found %d", (int)want->fusion);
    for (unsigned form = 0; form < ATTN_FORM_COUNT; form++) {
        attn_status status = attn_has(want->forms, form) ? check_form(form, want, facts, error) : ATTN_OK;
        if (status != ATTN_OK)
            return status;
    }
    return ATTN_OK;
}

static attn_status check_analyses(const struct attn_want *want, const struct attn_want_facts *facts,
                                  struct attn_error *error) {
    if (want->analyses >> ATTN_ANALYSIS_COUNT != 0)
        return attn_fail(error, ATTN_ERANGE, "analyses", "expected analyses, found an unknown one");
    if (want->analyses != 0 && want->stage != ATTN_STAGE_SOFTMAX)
        return attn_fail(error, ATTN_ECONFLICT, "weights_stage", "analyses are of the softmax weights, found stage %s",
                         attn_stage_name(want->stage));
    for (unsigned analysis = 0; analysis < ATTN_ANALYSIS_COUNT; analysis++)
        if (attn_has(want->analyses, analysis) && (attn_analyses[analysis].needs & ATTN_NEEDS_TOKENS) != 0 &&
            !facts->has_tokens)
            return attn_fail(error, ATTN_ECONFLICT, "analyses", "%s needs tokens", attn_analyses[analysis].name);
    return ATTN_OK;
}

enum { WHERE_TEXT = 48 };

/* " in the decoder stack" where a model has several: what fits one of them may not fit another. */
static const char *where(const struct attn_want_facts *facts, char text[WHERE_TEXT]) {
    text[0] = '\0';
    if (facts->stack != NULL)
        snprintf(text, WHERE_TEXT, " in the %s stack", facts->stack);
    return text;
}

static attn_status check_range(const size_t range[2], size_t length, const struct attn_want_facts *facts,
                               const char *field, struct attn_error *error) {
    char text[WHERE_TEXT];
    if (range[0] < range[1] && range[1] <= length)
        return ATTN_OK;
    return attn_fail(error, ATTN_ERANGE, field, "expected 0 <= start < end <= %zu%s, found [%zu, %zu]", length,
                     where(facts, text), range[0], range[1]);
}

static attn_status check_ranges(const struct attn_want *want, const struct attn_want_facts *facts,
                                struct attn_error *error) {
    attn_status status = ATTN_OK;
    if (want->has_query_range)
        status = check_range(want->query_range, facts->query_length, facts, "query_range", error);
    if (status == ATTN_OK && want->has_key_range)
        status = check_range(want->key_range, facts->columns, facts, "key_range", error);
    return status;
}

static attn_status check_selection(const struct attn_want *want, const struct attn_want_facts *facts,
                                   struct attn_error *error) {
    if (facts->layers == 0 && want->layers != NULL)
        return attn_fail(error, ATTN_ECONFLICT, "layers", "there is no layers axis to choose from");
    if (facts->layers == 0 && want->pairs != NULL)
        return attn_fail(error, ATTN_ECONFLICT, "pairs", "there is no layers axis to choose from");
    if (want->pairs != NULL && (want->layers != NULL || want->heads != NULL))
        return attn_fail(error, ATTN_ECONFLICT, "pairs", "pairs stand in place of layers and heads");
    return ATTN_OK;
}

static attn_status resolve_index(long long index, size_t length, const struct attn_want_facts *facts, const char *field,
                                 size_t *resolved, struct attn_error *error) {
    char text[WHERE_TEXT];
    long long count = (long long)length;
    if (index < -count || index >= count)
        return attn_fail(error, ATTN_ERANGE, field, "expected an integer from %lld to %lld%s, found %lld", -count,
                         count - 1, where(facts, text), index);
    *resolved = (size_t)(index < 0 ? index + count : index);
    return ATTN_OK;
}

/*
 * Resolves a list of indices, NULL being all. Behind `chosen` (length) stand `length` positions, which receive each
 * index' place in the list. Every entry is read once, and there are no more entries than indices, since repeats are
 * refused.
 */
static attn_status resolve_list(const long long *list, size_t count, size_t length, const struct attn_want_facts *facts,
                                const char *name, size_t *chosen, size_t *chosen_count, struct attn_error *error) {
    size_t *positions = chosen + length;
    char field[64];
    for (size_t i = 0; i < length; i++)
        positions[i] = list == NULL ? i : ATTN_NOT_CHOSEN;
    for (size_t i = 0; i < length && list == NULL; i++)
        chosen[i] = i;
    *chosen_count = list == NULL ? length : count;
    if (list == NULL)
        return ATTN_OK;
    if (count == 0)
        return attn_fail(error, ATTN_ERANGE, name, "expected at least one entry, found none");
    for (size_t i = 0; i < count; i++) {
        size_t index = 0;
        snprintf(field, sizeof field, "%s/%zu", name, i);
        attn_status status = resolve_index(list[i], length, facts, field, &index, error);
        if (status != ATTN_OK)
            return status;
        if (positions[index] != ATTN_NOT_CHOSEN)
            return attn_fail(error, ATTN_ERANGE, field, "expected no repeats, found %lld again", list[i]);
        positions[index] = i;
        chosen[i] = index;
    }
    return ATTN_OK;
}

static attn_status check_head_weights(struct attn_wishes *wishes, const struct attn_want *want, size_t chosen,
                                      struct attn_error *error) {
    if (!attn_has(want->forms, ATTN_FORM_HEAD_WEIGHTED)) {
        if (want->head_weights == NULL)
            return ATTN_OK;
        return attn_fail(error, ATTN_ECONFLICT, "head_weights", "head_weights goes with the form head_weighted only");
    }
    if (want->head_weights == NULL)
        return attn_fail(error, ATTN_ECONFLICT, "head_weights", "head_weighted needs a number for each of %zu heads",
                         chosen);
    if (want->head_weights_count != chosen)
        return attn_fail(error, ATTN_ESHAPE, "head_weights", "expected a number for each of %zu heads, found %zu",
                         chosen, want->head_weights_count);
    double sum = 0;
    for (size_t i = 0; i < chosen; i++)
        sum += want->head_weights[i];
    if (!isfinite(sum) || sum == 0)
        return attn_fail(error, ATTN_ERANGE, "head_weights", "expected finite numbers of a sum other than 0");
    wishes->head_weights = malloc(chosen * sizeof(double));
    if (wishes->head_weights == NULL)
        return attn_fail(error, ATTN_ENOMEM, "", "out of memory");
    for (size_t i = 0; i < chosen; i++)
        wishes->head_weights[i] = want->head_weights[i] / sum;
    return ATTN_OK;
}

static attn_status check_components(const struct attn_want *want, const struct attn_want_facts *facts, size_t chosen,
                                    struct attn_error *error) {
    size_t cells, most = chosen;
    if (!attn_has(want->forms, ATTN_FORM_PCA))
        return ATTN_OK;
    if (chosen > ATTN_PCA_MOST_HEADS)
        return attn_fail(error, ATTN_ELIMIT, "weights", "expected at most %d heads for pca, found %zu",
                         ATTN_PCA_MOST_HEADS, chosen);
    if (attn_size_multiply(facts->query_length, facts->columns, &cells) && cells < most)
        most = cells;
    if (want->components >= 1 && want->components <= most)
        return ATTN_OK;
    return attn_fail(error, ATTN_ERANGE, "components",
                     "expected 1 to %zu components (the lesser of heads and cells), found %zu", most, want->components);
}

static struct attn_collect collect_of(const struct attn_want *want, const struct attn_want_facts *facts) {
    struct attn_collect collect = {
        .dtype = facts->dtype,
        .batch = facts->batch,
        .heads = facts->heads,
        .query_length = facts->query_length,
        .columns = facts->columns,
        .key_length = facts->key_length,
        .stage = want->stage,
        .forms = want->forms,
        .analyses = want->analyses,
        .query_begin = want->has_query_range ? want->query_range[0] : 0,
        .query_end = want->has_query_range ? want->query_range[1] : facts->query_length,
        .key_begin = want->has_key_range ? want->key_range[0] : 0,
        .key_end = want->has_key_range ? want->key_range[1] : facts->columns,
        .components = want->components,
        .fusion = want->fusion,
        .stack = facts->stack_label,
        .layer = -1,
        .head = -1,
    };
    size_t keys = collect.key_end - collect.key_begin;
    collect.top_k = want->top_k < keys ? want->top_k : keys;
    return collect;
}

static void set_heads(struct attn_collect *collect, const size_t *chosen, const size_t *positions, size_t count) {
    collect->chosen = chosen;
    collect->positions = positions;
    collect->chosen_count = count;
    collect->first_head = ATTN_NOT_CHOSEN;
    collect->last_head = 0;
    for (size_t i = 0; i < count; i++) {
        collect->first_head = chosen[i] < collect->first_head ? chosen[i] : collect->first_head;
        collect->last_head = chosen[i] > collect->last_head ? chosen[i] : collect->last_head;
    }
}

/* Lists for heads and layers (chosen and positions), then for pairs: a head each, and one list of positions for all. */
static size_t *allocate_lists(size_t heads, size_t layers, size_t pairs) {
    size_t count;
    if (__builtin_add_overflow(4 * heads + 2 * layers, pairs, &count))
        return NULL;
    return calloc(count, sizeof(size_t));
}

static attn_status take_pair(const struct attn_want *want, const struct attn_want_facts *facts, size_t i,
                             bool *is_taken, size_t *layer, size_t *head, struct attn_error *error) {
    char field[64];
    snprintf(field, sizeof field, "pairs/%zu/0", i);
    attn_status status = resolve_index(want->pairs[i][0], facts->layers, facts, field, layer, error);
    if (status != ATTN_OK)
        return status;
    snprintf(field, sizeof field, "pairs/%zu/1", i);
    status = resolve_index(want->pairs[i][1], facts->heads, facts, field, head, error);
    if (status != ATTN_OK)
        return status;
    bool *own = &is_taken[*layer * facts->heads + *head];
    snprintf(field, sizeof field, "pairs/%zu", i);
    if (*own)
        return attn_fail(error, ATTN_ERANGE, field, "expected no repeats, found layer %zu, head %zu again", *layer,
                         *head);
    *own = true;
    return ATTN_OK;
}

/*
 * `centred` (2H - 1) says "not chosen" but in its middle: read from the right place on it is any one head's list of
 * positions.
 */
static attn_status take_pairs(struct attn_wishes *wishes, const struct attn_want *want,
                              const struct attn_want_facts *facts, struct attn_collect base, size_t *lists,
                              struct attn_error *error) {
    size_t *heads = lists, *centred = lists + want->pairs_count, layer = 0;
    bool *is_taken = calloc(facts->layers * facts->heads, sizeof *is_taken);
    if (is_taken == NULL)
        return attn_fail(error, ATTN_ENOMEM, "", "out of memory");
    attn_status status = ATTN_OK;
    for (size_t i = 0; i < 2 * facts->heads - 1; i++)
        centred[i] = i == facts->heads - 1 ? 0 : ATTN_NOT_CHOSEN;
    for (size_t i = 0; i < want->pairs_count && status == ATTN_OK; i++) {
        status = take_pair(want, facts, i, is_taken, &layer, &heads[i], error);
        if (status != ATTN_OK)
            break;
        struct attn_collect *collect = &wishes->collects[i];
        *collect = base;
        collect->layer = (int)layer;
        collect->head = (int)heads[i];
        set_heads(collect, &heads[i], centred + (facts->heads - 1 - heads[i]), 1);
    }
    free(is_taken);
    return status;
}

static attn_status check_pairs_count(const struct attn_want *want, const struct attn_want_facts *facts,
                                     struct attn_error *error) {
    if (want->pairs == NULL)
        return ATTN_OK;
    if (want->pairs_count == 0)
        return attn_fail(error, ATTN_ERANGE, "pairs", "expected at least one entry, found none");
    if (want->pairs_count > facts->layers * facts->heads)
        return attn_fail(error, ATTN_ERANGE, "pairs", "expected no repeats, found %zu pairs of %zu layers by %zu heads",
                         want->pairs_count, facts->layers, facts->heads);
    return ATTN_OK;
}

static attn_status take_collects(struct attn_wishes *wishes, const struct attn_want *want,
                                 const struct attn_want_facts *facts, struct attn_error *error) {
    struct attn_collect base = collect_of(want, facts);
    bool has_pairs = want->pairs != NULL;
    size_t *heads = wishes->head_lists, *positions = heads + facts->heads, *layers = positions + facts->heads;
    size_t chosen = 0, layer_count = 1;
    attn_status status =
        resolve_list(want->heads, want->heads_count, facts->heads, facts, "heads", heads, &chosen, error);
    if (status == ATTN_OK && facts->layers > 0)
        status =
            resolve_list(want->layers, want->layers_count, facts->layers, facts, "layers", layers, &layer_count, error);
    size_t width = has_pairs ? 1 : chosen;
    if (status != ATTN_OK || (status = check_head_weights(wishes, want, width, error)) != ATTN_OK ||
        (status = check_components(want, facts, width, error)) != ATTN_OK)
        return status;
    base.head_weights = wishes->head_weights;
    set_heads(&base, heads, positions, chosen);
    wishes->across_layers = base;
    wishes->has_across_layers = facts->layers > 0 && (base.forms & ACROSS_LAYERS) != 0;
    if (facts->layers > 0)
        base.forms &= ~ACROSS_LAYERS;
    wishes->collect_count = has_pairs ? want->pairs_count : layer_count;
    wishes->collects = calloc(wishes->collect_count, sizeof *wishes->collects);
    if (wishes->collects == NULL)
        return attn_fail(error, ATTN_ENOMEM, "", "out of memory");
    if (has_pairs)
        return take_pairs(wishes, want, facts, base, layers + 2 * facts->layers, error);
    for (size_t i = 0; i < layer_count; i++) {
        wishes->collects[i] = base;
        wishes->collects[i].layer = facts->layers > 0 ? (int)layers[i] : -1;
    }
    return ATTN_OK;
}

attn_status attn_wishes_take(struct attn_wishes *wishes, const struct attn_want *want,
                             const struct attn_want_facts *facts, struct attn_error *error) {
    attn_status status;
    if (want->internals >> ATTN_INTERNAL_COUNT != 0)
        return attn_fail(error, ATTN_ERANGE, "internals", "expected internals, found an unknown one");
    if ((status = check_selection(want, facts, error)) != ATTN_OK ||
        (status = check_forms(want, facts, error)) != ATTN_OK ||
        (status = check_analyses(want, facts, error)) != ATTN_OK ||
        (status = check_ranges(want, facts, error)) != ATTN_OK ||
        (status = check_pairs_count(want, facts, error)) != ATTN_OK)
        return status;
    wishes->head_lists = allocate_lists(facts->heads, facts->layers, want->pairs != NULL ? want->pairs_count : 0);
    if (wishes->head_lists == NULL)
        return attn_fail(error, ATTN_ENOMEM, "", "out of memory");
    wishes->layer_count = facts->layers > 0 ? facts->layers : 1;
    wishes->at_once = 1;
    status = take_collects(wishes, want, facts, error);
    wishes->across_layers.forms &= ACROSS_LAYERS;
    wishes->across_layers.analyses = 0;
    return status;
}

void attn_wishes_reset(struct attn_wishes *wishes) {
    free(wishes->collects);
    free(wishes->head_lists);
    free(wishes->head_weights);
    *wishes = (struct attn_wishes){0};
}
