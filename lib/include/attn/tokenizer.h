/**
 * @file tokenizer.h
 * Text to token ids and back, with the place in the text that each token came from. Tokenizers are read from the files
 * that Hugging Face's directories hold; results are those of the `tokenizers` package, id by id and offset by offset.
 */
#ifndef ATTN_TOKENIZER_H
#define ATTN_TOKENIZER_H

#include <attn/status.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** An opened tokenizer. Opaque; immutable after opening, so that many threads may use it. */
struct attn_tokenizer;

/** What attn_token.start and end count. */
typedef enum attn_offset_unit {
    ATTN_OFFSET_CODE_POINTS, /**< Unicode code points, as Python counts */
    ATTN_OFFSET_UTF16,       /**< UTF-16 code units, as JavaScript counts */
    ATTN_OFFSET_UNIT_COUNT   /**< how many there are */
} attn_offset_unit;

/** One token of an encoding. */
struct attn_token {
    int64_t id;       /**< in the vocabulary */
    const char *text; /**< how the token reads, UTF-8 ending in a NUL; see attn_tokenizer_token_text */
    bool special;     /**< put there by the post-processor ([CLS], `<s>` …), not cut from a text */
    int sequence;     /**< 0 or 1: which text of a pair it was cut from; -1 for special tokens */
    size_t start;     /**< first place in that text, in the unit asked for; 0 for special tokens */
    size_t end;       /**< the place behind the last; 0 for special tokens */
    int64_t type_id;  /**< token_type_ids entry */
};

/** What attn_tokenizer_encode made; freed by attn_encoding_reset. */
struct attn_encoding {
    size_t count;              /**< entries of tokens */
    struct attn_token *tokens; /**< in order */
    void *memory;              /**< private */
};

/** How to encode. Start from ATTN_ENCODE_DEFAULTS. */
struct attn_encode_options {
    bool add_special_tokens;      /**< default true: what the post-processor adds */
    size_t max_length;            /**< 0: any; else too many tokens are cut away, or ATTN_ELIMIT without `truncation` */
    bool truncation;              /**< cut at max_length, special tokens counted, a token of the longest part first */
    attn_offset_unit offset_unit; /**< default code points */
    /** Asked now and then; true ends the work with ATTN_ECANCELLED. May be NULL. */
    bool (*is_cancelled)(void *cancel_context);
    void *cancel_context; /**< handed to is_cancelled */
};

/** With special tokens, of any length, offsets in code points. */
#define ATTN_ENCODE_DEFAULTS                                                                                           \
    { .add_special_tokens = true }

/**
 * Opens the tokenizer of a directory: `tokenizer.json`; else `vocab.json` with `merges.txt` (byte-level BPE),
 * `vocab.txt` (WordPiece), or `spiece.model`, `sentencepiece.bpe.model`, `tokenizer.model` (SentencePiece), with what
 * `tokenizer_config.json` and `special_tokens_map.json` say beside them. What tokenizer.json says of truncation and
 * padding is left to the caller.
 *
 * @param tokenizer receives the tokenizer, to be freed by attn_tokenizer_close; untouched on failure
 * @return ATTN_OK; ATTN_EIO with error->field "" where the directory has none of the files; ATTN_EFORMAT where one is
 *         not what it claims to be, or uses a part that is not known (error->field is the file's name, a '/' and the
 *         JSON path, error->message names what is known); ATTN_ENOMEM. Thread safe.
 */
ATTN_API attn_status attn_tokenizer_open(struct attn_tokenizer **tokenizer, const char *directory,
                                         struct attn_error *error);

/** Frees a tokenizer; encodings stay. NULL is allowed. */
ATTN_API void attn_tokenizer_close(struct attn_tokenizer *tokenizer);

/**
 * Encodes a text, or a pair of texts.
 *
 * @param text      UTF-8; NULs are characters like others
 * @param pair      the second text, or NULL
 * @param options   NULL is ATTN_ENCODE_DEFAULTS
 * @param encoding  receives the tokens, to be freed by attn_encoding_reset; untouched on failure
 * @return ATTN_OK; ATTN_EFORMAT for bytes that are no UTF-8, with error->offset; ATTN_ELIMIT for more than max_length
 *         tokens, for a text of more than 8 MiB, for one of which the tokenizer makes far more than it was (4096
 *         bytes or tokens, 4 for a byte of ASCII and 24 for another, 32 MiB), and for one with which a match of a
 *         pattern of the tokenizer takes too many steps; ATTN_ERANGE where max_length leaves no room for the
 *         special tokens; ATTN_ECANCELLED; ATTN_ENOMEM; error->field is "text" or "text_pair". With tokenizers that
 *         are in use, time grows as n log n with the text at most: seconds for 8 MiB. One that was made to do harm,
 *         with a pattern or tokens of its own, can make it grow with the square: is_cancelled ends that too, within
 *         a second or two. Thread safe.
 */
ATTN_API attn_status attn_tokenizer_encode(const struct attn_tokenizer *tokenizer, const char *text, size_t text_length,
                                           const char *pair, size_t pair_length,
                                           const struct attn_encode_options *options, struct attn_encoding *encoding,
                                           struct attn_error *error);

/** Frees an encoding's tokens. An encoding of zeros is allowed. */
ATTN_API void attn_encoding_reset(struct attn_encoding *encoding);

/** @return one more than the largest id, added tokens included. Thread safe. */
ATTN_API size_t attn_tokenizer_vocab_size(const struct attn_tokenizer *tokenizer);

/**
 * How a token reads: byte-level characters are turned back into bytes (NUL, and those that are no UTF-8 by themselves,
 * into U+FFFD), SentencePiece's U+2581 into a space; everything else stands as in the vocabulary ("##ing", "[CLS]").
 *
 * @return UTF-8 ending in a NUL, as long-lived as the tokenizer; NULL for an id that there is not. Thread safe.
 */
ATTN_API const char *attn_tokenizer_token_text(const struct attn_tokenizer *tokenizer, int64_t id);

/** @return the token as it stands in the vocabulary ("Ġworld"); NULL for an id that there is not. Thread safe. */
ATTN_API const char *attn_tokenizer_token(const struct attn_tokenizer *tokenizer, int64_t id);

/** @return the id of a token by its string in the vocabulary; -1 where there is none. Thread safe. */
ATTN_API int64_t attn_tokenizer_id(const struct attn_tokenizer *tokenizer, const char *token);

/**
 * Ids back to text, as the tokenizer's decoder puts them together.
 * @param skip_special leave special tokens out
 * @param text receives malloc'ed UTF-8 ending in a NUL, to be freed by the caller
 * @return ATTN_OK; ATTN_ERANGE for an id that there is not; ATTN_ENOMEM. Thread safe.
 */
ATTN_API attn_status attn_tokenizer_decode(const struct attn_tokenizer *tokenizer, const int64_t *ids, size_t count,
                                           bool skip_special, char **text, struct attn_error *error);

#ifdef __cplusplus
}
#endif
#endif
