#include "lib/tokenizer/vocabulary.h"

#include <string.h>

bool attn_vocabulary_reserve(struct attn_pool *pool, struct attn_vocabulary *vocabulary, size_t capacity) {
    size_t slots = 16;
    while (slots < capacity * 2 && slots <= (size_t)UINT32_MAX)
        slots *= 2;
    if (capacity >= UINT32_MAX / 2)
        return false;
    vocabulary->entries = attn_pool_take(pool, capacity, sizeof *vocabulary->entries);
    vocabulary->slots = attn_pool_take(pool, slots, sizeof *vocabulary->slots);
    vocabulary->capacity = capacity;
    vocabulary->slot_mask = slots - 1;
    return vocabulary->entries != NULL && vocabulary->slots != NULL;
}

/* FNV's low bits are weak for short texts. */
static size_t slot_of(const struct attn_vocabulary *vocabulary, uint32_t hash) {
    return (hash ^ hash >> 15) & vocabulary->slot_mask;
}

static bool equals(const struct attn_vocabulary_entry *entry, uint32_t hash, struct attn_string head,
                   struct attn_string tail) {
    return entry->hash == hash && entry->text.length == head.length + tail.length &&
           (head.length == 0 || memcmp(entry->text.bytes, head.bytes, head.length) == 0) &&
           (tail.length == 0 || memcmp(entry->text.bytes + head.length, tail.bytes, tail.length) == 0);
}

bool attn_vocabulary_add(struct attn_vocabulary *vocabulary, struct attn_string text, int32_t id) {
    uint32_t hash = attn_hash(ATTN_HASH_START, text.bytes, text.length);
    size_t slot = slot_of(vocabulary, hash), tried = 0;
    for (; vocabulary->slots[slot] != 0; slot = (slot + 1) & vocabulary->slot_mask) {
        if (++tried > ATTN_LONGEST_PROBE)
            return false;
        struct attn_vocabulary_entry *entry = &vocabulary->entries[vocabulary->slots[slot] - 1];
        if (equals(entry, hash, text, (struct attn_string){0})) {
            entry->id = id;
            return true;
        }
    }
    if (vocabulary->count == vocabulary->capacity)
        return false;
    vocabulary->entries[vocabulary->count++] = (struct attn_vocabulary_entry){.text = text, .hash = hash, .id = id};
    vocabulary->slots[slot] = (uint32_t)vocabulary->count;
    if (text.length > vocabulary->longest)
        vocabulary->longest = text.length;
    return true;
}

bool attn_vocabulary_finish(struct attn_pool *pool, struct attn_vocabulary *vocabulary) {
    size_t id_count = 0;
    for (size_t i = 0; i < vocabulary->count; i++) {
        if ((size_t)vocabulary->entries[i].id >= id_count)
            id_count = (size_t)vocabulary->entries[i].id + 1;
    }
    if (id_count > ATTN_VOCABULARY_DENSE && id_count / 16 > vocabulary->count)
        return false;
    vocabulary->by_id = attn_pool_take(pool, id_count, sizeof *vocabulary->by_id);
    vocabulary->id_count = id_count;
    vocabulary->size = vocabulary->count;
    if (vocabulary->by_id == NULL)
        return false;
    for (size_t i = vocabulary->count; i-- > 0;)
        vocabulary->by_id[vocabulary->entries[i].id] = (uint32_t)i + 1;
    return true;
}

static attn_status add_member(struct attn_reader *reader, struct attn_vocabulary *vocabulary, const char *text,
                              const json_t *value) {
    json_int_t id = json_integer_value(value);
    if (!json_is_integer(value) || id < 0 || id >= ATTN_VOCABULARY_LIMIT)
        return attn_reader_fail(reader, text, "an id is a whole number from 0 to %d", ATTN_VOCABULARY_LIMIT - 1);
    struct attn_string copy = {.length = strlen(text)};
    copy.bytes = attn_pool_copy(reader->pool, text, copy.length);
    if (copy.bytes == NULL)
        return attn_reader_no_memory(reader);
    if (!attn_vocabulary_add(vocabulary, copy, (int32_t)id))
        return attn_reader_fail(reader, text, "one of too many tokens that collide in a hash table");
    return ATTN_OK;
}

attn_status attn_vocabulary_read(struct attn_reader *reader, const json_t *object, const char *key,
                                 struct attn_vocabulary *vocabulary) {
    json_t *members = json_object_get(object, key);
    if (!json_is_object(members))
        return attn_reader_fail(reader, key, "an object of tokens and their ids is needed");
    if (!attn_vocabulary_reserve(reader->pool, vocabulary, json_object_size(members)))
        return attn_reader_no_memory(reader);
    size_t length = attn_reader_enter(reader, key);
    const char *text;
    json_t *value;
    json_object_foreach(members, text, value) {
        attn_status status = add_member(reader, vocabulary, text, value);
        if (status != ATTN_OK)
            return status;
    }
    attn_reader_leave(reader, length);
    if (attn_vocabulary_finish(reader->pool, vocabulary))
        return ATTN_OK;
    return attn_reader_fail(reader, key, "ids are too large for so few tokens, or there is no memory for them");
}

int32_t attn_vocabulary_id_hashed(const struct attn_vocabulary *vocabulary, uint32_t hash, struct attn_string head,
                                  struct attn_string tail) {
    if (vocabulary->slots == NULL)
        return -1;
    size_t slot = slot_of(vocabulary, hash);
    for (; vocabulary->slots[slot] != 0; slot = (slot + 1) & vocabulary->slot_mask) {
        const struct attn_vocabulary_entry *entry = &vocabulary->entries[vocabulary->slots[slot] - 1];
        if (equals(entry, hash, head, tail))
            return entry->id;
    }
    return -1;
}

int32_t attn_vocabulary_id(const struct attn_vocabulary *vocabulary, const char *bytes, size_t length) {
    struct attn_string text = {bytes, length};
    return attn_vocabulary_id_hashed(vocabulary, attn_hash(ATTN_HASH_START, bytes, length), text,
                                     (struct attn_string){0});
}

struct attn_string attn_vocabulary_text(const struct attn_vocabulary *vocabulary, int64_t id) {
    if (id < 0 || (uint64_t)id >= vocabulary->id_count || vocabulary->by_id[id] == 0)
        return (struct attn_string){0};
    return vocabulary->entries[vocabulary->by_id[id] - 1].text;
}
