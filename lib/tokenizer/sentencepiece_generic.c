/* A tokenizer that does what a SentencePiece model's own settings say. */
#include "lib/tokenizer/sentencepiece_maker.h"

#include <stdlib.h>
#include <string.h>

/* Writes text so that a regular expression finds it as it is. @return where the next may be written. */
static char *write_escaped(struct attn_string text, char *out) {
    for (size_t i = 0; i < text.length; i++) {
        if (strchr("()[]{}?*+-|^$\\.&~# \t\n\r\v\f", text.bytes[i]) != NULL)
            *out++ = '\\';
        *out++ = text.bytes[i];
    }
    return out;
}

static size_t count_characters(struct attn_string text) {
    size_t count = 0;
    for (size_t i = 0; i < text.length; i++)
        count += (text.bytes[i] & 0xc0) != 0x80;
    return count;
}

/* The longest first; else in the order of ids, which is that of their addresses. */
static int compare_user_defined(const void *left, const void *right) {
    const struct attn_sentencepiece_piece *a = *(const struct attn_sentencepiece_piece *const *)left;
    const struct attn_sentencepiece_piece *b = *(const struct attn_sentencepiece_piece *const *)right;
    size_t length = count_characters(a->text), other = count_characters(b->text);
    return length != other ? (length < other) - (length > other) : (a > b) - (a < b);
}

/* @return a regular expression for the user-defined pieces; "" where there are none; NULL without memory. */
static const char *user_defined_pattern(struct attn_sentencepiece_maker *maker) {
    const struct attn_sentencepiece_piece **found = attn_pool_take(&maker->scratch, maker->count, sizeof *found);
    size_t count = 0, room = 1;
    for (size_t i = 0; found != NULL && i < maker->count; i++) {
        if (maker->pieces[i].type != ATTN_SENTENCEPIECE_USER_DEFINED)
            continue;
        found[count++] = &maker->pieces[i];
        room += 2 * maker->pieces[i].text.length + 1;
    }
    char *pattern = found != NULL ? attn_pool_take(&maker->scratch, room, 1) : NULL, *out = pattern;
    if (pattern == NULL)
        return NULL;
    qsort(found, count, sizeof *found, compare_user_defined);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            *out++ = '|';
        out = write_escaped(found[i]->text, out);
    }
    return pattern;
}

static attn_status put_generic_normalizer(struct attn_sentencepiece_maker *maker, json_t *document, bool legacy) {
    const struct attn_sentencepiece *model = maker->model;
    json_t *normalizers = attn_maker_put_sequence(document, "normalizer", "normalizers");
    attn_status status = normalizers != NULL ? ATTN_OK : attn_reader_no_memory(maker->reader);
    if (status == ATTN_OK)
        status = attn_maker_append_charsmap(maker, normalizers);
    if (status == ATTN_OK && model->remove_extra_whitespaces) {
        status = attn_maker_append(maker, normalizers, ATTN_PART_REPLACE("\\\\A +| +\\\\z", "Regex", ""));
        if (status == ATTN_OK)
            status = attn_maker_append(maker, normalizers, ATTN_PART_REPLACE(" {2,}", "Regex", " "));
    }
    if (status == ATTN_OK && model->escape_whitespaces)
        status = attn_maker_append(maker, normalizers, ATTN_PART_REPLACE(" ", "String", ATTN_SPACE_SIGN));
    if (status == ATTN_OK && model->add_dummy_prefix && legacy)
        status = attn_maker_append(
            maker, normalizers, ATTN_PART_REPLACE("\\\\A" ATTN_SPACE_SIGN, "Regex", ATTN_SPACE_SIGN ATTN_SPACE_SIGN));
    return status;
}

static attn_status put_generic_pre_tokenizer(struct attn_sentencepiece_maker *maker, json_t *document, bool legacy,
                                             const char *user_defined) {
    if (!maker->model->add_dummy_prefix && *user_defined == '\0')
        return ATTN_OK;
    json_t *pre_tokenizers = attn_maker_put_sequence(document, "pre_tokenizer", "pretokenizers");
    attn_status status = pre_tokenizers != NULL ? ATTN_OK : attn_reader_no_memory(maker->reader);
    if (status == ATTN_OK && maker->model->add_dummy_prefix)
        status =
            attn_maker_append(maker, pre_tokenizers,
                              legacy ? ATTN_PART_METASPACE("always", "false") : ATTN_PART_METASPACE("first", "false"));
    if (status != ATTN_OK || *user_defined == '\0')
        return status;
    json_t *split = json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex", user_defined, "behavior",
                              "Isolated", "invert", false);
    return json_array_append_new(pre_tokenizers, split) == 0 ? ATTN_OK : attn_reader_no_memory(maker->reader);
}

static attn_status put_generic_model(struct attn_sentencepiece_maker *maker, json_t *document, bool has_user_defined) {
    const struct attn_sentencepiece *model = maker->model;
    if (model->algorithm == ATTN_SENTENCEPIECE_UNIGRAM)
        return attn_maker_put_unigram(maker, document, model->unk_id, model->byte_fallback);
    attn_status status = attn_maker_put_bpe(maker, document, "{\"type\": \"BPE\", \"fuse_unk\": true}", true);
    json_t *made = json_object_get(document, "model");
    if (status == ATTN_OK)
        status = attn_maker_put(maker, made, "unk_token", attn_json_text(model->unk_piece));
    if (status == ATTN_OK)
        status = attn_maker_put(maker, made, "byte_fallback", json_boolean(model->byte_fallback));
    return status == ATTN_OK ? attn_maker_put(maker, made, "ignore_merges", json_boolean(has_user_defined)) : status;
}

attn_status attn_maker_generic(struct attn_sentencepiece_maker *maker, json_t *document) {
    bool legacy = attn_maker_says(maker, "legacy", true);
    const char *user_defined = user_defined_pattern(maker);
    if (user_defined == NULL)
        return attn_reader_no_memory(maker->reader);
    attn_status status = put_generic_model(maker, document, *user_defined != '\0');
    if (status == ATTN_OK)
        status = put_generic_normalizer(maker, document, legacy);
    if (status == ATTN_OK)
        status = put_generic_pre_tokenizer(maker, document, legacy, user_defined);
    return status == ATTN_OK
               ? attn_maker_put_decoder(maker, document, maker->model->byte_fallback, maker->model->add_dummy_prefix)
               : status;
}
