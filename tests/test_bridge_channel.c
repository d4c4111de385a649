/* test_bridge_channel.c - requests through pooled channels, and what happens when a container lies,
 * floods, hangs or dies: attack cases A19 and A20. */
#include "bridge_fixture.h"

#include "common/io.h"

#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define JSON "Content-Type: application/json\r\n"

static void up(void)
{
    fixture_up();
    bridge_up("");
}

/* Ends the bridge that `up` started, for a test that wants another one. */
static void again(const char *mode, const char *extra)
{
    ck_assert_int_eq(bridge_down(), 0);
    set_mode(mode);
    bridge_up(extra);
}

static void expect_answer(const char *model, int status, const char *body)
{
    struct answer a;
    generate(model, &a);
    ck_assert_msg(a.status == status, "%s: expected %d, got %d %s", model, status, a.status,
                  a.body);
    if (body)
        ck_assert_str_eq(a.body, body);
}

static bool no_relays(void)
{
    return relays() == 0;
}

/* ---- requests -------------------------------------------------------------------------------- */

START_TEST(generate_passes_the_request_without_container_name_and_strips_the_answer)
{
    struct answer a;
    generate("echo", &a);
    ck_assert_int_eq(a.status, 200);
    ck_assert_str_eq(a.body, "{\"model\":\"echo\",\"messages\":[{\"role\":\"user\","
                             "\"content\":\"how are you?\"}]}");
    ck_assert_ptr_nonnull(strstr(a.head, "\r\nContent-Type: text/plain; charset=utf-8\r\n"));
}
END_TEST

START_TEST(the_servers_refusals_come_through_with_their_body)
{
    struct answer a;
    generate("nope", &a);
    ck_assert_int_eq(a.status, 400);
    ck_assert_str_eq(a.body, "Unrecognized model");
    generate("status:422", &a);
    ck_assert_int_eq(a.status, 422);
    ck_assert_str_eq(a.body, "{\"detail\":\"as asked\"}");
    ck_assert_ptr_nonnull(strstr(a.head, "\r\nContent-Type: application/json\r\n"));
    expect_answer("status:500", 500, "{\"detail\":\"as asked\"}");
    expect_answer("status:503", 503, "{\"detail\":\"as asked\"}");
}
END_TEST

START_TEST(only_known_headers_come_through)
{
    struct answer a;
    generate("echo", &a);
    ck_assert_ptr_null(strcasestr(a.head, "x-stub-secret"));
    ck_assert_ptr_null(strcasestr(a.head, "set-cookie"));
}
END_TEST

START_TEST(a_redirect_and_other_odd_statuses_are_not_passed_on)
{
    static const int odd[] = { 201, 204, 206, 301, 302, 307, 399 };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        char model[32];
        snprintf(model, sizeof model, "status:%d", odd[i]);
        expect_answer(model, 502, NULL);
    }
}
END_TEST

START_TEST(many_requests_use_one_channel_and_start_no_process)
{
    expect_answer("echo", 200, NULL);
    long before = metric("airlock_bridge_channel_starts_total{container=\"phi\"} ");
    for (int i = 0; i < 50; i++)
        expect_answer("echo", 200, NULL);
    ck_assert_int_eq(metric("airlock_bridge_channel_starts_total{container=\"phi\"} "), before);
    ck_assert_int_le(before, 2); /* the keeper may have opened one at the same moment */
}
END_TEST

START_TEST(an_answer_of_many_megabytes_comes_whole)
{
    char text[512];
    const char *body = "{\"model\":\"body:12000000\",\"messages\":[],\"container_name\":\"phi\"}";
    int n = snprintf(text, sizeof text,
                     "POST /generate HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" JSON
                     "Connection: close\r\nContent-Length: %zu\r\n\r\n%s",
                     fixture.port, strlen(body), body);
    int fd = dial_bridge();
    ck_assert_int_eq(io_write_all(fd, text, (size_t)n), 0);
    static char data[1 << 16];
    size_t total = 0;
    ssize_t got;
    while ((got = io_read(fd, data, sizeof data)) > 0)
        total += (size_t)got;
    close(fd);
    ck_assert_uint_gt(total, 12000000);
    expect_answer("body:17000000", 502, NULL);
}
END_TEST

