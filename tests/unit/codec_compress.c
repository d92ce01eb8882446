#include "server/base/arena.h"
#include "server/codec/compress.h"
#include "tests/unit/run_suite.h"
#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static struct arena *arena;
static struct problem problem;

static void setup(void) {
    arena = arena_create();
    memset(&problem, 0, sizeof problem);
}

static void teardown(void) {
    arena_destroy(arena);
}

/* zlib's own compression of the text. */
static size_t pack(enum coding coding, const void *text, size_t length, unsigned char *to, size_t room) {
    z_stream stream = {.zalloc = Z_NULL};
    ck_assert_int_eq(deflateInit2(&stream, 9, Z_DEFLATED, coding == CODING_GZIP ? 31 : 15, 8, Z_DEFAULT_STRATEGY),
                     Z_OK);
    stream.next_in = (unsigned char *)text;
    stream.avail_in = (uInt)length;
    stream.next_out = to;
    stream.avail_out = (uInt)room;
    ck_assert_int_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    deflateEnd(&stream);
    return stream.total_out;
}

/* Pieces of a buffer. */
struct buffer_sink {
    char *bytes;
    size_t used, piece, pieces, fails_at;
};

static void *buffer_next(void *self, size_t filled, size_t *room, struct problem *why) {
    struct buffer_sink *sink = self;
    sink->used += filled;
    if (room == NULL) {
        return sink;
    }
    if (sink->used >= sink->fails_at) {
        problem_set(why, PROBLEM_BUSY, NULL, "no more");
        return NULL;
    }
    ck_assert(sink->pieces == 0 || filled == sink->piece); /* whole pieces but the last */
    sink->pieces++;
    *room = sink->piece;
    return sink->bytes + sink->used;
}

static bool expand(enum coding coding, const void *bytes, size_t length, size_t limit, const char **text,
                   size_t *text_length) {
    bool is_same = true, is_expanded = true;
    static const size_t pieces[] = {1000000, 1, 3};
    for (size_t i = 0; i < (limit > 100000 ? 1 : 3) && is_same; i++) {
        char *to = arena_alloc(arena, limit + pieces[i] + 1);
        struct buffer_sink sink = {.bytes = to, .piece = pieces[i], .fails_at = SIZE_MAX};
        const struct expand_sink as_sink = {buffer_next, &sink};
        memset(&problem, 0, sizeof problem);
        bool is_good = compress_expand(coding, bytes, length, limit, &as_sink, text_length, &problem);
        is_same = i == 0 || is_good == is_expanded;
        ck_assert(!is_good || sink.used == *text_length);
        is_expanded = is_good;
        *text = to;
    }
    ck_assert(is_same);
    return is_expanded;
}

START_TEST(both_codings_are_expanded) {
    unsigned char packed[200];
    for (int coding = CODING_GZIP; coding <= CODING_DEFLATE; coding++) {
        size_t length = pack((enum coding)coding, "{\"query\":[1,2]}", 15, packed, sizeof packed), text_length;
        const char *text;
        ck_assert_msg(expand((enum coding)coding, packed, length, 15, &text, &text_length), "%s", problem.detail);
        ck_assert_uint_eq(text_length, 15);
        ck_assert_mem_eq(text, "{\"query\":[1,2]}", 15);
        length = pack((enum coding)coding, "", 0, packed, sizeof packed);
        ck_assert(expand((enum coding)coding, packed, length, 0, &text, &text_length));
        ck_assert_uint_eq(text_length, 0);
    }
}
END_TEST

START_TEST(bombs_are_stopped_at_the_limit) {
    size_t size = (size_t)10 << 20;
    char *zeros = calloc(1, size);
    unsigned char *packed = malloc(100000);
    size_t length = pack(CODING_GZIP, zeros, size, packed, 100000), text_length;
    const char *text;
    ck_assert(!expand(CODING_GZIP, packed, length, size - 1, &text, &text_length));
    ck_assert_int_eq(problem_status(problem.id), 413);
    ck_assert(expand(CODING_GZIP, packed, length, size, &text, &text_length));
    ck_assert_uint_eq(text_length, size);
    free(zeros);
    free(packed);
}
END_TEST

static void check_malformed(enum coding coding, const void *bytes, size_t length, size_t offset, const char *what) {
    const char *text;
    size_t text_length;
    ck_assert(!expand(coding, bytes, length, 1000, &text, &text_length));
    ck_assert_int_eq(problem_status(problem.id), 400);
    ck_assert_msg(strstr(problem.detail, what) != NULL, "%s", problem.detail);
    ck_assert(problem.has_offset);
    ck_assert_msg(offset == SIZE_MAX || problem.offset == offset, "%zu", problem.offset);
}

