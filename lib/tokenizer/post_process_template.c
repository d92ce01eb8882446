/* TemplateProcessing: lists of special tokens and texts, one for single texts and one for pairs. */
#include "lib/tokenizer/post_processors.h"

#include "lib/tensor/error.h"

#include <stdlib.h>

enum { MOST_PIECES = 64, MOST_SPECIALS = 256 };

/* What one entry "SpecialToken" stands for: some special tokens in a row; else a text. */
struct template_piece {
    const struct attn_special *specials; /* NULL: a text */
    size_t special_count;
    size_t sequence; /* 0 or 1 */
    uint32_t type_id;
};

struct template {
    struct template_piece pieces[MOST_PIECES];
    size_t count;
};

struct templates {
    struct template single, pair;
};

/* {"id": "[CLS]", "ids": [101], "tokens": ["[CLS]"]} */
static attn_status read_specials(struct attn_reader *reader, const json_t *entry, struct template_piece *piece) {
    const json_t *ids, *tokens;
    attn_status status = attn_read_array(reader, entry, "ids", ATTN_REQUIRED, &ids);
    if (status == ATTN_OK)
        status = attn_read_array(reader, entry, "tokens", ATTN_REQUIRED, &tokens);
    if (status != ATTN_OK)
        return status;
    size_t count = json_array_size(ids);
    if (count != json_array_size(tokens) || count > MOST_SPECIALS)
        return attn_reader_fail(reader, NULL, "ids and tokens are needed, as many of each, at most %d", MOST_SPECIALS);
    struct attn_special *specials = attn_pool_take(reader->pool, count, sizeof *specials);
    if (specials == NULL)
        return attn_reader_no_memory(reader);
    for (size_t i = 0; i < count; i++) {
        const json_t *id = json_array_get(ids, i), *token = json_array_get(tokens, i);
        json_int_t number = json_integer_value(id);
        if (!json_is_integer(id) || number < 0 || number >= ATTN_VOCABULARY_LIMIT || !json_is_string(token))
            return attn_reader_fail(reader, NULL, "ids are whole numbers below %d, tokens are strings",
                                    ATTN_VOCABULARY_LIMIT);
        specials[i].id = (int32_t)number;
        specials[i].text.length = json_string_length(token);
        specials[i].text.bytes = attn_pool_copy(reader->pool, json_string_value(token), specials[i].text.length);
        if (specials[i].text.bytes == NULL)
            return attn_reader_no_memory(reader);
    }
    piece->specials = specials;
    piece->special_count = count;
    return ATTN_OK;
}

static attn_status find_specials(struct attn_reader *reader, const json_t *special_tokens, const json_t *piece_json,
                                 struct template_piece *piece) {
    const char *id = json_string_value(json_object_get(piece_json, "id"));
    const json_t *entry = id != NULL ? json_object_get(special_tokens, id) : NULL;
    if (entry == NULL)
        return attn_reader_fail(reader, "id", "it is not among special_tokens");
    return read_specials(reader, entry, piece);
}

static attn_status read_piece(struct attn_reader *reader, const json_t *json, const json_t *special_tokens,
                              struct template_piece *piece) {
    static const char *const texts[] = {"A", "B"};
    const json_t *special = json_object_get(json, "SpecialToken"), *text = json_object_get(json, "Sequence");
    if (special == NULL && text == NULL)
        return attn_reader_fail(reader, NULL, "a SpecialToken or a Sequence is needed");
    size_t type_id = 0;
    size_t length = attn_reader_enter(reader, special != NULL ? "SpecialToken" : "Sequence");
    attn_status status =
        attn_read_size(reader, special != NULL ? special : text, "type_id", ATTN_REQUIRED, UINT32_MAX, &type_id);
    piece->type_id = (uint32_t)type_id;
    if (status == ATTN_OK && special != NULL)
        status = find_specials(reader, special_tokens, special, piece);
    else if (status == ATTN_OK)
        status = attn_read_choice(reader, text, "id", ATTN_REQUIRED, texts, 2, &piece->sequence);
    if (status == ATTN_OK)
        attn_reader_leave(reader, length);
    return status;
}

static attn_status read_template(struct attn_reader *reader, const json_t *object, const char *key,
                                 struct template *template) {
    const json_t *array, *special_tokens = json_object_get(object, "special_tokens");
    attn_status status = attn_read_array(reader, object, key, ATTN_REQUIRED, &array);
    if (status != ATTN_OK)
        return status;
    template->count = json_array_size(array);
    if (template->count > MOST_PIECES)
        return attn_reader_fail(reader, key, "at most %d entries are taken", MOST_PIECES);
    size_t outer = attn_reader_enter(reader, key);
    for (size_t i = 0; i < template->count; i++) {
        size_t inner = attn_reader_enter_index(reader, i);
        status = read_piece(reader, json_array_get(array, i), special_tokens, &template->pieces[i]);
        if (status != ATTN_OK)
            return status;
        attn_reader_leave(reader, inner);
    }
    attn_reader_leave(reader, outer);
    return ATTN_OK;
}

attn_status attn_template_read(struct attn_reader *reader, const json_t *object, void **data) {
    struct templates *templates = attn_pool_take(reader->pool, 1, sizeof *templates);
    if (templates == NULL)
        return attn_reader_no_memory(reader);
    *data = templates;
    attn_status status = read_template(reader, object, "single", &templates->single);
    if (status == ATTN_OK)
        status = read_template(reader, object, "pair", &templates->pair);
    for (size_t i = 0; status == ATTN_OK && i < templates->single.count; i++) {
        const struct template_piece *piece = &templates->single.pieces[i];
        if (piece->specials == NULL && piece->sequence > 0)
            status = attn_reader_fail(reader, "single", "a single text has no B");
    }
    return status;
}

static bool push_piece(const struct template_piece *piece, const struct attn_segments *in, bool add_special_tokens,
                       struct attn_cuts *out) {
    bool has_memory = true;
    for (size_t i = 0; has_memory && add_special_tokens && i < piece->special_count; i++)
        has_memory = attn_special_push(out, &piece->specials[i], piece->type_id);
    if (piece->specials != NULL)
        return has_memory;
    const struct attn_cuts *cuts = &in->entries[piece->sequence];
    for (size_t i = 0; has_memory && i < cuts->count; i++) {
        struct attn_cut cut = cuts->entries[i];
        cut.type_id = piece->type_id;
        has_memory = attn_cuts_push(out, &cut);
    }
    return has_memory;
}

attn_status attn_template_apply(const void *data, struct attn_segments *segments, bool add_special_tokens,
                                struct attn_error *error) {
    const struct templates *templates = data;
    if (segments->count > 2)
        return attn_fail(error, ATTN_EFORMAT, "text", "a template behind another template is not taken");
    const struct template *template = segments->count == 2 ? &templates->pair : &templates->single;
    struct attn_segments out = {0};
    bool has_memory = true;
    for (size_t i = 0; has_memory && i < template->count; i++)
        has_memory = push_piece(&template->pieces[i], segments, add_special_tokens, &out.entries[out.count++]);
    for (size_t i = 0; i < segments->count; i++)
        free(segments->entries[i].entries);
    *segments = out;
    return has_memory ? ATTN_OK : attn_fail(error, ATTN_ENOMEM, "text", "no memory for the tokens");
}

size_t attn_template_added(const void *data, bool is_pair) {
    const struct templates *templates = data;
    const struct template *template = is_pair ? &templates->pair : &templates->single;
    size_t added = 0;
    for (size_t i = 0; i < template->count; i++)
        added += template->pieces[i].special_count;
    return added;
}
