#include "server/registry/table.h"
#include <stdlib.h>
#include <string.h>

/* The place of the id, or where it would have to be. */
static size_t place_of(const struct table *table, const char *id, bool *is_there) {
    size_t low = 0, high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(table->models[middle]->model.id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *is_there = low < table->count && strcmp(table->models[low]->model.id, id) == 0;
    return low;
}

struct loaded *table_find(const struct table *table, const char *id) {
    bool is_there;
    size_t place = place_of(table, id, &is_there);
    return is_there ? table->models[place] : NULL;
}

static bool grow(struct table *table) {
    if (table->count < table->capacity)
        return true;
    size_t capacity = table->capacity == 0 ? 16 : table->capacity * 2;
    struct loaded **models = reallocarray(table->models, capacity, sizeof(struct loaded *));
    if (models == NULL)
        return false;
    table->models = models;
    table->capacity = capacity;
    return true;
}

bool table_put(struct table *table, struct loaded *loaded, struct loaded **old) {
    bool is_there;
    size_t place = place_of(table, loaded->model.id, &is_there);
    *old = is_there ? table->models[place] : NULL;
    if (!is_there) {
        if (!grow(table))
            return false;
        memmove(table->models + place + 1, table->models + place, (table->count - place) * sizeof *table->models);
        table->count++;
    }
    table->models[place] = loaded;
    return true;
}

struct loaded *table_remove(struct table *table, const char *id) {
    bool is_there;
    size_t place = place_of(table, id, &is_there);
    if (!is_there)
        return NULL;
    struct loaded *removed = table->models[place];
    table->count--;
    memmove(table->models + place, table->models + place + 1, (table->count - place) * sizeof *table->models);
    return removed;
}

void table_reset(struct table *table) {
    for (size_t i = 0; i < table->count; i++)
        loaded_release(table->models[i]);
    free(table->models);
    *table = (struct table){NULL, 0, 0};
}
