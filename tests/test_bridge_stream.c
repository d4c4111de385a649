/* test_bridge_stream.c - answers that are passed on while they come, and streams that break, never
 * end, or are not read: attack cases A13, A19 and A20 in mid-stream. */
#include "bridge_fixture.h"

#include "common/io.h"

#include <check.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define JSON "Content-Type: application/json\r\n"
#define CHAT "/v1/chat/completions"

static void up(void)
{
    fixture_up();
    bridge_up("");
}

static void again(const char *extra)
{
    ck_assert_int_eq(bridge_down(), 0);
    bridge_up(extra);
}

/* Asks for a stream of a stub's model; the connection. */
static int open_stream(const char *path, const char *model)
{
    static char body[32768], text[40000];
    snprintf(body, sizeof body,
             "{\"model\":\"%s\",\"messages\":[],\"stream\":true,\"container_name\":\"phi\"}",
             model);
    int n =
        snprintf(text, sizeof text,
                 "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" JSON "Content-Length: %zu\r\n\r\n%s",
                 path, fixture.port, strlen(body), body);
    int fd = dial_bridge();
    ck_assert_int_eq(io_write_all(fd, text, (size_t)n), 0);
    return fd;
}

/* "KIND:HEX" of text for the stub. */
static const char *model_of(const char *kind, const char *text)
{
    static char model[16384];
    int n = sprintf(model, "%s:", kind);
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        n += sprintf(model + n, "%02x", *p);
    return model;
}

/* A streamed answer without its chunks. */
struct streamed {
    char head[4096], body[1 << 16];
    size_t size;
    bool clean; /* its last chunk came */
};

/* Undoes the chunks of `raw`; what is cut in the middle counts as far as it came. */
static void join_chunks(const char *raw, size_t n, struct streamed *out)
{
    const char *end = raw + n;
    while (raw < end) {
        char *after;
        size_t size = strtoul(raw, &after, 16);
        if (after + 2 > end || after == raw)
            return;
        raw = after + 2;
        if (size == 0) {
            out->clean = true;
            return;
        }
        size_t have = (size_t)(end - raw) < size ? (size_t)(end - raw) : size;
        ck_assert_uint_lt(out->size + have, sizeof out->body);
        memcpy(out->body + out->size, raw, have);
        out->size += have;
        out->body[out->size] = 0;
        raw += have + 2;
    }
}

/* Reads to the end of the stream, or of the connection, or until `until` has come (NULL: never). */
static void read_stream(int fd, const char *until, struct streamed *out)
{
    static char raw[1 << 18];
    size_t n = 0;
    for (;;) {
        struct pollfd p = { fd, POLLIN, 0 };
        ck_assert_msg(poll(&p, 1, PATIENCE_MS) == 1, "the stream hangs; so far: %s", out->body);
        ssize_t got = read(fd, raw + n, sizeof raw - 1 - n);
        n += got > 0 ? (size_t)got : 0;
        raw[n] = 0;
        char *body = strstr(raw, "\r\n\r\n");
        *out = (struct streamed){ 0 };
        if (body) {
            memcpy(out->head, raw, (size_t)(body + 2 - raw));
            ck_assert_msg(strncmp(raw, "HTTP/1.1 200", 12) == 0, "%s", raw);
            join_chunks(body + 4, n - (size_t)(body + 4 - raw), out);
        }
        if (got <= 0 || out->clean || (until && strstr(out->body, until)))
            return;
    }
}

static void stream(const char *path, const char *model, struct streamed *out)
{
    int fd = open_stream(path, model);
    read_stream(fd, NULL, out);
    close(fd);
}

static bool one_cancelled(void)
{
    return count_of("cancelled ") == 1;
}

/* ---- what passes ----------------------------------------------------------------------------- */

