#include "server/registry/internal.h"
#include "server/registry/scan.h"
#include "server/registry/store.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct loaded *registry_find(struct registry *registry, const char *id) {
    pthread_mutex_lock(&registry->lock);
    struct loaded *found = table_find(&registry->table, id);
    if (found != NULL)
        loaded_acquire(found);
    pthread_mutex_unlock(&registry->lock);
    return found;
}

bool registry_publish(struct registry *registry, struct loaded *loaded) {
    struct loaded *old = NULL;
    pthread_mutex_lock(&registry->lock);
    bool is_put = table_put(&registry->table, loaded, &old);
    pthread_mutex_unlock(&registry->lock);
    loaded_release(is_put ? old : loaded);
    return is_put;
}

/* The same, only where the table still has `expected` under that id. */
static void publish_in_place(struct registry *registry, struct loaded *expected, struct loaded *loaded) {
    struct loaded *old = NULL;
    pthread_mutex_lock(&registry->lock);
    bool is_expected = table_find(&registry->table, expected->model.id) == expected;
    if (is_expected)
        table_put(&registry->table, loaded, &old);
    pthread_mutex_unlock(&registry->lock);
    loaded_release(is_expected ? old : loaded);
}

/* Loads a file; what cannot be loaded becomes a failed model. NULL out of memory only. */
static struct loaded *load_or_fail(const struct load_source *source) {
    struct problem problem = {.id = PROBLEM_NONE};
    struct loaded *loaded = loaded_open(source, NULL, &problem);
    return loaded != NULL ? loaded : loaded_create(source, MODEL_FAILED, problem.detail);
}

static void load_awaited(struct registry *registry, struct loaded *placeholder) {
    struct load_source source = {placeholder->model.id, placeholder->path, placeholder->model.is_read_only};
    struct loaded *loaded = load_or_fail(&source);
    if (loaded == NULL)
        return;
    loaded->was_there_at_start = true;
    publish_in_place(registry, placeholder, loaded);
}

void registry_open_tokenizer(const struct model *model) {
    struct problem ignored; /* kept in the model */
    loaded_open_tokenizer((struct loaded *)model, &ignored);
}

/* What need not be there for a model to be ready: tokenizers first, then hashes, which read whole files. */
static void complete_all(struct registry *registry) {
    const struct model **models;
    size_t count = registry_list(registry, &models);
    for (size_t i = 0; i < count && !atomic_load(&registry->stops); i++)
        registry_open_tokenizer(models[i]);
    for (size_t i = 0; i < count; i++) {
        if (!atomic_load(&registry->stops))
            loaded_hash((struct loaded *)models[i], &registry->stops);
        registry_release(registry, models[i]);
    }
    free(models);
}

/* Readiness first. */
static void *run_loader(void *argument) {
    struct registry *registry = argument;
    for (size_t i = 0; i < registry->awaited_count; i++) {
        if (!atomic_load(&registry->stops))
            load_awaited(registry, registry->awaited[i]);
        loaded_release(registry->awaited[i]);
        atomic_fetch_sub(&registry->pending, 1);
    }
    registry->awaited_count = 0;
    complete_all(registry);
    return NULL;
}

bool registry_is_named(const struct registry *registry, const char *id) {
    for (size_t i = 0; i < registry->options.named_count; i++)
        if (strcmp(registry->options.named[i].name, id) == 0)
            return true;
    return false;
}

static bool scan_all(const struct registry *registry, struct scan *scan) {
    const struct registry_options *options = &registry->options;
    bool is_fine = true;
    for (size_t i = 0; i < options->named_count && is_fine; i++)
        is_fine = scan_add_named(scan, options->named[i].name, options->named[i].path);
    return is_fine && (options->directory == NULL || scan_directory(scan, options->directory));
}

/* Whether another item of the scan has the same id and goes before: --model before the directory, a file before a
   folder, on which writing relies (store_put). */
static bool is_shadowed(const struct registry *registry, const struct scan *scan, size_t index) {
    for (size_t i = 0; i < scan->count; i++) {
        if (i == index || strcmp(scan->items[i].id, scan->items[index].id) != 0)
            continue;
        if (i < registry->options.named_count || (!scan->items[i].is_folder && scan->items[index].is_folder))
            return true;
    }
    return false;
}

