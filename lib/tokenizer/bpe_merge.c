/* Merging: short words by looking for the lowest rank again and again, long ones by a heap. */
#include "lib/tokenizer/bpe.h"

#include <string.h>

enum { SHORT_WORD = 32, STEPS_A_MERGE = 64 };
static const uint64_t multiplier = 0x9e3779b97f4a7c15U;

bool attn_merges_reserve(struct attn_pool *pool, struct attn_merges *merges, size_t count) {
    size_t slots = 16;
    merges->shift = 60;
    while (slots < count * 2 && slots < SIZE_MAX / 4) {
        slots *= 2;
        merges->shift--;
    }
    merges->slots = attn_pool_take(pool, slots, sizeof *merges->slots);
    merges->slot_mask = slots - 1;
    for (size_t i = 0; merges->slots != NULL && i < slots; i++)
        merges->slots[i].rank = UINT32_MAX;
    return merges->slots != NULL;
}

static uint64_t pair_of(int32_t left, int32_t right) {
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

/* @return the pair's slot, or the empty one where it would be. */
static struct attn_merge *slot_of(const struct attn_merges *merges, uint64_t pair) {
    size_t slot = (size_t)(pair * multiplier >> merges->shift);
    while (merges->slots[slot].rank != UINT32_MAX && merges->slots[slot].pair != pair)
        slot = (slot + 1) & merges->slot_mask;
    return &merges->slots[slot];
}

bool attn_merges_add(struct attn_merges *merges, int32_t left, int32_t right, uint32_t rank, int32_t id) {
    uint64_t pair = pair_of(left, right);
    struct attn_merge *slot = slot_of(merges, pair);
    size_t home = (size_t)(pair * multiplier >> merges->shift);
    if ((((size_t)(slot - merges->slots) - home) & merges->slot_mask) > ATTN_LONGEST_PROBE)
        return false;
    *slot = (struct attn_merge){.pair = pair, .rank = rank, .id = id};
    return true;
}

static size_t merge_short(const struct attn_merges *merges, struct attn_symbol *symbols, size_t count) {
    const struct attn_merge *pairs[SHORT_WORD]; /* of each symbol and the next */
    for (size_t i = 0; i + 1 < count; i++)
        pairs[i] = slot_of(merges, pair_of(symbols[i].id, symbols[i + 1].id));
    while (count > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < count; i++) {
            if (pairs[i]->rank < pairs[best]->rank)
                best = i;
        }
        if (pairs[best]->rank == UINT32_MAX)
            break;
        symbols[best].id = pairs[best]->id;
        symbols[best].length += symbols[best + 1].length;
        count--;
        memmove(symbols + best + 1, symbols + best + 2, (count - best - 1) * sizeof *symbols);
        memmove(pairs + best, pairs + best + 1, (count - best - 1) * sizeof *pairs);
        if (best + 1 < count)
            pairs[best] = slot_of(merges, pair_of(symbols[best].id, symbols[best + 1].id));
        if (best > 0)
            pairs[best - 1] = slot_of(merges, pair_of(symbols[best - 1].id, symbols[best].id));
    }
    return count;
}

/* A merge that waits; it has expired when the pair at its place no longer makes `id`. */
struct waiting {
    uint64_t order; /* rank << 32 | place */
    int32_t id;
};

struct heap {
    struct waiting *entries;
    size_t count;
};

static void heap_push(struct heap *heap, struct waiting entry) {
    size_t at = heap->count++;
    while (at > 0 && heap->entries[(at - 1) / 2].order > entry.order) {
        heap->entries[at] = heap->entries[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap->entries[at] = entry;
}

static struct waiting heap_pop(struct heap *heap) {
    struct waiting top = heap->entries[0], last = heap->entries[--heap->count];
    size_t at = 0;
    for (size_t child = 1; child < heap->count; child = 2 * at + 1) {
        if (child + 1 < heap->count && heap->entries[child + 1].order < heap->entries[child].order)
            child++;
        if (heap->entries[child].order >= last.order)
            break;
        heap->entries[at] = heap->entries[child];
        at = child;
    }
    heap->entries[at] = last;
    return top;
}

/* Puts the pair that begins at `place` on the heap, if it can be merged. */
static void wait_for(const struct attn_merges *merges, struct heap *heap, const struct attn_symbol *symbols,
                     int32_t place) {
    if (place < 0 || symbols[place].next < 0)
        return;
    const struct attn_merge *merge = slot_of(merges, pair_of(symbols[place].id, symbols[symbols[place].next].id));
    if (merge->rank != UINT32_MAX)
        heap_push(heap, (struct waiting){.order = (uint64_t)merge->rank << 32 | (uint32_t)place, .id = merge->id});
}

static size_t merge_long(const struct attn_merges *merges, struct attn_symbol *symbols, size_t count,
                         struct waiting *entries, struct attn_patience *patience) {
    struct heap heap = {.entries = entries};
    for (size_t i = 0; i < count; i++) {
        symbols[i].previous = (int32_t)i - 1;
        symbols[i].next = i + 1 < count ? (int32_t)i + 1 : -1;
    }
    for (size_t i = 0; i + 1 < count; i++)
        wait_for(merges, &heap, symbols, (int32_t)i);
    while (heap.count > 0 && attn_patience_spend(patience, STEPS_A_MERGE)) {
        struct waiting top = heap_pop(&heap);
        int32_t place = (int32_t)(uint32_t)top.order;
        struct attn_symbol *left = &symbols[place];
        if (left->length == 0 || left->next < 0)
            continue;
        struct attn_symbol *right = &symbols[left->next];
        const struct attn_merge *merge = slot_of(merges, pair_of(left->id, right->id));
        if (merge->rank == UINT32_MAX || merge->id != top.id)
            continue;
        left->id = top.id;
        left->length += right->length;
        left->next = right->next;
        right->length = 0;
        if (left->next >= 0)
            symbols[left->next].previous = place;
        wait_for(merges, &heap, symbols, left->previous);
        wait_for(merges, &heap, symbols, place);
    }
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (symbols[i].length > 0)
            symbols[kept++] = symbols[i];
    }
    return kept;
}

/* Each merge takes a symbol away and puts at most two pairs on the heap. */
size_t attn_merge_scratch_bytes(size_t count) {
    return count <= SHORT_WORD ? 0 : 3 * count * sizeof(struct waiting);
}

size_t attn_merge_word(const struct attn_merges *merges, struct attn_symbol *symbols, size_t count, void *scratch,
                       struct attn_patience *patience) {
    return count <= SHORT_WORD ? merge_short(merges, symbols, count)
                               : merge_long(merges, symbols, count, scratch, patience);
}
