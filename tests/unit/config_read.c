/* Settings from flags, environment and file. */
#include "server/config/address.h"
#include "server/config/config.h"
#include "server/config/flags.h"
#include "server/config/limits.h"
#include "tests/unit/directory.h"
#include "tests/unit/run_suite.h"
#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char caught[8192];

/* Reads settings as a command line of up to 8 words, keeping what goes to stderr in `caught`. */
static enum config_outcome read_words(struct config *config, char **words) {
    char *argv[10] = {(char *)"attnd"};
    int argc = 1;
    for (; words != NULL && words[argc - 1] != NULL; argc++)
        argv[argc] = words[argc - 1];
    fflush(stderr);
    FILE *file = tmpfile();
    int saved = dup(STDERR_FILENO);
    ck_assert(file != NULL && saved >= 0);
    dup2(fileno(file), STDERR_FILENO);
    enum config_outcome outcome = config_read(config, argc, argv);
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(file);
    caught[fread(caught, 1, sizeof caught - 1, file)] = '\0';
    fclose(file);
    return outcome;
}

#define READ(config, ...) read_words(config, (char *[]){__VA_ARGS__, NULL})
#define W(text) ((char *)(text))

START_TEST(defaults_are_those_of_the_interface) {
    struct config config;
    ck_assert_int_eq(read_words(&config, NULL), CONFIG_RUN);
    ck_assert_uint_eq(config.listen.count, 1);
    ck_assert_str_eq(config.listen.items[0], "127.0.0.1:8080");
    ck_assert_uint_eq(config.workers, config_available_cores());
    ck_assert_uint_eq(config.queue, 64 * config.workers);
    ck_assert_uint_eq(config.max_connections, 1024);
    ck_assert_uint_eq(config.max_body, 64U << 20);
    ck_assert_uint_eq(config.max_elements, 64U << 20);
    ck_assert_uint_eq(config.max_model, (size_t)4 << 30);
    ck_assert_uint_eq(config.memory, config_available_memory() / 2);
    ck_assert_double_eq(config.request_timeout_s, 30);
    ck_assert_double_eq(config.read_timeout_s, 10);
    ck_assert_double_eq(config.write_timeout_s, 60);
    ck_assert_double_eq(config.idle_timeout_s, 60);
    ck_assert_double_eq(config.shutdown_delay_s, 0);
    ck_assert_double_eq(config.drain_timeout_s, 30);
    ck_assert(!config.strict_readiness);
    ck_assert_int_eq(config.log_level, LOG_INFO);
    ck_assert_ptr_null(config.api_keys);
    config_reset(&config);
}
END_TEST

START_TEST(flags_take_their_value_behind_a_space_or_an_equals_sign) {
    struct config config;
    ck_assert_int_eq(READ(&config, W("--queue"), W("7"), W("--max-body=2K"), W("--strict-readiness"),
                          W("--log-level=debug"), W("--read-timeout=0.5")),
                     CONFIG_RUN);
    ck_assert_uint_eq(config.queue, 7);
    ck_assert_uint_eq(config.max_body, 2048);
    ck_assert(config.strict_readiness);
    ck_assert_int_eq(config.log_level, LOG_DEBUG);
    ck_assert_double_eq(config.read_timeout_s, 0.5);
    config_reset(&config);
}
END_TEST

START_TEST(repeated_flags_make_lists) {
    struct config config;
    ck_assert_int_eq(READ(&config, W("--listen=[::1]:0"), W("--listen"), W("unix:/tmp/a"), W("--model"), W("a/b=/x=y"),
                          W("--model=c=z")),
                     CONFIG_RUN);
    ck_assert_uint_eq(config.listen.count, 2);
    ck_assert_str_eq(config.listen.items[1], "unix:/tmp/a");
    ck_assert_uint_eq(config.model_count, 2);
    ck_assert_str_eq(config.model[0].name, "a/b");
    ck_assert_str_eq(config.model[0].path, "/x=y");
    config_reset(&config);
}
END_TEST

