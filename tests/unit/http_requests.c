#include "server/http/headers.h"
#include "server/http/keys.h"
#include "server/http/log.h"
#include "server/http/negotiate.h"
#include "server/http/router.h"
#include "tests/unit/run_suite.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/** @return whether a request with these header fields (name, value, … NULL) is taken. */
static bool takes(const char *const *texts) {
    struct header_census census = {0};
    struct problem problem = {0};
    for (; *texts != NULL; texts += 2) {
        if (!header_check(&census, texts[0], strlen(texts[0]), texts[1], strlen(texts[1]), &problem)) {
            ck_assert_int_eq(problem.id, PROBLEM_BAD_FRAMING);
            return false;
        }
    }
    return header_check_end(&census, &problem);
}

START_TEST(ambiguous_framing_is_refused) {
    static const char *const good[][7] = {{"Host", "a", "Content-Length", "5", "X-Thing", "tab\tand \xc3\xa9"},
                                          {"Host", "a", "Transfer-Encoding", "Chunked"}};
    static const char *const bad[][7] = {{"Host", "a", "host", "a"},
                                         {"Content-Length", "5", "content-length", "5"},
                                         {"Content-Length", "5", "Transfer-Encoding", "chunked"},
                                         {"Transfer-Encoding", "chunked", "Transfer-Encoding", "chunked"},
                                         {"Transfer-Encoding", "gzip, chunked"},
                                         {"Transfer-Encoding", "identity"},
                                         {"Content-Length", "+5"},
                                         {"Content-Length", "5, 5"},
                                         {"Content-Length", ""},
                                         {"Content-Length", "99999999999999999999999"},
                                         {"Content-Length ", "5"},
                                         {"", "5"},
                                         {"X-Thing", "a\rb"},
                                         {"X-Thing", "a\x7f"}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        ck_assert(takes(good[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(!takes(bad[i]), "%s: %s", bad[i][0], bad[i][1]);
    }
}
END_TEST

START_TEST(request_ids_and_timeouts_are_held_to_their_alphabet_and_range) {
    char long_id[130];
    uint32_t ms = 0;
    memset(long_id, 'a', sizeof long_id);
    long_id[129] = '\0';
    ck_assert(header_is_request_id("aZ0._-") && header_is_request_id(long_id + 1));
    ck_assert(!header_is_request_id(NULL) && !header_is_request_id("") && !header_is_request_id(long_id));
    ck_assert(!header_is_request_id("a b") && !header_is_request_id("a\"b"));
    ck_assert(header_timeout_ms("1", &ms) && ms == 1);
    ck_assert(header_timeout_ms("86400000", &ms) && ms == 86400000);
    ck_assert(!header_timeout_ms("0", &ms) && !header_timeout_ms("86400001", &ms) && !header_timeout_ms("1.5", &ms));
    ck_assert(!header_timeout_ms("-1", &ms) && !header_timeout_ms("", &ms));
}
END_TEST

START_TEST(escapes_are_undone_but_never_into_a_nul) {
    char text[] = "/a%20b%2Fc%00d%zz%4";
    ck_assert_uint_eq(header_unescape(text), strlen("/a b/c%00d%zz%4"));
    ck_assert_str_eq(text, "/a b/c%00d%zz%4");
}
END_TEST

START_TEST(accept_picks_by_weight_and_closeness) {
    static const char *const offers[] = {"application/json", "application/vnd.safetensors", "text/csv"};
    static const struct {
        const char *accept;
        int index;
    } cases[] = {{NULL, 0},
                 {"", 0},
                 {"*/*", 0},
                 {"application/vnd.safetensors", 1},
                 {"APPLICATION/VND.SAFETENSORS;q=0.5", 1},
                 {"application/json;q=0.1, text/csv", 2},
                 {"application/*;q=0.5, text/csv;q=0.4", 0},
                 {"*/*, application/json;q=0", 1},
                 {"text/*", 2},
                 {"image/png", -1},
                 {"*/*;q=0", -1},
                 {"image/png, */*;q=0.001", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_int_eq(negotiate_media(cases[i].accept, offers, 3), cases[i].index);
    }
    static const struct {
        const char *accept;
        enum coding coding;
    } rows[] = {{"gzip", CODING_GZIP},
                {"x-gzip", CODING_GZIP},
                {"br, gzip;q=0.5", CODING_GZIP},
                {"*", CODING_GZIP},
                {"gzip, deflate, br", CODING_GZIP},
                {"*;q=0, gzip", CODING_GZIP},
                {"gzip, identity", CODING_GZIP},
                {"Deflate", CODING_DEFLATE},
                {"deflate, gzip;q=0.5", CODING_DEFLATE},
                {"gzip;q=0, *", CODING_DEFLATE},
                {NULL, CODING_NONE},
                {"", CODING_NONE},
                {"br", CODING_NONE},
                {"identity", CODING_NONE},
                {"gzip;q=0, deflate;q=0, *", CODING_NONE},
                {"gzip;q=0.5, identity", CODING_NONE}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ck_assert_msg(negotiate_coding(rows[i].accept) == rows[i].coding, "%s", rows[i].accept);
    }
}
END_TEST

static const struct route table[] = {{.method = "GET", .pattern = "/models", .name = "list"},
                                     {.method = "GET", .pattern = "/models/{id}", .name = "get"},
                                     {.method = "PUT", .pattern = "/models/{id}", .name = "put"},
                                     {.method = "GET", .pattern = "/v2/models/{m}/ready", .name = "ready"},
                                     {.method = "GET", .pattern = "/livez", .name = "livez", .on_admin = true}};

static struct route_match find(const char *method, const char *path) {
    return route_find(table, sizeof table / sizeof *table, method, path, false);
}

START_TEST(routes_match_one_segment_or_more) {
    struct route_match match = find("GET", "/models/org/name");
    ck_assert_str_eq(match.route->name, "get");
    ck_assert_uint_eq(match.parameters[0].length, 8);
    ck_assert(strncmp(match.parameters[0].start, "org/name", 8) == 0);
    ck_assert_str_eq(find("HEAD", "/models/a").route->name, "get");
    ck_assert_str_eq(find("PUT", "/models/a").route->name, "put");
    ck_assert_str_eq(find("GET", "/v2/models/org/a/ready").route->name, "ready");
    ck_assert_str_eq(find("GET", "/models").route->name, "list");
    ck_assert_uint_eq(find("GET", "/models/a/b/c").parameters[0].length, 5);
    static const char *const none[] = {"/models/", "/models//a", "/models/a/", "/livez/", ""};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        ck_assert_msg(!find("GET", none[i]).path_exists, "%s", none[i]);
    }
}
END_TEST

START_TEST(a_wrong_method_learns_the_right_ones) {
    struct route_match match = find("BREW", "/models/a");
    ck_assert_ptr_null(match.route);
    ck_assert(match.path_exists);
    ck_assert_str_eq(match.allow, "GET, HEAD, PUT, OPTIONS");
    ck_assert(route_find(table, 5, "GET", "/livez", true).route != NULL);
    ck_assert(!route_find(table, 5, "GET", "/models", true).path_exists);
}
END_TEST

static void write_file(char *path, const char *text) {
    strcpy(path, "/tmp/attnd-keys-XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

START_TEST(keys_carry_scopes_names_and_rates) {
    char path[64], why[256];
    write_file(path, "# comment\n\nsecret-key-1 infer alice rate=2/s\nsecret-key-2 infer,admin\n");
    struct keys *keys = keys_open(path, why, sizeof why);
    ck_assert_ptr_nonnull(keys);
    struct key_verdict verdict = keys_check(keys, "secret-key-1", 1000000000);
    ck_assert(verdict.is_known && !verdict.is_limited && verdict.scopes[SCOPE_INFER] && !verdict.scopes[SCOPE_ADMIN]);
    ck_assert_str_eq(verdict.name, "alice");
    ck_assert(!keys_check(keys, "secret-key-1", 1000000000).is_limited);
    ck_assert(keys_check(keys, "secret-key-1", 1000000000).is_limited);
    ck_assert(!keys_check(keys, "secret-key-1", 1600000000).is_limited);
    ck_assert_int_eq(keys_check(keys, "secret-key-1", 1600000000).wait_s, 1);
    ck_assert(keys_check(keys, "secret-key-1", 1500000000).is_limited); /* a clock that was read earlier */
    ck_assert(keys_check(keys, "secret-key-2", 0).scopes[SCOPE_ADMIN]);
    ck_assert(!keys_check(keys, "secret-key-", 0).is_known && !keys_check(keys, "secret-key-22", 0).is_known);
    ck_assert(!keys_check(keys, NULL, 0).is_known);
    keys_close(keys);
    unlink(path);
}
END_TEST

START_TEST(wrong_key_files_are_refused_with_their_line) {
    static const char *const wrong[] = {"short infer\n",
                                        "secret-key-1\n",
                                        "secret-key-1 root\n",
                                        "secret-key-1 infer a b\n",
                                        "secret-key-1 infer rate=0/s\n",
                                        "secret-key-1 infer rate=5\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char path[64], why[256] = "";
        write_file(path, wrong[i]);
        ck_assert_ptr_null(keys_open(path, why, sizeof why));
        ck_assert_ptr_nonnull(strstr(why, "line 1: expected"));
        unlink(path);
    }
}
END_TEST

START_TEST(log_text_is_always_inside_a_json_string) {
    char to[64];
    log_escape(to, sizeof to, "a\"b\\c\n\xff");
    ck_assert_str_eq(to, "a\\\"b\\\\c\\u000a\\ufffd");
    log_escape(to, sizeof to, "gr\xc3\xbc\xc3\x9f");
    ck_assert_str_eq(to, "gr\xc3\xbc\xc3\x9f");
    log_escape(to, sizeof to, "\xed\xa0\x80"); /* a surrogate */
    ck_assert_str_eq(to, "\\ufffd\\ufffd\\ufffd");
    log_escape(to, sizeof to, "\xe0\x80\xaf|\xf4\x90\x80\x80"); /* overlong, beyond the last */
    ck_assert_ptr_null(strchr(to, '\xe0'));
    ck_assert_ptr_null(strchr(to, '\xf4'));
    log_escape(to, sizeof to, "\xf0\x9f\x98\x80\xf0\x9f");
    ck_assert_str_eq(to, "\xf0\x9f\x98\x80\\ufffd\\ufffd");
}
END_TEST

START_TEST(milliseconds_are_written_with_three_places) {
    static const struct {
        double ms;
        const char *text;
    } cases[] = {{0, "0.000"},        {-1, "0.000"},           {0.0004, "0.000"}, {0.0015, "0.002"},
                 {12.3456, "12.346"}, {1e9, "1000000000.000"}, {1e300, "0.000"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[LOG_MS_BYTES + 1] = "";
        ck_assert_uint_eq(log_ms(text, cases[i].ms), strlen(cases[i].text));
        ck_assert_str_eq(text, cases[i].text);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("http requests");
    TCase *cases = tcase_create("pure parts");
    tcase_add_test(cases, ambiguous_framing_is_refused);
    tcase_add_test(cases, request_ids_and_timeouts_are_held_to_their_alphabet_and_range);
    tcase_add_test(cases, escapes_are_undone_but_never_into_a_nul);
    tcase_add_test(cases, accept_picks_by_weight_and_closeness);
    tcase_add_test(cases, routes_match_one_segment_or_more);
    tcase_add_test(cases, a_wrong_method_learns_the_right_ones);
    tcase_add_test(cases, keys_carry_scopes_names_and_rates);
    tcase_add_test(cases, wrong_key_files_are_refused_with_their_line);
    tcase_add_test(cases, log_text_is_always_inside_a_json_string);
    tcase_add_test(cases, milliseconds_are_written_with_three_places);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
