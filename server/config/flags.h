/**
 * @file flags.h
 * The table of settings. One row names a flag, its environment twin and its name in the config file, and says what it
 * takes; reading, error messages and --help follow from the row.
 */
#ifndef SERVER_CONFIG_FLAGS_H
#define SERVER_CONFIG_FLAGS_H

#include "server/config/config.h"

enum flag_type {
    FLAG_TEXT,    /**< const char * */
    FLAG_LIST,    /**< struct config_list; repeatable */
    FLAG_MODELS,  /**< the NAME=PATH pairs; repeatable */
    FLAG_COUNT,   /**< size_t */
    FLAG_BYTES,   /**< size_t; K, M, G are powers of 1024 */
    FLAG_SECONDS, /**< double */
    FLAG_SWITCH,  /**< bool; the value may be left out */
    FLAG_CHOICE   /**< an enum whose members are named by `choices` */
};

struct flag {
    const char *name;     /**< "max-body": --max-body, ATTND_MAX_BODY, max-body = … */
    const char *argument; /**< "BYTES"; NULL for a switch */
    enum flag_type type;
    size_t offset;                        /**< of the member in struct config */
    const char *standard;                 /**< the default as text, read like a given value; NULL: see `meaning` */
    const char *meaning;                  /**< the default as --help says it, where it is no constant */
    double least, most;                   /**< of numbers */
    const char *const *choices;           /**< of FLAG_CHOICE, NULL-terminated */
    bool (*is_allowed)(const char *text); /**< of texts and lists; NULL: anything but "" */
    const char *allowed;                  /**< what is_allowed takes */
    const char *help;
};

extern const struct flag flags[];
extern const size_t flag_count;

/** @return the row of that name (of `length` bytes), or NULL. */
const struct flag *flag_find(const char *name, size_t length);
/** @return whether giving it again adds to a list. */
bool flag_is_repeatable(const struct flag *flag);
/** Writes what the flag takes ("a whole number from 1 to 1024"). */
void flag_describe(const struct flag *flag, char *text, size_t capacity);
/** Writes the name of the environment twin. */
void flag_environment_name(const struct flag *flag, char *text, size_t capacity);

/** Sets the member from text; lists grow. @return false where the value is not allowed, or out of memory. */
bool flag_set(const struct flag *flag, struct config *config, const char *value);
/** Frees what the member owns and zeroes it. */
void flag_clear(const struct flag *flag, struct config *config);

#endif