START_TEST(flags_win_over_environment_over_file) {
    struct config config;
    char path[128];
    make_directory();
    write_text(in_directory("attnd.conf"),
               "# settings\nqueue = 1 # one\n  workers=2\n\nmax-body = 3\nlisten = 127.0.0.1:1\n"
               "listen = 127.0.0.1:2\nlog-format = json\n");
    snprintf(path, sizeof path, "--config=%s/attnd.conf", directory);
    setenv("ATTND_WORKERS", "20", 1);
    setenv("ATTND_MAX_BODY", "30", 1);
    setenv("ATTND_CORS_ORIGIN", "http://a, https://b:1", 1);
    setenv("ATTND_API_KEYS", "", 1);
    ck_assert_int_eq(READ(&config, path, W("--max-body"), W("300")), CONFIG_RUN);
    unsetenv("ATTND_WORKERS");
    unsetenv("ATTND_MAX_BODY");
    unsetenv("ATTND_CORS_ORIGIN");
    unsetenv("ATTND_API_KEYS");
    ck_assert_uint_eq(config.queue, 1);
    ck_assert_uint_eq(config.workers, 20);
    ck_assert_uint_eq(config.max_body, 300);
    ck_assert_uint_eq(config.listen.count, 2);
    ck_assert_uint_eq(config.cors_origin.count, 2);
    ck_assert_str_eq(config.cors_origin.items[1], "https://b:1");
    ck_assert_ptr_null(config.api_keys);
    config_reset(&config);
    ck_assert_int_eq(READ(&config, path, W("--listen=127.0.0.1:9")), CONFIG_RUN);
    ck_assert_uint_eq(config.listen.count, 1);
    ck_assert_str_eq(config.listen.items[0], "127.0.0.1:9");
    config_reset(&config);
    remove_directory();
}
END_TEST

static const struct {
    const char *words[3], *line;
} bad_values[] = {
    {{"--queue=0"}, "attnd: --queue: \"0\" is not allowed; allowed is a whole number from 1 to 1000000\n"},
    {{"--queue", "-1"}, "attnd: --queue: \"-1\" is not allowed; allowed is a whole number from 1 to 1000000\n"},
    {{"--workers=99999999999999999999999"},
     "attnd: --workers: \"99999999999999999999999\" is not allowed; allowed is a whole number from 1 to 1024\n"},
    {{"--max-body=1T"},
     "attnd: --max-body: \"1T\" is not allowed; allowed is a whole number from 1 to 8388608G, with K, M or G "
     "for powers of 1024\n"},
    {{"--memory=99999999999999999G"},
     "attnd: --memory: \"99999999999999999G\" is not allowed; allowed is a whole number "
     "from 1M to 8388608G, with K, M or G for powers of 1024\n"},
    {{"--read-timeout=1e3"}, "attnd: --read-timeout: \"1e3\" is not allowed; allowed is seconds from 0.001 to 86400\n"},
    {{"--read-timeout=0"}, "attnd: --read-timeout: \"0\" is not allowed; allowed is seconds from 0.001 to 86400\n"},
    {{"--log-level=loud"}, "attnd: --log-level: \"loud\" is not allowed; allowed is debug, info, warn or error\n"},
    {{"--strict-readiness=maybe"}, "attnd: --strict-readiness: \"maybe\" is not allowed; allowed is true or false\n"},
    {{"--listen=localhost"}, "attnd: --listen: \"localhost\" is not allowed; allowed is " ADDRESS_ALLOWED "\n"},
    {{"--cors-origin=example.org"},
     "attnd: --cors-origin: \"example.org\" is not allowed; allowed is * or an origin such "
     "as https://example.org\n"},
    {{"--queue"}, "attnd: --queue needs a value: a whole number from 1 to 1000000\n"},
    {{"--tls-cert=a"}, "attnd: --tls-cert needs --tls-key beside it; allowed are both or neither\n"},
    {{"--tls-key=a"}, "attnd: --tls-key needs --tls-cert beside it; allowed are both or neither\n"},
    {{"--config=/nowhere/at/all"},
     "attnd: --config: /nowhere/at/all: No such file or directory; allowed is a file that can be read\n"},
};

START_TEST(a_bad_value_is_one_line_that_says_what_is_allowed) {
    struct config config;
    ck_assert_int_eq(read_words(&config, (char **)bad_values[_i].words), CONFIG_BAD);
    ck_assert_str_eq(caught, bad_values[_i].line);
}
END_TEST

START_TEST(impossible_and_repeated_model_names_are_refused) {
    static const char *const values[] = {"attention=/x", "a/config=/x", "../a=/x", "a=", "a", ".a=/x", "a/b/c=/x"};
    struct config config;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        ck_assert_int_eq(READ(&config, W("--model"), W(values[i])), CONFIG_BAD);
    ck_assert_int_eq(READ(&config, W("--model"), W("a=x"), W("--model"), W("a=y")), CONFIG_BAD);
    ck_assert_ptr_nonnull(strstr(caught, "comes once"));
}
END_TEST

