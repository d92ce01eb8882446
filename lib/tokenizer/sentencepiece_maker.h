/** @file sentencepiece_maker.h What the functions that turn a SentencePiece model into a tokenizer.json share. */
#ifndef LIB_TOKENIZER_SENTENCEPIECE_MAKER_H
#define LIB_TOKENIZER_SENTENCEPIECE_MAKER_H

#include "lib/tokenizer/sentencepiece.h"
#include "lib/tokenizer/vocabulary.h"

/** Tokens with a part to play, in the order in which transformers adds them to a vocabulary that lacks them. */
enum attn_role { ROLE_BOS, ROLE_EOS, ROLE_UNK, ROLE_SEP, ROLE_PAD, ROLE_CLS, ROLE_MASK, ROLE_COUNT };

struct attn_sentencepiece_maker {
    struct attn_reader *reader;
    const struct attn_sentencepiece *model;
    const json_t *config;
    struct attn_pool scratch;             /**< freed when the document is made */
    struct attn_string roles[ROLE_COUNT]; /**< bytes is NULL where there is none */

    struct attn_sentencepiece_piece *pieces; /**< the vocabulary, by id */
    size_t count;
    struct attn_vocabulary names; /**< of pieces, then of added tokens */
    struct attn_vocabulary added; /**< tokens that are in "added_tokens" */
    size_t next_id;               /**< of a token that is added */
};

/* Parts written in JSON. */
#define ATTN_SPACE_SIGN "\xe2\x96\x81"
#define ATTN_PART_REPLACE(PATTERN, KIND, CONTENT)                                                                      \
    "{\"type\": \"Replace\", \"pattern\": {\"" KIND "\": \"" PATTERN "\"}, \"content\": \"" CONTENT "\"}"
#define ATTN_PART_METASPACE(PREPEND, SPLIT)                                                                            \
    "{\"type\": \"Metaspace\", \"replacement\": \"" ATTN_SPACE_SIGN "\", \"prepend_scheme\": \"" PREPEND               \
    "\", \"split\": " SPLIT "}"

/** @return a new string; NULL without memory. */
json_t *attn_json_text(struct attn_string text);

/* sentencepiece_parts.c. Values that are put are stolen; NULL stands for want of memory. */

/** @return a member of the config that is true or false. */
bool attn_maker_says(const struct attn_sentencepiece_maker *maker, const char *key, bool otherwise);
attn_status attn_maker_put(struct attn_sentencepiece_maker *maker, json_t *object, const char *key, json_t *value);
/** Puts a part that is written in JSON. */
attn_status attn_maker_put_text(struct attn_sentencepiece_maker *maker, json_t *object, const char *key,
                                const char *text);
/** Appends a part that is written in JSON. */
attn_status attn_maker_append(struct attn_sentencepiece_maker *maker, json_t *array, const char *text);
/** Puts a Sequence under `key`. @param list its member's name. @return its array; NULL without memory. */
json_t *attn_maker_put_sequence(json_t *document, const char *key, const char *list);
attn_status attn_maker_put_unigram(struct attn_sentencepiece_maker *maker, json_t *document, int unk_id,
                                   bool byte_fallback);
/** @param settings the model without its vocabulary; by_score as for attn_sentencepiece_merges */
attn_status attn_maker_put_bpe(struct attn_sentencepiece_maker *maker, json_t *document, const char *settings,
                               bool by_score);
/** Appends the model's own Precompiled, where it has one. */
attn_status attn_maker_append_charsmap(struct attn_sentencepiece_maker *maker, json_t *normalizers);
/** @param strip leaves out the space that was put before the text */
attn_status attn_maker_put_decoder(struct attn_sentencepiece_maker *maker, json_t *document, bool byte_fallback,
                                   bool strip);

/** Makes all parts of a tokenizer that does what the model's own settings say; sentencepiece_generic.c. */
attn_status attn_maker_generic(struct attn_sentencepiece_maker *maker, json_t *document);

/* sentencepiece_special.c */

/** Finds what plays which part: `defaults` unless the config says otherwise. */
attn_status attn_sentencepiece_find_roles(struct attn_sentencepiece_maker *maker,
                                          const char *const defaults[ROLE_COUNT]);

/** @return how many tokens that are no pieces there may be. */
size_t attn_sentencepiece_most_added(const json_t *config);

/** Makes the array "added_tokens". @param is_generic user-defined pieces are no added tokens */
attn_status attn_sentencepiece_added(struct attn_sentencepiece_maker *maker, bool is_generic, json_t **array);

/**
 * Makes a TemplateProcessing. A template is pairs of a letter and a type: A and B are the texts; b, e, c, s the tokens
 * that play bos, eos, cls and sep: "c0A0s0B1s1".
 */
attn_status attn_sentencepiece_template(struct attn_sentencepiece_maker *maker, const char *single, const char *pair,
                                        json_t **processor);

/* sentencepiece_merges.c */

/** Makes BPE's merges out of the pieces. @param by_score in the order of scores, of normal pieces only; else of ids */
attn_status attn_sentencepiece_merges(struct attn_sentencepiece_maker *maker, bool by_score, json_t **merges);

#endif
