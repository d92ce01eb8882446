#include "server/config/commands.h"
#include "server/config/config.h"
#include "server/registry/registry.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
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

static bool check_directory(const char *path) {
    DIR *directory = path != NULL ? opendir(path) : NULL;
    if (directory != NULL)
        closedir(directory);
    if (path == NULL || directory != NULL)
        return true;
    fprintf(stderr, "attnd: --models: %s: %s; allowed is a directory that can be read\n", path, strerror(errno));
    return false;
}

static bool check_certificate(const char *certificate, const char *key) {
    gnutls_certificate_credentials_t credentials = NULL;
    if (certificate == NULL)
        return true;
    if (gnutls_certificate_allocate_credentials(&credentials) < 0)
        return false;
    int status = gnutls_certificate_set_x509_key_file(credentials, certificate, key, GNUTLS_X509_FMT_PEM);
    gnutls_certificate_free_credentials(credentials);
    if (status >= 0)
        return true;
    fprintf(stderr,
            "attnd: --tls-cert %s and --tls-key %s: %s; allowed are a PEM chain and the key that belongs to it\n",
            certificate, key, gnutls_strerror(status));
    return false;
}

static bool check_files(const struct config *config) {
    bool is_fine = check_readable("api-keys", config->api_keys) && check_readable("tls-cert", config->tls_cert) &&
                   check_readable("tls-key", config->tls_key) && check_certificate(config->tls_cert, config->tls_key) &&
                   check_directory(config->models);
    for (size_t i = 0; i < config->model_count && is_fine; i++)
        is_fine = check_readable("model", config->model[i].path);
    return is_fine;
}

/* The registry loads in a thread of its own, and says when it is done. */
static struct registry *load_models(const struct config *config) {
    struct problem problem = {.id = PROBLEM_NONE};
    struct registry_named *named = calloc(config->model_count + 1, sizeof *named);
    size_t failed;
    if (named == NULL)
        return NULL;
    for (size_t i = 0; i < config->model_count; i++)
        named[i] = (struct registry_named){config->model[i].name, config->model[i].path};
    struct registry_options options = {config->models, named, config->model_count};
    struct registry *registry = registry_create(&options, &problem);
    if (registry == NULL)
        fprintf(stderr, "attnd: %s\n", problem.detail);
    while (registry != NULL && !registry_is_settled(registry, &failed))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    free(named);
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

int check_config_command(int argc, char **argv,
                         bool (*keys_are_good)(const char *path, char *why, size_t why_capacity)) {
    struct config config;
    char why[512] = "";
    enum config_outcome outcome = config_read(&config, argc, argv);
    if (outcome != CONFIG_RUN)
        return outcome == CONFIG_EXIT ? 0 : 2;
    bool is_fine = check_files(&config);
    if (is_fine && config.api_keys != NULL && !keys_are_good(config.api_keys, why, sizeof why)) {
        fprintf(stderr, "attnd: --api-keys: %s\n", why);
        is_fine = false;
    }
    is_fine = is_fine && check_models(&config);
    config_reset(&config);
    if (is_fine)
        puts("the settings are fine");
    return is_fine ? 0 : 2;
}