START_TEST(streamed_text_is_together_the_same_as_the_whole_answer)
{
    static const char *const texts[] = { "  How are you?\n I am well.\n\n",
                                         "\xc2\xa0\xe2\x82\xac \xf0\x9f\x98\x80\xe3\x80\x80",
                                         "\n \n", "" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        static struct streamed s;
        static struct answer whole;
        stream("/generate", model_of("bytes", texts[i]), &s);
        generate(model_of("bytes", texts[i]), &whole);
        ck_assert_int_eq(whole.status, 200);
        ck_assert(s.clean);
        ck_assert_str_eq(s.body, whole.body);
        ck_assert_ptr_nonnull(strstr(s.head, "HTTP/1.1 200"));
        ck_assert_ptr_nonnull(strstr(s.head, "Content-Type: text/plain; charset=utf-8\r\n"));
    }
}
END_TEST

/* The server says no more until the caller hangs up: whoever waits for more waits for ever. */
START_TEST(what_has_come_passes_before_there_is_more)
{
    static struct streamed s;
    int fd = open_stream("/generate", model_of("hang", " caf\xc3\xa9 "));
    read_stream(fd, "caf\xc3\xa9", &s);
    ck_assert(!s.clean);
    close(fd);
    fd = open_stream(CHAT, model_of("hang", "data: 1\n\ndata: 2"));
    read_stream(fd, "data: 1\n\n", &s);
    ck_assert_str_eq(s.body, "data: 1\n\n");
    close(fd);
}
END_TEST

START_TEST(events_pass_unchanged_and_no_header_of_the_container_does)
{
    static const char events[] =
        ": ping\n\nevent: x\r\ndata: {\"a\":\"\\u001b[31m\x1b \xc2\x9b\"}\r\n"
        "\r\ndata: [DONE]\n\n";
    static struct streamed s;
    stream(CHAT, model_of("bytes", events), &s);
    ck_assert(s.clean);
    ck_assert_str_eq(s.body, events);
    ck_assert_ptr_null(strstr(s.head, "Secret"));
    ck_assert_ptr_nonnull(strstr(s.head, "Content-Type: text/event-stream\r\n"));
    ck_assert_ptr_nonnull(strstr(s.head, "Cache-Control: no-store\r\n"));
}
END_TEST

START_TEST(a_stream_that_ended_leaves_its_channel_for_the_next)
{
    static struct streamed s;
    long before = 0;
    for (int i = 0; i < 20; i++) {
        stream(i % 2 ? CHAT : "/generate", model_of("bytes", "data: x\n\n"), &s);
        ck_assert(s.clean);
        if (i == 1)
            before = metric("airlock_bridge_channel_starts_total{container=\"phi\"} ");
    }
    ck_assert_int_eq(metric("airlock_bridge_channel_starts_total{container=\"phi\"} "), before);
}
END_TEST

/* ---- what breaks ----------------------------------------------------------------------------- */

/* The error event at the end of a stream, and nothing in it that only the operator may know. */
static void expect_error_event(const struct streamed *s, const char *before, const char *words)
{
    size_t n = strlen(before);
    ck_assert_msg(s->clean, "%s", s->body);
    ck_assert_msg(strncmp(s->body, before, n) == 0, "%s", s->body);
    const char *event = s->body + n;
    ck_assert_msg(strncmp(event, "data: {\"error\":{\"message\":\"", 26) == 0, "%s", event);
    ck_assert_msg(strstr(event, words) != NULL, "%s", event);
    ck_assert_str_eq(event + strlen(event) - 3, "}\n\n");
    ck_assert_msg(!strstr(event, "0x") && !strchr(event, '/') && !strstr(event, "docker"), "%s",
                  event);
}

START_TEST(a20_events_that_break_off_end_with_an_error_event_and_no_half_one)
{
    static struct streamed s;
    stream(CHAT, model_of("cut", "data: 1\n\ndata: {\"hal"), &s);
    expect_error_event(&s, "data: 1\n\n", "closed before the answer was complete");
    ck_assert_int_eq(metric_wait("airlock_bridge_stream_aborts_total{reason=\"container\"} ", 1),
                     1);
    stream(CHAT, model_of("cut", "data: 1\n\ndata: [DONE]\n\n"), &s); /* all was said */
    ck_assert_str_eq(s.body, "data: 1\n\ndata: [DONE]\n\n");
    stream(CHAT, model_of("bytes", "data: 1\n\n"), &s); /* the control */
    ck_assert_str_eq(s.body, "data: 1\n\n");
}
END_TEST

