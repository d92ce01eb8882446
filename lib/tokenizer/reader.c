#include "lib/tokenizer/reader.h"

#include "lib/tensor/error.h"
#include "lib/tokenizer/unicode.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

attn_status attn_reader_fail(struct attn_reader *reader, const char *key, const char *format, ...) {
    char message[sizeof reader->error->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (key != NULL)
        attn_reader_enter(reader, key);
    return attn_fail(reader->error, ATTN_EFORMAT, reader->path, "%s", message);
}

attn_status attn_reader_no_memory(struct attn_reader *reader) {
    return attn_fail(reader->error, ATTN_ENOMEM, reader->path, "no memory for the tokenizer");
}

size_t attn_reader_enter(struct attn_reader *reader, const char *key) {
    size_t length = strlen(reader->path);
    snprintf(reader->path + length, sizeof reader->path - length, "/%s", key);
    reader->depth++;
    return length;
}

size_t attn_reader_enter_index(struct attn_reader *reader, size_t index) {
    char key[24];
    snprintf(key, sizeof key, "%zu", index);
    return attn_reader_enter(reader, key);
}

void attn_reader_leave(struct attn_reader *reader, size_t length) {
    reader->path[length] = '\0';
    reader->depth--;
}

/* @return ATTN_OK with *value NULL where the member is missing and may be. */
static attn_status find(struct attn_reader *reader, const json_t *object, const char *key, enum attn_presence presence,
                        const json_t **value) {
    *value = json_object_get(object, key);
    if (json_is_null(*value) && presence == ATTN_OPTIONAL)
        *value = NULL;
    if (*value == NULL && presence == ATTN_REQUIRED)
        return attn_reader_fail(reader, key, "the member is missing");
    return ATTN_OK;
}

attn_status attn_read_bool(struct attn_reader *reader, const json_t *object, const char *key,
                           enum attn_presence presence, bool *value) {
    const json_t *member;
    attn_status status = find(reader, object, key, presence, &member);
    if (status != ATTN_OK || member == NULL)
        return status;
    if (!json_is_boolean(member))
        return attn_reader_fail(reader, key, "true or false is needed");
    *value = json_is_true(member);
    return ATTN_OK;
}

attn_status attn_read_string(struct attn_reader *reader, const json_t *object, const char *key,
                             enum attn_presence presence, struct attn_string *value) {
    const json_t *member;
    attn_status status = find(reader, object, key, presence, &member);
    if (status != ATTN_OK || member == NULL)
        return status;
    if (!json_is_string(member))
        return attn_reader_fail(reader, key, "a string is needed");
    value->length = json_string_length(member);
    value->bytes = attn_pool_copy(reader->pool, json_string_value(member), value->length);
    return value->bytes != NULL ? ATTN_OK : attn_reader_no_memory(reader);
}

attn_status attn_read_size(struct attn_reader *reader, const json_t *object, const char *key,
                           enum attn_presence presence, size_t largest, size_t *value) {
    const json_t *member;
    attn_status status = find(reader, object, key, presence, &member);
    if (status != ATTN_OK || member == NULL)
        return status;
    json_int_t number = json_integer_value(member);
    if (!json_is_integer(member) || number < 0 || (uint64_t)number > largest)
        return attn_reader_fail(reader, key, "a whole number from 0 to %zu is needed", largest);
    *value = (size_t)number;
    return ATTN_OK;
}

attn_status attn_read_char(struct attn_reader *reader, const json_t *object, const char *key,
                           enum attn_presence presence, uint32_t *code_point) {
    const json_t *member;
    attn_status status = find(reader, object, key, presence, &member);
    if (status != ATTN_OK || member == NULL)
        return status;
    size_t length = json_string_length(member), size = 0;
    uint32_t value = length > 0 ? attn_utf8_read(json_string_value(member), &size) : 0;
    if (!json_is_string(member) || length == 0 || size != length)
        return attn_reader_fail(reader, key, "a string of one character is needed");
    *code_point = value;
    return ATTN_OK;
}

attn_status attn_read_array(struct attn_reader *reader, const json_t *object, const char *key,
                            enum attn_presence presence, const json_t **array) {
    attn_status status = find(reader, object, key, presence, array);
    if (status == ATTN_OK && *array != NULL && !json_is_array(*array))
        return attn_reader_fail(reader, key, "an array is needed");
    return status;
}

/* Writes "one of a, b, c" of the names that stand `stride` bytes apart. */
static void list_names(char *text, size_t room, const void *names, size_t count, size_t stride) {
    size_t length = 0;
    for (size_t i = 0; i < count && length < room; i++) {
        const char *name;
        memcpy(&name, (const char *)names + i * stride, sizeof name);
        int written = snprintf(text + length, room - length, "%s%s", i > 0 ? ", " : "", name);
        length += written > 0 ? (size_t)written : 0;
    }
}

static bool is_name(const json_t *value, const char *name) {
    return json_string_length(value) == strlen(name) && memcmp(json_string_value(value), name, strlen(name)) == 0;
}

attn_status attn_read_choice(struct attn_reader *reader, const json_t *object, const char *key,
                             enum attn_presence presence, const char *const *names, size_t count, size_t *choice) {
    const json_t *member;
    attn_status status = find(reader, object, key, presence, &member);
    if (status != ATTN_OK || member == NULL)
        return status;
    for (size_t i = 0; json_is_string(member) && i < count; i++) {
        if (is_name(member, names[i])) {
            *choice = i;
            return ATTN_OK;
        }
    }
    char list[300];
    list_names(list, sizeof list, names, count, sizeof *names);
    return attn_reader_fail(reader, key, "one of %s is needed", list);
}

attn_status attn_read_kind(struct attn_reader *reader, const json_t *object, const struct attn_kinds *kinds,
                           const void **row) {
    if (!json_is_object(object))
        return attn_reader_fail(reader, NULL, "a %s is an object", kinds->what);
    if (reader->depth > ATTN_READER_DEPTH)
        return attn_reader_fail(reader, NULL, "parts are nested too deeply");
    const json_t *type = json_object_get(object, "type");
    for (size_t i = 0; json_is_string(type) && i < kinds->count; i++) {
        const char *name;
        memcpy(&name, (const char *)kinds->rows + i * kinds->size, sizeof name);
        if (is_name(type, name)) {
            *row = (const char *)kinds->rows + i * kinds->size;
            return ATTN_OK;
        }
    }
    char list[300];
    list_names(list, sizeof list, kinds->rows, kinds->count, kinds->size);
    return attn_reader_fail(reader, "type", "the %s %.40s is not known; known are %s", kinds->what,
                            json_is_string(type) ? json_string_value(type) : "without a name", list);
}

attn_status attn_read_part(struct attn_reader *reader, const json_t *json, const struct attn_kinds *kinds,
                           struct attn_part *part) {
    *part = (struct attn_part){0};
    attn_status status = attn_read_kind(reader, json, kinds, &part->kind);
    if (status != ATTN_OK || part->kind == NULL)
        return status;
    struct {
        const char *name;
        attn_part_reader read;
    } row;
    memcpy(&row, part->kind, sizeof row);
    return row.read != NULL ? row.read(reader, json, &part->data) : ATTN_OK;
}

attn_status attn_read_sequence(struct attn_reader *reader, const json_t *object, const struct attn_kinds *kinds,
                               void **data) {
    const json_t *array;
    attn_status status = attn_read_array(reader, object, kinds->parts, ATTN_REQUIRED, &array);
    if (status != ATTN_OK)
        return status;
    struct attn_sequence *sequence = attn_pool_take(reader->pool, 1, sizeof *sequence);
    if (sequence == NULL)
        return attn_reader_no_memory(reader);
    sequence->count = json_array_size(array);
    sequence->parts = attn_pool_take(reader->pool, sequence->count, sizeof *sequence->parts);
    if (sequence->parts == NULL)
        return attn_reader_no_memory(reader);
    size_t outer = attn_reader_enter(reader, kinds->parts);
    for (size_t i = 0; i < sequence->count; i++) {
        size_t inner = attn_reader_enter_index(reader, i);
        status = attn_read_part(reader, json_array_get(array, i), kinds, &sequence->parts[i]);
        if (status != ATTN_OK)
            return status;
        attn_reader_leave(reader, inner);
    }
    attn_reader_leave(reader, outer);
    *data = sequence;
    return ATTN_OK;
}
