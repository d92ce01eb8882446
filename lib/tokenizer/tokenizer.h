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
    struct attn_string *texts; /**< by id: how tokens read; bytes NULL where there is none */
    size_t id_count;
};

/** Reads a parsed tokenizer.json into a tokenizer of zeros; reader->path is the file's name. */
attn_status attn_tokenizer_read_json(struct attn_reader *reader, const json_t *json);
/** To be called when all parts are there: makes tables of what was read. */
attn_status attn_tokenizer_finish(struct attn_reader *reader);

#endif
