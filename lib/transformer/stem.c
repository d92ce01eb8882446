#include "lib/transformer/stem.h"
#include "lib/tensor/error.h"
#include "lib/tensor/shape.h"

#include <stdio.h>
#include <string.h>

/* Whisper's convolutions see a place and its two neighbours; the second one goes on by two. */
enum { TAPS = 3, SECOND_STEP = 2 };

/* Elements of the parts of the working memory. */
struct parts {
    size_t item;    /* the input of one item, in the run's dtype */
    size_t windows; /* what the weights are multiplied with, row by row; of the larger convolution */
    size_t between; /* what the first convolution gives */
};

static size_t extra_tokens(const struct attn_transformer_stack *stack) {
    return (size_t)(stack->class_token.size > 0) + (size_t)(stack->second_token.size > 0);
}

int attn_stem_shape(const struct attn_transformer_stack *stack, size_t shape[3]) {
    shape[0] = stack->channels;
    shape[1] = stack->patches != NULL ? stack->image[0] : SECOND_STEP * stack->positions;
    shape[2] = stack->patches != NULL ? stack->image[1] : 0;
    return stack->patches != NULL ? 3 : 2;
}

attn_status attn_stem_check(const struct attn_transformer_stack *stack, const struct attn_view *input,
                            const char *field, struct attn_error *error) {
    size_t shape[3];
    const int rank = attn_stem_shape(stack, shape);
    if (!attn_dtype_is_floating(input->dtype))
        return attn_fail(error, ATTN_EDTYPE, field, "expected a floating dtype, found %s",
                         attn_dtype_name(input->dtype));
    bool fits = input->rank == rank || input->rank == rank + 1;
    for (int axis = 0; axis < rank && fits; axis++)
        fits = input->shape[input->rank - rank + axis] == shape[axis];
    if (fits)
        return ATTN_OK;
    char expected[ATTN_SHAPE_TEXT], found[ATTN_SHAPE_TEXT];
    return attn_fail(error, ATTN_ESHAPE, field, "expected %s, with or without a batch axis before it, found %s",
                     attn_shape_text(expected, rank, shape), attn_shape_text(found, input->rank, input->shape));
}

static bool measure(const struct attn_transformer_stack *stack, struct parts *parts) {
    size_t shape[3];
    const int rank = attn_stem_shape(stack, shape);
    parts->between = 0;
    if (!attn_size_product(shape, (size_t)rank, &parts->item))
        return false;
    if (stack->patches != NULL) {
        const size_t windows[] = {stack->positions, stack->patches->view.shape[1]};
        return attn_size_product(windows, 2, &parts->windows);
    }
    const size_t first[] = {shape[1], stack->channels, TAPS}, second[] = {stack->positions, stack->hidden, TAPS};
    const size_t between[] = {shape[1], stack->hidden};
    size_t larger = 0;
    if (!attn_size_product(first, 3, &parts->windows) || !attn_size_product(second, 3, &larger) ||
        !attn_size_product(between, 2, &parts->between))
        return false;
    if (larger > parts->windows)
        parts->windows = larger;
    return true;
}

size_t attn_stem_bytes(const struct attn_transformer_stack *stack, attn_dtype dtype) {
    struct parts parts;
    size_t elements = 0, bytes = 0;
    if (!measure(stack, &parts) || __builtin_add_overflow(parts.item, parts.windows, &elements) ||
        __builtin_add_overflow(elements, parts.between, &elements) ||
        __builtin_mul_overflow(elements, attn_dtype_bytes(dtype), &bytes))
        return SIZE_MAX;
    return bytes;
}

static char *at(void *memory, size_t element, attn_dtype dtype) {
    return (char *)memory + element * attn_dtype_bytes(dtype);
}

/* windows (patches, channels * height * width): each patch as one row. */
static void cut_patches(const struct attn_stem *stem, const char *item, char *windows) {
    const struct attn_transformer_stack *stack = stem->stack;
    const size_t bytes = attn_dtype_bytes(stem->dtype), span = stack->patch[1] * bytes;
    const size_t down = stack->image[0] / stack->patch[0], across = stack->image[1] / stack->patch[1];
    for (size_t y = 0; y < down; y++)
        for (size_t x = 0; x < across; x++)
            for (size_t channel = 0; channel < stack->channels; channel++)
                for (size_t line = 0; line < stack->patch[0]; line++, windows += span) {
                    const size_t row = channel * stack->image[0] + y * stack->patch[0] + line;
                    memcpy(windows, item + (row * stack->image[1] + x * stack->patch[1]) * bytes, span);
                }
}

