#include "lib/tokenizer/regex.h"

#include "lib/tensor/error.h"
#include "lib/tokenizer/regex_syntax.h"
#include "lib/tokenizer/unicode.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

/* Steps that one match may take: text of a megabyte in one match is far below, a hostile pattern stops in a second. */
enum { MATCH_LIMIT = 20000000, DEPTH_LIMIT = 1000000, HEAP_LIMIT_KIB = 65536, LONGEST_PATTERN = 1 << 14 };
/*
 * A match may take steps for all of the text that is left, and the limit is for each place where one may begin. So the
 * caller is asked before every few places whether it still waits: a pattern that was made to do harm cannot hold it up.
 */
enum { PLACES = 32, STEPS_A_SEARCH = 64, BYTES_A_STEP = 16 };

struct attn_regex {
    pcre2_code *code;
};

static void release_regex(void *thing) {
    struct attn_regex *regex = thing;
    pcre2_code_free(regex->code);
}

static attn_status compile(struct attn_reader *reader, const char *key, struct attn_string source,
                           struct attn_regex **regex) {
    *regex = attn_pool_take(reader->pool, 1, sizeof **regex);
    if (*regex == NULL || !attn_pool_defer(reader->pool, release_regex, *regex))
        return attn_reader_no_memory(reader);
    struct attn_string pattern;
    attn_status status = attn_regex_translate(reader, key, source, &pattern);
    if (status != ATTN_OK)
        return status;
    int number;
    PCRE2_SIZE offset;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (context == NULL)
        return attn_reader_no_memory(reader);
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    (*regex)->code =
        pcre2_compile((PCRE2_SPTR)pattern.bytes, pattern.length,
                      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT,
                      &number, &offset, context);
    pcre2_compile_context_free(context);
    if ((*regex)->code == NULL) {
        char message[160];
        pcre2_get_error_message(number, (PCRE2_UCHAR *)message, sizeof message);
        return attn_reader_fail(reader, key, "no regular expression that is taken here: %s", message);
    }
    pcre2_jit_compile((*regex)->code, PCRE2_JIT_COMPLETE); /* without it matching is slower, not different */
    return ATTN_OK;
}

attn_status attn_read_regex(struct attn_reader *reader, const char *key, struct attn_string source,
                            struct attn_pattern *pattern) {
    *pattern = (struct attn_pattern){0};
    if (source.length > LONGEST_PATTERN)
        return attn_reader_fail(reader, key, "a pattern has at most %d bytes", LONGEST_PATTERN);
    return compile(reader, key, source, &pattern->regex);
}

attn_status attn_read_pattern(struct attn_reader *reader, const json_t *object, const char *key,
                              struct attn_pattern *pattern) {
    const json_t *member = json_object_get(object, key);
    struct attn_string text = {0};
    size_t length = attn_reader_enter(reader, key);
    *pattern = (struct attn_pattern){0};
    attn_status status;
    if (json_object_get(member, "String") != NULL) {
        status = attn_read_string(reader, member, "String", ATTN_REQUIRED, &pattern->literal);
    } else if (json_object_get(member, "Regex") != NULL) {
        status = attn_read_string(reader, member, "Regex", ATTN_REQUIRED, &text);
        if (status == ATTN_OK)
            status = attn_read_regex(reader, "Regex", text, pattern);
    } else {
        status = attn_reader_fail(reader, NULL, "an object with String or Regex is needed");
    }
    if (status == ATTN_OK)
        attn_reader_leave(reader, length);
    return status;
}

attn_status attn_replacement_read(struct attn_reader *reader, const json_t *object, void **data) {
    struct attn_replacement *replacement = attn_pool_take(reader->pool, 1, sizeof *replacement);
    if (replacement == NULL)
        return attn_reader_no_memory(reader);
    *data = replacement;
    attn_status status = attn_read_pattern(reader, object, "pattern", &replacement->pattern);
    return status == ATTN_OK ? attn_read_string(reader, object, "content", ATTN_REQUIRED, &replacement->content)
                             : status;
}

static attn_status no_memory(struct attn_error *error) {
    return attn_fail(error, ATTN_ENOMEM, "text", "no memory for the matches of a pattern");
}

