/*
 * bridge_fixture.h - a bridge as a process, with a stub server behind a fake Docker, for tests that
 * look at it from outside.
 */
#ifndef TESTS_BRIDGE_FIXTURE_H
#define TESTS_BRIDGE_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { PATIENCE_MS = 20000 }; /* before a test calls it a hang */

struct fixture {
    char dir[64];     /* of the test's own: fake docker, logs, sockets */
    char address[64]; /* of the bridge: 127.0.0.1:PORT */
    int port;
    pid_t bridge, server;
};

extern struct fixture fixture;

/* Directory, stub server and fake docker.  Fails the test when something does not start. */
void fixture_up(void);
/* Starts the bridge with container "phi" behind the fake docker; extra is JSON for its
 * configuration, "" or such as ",\"channels\":2". */
void bridge_up(const char *extra);
/* Starts the bridge with arguments of the test's own (NULL-terminated, without argv[0]). */
void bridge_up_args(char *const *args);
/* Ends everything.  Returns the bridge's exit status, -1 for a hang, -2 for a signal. */
int bridge_down(void);
void fixture_down(void);

/* The fake docker's mode, see there. */
void set_mode(const char *mode);

struct answer {
    int status;         /* 0: no answer came */
    char head[8192];    /* status line and headers, NUL-terminated */
    char body[1 << 16]; /* NUL-terminated; chunks are left as they came */
    size_t size;
};

/* A connection to the bridge. */
int dial_bridge(void);
/* Sends raw bytes on a new connection and reads to the end of the connection or of the answer. */
void exchange_raw(const char *bytes, size_t n, struct answer *out);
/* A request with the right Host; headers: further lines, each ending in CRLF; body NULL: none. */
void ask(const char *method, const char *path, const char *headers, const char *body,
         struct answer *out);
/* POST /generate to container phi with that model (see stub_server.c). */
void generate(const char *model, struct answer *out);
/* Reads an answer from a connection. */
void read_answer(int fd, struct answer *out);

/* A number of the stub server's GET /counts, or of the bridge's GET /metrics by the line's start.
 */
long count_of(const char *name);
long metric(const char *line_start);
/* As metric(), but waits until it is at least that: streams are counted after their end was sent.
 */
long metric_wait(const char *line_start, long least);

/* Waits until condition() is true, or PATIENCE_MS.  The last verdict. */
bool eventually(bool (*condition)(void));

/* How many processes have this directory's path in their command line: relays and fake dockers. */
int relays(void);

/* The bridge's log so far; static memory. */
const char *bridge_log(void);

#endif