/* Where a convolution reads its input: element (place, channel) at place * place_step + channel * channel_step. */
struct signal {
    const char *data;
    size_t places, channels, place_step, channel_step;
};

/* windows (rows, channels * TAPS): around place row * step; zeros beyond the ends. */
static void cut_signal(const struct signal *signal, size_t rows, size_t step, size_t bytes, char *windows) {
    for (size_t row = 0; row < rows; row++)
        for (size_t channel = 0; channel < signal->channels; channel++)
            for (size_t tap = 0; tap < TAPS; tap++, windows += bytes) {
                const size_t place = row * step + tap; /* one further than it is */
                if (place == 0 || place > signal->places)
                    memset(windows, 0, bytes);
                else
                    memcpy(windows,
                           signal->data + ((place - 1) * signal->place_step + channel * signal->channel_step) * bytes,
                           bytes);
            }
}

static attn_status multiply(const struct attn_stem *stem, struct attn_weight *weight, size_t rows, const void *left,
                            attn_activation activation, void *out, const struct attn_lanes *lanes,
                            const struct attn_execution *execution) {
    const struct attn_product_call call = {
        .weight = weight,
        .rows = rows,
        .left = left,
        .left_stride = (ptrdiff_t)weight->view.shape[1],
        .activation = activation,
        .out = out,
        .out_stride = (ptrdiff_t)weight->view.shape[0],
    };
    return attn_weight_apply(&call, stem->dtype, lanes, execution);
}

static void place_token(const struct attn_stem *stem, const struct attn_vector *token, char **out) {
    if (token->size == 0)
        return;
    const size_t bytes = token->size * attn_dtype_bytes(stem->dtype);
    memcpy(*out, attn_vector_data(token, stem->dtype), bytes);
    *out += bytes;
}

static attn_status run_picture(const struct attn_stem *stem, const struct parts *parts, char *out,
                               const struct attn_lanes *lanes, const struct attn_execution *execution) {
    const struct attn_transformer_stack *stack = stem->stack;
    char *windows = at(stem->working, parts->item, stem->dtype);
    cut_patches(stem, stem->working, windows);
    place_token(stem, &stack->class_token, &out);
    place_token(stem, &stack->second_token, &out);
    return multiply(stem, stack->patches, stack->positions - extra_tokens(stack), windows, ATTN_ACTIVATION_NONE, out,
                    lanes, execution);
}

static attn_status run_speech(const struct attn_stem *stem, const struct parts *parts, char *out,
                              const struct attn_lanes *lanes, const struct attn_execution *execution) {
    const struct attn_transformer_stack *stack = stem->stack;
    const size_t frames = SECOND_STEP * stack->positions, bytes = attn_dtype_bytes(stem->dtype);
    char *windows = at(stem->working, parts->item, stem->dtype);
    char *between = at(windows, parts->windows, stem->dtype);
    const struct signal first = {stem->working, frames, stack->channels, 1, frames};
    const struct signal second = {between, frames, stack->hidden, stack->hidden, 1};
    cut_signal(&first, frames, 1, bytes, windows);
    attn_status status =
        multiply(stem, stack->convolution[0], frames, windows, ATTN_ACTIVATION_GELU, between, lanes, execution);
    if (status != ATTN_OK)
        return status;
    cut_signal(&second, stack->positions, SECOND_STEP, bytes, windows);
    return multiply(stem, stack->convolution[1], stack->positions, windows, ATTN_ACTIVATION_GELU, out, lanes,
                    execution);
}

attn_status attn_stem_run(const struct attn_stem *stem, const struct attn_lanes *lanes,
                          const struct attn_execution *execution) {
    const struct attn_transformer_stack *stack = stem->stack;
    struct parts parts;
    size_t shape[4] = {1};
    const int rank = attn_stem_shape(stack, shape + 1) + 1;
    if (!measure(stack, &parts))
        return ATTN_ENOMEM;
    const struct attn_view item = attn_view_contiguous(stem->working, stem->dtype, rank, shape);
    for (size_t n = 0; n < stem->input->shape[0]; n++) {
        char *out = at(stem->out, n * stack->positions * stack->hidden, stem->dtype);
        const struct attn_view from = attn_view_part(stem->input, 0, n, 1);
        attn_status status = attn_view_convert(&from, &item, NULL);
        if (status == ATTN_OK)
            status = (stack->patches != NULL ? run_picture : run_speech)(stem, &parts, out, lanes, execution);
        if (status != ATTN_OK)
            return status;
    }
    return ATTN_OK;
}
