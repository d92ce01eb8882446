/** @file commands.h What attnd does beside serving. Each takes the arguments from the command's name on. */
#ifndef SERVER_CONFIG_COMMANDS_H
#define SERVER_CONFIG_COMMANDS_H

#include "server/config/config.h"

/**
 * `attnd healthcheck [URL]`: asks /readyz of http://host:port, http://[::1]:port or unix:/path; without a URL, of the
 * admin listener or else the first listener that the environment and the config file name.
 * @return 0 where it answers 200, 1 else (Docker reserves 2): the exit code
 */
int healthcheck_command(int argc, char **argv);

/** How the server reads the files that settings name. All: false with one line in `why`. */
struct config_checks {
    bool (*keys_are_good)(const char *path, char *why, size_t why_capacity);
    bool (*certificate_is_good)(const struct config *config, char *why, size_t why_capacity); /**< true without TLS */
};

/**
 * `attnd check-config [flags]`: reads settings, the files that they name, and the models.
 * @return 0 or 2: the exit code
 */
int check_config_command(int argc, char **argv, const struct config_checks *checks);

#endif
