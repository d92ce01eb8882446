/*
 * WordPiece: the longest token that a word begins with, then the longest that goes on, and so forth; a word that does
 * not come out even is one unknown token. WordLevel: a word is a token or unknown.
 * Schuster and Nakajima 2012; Devlin et al. 2019.
 */
#include "lib/tokenizer/models.h"

#include "lib/tensor/error.h"

struct wordpiece {
    const struct attn_vocabulary *vocabulary;
    struct attn_string unknown, prefix;
    int32_t unknown_id;
    uint32_t prefix_hash;
    size_t longest_word; /* characters; a longer word is unknown */
};

static attn_status read_unknown(struct attn_reader *reader, const json_t *object, struct wordpiece *wordpiece) {
    attn_status status = attn_read_string(reader, object, "unk_token", ATTN_REQUIRED, &wordpiece->unknown);
    if (status != ATTN_OK)
        return status;
    wordpiece->unknown_id =
        attn_vocabulary_id(wordpiece->vocabulary, wordpiece->unknown.bytes, wordpiece->unknown.length);
    if (wordpiece->unknown_id < 0)
        return attn_reader_fail(reader, "unk_token", "the token %.80s is not in the vocabulary",
                                wordpiece->unknown.bytes);
    return ATTN_OK;
}

static attn_status read_common(struct attn_reader *reader, const json_t *object, struct attn_vocabulary *vocabulary,
                               struct wordpiece **wordpiece) {
    *wordpiece = attn_pool_take(reader->pool, 1, sizeof **wordpiece);
    if (*wordpiece == NULL)
        return attn_reader_no_memory(reader);
    (*wordpiece)->vocabulary = vocabulary;
    attn_status status = attn_vocabulary_read(reader, object, "vocab", vocabulary);
    return status == ATTN_OK ? read_unknown(reader, object, *wordpiece) : status;
}

attn_status attn_wordpiece_read(struct attn_reader *reader, const json_t *object, struct attn_vocabulary *vocabulary,
                                void **data) {
    struct wordpiece *wordpiece;
    attn_status status = read_common(reader, object, vocabulary, &wordpiece);
    if (status == ATTN_OK)
        status = attn_read_string(reader, object, "continuing_subword_prefix", ATTN_REQUIRED, &wordpiece->prefix);
    if (status == ATTN_OK)
        status = attn_read_size(reader, object, "max_input_chars_per_word", ATTN_REQUIRED, INT64_MAX,
                                &wordpiece->longest_word);
    if (status != ATTN_OK)
        return status;
    wordpiece->prefix_hash = attn_hash(ATTN_HASH_START, wordpiece->prefix.bytes, wordpiece->prefix.length);
    *data = wordpiece;
    return ATTN_OK;
}

static bool is_inside_character(char byte) {
    return ((unsigned char)byte & 0xc0) == 0x80;
}

static bool is_too_long(const struct attn_slice *piece, size_t longest) {
    size_t characters = 0;
    for (size_t i = 0; piece->length > longest && i < piece->length; i++)
        characters += !is_inside_character(piece->bytes[i]);
    return characters > longest;
}

/*
 * @param hashes room for a number for each byte of the vocabulary's longest token
 * @return the bytes of the longest token at `at`, 0 where there is none
 */
static size_t longest_token(const struct wordpiece *wordpiece, const struct attn_slice *piece, size_t at,
                            uint32_t *hashes, int32_t *id) {
    const char *bytes = piece->bytes + at;
    size_t left = piece->length - at, longest = wordpiece->vocabulary->longest;
    size_t room = left < longest ? left : longest;
    uint32_t hash = at > 0 ? wordpiece->prefix_hash : ATTN_HASH_START;
    for (size_t i = 0; i < room; i++)
        hashes[i] = hash = attn_hash_step(hash, (unsigned char)bytes[i]);
    struct attn_string head = at > 0 ? wordpiece->prefix : (struct attn_string){0};
    for (size_t length = room; length > 0; length--) {
        if (length < left && is_inside_character(bytes[length]))
            continue;
        *id = attn_vocabulary_id_hashed(wordpiece->vocabulary, hashes[length - 1], head,
                                        (struct attn_string){bytes, length});
        if (*id >= 0)
            return length;
    }
    return 0;
}

attn_status attn_wordpiece_tokenize(const void *data, struct attn_run *run) {
    const struct wordpiece *wordpiece = data;
    const struct attn_slice *piece = &run->piece;
    size_t first = run->cuts.count, at = is_too_long(piece, wordpiece->longest_word) ? SIZE_MAX : 0;
    uint32_t *hashes = attn_run_scratch(run, (wordpiece->vocabulary->longest + 1) * sizeof *hashes);
    if (hashes == NULL)
        return attn_fail(run->error, ATTN_ENOMEM, "text", "no memory for the tokens");
    while (at < piece->length && attn_patience_spend(run->patience, piece->length - at)) {
        int32_t id = -1;
        size_t length = longest_token(wordpiece, piece, at, hashes, &id);
        attn_status status = ATTN_OK;
        if (length > 0)
            status = attn_run_push(run, id, at, at + length, attn_vocabulary_text(wordpiece->vocabulary, id));
        if (status != ATTN_OK)
            return status;
        at = length > 0 ? at + length : SIZE_MAX;
    }
    if (at != SIZE_MAX)
        return ATTN_OK;
    run->cuts.count = first;
    return attn_run_push(run, wordpiece->unknown_id, 0, piece->length, wordpiece->unknown);
}

attn_status attn_wordlevel_read(struct attn_reader *reader, const json_t *object, struct attn_vocabulary *vocabulary,
                                void **data) {
    struct wordpiece *wordpiece;
    attn_status status = read_common(reader, object, vocabulary, &wordpiece);
    if (status == ATTN_OK)
        *data = wordpiece;
    return status;
}

attn_status attn_wordlevel_tokenize(const void *data, struct attn_run *run) {
    const struct wordpiece *words = data;
    const struct attn_slice *piece = &run->piece;
    int32_t id = attn_vocabulary_id(words->vocabulary, piece->bytes, piece->length);
    struct attn_string value = id >= 0 ? (struct attn_string){piece->bytes, piece->length} : words->unknown;
    return attn_run_push(run, id >= 0 ? id : words->unknown_id, 0, piece->length, value);
}
