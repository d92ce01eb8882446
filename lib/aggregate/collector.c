#include "lib/aggregate/collector.h"
#include "lib/aggregate/lane.h"
#include "lib/aggregate/layers.h"
#include "lib/aggregate/tables.h"
#include "lib/tensor/error.h"
#include "lib/tensor/shape.h"

#include <stdlib.h>
#include <string.h>

static const unsigned ACROSS_LAYERS = ATTN_BIT(ATTN_FORM_ROLLOUT) | ATTN_BIT(ATTN_FORM_FLOW);

static int item_shape(const struct attn_collect *collect, enum attn_item_shape shape, bool is_form, size_t *to) {
    size_t queries = is_form ? collect->query_end - collect->query_begin : collect->query_length;
    size_t keys = is_form ? collect->key_end - collect->key_begin : collect->columns;
    if (is_form && collect->top_k > 0)
        keys = collect->top_k;
    const struct {
        int rank;
        size_t axes[3];
    } shapes[] = {
        [ATTN_ITEM_LT] = {2, {queries, keys, 0}},
        [ATTN_ITEM_HLT] = {3, {collect->chosen_count, queries, keys}},
        [ATTN_ITEM_LTH] = {3, {queries, keys, collect->chosen_count}},
        [ATTN_ITEM_LT_COMPONENTS] = {3, {queries, keys, collect->components}},
        [ATTN_ITEM_LL] = {2, {queries, keys, 0}},
        [ATTN_ITEM_H] = {1, {collect->chosen_count, 0, 0}},
        [ATTN_ITEM_HL] = {2, {collect->chosen_count, queries, 0}},
        [ATTN_ITEM_HT] = {2, {collect->chosen_count, keys, 0}},
        [ATTN_ITEM_HH] = {2, {collect->chosen_count, collect->chosen_count, 0}},
    };
    to[0] = collect->batch;
    memcpy(to + 1, shapes[shape].axes, sizeof shapes[shape].axes);
    return shapes[shape].rank + 1;
}

static struct attn_tensor_spec *add_spec(const struct attn_collect *collect, struct attn_tensor_spec *spec,
                                         attn_group group, const char *name, const char *field) {
    *spec = (struct attn_tensor_spec){.group = group,
                                      .dtype = collect->dtype,
                                      .name = name,
                                      .field = field,
                                      .stack = collect->stack,
                                      .layer = collect->layer,
                                      .head = collect->head};
    return spec;
}

static size_t add_pca_specs(const struct attn_collect *collect, struct attn_tensor_spec *specs) {
    struct attn_tensor_spec *loadings = add_spec(collect, &specs[0], ATTN_GROUP_EXTRA, "pca_loadings", "weights");
    loadings->rank = 3;
    memcpy(loadings->shape, (size_t[4]){collect->batch, collect->components, collect->chosen_count, 0},
           sizeof loadings->shape);
    struct attn_tensor_spec *ratio =
        add_spec(collect, &specs[1], ATTN_GROUP_EXTRA, "explained_variance_ratio", "weights");
    ratio->rank = 2;
    memcpy(ratio->shape, (size_t[4]){collect->batch, collect->components, 0, 0}, sizeof ratio->shape);
    return 2;
}

size_t attn_collect_specs(const struct attn_collect *collect, struct attn_tensor_spec *specs) {
    size_t count = 0;
    for (unsigned form = 0; form < ATTN_FORM_COUNT; form++) {
        if (!attn_has(collect->forms, form))
            continue;
        struct attn_tensor_spec *spec =
            add_spec(collect, &specs[count++], ATTN_GROUP_WEIGHTS, attn_forms[form].name, "weights");
        spec->rank = item_shape(collect, attn_forms[form].shape, true, spec->shape);
        spec->has_indices = collect->top_k > 0;
        if (attn_has(ACROSS_LAYERS, form))
            spec->layer = -1;
    }
    for (unsigned analysis = 0; analysis < ATTN_ANALYSIS_COUNT; analysis++) {
        if (!attn_has(collect->analyses, analysis))
            continue;
        struct attn_tensor_spec *spec =
            add_spec(collect, &specs[count++], ATTN_GROUP_ANALYSIS, attn_analyses[analysis].name, "analyses");
        spec->rank = item_shape(collect, attn_analyses[analysis].shape, false, spec->shape);
    }
    if (attn_has(collect->forms, ATTN_FORM_PCA))
        count += add_pca_specs(collect, specs + count);
    return count;
}

