/** @file commands.h What attnd does beside serving. Each takes the arguments from the command's name on. */
#ifndef SERVER_CONFIG_COMMANDS_H
#define SERVER_CONFIG_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>

/**
 * `attnd healthcheck [URL]`: asks /readyz of http://host:port, http://[::1]:port or unix:/path; without a URL, of the
 * admin listener or else the first listener that the environment and the config file name.
 * @return 0 where it answers 200, 1 else (Docker reserves 2): the exit code
 */
int healthcheck_command(int argc, char **argv);

/**
 * `attnd check-config [flags]`: reads settings, the files that they name, and the models.
 * @param keys_are_good  how the server reads the file of --api-keys: false with one line in `why`
 * @return 0 or 2: the exit code
 */
int check_config_command(int argc, char **argv,
                         bool (*keys_are_good)(const char *path, char *why, size_t why_capacity));

#endif
