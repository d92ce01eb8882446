/* Whole models in folders: uploaded as archives, replaced, removed, cut short; what a crash left is cleared away. */
#include "server/registry/registry.h"
#include "tests/unit/directory.h"
#include "tests/unit/run_suite.h"
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MODELS "tests/golden/data/models/"

static void run(const char *format, const char *first, const char *second) {
    char command[512];
    snprintf(command, sizeof command, format, first, second);
    ck_assert_msg(system(command) == 0, "%s", command);
}

static bool is_there(const char *name) {
    return access(in_directory(name), F_OK) == 0;
}

static struct registry *start(void) {
    struct registry_options options = {.directory = directory};
    struct problem problem;
    size_t failed = 0;
    struct registry *registry = registry_create(&options, &problem);
    ck_assert_msg(registry != NULL, "%s", problem.detail);
    for (int i = 0; i < 10000 && !registry_is_settled(registry, &failed); i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    ck_assert(registry_is_settled(registry, &failed));
    return registry;
}

static const struct model *acquire(struct registry *registry, const char *id) {
    struct problem problem;
    const struct model *model = registry_acquire(registry, id, &problem);
    ck_assert_msg(model != NULL, "%s: %s", id, problem.detail);
    return model;
}

/* An open archive of a golden model, its name gone. */
static int archive_of(const char *model) {
    char path[] = "/tmp/attnd-archive-XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    run("tar -C " MODELS "%s --exclude=expected.safetensors -cf %s .", model, path);
    close(fd);
    fd = open(path, O_RDWR);
    unlink(path);
    return fd;
}

static struct problem put(struct registry *registry, const char *id, const char *golden) {
    struct problem problem = {.id = PROBLEM_NONE};
    bool replaced;
    int fd = archive_of(golden);
    const struct model *model = registry_put_tar(registry, id, fd, NULL, &replaced, &problem);
    if (model != NULL)
        registry_release(registry, model);
    close(fd);
    return problem;
}

/* Reads every byte of every file; the sum keeps the compiler from leaving that out. */
static unsigned sum_of(const struct model *model) {
    unsigned sum = 0;
    for (size_t i = 0; i < attn_model_file_count(model->transformer); i++) {
        size_t length;
        const volatile unsigned char *bytes = attn_safetensors_bytes(attn_model_file(model->transformer, i), &length);
        for (size_t at = 0; at < length; at++)
            sum += bytes[at];
    }
    return sum;
}

START_TEST(a_model_in_use_outlives_its_replacement_and_removal) {
    struct problem problem;
    make_directory();
    struct registry *registry = start();
    ck_assert_int_eq(put(registry, "o/m", "bert").id, PROBLEM_NONE);
    const struct model *first = acquire(registry, "o/m");
    unsigned sum = sum_of(first);
    ck_assert_int_eq(put(registry, "o/m", "gpt2").id, PROBLEM_NONE);
    const struct model *second = acquire(registry, "o/m");
    ck_assert_str_eq(first->architecture, "BertModel");
    ck_assert_str_eq(second->architecture, "GPT2LMHeadModel");
    ck_assert_uint_eq(sum_of(first), sum);
    registry_release(registry, first);
    sum = sum_of(second);
    ck_assert(registry_delete(registry, "o/m", NULL, &problem));
    ck_assert(!is_there("o"));
    ck_assert_uint_eq(sum_of(second), sum);
    registry_release(registry, second);
    registry_destroy(registry);
    remove_directory();
}
END_TEST

START_TEST(the_hash_is_that_of_sha256sums_lines) {
    char text[80] = "", command[256];
    make_directory();
    struct registry *registry = start();
    ck_assert_int_eq(put(registry, "m", "bert").id, PROBLEM_NONE);
    const struct model *model = acquire(registry, "m");
    snprintf(command, sizeof command, "cd %s/m && LC_ALL=C sha256sum * | sha256sum", directory);
    FILE *from = popen(command, "r");
    ck_assert_ptr_nonnull(fgets(text, 65, from));
    pclose(from);
    ck_assert_str_eq(registry_model_sha256(model), text);
    registry_release(registry, model);
    registry_destroy(registry);
    registry = start();
    model = acquire(registry, "m");
    ck_assert_str_eq(registry_model_sha256(model), text);
    registry_release(registry, model);
    registry_destroy(registry);
    remove_directory();
}
END_TEST

/* Every file is guarded, not the first alone. */
START_TEST(a_shard_cut_short_under_use_is_noticed) {
    make_directory();
    struct registry *registry = start();
    ck_assert_int_eq(put(registry, "m", "bert").id, PROBLEM_NONE);
    const struct model *model = acquire(registry, "m");
    ck_assert_uint_eq(attn_model_file_count(model->transformer), 3);
    ck_assert(!registry_model_is_broken(model));
    ck_assert_int_eq(truncate(in_directory("m/model-00003-of-00003.safetensors"), 0), 0);
    sum_of(model);
    ck_assert(registry_model_is_broken(model));
    registry_release(registry, model);
    model = acquire(registry, "m");
    ck_assert_int_eq(model->status, MODEL_FAILED);
    registry_release(registry, model);
    registry_destroy(registry);
    remove_directory();
}
END_TEST

/* The kernel refuses to write where a file would grow past a limit, as it does where a disk is full. */
START_TEST(a_disk_that_is_full_while_unpacking_leaves_the_old_model) {
    make_directory();
    struct registry *registry = start();
    ck_assert_int_eq(put(registry, "m", "bert").id, PROBLEM_NONE);
    int fd = archive_of("gpt2");
    struct rlimit limit, small = {30000, 0};
    struct problem problem = {.id = PROBLEM_NONE};
    bool replaced;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &limit);
    small.rlim_max = limit.rlim_max;
    setrlimit(RLIMIT_FSIZE, &small);
    ck_assert_ptr_null(registry_put_tar(registry, "m", fd, NULL, &replaced, &problem));
    setrlimit(RLIMIT_FSIZE, &limit);
    close(fd);
    ck_assert_int_eq(problem.id, PROBLEM_NO_ROOM);
    ck_assert_ptr_nonnull(strstr(problem.detail, "model.safetensors"));
    const struct model *model = acquire(registry, "m");
    ck_assert_str_eq(model->architecture, "BertModel");
    registry_release(registry, model);
    run("test -z \"$(ls -A %s/.uploads)\"%s", directory, "");
    registry_destroy(registry);
    remove_directory();
}
END_TEST

