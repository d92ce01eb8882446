#include "server/base/arena.h"
#include "tests/unit/run_suite.h"
#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static struct arena *arena;

static void setup(void) {
    arena = arena_create();
    ck_assert_ptr_nonnull(arena);
}

static void teardown(void) {
    arena_destroy(arena);
}

static bool is_zero(const unsigned char *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

START_TEST(blocks_are_zeroed_aligned_and_apart) {
    static const size_t sizes[] = {0, 1, 63, 64, 65, 4000, 8192, 100000, 131071, 131072, 1000000};
    unsigned char *blocks[sizeof sizes / sizeof *sizes];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        blocks[i] = arena_alloc(arena, sizes[i]);
        ck_assert_ptr_nonnull(blocks[i]);
        ck_assert_uint_eq((uintptr_t)blocks[i] % 64, 0);
        ck_assert(is_zero(blocks[i], sizes[i]));
        memset(blocks[i], (int)i + 1, sizes[i]);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t j = 0; j < sizes[i]; j++) {
            ck_assert_uint_eq(blocks[i][j], i + 1);
        }
    }
}
END_TEST

START_TEST(sizes_beyond_memory_are_refused) {
    ck_assert_ptr_null(arena_alloc(arena, SIZE_MAX));
    ck_assert_ptr_null(arena_alloc(arena, SIZE_MAX - 100));
    ck_assert_ptr_null(arena_reserve(arena, SIZE_MAX - 1));
    ck_assert_ptr_null(arena_copy_text(arena, "x", SIZE_MAX));
    ck_assert_ptr_nonnull(arena_alloc(arena, 8));
}
END_TEST

START_TEST(text_is_copied_with_a_nul_behind_it) {
    const char *copy = arena_copy_text(arena, "key\0_lengths", 12);
    ck_assert_mem_eq(copy, "key\0_lengths\0", 13);
    ck_assert_str_eq(arena_copy_text(arena, "abc", 2), "ab");
    ck_assert_str_eq(arena_copy_text(arena, NULL, 0), "");
}
END_TEST

START_TEST(a_small_reservation_gives_back_what_was_not_used) {
    unsigned char *reserved = arena_reserve(arena, 4096);
    ck_assert_ptr_nonnull(reserved);
    ck_assert_uint_eq((uintptr_t)reserved % 64, 0);
    ck_assert_ptr_null(arena_reserve(arena, 10)); /* one at a time */
    memset(reserved, 7, 4096);
    arena_commit(arena, 100);
    unsigned char *next = arena_alloc(arena, 64);
    ck_assert_ptr_eq(next, reserved + 128);
    ck_assert(is_zero(next, 64));
    ck_assert_uint_eq(reserved[99], 7);
}
END_TEST

START_TEST(blocks_taken_while_a_reservation_is_open_are_apart_from_it) {
    unsigned char *reserved = arena_reserve(arena, 1000);
    unsigned char *block = arena_alloc(arena, 100);
    char *text = arena_copy_text(arena, "abc", 3);
    memset(reserved, 9, 1000);
    ck_assert(is_zero(block, 100));
    ck_assert_str_eq(text, "abc");
    arena_commit(arena, 1000);
    ck_assert_uint_eq(reserved[999], 9);
}
END_TEST

START_TEST(a_large_reservation_costs_what_is_committed) {
    size_t before = arena_bytes(arena);
    float *values = arena_reserve(arena, (size_t)1 << 34);
    ck_assert_ptr_nonnull(values);
    ck_assert_uint_eq(arena_bytes(arena), before);
    for (size_t i = 0; i < 100000; i++) {
        values[i] = (float)i;
    }
    arena_commit(arena, 400000);
    ck_assert_uint_ge(arena_bytes(arena) - before, 400000);
    ck_assert_uint_lt(arena_bytes(arena) - before, 400000 + 65536);
    ck_assert(values[99999] == 99999.0F);
    ck_assert_ptr_nonnull(arena_reserve(arena, 1 << 20));
    arena_commit(arena, 0);
    ck_assert_uint_lt(arena_bytes(arena) - before, 400000 + 65536);
}
END_TEST

