/* Added tokens: the longest of those that begin leftmost, before normalisation and after it. */
#include "lib/tokenizer/added.h"

#include "lib/tensor/error.h"
#include "lib/tokenizer/unicode.h"

#include <string.h>

/* Contents are normalised when a tokenizer is opened, which nothing ends. */
enum { LONGEST_CONTENT = 4096 };

static bool tree_add(struct attn_added_tree *tree, struct attn_string text, int32_t id) {
    uint32_t *link = &tree->roots[(unsigned char)text.bytes[0]], at = 0;
    for (size_t i = 0; i < text.length; i++) {
        unsigned char byte = (unsigned char)text.bytes[i];
        while (*link != 0 && tree->nodes[*link].byte != byte)
            link = &tree->nodes[*link].sibling;
        if (*link == 0) {
            if (tree->count == tree->capacity)
                return false;
            *link = (uint32_t)tree->count;
            tree->nodes[tree->count++] = (struct attn_added_node){.id = -1, .byte = byte};
        }
        at = *link;
        link = &tree->nodes[at].child;
    }
    tree->nodes[at].id = id;
    return true;
}

/* @return the length of the longest token at bytes, 0 where there is none. */
static size_t tree_find(const struct attn_added_tree *tree, const char *bytes, size_t left, int32_t *id) {
    uint32_t at = tree->roots[(unsigned char)bytes[0]];
    size_t found = 0;
    for (size_t i = 0; at != 0 && i < left; i++) {
        while (at != 0 && tree->nodes[at].byte != (unsigned char)bytes[i])
            at = tree->nodes[at].sibling;
        if (at == 0)
            break;
        if (tree->nodes[at].id >= 0) {
            found = i + 1;
            *id = tree->nodes[at].id;
        }
        at = tree->nodes[at].child;
    }
    return found;
}

static attn_status make_tree(struct attn_reader *reader, const struct attn_added *added, bool is_normalized,
                             struct attn_added_tree *tree) {
    tree->count = tree->capacity = 1;
    for (size_t i = 0; i < added->count; i++)
        tree->capacity += added->tokens[i].normalized.length;
    if (tree->capacity > UINT32_MAX)
        return attn_reader_no_memory(reader);
    tree->nodes = attn_pool_take(reader->pool, tree->capacity, sizeof *tree->nodes);
    if (tree->nodes == NULL)
        return attn_reader_no_memory(reader);
    for (size_t i = 0; i < added->count; i++) {
        const struct attn_added_token *token = &added->tokens[i];
        if (token->is_normalized == is_normalized && !tree_add(tree, token->normalized, token->id))
            return attn_reader_no_memory(reader);
    }
    return ATTN_OK;
}

/* What is looked for in a normalised text: the content, normalised. */
static attn_status normalize_content(struct attn_reader *reader, const struct attn_normalizer *normalizer,
                                     struct attn_added_token *token) {
    token->normalized = token->content;
    if (!token->is_normalized || normalizer->kind == NULL)
        return ATTN_OK;
    struct attn_normal normal = {0};
    attn_status status = ATTN_OK;
    if (!attn_text_append_bytes(&normal.text, token->content.bytes, token->content.length, (struct attn_origin){0, 0}))
        status = attn_reader_no_memory(reader);
    if (status == ATTN_OK)
        status = attn_normalizer_apply(normalizer, &normal, reader->error);
    if (status == ATTN_OK && normal.text.length == 0)
        status = attn_reader_fail(reader, "content", "nothing is left of it when it is normalised");
    if (status == ATTN_OK) {
        token->normalized.length = normal.text.length;
        token->normalized.bytes = attn_pool_copy(reader->pool, normal.text.bytes, normal.text.length);
        if (token->normalized.bytes == NULL)
            status = attn_reader_no_memory(reader);
    }
    attn_text_reset(&normal.text);
    attn_text_reset(&normal.next);
    return status;
}

