/*
 * The merges of a SentencePiece model of BPE, which has none of its own: every way to put a piece together from two
 * others. The same pieces with their first parts getting longer stand in a row.
 */
#include "lib/tokenizer/sentencepiece_maker.h"
#include "lib/tokenizer/unicode.h"

#include <stdlib.h>

/* A model that is made to take long is refused: bytes looked at, and merges. Gemma's has 6e5 merges. */
static const size_t work_limit = (size_t)1 << 31;
static const size_t merge_limit = (size_t)1 << 22;

struct order {
    float score;
    uint32_t id;
};

static int compare(const void *left, const void *right) {
    const struct order *a = left, *b = right;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

/* A piece that may be part of a merge. */
static bool is_part(const struct attn_sentencepiece_maker *maker, int32_t id, bool by_score) {
    return id >= 0 && (size_t)id < maker->count && (!by_score || maker->pieces[id].type == ATTN_SENTENCEPIECE_NORMAL);
}

static bool append_merge(json_t *merges, struct attn_string left, struct attn_string right) {
    json_t *merge = json_array();
    if (json_array_append_new(merge, attn_json_text(left)) != 0 ||
        json_array_append_new(merge, attn_json_text(right)) != 0) {
        json_decref(merge);
        return false;
    }
    return json_array_append_new(merges, merge) == 0;
}

static attn_status merge_piece(struct attn_sentencepiece_maker *maker, struct attn_string text, bool by_score,
                               json_t *merges, size_t *work) {
    uint32_t hash = ATTN_HASH_START;
    for (size_t at = 0, size; at < text.length; at += size) {
        if (at > 0) {
            struct attn_string left = {text.bytes, at}, right = {text.bytes + at, text.length - at};
            int32_t id = attn_vocabulary_id_hashed(&maker->names, hash, left, (struct attn_string){0});
            if (is_part(maker, id, by_score)) {
                *work += right.length;
                id = attn_vocabulary_id(&maker->names, right.bytes, right.length);
                if (is_part(maker, id, by_score) && !append_merge(merges, left, right))
                    return attn_reader_no_memory(maker->reader);
            }
        }
        size = attn_utf8_size(text.bytes[at]);
        hash = attn_hash(hash, text.bytes + at, size);
    }
    *work += text.length;
    if (*work > work_limit || json_array_size(merges) > merge_limit)
        return attn_reader_fail(maker->reader, NULL, "the model's pieces can be merged in too many ways");
    return ATTN_OK;
}

/* The pieces in the order of their merges. */
static struct order *order_pieces(struct attn_sentencepiece_maker *maker, bool by_score) {
    struct order *order = attn_pool_take(&maker->scratch, maker->count, sizeof *order);
    if (order == NULL)
        return NULL;
    for (size_t i = 0; i < maker->count; i++)
        order[i] = (struct order){by_score ? maker->pieces[i].score : 0, (uint32_t)i};
    if (by_score)
        qsort(order, maker->count, sizeof *order, compare);
    return order;
}

attn_status attn_sentencepiece_merges(struct attn_sentencepiece_maker *maker, bool by_score, json_t **merges) {
    const struct order *order = order_pieces(maker, by_score);
    *merges = json_array();
    if (order == NULL || *merges == NULL)
        return attn_reader_no_memory(maker->reader);
    size_t work = 0;
    attn_status status = ATTN_OK;
    for (size_t i = 0; status == ATTN_OK && i < maker->count; i++) {
        if (is_part(maker, (int32_t)order[i].id, by_score))
            status = merge_piece(maker, maker->pieces[order[i].id].text, by_score, *merges, &work);
    }
    return status;
}
