#include "lib/tokenizer/models.h"

#include "lib/tensor/error.h"

#include <stdlib.h>

static const struct attn_model_kind kinds[] = {
    {"BPE", attn_bpe_read, attn_bpe_tokenize},
    {"WordPiece", attn_wordpiece_read, attn_wordpiece_tokenize},
    {"WordLevel", attn_wordlevel_read, attn_wordlevel_tokenize},
    {"Unigram", attn_unigram_read, attn_unigram_tokenize},
};

/* Old files have no "type". @return a model's name by the members that only it has. */
static const char *guess(const json_t *json) {
    if (json_object_get(json, "merges") != NULL)
        return "BPE";
    if (json_object_get(json, "max_input_chars_per_word") != NULL)
        return "WordPiece";
    return json_is_array(json_object_get(json, "vocab")) ? "Unigram" : "WordLevel";
}

attn_status attn_model_read(struct attn_reader *reader, const json_t *json, struct attn_model *model) {
    static const struct attn_kinds table = {"model", kinds, sizeof kinds / sizeof *kinds, sizeof *kinds, NULL};
    json_t *typed = NULL;
    if (json_is_object(json) && json_object_get(json, "type") == NULL) {
        typed = json_pack("{s:s}", "type", guess(json));
        if (typed == NULL)
            return attn_reader_no_memory(reader);
    }
    const void *row = NULL;
    attn_status status = attn_read_kind(reader, typed != NULL ? typed : json, &table, &row);
    json_decref(typed);
    if (status != ATTN_OK)
        return status;
    model->kind = row;
    return model->kind->read(reader, json, &model->vocabulary, &model->data);
}

void *attn_run_scratch(struct attn_run *run, size_t bytes) {
    if (bytes <= run->scratch_bytes)
        return run->scratch;
    size_t wanted = bytes < SIZE_MAX / 2 ? bytes + bytes / 2 : bytes;
    void *scratch = realloc(run->scratch, wanted);
    if (scratch == NULL)
        return NULL;
    run->scratch = scratch;
    run->scratch_bytes = wanted;
    return scratch;
}

bool attn_cuts_push(struct attn_cuts *cuts, const struct attn_cut *cut) {
    if (cuts->count == cuts->capacity) {
        size_t capacity = cuts->capacity < 64 ? 64 : cuts->capacity * 2;
        struct attn_cut *entries =
            capacity < SIZE_MAX / 2 / sizeof *entries ? realloc(cuts->entries, capacity * sizeof *entries) : NULL;
        if (entries == NULL)
            return false;
        cuts->entries = entries;
        cuts->capacity = capacity;
    }
    cuts->entries[cuts->count++] = *cut;
    return true;
}

attn_status attn_run_push(struct attn_run *run, int32_t id, size_t begin, size_t end, struct attn_string value) {
    const struct attn_slice *piece = &run->piece;
    if (run->cuts.count >= run->pieces.text.limit)
        return attn_fail(run->error, ATTN_ELIMIT, "text", "the tokenizer makes more than %zu tokens of the text",
                         run->pieces.text.limit);
    size_t last = end > begin ? end - 1 : begin;
    last = last < piece->length ? last : piece->length - 1;
    struct attn_cut cut = {
        .id = id,
        .begin = piece->origins[begin < last ? begin : last].begin,
        .end = piece->origins[last].end,
        .value = value,
    };
    if (!attn_cuts_push(&run->cuts, &cut))
        return attn_fail(run->error, ATTN_ENOMEM, "text", "no memory for the tokens");
    return ATTN_OK;
}
