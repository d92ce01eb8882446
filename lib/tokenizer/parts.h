/**
 * @file parts.h The parts of a tokenizer: tables of kinds. A kind is a row: the name in tokenizer.json, a function
 * that reads its settings into the pool, and one that does its work. To add one, add a row and the two functions.
 */
#ifndef LIB_TOKENIZER_PARTS_H
#define LIB_TOKENIZER_PARTS_H

#include "lib/tokenizer/pieces.h"
#include "lib/tokenizer/reader.h"
#include "lib/tokenizer/vocabulary.h"

/* Normalisers: rows in normalizers.c. */

struct attn_normalizer_kind {
    const char *name;
    attn_part_reader read; /**< NULL: no settings */
    attn_status (*apply)(const void *data, struct attn_normal *normal, struct attn_error *error);
};

struct attn_normalizer {
    const struct attn_normalizer_kind *kind; /**< NULL: none */
    void *data;
};

attn_status attn_normalizer_read(struct attn_reader *reader, const json_t *json, struct attn_normalizer *normalizer);
attn_status attn_normalizer_apply(const struct attn_normalizer *normalizer, struct attn_normal *normal,
                                  struct attn_error *error);

/* Pre-tokenisers: rows in pre_tokenizers.c. */

struct attn_pre_tokenizer_kind {
    const char *name;
    attn_part_reader read;
    attn_status (*apply)(const void *data, struct attn_pieces *pieces, struct attn_error *error);
};

struct attn_pre_tokenizer {
    const struct attn_pre_tokenizer_kind *kind;
    void *data;
};

attn_status attn_pre_tokenizer_read(struct attn_reader *reader, const json_t *json,
                                    struct attn_pre_tokenizer *pre_tokenizer);
attn_status attn_pre_tokenizer_apply(const struct attn_pre_tokenizer *pre_tokenizer, struct attn_pieces *pieces,
                                     struct attn_error *error);

/* Models: rows in models.c. */

/** A token under way. */
struct attn_cut {
    int32_t id;
    int32_t sequence;    /**< -1: special */
    uint32_t begin, end; /**< code points of the given text */
    uint32_t type_id;
    struct attn_string value; /**< the token as its model says it, or the text of an added one */
};

struct attn_cuts {
    struct attn_cut *entries;
    size_t count, capacity;
};

/** @return false without memory. */
bool attn_cuts_push(struct attn_cuts *cuts, const struct attn_cut *cut);

/** One text on its way through a model. */
struct attn_run {
    struct attn_pieces pieces;
    struct attn_slice piece; /**< the one at work */
    struct attn_cuts cuts;
    void *scratch; /**< see attn_run_scratch */
    size_t scratch_bytes;
    struct attn_patience *patience; /**< may be NULL */
    struct attn_error *error;
};

/** @return at least `bytes` of memory for a model's own use, with what was there before; NULL without memory. */
void *attn_run_scratch(struct attn_run *run, size_t bytes);
/**
 * Appends a token that was cut from bytes begin..end of run->piece.
 * @param value stays as long as the tokenizer, or lies in run->pieces
 * @return ATTN_OK or ATTN_ENOMEM
 */
attn_status attn_run_push(struct attn_run *run, int32_t id, size_t begin, size_t end, struct attn_string value);

struct attn_model_kind {
    const char *name;
    /** Fills *vocabulary, which is the tokenizer's, and reads the rest as other readers do. */
    attn_status (*read)(struct attn_reader *reader, const json_t *object, struct attn_vocabulary *vocabulary,
                        void **data);
    /** Cuts run->piece, which is not empty, into tokens; may leave off where run->patience is over. */
    attn_status (*tokenize)(const void *data, struct attn_run *run);
};

struct attn_model {
    const struct attn_model_kind *kind;
    void *data;
    struct attn_vocabulary vocabulary;
};

attn_status attn_model_read(struct attn_reader *reader, const json_t *json, struct attn_model *model);

/* Post-processors: rows in post_processors.c. */

/** Tokens of each text, and what post-processors made of them, in order. */
enum { ATTN_SEGMENTS = 64 };
struct attn_segments {
    struct attn_cuts entries[ATTN_SEGMENTS];
    size_t count;
};

struct attn_post_processor_kind {
    const char *name;
    attn_part_reader read;
    attn_status (*apply)(const void *data, struct attn_segments *segments, bool add_special_tokens,
                         struct attn_error *error);
    /** @return how many special tokens `apply` adds. */
    size_t (*added)(const void *data, bool is_pair);
};

struct attn_post_processor {
    const struct attn_post_processor_kind *kind;
    void *data;
};

attn_status attn_post_processor_read(struct attn_reader *reader, const json_t *json,
                                     struct attn_post_processor *post_processor);
attn_status attn_post_processor_apply(const struct attn_post_processor *post_processor, struct attn_segments *segments,
                                      bool add_special_tokens, struct attn_error *error);
size_t attn_post_processor_added(const struct attn_post_processor *post_processor, bool is_pair);

/* Decoders: rows in decoders.c. */

/** Tokens on their way to a text; bytes and entries grow. */
struct attn_tokens {
    char *bytes;
    size_t length, capacity;
    struct attn_token_range {
        size_t begin, end;
    } * entries;
    size_t count, entry_capacity;
};

void attn_tokens_reset(struct attn_tokens *tokens);
/** Appends bytes to the token under way. @return false without memory. */
bool attn_tokens_put(struct attn_tokens *tokens, const char *bytes, size_t length);
/** Ends the token under way: all bytes since the last end. @return false without memory. */
bool attn_tokens_end(struct attn_tokens *tokens);

struct attn_decoder_kind {
    const char *name;
    attn_part_reader read;
    /** Writes the tokens of `in` anew into `out`, which is empty. */
    attn_status (*apply)(const void *data, const struct attn_tokens *in, struct attn_tokens *out,
                         struct attn_error *error);
};

struct attn_decoder {
    const struct attn_decoder_kind *kind;
    void *data;
};

attn_status attn_decoder_read(struct attn_reader *reader, const json_t *json, struct attn_decoder *decoder);
/** Decodes *tokens in place. */
attn_status attn_decoder_apply(const struct attn_decoder *decoder, struct attn_tokens *tokens,
                               struct attn_error *error);

#endif
