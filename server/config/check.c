#include "server/config/commands.h"
#include "server/config/config.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>
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

int check_config_command(int argc, char **argv) {
    struct config config;
    enum config_outcome outcome = config_read(&config, argc, argv);
    if (outcome != CONFIG_RUN)
        return outcome == CONFIG_EXIT ? 0 : 2;
    bool is_fine = check_files(&config);
    config_reset(&config);
    if (is_fine)
        puts("the settings are fine");
    return is_fine ? 0 : 2;
}