static attn_status read_token(struct attn_reader *reader, const json_t *json, struct attn_added_token *token) {
    size_t id;
    if (!json_is_object(json))
        return attn_reader_fail(reader, NULL, "an object is needed");
    attn_status status = attn_read_string(reader, json, "content", ATTN_REQUIRED, &token->content);
    if (status == ATTN_OK && token->content.length > LONGEST_CONTENT)
        return attn_reader_fail(reader, "content", "an added token has at most %d bytes", LONGEST_CONTENT);
    if (status == ATTN_OK)
        status = attn_read_size(reader, json, "id", ATTN_REQUIRED, ATTN_VOCABULARY_LIMIT - 1, &id);
    const struct {
        const char *key;
        bool *value;
    } flags[] = {{"single_word", &token->single_word},
                 {"lstrip", &token->lstrip},
                 {"rstrip", &token->rstrip},
                 {"normalized", &token->is_normalized},
                 {"special", &token->special}};
    for (size_t i = 0; status == ATTN_OK && i < sizeof flags / sizeof *flags; i++)
        status = attn_read_bool(reader, json, flags[i].key, ATTN_REQUIRED, flags[i].value);
    return status;
}

/* Keeps a token; one with the same id gives way. @param next the id of the next token that the model does not know */
static attn_status keep_token(struct attn_reader *reader, struct attn_added *added, const struct attn_model *model,
                              struct attn_added_token *token, int32_t *next) {
    token->id = attn_vocabulary_id(&added->by_content, token->content.bytes, token->content.length);
    if (token->id < 0)
        token->id = attn_vocabulary_id(&model->vocabulary, token->content.bytes, token->content.length);
    if (token->id < 0)
        token->id = (*next)++;
    if (token->id >= ATTN_VOCABULARY_LIMIT || !attn_vocabulary_add(&added->by_content, token->content, token->id))
        return attn_reader_no_memory(reader);
    uint32_t *slot = &added->by_id[token->id];
    if (*slot == 0)
        *slot = (uint32_t)++added->count;
    added->tokens[*slot - 1] = *token;
    return ATTN_OK;
}

attn_status attn_added_read(struct attn_reader *reader, const json_t *array, const struct attn_model *model,
                            const struct attn_normalizer *normalizer, struct attn_added *added) {
    size_t count = json_array_size(array);
    int32_t next = (int32_t)model->vocabulary.size;
    added->id_count = (model->vocabulary.id_count > (size_t)next ? model->vocabulary.id_count : (size_t)next) + count;
    added->tokens = attn_pool_take(reader->pool, count, sizeof *added->tokens);
    added->by_id = attn_pool_take(reader->pool, added->id_count, sizeof *added->by_id);
    if (added->tokens == NULL || added->by_id == NULL ||
        !attn_vocabulary_reserve(reader->pool, &added->by_content, count))
        return attn_reader_no_memory(reader);
    for (size_t i = 0; i < count; i++) {
        struct attn_added_token token = {0};
        size_t length = attn_reader_enter_index(reader, i);
        attn_status status = read_token(reader, json_array_get(array, i), &token);
        if (status == ATTN_OK && token.content.length > 0)
            status = normalize_content(reader, normalizer, &token);
        if (status == ATTN_OK && token.content.length > 0)
            status = keep_token(reader, added, model, &token, &next);
        if (status != ATTN_OK)
            return status;
        attn_reader_leave(reader, length);
    }
    attn_status status = make_tree(reader, added, false, &added->plain);
    return status == ATTN_OK ? make_tree(reader, added, true, &added->normalized) : status;
}

const struct attn_added_token *attn_added_by_id(const struct attn_added *added, int64_t id) {
    if (id < 0 || (uint64_t)id >= added->id_count || added->by_id[id] == 0)
        return NULL;
    return &added->tokens[added->by_id[id] - 1];
}

static bool is_word_before(const char *bytes, size_t at) {
    size_t size;
    return at > 0 && attn_is_word(attn_utf8_read(bytes + at - attn_utf8_size_before(bytes, at), &size));
}

static bool is_word_at(const char *bytes, size_t length, size_t at) {
    size_t size;
    return at < length && attn_is_word(attn_utf8_read(bytes + at, &size));
}

/* @return where the blanks before `at` begin, not before `floor`. */
static size_t blanks_before(const char *bytes, size_t at, size_t floor) {
    size_t size;
    while (at > floor) {
        size_t last = at - attn_utf8_size_before(bytes, at);
        if (last < floor || !attn_is_whitespace(attn_utf8_read(bytes + last, &size)))
            break;
        at = last;
    }
    return at;
}

/* Blanks that were seen last: a token may lie among them, and so may the next, and none looks at all of them again. */
struct blanks {
    size_t begin, end;
};

/* @return where the blanks behind `at` end. */
static size_t blanks_behind(const struct attn_slice *text, size_t at, struct blanks *blanks) {
    size_t size;
    if (at >= blanks->begin && at <= blanks->end)
        return blanks->end;
    blanks->begin = at;
    while (at < text->length && attn_is_whitespace(attn_utf8_read(text->bytes + at, &size)))
        at += size;
    blanks->end = at;
    return at;
}