START_TEST(a_further_member_of_gzip_is_bytes_behind_the_end) {
    unsigned char packed[200];
    size_t length = pack(CODING_GZIP, "ab", 2, packed, sizeof packed);
    const size_t both = length + pack(CODING_GZIP, "cde", 3, packed + length, sizeof packed - length);
    check_malformed(CODING_GZIP, packed, both, length, "has bytes behind its end");
}
END_TEST

START_TEST(a_sink_that_fails_ends_it) {
    unsigned char packed[200];
    char to[64];
    size_t length = pack(CODING_GZIP, "hello, hello, hello", 19, packed, sizeof packed), expanded;
    struct buffer_sink sink = {.bytes = to, .piece = 4, .fails_at = 8};
    const struct expand_sink as_sink = {buffer_next, &sink};
    ck_assert(!compress_expand(CODING_GZIP, packed, length, 64, &as_sink, &expanded, &problem));
    ck_assert_int_eq(problem.id, PROBLEM_BUSY);
    ck_assert_uint_eq(sink.pieces, 2);
}
END_TEST

START_TEST(broken_streams_are_malformed_with_their_byte) {
    unsigned char packed[300];
    for (int i = 0; i < 2; i++) {
        enum coding coding = i == 0 ? CODING_GZIP : CODING_DEFLATE;
        size_t length = pack(coding, "hello, hello, hello", 19, packed, sizeof packed);
        for (size_t cut = 0; cut < length; cut++) {
            check_malformed(coding, packed, cut, cut, "ends early");
        }
        packed[length] = 'x';
        check_malformed(coding, packed, length + 1, length, "has bytes behind its end");
        packed[length - 1] ^= 1;
        check_malformed(coding, packed, length, SIZE_MAX, "is not");
        check_malformed(coding, "{\"query\":[1]}", 13, SIZE_MAX, "is not");
    }
    size_t length = pack(CODING_GZIP, "a", 1, packed, sizeof packed);
    check_malformed(CODING_DEFLATE, packed, length, SIZE_MAX, "is not");
}
END_TEST

struct text_source {
    size_t at, length, step;
    size_t fail_at;
};

static size_t source_next(void *self, char *to, size_t capacity) {
    struct text_source *source = self;
    size_t left = source->length - source->at, count = source->step < left ? source->step : left;
    count = count < capacity ? count : capacity;
    if (source->at >= source->fail_at) {
        return SIZE_MAX;
    }
    for (size_t i = 0; i < count; i++) {
        to[i] = (char)('0' + (source->at + i) * 7919 % 10);
    }
    source->at += count;
    return count;
}

START_TEST(what_is_deflated_while_pulled_expands_to_the_same) {
    static const size_t capacities[] = {1, 7, 64, 1000, 100000};
    unsigned char *packed = malloc(300000);
    for (size_t i = 0; i < 10; i++) {
        enum coding coding = i % 2 == 0 ? CODING_GZIP : CODING_DEFLATE;
        struct text_source source = {.length = 50000, .step = 313, .fail_at = SIZE_MAX};
        struct deflater *deflater = deflater_create(coding, source_next, &source);
        size_t length = 0, text_length;
        for (size_t count; (count = deflater_next(deflater, (char *)packed + length, capacities[i / 2])) > 0;) {
            ck_assert_uint_le(count, capacities[i / 2]);
            length += count;
        }
        deflater_destroy(deflater);
        const char *text;
        ck_assert_msg(expand(coding, packed, length, 50000, &text, &text_length), "%s", problem.detail);
        ck_assert_uint_eq(text_length, 50000);
        for (size_t j = 0; j < text_length; j++) {
            ck_assert_int_eq(text[j], (int)('0' + j * 7919 % 10));
        }
    }
    free(packed);
}
END_TEST

START_TEST(a_source_that_fails_fails_the_deflater) {
    struct text_source source = {.length = 50000, .step = 100, .fail_at = 40000};
    struct deflater *deflater = deflater_create(CODING_GZIP, source_next, &source);
    char to[512];
    size_t count;
    do {
        count = deflater_next(deflater, to, sizeof to);
        ck_assert_uint_ne(count, 0);
    } while (count != SIZE_MAX);
    deflater_destroy(deflater);
    deflater_destroy(NULL);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("compress");
    TCase *tests = tcase_create("compress");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, both_codings_are_expanded);
    tcase_add_test(tests, bombs_are_stopped_at_the_limit);
    tcase_add_test(tests, a_further_member_of_gzip_is_bytes_behind_the_end);
    tcase_add_test(tests, a_sink_that_fails_ends_it);
    tcase_add_test(tests, broken_streams_are_malformed_with_their_byte);
    tcase_add_test(tests, what_is_deflated_while_pulled_expands_to_the_same);
    tcase_add_test(tests, a_source_that_fails_fails_the_deflater);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
