#include "server/config/models.h"
#include <stdio.h>
#include <stdlib.h>

struct registry *config_open_registry(const struct config *config, char *why, size_t why_capacity) {
    struct problem problem = {.id = PROBLEM_NONE};
    struct registry_named *named = calloc(config->model_count + 1, sizeof *named);
    if (named == NULL) {
        snprintf(why, why_capacity, "out of memory");
        return NULL;
    }
    for (size_t i = 0; i < config->model_count; i++) {
        named[i] = (struct registry_named){config->model[i].name, config->model[i].path};
    }
    const struct registry_options options = {
        .directory = config->models, .named = named, .named_count = config->model_count};
    struct registry *registry = registry_create(&options, &problem);
    free(named);
    if (registry == NULL) {
        snprintf(why, why_capacity, "--models: %s; allowed is a directory that can be read", problem.detail);
    }
    return registry;
}