START_TEST(a_request_of_many_megabytes_goes_whole)
{
    enum { IMAGE = 20 << 20 };
    char *body = malloc(IMAGE + 1024);
    ck_assert_ptr_nonnull(body);
    char *p = body + sprintf(body, "{\"model\":\"nope\",\"messages\":[],\"container_name\":\"phi\","
                                   "\"images\":[\"");
    memset(p, 'A', IMAGE);
    strcpy(p + IMAGE, "\"]}");
    struct answer a;
    ask("POST", "/generate", JSON, body, &a);
    ck_assert_int_eq(a.status, 400);
    ck_assert_str_eq(a.body, "Unrecognized model");
    free(body);
}
END_TEST

START_TEST(models_health_and_unknown_paths)
{
    struct answer a;
    ask("GET", "/v1/models", "", NULL, &a);
    ck_assert_int_eq(a.status, 200);
    ck_assert_str_eq(a.body, "{\"object\":\"list\",\"data\":[{\"id\":\"echo\"}]}");
    ask("GET", "/readyz", "", NULL, &a);
    ck_assert_int_eq(a.status, 200);
    ck_assert_ptr_nonnull(strstr(a.body, "\"phi\":\"ready\""));
    ask("POST", "/v1/chat/completions", JSON, "{\"model\":\"phi/echo\"}", &a);
    ck_assert_int_eq(a.status, 200);
    ck_assert_ptr_nonnull(strstr(a.body, "{\"model\":\"echo\"}"));
    static const char *const unknown[] = { "/v1/../generate", "/v1/", "/v1/chat/completions/",
                                           "/v1/files", "/v1/chat%2fcompletions" };
    for (int i = 0; i < 5; i++) {
        ask("POST", unknown[i], JSON, "{}", &a);
        ck_assert_msg(a.status == 404, "%s got %d", unknown[i], a.status);
    }
}
END_TEST

START_TEST(events_are_passed_on_one_by_one_as_they_come)
{
    char text[512];
    const char *body = "{\"model\":\"stream:20\"}";
    int n = snprintf(text, sizeof text,
                     "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" JSON
                     "Connection: close\r\nContent-Length: %zu\r\n\r\n%s",
                     fixture.port, strlen(body), body);
    int fd = dial_bridge(), pieces = 0;
    ck_assert_int_eq(io_write_all(fd, text, (size_t)n), 0);
    char data[4096], all[8192] = "";
    ssize_t got;
    while ((got = io_read(fd, data, sizeof data - 1)) > 0) {
        data[got] = 0;
        pieces += strstr(data, "data: ") != NULL;
        strncat(all, data, sizeof all - strlen(all) - 1);
    }
    close(fd);
    ck_assert_ptr_nonnull(strstr(all, "Content-Type: text/event-stream"));
    ck_assert_ptr_nonnull(strstr(all, "data: 19\n\n"));
    ck_assert_int_ge(pieces, 10); /* 20 ms apart: hardly ever two in one read */
}
END_TEST

static void *sleep_request(void *arg)
{
    struct answer *a = arg;
    generate("sleep:600", a);
    return NULL;
}

START_TEST(sixty_four_callers_are_served_side_by_side)
{
    enum { N = 64 };
    pthread_t threads[N];
    static struct answer answers[N];
    uint64_t began = io_now_ns();
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, sleep_request, &answers[i]), 0);
    for (int i = 0; i < N; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(answers[i].status, 200);
    /* one after the other they would take 38 s */
    ck_assert_uint_lt((io_now_ns() - began) / 1000000000u, 20);
}
END_TEST

static void *long_request(void *arg)
{
    generate("sleep:3000", arg); /* long enough for the others to come meanwhile */
    return NULL;
}

START_TEST(requests_beyond_the_channels_wait_and_beyond_the_waiters_get_503)
{
    enum { N = 4 };
    again("run", ",\"channels\":1,\"waiters\":1,\"wait_seconds\":20,\"warm_channels\":0");
    pthread_t threads[N];
    static struct answer answers[N];
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, long_request, &answers[i]), 0);
    int good = 0, busy = 0;
    for (int i = 0; i < N; i++) {
        pthread_join(threads[i], NULL);
        good += answers[i].status == 200;
        busy += answers[i].status == 503 && strstr(answers[i].head, "\r\nRetry-After: ");
    }
    ck_assert_int_eq(good, 2);
    ck_assert_int_eq(busy, 2);
}
END_TEST