START_TEST(folders_that_a_killed_server_left_are_removed_at_start) {
    make_directory();
    run("mkdir -p %s/.uploads/folder-dead/deep %s/.uploads/folder-alive", directory, directory);
    run("touch %s/.uploads/folder-dead/deep/x && ln -s / %s/.uploads/link", directory, directory);
    int alive = open(in_directory(".uploads/folder-alive"), O_RDONLY | O_DIRECTORY);
    ck_assert_int_eq(flock(alive, LOCK_EX), 0);
    struct registry *registry = start();
    ck_assert(!is_there(".uploads/folder-dead"));
    ck_assert(!is_there(".uploads/link"));
    ck_assert(is_there(".uploads/folder-alive"));
    registry_destroy(registry);
    close(alive);
    remove_directory();
}
END_TEST

START_TEST(a_link_to_a_folder_is_served_and_only_the_link_is_removed) {
    struct problem problem;
    char here[256];
    make_directory();
    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    run("ln -s %s/" MODELS "bert %s/m", here, directory);
    struct registry *registry = start();
    const struct model *model = acquire(registry, "m");
    ck_assert_int_eq(model->status, MODEL_READY);
    registry_release(registry, model);
    ck_assert_int_eq(put(registry, "m", "gpt2").id, PROBLEM_NONE);
    run("test ! -L %s/m -a -f %s/m/config.json", directory, directory);
    ck_assert(registry_delete(registry, "m", NULL, &problem));
    run("ln -s %s/" MODELS "bert %s/m", here, directory);
    registry_rescan(registry);
    ck_assert_msg(registry_delete(registry, "m", NULL, &problem), "%s", problem.detail);
    ck_assert(!is_there("m"));
    ck_assert_int_eq(access(MODELS "bert/config.json", F_OK), 0);
    registry_destroy(registry);
    remove_directory();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("registry_folders");
    TCase *tests = tcase_create("folders");
    tcase_add_test(tests, a_model_in_use_outlives_its_replacement_and_removal);
    tcase_add_test(tests, the_hash_is_that_of_sha256sums_lines);
    tcase_add_test(tests, a_shard_cut_short_under_use_is_noticed);
    tcase_add_test(tests, a_disk_that_is_full_while_unpacking_leaves_the_old_model);
    tcase_add_test(tests, folders_that_a_killed_server_left_are_removed_at_start);
    tcase_add_test(tests, a_link_to_a_folder_is_served_and_only_the_link_is_removed);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