START_TEST(a20_text_that_breaks_off_is_cut)
{
    static struct streamed s;
    stream("/generate", model_of("cut", "half an answer "), &s);
    ck_assert_str_eq(s.body, "half an answer");
    ck_assert(!s.clean);
    stream("/generate", model_of("bytes", "an answer "), &s); /* the control */
    ck_assert(s.clean);
}
END_TEST

/* True when the process is one that the bridge started: numbers of dead ones may be others' now. */
static bool is_bridges_child(int pid)
{
    char path[64], text[512] = "";
    int parent = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    const char *end = fgets(text, sizeof text, f) ? strrchr(text, ')') : NULL;
    fclose(f);
    return end && sscanf(end + 1, " %*c %d", &parent) == 1 && parent == fixture.bridge;
}

/* Kills every relay of the fake docker, and waits until the bridge works again. */
static void kill_clis(void)
{
    char path[128], line[64];
    snprintf(path, sizeof path, "%s/pids", fixture.dir);
    FILE *f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f))
        if (is_bridges_child(atoi(line)))
            kill(atoi(line), SIGKILL);
    fclose(f);
    struct answer a = { 0 };
    for (int i = 0; a.status != 200 && i < 100; i++) /* a dying channel may still look alive */
        generate("echo", &a);
    ck_assert_int_eq(a.status, 200);
}

START_TEST(a20_a_killed_cli_ends_a_stream_with_an_error_and_the_next_one_works)
{
    static struct streamed s;
    long restarts = metric("airlock_bridge_channel_restarts_total{container=\"phi\"} ");
    int fd = open_stream(CHAT, model_of("hang", "data: 1\n\n"));
    read_stream(fd, "data: 1", &s);
    kill_clis();
    close(fd);
    ck_assert(eventually(one_cancelled));
    fd = open_stream(CHAT, model_of("hang", "data: 1\n\n"));
    static struct streamed rest;
    read_stream(fd, "data: 1", &rest);
    kill_clis();
    struct pollfd p = { fd, POLLIN, 0 };
    char data[4096];
    ck_assert_int_eq(poll(&p, 1, PATIENCE_MS), 1);
    ssize_t got = io_read(fd, data, sizeof data - 1);
    ck_assert_int_gt(got, 0);
    data[got] = 0;
    ck_assert_ptr_nonnull(strstr(data, "data: {\"error\":{"));
    close(fd);
    stream(CHAT, model_of("bytes", "data: 1\n\n"), &s);
    ck_assert_str_eq(s.body, "data: 1\n\n");
    ck_assert_int_gt(metric("airlock_bridge_channel_restarts_total{container=\"phi\"} "), restarts);
    ck_assert_int_ge(metric("airlock_bridge_channel_failures_total{container=\"phi\"} "), 1);
}
END_TEST

START_TEST(a20_a_stream_beyond_its_time_ends_with_an_error_and_is_cancelled)
{
    static struct streamed s;
    again(",\"request_seconds\":1");
    stream(CHAT, model_of("hang", "data: 1\n\n"), &s);
    expect_error_event(&s, "data: 1\n\n", "did not answer in time");
    ck_assert(eventually(one_cancelled));
    stream("/generate", model_of("hang", "one "), &s);
    ck_assert_str_eq(s.body, "one");
    ck_assert(!s.clean);
    ck_assert_int_eq(metric_wait("airlock_bridge_stream_aborts_total{reason=\"timeout\"} ", 2), 2);
}
END_TEST

START_TEST(a_caller_who_hangs_up_while_nothing_comes_closes_the_channel)
{
    static struct streamed s;
    int fd = open_stream("/generate", model_of("hang", "one "));
    read_stream(fd, "one", &s);
    ck_assert_int_eq(count_of("cancelled "), 0);
    close(fd);
    ck_assert(eventually(one_cancelled));
    ck_assert_int_eq(metric_wait("airlock_bridge_stream_aborts_total{reason=\"caller\"} ", 1), 1);
}
END_TEST