/* ---- callers who go -------------------------------------------------------------------------- */

static bool one_cancelled(void)
{
    return count_of("cancelled ") == 1;
}

START_TEST(a_caller_who_hangs_up_stops_the_generation)
{
    char text[512];
    const char *body = "{\"model\":\"cancel\",\"messages\":[],\"container_name\":\"phi\"}";
    int n = snprintf(text, sizeof text,
                     "POST /generate HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" JSON
                     "Content-Length: %zu\r\n\r\n%s",
                     fixture.port, strlen(body), body);
    int fd = dial_bridge();
    ck_assert_int_eq(io_write_all(fd, text, (size_t)n), 0);
    usleep(300000);
    ck_assert_int_eq(count_of("cancelled "), 0);
    close(fd);
    ck_assert(eventually(one_cancelled));
    expect_answer("echo", 200, NULL);
}
END_TEST

START_TEST(a_caller_who_leaves_a_stream_stops_it)
{
    char text[512];
    const char *body = "{\"model\":\"stream:100000\"}";
    int n = snprintf(text, sizeof text,
                     "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" JSON
                     "Content-Length: %zu\r\n\r\n%s",
                     fixture.port, strlen(body), body);
    int fd = dial_bridge();
    ck_assert_int_eq(io_write_all(fd, text, (size_t)n), 0);
    char data[512];
    ck_assert_int_gt(io_read(fd, data, sizeof data), 0);
    close(fd);
    ck_assert(eventually(one_cancelled));
}
END_TEST

START_TEST(a_request_beyond_its_time_gets_504_and_is_cancelled)
{
    again("run", ",\"request_seconds\":1");
    struct answer a;
    generate("cancel", &a);
    ck_assert_int_eq(a.status, 504);
    ck_assert(eventually(one_cancelled));
}
END_TEST

/* ---- A19: hostile output --------------------------------------------------------------------- */

START_TEST(a19_answers_that_are_wrong_or_endless_get_502_and_harm_nobody)
{
    static const char *const models[] = {
        "close",                                /* nothing at all */
        "half",                                 /* less than was promised */
        "headers",                              /* headers without end */
        "endless",                              /* a body without end */
        "raw:00",                               /* NUL */
        "raw:ffffffff",                         /* a huge frame, to a framed protocol */
        "raw:485454502f312e312032303020",       /* "HTTP/1.1 200 " and no more */
        "raw:485454502f392e39203230300d0a0d0a", /* HTTP/9.9 */
        "raw:485454502f312e31203230300d0a436f6e74656e742d4c656e6774683a202d310d0a0d0a", /* -1 */
        "raw:485454502f312e312032303020" /* Transfer-Encoding: chunked, chunk size "zz" */
        "4f4b0d0a5472616e736665722d456e636f64696e673a206368756e6b65640d0a0d0a7a7a0d0a",
        "raw:485454502f312e31203130312053776974636820"
        "0d0a0d0a", /* 101 Switching Protocols */
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        struct answer a;
        generate(models[i], &a);
        ck_assert_msg(a.status == 502, "%s: %d %s", models[i], a.status, a.body);
        ck_assert_ptr_nonnull(strstr(a.body, "{\"detail\":\""));
        expect_answer("echo", 200, NULL);
    }
}
END_TEST

START_TEST(a19_a_second_answer_to_one_request_reaches_nobody)
{
    for (int i = 0; i < 5; i++) {
        struct answer a;
        generate("twice", &a);
        ck_assert_int_eq(a.status, 200);
        ck_assert_str_eq(a.body, "one");
        generate("nope", &a);
        ck_assert_int_eq(a.status, 400);
        ck_assert_str_eq(a.body, "Unrecognized model");
    }
}
END_TEST

