/*
 * Unigram: of all ways to cut a piece into tokens, the one whose scores add up to most (Kudo 2018, section 3.2), found
 * by going through the piece once and keeping the best way to every place (Viterbi). A character that is no token by
 * itself is the unknown token, at ten less than the worst score; unknown tokens that follow each other are one.
 */
#include "lib/tensor/error.h"
#include "lib/tokenizer/models.h"
#include "lib/tokenizer/prefixes.h"
#include "lib/tokenizer/unicode.h"

#include <math.h>
#include <stdio.h>

/* What an unknown character costs beyond the worst token. */
static const double unknown_penalty = 10;

struct unigram {
    const struct attn_vocabulary *vocabulary;
    struct attn_prefixes prefixes;
    double *scores; /* by id */
    double unknown_score;
    int32_t unknown; /* -1: none */
    bool has_bytes;  /* byte_fallback, and what it needs is there */
    int32_t bytes[256];
};

/* The best way to a place of the piece. */
struct node {
    double score;
    uint32_t begin; /* of the last token on that way; NONE where no way is known */
    uint32_t end;   /* of the token that begins here on the best way of all */
    int32_t id;
};
static const uint32_t none = UINT32_MAX;
enum { STEPS_A_BYTE = 16 }; /* to look for tokens */

/*
 * A number as the tokenizers package reads it from JSON: the digits as a whole number, rounded, then divided by a power
 * of ten and rounded again. Two ways to cut a text that add up to the same score are told apart by these last bits. The
 * digits are the fewest that say `value`, which is how numbers are written.
 */
static double read_twice_rounded(double value) {
    long double magnitude = fabsl((long double)value);
    if (!(magnitude > 1e-4L) || magnitude >= 1e15L)
        return value;
    for (int digits = 15; digits <= 17; digits++) {
        int decimals = digits - 1 - (int)floorl(log10l(magnitude));
        long double power = powl(10, decimals), whole = rintl(magnitude * power);
        if ((double)(whole / power) != (double)magnitude)
            continue;
        for (; decimals > 0 && fmodl(whole, 10) == 0; decimals--)
            whole /= 10;
        return copysign((double)whole / (double)powl(10, decimals), value);
    }
    return value;
}

static attn_status read_piece(struct attn_reader *reader, const json_t *piece, struct attn_vocabulary *vocabulary,
                              int32_t id, double *score) {
    const json_t *text = json_array_get(piece, 0), *value = json_array_get(piece, 1);
    if (json_array_size(piece) != 2 || !json_is_string(text) || !json_is_number(value))
        return attn_reader_fail(reader, NULL, "a token's text and score are needed");
    struct attn_string copy = {.length = json_string_length(text)};
    if (copy.length > ATTN_PREFIX_LIMIT)
        return attn_reader_fail(reader, NULL, "a token of more than %d bytes", ATTN_PREFIX_LIMIT);
    copy.bytes = attn_pool_copy(reader->pool, json_string_value(text), copy.length);
    if (copy.bytes == NULL || !attn_vocabulary_add(vocabulary, copy, id))
        return attn_reader_no_memory(reader);
    *score = json_number_value(value);
    if (!reader->has_exact_numbers)
        *score = read_twice_rounded(*score);
    return ATTN_OK;
}

/* A text that is there twice has the later id, but either id has the text. */
static bool finish_vocabulary(struct attn_reader *reader, const json_t *pieces, struct attn_vocabulary *vocabulary) {
    if (!attn_vocabulary_finish(reader->pool, vocabulary))
        return false;
    vocabulary->size = vocabulary->id_count; /* texts that are there twice are counted twice */
    for (size_t id = 0; id < vocabulary->id_count; id++) {
        if (vocabulary->by_id[id] != 0)
            continue;
        const json_t *text = json_array_get(json_array_get(pieces, id), 0);
        int32_t later = attn_vocabulary_id(vocabulary, json_string_value(text), json_string_length(text));
        vocabulary->by_id[id] = vocabulary->by_id[later];
    }
    return true;
}

static attn_status read_pieces(struct attn_reader *reader, const json_t *pieces, struct attn_vocabulary *vocabulary,
                               struct unigram *unigram) {
    size_t count = json_array_size(pieces);
    if (count == 0 || count > ATTN_VOCABULARY_LIMIT)
        return attn_reader_fail(reader, "vocab", "from 1 to %d tokens are needed", ATTN_VOCABULARY_LIMIT);
    unigram->scores = attn_pool_take(reader->pool, count, sizeof *unigram->scores);
    if (unigram->scores == NULL || !attn_vocabulary_reserve(reader->pool, vocabulary, count))
        return attn_reader_no_memory(reader);
    size_t vocab = attn_reader_enter(reader, "vocab");
    for (size_t i = 0; i < count; i++) {
        size_t entry = attn_reader_enter_index(reader, i);
        attn_status status = read_piece(reader, json_array_get(pieces, i), vocabulary, (int32_t)i, &unigram->scores[i]);
        if (status != ATTN_OK)
            return status;
        attn_reader_leave(reader, entry);
        if (i == 0 || unigram->scores[i] < unigram->unknown_score)
            unigram->unknown_score = unigram->scores[i];
    }
    unigram->unknown_score -= unknown_penalty;
    attn_reader_leave(reader, vocab);
    return finish_vocabulary(reader, pieces, vocabulary) ? ATTN_OK : attn_reader_no_memory(reader);
}

/* "<0x41>" is the token of byte 0x41. */
static void find_bytes(struct unigram *unigram) {
    for (unsigned byte = 0; byte < 256; byte++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", byte);
        unigram->bytes[byte] = attn_vocabulary_id(unigram->vocabulary, name, 6);
    }
}

