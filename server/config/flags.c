#include "server/config/flags.h"
#include "server/config/address.h"
#include "server/registry/registry.h"
#include <stdio.h>
#include <string.h>

static bool is_address(const char *text) {
    struct address address;
    return address_parse(text, &address);
}

/* An origin as RFC 6454 section 6.2 serializes it: scheme, host and port, without a path. */
static bool is_origin(const char *text) {
    static const char *const schemes[] = {"http://", "https://"};
    if (strcmp(text, "*") == 0)
        return true;
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t length = strlen(schemes[i]);
        if (strncmp(text, schemes[i], length) == 0)
            return text[length] != '\0' && strpbrk(text + length, "/ ,\t\"\\?#@") == NULL;
    }
    return false;
}

static bool is_named_model(const char *text) {
    const char *equals = strchr(text, '=');
    char name[300];
    struct problem ignored;
    if (equals == NULL || equals[1] == '\0' || (size_t)(equals - text) >= sizeof name)
        return false;
    snprintf(name, sizeof name, "%.*s", (int)(equals - text), text);
    return registry_id_check(name, NULL, &ignored);
}

static const char *const log_formats[] = {[LOG_JSON] = "json", [LOG_TEXT] = "text", NULL};
static const char *const log_levels[] = {
    [LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARN] = "warn", [LOG_ERROR] = "error", NULL};

#define KIBI 1024.0
#define DAY 86400.0
#define MOST_BYTES (8.0 * KIBI * KIBI * KIBI * KIBI * KIBI)
#define AT(member) offsetof(struct config, member)
#define ORIGINS_ALLOWED "* or an origin such as https://example.org"
#define MODEL_ALLOWED                                                                                                  \
    "NAME=PATH, where NAME is name or org/name, each of 1 to 128 letters, digits, '.', '_' and '-', not reserved, "    \
    "and "                                                                                                             \
    "comes once"

const struct flag flags[] = {
    {"listen", "ADDR:PORT", FLAG_LIST, AT(listen), NULL, "127.0.0.1:8080", 0, 0, NULL, is_address, ADDRESS_ALLOWED,
     "where to serve; repeatable; port 0 picks a free port"},
    {"admin-listen", "ADDR:PORT", FLAG_TEXT, AT(admin_listen), NULL, "none", 0, 0, NULL, is_address, ADDRESS_ALLOWED,
     "/livez, /readyz, /metrics and /version there too, on a thread of their own"},
    {"models", "DIR", FLAG_TEXT, AT(models), NULL, "./models if it is there", 0, 0, NULL, NULL, "a directory",
     "where models live; uploads are kept there"},
    {"model", "NAME=PATH", FLAG_MODELS, AT(model), NULL, "none", 0, 0, NULL, is_named_model, MODEL_ALLOWED,
     "serves the file or folder PATH under the id NAME, read-only; repeatable"},
    {"workers", "N", FLAG_COUNT, AT(workers), NULL, "cores allowed by affinity and cgroup", 1, 1024, NULL, NULL, NULL,
     "worker threads"},
    {"queue", "N", FLAG_COUNT, AT(queue), NULL, "64 a worker", 1, 1e6, NULL, NULL, NULL,
     "requests that may wait; beyond it 503 with Retry-After"},
    {"max-connections", "N", FLAG_COUNT, AT(max_connections), "1024", NULL, 1, 1e6, NULL, NULL, NULL,
     "open connections"},
    {"max-body", "BYTES", FLAG_BYTES, AT(max_body), "64M", NULL, 1, MOST_BYTES, NULL, NULL, NULL,
     "larger bodies get 413"},
    {"max-elements", "N", FLAG_BYTES, AT(max_elements), "64M", NULL, 1, MOST_BYTES, NULL, NULL, NULL,
     "the most elements of a tensor that a request may make the server hold or return"},
    {"max-model", "BYTES", FLAG_BYTES, AT(max_model), "4G", NULL, 1, MOST_BYTES, NULL, NULL, NULL,
     "larger uploads get 413; they go to disk, not to memory"},
    {"memory", "BYTES", FLAG_BYTES, AT(memory), NULL, "half of what the machine or cgroup allows", KIBI *KIBI,
     MOST_BYTES, NULL, NULL, NULL, "ceiling for connections, request and result buffers together"},
    {"request-timeout", "S", FLAG_SECONDS, AT(request_timeout_s), "30", NULL, 0.001, DAY, NULL, NULL, NULL,
     "deadline from the last byte read; past it 504"},
    {"read-timeout", "S", FLAG_SECONDS, AT(read_timeout_s), "10", NULL, 0.001, DAY, NULL, NULL, NULL,
     "from a request's first byte to its last"},
    {"write-timeout", "S", FLAG_SECONDS, AT(write_timeout_s), "60", NULL, 0.001, DAY, NULL, NULL, NULL,
     "a client that takes nothing of its answer for so long is dropped"},
    {"idle-timeout", "S", FLAG_SECONDS, AT(idle_timeout_s), "60", NULL, 0.001, DAY, NULL, NULL, NULL,
     "connections without a request"},
    {"shutdown-delay", "S", FLAG_SECONDS, AT(shutdown_delay_s), "0", NULL, 0, DAY, NULL, NULL, NULL,
     "how long new connections are still served after SIGTERM"},
    {"drain-timeout", "S", FLAG_SECONDS, AT(drain_timeout_s), "30", NULL, 0, DAY, NULL, NULL, NULL,
     "how long what is in flight may take to finish after that"},
    {"strict-readiness", NULL, FLAG_SWITCH, AT(strict_readiness), "false", NULL, 0, 0, NULL, NULL, NULL,
     "/readyz also fails where a model found at start does not load"},
    {"api-keys", "FILE", FLAG_TEXT, AT(api_keys), NULL, "none", 0, 0, NULL, NULL, "a file",
     "keys with the scopes infer and admin"},
    {"tls-cert", "FILE", FLAG_TEXT, AT(tls_cert), NULL, "none", 0, 0, NULL, NULL, "a PEM file",
     "certificate chain for HTTPS; together with --tls-key"},
    {"tls-key", "FILE", FLAG_TEXT, AT(tls_key), NULL, "none", 0, 0, NULL, NULL, "a PEM file",
     "private key for HTTPS; together with --tls-cert"},
    {"cors-origin", "ORIGIN", FLAG_LIST, AT(cors_origin), NULL, "none", 0, 0, NULL, is_origin, ORIGINS_ALLOWED,
     "origins whose pages may read answers; repeatable; * allowed"},
    {"log-format", "json|text", FLAG_CHOICE, AT(log_format), NULL, "text on a terminal, json else", 0, 0, log_formats,
     NULL, NULL, "one line a request"},
    {"log-level", "LEVEL", FLAG_CHOICE, AT(log_level), "info", NULL, 0, 0, log_levels, NULL, NULL,
     "debug, info, warn or error"},
    {"config", "FILE", FLAG_TEXT, AT(config_file), NULL, "none", 0, 0, NULL, NULL, "a file",
     "the same names as `name = value` lines; # begins a comment"},
};
const size_t flag_count = sizeof flags / sizeof *flags;

const struct flag *flag_find(const char *name, size_t length) {
    for (size_t i = 0; i < flag_count; i++)
        if (strlen(flags[i].name) == length && memcmp(flags[i].name, name, length) == 0)
            return &flags[i];
    return NULL;
}

bool flag_is_repeatable(const struct flag *flag) {
    return flag->type == FLAG_LIST || flag->type == FLAG_MODELS;
}