START_TEST(a19_a_header_cannot_be_made_from_what_the_container_sends)
{
    struct answer a; /* a tab in the reason, X: y, Content-Type: text/html, Retry-After: 5;z */
    ask("POST", "/v1/completions", JSON,
        "{\"model\":\"raw:"
        "485454502f312e31203430302078090d0a583a20790d0a436f6e74656e742d547970653a20"
        "746578742f68746d6c0d0a52657472792d41667465723a20353b7a0d0a436f6e74656e742d4c656e6774683a20"
        "320d0a0d0a6869\"}",
        &a);
    ck_assert_int_eq(a.status, 400);
    ck_assert_ptr_null(strstr(a.head, "\r\nX:"));
    ck_assert_ptr_null(strstr(a.head, "html"));
    ck_assert_ptr_nonnull(strstr(a.head, "\r\nX-Content-Type-Options: nosniff\r\n"));
}
END_TEST

START_TEST(a19_floods_on_stdout_and_stderr_and_garbage_get_502)
{
    static const char *const modes[] = { "flood", "garbage" };
    for (int i = 0; i < 2; i++) {
        again(modes[i], ",\"warm_channels\":0");
        expect_answer("echo", 502, NULL);
        set_mode("run");
        expect_answer("echo", 200, NULL);
        ck_assert_int_le(relays(), 2);
    }
}
END_TEST

START_TEST(a19_a_flood_on_standard_error_blocks_nothing_and_fills_no_log)
{
    again("stderr", "");
    for (int i = 0; i < 20; i++)
        expect_answer("sleep:20", 200, "slept");
    ck_assert_ptr_nonnull(strstr(bridge_log(), "noise on standard error"));
    ck_assert_ptr_nonnull(strstr(bridge_log(), "what more it says is dropped"));
    ck_assert_uint_lt(strlen(bridge_log()), 20000);
}
END_TEST

START_TEST(a19_an_answer_that_comes_unasked_is_not_taken_for_the_next_one)
{
    again("early", ",\"warm_channels\":1,\"request_seconds\":5"); /* the probe takes "early" */
    usleep(300000);
    set_mode("run");
    struct answer a;
    for (int i = 0; i < 3; i++) {
        generate("echo", &a);
        ck_assert_ptr_null(strstr(a.body, "early"));
    }
    ck_assert_int_eq(a.status, 200);
}
END_TEST

/* ---- A20: the kill matrix -------------------------------------------------------------------- */

static void *cancel_request(void *arg)
{
    generate("cancel", arg);
    return NULL;
}

static bool one_request(void)
{
    return count_of("requests ") == 1;
}

/* How many times a CLI was started. */
static int cli_calls(void)
{
    char path[256];
    int n = 0, c;
    snprintf(path, sizeof path, "%s/pids", fixture.dir);
    FILE *f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    while ((c = getc(f)) != EOF)
        n += c == '\n';
    fclose(f);
    return n;
}

/* The process that a CLI started with this test's files runs as, by its place in `pids`. */
static pid_t cli_pid(int which)
{
    char path[256], line[64];
    snprintf(path, sizeof path, "%s/pids", fixture.dir);
    FILE *f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    pid_t pid = -1;
    for (int i = 0; i <= which && fgets(line, sizeof line, f); i++)
        pid = atoi(line);
    fclose(f);
    return pid;
}

START_TEST(a20_killing_the_cli_in_mid_answer_gives_502_and_the_next_request_a_new_channel)
{
    again("run", ",\"warm_channels\":0");
    static struct answer a;
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, cancel_request, &a), 0);
    ck_assert(eventually(one_request));
    ck_assert_int_eq(kill(cli_pid(cli_calls() - 1), SIGKILL), 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(a.status, 502);
    ck_assert_ptr_nonnull(strstr(a.body, "container 'phi'"));
    ck_assert(eventually(one_cancelled));
    expect_answer("echo", 200, NULL);
}
END_TEST

START_TEST(a20_killing_the_cli_leaves_no_child_of_it)
{
    again("child", ",\"warm_channels\":0");
    static struct answer a;
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, cancel_request, &a), 0);
    ck_assert(eventually(one_request));
    ck_assert_int_eq(kill(cli_pid(cli_calls() - 1), SIGKILL), 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(a.status, 502);
    ck_assert(eventually(one_cancelled));
}
END_TEST

