#include "server/codec/encode.h"
#include "server/codec/number.h"
#include "server/codec/tensor_write.h"
#include "server/codec/utf8.h"
#include <stdio.h>
#include <string.h>

#define TEXT_CHUNK_BYTES 512

/* Text that is written as it is, or a tensor. */
struct part {
    struct part *next;
    char *text; /* NULL: a tensor */
    size_t length, capacity;
    struct tensor_writer tensor;
};

struct encoder {
    struct arena *arena;
    struct encode_options options;
    struct part *first, *last; /* first: being written */
    size_t written;            /* of the first part's text */
    size_t numbers;
    bool needs_comma; /* before the next value or key */
    bool has_failed;
};

struct encoder *encoder_create(struct arena *arena, struct encode_options options) {
    struct encoder *encoder = arena_alloc(arena, sizeof *encoder);
    if (encoder != NULL) {
        encoder->arena = arena;
        encoder->options = options;
    }
    return encoder;
}

/* -- putting together -- */

static struct part *add_part(struct encoder *encoder, size_t text_capacity) {
    struct part *part = arena_alloc(encoder->arena, sizeof *part);
    char *text = part == NULL || text_capacity == 0 ? NULL : arena_alloc(encoder->arena, text_capacity);
    if (part == NULL || (text == NULL && text_capacity > 0)) {
        encoder->has_failed = true;
        return NULL;
    }
    part->text = text;
    part->capacity = text_capacity;
    if (encoder->last != NULL) {
        encoder->last->next = part;
    } else {
        encoder->first = part;
    }
    encoder->last = part;
    return part;
}

static bool append(struct encoder *encoder, const char *text, size_t length) {
    if (encoder->has_failed) {
        return false;
    }
    struct part *part = encoder->last;
    if (part == NULL || part->text == NULL || part->capacity - part->length < length) {
        part = add_part(encoder, length > TEXT_CHUNK_BYTES ? length : TEXT_CHUNK_BYTES);
    }
    if (part == NULL) {
        return false;
    }
    memcpy(part->text + part->length, text, length);
    part->length += length;
    return true;
}

static bool append_comma(struct encoder *encoder) {
    bool is_due = encoder->needs_comma;
    encoder->needs_comma = true;
    return !is_due || append(encoder, ",", 1);
}

static bool append_value(struct encoder *encoder, const char *text, size_t length) {
    return append_comma(encoder) && append(encoder, text, length);
}

static bool begin(struct encoder *encoder, const char *bracket) {
    bool is_put = append_value(encoder, bracket, 1);
    encoder->needs_comma = false;
    return is_put;
}

static bool end(struct encoder *encoder, const char *bracket) {
    encoder->needs_comma = true;
    return append(encoder, bracket, 1);
}

bool encoder_begin_object(struct encoder *encoder) {
    return begin(encoder, "{");
}

bool encoder_end_object(struct encoder *encoder) {
    return end(encoder, "}");
}

bool encoder_begin_array(struct encoder *encoder) {
    return begin(encoder, "[");
}

bool encoder_end_array(struct encoder *encoder) {
    return end(encoder, "]");
}

/* Bytes from the start of text that need no escape. */
static size_t plain_length(const unsigned char *text, size_t length) {
    size_t plain = 0;
    while (plain < length) {
        unsigned char byte = text[plain];
        if (byte < 0x20 || byte == '"' || byte == '\\') {
            break;
        }
        size_t sequence = byte < 0x80 ? 1 : utf8_length(text + plain, length - plain);
        if (sequence == 0) {
            break;
        }
        plain += sequence;
    }
    return plain;
}

/* A byte that cannot stand as it is: escaped, or what is no UTF-8 replaced by U+FFFD. */
static bool append_special(struct encoder *encoder, unsigned char byte) {
    static const char meanings[] = "\"\\\b\f\n\r\t", codes[] = "\"\\bfnrt";
    char text[8];
    const char *meaning = byte == '\0' ? NULL : strchr(meanings, byte);
    if (byte >= 0x80) {
        return append(encoder, "\xEF\xBF\xBD", 3);
    }
    if (meaning != NULL) {
        text[0] = '\\';
        text[1] = codes[meaning - meanings];
        return append(encoder, text, 2);
    }
    int length = snprintf(text, sizeof text, "\\u%04x", byte);
    return append(encoder, text, (size_t)length);
}

static bool append_string(struct encoder *encoder, const char *utf8) {
    const unsigned char *text = (const unsigned char *)utf8;
    size_t left = strlen(utf8);
    bool is_put = append(encoder, "\"", 1);
    while (is_put && left > 0) {
        size_t plain = plain_length(text, left);
        is_put = append(encoder, (const char *)text, plain);
        text += plain;
        left -= plain;
        if (left > 0) {
            is_put = is_put && append_special(encoder, *text++);
            left--;
        }
    }
    return is_put && append(encoder, "\"", 1);
}

bool encoder_key(struct encoder *encoder, const char *name) {
    bool is_put = append_comma(encoder) && append_string(encoder, name) && append(encoder, ":", 1);
    encoder->needs_comma = false;
    return is_put;
}

