/* main.c - airlock-client: one JSON request from stdin to the server and its answer to stdout, or a
 * byte relay. */
#include "config.h"

#include "connect.h"
#include "oneshot.h"
#include "relay.h"

#include "common/bytes.h"
#include "common/error.h"
#include "common/io.h"
#include "common/limits.h"
#include "common/strip.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    DEFAULT_TIMEOUT_SECONDS = 60, /* the original's */
    CONNECT_SECONDS = 10,         /* a relay's: a server on this machine answers at once */
    RELAY_LINGER_MS = 2000        /* for the server's last words after the host has gone */
};

static const char usage[] =
    "Usage: airlock-client [--connect ADDRESS] [--timeout SECONDS] < request.json\n"
    "       airlock-client [--connect ADDRESS] --relay\n"
    "\n"
    "Runs inside the airlock.  Posts the JSON request on standard input to the model server\n"
    "and prints its answer; with --relay it passes bytes both ways until one side ends.\n"
    "\n"
    "  --connect ADDRESS   127.0.0.1:PORT, [::1]:PORT or unix:PATH\n"
    "                      (default: $AIRLOCK_CONNECT, else 127.0.0.1:8000)\n"
    "  --timeout SECONDS   give up after this time (default 60; 0: never)\n"
    "  --relay             be a byte relay\n"
    "  --help, --version   print and exit\n";

struct options {
    const char *connect;
    uint64_t timeout_seconds;
    bool relay;
};

static int wrong_usage(const char *format, const char *value)
{
    fprintf(stderr, format, value);
    fputs("\nTry 'airlock-client --help'.\n", stderr);
    return 2;
}

/* -1: go on; otherwise the exit status. */
static int read_options(int argc, char **argv, struct options *o)
{
    static const struct option known[] = {
        { "connect", required_argument, NULL, 'c' }, { "timeout", required_argument, NULL, 't' },
        { "relay", no_argument, NULL, 'r' },         { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'v' },       { NULL, 0, NULL, 0 }
    };
    int c;
    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (c) {
        case 'c':
            o->connect = optarg;
            break;
        case 't':
            if (!*optarg || strlen(optarg) > 7 || optarg[strspn(optarg, "0123456789")])
                return wrong_usage("airlock-client: --timeout '%.64s' is no number of seconds",
                                   optarg);
            o->timeout_seconds = strtoul(optarg, NULL, 10);
            break;
        case 'r':
            o->relay = true;
            break;
        case 'h':
            return fputs(usage, stdout) < 0;
        case 'v':
            return puts("airlock-client " PACKAGE_VERSION) < 0;
        default:
            return wrong_usage("%s", "");
        }
    }
    if (optind < argc)
        return wrong_usage("airlock-client: unexpected argument '%.64s'", argv[optind]);
    return -1;
}

static void stop(int signal_number)
{
    (void)signal_number;
    _exit(0); /* the kernel closes the connection, and the server hears it */
}

static int run_relay(const struct server_address *address)
{
    struct sigaction end = { .sa_handler = stop };
    sigaction(SIGTERM, &end, NULL);
    sigaction(SIGINT, &end, NULL);

    struct airlock_error err = { 0 };
    int server = server_connect(address, io_now_ns() + CONNECT_SECONDS * 1000000000ull, &err);
    if (server < 0 || relay_run(STDIN_FILENO, STDOUT_FILENO, server, RELAY_LINGER_MS, &err) < 0) {
        fprintf(stderr, "airlock-client: %s\n", err.text);
        return 1;
    }
    return 0;
}

/* All of stdin.  0, or -1. */
static int read_request(struct bytes *out, struct airlock_error *err)
{
    for (;;) {
        if (out->size == out->max)
            return airlock_error_set(err, AIRLOCK_E_TOO_LARGE,
                                     "the request is larger than %zu bytes", out->max - 1);
        size_t room = out->max - out->size < (64 << 10) ? out->max - out->size : (64 << 10);
        if (bytes_reserve(out, room) < 0)
            return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
        ssize_t got = io_read(STDIN_FILENO, out->data + out->size, room);
        if (got < 0)
            return airlock_error_errno(err, errno, "reading the request");
        if (got == 0)
            return 0;
        out->size += (size_t)got;
    }
}

static int post(const struct server_address *address, uint64_t timeout_seconds,
                struct bytes *request, struct bytes *answer, struct airlock_error *err)
{
    if (read_request(request, err) < 0)
        return -1;
    uint64_t deadline = timeout_seconds ? io_now_ns() + timeout_seconds * 1000000000u : 0;
    int server = server_connect(address, deadline, err);
    if (server < 0)
        return -1;
    int rc = oneshot_post(server, request->data ? request->data : "", request->size, deadline,
                          STDOUT_FILENO, answer, err);
    close(server);
    return rc;
}

static int run_oneshot(const struct server_address *address, uint64_t timeout_seconds)
{
    struct airlock_error err = { 0 };
    struct bytes request = BYTES_INIT((size_t)LIMIT_REQUEST_BYTES + 1);
    struct bytes answer = BYTES_INIT(LIMIT_ANSWER_BYTES);
    int rc = post(address, timeout_seconds, &request, &answer, &err);
    const char *text = answer.data ? answer.data : "";
    size_t size = answer.size;
    if (rc < 0) {
        bytes_clear(&answer);
        bytes_printf(&answer, "Unrecoverable server error: %s", err.text);
        text = answer.data ? answer.data : "";
        size = answer.size;
    }
    strip_space(&text, &size);
    if (io_write_all(STDOUT_FILENO, text, size) < 0)
        rc = -1;
    bytes_free(&request);
    bytes_free(&answer);
    return rc < 0;
}

int main(int argc, char **argv)
{
    struct options o = { .timeout_seconds = DEFAULT_TIMEOUT_SECONDS };
    int status = read_options(argc, argv, &o);
    if (status >= 0)
        return status;
    if (!o.connect)
        o.connect = getenv("AIRLOCK_CONNECT");

    struct server_address address;
    struct airlock_error err = { 0 };
    if (server_address_parse(o.connect && *o.connect ? o.connect : "127.0.0.1:8000", &address,
                             &err) < 0)
        return wrong_usage("airlock-client: %s", err.text);
    signal(SIGPIPE, SIG_IGN);
    return o.relay ? run_relay(&address) : run_oneshot(&address, o.timeout_seconds);
}
