#include "lib/tokenizer/post_processors.h"

#include "lib/tokenizer/unicode.h"

static attn_status read_sequence(struct attn_reader *reader, const json_t *object, void **data);

static attn_status apply_sequence(const void *data, struct attn_segments *segments, bool add_special_tokens,
                                  struct attn_error *error) {
    const struct attn_sequence *sequence = data;
    for (size_t i = 0; i < sequence->count; i++) {
        const struct attn_post_processor part = {sequence->parts[i].kind, sequence->parts[i].data};
        attn_status status = attn_post_processor_apply(&part, segments, add_special_tokens, error);
        if (status != ATTN_OK)
            return status;
    }
    return ATTN_OK;
}

static size_t added_by_sequence(const void *data, bool is_pair) {
    const struct attn_sequence *sequence = data;
    size_t added = 0;
    for (size_t i = 0; i < sequence->count; i++) {
        const struct attn_post_processor part = {sequence->parts[i].kind, sequence->parts[i].data};
        added += attn_post_processor_added(&part, is_pair);
    }
    return added;
}

struct byte_level {
    bool add_prefix_space, trim_offsets;
};

static attn_status read_byte_level(struct attn_reader *reader, const json_t *object, void **data) {
    struct byte_level *byte_level = attn_pool_take(reader->pool, 1, sizeof *byte_level);
    if (byte_level == NULL)
        return attn_reader_no_memory(reader);
    *data = byte_level;
    attn_status status =
        attn_read_bool(reader, object, "add_prefix_space", ATTN_REQUIRED, &byte_level->add_prefix_space);
    if (status == ATTN_OK)
        status = attn_read_bool(reader, object, "trim_offsets", ATTN_REQUIRED, &byte_level->trim_offsets);
    return status;
}

static attn_status apply_byte_level(const void *data, struct attn_segments *segments, bool add_special_tokens,
                                    struct attn_error *error) {
    const struct byte_level *byte_level = data;
    (void)add_special_tokens;
    (void)error;
    for (size_t i = 0; byte_level->trim_offsets && i < segments->count; i++)
        attn_trim_offsets(&segments->entries[i], byte_level->add_prefix_space);
    return ATTN_OK;
}

/* A space reads U+0120 in byte-level tokens; in added tokens it stands as it is. */
static bool is_blank(uint32_t code_point) {
    return code_point == 0x120 || attn_is_whitespace(code_point);
}

static uint32_t leading_blanks(struct attn_string value) {
    uint32_t count = 0;
    size_t size;
    for (size_t at = 0; at < value.length && is_blank(attn_utf8_read(value.bytes + at, &size)); at += size)
        count++;
    return count;
}

static uint32_t trailing_blanks(struct attn_string value) {
    uint32_t count = 0;
    size_t size;
    for (size_t end = value.length; end > 0; count++) {
        size_t last = end - attn_utf8_size_before(value.bytes, end);
        if (!is_blank(attn_utf8_read(value.bytes + last, &size)))
            break;
        end = last;
    }
    return count;
}

void attn_trim_offsets(struct attn_cuts *cuts, bool add_prefix_space) {
    for (size_t i = 0; i < cuts->count; i++) {
        struct attn_cut *cut = &cuts->entries[i];
        uint32_t leading = leading_blanks(cut->value), trailing = trailing_blanks(cut->value);
        bool is_first = i == 0 || cut->begin == 0;
        if (is_first && add_prefix_space && leading == 1) /* the blank that the pre-tokeniser put there */
            leading = 0;
        if (leading > 0)
            cut->begin = leading < cut->end - cut->begin ? cut->begin + leading : cut->end;
        if (trailing > 0 && cut->end >= trailing)
            cut->end = cut->end - trailing > cut->begin ? cut->end - trailing : cut->begin;
    }
}

bool attn_special_push(struct attn_cuts *cuts, const struct attn_special *special, uint32_t type_id) {
    struct attn_cut cut = {.id = special->id, .sequence = -1, .type_id = type_id, .value = special->text};
    return attn_cuts_push(cuts, &cut);
}

static const struct attn_post_processor_kind kinds[] = {
    {"BertProcessing", attn_bert_processing_read, attn_bert_processing_apply, attn_bert_processing_added},
    {"RobertaProcessing", attn_roberta_processing_read, attn_roberta_processing_apply, attn_roberta_processing_added},
    {"TemplateProcessing", attn_template_read, attn_template_apply, attn_template_added},
    {"ByteLevel", read_byte_level, apply_byte_level, NULL},
    {"Sequence", read_sequence, apply_sequence, added_by_sequence},
};

static const struct attn_kinds table = {"post-processor", kinds, sizeof kinds / sizeof *kinds, sizeof *kinds,
                                        "processors"};

static attn_status read_sequence(struct attn_reader *reader, const json_t *object, void **data) {
    return attn_read_sequence(reader, object, &table, data);
}

attn_status attn_post_processor_read(struct attn_reader *reader, const json_t *json,
                                     struct attn_post_processor *post_processor) {
    struct attn_part part;
    attn_status status = attn_read_part(reader, json, &table, &part);
    *post_processor = (struct attn_post_processor){part.kind, part.data};
    return status;
}

attn_status attn_post_processor_apply(const struct attn_post_processor *post_processor, struct attn_segments *segments,
                                      bool add_special_tokens, struct attn_error *error) {
    if (post_processor->kind == NULL)
        return ATTN_OK;
    return post_processor->kind->apply(post_processor->data, segments, add_special_tokens, error);
}

size_t attn_post_processor_added(const struct attn_post_processor *post_processor, bool is_pair) {
    if (post_processor->kind == NULL || post_processor->kind->added == NULL)
        return 0;
    return post_processor->kind->added(post_processor->data, is_pair);
}