bool encoder_text(struct encoder *encoder, const char *utf8) {
    return append_comma(encoder) && append_string(encoder, utf8);
}

bool encoder_integer(struct encoder *encoder, int64_t value) {
    char text[NUMBER_MAX_TEXT];
    return append_value(encoder, text, (size_t)(number_print_i64(text, value) - text));
}

bool encoder_real(struct encoder *encoder, double value, int digits) {
    char text[NUMBER_MAX_TEXT];
    const char *behind = digits == 0 ? number_print_f64(text, value) : number_print_digits_f64(text, value, digits);
    return append_value(encoder, text, (size_t)(behind - text));
}

bool encoder_element(struct encoder *encoder, const struct attn_view *view, size_t index) {
    char text[NUMBER_MAX_TEXT];
    const unsigned char *element = (const unsigned char *)view->data + index * attn_dtype_bytes(view->dtype);
    const char *behind = tensor_print_run(text, view->dtype, element, 1, encoder->options.digits);
    return append_value(encoder, text, (size_t)(behind - text));
}

bool encoder_bool(struct encoder *encoder, bool value) {
    return value ? append_value(encoder, "true", 4) : append_value(encoder, "false", 5);
}

bool encoder_null(struct encoder *encoder) {
    return append_value(encoder, "null", 4);
}

bool encoder_raw(struct encoder *encoder, const char *json, size_t length) {
    return append_value(encoder, json, length);
}

/* -- tensors -- */

static bool add_tensor(struct encoder *encoder, const struct attn_view *view) {
    bool is_base64 = encoder->options.encoding == ENCODING_BASE64;
    struct part *part = encoder->has_failed ? NULL : add_part(encoder, 0);
    if (part == NULL) {
        return false;
    }
    tensor_write_begin(&part->tensor, view, encoder->options.encoding == ENCODING_NESTED, is_base64,
                       encoder->options.digits);
    encoder->numbers += is_base64 ? 0 : attn_view_elements(view);
    return true;
}

static bool put_shape(struct encoder *encoder, const struct attn_view *view) {
    bool is_put = encoder_key(encoder, "shape") && encoder_begin_array(encoder);
    for (int axis = 0; axis < view->rank && is_put; axis++) {
        is_put = encoder_integer(encoder, (int64_t)view->shape[axis]);
    }
    return is_put && encoder_end_array(encoder);
}

static bool put_flat(struct encoder *encoder, const struct attn_view *view) {
    return encoder_begin_object(encoder) && put_shape(encoder, view) && encoder_key(encoder, "data") &&
           append(encoder, "[", 1) && add_tensor(encoder, view) && append(encoder, "]}", 2);
}

static bool put_base64(struct encoder *encoder, const struct attn_view *view) {
    return encoder_begin_object(encoder) && put_shape(encoder, view) && encoder_key(encoder, "dtype") &&
           encoder_text(encoder, attn_dtype_name(view->dtype)) && encoder_key(encoder, "base64") &&
           append(encoder, "\"", 1) && add_tensor(encoder, view) && append(encoder, "\"}", 2);
}

bool encoder_tensor(struct encoder *encoder, const struct attn_view *view) {
    bool is_put = false;
    switch (encoder->options.encoding) {
    case ENCODING_NESTED:
        return append_comma(encoder) && add_tensor(encoder, view);
    case ENCODING_FLAT:
        is_put = put_flat(encoder, view);
        break;
    case ENCODING_BASE64:
        is_put = put_base64(encoder, view);
        break;
    }
    encoder->needs_comma = true;
    return is_put;
}

/* -- pulling -- */

size_t encoder_bound(const struct encoder *encoder) {
    size_t bytes = 0;
    for (const struct part *part = encoder->first; part != NULL; part = part->next) {
        bytes += part->text != NULL ? part->length : tensor_write_bound(&part->tensor);
    }
    return bytes - encoder->written;
}

size_t encoder_numbers(const struct encoder *encoder) {
    return encoder->numbers;
}

/* Writes what fits of the first part. @return bytes written; *is_whole: nothing of it is left. */
static size_t write_part(struct encoder *encoder, char *to, size_t room, bool *is_whole) {
    struct part *part = encoder->first;
    if (part->text == NULL) {
        size_t written = (size_t)(tensor_write(&part->tensor, to, to + room) - to);
        *is_whole = part->tensor.cursor.left == 0;
        return written;
    }
    size_t left = part->length - encoder->written;
    size_t count = left < room ? left : room;
    memcpy(to, part->text + encoder->written, count);
    encoder->written += count;
    *is_whole = count == left;
    return count;
}

size_t encoder_next(struct encoder *encoder, char *to, size_t capacity) {
    size_t written = 0;
    while (encoder->first != NULL && written < capacity) {
        bool is_whole;
        written += write_part(encoder, to + written, capacity - written, &is_whole);
        if (!is_whole) {
            break;
        }
        encoder->first = encoder->first->next;
        encoder->written = 0;
        encoder->last = encoder->first == NULL ? NULL : encoder->last;
    }
    return written;
}
