#include "server/base/clock.h"
#include "server/http/internal.h"
#include "server/routes/context.h"
#include "server/routes/operations.h"
#include "tests/unit/run_suite.h"
#include <check.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* A job that runs until it is let go. */
struct stuck {
    struct pool_job job;
    _Atomic bool runs, may_end, has_ended;
};

static void hold(struct pool_job *job) {
    struct stuck *stuck = (struct stuck *)(void *)job;
    stuck->runs = true;
    while (!stuck->may_end) {
        sched_yield();
    }
    stuck->has_ended = true;
}

static int ask(struct server *server, char *text, size_t capacity) {
    struct request request = {.exchange = {.arena = arena_create(), .server = server, .method = "GET"}};
    struct exchange *exchange = &request.exchange;
    ck_assert_int_eq(livez_get(exchange), EXCHANGE_DONE);
    snprintf(text, capacity, "%.*s", (int)exchange->response.bytes_length, exchange->response.bytes);
    int status = exchange->response.status;
    arena_destroy(exchange->arena);
    return status;
}

static void check_overdue(double seconds, int status, const char *body) {
    char text[200];
    struct server server = {.pool = pool_create(1, 4)};
    struct stuck stuck = {.job = {.run = hold}};
    stuck.job.deadline_ns = clock_ns() - (uint64_t)(seconds * 1e9);
    ck_assert(pool_submit(server.pool, &stuck.job));
    while (!stuck.runs) {
        sched_yield();
    }
    ck_assert_int_eq(ask(&server, text, sizeof text), status);
    ck_assert_str_eq(text, body);
    stuck.may_end = true;
    pool_destroy(server.pool);
    ck_assert(stuck.has_ended);
}

START_TEST(a_worker_stuck_for_a_minute_past_its_deadline_is_a_503) {
    check_overdue(61, 503, "{\"live\":false,\"reason\":\"a worker is stuck\"}\n");
}
END_TEST

START_TEST(a_worker_late_by_less_is_alive) {
    check_overdue(30, 200, "{\"live\":true}\n");
}
END_TEST

START_TEST(an_event_thread_that_has_not_turned_for_a_minute_is_a_503) {
    char text[200];
    struct event_loop loop = {.turned_ns = clock_ns() - (uint64_t)61000000000};
    struct event_loop *loops[] = {&loop};
    struct http http = {.loops = loops, .loop_count = 1};
    struct server server = {.pool = pool_create(1, 4), .http = &http};
    ck_assert_int_eq(ask(&server, text, sizeof text), 503);
    ck_assert_str_eq(text, "{\"live\":false,\"reason\":\"an event thread is stuck\"}\n");
    loop.turned_ns = clock_ns();
    ck_assert_int_eq(ask(&server, text, sizeof text), 200);
    pool_destroy(server.pool);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("health");
    TCase *cases = tcase_create("livez");
    tcase_add_test(cases, a_worker_stuck_for_a_minute_past_its_deadline_is_a_503);
    tcase_add_test(cases, a_worker_late_by_less_is_alive);
    tcase_add_test(cases, an_event_thread_that_has_not_turned_for_a_minute_is_a_503);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