static bool fused_elements(const struct attn_collect *collect, size_t *elements) {
    return attn_size_product((size_t[]){collect->batch, collect->query_length, collect->columns}, 3, elements);
}

static bool cell_elements(const struct attn_collect *collect, size_t *elements) {
    return attn_size_product((size_t[]){collect->batch, collect->chosen_count, collect->query_length, collect->columns},
                             4, elements);
}

bool attn_collect_held(const struct attn_collect *collect, size_t *elements) {
    *elements = 0;
    if (attn_has(collect->forms, ATTN_FORM_PCA))
        return cell_elements(collect, elements);
    return (collect->forms & ACROSS_LAYERS) == 0 || fused_elements(collect, elements);
}

/* Which forms are matrices fused over heads, and how. */
static const struct {
    attn_form form;
    attn_fusion fusion;
} fused_forms[] = {
    {ATTN_FORM_AVERAGE, ATTN_FUSION_MEAN},
    {ATTN_FORM_MAX, ATTN_FUSION_MAX},
    {ATTN_FORM_MIN, ATTN_FUSION_MIN},
    {ATTN_FORM_HEAD_WEIGHTED, ATTN_FUSION_MEAN},
};

/* The most rows that a block of some megabytes of scores has (attn_sdpa_plan_blocks, given.c). */
static size_t most_block_rows(const struct attn_collect *collect) {
    const size_t whole = ((size_t)1 << 20) / (collect->columns * attn_dtype_bytes(collect->dtype));
    const size_t rows = whole > 8 ? whole : 8;
    return rows < collect->query_length ? rows : collect->query_length;
}

/* Bytes of rows that a lane keeps: of every chosen head, or of matrices fused before their top k are taken. */
static size_t held_bytes(const struct attn_collect *collect) {
    size_t row = collect->columns * attn_dtype_bytes(collect->dtype), rows = most_block_rows(collect), kept = 0, bytes;
    if (attn_has(collect->analyses, ATTN_ANALYSIS_HEAD_DISTANCE))
        kept += collect->chosen_count;
    for (size_t i = 0; i < sizeof fused_forms / sizeof *fused_forms && collect->top_k > 0; i++)
        kept += attn_has(collect->forms, fused_forms[i].form) ? 1 : 0;
    if (!attn_size_product((size_t[]){kept, rows, row}, 3, &bytes))
        return SIZE_MAX / 4;
    return bytes + (attn_has(collect->forms, ATTN_FORM_CONCAT) ? collect->chosen_count * row : 0);
}

void attn_collect_memory(const struct attn_collect *collect, size_t layer_count, size_t *bytes,
                         size_t *bytes_per_lane) {
    size_t element = attn_dtype_bytes(collect->dtype), fused = 0, layers = 0, cells = 0;
    *bytes_per_lane = held_bytes(collect) + (collect->analyses != 0 ? attn_analyses_bytes(collect) : 0);
    if ((collect->forms & ACROSS_LAYERS) != 0 && fused_elements(collect, &fused) &&
        attn_layers_bytes(collect, layer_count, &layers))
        fused *= element;
    if (attn_has(collect->forms, ATTN_FORM_FLOW)) /* a lane's graph: two numbers and two notes an edge, and its sets */
        *bytes_per_lane +=
            layer_count * collect->query_length * collect->columns * (2 * sizeof(double) + sizeof(size_t) + 2);
    if (attn_has(collect->forms, ATTN_FORM_PCA) && cell_elements(collect, &cells))
        cells = cells * element +
                (collect->chosen_count * (collect->columns + collect->chosen_count + 36) + collect->columns) *
                    sizeof(double);
    *bytes = fused + layers + cells;
}

void attn_collector_fail(struct attn_collector *collector, attn_status status) {
    int none = ATTN_OK;
    atomic_compare_exchange_strong(&collector->failure, &none, (int)status);
}