static struct load_source source_of(const struct registry *registry, const struct scanned *item) {
    return (struct load_source){item->id, item->path, registry_is_named(registry, item->id)};
}

/* At start: everything gets its name at once, and what is to be loaded waits for the loader. */
static bool announce(struct registry *registry, const struct scanned *item) {
    struct load_source source = source_of(registry, item);
    struct loaded *placeholder =
        loaded_create(&source, item->reason != NULL ? MODEL_FAILED : MODEL_LOADING, item->reason);
    if (placeholder == NULL)
        return false;
    placeholder->was_there_at_start = true;
    if (item->reason == NULL) {
        registry->awaited[registry->awaited_count++] = loaded_acquire(placeholder);
        atomic_fetch_add(&registry->pending, 1);
    }
    return registry_publish(registry, placeholder);
}

static bool announce_all(struct registry *registry) {
    struct scan scan = {NULL, 0, 0};
    bool is_fine = scan_all(registry, &scan);
    registry->awaited = calloc(scan.count + 1, sizeof(struct loaded *));
    is_fine = is_fine && registry->awaited != NULL;
    for (size_t i = 0; i < scan.count && is_fine; i++)
        if (i < registry->options.named_count || !is_shadowed(registry, &scan, i))
            is_fine = announce(registry, &scan.items[i]);
    scan_reset(&scan);
    return is_fine;
}

static bool check_options(const struct registry_options *options, struct problem *problem) {
    for (size_t i = 0; i < options->named_count; i++)
        if (!registry_id_check(options->named[i].name, NULL, problem))
            return false;
    DIR *directory = options->directory != NULL ? opendir(options->directory) : NULL;
    if (options->directory != NULL && directory == NULL) {
        problem_set(problem, PROBLEM_INVALID, NULL, "the models directory %s cannot be read: %s", options->directory,
                    strerror(errno));
        return false;
    }
    if (directory != NULL)
        closedir(directory);
    return true;
}

static struct registry_named *copy_named(const struct registry_options *options) {
    struct registry_named *copy = calloc(options->named_count + 1, sizeof *copy);
    for (size_t i = 0; copy != NULL && i < options->named_count; i++)
        copy[i] = options->named[i];
    return copy;
}

struct registry *registry_create(const struct registry_options *options, struct problem *problem) {
    if (!check_options(options, problem))
        return NULL;
    struct registry *registry = calloc(1, sizeof *registry);
    if (registry == NULL) {
        problem_set(problem, PROBLEM_NO_ROOM, NULL, "no memory for the models' registry");
        return NULL;
    }
    registry->options = *options;
    registry->options.named = registry->named = copy_named(options);
    pthread_mutex_init(&registry->writing, NULL);
    pthread_mutex_init(&registry->lock, NULL);
    if (options->directory != NULL)
        store_clean_uploads(options->directory);
    if (registry->named == NULL || !announce_all(registry)) {
        problem_set(problem, PROBLEM_NO_ROOM, NULL, "no memory for the models' registry");
        registry_destroy(registry);
        return NULL;
    }
    registry->has_loader = pthread_create(&registry->loader, NULL, run_loader, registry) == 0;
    if (!registry->has_loader)
        run_loader(registry);
    return registry;
}

void registry_destroy(struct registry *registry) {
    if (registry == NULL)
        return;
    atomic_store(&registry->stops, true);
    if (registry->has_loader)
        pthread_join(registry->loader, NULL);
    for (size_t i = 0; i < registry->awaited_count; i++)
        loaded_release(registry->awaited[i]);
    free(registry->awaited);
    free(registry->named);
    table_reset(&registry->table);
    pthread_mutex_destroy(&registry->writing);
    pthread_mutex_destroy(&registry->lock);
    free(registry);
}

/* A model that is loading is the loader's; one whose files are as they were stays. */
static bool is_current(const struct loaded *loaded, const struct scanned *item) {
    return loaded != NULL && (loaded->model.status == MODEL_LOADING || loaded_is_current(loaded, item->path));
}

