/**
 * @file config.h
 * The settings, and the one table of flags that the command line, the environment, the config file and --help read.
 */
#ifndef SERVER_CONFIG_CONFIG_H
#define SERVER_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

struct config_list {
    char **items;
    size_t count;
};

enum log_format { LOG_JSON, LOG_TEXT };
enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct config_model {
    const char *name, *path;
};

struct config {
    struct config_list listen, cors_origin;
    const char *admin_listen, *models, *api_keys, *tls_cert, *tls_key, *config_file;
    struct config_model *model;
    size_t model_count;
    size_t workers, queue, max_connections, max_body, max_elements, max_model, memory;
    double request_timeout_s, read_timeout_s, write_timeout_s, idle_timeout_s, shutdown_delay_s, drain_timeout_s;
    bool strict_readiness;
    enum log_format log_format;
    enum log_level log_level;
};

enum config_outcome {
    CONFIG_RUN,  /**< go on */
    CONFIG_EXIT, /**< --help or --version was answered: exit 0 */
    CONFIG_BAD   /**< one line went to stderr: exit 2 */
};

/** Reads file, environment and flags (the later wins). The config is freed by config_reset. */
enum config_outcome config_read(struct config *config, int argc, char **argv);
void config_reset(struct config *config);

/** Cores that this process may use: affinity mask and cgroup cpu.max; at least 1. */
size_t config_available_cores(void);
/** Bytes that this process may use: machine or cgroup limit. */
size_t config_available_memory(void);

#endif
