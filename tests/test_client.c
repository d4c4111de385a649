/* test_client.c - the relay and the one-shot client as processes, against servers that behave
 * and servers that do not. */
#include "common/io.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_MS = 20000 }; /* before a test calls it a hang */

static char directory[64], address[128];
static int listener = -1;

static void listen_somewhere(void)
{
    strcpy(directory, "/tmp/airlock-relay-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    snprintf(a.sun_path, sizeof a.sun_path, "%s/s", directory);
    snprintf(address, sizeof address, "unix:%s/s", directory);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(listen(listener, 8), 0);
}

static void clean_up(void)
{
    char path[96];
    close(listener);
    snprintf(path, sizeof path, "%s/s", directory);
    unlink(path);
    rmdir(directory);
}

/* A client whose stdin and stdout are `in` and `out`; the caller keeps its own ends. */
static pid_t start(int in, int out, const char *option)
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        dup2(in, 0);
        dup2(out, 1);
        for (int fd = 3; fd < 256; fd++)
            close(fd);
        execl(CLIENT, "airlock-client", "--connect", address, option, "3600", (char *)NULL);
        _exit(127);
    }
    return pid;
}

static pid_t start_relay(int in, int out)
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        dup2(in, 0);
        dup2(out, 1);
        for (int fd = 3; fd < 256; fd++)
            close(fd);
        execl(CLIENT, "airlock-client", "--relay", "--connect", address, (char *)NULL);
        _exit(127);
    }
    return pid;
}

