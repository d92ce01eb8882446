#include "server/config/commands.h"
#include "server/config/models.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static bool check_readable(const char *flag, const char *path) {
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    char byte;
    bool is_readable = path == NULL || (fd >= 0 && read(fd, &byte, 1) >= 0);
    if (!is_readable)
        fprintf(stderr, "attnd: --%s: %s: %s; allowed is a file that can be read\n", flag, path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return is_readable;
}

static bool is_directory(const char *path) {
    DIR *directory = path != NULL ? opendir(path) : NULL;
    if (directory != NULL)
        closedir(directory);
    return directory != NULL;
}

static bool check_directory(const char *path) {
    if (path == NULL || is_directory(path))
        return true;
    fprintf(stderr, "attnd: --models: %s: %s; allowed is a directory that can be read\n", path, strerror(errno));
    return false;
}

static bool check_files(const struct config *config) {
    bool is_fine = check_readable("api-keys", config->api_keys) && check_readable("tls-cert", config->tls_cert) &&
                   check_readable("tls-key", config->tls_key) && check_directory(config->models);
    for (size_t i = 0; i < config->model_count && is_fine; i++)
        is_fine = is_directory(config->model[i].path) || check_readable("model", config->model[i].path);
    return is_fine;
}

/* The registry loads in a thread of its own, and says when it is done. */
static struct registry *load_models(const struct config *config) {
    char why[512] = "";
    size_t failed;
    struct registry *registry = config_open_registry(config, why, sizeof why);
    if (registry == NULL)
        fprintf(stderr, "attnd: %s\n", why);
    while (registry != NULL && !registry_is_settled(registry, &failed))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return registry;
}

/* As the server would: a model that does not load is told, and is an error for one that was named, or if strict. */
static bool check_models(const struct config *config) {
    const struct model **models = NULL;
    struct registry *registry = load_models(config);
    if (registry == NULL)
        return false;
    bool is_fine = true;
    size_t count = registry_list(registry, &models);
    for (size_t i = 0; i < count; i++) {
        bool has_failed = models[i]->status == MODEL_FAILED;
        if (has_failed)
            fprintf(stderr, "attnd: the model \"%s\" does not load: %s\n", models[i]->id, models[i]->reason);
        is_fine = is_fine && !(has_failed && (config->strict_readiness || models[i]->is_read_only));
        registry_release(registry, models[i]);
    }
    free(models);
    registry_destroy(registry);
    return is_fine;
}

/* What the server itself reads, by the server's own functions. */
static bool check_contents(const struct config *config, const struct config_checks *checks) {
    char why[512] = "";
    if (config->api_keys != NULL && !checks->keys_are_good(config->api_keys, why, sizeof why))
        fprintf(stderr, "attnd: --api-keys: %s\n", why);
    else if (!checks->certificate_is_good(config, why, sizeof why))
        fprintf(stderr, "attnd: %s\n", why);
    else
        return true;
    return false;
}

int check_config_command(int argc, char **argv, const struct config_checks *checks) {
    struct config config;
    enum config_outcome outcome = config_read(&config, argc, argv);
    if (outcome != CONFIG_RUN)
        return outcome == CONFIG_EXIT ? 0 : 2;
    bool is_fine = check_files(&config) && check_contents(&config, checks) && check_models(&config);
    config_reset(&config);
    if (is_fine)
        puts("the settings are fine");
    return is_fine ? 0 : 2;
}