static void refresh(struct registry *registry, const struct scanned *item) {
    struct load_source source = source_of(registry, item);
    struct loaded *now = registry_find(registry, item->id);
    if (!is_current(now, item)) {
        struct loaded *loaded =
            item->reason != NULL ? loaded_create(&source, MODEL_FAILED, item->reason) : load_or_fail(&source);
        if (loaded != NULL) {
            loaded->was_there_at_start = now != NULL && now->was_there_at_start;
            registry_publish(registry, loaded);
        }
    }
    loaded_release(now);
}

static bool is_scanned(const struct scan *scan, const char *id) {
    for (size_t i = 0; i < scan->count; i++)
        if (strcmp(scan->items[i].id, id) == 0)
            return true;
    return false;
}

void registry_drop(struct registry *registry, const char *id) {
    pthread_mutex_lock(&registry->lock);
    struct loaded *removed = table_remove(&registry->table, id);
    pthread_mutex_unlock(&registry->lock);
    loaded_release(removed);
}

static void drop_gone(struct registry *registry, const struct scan *scan) {
    const struct model **models;
    size_t count = registry_list(registry, &models);
    for (size_t i = 0; i < count; i++) {
        if (!is_scanned(scan, models[i]->id))
            registry_drop(registry, models[i]->id);
        registry_release(registry, models[i]);
    }
    free(models);
}

void registry_rescan(struct registry *registry) {
    struct scan scan = {NULL, 0, 0};
    pthread_mutex_lock(&registry->writing);
    if (scan_all(registry, &scan)) {
        for (size_t i = 0; i < scan.count; i++)
            if (i < registry->options.named_count || !is_shadowed(registry, &scan, i))
                refresh(registry, &scan.items[i]);
        drop_gone(registry, &scan);
    }
    pthread_mutex_unlock(&registry->writing);
    scan_reset(&scan);
    complete_all(registry);
}

bool registry_is_settled(struct registry *registry, size_t *failed_count) {
    size_t failed = 0;
    pthread_mutex_lock(&registry->lock);
    for (size_t i = 0; i < registry->table.count; i++) {
        const struct loaded *loaded = registry->table.models[i];
        failed += loaded->model.status == MODEL_FAILED && loaded->was_there_at_start;
    }
    pthread_mutex_unlock(&registry->lock);
    *failed_count = failed;
    return atomic_load(&registry->pending) == 0;
}

/* A model whose file was cut short is from then on one that failed. Takes the caller's reference, gives the new one. */
static struct loaded *retire_broken(struct registry *registry, struct loaded *broken) {
    struct load_source source = {broken->model.id, broken->path, broken->model.is_read_only};
    struct loaded *failed = loaded_create(&source, MODEL_FAILED, "the model's file was cut short while it was in use");
    if (failed == NULL)
        return broken;
    failed->was_there_at_start = broken->was_there_at_start;
    publish_in_place(registry, broken, loaded_acquire(failed));
    loaded_release(broken);
    return failed;
}

const struct model *registry_acquire(struct registry *registry, const char *id, struct problem *problem) {
    struct loaded *found = registry_find(registry, id);
    if (found == NULL) {
        problem_set(problem, PROBLEM_MODEL_NOT_FOUND, NULL, "there is no model \"%.300s\"", id);
        return NULL;
    }
    if (registry_model_is_broken(&found->model))
        return &retire_broken(registry, found)->model;
    return &found->model;
}

void registry_release(struct registry *registry, const struct model *model) {
    (void)registry;
    loaded_release((struct loaded *)model);
}

size_t registry_list(struct registry *registry, const struct model ***models) {
    size_t count = 0;
    pthread_mutex_lock(&registry->lock);
    *models = calloc(registry->table.count + 1, sizeof(const struct model *));
    for (; *models != NULL && count < registry->table.count; count++)
        (*models)[count] = &loaded_acquire(registry->table.models[count])->model;
    pthread_mutex_unlock(&registry->lock);
    for (size_t i = 0; i < count; i++)
        if (registry_model_is_broken((*models)[i]))
            (*models)[i] = &retire_broken(registry, (struct loaded *)(*models)[i])->model;
    return count;
}