bool attn_buffer_reserve(struct attn_collector *collector, struct attn_buffer *buffer, size_t count, size_t rows,
                         size_t columns, size_t element_bytes) {
    size_t bytes;
    if (attn_size_product((size_t[]){count, rows, columns, element_bytes}, 4, &bytes) && bytes <= buffer->bytes)
        return true;
    free(buffer->data);
    buffer->bytes = 0;
    buffer->data =
        attn_size_product((size_t[]){count, rows, columns, element_bytes}, 4, &bytes) && bytes <= SIZE_MAX / 2
            ? aligned_alloc(64, (bytes + 63) & ~(size_t)63)
            : NULL;
    if (buffer->data == NULL) {
        attn_collector_fail(collector, ATTN_ENOMEM);
        return false;
    }
    buffer->bytes = bytes;
    return true;
}

bool attn_block_rows(const struct attn_block *block, size_t begin, size_t end, size_t *first, size_t *last) {
    size_t block_end = block->query_begin + block->query_count;
    size_t low = begin > block->query_begin ? begin : block->query_begin;
    size_t high = end < block_end ? end : block_end;
    if (low >= high)
        return false;
    *first = low - block->query_begin;
    *last = high - block->query_begin;
    return true;
}

static struct attn_accumulator *add_accumulator(struct attn_collector *collector, attn_fusion fusion) {
    struct attn_accumulator *accumulator = &collector->accumulators[collector->accumulator_count++];
    *accumulator = (struct attn_accumulator){.fusion = fusion};
    return accumulator;
}

static void add_accumulators(struct attn_collector *collector) {
    const struct attn_collect *collect = &collector->collect;
    for (size_t i = 0; i < sizeof fused_forms / sizeof *fused_forms; i++) {
        attn_form form = fused_forms[i].form;
        if (!attn_has(collect->forms, form))
            continue;
        struct attn_accumulator *accumulator = add_accumulator(collector, fused_forms[i].fusion);
        accumulator->factors = form == ATTN_FORM_HEAD_WEIGHTED ? collect->head_weights : NULL;
        accumulator->query_begin = collect->query_begin;
        accumulator->query_end = collect->query_end;
        accumulator->key_begin = collect->key_begin;
        accumulator->key_end = collect->key_end;
        accumulator->rows = collect->top_k > 0 ? NULL : collector->forms[form]->values.data;
        accumulator->kept_by = collector->forms[form];
    }
    if (collector->fused == NULL)
        return;
    struct attn_accumulator *accumulator = add_accumulator(collector, collect->fusion);
    accumulator->query_end = collect->query_length;
    accumulator->key_end = collect->columns;
    accumulator->rows = collector->fused;
}

static void assign_tensors(struct attn_collector *collector, struct attn_result_tensor *tensors) {
    for (unsigned form = 0; form < ATTN_FORM_COUNT; form++)
        if (attn_has(collector->collect.forms, form))
            collector->forms[form] = tensors++;
    for (unsigned analysis = 0; analysis < ATTN_ANALYSIS_COUNT; analysis++)
        if (attn_has(collector->collect.analyses, analysis))
            collector->analyses[analysis] = tensors++;
    if (!attn_has(collector->collect.forms, ATTN_FORM_PCA))
        return;
    collector->pca_loadings = tensors++;
    collector->explained_variance_ratio = tensors++;
}

static bool hold(char **to, size_t elements, const struct attn_collect *collect) {
    size_t bytes;
    if (!attn_size_multiply(elements, attn_dtype_bytes(collect->dtype), &bytes))
        return false;
    *to = malloc(bytes);
    return *to != NULL;
}

attn_status attn_collector_init(struct attn_collector *collector, const struct attn_collect *collect,
                                const struct attn_collect_inputs *inputs, struct attn_result_tensor *tensors) {
    size_t elements;
    memset(collector, 0, sizeof *collector);
    collector->collect = *collect;
    collector->inputs = *inputs;
    assign_tensors(collector, tensors);
    if ((collect->forms & ACROSS_LAYERS) != 0 &&
        (!fused_elements(collect, &elements) || !hold(&collector->fused, elements, collect)))
        return ATTN_ENOMEM;
    if (attn_has(collect->forms, ATTN_FORM_PCA) &&
        (!cell_elements(collect, &elements) || !hold(&collector->cells, elements, collect)))
        return ATTN_ENOMEM;
    add_accumulators(collector);
    collector->lanes = calloc(inputs->lanes, sizeof *collector->lanes);
    if (collector->lanes == NULL)
        return ATTN_ENOMEM;
    for (size_t i = 0; i < inputs->lanes && collect->analyses != 0; i++)
        if (!attn_analyses_init(collector, &collector->lanes[i]))
            return ATTN_ENOMEM;
    return ATTN_OK;
}