/* An account with so much in it. */
static bool take(void *context, size_t bytes) {
    size_t *left = context;
    if (bytes > *left) {
        return false;
    }
    *left -= bytes;
    return true;
}

static void give(void *context, size_t bytes) {
    *(size_t *)context += bytes;
}

static bool refuse_all(void *context, size_t bytes) {
    (void)context;
    (void)bytes;
    return false;
}

static void forget(void *context, size_t bytes) {
    (void)context;
    (void)bytes;
}

START_TEST(after_a_reset_it_is_as_new_and_keeps_one_chunk) {
    for (size_t round = 0; round < 4; round++) {
        unsigned char *first = arena_alloc(arena, 3000), *second = arena_alloc(arena, 100000);
        ck_assert(first != NULL && second != NULL && is_zero(first, 3000) && is_zero(second, 100000));
        memset(first, 0xff, 3000);
        memset(second, 0xff, 100000);
        unsigned char *open = arena_reserve(arena, 500000);
        ck_assert_ptr_nonnull(open);
        memset(open, 0xff, 500000);
        arena_set_account(arena, (struct arena_account){refuse_all, forget, NULL});
        arena_reset(arena); /* with a reservation open, and an account */
        ck_assert_uint_le(arena_bytes(arena), ARENA_KEPT_BYTES);
        ck_assert_uint_ge(arena_bytes(arena), 100000);
    }
    arena_reset(arena);
    unsigned char *kept = arena_alloc(arena, 100);
    arena_reset(arena);
    ck_assert_ptr_eq(arena_alloc(arena, 100), kept);
}
END_TEST

START_TEST(growth_is_taken_from_the_account_and_ends_where_it_does) {
    size_t left = (size_t)1 << 20, before;
    arena_set_account(arena, (struct arena_account){take, give, &left});
    ck_assert_ptr_nonnull(arena_alloc(arena, 100));
    ck_assert_uint_lt(left, (size_t)1 << 20);
    before = left;
    ck_assert_ptr_nonnull(arena_alloc(arena, 200)); /* in the same chunk */
    ck_assert_uint_eq(left, before);
    ck_assert_ptr_nonnull(arena_alloc(arena, (size_t)512 << 10));
    ck_assert_uint_eq(left, before - ((size_t)512 << 10));
    before = left;
    ck_assert_ptr_null(arena_alloc(arena, (size_t)1 << 20));
    ck_assert_ptr_null(arena_reserve(arena, (size_t)1 << 20));
    ck_assert_uint_eq(left, before);
    ck_assert(arena_charge(arena, before));
    ck_assert(!arena_charge(arena, 1));
    ck_assert_ptr_null(arena_alloc(arena, (size_t)127 << 10)); /* a new chunk */
}
END_TEST

START_TEST(a_reservation_gives_back_to_the_account_what_is_not_committed) {
    const size_t all = (size_t)64 << 20;
    size_t left = all;
    arena_set_account(arena, (struct arena_account){take, give, &left});
    ck_assert_ptr_nonnull(arena_reserve(arena, (size_t)32 << 20));
    ck_assert_uint_eq(left, (size_t)32 << 20);
    arena_commit(arena, 1);
    ck_assert_uint_ge(left, all - 65536); /* a page */
    ck_assert_uint_lt(left, all);
    left = all;
    ck_assert_ptr_nonnull(arena_reserve(arena, (size_t)32 << 20));
    arena_commit(arena, 0);
    ck_assert_uint_eq(left, all);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("arena");
    TCase *tests = tcase_create("arena");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, blocks_are_zeroed_aligned_and_apart);
    tcase_add_test(tests, sizes_beyond_memory_are_refused);
    tcase_add_test(tests, text_is_copied_with_a_nul_behind_it);
    tcase_add_test(tests, a_small_reservation_gives_back_what_was_not_used);
    tcase_add_test(tests, blocks_taken_while_a_reservation_is_open_are_apart_from_it);
    tcase_add_test(tests, a_large_reservation_costs_what_is_committed);
    tcase_add_test(tests, after_a_reset_it_is_as_new_and_keeps_one_chunk);
    tcase_add_test(tests, growth_is_taken_from_the_account_and_ends_where_it_does);
    tcase_add_test(tests, a_reservation_gives_back_to_the_account_what_is_not_committed);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
