/** @file sentencepiece.h SentencePiece's models (sentencepiece_model.proto), every claim checked. */
#ifndef LIB_TOKENIZER_SENTENCEPIECE_H
#define LIB_TOKENIZER_SENTENCEPIECE_H

#include "lib/tokenizer/reader.h"

/** sentencepiece_model.proto's names for a piece's type; others are taken as they are. */
enum attn_sentencepiece_type {
    ATTN_SENTENCEPIECE_NORMAL = 1,
    ATTN_SENTENCEPIECE_UNKNOWN = 2,
    ATTN_SENTENCEPIECE_CONTROL = 3,
    ATTN_SENTENCEPIECE_USER_DEFINED = 4,
    ATTN_SENTENCEPIECE_BYTE = 6
};

enum attn_sentencepiece_algorithm { ATTN_SENTENCEPIECE_UNIGRAM = 1, ATTN_SENTENCEPIECE_BPE = 2 };

struct attn_sentencepiece_piece {
    struct attn_string text; /**< UTF-8 */
    float score;             /**< finite */
    uint32_t type;
};

/** Texts lie in the file's bytes. */
struct attn_sentencepiece {
    struct attn_sentencepiece_piece *pieces;
    size_t count;
    enum attn_sentencepiece_algorithm algorithm;
    bool byte_fallback;
    int32_t unk_id, bos_id, eos_id; /**< -1, or below count */
    struct attn_string unk_piece, bos_piece, eos_piece;
    struct attn_string charsmap; /**< length 0: none */
    bool add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces;
};

/** Reads a file's bytes, which must stay as long as the model. The pieces are the pool's. */
attn_status attn_sentencepiece_read(struct attn_reader *reader, const char *bytes, size_t length,
                                    struct attn_sentencepiece *model);

/**
 * Makes the tokenizer.json that transformers makes of the model.
 * @param config what tokenizer_config.json says, special_tokens_map.json's members included; NULL: nothing
 * @param document receives a new reference
 * @return ATTN_OK; ATTN_EFORMAT, also for a tokenizer_class that is not known; ATTN_ENOMEM
 */
attn_status attn_sentencepiece_document(struct attn_reader *reader, const struct attn_sentencepiece *model,
                                        const json_t *config, json_t **document);

/** Reads a model out of a directory: a source of attn_tokenizer_open. @param json receives a new reference */
attn_status attn_sentencepiece_load(struct attn_reader *reader, const char *directory, const char *bytes, size_t length,
                                    json_t **json);

#endif
