#include "server/registry/settings.h"
#include <stdio.h>
#include <string.h>

#define MOST_HEADS 1000000

bool setting_parse_heads(const char *text, size_t *heads) {
    size_t value = 0;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at < '0' || *at > '9' || value > MOST_HEADS)
            return false;
        value = value * 10 + (size_t)(*at - '0');
    }
    *heads = value;
    return value >= 1 && value <= MOST_HEADS;
}

bool setting_parse_claim(const char *text, size_t *claim) {
    static const char *const words[][2] = {{"false", "true"}, {"False", "True"}, {"0", "1"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        for (size_t value = 0; value < 2; value++)
            if (strcmp(text, words[i][value]) == 0) {
                *claim = value;
                return true;
            }
    return false;
}

static bool is_given(const char *text) {
    return text != NULL && text[0] != '\0';
}

static void blame_parameter(struct problem *problem, const char *name) {
    snprintf(problem->parameter, sizeof problem->parameter, "%s", name);
}

static void blame_metadata(struct problem *problem, const char *name) {
    problem_pointer_append(problem->pointer, sizeof problem->pointer, "__metadata__", strlen("__metadata__"));
    problem_pointer_append(problem->pointer, sizeof problem->pointer, name, strlen(name));
}

void setting_blame(const struct setting *setting, struct problem *problem) {
    problem->pointer[0] = '\0';
    if (is_given(setting->given))
        blame_parameter(problem, setting->name);
    else
        blame_metadata(problem, setting->name);
}

bool setting_read(const struct attn_safetensors *file, struct setting *setting, struct problem *problem) {
    const char *kept = attn_safetensors_metadata(file, setting->name);
    const char *given = is_given(setting->given) ? setting->given : NULL;
    size_t kept_value = 0;
    if (kept != NULL && !setting->parse(kept, &kept_value)) {
        problem_set(problem, PROBLEM_INVALID, NULL, "%s in __metadata__ is %s; found \"%.60s\"", setting->name,
                    setting->allowed, kept);
        blame_metadata(problem, setting->name);
        return false;
    }
    if (given != NULL && !setting->parse(given, &setting->value)) {
        problem_set(problem, PROBLEM_INVALID, NULL, "%s in the query string is %s; found \"%.60s\"", setting->name,
                    setting->allowed, given);
        blame_parameter(problem, setting->name);
        return false;
    }
    if (given != NULL && kept != NULL && kept_value != setting->value) {
        problem_set(problem, PROBLEM_INVALID, NULL, "%s is \"%.60s\" in the query string and \"%.60s\" in __metadata__",
                    setting->name, given, kept);
        blame_parameter(problem, setting->name);
        return false;
    }
    setting->value = kept != NULL ? kept_value : setting->value;
    return true;
}

void setting_fail_missing(const struct setting *setting, struct problem *problem) {
    problem_set(problem, PROBLEM_INVALID, NULL, "%s is missing: expected in __metadata__ or as the query parameter %s",
                setting->name, setting->name);
    blame_metadata(problem, setting->name);
}

bool setting_check_absent(const char *name, const char *given, const char *kind, struct problem *problem) {
    if (!is_given(given))
        return true;
    problem_set(problem, PROBLEM_INVALID, NULL, "%s has no %s", kind, name);
    blame_parameter(problem, name);
    return false;
}

size_t settings_missing(const struct attn_safetensors *file, const struct registry_put_options *options,
                        struct attn_metadata *missing) {
    const struct attn_metadata given[SETTING_COUNT] = {{"num_heads", options->num_heads},
                                                       {"num_kv_heads", options->num_kv_heads},
                                                       {"add_zero_attn", options->add_zero_attn},
                                                       {"norm_first", options->norm_first},
                                                       {"activation", options->activation}};
    size_t count = 0;
    for (size_t i = 0; i < SETTING_COUNT; i++)
        if (is_given(given[i].value) && attn_safetensors_metadata(file, given[i].key) == NULL)
            missing[count++] = given[i];
    return count;
}