/* Pushes what lies from `begin` to `end` of `text`. */
static bool push(struct attn_piece_list *list, const struct attn_slice *text, size_t base, size_t begin, size_t end,
                 int32_t id) {
    struct attn_piece piece = {.begin = base + begin, .end = base + end, .added = id};
    if (begin < end)
        piece.first = text->origins[begin].begin;
    return attn_piece_push(list, &piece);
}

/* Cuts a text at the tokens of a tree; the pieces' places count from `base`. @return false without memory. */
static bool cut(const struct attn_added *added, const struct attn_added_tree *tree, const struct attn_slice *text,
                size_t base, struct attn_piece_list *list) {
    size_t done = 0, length = 0;
    struct blanks blanks = {0, 0};
    for (size_t at = 0; tree->count > 1 && at<text->length; at += length> 0 ? length : 1) {
        int32_t id = -1;
        length = tree_find(tree, text->bytes + at, text->length - at, &id);
        if (length == 0)
            continue;
        const struct attn_added_token *token = attn_added_by_id(added, id);
        size_t begin = at, end = at + length;
        if (token->single_word && (is_word_before(text->bytes, begin) || is_word_at(text->bytes, text->length, end)))
            continue;
        if (token->lstrip && begin > done)
            begin = blanks_before(text->bytes, begin, done);
        if (begin < done && token->lstrip)
            begin = done;
        if (token->rstrip)
            end = blanks_behind(text, end, &blanks);
        if ((done < begin && !push(list, text, base, done, begin, -1)) || !push(list, text, base, begin, end, id))
            return false;
        done = end;
    }
    return done == text->length || push(list, text, base, done, text->length, -1);
}

/* Normalises one piece between added tokens, and cuts it again. */
static attn_status extract_normalized(const struct attn_added *added, const struct attn_normalizer *normalizer,
                                      const struct attn_slice *piece, struct attn_normal *normal,
                                      struct attn_pieces *pieces, struct attn_error *error) {
    struct attn_slice slice = *piece;
    if (normalizer->kind != NULL) {
        normal->text.length = normal->next.length = 0;
        normal->first = piece->first;
        if (!attn_text_append(&normal->text, piece))
            return attn_fail(error, ATTN_ENOMEM, "text", "no memory for the pieces of the text");
        attn_status status = attn_normalizer_apply(normalizer, normal, error);
        if (status != ATTN_OK)
            return status;
        slice = attn_normal_slice(normal);
    }
    if (!cut(added, &added->normalized, &slice, pieces->text.length, &pieces->list) ||
        !attn_text_append(&pieces->text, &slice))
        return attn_fail(error, ATTN_ENOMEM, "text", "no memory for the pieces of the text");
    return ATTN_OK;
}

attn_status attn_added_extract(const struct attn_added *added, const struct attn_normalizer *normalizer,
                               const struct attn_slice *text, struct attn_pieces *pieces, struct attn_error *error) {
    struct attn_normal normal = {.patience = pieces->matches.patience};
    normal.text.limit = normal.next.limit = pieces->text.limit;
    struct attn_piece_list *plain = &pieces->next_list;
    attn_status status = ATTN_OK;
    plain->count = 0;
    if (!cut(added, &added->plain, text, 0, plain))
        status = attn_fail(error, ATTN_ENOMEM, "text", "no memory for the pieces of the text");
    for (size_t i = 0; status == ATTN_OK && i < plain->count; i++) {
        const struct attn_piece *piece = &plain->entries[i];
        struct attn_slice slice = {.bytes = text->bytes + piece->begin,
                                   .origins = text->origins + piece->begin,
                                   .length = piece->end - piece->begin,
                                   .first = piece->first};
        if (piece->added < 0)
            status = extract_normalized(added, normalizer, &slice, &normal, pieces, error);
        else if (!push(&pieces->list, &slice, pieces->text.length, 0, slice.length, piece->added) ||
                 !attn_text_append(&pieces->text, &slice))
            status = attn_fail(error, ATTN_ENOMEM, "text", "no memory for the pieces of the text");
    }
    if (normal.text.is_full || normal.next.is_full) /* for whoever says what went wrong */
        pieces->text.is_full = true;
    attn_text_reset(&normal.text);
    attn_text_reset(&normal.next);
    return status;
}
