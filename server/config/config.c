/* The sources of settings, the later of which wins: built-in, config file, environment, command line. */
#include "server/config/config.h"
#include "server/config/flags.h"
#include <attn/status.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct reader {
    struct config *config;
    bool *was_given; /* in the source that is being read, a flag a row */
};

ATTN_PRINTF(1, 2) static bool complain(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("attnd: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return false;
}

/* A list given in one source replaces that of the sources before it. */
static bool set_value(struct reader *reader, const struct flag *flag, const char *origin, const char *value) {
    char allowed[256];
    bool *was_given = &reader->was_given[flag - flags];
    if (flag_is_repeatable(flag) && !*was_given)
        flag_clear(flag, reader->config);
    *was_given = true;
    if (flag_set(flag, reader->config, value))
        return true;
    flag_describe(flag, allowed, sizeof allowed);
    return complain("%s: \"%s\" is not allowed; allowed is %s", origin, value, allowed);
}

static bool set_items(struct reader *reader, const struct flag *flag, const char *origin, const char *value) {
    if (!flag_is_repeatable(flag))
        return set_value(reader, flag, origin, value);
    char *copy = strdup(value);
    if (copy == NULL)
        return complain("out of memory");
    bool is_fine = true;
    char *state = NULL;
    for (char *item = strtok_r(copy, ",", &state); item != NULL && is_fine; item = strtok_r(NULL, ",", &state)) {
        item += strspn(item, " \t");
        for (size_t end = strlen(item); end > 0 && (item[end - 1] == ' ' || item[end - 1] == '\t'); end--)
            item[end - 1] = '\0';
        is_fine = set_value(reader, flag, origin, item);
    }
    free(copy);
    return is_fine;
}

static void begin_source(struct reader *reader) {
    memset(reader->was_given, 0, flag_count * sizeof *reader->was_given);
}

static bool read_defaults(struct reader *reader) {
    begin_source(reader);
    for (size_t i = 0; i < flag_count; i++)
        if (flags[i].standard != NULL && !set_value(reader, &flags[i], flags[i].name, flags[i].standard))
            return false;
    reader->config->log_format = isatty(STDERR_FILENO) ? LOG_TEXT : LOG_JSON;
    return true;
}

static char *trim(char *text) {
    text += strspn(text, " \t\r\n");
    for (size_t end = strlen(text); end > 0 && strchr(" \t\r\n", text[end - 1]) != NULL; end--)
        text[end - 1] = '\0';
    return text;
}

/* A comment begins a line, or stands behind white space, so that a value may hold a '#'. */
static void cut_comment(char *line) {
    for (char *at = line; *at != '\0'; at++)
        if (*at == '#' && (at == line || at[-1] == ' ' || at[-1] == '\t')) {
            *at = '\0';
            return;
        }
}

static bool unknown_name(const char *origin, const char *name) {
    fprintf(stderr, "attnd: %s: unknown setting \"%s\"; allowed are", origin, name);
    for (size_t i = 0; i < flag_count; i++)
        fprintf(stderr, "%s %s", i == 0 ? "" : ",", flags[i].name);
    fputc('\n', stderr);
    return false;
}

static bool read_line(struct reader *reader, const char *place, char *line) {
    char origin[4400];
    cut_comment(line);
    char *name = trim(line);
    if (*name == '\0')
        return true;
    char *equals = strchr(name, '=');
    if (equals == NULL)
        return complain("%s: \"%s\" is not allowed; allowed are lines `name = value` and comments", place, name);
    *equals = '\0';
    name = trim(name);
    const struct flag *flag = flag_find(name, strlen(name));
    if (flag == NULL || strcmp(flag->name, "config") == 0)
        return unknown_name(place, name);
    if (reader->was_given[flag - flags] && !flag_is_repeatable(flag))
        return complain("%s: %s is given twice; allowed is once", place, name);
    snprintf(origin, sizeof origin, "%s: %s", place, flag->name);
    return set_value(reader, flag, origin, trim(equals + 1));
}

static bool read_file(struct reader *reader, const char *path) {
    char place[4200];
    char *line = NULL;
    size_t capacity = 0, number = 0;
    begin_source(reader);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return complain("--config: %s: %s; allowed is a file that can be read", path, strerror(errno));
    bool is_fine = true;
    while (is_fine && getline(&line, &capacity, file) >= 0) {
        snprintf(place, sizeof place, "%.4096s:%zu", path, ++number);
        is_fine = read_line(reader, place, line);
    }
    if (is_fine && ferror(file))
        is_fine = complain("--config: %s: %s; allowed is a file that can be read", path, strerror(errno));
    free(line);
    fclose(file);
    return is_fine;
}

/* An empty variable counts as unset, as compose files leave them. Other ATTND_ variables are let be: Kubernetes makes
   ATTND_PORT and the like for a service of that name. */
static bool read_environment(struct reader *reader) {
    char name[64];
    begin_source(reader);
    for (size_t i = 0; i < flag_count; i++) {
        flag_environment_name(&flags[i], name, sizeof name);
        const char *value = getenv(name);
        if (value != NULL && *value != '\0' && !set_items(reader, &flags[i], name, value))
            return false;
    }
    return true;
}

/* One argument of the command line, taken apart. */
struct argument {
    const struct flag *flag;
    const char *value;
    enum { ARGUMENT_FLAG, ARGUMENT_HELP, ARGUMENT_VERSION, ARGUMENT_BAD } kind;
};

static struct argument unknown_argument(const char *text) {
    fprintf(stderr, "attnd: unknown argument \"%s\"; allowed are --help, --version", text);
    for (size_t i = 0; i < flag_count; i++)
        fprintf(stderr, ", --%s", flags[i].name);
    fputc('\n', stderr);
    return (struct argument){.kind = ARGUMENT_BAD};
}

static struct argument next_argument(int argc, char **argv, int *index) {
    char allowed[256];
    const char *text = argv[(*index)++];
    if (strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0)
        return (struct argument){.kind = ARGUMENT_HELP};
    if (strcmp(text, "--version") == 0)
        return (struct argument){.kind = ARGUMENT_VERSION};
    const char *equals = strchr(text, '=');
    size_t length = equals != NULL ? (size_t)(equals - text) : strlen(text);
    const struct flag *flag = strncmp(text, "--", 2) == 0 ? flag_find(text + 2, length - 2) : NULL;
    if (flag == NULL)
        return unknown_argument(text);
    if (equals != NULL)
        return (struct argument){flag, equals + 1, ARGUMENT_FLAG};
    if (flag->type == FLAG_SWITCH)
        return (struct argument){flag, "true", ARGUMENT_FLAG};
    if (*index < argc)
        return (struct argument){flag, argv[(*index)++], ARGUMENT_FLAG};
    flag_describe(flag, allowed, sizeof allowed);
    complain("%s needs a value: %s", text, allowed);
    return (struct argument){.kind = ARGUMENT_BAD};
}

static bool read_arguments(struct reader *reader, int argc, char **argv) {
    char origin[64];
    begin_source(reader);
    for (int i = 1; i < argc;) {
        struct argument argument = next_argument(argc, argv, &i);
        snprintf(origin, sizeof origin, "--%s", argument.flag->name);
        if (!set_value(reader, argument.flag, origin, argument.value))
            return false;
    }
    return true;
}

static void print_help(void) {
    char name[64];
    puts(
        "attnd computes multi-head attention and hands out the attention values over HTTP.\n\n"
        "usage: attnd [flags]\n"
        "       attnd healthcheck [URL]     asks /readyz; exits 0 or 1\n"
        "       attnd check-config [flags]  reads everything and exits 0 or 2\n\n"
        "Every flag has an environment twin (--max-body is ATTND_MAX_BODY; lists are separated by commas) and a name\n"
        "in the config file (max-body = 64M). Flags win over the environment, and that over the file. BYTES take K, M\n"
        "and G, powers of 1024.\n");
    for (size_t i = 0; i < flag_count; i++) {
        const struct flag *flag = &flags[i];
        snprintf(name, sizeof name, "--%s %s", flag->name, flag->argument != NULL ? flag->argument : "");
        printf("  %-28s %s (default: %s)\n", name, flag->help,
               flag->standard == NULL      ? flag->meaning
               : flag->type == FLAG_SWITCH ? "off"
                                           : flag->standard);
    }
    puts("  --help                       this text\n  --version                    the version");
}

/* Goes over the command line once to find what must be known before anything else is read. */
static enum config_outcome find_early(int argc, char **argv, const char **config_file) {
    for (int i = 1; i < argc;) {
        struct argument argument = next_argument(argc, argv, &i);
        switch (argument.kind) {
        case ARGUMENT_HELP:
            print_help();
            return CONFIG_EXIT;
        case ARGUMENT_VERSION:
            printf("attnd %s\n", attn_version());
            return CONFIG_EXIT;
        case ARGUMENT_BAD:
            return CONFIG_BAD;
        case ARGUMENT_FLAG:
            if (strcmp(argument.flag->name, "config") == 0)
                *config_file = argument.value;
        }
    }
    return CONFIG_RUN;
}

static bool set_text_default(const char *name, struct config *config, const char *value) {
    return flag_set(flag_find(name, strlen(name)), config, value) || complain("out of memory");
}

/* Defaults that are no constants. */
static bool fill_in(struct config *config) {
    struct stat status;
    if (config->workers == 0)
        config->workers = config_available_cores();
    if (config->queue == 0)
        config->queue = 64 * config->workers;
    if (config->memory == 0)
        config->memory = config_available_memory() / 2;
    if (config->listen.count == 0 && !set_text_default("listen", config, "127.0.0.1:8080"))
        return false;
    if (config->models == NULL && stat("models", &status) == 0 && S_ISDIR(status.st_mode))
        return set_text_default("models", config, "./models");
    return true;
}

static bool check_conflicts(const struct config *config) {
    if (config->tls_cert != NULL && config->tls_key == NULL)
        return complain("--tls-cert needs --tls-key beside it; allowed are both or neither");
    if (config->tls_key != NULL && config->tls_cert == NULL)
        return complain("--tls-key needs --tls-cert beside it; allowed are both or neither");
    return true;
}

static bool read_sources(struct reader *reader, int argc, char **argv, const char *config_file) {
    return read_defaults(reader) && (config_file == NULL || read_file(reader, config_file)) &&
           read_environment(reader) && read_arguments(reader, argc, argv) && fill_in(reader->config) &&
           check_conflicts(reader->config);
}

enum config_outcome config_read(struct config *config, int argc, char **argv) {
    const char *config_file = getenv("ATTND_CONFIG");
    memset(config, 0, sizeof *config);
    if (config_file != NULL && *config_file == '\0')
        config_file = NULL;
    enum config_outcome outcome = find_early(argc, argv, &config_file);
    if (outcome != CONFIG_RUN)
        return outcome;
    struct reader reader = {config, calloc(flag_count, sizeof(bool))};
    bool is_fine = reader.was_given != NULL && read_sources(&reader, argc, argv, config_file);
    free(reader.was_given);
    if (is_fine)
        return CONFIG_RUN;
    config_reset(config);
    return CONFIG_BAD;
}

void config_reset(struct config *config) {
    for (size_t i = 0; i < flag_count; i++)
        flag_clear(&flags[i], config);
}
