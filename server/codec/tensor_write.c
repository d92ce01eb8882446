#include "server/codec/tensor_write.h"
#include "server/codec/base64.h"
#include "server/codec/number.h"
#include <stdint.h>
#include <string.h>

/* Most bytes of a printed element and its comma. */
static size_t element_bound(attn_dtype dtype) {
    switch (dtype) {
    case ATTN_FLOAT64:
        return 27;
    case ATTN_INT64:
        return 21;
    case ATTN_INT32:
        return 12;
    case ATTN_BOOL:
        return 6;
    case ATTN_UINT8:
        return 4;
    default:
        return 17;
    }
}

static char *print_bools(char *to, const unsigned char *values, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const char *text = values[i] != 0 ? "true," : "false,";
        size_t length = values[i] != 0 ? 5 : 6;
        memcpy(to, text, length);
        to += length;
    }
    return to - (count > 0);
}

static int64_t load_integer(attn_dtype dtype, const void *elements, size_t index) {
    switch (dtype) {
    case ATTN_INT64:
        return ((const int64_t *)elements)[index];
    case ATTN_INT32:
        return ((const int32_t *)elements)[index];
    default:
        return ((const unsigned char *)elements)[index];
    }
}

static char *print_integers(char *to, attn_dtype dtype, const void *elements, size_t count) {
    for (size_t i = 0; i < count; i++) {
        to = number_print_i64(to, load_integer(dtype, elements, i));
        *to++ = ',';
    }
    return to - (count > 0);
}

/* float16 and bfloat16, by way of float32. */
static char *print_halves(char *to, attn_dtype dtype, const void *elements, size_t count, int digits) {
    for (size_t i = 0; i < count; i++) {
        uint16_t half;
        float value = 0;
        memcpy(&half, (const unsigned char *)elements + i * sizeof half, sizeof half);
        size_t one = 1;
        struct attn_view from = attn_view_contiguous(&half, dtype, 1, &one);
        struct attn_view single = attn_view_contiguous(&value, ATTN_FLOAT32, 1, &one);
        attn_view_convert(&from, &single, NULL);
        to = number_print_run_f32(to, &value, 1, digits);
        *to++ = ',';
    }
    return to - (count > 0);
}

char *tensor_print_run(char *to, attn_dtype dtype, const void *elements, size_t count, int digits) {
    switch (dtype) {
    case ATTN_FLOAT32:
        return number_print_run_f32(to, elements, count, digits);
    case ATTN_FLOAT64:
        return number_print_run_f64(to, elements, count, digits);
    case ATTN_FLOAT16:
    case ATTN_BFLOAT16:
        return print_halves(to, dtype, elements, count, digits);
    case ATTN_BOOL:
        return print_bools(to, elements, count);
    case ATTN_INT64:
    case ATTN_INT32:
    case ATTN_UINT8:
        break;
    }
    return print_integers(to, dtype, elements, count);
}

void tensor_write_begin(struct tensor_writer *writer, const struct attn_view *view, bool is_nested, bool is_base64,
                        int digits) {
    *writer = (struct tensor_writer){.is_nested = is_nested, .is_base64 = is_base64, .digits = digits};
    if (is_nested) {
        cursor_begin(&writer->cursor, view);
    } else {
        cursor_begin_flat(&writer->cursor, view);
    }
}

static char *put_repeated(char *to, char c, int count) {
    memset(to, c, (size_t)count);
    return to + count;
}

/* What stands before the next element: the ends of the arrays before it, a comma, the beginnings of its own. */
static char *write_before(struct tensor_writer *writer, char *to) {
    int starts = writer->is_nested ? cursor_axes_at_start(&writer->cursor) : 0;
    if (writer->is_begun) {
        to = put_repeated(to, ']', starts);
        *to++ = ',';
    }
    writer->is_begun = true;
    return put_repeated(to, '[', starts);
}

static char *write_numbers(struct tensor_writer *writer, char *to, const char *end) {
    struct cursor *cursor = &writer->cursor;
    double gathered[CURSOR_GATHER];
    while (cursor->left > 0 && end - to >= TENSOR_WRITE_ROOM) {
        to = write_before(writer, to);
        size_t fit = (size_t)(end - to) / NUMBER_MAX_TEXT, count;
        const void *elements = cursor_take(cursor, fit, gathered, &count);
        to = tensor_print_run(to, cursor->view.dtype, elements, count, writer->digits);
        if (cursor->left == 0 && writer->is_nested) {
            /* there is room: each number leaves some, and one ']' an axis is less than 32 */
            to = put_repeated(to, ']', cursor->view.rank);
        }
    }
    return to;
}

/* Three elements of whatever width are whole groups of base64. */
static char *write_base64(struct tensor_writer *writer, char *to, const char *end) {
    struct cursor *cursor = &writer->cursor;
    size_t width = attn_dtype_bytes(cursor->view.dtype);
    unsigned char block[3 * 8 * 96];
    while (cursor->left > 0) {
        size_t triples = (size_t)(end - to) / (4 * width);
        triples = triples < 96 ? triples : 96;
        if (triples == 0) {
            break;
        }
        size_t count = cursor_copy(cursor, 3 * triples, block);
        to += base64_encode(block, count * width, to);
    }
    return to;
}

char *tensor_write(struct tensor_writer *writer, char *to, const char *end) {
    return writer->is_base64 ? write_base64(writer, to, end) : write_numbers(writer, to, end);
}

size_t tensor_write_bound(const struct tensor_writer *writer) {
    const struct cursor *cursor = &writer->cursor;
    if (writer->is_base64) {
        return base64_encoded_length(cursor->left * attn_dtype_bytes(cursor->view.dtype));
    }
    size_t row = cursor->view.shape[cursor->view.rank - 1];
    size_t brackets = writer->is_nested ? (cursor->left / row + 1) * 2 * (size_t)cursor->view.rank : 0;
    return cursor->left * element_bound(cursor->view.dtype) + brackets;
}