attn_status attn_unigram_read(struct attn_reader *reader, const json_t *object, struct attn_vocabulary *vocabulary,
                              void **data) {
    struct unigram *unigram = attn_pool_take(reader->pool, 1, sizeof *unigram);
    if (unigram == NULL)
        return attn_reader_no_memory(reader);
    *data = unigram;
    unigram->vocabulary = vocabulary;
    const json_t *pieces = NULL;
    attn_status status = attn_read_array(reader, object, "vocab", ATTN_REQUIRED, &pieces);
    if (status == ATTN_OK)
        status = read_pieces(reader, pieces, vocabulary, unigram);
    size_t unknown = SIZE_MAX;
    if (status == ATTN_OK)
        status = attn_read_size(reader, object, "unk_id", ATTN_OPTIONAL, json_array_size(pieces) - 1, &unknown);
    if (status == ATTN_OK)
        status = attn_read_bool(reader, object, "byte_fallback", ATTN_OPTIONAL, &unigram->has_bytes);
    if (status != ATTN_OK)
        return status;
    unigram->unknown = unknown == SIZE_MAX ? -1 : (int32_t)unknown;
    find_bytes(unigram);
    return attn_prefixes_build(reader->pool, vocabulary, &unigram->prefixes) ? ATTN_OK : attn_reader_no_memory(reader);
}

/* Takes a token as the last one of the way to `node` if that is better than what was known. */
static void improve(struct node *node, double score, size_t begin, int32_t id) {
    if (node->begin != none && score <= node->score)
        return;
    node->score = score;
    node->begin = (uint32_t)begin;
    node->id = id;
}

/* All tokens that begin at one place. @return whether the character there is known, or may be unknown. */
static bool extend(const struct unigram *unigram, const struct attn_slice *piece, struct node *nodes, size_t begin,
                   struct attn_patience *patience) {
    const char *text = piece->bytes + begin;
    size_t character = attn_utf8_size(*text);
    bool has_character = false;
    struct attn_prefix_search search = {0};
    const struct attn_prefix_entry *token;
    while ((token = attn_prefixes_next(&unigram->prefixes, &search, text, piece->length - begin)) != NULL) {
        size_t length = token->text.length;
        improve(&nodes[begin + length], unigram->scores[token->id] + nodes[begin].score, begin, token->id);
        has_character |= length == character;
    }
    if (!attn_patience_spend(patience, STEPS_A_BYTE * search.depth))
        return false;
    if (has_character)
        return true;
    if (unigram->unknown < 0)
        return false;
    improve(&nodes[begin + character], unigram->unknown_score + nodes[begin].score, begin, unigram->unknown);
    return true;
}

/* Finds the best way; nodes[begin].end tells it from the start. */
static bool find_best(const struct unigram *unigram, const struct attn_slice *piece, struct node *nodes,
                      struct attn_patience *patience) {
    for (size_t i = 0; i <= piece->length; i++)
        nodes[i] = (struct node){.begin = none};
    for (size_t begin = 0; begin < piece->length; begin += attn_utf8_size(piece->bytes[begin])) {
        if (!extend(unigram, piece, nodes, begin, patience))
            return false;
    }
    for (size_t end = piece->length; end > 0; end = nodes[end].begin)
        nodes[nodes[end].begin].end = (uint32_t)end;
    return true;
}

/* Unknown characters in a row: as bytes where there is a token for each, each with the place of all. */
static attn_status push_unknown(const struct unigram *unigram, struct attn_run *run, size_t begin, size_t end) {
    struct attn_string text = {run->piece.bytes + begin, end - begin};
    int32_t id = attn_vocabulary_id(unigram->vocabulary, text.bytes, text.length);
    bool has_bytes = id < 0 && unigram->has_bytes;
    for (size_t i = 0; has_bytes && i < text.length; i++)
        has_bytes = unigram->bytes[(unsigned char)text.bytes[i]] >= 0;
    if (!has_bytes)
        return attn_run_push(run, id >= 0 ? id : unigram->unknown, begin, end, text);
    attn_status status = ATTN_OK;
    for (size_t i = 0; status == ATTN_OK && i < text.length; i++) {
        int32_t byte = unigram->bytes[(unsigned char)text.bytes[i]];
        status = attn_run_push(run, byte, begin, end, attn_vocabulary_text(unigram->vocabulary, byte));
    }
    return status;
}

static attn_status push_best(const struct unigram *unigram, struct attn_run *run, const struct node *nodes) {
    attn_status status = ATTN_OK;
    for (size_t begin = 0, end; status == ATTN_OK && begin < run->piece.length; begin = end) {
        end = nodes[begin].end;
        int32_t id = nodes[end].id;
        if (id != unigram->unknown) {
            status = attn_run_push(run, id, begin, end, attn_vocabulary_text(unigram->vocabulary, id));
            continue;
        }
        while (end < run->piece.length && nodes[nodes[end].end].id == unigram->unknown)
            end = nodes[end].end;
        status = push_unknown(unigram, run, begin, end);
    }
    return status;
}

attn_status attn_unigram_tokenize(const void *data, struct attn_run *run) {
    const struct unigram *unigram = data;
    struct node *nodes = NULL;
    if (run->piece.length < none / sizeof *nodes)
        nodes = attn_run_scratch(run, (run->piece.length + 1) * sizeof *nodes);
    if (nodes == NULL)
        return attn_fail(run->error, ATTN_ENOMEM, "text", "no memory for the tokens of the text");
    if (!find_best(unigram, &run->piece, nodes, run->patience))
        return attn_fail(run->error, ATTN_EFORMAT, "text",
                         "a character is not in the vocabulary, and the tokenizer has no unknown token");
    return push_best(unigram, run, nodes);
}
