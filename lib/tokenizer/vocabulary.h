/** @file vocabulary.h Tokens by their text and by their id. */
#ifndef LIB_TOKENIZER_VOCABULARY_H
#define LIB_TOKENIZER_VOCABULARY_H

#include "lib/tokenizer/pool.h"
#include "lib/tokenizer/reader.h"

/** Ids are below the limit; larger ones than `dense` take at least one token for each 16. */
enum { ATTN_VOCABULARY_LIMIT = 1 << 24, ATTN_VOCABULARY_DENSE = 1 << 20 };
/** Entries of a hash table that stand in each other's way, at most: tables are half empty, only malice makes so many.
 */
enum { ATTN_LONGEST_PROBE = 1024 };

struct attn_vocabulary_entry {
    struct attn_string text; /**< a NUL behind it */
    uint32_t hash;
    int32_t id;
};

/** Start from zeros; the memory is the pool's. */
struct attn_vocabulary {
    struct attn_vocabulary_entry *entries;
    size_t count, capacity; /**< count: different texts */
    uint32_t *slots;        /**< open addressing; 1 + index into entries */
    size_t slot_mask;
    uint32_t *by_id; /**< 1 + index of the first entry with that id; made by attn_vocabulary_finish */
    size_t id_count; /**< one more than the largest id */
    size_t size;     /**< as the package counts: the id of the next token that is added */
    size_t longest;  /**< bytes of the longest text */
};

/** FNV-1a, byte by byte, so that the hashes of all prefixes are made in one pass. */
#define ATTN_HASH_START 2166136261U
static inline uint32_t attn_hash_step(uint32_t hash, unsigned char byte) {
    return (hash ^ byte) * 16777619U;
}
static inline uint32_t attn_hash(uint32_t hash, const char *bytes, size_t length) {
    for (size_t i = 0; i < length; i++)
        hash = attn_hash_step(hash, (unsigned char)bytes[i]);
    return hash;
}

/** Makes room for `capacity` texts; adding more than that fails. @return false without memory. */
bool attn_vocabulary_reserve(struct attn_pool *pool, struct attn_vocabulary *vocabulary, size_t capacity);
/** Adds a text, which must stay; a text that is there gets the new id. @return false if there is no room,
    or if it is one of very many whose hashes collide. */
bool attn_vocabulary_add(struct attn_vocabulary *vocabulary, struct attn_string text, int32_t id);
/** Makes by_id; to be called when all are added. @return false without memory, or for ids that are too sparse. */
bool attn_vocabulary_finish(struct attn_pool *pool, struct attn_vocabulary *vocabulary);
/** Reads {"text": id, …}, and finishes. */
attn_status attn_vocabulary_read(struct attn_reader *reader, const json_t *object, const char *key,
                                 struct attn_vocabulary *vocabulary);

/** @return the id; -1 where there is none. */
int32_t attn_vocabulary_id(const struct attn_vocabulary *vocabulary, const char *bytes, size_t length);
/** As attn_vocabulary_id, for a hash that is known; the text is `head` and `tail` together. */
int32_t attn_vocabulary_id_hashed(const struct attn_vocabulary *vocabulary, uint32_t hash, struct attn_string head,
                                  struct attn_string tail);
/** @return the text; bytes is NULL where there is none. */
struct attn_string attn_vocabulary_text(const struct attn_vocabulary *vocabulary, int64_t id);

#endif
