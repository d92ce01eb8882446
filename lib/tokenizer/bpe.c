/* Byte pair encoding. Sennrich et al. 2016; byte-level: Radford et al. 2019. */
#include "lib/tokenizer/bpe.h"

#include "lib/tensor/error.h"
#include "lib/tokenizer/models.h"
#include "lib/tokenizer/unicode.h"

#include <stdio.h>
#include <string.h>

enum { LONGEST_AFFIX = 64, NARROW = 0x180 };

struct bpe {
    const struct attn_vocabulary *vocabulary;
    struct attn_merges merges;
    struct attn_string unknown, prefix, suffix; /* bytes is NULL where there is none */
    int32_t unknown_id;                         /* -1: not in the vocabulary */
    bool fuse_unk, byte_fallback, ignore_merges;
    int32_t byte_ids[256];  /* of <0x00> … */
    int32_t narrow[NARROW]; /* ids of single characters, which byte-level texts consist of */
};

static attn_status read_dropout(struct attn_reader *reader, const json_t *object) {
    const json_t *dropout = json_object_get(object, "dropout");
    if (dropout != NULL && !json_is_null(dropout) && !json_is_number(dropout))
        return attn_reader_fail(reader, "dropout", "a number is needed");
    if (json_number_value(dropout) != 0)
        return attn_reader_fail(reader, "dropout", "dropout would make tokens random, and is not taken");
    return ATTN_OK;
}

static attn_status read_affix(struct attn_reader *reader, const json_t *object, const char *key,
                              struct attn_string *affix) {
    attn_status status = attn_read_string(reader, object, key, ATTN_OPTIONAL, affix);
    if (status == ATTN_OK && affix->length > LONGEST_AFFIX)
        return attn_reader_fail(reader, key, "at most %d bytes are taken", LONGEST_AFFIX);
    return status;
}

static attn_status read_settings(struct attn_reader *reader, const json_t *object, struct bpe *bpe) {
    attn_status status = read_dropout(reader, object);
    if (status == ATTN_OK)
        status = attn_read_string(reader, object, "unk_token", ATTN_OPTIONAL, &bpe->unknown);
    if (status == ATTN_OK)
        status = read_affix(reader, object, "continuing_subword_prefix", &bpe->prefix);
    if (status == ATTN_OK)
        status = read_affix(reader, object, "end_of_word_suffix", &bpe->suffix);
    if (status == ATTN_OK)
        status = attn_read_bool(reader, object, "fuse_unk", ATTN_OPTIONAL, &bpe->fuse_unk);
    if (status == ATTN_OK)
        status = attn_read_bool(reader, object, "byte_fallback", ATTN_OPTIONAL, &bpe->byte_fallback);
    if (status == ATTN_OK)
        status = attn_read_bool(reader, object, "ignore_merges", ATTN_OPTIONAL, &bpe->ignore_merges);
    return status;
}

/* "a b" or ["a", "b"]. @return false where it is neither. */
static bool split_merge(const json_t *merge, struct attn_string *left, struct attn_string *right) {
    if (json_is_array(merge) && json_array_size(merge) == 2) {
        const json_t *first = json_array_get(merge, 0), *second = json_array_get(merge, 1);
        *left = (struct attn_string){json_string_value(first), json_string_length(first)};
        *right = (struct attn_string){json_string_value(second), json_string_length(second)};
        return json_is_string(first) && json_is_string(second);
    }
    const char *text = json_string_value(merge);
    size_t length = json_string_length(merge);
    const char *blank = text != NULL ? memchr(text, ' ', length) : NULL;
    if (blank == NULL)
        return false;
    *left = (struct attn_string){text, (size_t)(blank - text)};
    *right = (struct attn_string){blank + 1, length - left->length - 1};
    return memchr(right->bytes, ' ', right->length) == NULL;
}

