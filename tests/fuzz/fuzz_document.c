/* Request bodies of any bytes: the first byte says how they are read. What is read must be consistent, and what
 * json_check refuses must be malformed. Build and run: make fuzz. */
#include "server/codec/compress.h"
#include "server/codec/document.h"
#include <stdint.h>
#include <stdlib.h>

static const struct field_spec specs[] = {
    {"query", FIELD_TENSOR},         {"attn_mask", FIELD_MASK},       {"key_padding_mask", FIELD_PADDING},
    {"attention_mask", FIELD_FLAGS}, {"key_lengths", FIELD_INTEGERS}, {"params", FIELD_TENSORS},
    {"dtype", FIELD_JSON},           {"weights", FIELD_JSON},
};
static const struct document_limits limits = {.max_elements = 1 << 16};

static void *same_piece(void *piece, size_t filled, size_t *room, struct problem *problem) {
    (void)filled;
    (void)problem;
    if (room != NULL) {
        *room = 100;
    }
    return piece;
}

static void require(bool holds) {
    if (!holds) {
        abort();
    }
}

/* Touches every element. */
static double sum(const struct attn_view *view) {
    require(view->data != NULL && view->rank >= 1 && view->rank <= ATTN_MAX_RANK);
    size_t elements = attn_view_elements(view);
    require(elements >= 1 && elements <= limits.max_elements && attn_view_is_contiguous(view));
    double total = 0;
    const unsigned char *bytes = view->data;
    for (size_t i = 0; i < elements * attn_dtype_bytes(view->dtype); i++) {
        total += bytes[i];
    }
    return total;
}

static void check_read(const struct document *document) {
    for (size_t i = 0; i < document->field_count; i++) {
        const struct field *field = &document->fields[i];
        if (field->spec->kind == FIELD_JSON) {
            require(field->json != NULL);
        } else if (field->spec->kind != FIELD_TENSORS) {
            require(sum(&field->tensor) >= 0);
        }
        for (size_t j = 0; j < field->member_count; j++) {
            require(sum(&field->members[j].tensor) >= 0);
        }
    }
}

static void check_json(const char *bytes, size_t length, bool is_read, const struct problem *problem) {
    size_t offset = 0;
    char why[200];
    bool is_json = json_check(bytes, length, 64, &offset, why, sizeof why);
    require(is_json || (!is_read && problem_status(problem->id) == 400));
    require(is_json || offset <= length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length) {
    if (length == 0) {
        return 0;
    }
    const size_t spec_count = sizeof specs / sizeof *specs;
    const char *bytes = (const char *)data + 1;
    struct arena *arena = arena_create();
    struct document document = {.field_count = 0};
    struct problem problem = {.id = PROBLEM_NONE};
    bool is_read = false;
    length--;
    if (data[0] == 'g' || data[0] == 'd') {
        char piece[100];
        size_t expanded_length;
        const struct expand_sink sink = {same_piece, piece};
        is_read = compress_expand(data[0] == 'g' ? CODING_GZIP : CODING_DEFLATE, bytes, length, 1 << 16, &sink,
                                  &expanded_length, &problem);
        require(!is_read || expanded_length <= 1 << 16);
    } else if (data[0] == 's') {
        is_read = document_read_safetensors(&document, bytes, length, specs, spec_count, &limits, arena, &problem);
    } else {
        is_read = document_read_json(&document, bytes, length, specs, spec_count, &limits, arena, &problem);
        check_json(bytes, length, is_read, &problem);
    }
    if (is_read) {
        check_read(&document);
    } else {
        int status = problem_status(problem.id);
        require(status == 400 || status == 422 || status == 413 || status == 503);
        require(problem.has_offset == (status == 400) && problem.offset <= length && problem.detail[0] != '\0');
    }
    document_reset(&document);
    arena_destroy(arena);
    return 0;
}