void attn_collector_reset(struct attn_collector *collector) {
    for (size_t i = 0; collector->lanes != NULL && i < collector->inputs.lanes; i++) {
        struct attn_lane *lane = &collector->lanes[i];
        free(lane->fused.data);
        free(lane->row.data);
        free(lane->gathered.data);
        free(lane->held.data);
        free(lane->held_sums.data);
        free(lane->concat.data);
        free(lane->statistics);
    }
    free(collector->lanes);
    free(collector->fused);
    free(collector->cells);
}

void attn_collector_consume(void *context, const struct attn_block *block) {
    struct attn_collector *collector = context;
    size_t position = collector->collect.positions[block->head];
    if (position == ATTN_NOT_CHOSEN || atomic_load_explicit(&collector->failure, memory_order_relaxed) != ATTN_OK)
        return;
    struct attn_lane *lane = &collector->lanes[block->lane];
    attn_forms_consume(collector, lane, block, position);
    if (collector->collect.analyses != 0)
        attn_analyses_consume(collector, lane, block, position);
}

static attn_status finish_across_layers(struct attn_collector *collector, const struct attn_execution *execution,
                                        struct attn_error *error) {
    const struct attn_collect *collect = &collector->collect;
    struct attn_layers layers;
    attn_status status = attn_layers_init(&layers, 1, collect);
    if (status == ATTN_OK) {
        attn_layers_put(&layers, 0, collector->fused, execution);
        status = attn_layers_finish(&layers, collector->forms[ATTN_FORM_ROLLOUT], collector->forms[ATTN_FORM_FLOW],
                                    execution, error);
    }
    attn_layers_reset(&layers);
    return status;
}

attn_status attn_collector_status(struct attn_collector *collector, struct attn_error *error) {
    attn_status status = (attn_status)atomic_load(&collector->failure);
    if (status != ATTN_OK)
        return attn_fail(error, status, "", status == ATTN_ENOMEM ? "out of memory" : "cancelled");
    for (size_t i = 0; i < collector->inputs.lanes; i++)
        if (collector->lanes[i].has_negative)
            return attn_fail(error, ATTN_ERANGE, "attention_weights",
                             "expected no negative weights for what is asked of them, found some");
    return ATTN_OK;
}

attn_status attn_collector_finish(struct attn_collector *collector, const struct attn_execution *execution,
                                  struct attn_error *error) {
    attn_status status = attn_collector_status(collector, error);
    if (status != ATTN_OK)
        return status;
    if (collector->collect.analyses != 0)
        attn_analyses_finish(collector);
    if (collector->cells != NULL)
        status = attn_pca_finish(collector, execution);
    if (status == ATTN_OK && collector->fused != NULL)
        status = finish_across_layers(collector, execution, error);
    return status;
}

attn_status attn_collect_emit(const struct attn_collect *collect, struct attn_result_tensor *tensor, size_t item,
                              const double *matrix) {
    const struct attn_loops *loops = attn_loops_of(collect->dtype);
    const struct attn_loops *doubles = attn_loops_of(ATTN_FLOAT64);
    size_t queries = collect->query_end - collect->query_begin, keys = collect->key_end - collect->key_begin;
    size_t width = collect->top_k > 0 ? collect->top_k : keys;
    size_t bytes = attn_dtype_bytes(collect->dtype);
    double *top = collect->top_k > 0 ? malloc(width * sizeof *top) : NULL;
    if (collect->top_k > 0 && top == NULL)
        return ATTN_ENOMEM;
    for (size_t i = 0; i < queries; i++) {
        const double *row = matrix + (collect->query_begin + i) * collect->columns + collect->key_begin;
        size_t at = (item * queries + i) * width;
        if (top != NULL) {
            doubles->top(top, (int64_t *)tensor->indices.data + at, width, row, keys, collect->key_begin);
            row = top;
        }
        loops->from_double((char *)tensor->values.data + at * bytes, row, width);
    }
    free(top);
    return ATTN_OK;
}