static attn_status add_merge(struct attn_reader *reader, struct bpe *bpe, const json_t *merge, uint32_t rank) {
    struct attn_string left, right;
    if (!split_merge(merge, &left, &right))
        return attn_reader_fail(reader, NULL, "a merge is two tokens with a blank between, or an array of two");
    int32_t left_id = attn_vocabulary_id(bpe->vocabulary, left.bytes, left.length);
    int32_t right_id = attn_vocabulary_id(bpe->vocabulary, right.bytes, right.length);
    if (left_id < 0 || right_id < 0)
        return attn_reader_fail(reader, NULL, "the token %.80s is not in the vocabulary",
                                left_id < 0 ? left.bytes : right.bytes);
    if (right.length < bpe->prefix.length)
        return attn_reader_fail(reader, NULL, "the second token is shorter than continuing_subword_prefix");
    struct attn_string tail = {right.bytes + bpe->prefix.length, right.length - bpe->prefix.length};
    uint32_t hash = attn_hash(attn_hash(ATTN_HASH_START, left.bytes, left.length), tail.bytes, tail.length);
    int32_t id = attn_vocabulary_id_hashed(bpe->vocabulary, hash, left, tail);
    if (id < 0)
        return attn_reader_fail(reader, NULL, "what the merge of %.60s and %.60s makes is not in the vocabulary",
                                left.bytes, right.bytes);
    if (!attn_merges_add(&bpe->merges, left_id, right_id, rank, id))
        return attn_reader_fail(reader, NULL, "one of too many merges that collide in a hash table");
    return ATTN_OK;
}

static attn_status read_merges(struct attn_reader *reader, const json_t *object, struct bpe *bpe) {
    const json_t *array;
    attn_status status = attn_read_array(reader, object, "merges", ATTN_REQUIRED, &array);
    if (status != ATTN_OK)
        return status;
    size_t count = json_array_size(array);
    if (count >= UINT32_MAX || !attn_merges_reserve(reader->pool, &bpe->merges, count))
        return attn_reader_no_memory(reader);
    size_t outer = attn_reader_enter(reader, "merges");
    for (size_t i = 0, rank = 0; i < count; i++) {
        const json_t *merge = json_array_get(array, i);
        if (json_is_string(merge) && strncmp(json_string_value(merge), "#version", 8) == 0)
            continue;
        size_t inner = attn_reader_enter_index(reader, i);
        status = add_merge(reader, bpe, merge, (uint32_t)rank++);
        if (status != ATTN_OK)
            return status;
        attn_reader_leave(reader, inner);
    }
    attn_reader_leave(reader, outer);
    return ATTN_OK;
}

static void make_tables(struct bpe *bpe) {
    char text[8];
    for (unsigned i = 0; i < 256; i++) {
        snprintf(text, sizeof text, "<0x%02X>", i);
        bpe->byte_ids[i] = attn_vocabulary_id(bpe->vocabulary, text, 6);
    }
    for (uint32_t i = 0; i < NARROW; i++)
        bpe->narrow[i] = attn_vocabulary_id(bpe->vocabulary, text, attn_utf8_write(text, i));
    bpe->unknown_id =
        bpe->unknown.bytes == NULL ? -1 : attn_vocabulary_id(bpe->vocabulary, bpe->unknown.bytes, bpe->unknown.length);
}

attn_status attn_bpe_read(struct attn_reader *reader, const json_t *object, struct attn_vocabulary *vocabulary,
                          void **data) {
    struct bpe *bpe = attn_pool_take(reader->pool, 1, sizeof *bpe);
    if (bpe == NULL)
        return attn_reader_no_memory(reader);
    bpe->vocabulary = vocabulary;
    attn_status status = attn_vocabulary_read(reader, object, "vocab", vocabulary);
    if (status == ATTN_OK)
        status = read_settings(reader, object, bpe);
    if (status == ATTN_OK)
        status = read_merges(reader, object, bpe);
    if (status != ATTN_OK)
        return status;
    make_tables(bpe);
    *data = bpe;
    return ATTN_OK;
}

/* A word under way. */
struct word {
    struct attn_symbol *symbols;
    size_t count;
    uint32_t unknown_length; /* of the unknown symbol that waits; 0: none does */
};

static void add(struct word *word, int32_t id, uint32_t length) {
    word->symbols[word->count++] = (struct attn_symbol){.id = id, .length = length};
}

static void add_unknown(const struct bpe *bpe, struct word *word) {
    if (word->unknown_length > 0)
        add(word, bpe->unknown_id, word->unknown_length);
    word->unknown_length = 0;
}

/* Adds the tokens of a symbol's bytes. @return false where one of them is missing. */
static bool add_bytes(const struct bpe *bpe, struct word *word, const char *bytes, size_t length) {
    for (size_t i = 0; i < length; i++) {
        if (bpe->byte_ids[(unsigned char)bytes[i]] < 0)
            return false;
    }
    for (size_t i = 0; i < length; i++)
        add(word, bpe->byte_ids[(unsigned char)bytes[i]], 1);
    return true;
}