/* The exit status, or -1 for a hang (the process is killed) and -2 for a signal. */
static int finish(pid_t pid)
{
    for (int waited = 0; waited < PATIENCE_MS; waited += 5) {
        int status;
        if (waitpid(pid, &status, WNOHANG) == pid)
            return WIFEXITED(status) ? WEXITSTATUS(status) : -2;
        usleep(5000);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return -1;
}

static int accept_one(void)
{
    struct pollfd p = { listener, POLLIN, 0 };
    ck_assert_int_eq(poll(&p, 1, PATIENCE_MS), 1);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

/* Exactly n bytes, or fewer at the end of file. */
static size_t get(int fd, char *data, size_t n)
{
    size_t have = 0;
    while (have < n) {
        struct pollfd p = { fd, POLLIN, 0 };
        if (poll(&p, 1, PATIENCE_MS) != 1)
            ck_abort_msg("nothing came");
        ssize_t got = read(fd, data + have, n - have);
        if (got <= 0)
            break;
        have += (size_t)got;
    }
    return have;
}

static void expect(int fd, const char *text)
{
    char data[4096];
    size_t n = strlen(text);
    ck_assert_uint_eq(get(fd, data, n), n);
    ck_assert(memcmp(data, text, n) == 0);
}

static void expect_end(int fd)
{
    char c;
    ck_assert_uint_eq(get(fd, &c, 1), 0);
}

/* stdin and stdout as pipes: host writes to up[1] and reads from down[0]. */
static int up[2], down[2];

static pid_t relay_over_pipes(void)
{
    ck_assert_int_eq(pipe2(up, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(down, O_CLOEXEC), 0);
    pid_t pid = start_relay(up[0], down[1]);
    close(up[0]);
    close(down[1]);
    return pid;
}

START_TEST(a_byte_that_arrives_is_passed_at_once_in_both_directions)
{
    pid_t pid = relay_over_pipes();
    int server = accept_one();
    for (int i = 0; i < 100; i++) {
        char c = (char)i, back;
        ck_assert_int_eq(io_write_all(up[1], &c, 1), 0);
        ck_assert_uint_eq(get(server, &back, 1), 1);
        ck_assert_int_eq(back, c);
        ck_assert_int_eq(io_write_all(server, &c, 1), 0);
        ck_assert_uint_eq(get(down[0], &back, 1), 1);
        ck_assert_int_eq(back, c);
    }
    close(up[1]);
    close(server);
    ck_assert_int_eq(finish(pid), 0);
}
END_TEST

START_TEST(one_socket_serves_as_stdin_and_stdout)
{
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    pid_t pid = start_relay(pair[1], pair[1]);
    close(pair[1]);
    int server = accept_one();
    ck_assert_int_eq(io_write_all(pair[0], "question", 8), 0);
    expect(server, "question");
    ck_assert_int_eq(io_write_all(server, "answer", 6), 0);
    expect(pair[0], "answer");
    close(pair[0]);
    expect_end(server);
    close(server);
    ck_assert_int_eq(finish(pid), 0);
}
END_TEST

START_TEST(end_of_stdin_reaches_the_server_and_its_last_words_come_back)
{
    pid_t pid = relay_over_pipes();
    int server = accept_one();
    ck_assert_int_eq(io_write_all(up[1], "bye", 3), 0);
    close(up[1]);
    expect(server, "bye");
    expect_end(server);
    ck_assert_int_eq(io_write_all(server, "farewell", 8), 0);
    close(server);
    expect(down[0], "farewell");
    expect_end(down[0]);
    ck_assert_int_eq(finish(pid), 0);
}
END_TEST

START_TEST(a_server_that_ignores_the_end_of_stdin_does_not_keep_the_relay)
{
    pid_t pid = relay_over_pipes();
    int server = accept_one();
    close(up[1]);
    ck_assert_int_eq(finish(pid), 0);
    close(server);
}
END_TEST

START_TEST(a_server_that_does_not_read_does_not_keep_the_relay_of_a_dead_host)
{
    pid_t pid = relay_over_pipes();
    int server = accept_one();
    ck_assert_int_eq(fcntl(up[1], F_SETFL, O_NONBLOCK), 0);
    static char block[4096];
    for (int stuck = 0; stuck < 20;) { /* until nothing more fits anywhere */
        if (write(up[1], block, sizeof block) < 0) {
            stuck++;
            usleep(5000);
        }
    }
    close(up[1]); /* stdout's reader stays */
    ck_assert_int_eq(finish(pid), 0);
    close(server);
}
END_TEST

START_TEST(an_answer_that_nobody_reads_does_not_stop_the_other_direction)
{
    pid_t pid = relay_over_pipes();
    int server = accept_one();
    ck_assert_int_eq(fcntl(server, F_SETFL, O_NONBLOCK), 0);
    static char block[4096];
    for (int stuck = 0; stuck < 20;) {
        if (write(server, block, sizeof block) < 0) {
            stuck++;
            usleep(5000);
        }
    }
    ck_assert_int_eq(io_write_all(up[1], "stop", 4), 0);
    expect(server, "stop");
    close(up[1]);
    close(server);
    ck_assert_int_eq(finish(pid), 0);
}
END_TEST

START_TEST(the_servers_end_ends_the_relay_while_stdin_stays_open)
{
    pid_t pid = relay_over_pipes();
    int server = accept_one();
    ck_assert_int_eq(io_write_all(server, "last", 4), 0);
    close(server);
    expect(down[0], "last");
    expect_end(down[0]);
    ck_assert_int_eq(finish(pid), 0);
    close(up[1]);
}
END_TEST

START_TEST(a_reader_that_has_gone_ends_the_relay_without_a_byte_to_write)
{
    pid_t pid = relay_over_pipes();
    int server = accept_one();
    close(down[0]); /* stdin stays open */
    ck_assert_int_eq(finish(pid), 0);
    expect_end(server);
    close(server);
    close(up[1]);
}
END_TEST

START_TEST(sigterm_and_sigint_end_the_relay_with_status_0)
{
    pid_t pid = relay_over_pipes();
    int server = accept_one();
    ck_assert_int_eq(io_write_all(up[1], "x", 1), 0);
    expect(server, "x");
    kill(pid, _i ? SIGINT : SIGTERM);
    ck_assert_int_eq(finish(pid), 0);
    expect_end(server);
    close(server);
}
END_TEST

START_TEST(a_relay_without_a_server_fails_and_says_so)
{
    close(listener);
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    pid_t pid = start_relay(pair[1], pair[1]);
    close(pair[1]);
    ck_assert_int_eq(finish(pid), 1);
    expect_end(pair[0]);
}
END_TEST

/* 4 MiB up and down at the same time through slow readers: every byte, in order. */
START_TEST(much_in_both_directions_at_once_arrives_whole_and_in_order)
{
    enum { TOTAL = 4 << 20 };
    static unsigned char data[TOTAL], got_data[10007];
    for (size_t i = 0; i < TOTAL; i++)
        data[i] = (unsigned char)(i * 131 >> 3);
    pid_t pid = relay_over_pipes();
    int server = accept_one();
    size_t sent[2] = { 0 }, seen[2] = { 0 };
    int out[2] = { up[1], server }, in[2] = { server, down[0] };
    for (int i = 0; i < 2; i++) {
        fcntl(out[i], F_SETFL, O_NONBLOCK);
        fcntl(in[i], F_SETFL, O_NONBLOCK);
    }
    for (int idle = 0; (seen[0] < TOTAL || seen[1] < TOTAL) && idle < PATIENCE_MS;) {
        int moved = 0;
        for (int i = 0; i < 2; i++) {
            ssize_t put = write(out[i], data + sent[i], TOTAL - sent[i]);
            ssize_t got = read(in[i], got_data, sizeof got_data);
            if (put > 0)
                sent[i] += (size_t)put, moved = 1;
            if (got > 0) {
                ck_assert_uint_le((size_t)got, TOTAL - seen[i]);
                ck_assert(memcmp(got_data, data + seen[i], (size_t)got) == 0);
                seen[i] += (size_t)got, moved = 1;
            }
        }
        if (!moved) {
            usleep(1000);
            idle++;
        }
    }
    ck_assert_uint_eq(seen[0], TOTAL);
    ck_assert_uint_eq(seen[1], TOTAL);
    close(up[1]);
    close(server);
    ck_assert_int_eq(finish(pid), 0);
}
END_TEST

/* ---- one-shot -------------------------------------------------------------------------------- */

/* Runs a one-shot whose server says `reply` and closes; what it asked is in request.  The exit
 * status; stdout in `text`. */
static int ask(const char *question, const char *reply, size_t reply_size, char *text, size_t max)
{
    ck_assert_int_eq(pipe2(up, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(down, O_CLOEXEC), 0);
    pid_t pid = start(up[0], down[1], "--timeout");
    close(up[0]);
    close(down[1]);
    ck_assert_int_eq(io_write_all(up[1], question, strlen(question)), 0);
    close(up[1]);

    int server = accept_one();
    char head[512];
    int n = snprintf(head, sizeof head,
                     "POST /generate HTTP/1.0\r\nHost: localhost\r\n"
                     "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                     strlen(question));
    ck_assert_int_gt(n, 0);
    expect(server, head);
    expect(server, question);
    ck_assert_int_eq(io_write_all(server, reply, reply_size), 0);
    close(server);
    size_t got = get(down[0], text, max - 1);
    text[got] = 0;
    return finish(pid);
}

#define OK_TEXT(body) "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" body

START_TEST(the_answer_comes_out_stripped_and_without_a_newline)
{
    static const struct {
        const char *reply, *text;
    } cases[] = {
        { OK_TEXT(" \r\n\tHello there.\n\n"), "Hello there." },
        { OK_TEXT("\xe3\x80\x80\xc2\xa0gr\xc3\xbc\xc3\x9f dich\xe2\x80\xa8\xc2\x85"),
          "gr\xc3\xbc\xc3\x9f dich" },
        { OK_TEXT(""), "" },
        { OK_TEXT(" \n "), "" },
        { "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\n42  x more",
          "42  x" },
    };
    char text[256];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_int_eq(
            ask("{\"model\":\"m\"}", cases[i].reply, strlen(cases[i].reply), text, sizeof text), 0);
        ck_assert_str_eq(text, cases[i].text);
    }
}
END_TEST

START_TEST(every_failure_is_one_line_on_stdout_and_status_1)
{
    static const struct {
        const char *reply, *text;
    } cases[] = {
        { "HTTP/1.1 400 Bad Request\r\nContent-Length: 22\r\n\r\nUnrecognized model 'X'",
          "Unrecoverable server error: HTTP 400: Unrecognized model 'X'" },
        { "HTTP/1.1 500 X\r\n\r\n", "Unrecoverable server error: HTTP 500" },
        { "HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", "Unrecoverable server error: HTTP 302" },
        { "HTTP/1.1 503 Busy\r\n\r\na\x1b[31mb\nc",
          "Unrecoverable server error: HTTP 503: a [31mb c" },
        { "", "Unrecoverable server error: the server closed the connection before the answer was "
              "complete" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
          "Unrecoverable server error: the server closed the connection before the answer was "
          "complete" },
        { "SSH-2.0-x\r\n\r\n",
          "Unrecoverable server error: the server's answer is not HTTP: a wrong status line" },
        { "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
          "Unrecoverable server error: the server's answer is not HTTP: a wrong Content-Length" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
          "Unrecoverable server error: the server's answer is not HTTP: a wrong Content-Length" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
          "Unrecoverable server error: the server's answer is not HTTP: two lengths" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
          "Unrecoverable server error: the answer has 99999999999 bytes, at most 16777216 are "
          "taken" },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
          "Unrecoverable server error: the server's answer is not HTTP: a transfer coding that was "
          "not asked for" },
        { "HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
          "Unrecoverable server error: the server's answer is not HTTP: a header line without a "
          "name" },
    };
    char text[512];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_int_eq(ask("{}", cases[i].reply, strlen(cases[i].reply), text, sizeof text), 1);
        ck_assert_str_eq(text, cases[i].text);
    }
}
END_TEST

START_TEST(headers_without_end_are_refused)
{
    static char reply[100000], text[256];
    int n = sprintf(reply, "HTTP/1.1 200 OK\r\nX: ");
    memset(reply + n, 'x', sizeof reply - (size_t)n);
    ck_assert_int_eq(pipe2(up, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(down, O_CLOEXEC), 0);
    pid_t pid = start(up[0], down[1], "--timeout");
    close(up[0]);
    close(down[1]);
    close(up[1]);
    int server = accept_one();
    signal(SIGPIPE, SIG_IGN);
    io_write_all(server, reply, sizeof reply);
    text[get(down[0], text, sizeof text - 1)] = 0;
    ck_assert_str_eq(text, "Unrecoverable server error: the server's answer is not HTTP: headers "
                           "without end");
    ck_assert_int_eq(finish(pid), 1);
    close(server);
}
END_TEST

START_TEST(a_oneshot_whose_reader_has_gone_cancels_its_request)
{
    ck_assert_int_eq(pipe2(up, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(down, O_CLOEXEC), 0);
    pid_t pid = start(up[0], down[1], "--timeout");
    close(up[0]);
    close(down[1]);
    close(up[1]);
    int server = accept_one();
    char c;
    ck_assert_uint_eq(get(server, &c, 1), 1);
    close(down[0]);
    ck_assert_int_eq(finish(pid), 1);
    close(server);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("client");
    TCase *relay = tcase_create("relay"), *oneshot = tcase_create("one-shot");
    TCase *both[] = { relay, oneshot };
    for (int i = 0; i < 2; i++) {
        tcase_add_checked_fixture(both[i], listen_somewhere, clean_up);
        tcase_set_timeout(both[i], 300);
        suite_add_tcase(suite, both[i]);
    }
    tcase_add_test(relay, a_byte_that_arrives_is_passed_at_once_in_both_directions);
    tcase_add_test(relay, one_socket_serves_as_stdin_and_stdout);
    tcase_add_test(relay, end_of_stdin_reaches_the_server_and_its_last_words_come_back);
    tcase_add_test(relay, a_server_that_ignores_the_end_of_stdin_does_not_keep_the_relay);
    tcase_add_test(relay, a_server_that_does_not_read_does_not_keep_the_relay_of_a_dead_host);
    tcase_add_test(relay, an_answer_that_nobody_reads_does_not_stop_the_other_direction);
    tcase_add_test(relay, the_servers_end_ends_the_relay_while_stdin_stays_open);
    tcase_add_test(relay, a_reader_that_has_gone_ends_the_relay_without_a_byte_to_write);
    tcase_add_loop_test(relay, sigterm_and_sigint_end_the_relay_with_status_0, 0, 2);
    tcase_add_test(relay, a_relay_without_a_server_fails_and_says_so);
    tcase_add_test(relay, much_in_both_directions_at_once_arrives_whole_and_in_order);
    tcase_add_test(oneshot, the_answer_comes_out_stripped_and_without_a_newline);
    tcase_add_test(oneshot, every_failure_is_one_line_on_stdout_and_status_1);
    tcase_add_test(oneshot, headers_without_end_are_refused);
    tcase_add_test(oneshot, a_oneshot_whose_reader_has_gone_cancels_its_request);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