static attn_status find_literal(struct attn_string literal, const char *text, size_t length,
                                struct attn_matches *matches, struct attn_error *error) {
    if (literal.length == 0) /* matches nothing, everywhere, as the package sees it */
        return ATTN_OK;
    const char *from = text, *end = text + length, *found;
    while ((found = memmem(from, (size_t)(end - from), literal.bytes, literal.length)) != NULL) {
        size_t begin = (size_t)(found - text);
        if (!attn_matches_push(matches, begin, begin + literal.length))
            return no_memory(error);
        from = found + literal.length;
    }
    return ATTN_OK;
}

/* What PCRE2 writes to while it matches: each run has its own. */
static bool prepare(struct attn_matches *matches) {
    if (matches->match_data == NULL)
        matches->match_data = pcre2_match_data_create(1, NULL);
    if (matches->match_context == NULL) {
        matches->match_context = pcre2_match_context_create(NULL);
        if (matches->match_context != NULL) {
            pcre2_set_match_limit(matches->match_context, MATCH_LIMIT);
            pcre2_set_depth_limit(matches->match_context, DEPTH_LIMIT);
            pcre2_set_heap_limit(matches->match_context, HEAP_LIMIT_KIB);
        }
    }
    return matches->match_data != NULL && matches->match_context != NULL;
}

/* A match that begins within PLACES bytes. @return as pcre2_match; without the compiled code where that runs out of
   stack. */
static int match_near(const struct attn_regex *regex, const char *text, size_t length, size_t from,
                      const struct attn_matches *matches) {
    pcre2_match_data *data = matches->match_data;
    pcre2_match_context *context = matches->match_context;
    pcre2_set_offset_limit(context, length - from < PLACES ? length : from + PLACES - 1);
    int found = pcre2_match(regex->code, (PCRE2_SPTR)text, length, from, PCRE2_NO_UTF_CHECK, data, context);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT)
        found =
            pcre2_match(regex->code, (PCRE2_SPTR)text, length, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, context);
    return found;
}

/* The next match. @return as pcre2_match; PCRE2_ERROR_CALLOUT where the work is to be given up. */
static int search(const struct attn_regex *regex, const char *text, size_t length, size_t from,
                  const struct attn_matches *matches) {
    while (attn_patience_spend(matches->patience, STEPS_A_SEARCH + (length - from) / BYTES_A_STEP)) {
        int found = match_near(regex, text, length, from, matches);
        if (found != PCRE2_ERROR_NOMATCH || length - from < PLACES)
            return found;
        from += PLACES;
        while (from < length && ((unsigned char)text[from] & 0xc0) == 0x80)
            from++;
    }
    return PCRE2_ERROR_CALLOUT;
}

static attn_status fail_search(int found, struct attn_error *error) {
    if (found == PCRE2_ERROR_NOMEMORY)
        return no_memory(error);
    if (found == PCRE2_ERROR_CALLOUT)
        return attn_fail(error, ATTN_ECANCELLED, "text", "stopped");
    return attn_fail(error, ATTN_ELIMIT, "text",
                     "a pattern of the tokenizer takes too many steps for this text (PCRE2 error %d)", found);
}

static attn_status find_regex(const struct attn_regex *regex, const char *text, size_t length,
                              struct attn_matches *matches, struct attn_error *error) {
    if (!prepare(matches))
        return no_memory(error);
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(matches->match_data);
    size_t from = 0, last = SIZE_MAX;
    while (from <= length) {
        int found = search(regex, text, length, from, matches);
        if (found == PCRE2_ERROR_NOMATCH)
            return ATTN_OK;
        if (found < 0)
            return fail_search(found, error);
        size_t begin = ends[0], end = ends[1];
        from = end > begin ? end : end < length ? end + attn_utf8_size(text[end]) : length + 1;
        if (end == begin && end == last) /* no empty match right behind another match */
            continue;
        if (end < begin || !attn_matches_push(matches, begin, end))
            return no_memory(error);
        last = end;
    }
    return ATTN_OK;
}

attn_status attn_pattern_find(const void *data, const char *text, size_t length, struct attn_matches *matches,
                              struct attn_error *error) {
    const struct attn_pattern *pattern = data;
    if (pattern->regex == NULL)
        return find_literal(pattern->literal, text, length, matches, error);
    return find_regex(pattern->regex, text, length, matches, error);
}

void attn_matches_reset(struct attn_matches *matches) {
    pcre2_match_data_free(matches->match_data);
    pcre2_match_context_free(matches->match_context);
    free(matches->entries);
    *matches = (struct attn_matches){0};
}
