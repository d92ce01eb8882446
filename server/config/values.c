/* Values of flags: from text into struct config, and what is said about them. */
#include "server/config/flags.h"
#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *member(const struct flag *flag, struct config *config) {
    return (char *)config + flag->offset;
}

static bool is_within(const struct flag *flag, double number) {
    return number >= flag->least && number <= flag->most;
}

/* Digits alone: no sign, no space, no other base. */
static bool parse_whole(const char *text, size_t *number, const char **rest) {
    size_t value = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        size_t digit = (size_t)(*at - '0');
        if (value > (SIZE_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *number = value;
    *rest = at;
    return at != text;
}

static bool set_count(const struct flag *flag, struct config *config, const char *text) {
    size_t number;
    const char *rest;
    if (!parse_whole(text, &number, &rest) || *rest != '\0' || !is_within(flag, (double)number))
        return false;
    *(size_t *)member(flag, config) = number;
    return true;
}

static bool set_bytes(const struct flag *flag, struct config *config, const char *text) {
    static const char units[] = "KMG";
    size_t number;
    const char *rest;
    if (!parse_whole(text, &number, &rest))
        return false;
    if (*rest != '\0') {
        const char *unit = strchr(units, toupper((unsigned char)*rest));
        if (unit == NULL || rest[1] != '\0')
            return false;
        unsigned shift = 10 * (unsigned)(unit - units + 1);
        if (number > SIZE_MAX >> shift)
            return false;
        number <<= shift;
    }
    if (!is_within(flag, (double)number))
        return false;
    *(size_t *)member(flag, config) = number;
    return true;
}

static bool set_seconds(const struct flag *flag, struct config *config, const char *text) {
    size_t whole = strspn(text, "0123456789");
    size_t fraction = text[whole] == '.' ? 1 + strspn(text + whole + 1, "0123456789") : 0;
    if (whole == 0 || fraction == 1 || text[whole + fraction] != '\0')
        return false;
    double seconds = strtod(text, NULL);
    if (!is_within(flag, seconds))
        return false;
    *(double *)member(flag, config) = seconds;
    return true;
}

static bool set_switch(const struct flag *flag, struct config *config, const char *text) {
    static const char *const words[][2] = {{"false", "true"}, {"off", "on"}, {"no", "yes"}, {"0", "1"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        for (int claim = 0; claim < 2; claim++)
            if (strcmp(text, words[i][claim]) == 0) {
                *(bool *)member(flag, config) = claim == 1;
                return true;
            }
    return false;
}

static bool set_choice(const struct flag *flag, struct config *config, const char *text) {
    for (int i = 0; flag->choices[i] != NULL; i++)
        if (strcmp(flag->choices[i], text) == 0) {
            memcpy(member(flag, config), &i, sizeof i);
            return true;
        }
    return false;
}
_Static_assert(sizeof(enum log_format) == sizeof(int) && sizeof(enum log_level) == sizeof(int),
               "choices are stored as int");

static bool is_text_allowed(const struct flag *flag, const char *text) {
    return flag->is_allowed != NULL ? flag->is_allowed(text) : text[0] != '\0';
}

static bool set_text(const struct flag *flag, struct config *config, const char *text) {
    char **to = member(flag, config);
    char *copy = is_text_allowed(flag, text) ? strdup(text) : NULL;
    if (copy == NULL)
        return false;
    free(*to);
    *to = copy;
    return true;
}

static bool add_item(const struct flag *flag, struct config *config, const char *text) {
    struct config_list *list = member(flag, config);
    if (!is_text_allowed(flag, text))
        return false;
    char **items = reallocarray(list->items, list->count + 1, sizeof *items);
    if (items == NULL)
        return false;
    list->items = items;
    items[list->count] = strdup(text);
    return items[list->count] != NULL && ++list->count > 0;
}

static bool has_model(const struct config *config, const char *name) {
    for (size_t i = 0; i < config->model_count; i++)
        if (strcmp(config->model[i].name, name) == 0)
            return true;
    return false;
}

static bool add_model(const struct flag *flag, struct config *config, const char *text) {
    if (!is_text_allowed(flag, text))
        return false;
    struct config_model *models = reallocarray(config->model, config->model_count + 1, sizeof *models);
    if (models == NULL)
        return false;
    config->model = models;
    size_t length = (size_t)(strchr(text, '=') - text);
    char *name = strndup(text, length);
    char *path = strdup(text + length + 1);
    if (name == NULL || path == NULL || has_model(config, name)) {
        free(name);
        free(path);
        return false;
    }
    models[config->model_count].name = name;
    models[config->model_count++].path = path;
    return true;
}

bool flag_set(const struct flag *flag, struct config *config, const char *value) {
    static bool (*const setters[])(const struct flag *, struct config *, const char *) = {
        [FLAG_TEXT] = set_text,   [FLAG_LIST] = add_item,       [FLAG_MODELS] = add_model,  [FLAG_COUNT] = set_count,
        [FLAG_BYTES] = set_bytes, [FLAG_SECONDS] = set_seconds, [FLAG_SWITCH] = set_switch, [FLAG_CHOICE] = set_choice,
    };
    return setters[flag->type](flag, config, value);
}

static void clear_list(struct config_list *list) {
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct config_list){NULL, 0};
}

static void clear_models(struct config *config) {
    for (size_t i = 0; i < config->model_count; i++) {
        free((void *)config->model[i].name);
        free((void *)config->model[i].path);
    }
    free(config->model);
    config->model = NULL;
    config->model_count = 0;
}

void flag_clear(const struct flag *flag, struct config *config) {
    char **text = member(flag, config);
    switch (flag->type) {
    case FLAG_TEXT:
        free(*text);
        *text = NULL;
        return;
    case FLAG_LIST:
        clear_list(member(flag, config));
        return;
    case FLAG_MODELS:
        clear_models(config);
        return;
    default:
        return;
    }
}

/* 1048576 as 1M, so that a range reads as it is typed: with the units that are taken. */
static void print_bytes(double bytes, char *text, size_t capacity) {
    static const char *const units[] = {"", "K", "M", "G"};
    size_t unit = 0;
    while (unit < 3 && bytes >= 1024 && fmod(bytes, 1024) == 0) {
        bytes /= 1024;
        unit++;
    }
    snprintf(text, capacity, "%.0f%s", bytes, units[unit]);
}

static void describe_choices(const struct flag *flag, char *text, size_t capacity) {
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; flag->choices[i] != NULL && used < capacity; i++) {
        const char *joint = i == 0 ? "" : flag->choices[i + 1] == NULL ? " or " : ", ";
        used += (size_t)snprintf(text + used, capacity - used, "%s%s", joint, flag->choices[i]);
    }
}

void flag_describe(const struct flag *flag, char *text, size_t capacity) {
    char least[32], most[32];
    print_bytes(flag->least, least, sizeof least);
    print_bytes(flag->most, most, sizeof most);
    switch (flag->type) {
    case FLAG_COUNT:
        snprintf(text, capacity, "a whole number from %.0f to %.0f", flag->least, flag->most);
        return;
    case FLAG_BYTES:
        snprintf(text, capacity, "a whole number from %s to %s, with K, M or G for powers of 1024", least, most);
        return;
    case FLAG_SECONDS:
        snprintf(text, capacity, "seconds from %g to %g", flag->least, flag->most);
        return;
    case FLAG_SWITCH:
        snprintf(text, capacity, "true or false");
        return;
    case FLAG_CHOICE:
        describe_choices(flag, text, capacity);
        return;
    default:
        snprintf(text, capacity, "%s", flag->allowed);
        return;
    }
}

void flag_environment_name(const struct flag *flag, char *text, size_t capacity) {
    snprintf(text, capacity, "ATTND_%s", flag->name);
    for (char *at = text; *at != '\0'; at++)
        *at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
}
