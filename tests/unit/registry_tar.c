/* Tar archives that Python's tarfile and GNU tar made (registry_tar.py), and what is to come of each. */
#include "server/registry/tar.h"
#include "tests/unit/directory.h"
#include "tests/unit/run_suite.h"
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LEAST_CASES 80

static void make_cases(void) {
    char command[160];
    make_directory();
    snprintf(command, sizeof command, "python3 tests/unit/registry_tar.py %s", directory);
    ck_assert_int_eq(system(command), 0);
}

static void read_expected(const char *name, char *text, size_t capacity) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s.expected", directory, name);
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    text[fread(text, 1, capacity - 1, file)] = '\0';
    fclose(file);
}

static void check_files(const char *name, const struct tar *tar, const char *expected) {
    static char found[8192];
    size_t length = 0;
    found[0] = '\0';
    for (size_t i = 0; i < tar->count && length < sizeof found; i++)
        length += (size_t)snprintf(found + length, sizeof found - length, "%s %" PRIu64 " %" PRIu64 "\n",
                                   tar->members[i].name, tar->members[i].offset, tar->members[i].bytes);
    ck_assert_msg(strcmp(found, expected) == 0, "%s: expected\n%sfound\n%s", name, expected, found);
}

static void check_refusal(const char *name, const struct problem *problem, const char *expected) {
    char *text;
    unsigned long at = strtoul(expected + strlen("at "), &text, 10);
    text += 1;
    text[strcspn(text, "\n")] = '\0';
    ck_assert_msg(problem->id == PROBLEM_MALFORMED, "%s: %d %s", name, problem->id, problem->detail);
    ck_assert_msg(problem->has_offset && problem->offset == at, "%s: expected byte %lu, found %s", name, at,
                  problem->detail);
    ck_assert_msg(strstr(problem->detail, text) != NULL, "%s: expected %s, found %s", name, text, problem->detail);
}

static void check_case(const char *name) {
    static char expected[8192];
    char path[512];
    struct tar tar = {NULL, 0, 0};
    struct problem problem = {.id = PROBLEM_NONE};
    read_expected(name, expected, sizeof expected);
    snprintf(path, sizeof path, "%s/%s.tar", directory, name);
    int fd = open(path, O_RDONLY);
    ck_assert_int_ge(fd, 0);
    bool is_read = tar_read(&tar, fd, &problem), is_refused = strncmp(expected, "at ", 3) == 0;
    ck_assert_msg(is_read != is_refused, "%s: expected %sfound %s", name, expected, problem.detail);
    if (is_refused)
        check_refusal(name, &problem, expected);
    else
        check_files(name, &tar, expected);
    tar_reset(&tar);
    close(fd);
}

START_TEST(archives_are_read_or_refused_as_expected) {
    size_t count = 0;
    make_cases();
    DIR *folder = opendir(directory);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char name[256];
        snprintf(name, sizeof name, "%s", entry->d_name);
        char *suffix = strstr(name, ".tar");
        if (suffix == NULL)
            continue;
        *suffix = '\0';
        check_case(name);
        count++;
    }
    closedir(folder);
    ck_assert_uint_ge(count, LEAST_CASES);
    remove_directory();
}
END_TEST

START_TEST(every_cut_of_an_archive_is_refused) {
    struct problem problem;
    char path[512];
    make_cases();
    snprintf(path, sizeof path, "%s/two_blocks_at_the_end.tar", directory);
    int fd = open(path, O_RDWR);
    off_t length = lseek(fd, 0, SEEK_END);
    ck_assert_int_gt(length, 0);
    while (length-- > 0) {
        struct tar tar = {NULL, 0, 0};
        problem = (struct problem){.id = PROBLEM_NONE};
        ck_assert_int_eq(ftruncate(fd, length), 0);
        ck_assert(!tar_read(&tar, fd, &problem));
        ck_assert_int_eq(problem.id, PROBLEM_MALFORMED);
        ck_assert_uint_eq(problem.offset, (size_t)length);
        tar_reset(&tar);
    }
    close(fd);
    remove_directory();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("registry_tar");
    TCase *tests = tcase_create("tar");
    tcase_add_test(tests, archives_are_read_or_refused_as_expected);
    tcase_add_test(tests, every_cut_of_an_archive_is_refused);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
