#include "server/http/keys.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_MAX 256

struct key {
    char text[KEY_MAX + 1];
    char name[64];
    bool scopes[3];
    double rate, tokens; /* rate 0: no limit */
    uint64_t filled_ns;
};

struct keys {
    pthread_mutex_t lock;
    char *path;
    struct key *items;
    size_t count;
};

static const struct {
    const char *name;
    enum scope scope;
} scope_names[] = {{"infer", SCOPE_INFER}, {"admin", SCOPE_ADMIN}};

static bool read_scopes(char *list, struct key *key) {
    char *rest = NULL;
    for (char *name = strtok_r(list, ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest)) {
        bool is_known = false;
        for (size_t i = 0; i < sizeof scope_names / sizeof *scope_names; i++) {
            if (strcmp(name, scope_names[i].name) == 0) {
                is_known = key->scopes[scope_names[i].scope] = true;
            }
        }
        if (!is_known) {
            return false;
        }
    }
    return key->scopes[SCOPE_INFER] || key->scopes[SCOPE_ADMIN];
}

static bool read_rate(const char *text, struct key *key) {
    char *end;
    key->rate = strtod(text, &end);
    key->tokens = key->rate < 1 ? 1 : key->rate;
    return end != text && strcmp(end, "/s") == 0 && key->rate > 0 && key->rate <= 1e9;
}

/** @return NULL, or what is wrong with the line. */
static const char *read_line(char *line, struct key *key) {
    char *rest = NULL;
    char *text = strtok_r(line, " \t\r\n", &rest), *scopes = strtok_r(NULL, " \t\r\n", &rest);
    if (text == NULL || strlen(text) < 8 || strlen(text) > KEY_MAX) {
        return "expected a key of 8 to 256 characters";
    }
    snprintf(key->text, sizeof key->text, "%s", text);
    if (scopes == NULL || !read_scopes(scopes, key)) {
        return "expected scopes, infer or admin or both with a comma, after the key";
    }
    for (char *word = strtok_r(NULL, " \t\r\n", &rest); word != NULL; word = strtok_r(NULL, " \t\r\n", &rest)) {
        if (strncmp(word, "rate=", 5) == 0) {
            if (!read_rate(word + 5, key)) {
                return "expected rate=N/s with N above 0";
            }
        } else if (key->name[0] != '\0') {
            return "expected one name, found two";
        } else {
            snprintf(key->name, sizeof key->name, "%s", word);
        }
    }
    return NULL;
}

static bool is_known(const struct key *items, size_t count, const char *text) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(items[i].text, text) == 0) {
            return true;
        }
    }
    return false;
}

static bool add(struct key **items, size_t *count, const struct key *key) {
    struct key *grown = realloc(*items, (*count + 1) * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    *items = grown;
    grown[(*count)++] = *key;
    return true;
}

static bool read_file(const char *path, struct key **items, size_t *count, char *why, size_t why_capacity) {
    char line[1024];
    const char *wrong = NULL;
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        snprintf(why, why_capacity, "%s: %s", path, strerror(errno));
        return false;
    }
    for (size_t number = 1; wrong == NULL && fgets(line, sizeof line, file) != NULL; number++) {
        struct key key = {0};
        size_t blanks = strspn(line, " \t\r\n");
        if (line[blanks] == '#' || line[blanks] == '\0') {
            continue;
        }
        wrong = strchr(line, '\n') == NULL && !feof(file) ? "the line is too long" : read_line(line, &key);
        if (wrong == NULL && is_known(*items, *count, key.text)) {
            wrong = "this key stands here twice";
        }
        if (wrong == NULL && !add(items, count, &key)) {
            wrong = "out of memory";
        }
        if (wrong != NULL) {
            snprintf(why, why_capacity, "%s, line %zu: %s", path, number, wrong);
        }
    }
    fclose(file);
    return wrong == NULL;
}

bool keys_reload(struct keys *keys, char *why, size_t why_capacity) {
    struct key *items = NULL;
    size_t count = 0;
    if (!read_file(keys->path, &items, &count, why, why_capacity)) {
        free(items);
        return false;
    }
    pthread_mutex_lock(&keys->lock);
    struct key *old = keys->items;
    keys->items = items;
    keys->count = count;
    pthread_mutex_unlock(&keys->lock);
    free(old);
    return true;
}

struct keys *keys_open(const char *path, char *why, size_t why_capacity) {
    struct keys *keys = calloc(1, sizeof *keys);
    if (keys == NULL || (keys->path = strdup(path)) == NULL) {
        snprintf(why, why_capacity, "out of memory");
        free(keys);
        return NULL;
    }
    pthread_mutex_init(&keys->lock, NULL);
    if (!keys_reload(keys, why, why_capacity)) {
        keys_close(keys);
        return NULL;
    }
    return keys;
}

void keys_close(struct keys *keys) {
    if (keys == NULL) {
        return;
    }
    pthread_mutex_destroy(&keys->lock);
    free(keys->items);
    free(keys->path);
    free(keys);
}

bool keys_file_is_good(const char *path, char *why, size_t why_capacity) {
    struct keys *keys = keys_open(path, why, why_capacity);
    keys_close(keys);
    return keys != NULL;
}

/** Compares all bytes, whatever they are; `given` is padded with zeros. */
static bool is_same(const char given[KEY_MAX + 1], const char known[KEY_MAX + 1]) {
    unsigned char difference = 0;
    for (size_t i = 0; i <= KEY_MAX; i++) {
        difference = (unsigned char)(difference | (given[i] ^ known[i]));
    }
    return difference == 0;
}

static bool take_token(struct key *key, uint64_t now_ns) {
    if (key->rate <= 0) {
        return true;
    }
    double burst = key->rate < 1 ? 1 : key->rate;
    if (key->filled_ns != 0 && now_ns > key->filled_ns) { /* another thread may have read the clock later */
        key->tokens += (double)(now_ns - key->filled_ns) / 1e9 * key->rate;
    }
    key->filled_ns = now_ns > key->filled_ns ? now_ns : key->filled_ns;
    key->tokens = key->tokens > burst ? burst : key->tokens;
    if (key->tokens < 1) {
        return false;
    }
    key->tokens -= 1;
    return true;
}

/** Seconds until a key that has none has a token again, rounded up. */
static int seconds_to_token(const struct key *key) {
    double seconds = key->rate > 0 && key->tokens < 1 ? (1 - key->tokens) / key->rate : 0;
    return seconds < 86400 ? (int)seconds + 1 : 86400;
}

struct key_verdict keys_check(struct keys *keys, const char *key, uint64_t now_ns) {
    struct key_verdict verdict = {0};
    char given[KEY_MAX + 1] = {0};
    size_t length = key != NULL ? strnlen(key, KEY_MAX + 1) : KEY_MAX + 1;
    if (length > KEY_MAX) {
        return verdict;
    }
    memcpy(given, key, length);
    struct key *found = NULL;
    pthread_mutex_lock(&keys->lock);
    for (size_t i = 0; i < keys->count; i++) {
        found = is_same(given, keys->items[i].text) ? &keys->items[i] : found;
    }
    if (found != NULL) {
        verdict.is_known = true;
        verdict.is_limited = !take_token(found, now_ns);
        verdict.wait_s = seconds_to_token(found);
        memcpy(verdict.scopes, found->scopes, sizeof verdict.scopes);
        memcpy(verdict.name, found->name, sizeof verdict.name);
    }
    pthread_mutex_unlock(&keys->lock);
    return verdict;
}