START_TEST(a_stopping_bridge_ends_its_streams)
{
    static struct streamed s;
    int fd = open_stream(CHAT, model_of("hang", "data: 1\n\n"));
    read_stream(fd, "data: 1", &s);
    ck_assert_int_eq(bridge_down(), 0);
    ck_assert(eventually(one_cancelled));
    close(fd);
}
END_TEST

/* ---- A19: hostile streams -------------------------------------------------------------------- */

START_TEST(a19_an_endless_stream_and_a_huge_event_are_bounded)
{
    static struct streamed s;
    again(",\"stream_bytes\":20000");
    stream(CHAT, model_of("repeat", "data: endless\n\n"), &s);
    ck_assert_ptr_nonnull(strstr(s.body,
                                 "data: {\"error\":{\"message\":\"The answer from container "
                                 "'phi' is too large\""));
    ck_assert(s.clean);
    ck_assert_uint_le(s.size, 21000);
    ck_assert(eventually(one_cancelled));
    again("");
    stream(CHAT,
           model_of("repeat", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
           &s);
    expect_error_event(&s, "", "An event from container 'phi' is too large");
    ck_assert_int_eq(metric_wait("airlock_bridge_stream_aborts_total{reason=\"limit\"} ", 1), 1);
    struct answer a;
    generate("echo", &a);
    ck_assert_int_eq(a.status, 200);
}
END_TEST

START_TEST(a19_endless_white_space_in_text_is_bounded)
{
    static struct streamed s;
    stream("/generate", model_of("repeat", "    "), &s);
    ck_assert_ptr_nonnull(strstr(s.head, "HTTP/1.1 200"));
    ck_assert_uint_eq(s.size, 0);
    ck_assert(!s.clean);
    ck_assert_int_eq(metric_wait("airlock_bridge_stream_aborts_total{reason=\"limit\"} ", 1), 1);
}
END_TEST

static long resident_kib(void)
{
    char path[64], line[128];
    long kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)fixture.bridge);
    FILE *f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f))
        sscanf(line, "VmRSS: %ld", &kib);
    fclose(f);
    return kib;
}

START_TEST(a_caller_who_does_not_read_holds_the_container_back)
{
    enum { N = 4 };
    struct answer a;
    generate("echo", &a);
    long before = resident_kib();
    int fds[N];
    for (int i = 0; i < N; i++)
        fds[i] = open_stream(CHAT, model_of("repeat", "data: 12\n\n"));
    usleep(1500000); /* at memory speed these would be gigabytes */
    ck_assert_int_lt(resident_kib() - before, 64 << 10);
    for (int i = 0; i < N; i++)
        close(fds[i]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bridge stream");
    TCase *tc = tcase_create("stream");
    tcase_add_checked_fixture(tc, up, fixture_down);
    tcase_set_timeout(tc, 300);
    suite_add_tcase(suite, tc);
    tcase_add_test(tc, streamed_text_is_together_the_same_as_the_whole_answer);
    tcase_add_test(tc, what_has_come_passes_before_there_is_more);
    tcase_add_test(tc, events_pass_unchanged_and_no_header_of_the_container_does);
    tcase_add_test(tc, a_stream_that_ended_leaves_its_channel_for_the_next);
    tcase_add_test(tc, a20_events_that_break_off_end_with_an_error_event_and_no_half_one);
    tcase_add_test(tc, a20_text_that_breaks_off_is_cut);
    tcase_add_test(tc, a20_a_killed_cli_ends_a_stream_with_an_error_and_the_next_one_works);
    tcase_add_test(tc, a20_a_stream_beyond_its_time_ends_with_an_error_and_is_cancelled);
    tcase_add_test(tc, a_caller_who_hangs_up_while_nothing_comes_closes_the_channel);
    tcase_add_test(tc, a_stopping_bridge_ends_its_streams);
    tcase_add_test(tc, a19_an_endless_stream_and_a_huge_event_are_bounded);
    tcase_add_test(tc, a19_endless_white_space_in_text_is_bounded);
    tcase_add_test(tc, a_caller_who_does_not_read_holds_the_container_back);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