/* Adds the symbol of one character that stands at bytes; `text` is what stands for it in the vocabulary. */
static attn_status add_character(const struct bpe *bpe, struct attn_run *run, struct word *word, int32_t id,
                                 struct attn_string text, uint32_t length) {
    if (id >= 0) {
        add_unknown(bpe, word);
        add(word, id, length);
        return ATTN_OK;
    }
    if (bpe->byte_fallback && add_bytes(bpe, word, text.bytes, text.length))
        return ATTN_OK;
    if (bpe->unknown.bytes == NULL) /* the package leaves such characters out */
        return ATTN_OK;
    if (bpe->unknown_id < 0)
        return attn_fail(run->error, ATTN_EFORMAT, "text",
                         "a character has no token, and the tokenizer's unk_token is not in its vocabulary");
    if (!bpe->fuse_unk)
        add_unknown(bpe, word);
    word->unknown_length += length;
    return ATTN_OK;
}

/* Looks a character up, with what the model puts before it within a word and behind it at the end. */
static attn_status add_affixed(const struct bpe *bpe, struct attn_run *run, struct word *word, size_t at, size_t size) {
    char text[2 * LONGEST_AFFIX + 4];
    size_t length = 0;
    if (at > 0 && bpe->prefix.length > 0) {
        memcpy(text, bpe->prefix.bytes, bpe->prefix.length);
        length = bpe->prefix.length;
    }
    memcpy(text + length, run->piece.bytes + at, size);
    length += size;
    if (at + size == run->piece.length && bpe->suffix.length > 0) {
        memcpy(text + length, bpe->suffix.bytes, bpe->suffix.length);
        length += bpe->suffix.length;
    }
    int32_t id = attn_vocabulary_id(bpe->vocabulary, text, length);
    return add_character(bpe, run, word, id, (struct attn_string){text, length}, (uint32_t)size);
}

static attn_status add_characters(const struct bpe *bpe, struct attn_run *run, struct word *word) {
    const struct attn_slice *piece = &run->piece;
    bool is_plain = bpe->prefix.length == 0 && bpe->suffix.length == 0;
    attn_status status = ATTN_OK;
    size_t size;
    for (size_t at = 0; status == ATTN_OK && at < piece->length; at += size) {
        uint32_t code_point = attn_utf8_read(piece->bytes + at, &size);
        if (is_plain && code_point < NARROW)
            status = add_character(bpe, run, word, bpe->narrow[code_point],
                                   (struct attn_string){piece->bytes + at, size}, (uint32_t)size);
        else
            status = add_affixed(bpe, run, word, at, size);
    }
    add_unknown(bpe, word);
    return status;
}

/* Symbols at most: one a byte, and with byte fallback the bytes of what is put before and behind. */
static size_t most_symbols(const struct bpe *bpe, size_t length) {
    return bpe->byte_fallback ? length * (1 + bpe->prefix.length) + bpe->suffix.length : length;
}

attn_status attn_bpe_tokenize(const void *data, struct attn_run *run) {
    const struct bpe *bpe = data;
    const struct attn_slice *piece = &run->piece;
    if (bpe->ignore_merges) {
        int32_t id = attn_vocabulary_id(bpe->vocabulary, piece->bytes, piece->length);
        if (id >= 0)
            return attn_run_push(run, id, 0, piece->length, (struct attn_string){piece->bytes, piece->length});
    }
    size_t most = most_symbols(bpe, piece->length);
    if (most > run->pieces.text.limit) /* with byte_fallback, prefixes are bytes too */
        return attn_fail(run->error, ATTN_ELIMIT, "text", "the tokenizer makes more than %zu tokens of the text",
                         run->pieces.text.limit);
    struct word word = {.symbols = attn_run_scratch(run, most * sizeof *word.symbols + attn_merge_scratch_bytes(most))};
    if (word.symbols == NULL)
        return attn_fail(run->error, ATTN_ENOMEM, "text", "no memory for the tokens");
    attn_status status = add_characters(bpe, run, &word);
    word.count = attn_merge_word(&bpe->merges, word.symbols, word.count, word.symbols + most, run->patience);
    size_t at = 0;
    for (size_t i = 0; status == ATTN_OK && i < word.count; i++) {
        size_t end = at + word.symbols[i].length;
        status =
            attn_run_push(run, word.symbols[i].id, at, end, attn_vocabulary_text(bpe->vocabulary, word.symbols[i].id));
        at = end;
    }
    return status;
}