START_TEST(a20_a_server_that_dies_in_mid_answer_gives_502_and_readiness_flips)
{
    struct answer a;
    generate("die", &a);
    ck_assert_int_eq(a.status, 502);
    for (int i = 0; i < 20; i++) { /* a channel that was open may not have noticed yet */
        generate("echo", &a);
        ck_assert_int_eq(a.status, 502);
        if (strstr(a.body, "the bridge's log says why"))
            break;
    }
    ck_assert_ptr_nonnull(strstr(a.body, "the bridge's log says why"));
    ask("GET", "/readyz", "", NULL, &a);
    ck_assert_int_eq(a.status, 503);
    ask("GET", "/livez", "", NULL, &a);
    ck_assert_int_eq(a.status, 200);
    ck_assert_ptr_nonnull(strstr(bridge_log(), "cannot connect to the server"));
}
END_TEST

START_TEST(a20_an_idle_channel_that_died_is_replaced_without_anybody_noticing)
{
    again("run", ",\"warm_channels\":0");
    expect_answer("echo", 200, NULL);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(kill(cli_pid(cli_calls() - 1), SIGKILL), 0);
        usleep(50000);
        expect_answer("echo", 200, NULL);
    }
}
END_TEST

START_TEST(a20_a_cli_that_fails_gives_502_with_its_reason_in_the_log_only)
{
    again("fail", ",\"warm_channels\":0");
    struct answer a;
    generate("echo", &a);
    ck_assert_int_eq(a.status, 502);
    ck_assert_ptr_null(strstr(a.body, "No such container"));
    ck_assert_ptr_nonnull(strstr(bridge_log(), "No such container: 000"));
    set_mode("run");
    expect_answer("echo", 200, NULL);
}
END_TEST

/* What the fake docker calls the id of container phi. */
static void set_id(char digit)
{
    char path[128];
    snprintf(path, sizeof path, "%s/id", fixture.dir);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    for (int i = 0; i < 64; i++)
        putc(digit, f);
    putc('\n', f);
    fclose(f);
}

START_TEST(a16_a_container_is_entered_by_the_id_that_its_name_had_at_first)
{
    set_id('a');
    again("run", ",\"warm_channels\":0");
    expect_answer("echo", 200, NULL);
    char path[128], calls[4096] = "";
    snprintf(path, sizeof path, "%s/calls", fixture.dir);
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_gt(fread(calls, 1, sizeof calls - 1, f), 0);
    fclose(f);
    ck_assert_ptr_nonnull(strstr(calls, "exec -i -- aaaaaaaa"));
}
END_TEST

START_TEST(a16_another_container_of_the_same_name_is_refused_until_the_bridge_starts_again)
{
    struct answer a;
    set_id('a');
    again("run", ",\"warm_channels\":0");
    expect_answer("echo", 200, NULL);
    set_id('b'); /* removed and made again: the old id is no container any more */
    set_mode("fail");
    ck_assert_int_eq(kill(cli_pid(cli_calls() - 1), SIGKILL), 0);
    usleep(50000);
    generate("echo", &a);
    ck_assert_int_eq(a.status, 502);
    set_mode("run");
    for (int i = 0; i < 3; i++) {
        generate("echo", &a);
        ck_assert_int_eq(a.status, 502);
        ck_assert_ptr_nonnull(strstr(a.body, "is not the one that was enrolled"));
    }
    ask("GET", "/readyz", "", NULL, &a);
    ck_assert_int_eq(a.status, 503);
    set_id('a');
    expect_answer("echo", 200, NULL);
    set_id('b');
    again("run", ",\"warm_channels\":0");
    expect_answer("echo", 200, NULL);
}
END_TEST

START_TEST(a20_a_cli_that_hangs_and_minds_no_signal_is_killed)
{
    again("hang", ",\"request_seconds\":1,\"warm_channels\":0");
    struct answer a;
    generate("echo", &a);
    ck_assert_int_eq(a.status, 504);
    ck_assert_int_ge(relays(), 1); /* the control: it is there, and is given time to go */
    ck_assert(eventually(no_relays));
}
END_TEST

START_TEST(a20_a_bridge_that_stops_leaves_no_process)
{
    static const char *const modes[] = { "run", "child", "hang", "stderr" };
    again(modes[_i], ",\"request_seconds\":1");
    struct answer a;
    generate("echo", &a);
    ck_assert_int_ge(relays(), 1);
    ck_assert_int_eq(bridge_down(), 0);
    ck_assert_int_eq(relays(), 0);
}
END_TEST