START_TEST(an_unknown_flag_names_the_known_ones_in_one_line) {
    struct config config;
    ck_assert_int_eq(READ(&config, W("--ques=1")), CONFIG_BAD);
    ck_assert_ptr_nonnull(strstr(caught, "unknown argument \"--ques=1\"; allowed are --help, --version, --listen"));
    ck_assert_ptr_eq(strchr(caught, '\n'), caught + strlen(caught) - 1);
    ck_assert_int_eq(READ(&config, W("serve")), CONFIG_BAD);
}
END_TEST

START_TEST(errors_in_the_file_say_file_and_line) {
    static const char *const cases[][2] = {
        {"queue = 1\nquue = 2\n", ":2: unknown setting \"quue\"; allowed are listen,"},
        {"\n\nworkers = none\n", ":3: workers: \"none\" is not allowed; allowed is a whole number from 1 to 1024"},
        {"queue\n", ":1: \"queue\" is not allowed; allowed are lines `name = value` and comments"},
        {"queue = 1\nqueue = 2", ":2: queue is given twice"},
        {"config = other\n", ":1: unknown setting \"config\""},
        {"queue =\n", ":1: queue: \"\" is not allowed"},
    };
    struct config config;
    char path[128];
    make_directory();
    snprintf(path, sizeof path, "%s/c", directory);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text(in_directory("c"), cases[i][0]);
        ck_assert_int_eq(READ(&config, W("--config"), path), CONFIG_BAD);
        ck_assert_msg(strstr(caught, cases[i][1]) != NULL, "%s", caught);
        ck_assert_ptr_nonnull(strstr(caught, path));
    }
    remove_directory();
}
END_TEST

START_TEST(addresses_are_numbers_or_paths) {
    static const char *const good[] = {"127.0.0.1:0", "[::]:65535", "unix:/run/attnd.sock"};
    static const char *const bad[] = {"127.0.0.1", "127.0.0.1:",    "127.0.0.1:65536", "::1:80",       "[::1]80",
                                      "[::1:80",   "unix:relative", "1.2.3:80",        "127.0.0.1:8o", "",
                                      "[]:1",      "127.0.0.1: 1"};
    struct address address;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        ck_assert_msg(address_parse(good[i], &address), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(!address_parse(bad[i], &address), "%s", bad[i]);
}
END_TEST

START_TEST(cgroup_limits_are_the_least_up_to_the_root) {
    char root[96], membership[160], path[160];
    make_directory();
    snprintf(path, sizeof path, "%s/a", directory);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/a/b", directory);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/cpu", directory);
    mkdir(path, 0700);
    snprintf(root, sizeof root, "%s", directory);
    snprintf(membership, sizeof membership, "%s/membership", directory);

    write_text(in_directory("membership"), "0::/a/b\n");
    ck_assert_uint_eq(limits_cgroup_cores(membership, root), SIZE_MAX);
    write_text(in_directory("a/cpu.max"), "150000 100000\n");
    write_text(in_directory("a/b/cpu.max"), "max 100000\n");
    write_text(in_directory("a/b/memory.max"), "1000\n");
    write_text(in_directory("a/memory.max"), "max\n");
    ck_assert_uint_eq(limits_cgroup_cores(membership, root), 2);
    ck_assert_uint_eq(limits_cgroup_memory(membership, root), 1000);

    write_text(in_directory("membership"), "5:memory:/gone\n4:cpu,cpuacct:/gone\n");
    write_text(in_directory("cpu/cpu.cfs_quota_us"), "50000\n");
    write_text(in_directory("cpu/cpu.cfs_period_us"), "100000\n");
    ck_assert_uint_eq(limits_cgroup_cores(membership, root), 1);
    ck_assert_uint_eq(limits_cgroup_memory(membership, root), SIZE_MAX);
    remove_directory();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("config");
    TCase *reading = tcase_create("reading");
    tcase_add_test(reading, defaults_are_those_of_the_interface);
    tcase_add_test(reading, flags_take_their_value_behind_a_space_or_an_equals_sign);
    tcase_add_test(reading, repeated_flags_make_lists);
    tcase_add_test(reading, flags_win_over_environment_over_file);
    tcase_add_loop_test(reading, a_bad_value_is_one_line_that_says_what_is_allowed, 0,
                        (int)(sizeof bad_values / sizeof *bad_values));
    tcase_add_test(reading, impossible_and_repeated_model_names_are_refused);
    tcase_add_test(reading, an_unknown_flag_names_the_known_ones_in_one_line);
    tcase_add_test(reading, errors_in_the_file_say_file_and_line);
    tcase_add_test(reading, addresses_are_numbers_or_paths);
    tcase_add_test(reading, cgroup_limits_are_the_least_up_to_the_root);
    suite_add_tcase(suite, reading);
    return run_suite(suite);
}
