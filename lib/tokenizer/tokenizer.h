/** @file tokenizer.h An opened tokenizer. */
#ifndef LIB_TOKENIZER_TOKENIZER_H
#define LIB_TOKENIZER_TOKENIZER_H

#include "lib/tokenizer/added.h"
#include "lib/tokenizer/parts.h"

#include <attn/tokenizer.h>

struct attn_tokenizer {
    struct attn_pool pool;
    struct attn_normalizer normalizer;
    struct attn_pre_tokenizer pre_tokenizer;
    struct attn_model model;
    struct attn_post_processor post_processor;
    struct attn_decoder decoder;
    struct attn_added added;

    bool is_byte_level;  /**< set by the readers of ByteLevel: tokens read as bytes */
    uint32_t space_sign; /**< set by the readers of Metaspace and the like: the character that reads as a space; 0 */
    struct attn_string *tokens; /**< by id: as the vocabulary has them; bytes is NULL where there is none */
    struct attn_string *texts;  /**< by id: how they read */
    bool *specials;             /**< by id: left out by attn_tokenizer_decode if that is asked for */
    size_t id_count;
};

/** Reads the file of a directory. @param bytes receives malloc'ed bytes, a NUL behind them; NULL where it is missing */
attn_status attn_file_read(struct attn_reader *reader, const char *directory, const char *name, char **bytes,
                           size_t *length);
/** Parses JSON; reader->path is the file's name. */
attn_status attn_json_parse(struct attn_reader *reader, const char *bytes, size_t length, json_t **json);

/* Readers of the files that stand for a tokenizer.json, in files.c: each makes the document that there would be. */
attn_status attn_load_vocab_txt(struct attn_reader *reader, const char *directory, const char *bytes, size_t length,
                                json_t **json);
attn_status attn_load_vocab_json(struct attn_reader *reader, const char *directory, const char *bytes, size_t length,
                                 json_t **json);

/** Reads a parsed tokenizer.json into a tokenizer of zeros; reader->path is the file's name. */
attn_status attn_tokenizer_read_json(struct attn_reader *reader, const json_t *json);
/** @return how a token of an encoding reads. */
struct attn_string attn_tokenizer_cut_text(const struct attn_tokenizer *tokenizer, const struct attn_cut *cut);
/** To be called when all parts are there: makes tables of what was read. */
attn_status attn_tokenizer_finish(struct attn_reader *reader);

#endif