START_TEST(a20_a_bridge_that_is_killed_leaves_no_relay)
{
    again("run", ",\"warm_channels\":0");
    expect_answer("echo", 200, NULL);
    ck_assert_int_eq(relays(), 1);
    kill(fixture.bridge, SIGKILL);
    ck_assert(eventually(no_relays));
}
END_TEST

START_TEST(channels_that_nobody_needs_are_closed)
{
    again("run", ",\"idle_seconds\":1,\"warm_channels\":1");
    pthread_t threads[8];
    static struct answer answers[8];
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, sleep_request, &answers[i]), 0);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_ge(metric("airlock_bridge_channels{container=\"phi\",state=\"open\"} "), 8);
    for (int i = 0; i < 1000 && relays() > 1; i++)
        usleep(10000);
    ck_assert_int_eq(relays(), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bridge channel");
    TCase *tc = tcase_create("channel");
    tcase_add_checked_fixture(tc, up, fixture_down);
    tcase_set_timeout(tc, 300);
    suite_add_tcase(suite, tc);
    tcase_add_test(tc, generate_passes_the_request_without_container_name_and_strips_the_answer);
    tcase_add_test(tc, the_servers_refusals_come_through_with_their_body);
    tcase_add_test(tc, only_known_headers_come_through);
    tcase_add_test(tc, a_redirect_and_other_odd_statuses_are_not_passed_on);
    tcase_add_test(tc, many_requests_use_one_channel_and_start_no_process);
    tcase_add_test(tc, an_answer_of_many_megabytes_comes_whole);
    tcase_add_test(tc, a_request_of_many_megabytes_goes_whole);
    tcase_add_test(tc, models_health_and_unknown_paths);
    tcase_add_test(tc, events_are_passed_on_one_by_one_as_they_come);
    tcase_add_test(tc, sixty_four_callers_are_served_side_by_side);
    tcase_add_test(tc, requests_beyond_the_channels_wait_and_beyond_the_waiters_get_503);
    tcase_add_test(tc, a_caller_who_hangs_up_stops_the_generation);
    tcase_add_test(tc, a_caller_who_leaves_a_stream_stops_it);
    tcase_add_test(tc, a_request_beyond_its_time_gets_504_and_is_cancelled);
    tcase_add_test(tc, a19_answers_that_are_wrong_or_endless_get_502_and_harm_nobody);
    tcase_add_test(tc, a19_a_second_answer_to_one_request_reaches_nobody);
    tcase_add_test(tc, a19_a_header_cannot_be_made_from_what_the_container_sends);
    tcase_add_test(tc, a19_floods_on_stdout_and_stderr_and_garbage_get_502);
    tcase_add_test(tc, a19_a_flood_on_standard_error_blocks_nothing_and_fills_no_log);
    tcase_add_test(tc, a19_an_answer_that_comes_unasked_is_not_taken_for_the_next_one);
    tcase_add_test(tc,
                   a20_killing_the_cli_in_mid_answer_gives_502_and_the_next_request_a_new_channel);
    tcase_add_test(tc, a20_killing_the_cli_leaves_no_child_of_it);
    tcase_add_test(tc, a20_a_server_that_dies_in_mid_answer_gives_502_and_readiness_flips);
    tcase_add_test(tc, a20_an_idle_channel_that_died_is_replaced_without_anybody_noticing);
    tcase_add_test(tc, a20_a_cli_that_fails_gives_502_with_its_reason_in_the_log_only);
    tcase_add_test(tc, a16_a_container_is_entered_by_the_id_that_its_name_had_at_first);
    tcase_add_test(tc,
                   a16_another_container_of_the_same_name_is_refused_until_the_bridge_starts_again);
    tcase_add_test(tc, a20_a_cli_that_hangs_and_minds_no_signal_is_killed);
    tcase_add_loop_test(tc, a20_a_bridge_that_stops_leaves_no_process, 0, 4);
    tcase_add_test(tc, a20_a_bridge_that_is_killed_leaves_no_relay);
    tcase_add_test(tc, channels_that_nobody_needs_are_closed);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
