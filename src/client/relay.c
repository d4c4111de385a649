/* relay.c - the relay's loop: two bounded buffers and poll(2); see relay.h. */
#include "relay.h"

#include "connect.h"

#include "common/io.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RELAY_BUFFER_BYTES = 64 << 10 }; /* each way: a pipe's usual capacity */

/* One direction.  What was read is written before more is read, so that a slow reader holds back
 * its writer and memory stays bounded. */
struct flow {
    int from, to;
    bool from_open; /* no end of file yet */
    bool to_socket;
    bool to_pipe;
    size_t begin, end; /* data[begin..end) waits to be written */
    char data[RELAY_BUFFER_BYTES];
};

static void flow_init(struct flow *f, int from, int to)
{
    struct stat st;
    f->from = from;
    f->to = to;
    f->from_open = true;
    f->begin = f->end = 0;
    bool known = fstat(to, &st) == 0;
    f->to_socket = known && S_ISSOCK(st.st_mode);
    f->to_pipe = known && S_ISFIFO(st.st_mode);
}

static bool waiting(const struct flow *f)
{
    return f->begin < f->end;
}

static bool would_block(int reason)
{
    return reason == EAGAIN || reason == EWOULDBLOCK || reason == EINTR;
}

/* After poll(2) said readable.  0, or -1 with errno.  A reset peer is an end of file. */
static int flow_read(struct flow *f)
{
    ssize_t got = read(f->from, f->data, sizeof f->data);
    if (got > 0) {
        f->begin = 0;
        f->end = (size_t)got;
    } else if (got == 0 || errno == ECONNRESET) {
        f->from_open = false;
    } else if (!would_block(errno)) {
        return -1;
    }
    return 0;
}

/*
 * One write that does not block, without touching the descriptor's mode, which others may share:
 * a socket is asked not to wait, and a pipe that poll(2) calls writable takes PIPE_BUF bytes.
 */
static int flow_write(struct flow *f)
{
    size_t n = f->end - f->begin;
    ssize_t put;
    if (f->to_socket)
        put = send(f->to, f->data + f->begin, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    else
        put = write(f->to, f->data + f->begin, f->to_pipe && n > PIPE_BUF ? PIPE_BUF : n);
    if (put < 0)
        return would_block(errno) ? 0 : -1;
    f->begin += (size_t)put;
    return 0;
}

/* Writes what was just read without asking poll(2) first when the target is a socket: this saves a
 * system call for each message. */
static int flow_step(struct flow *f, short from_events, short to_events)
{
    bool fresh = false;
    if (!waiting(f) && f->from_open && (from_events & (POLLIN | POLLHUP | POLLERR))) {
        if (flow_read(f) < 0)
            return -1;
        fresh = true;
    }
    if (waiting(f) && ((to_events & POLLOUT) || (fresh && f->to_socket)))
        return flow_write(f);
    return 0;
}

/* What to ask poll(2) for.  `in` is watched for its hang-up even while nothing may be read from it
 * (a server that stops reading must not hide that the host has gone), but once seen it is left out,
 * or it would wake us for ever; `out` stays in, because its reader's going is what we must hear. */
static void ask(struct pollfd p[3], const struct flow *up, const struct flow *down, bool in_gone)
{
    bool may_read = up->from_open && !waiting(up);
    p[0] = (struct pollfd){ may_read || !in_gone ? up->from : -1, may_read ? POLLIN : 0, 0 };
    p[1] = (struct pollfd){ down->to, (short)(waiting(down) ? POLLOUT : 0), 0 };
    p[2] = (struct pollfd){ up->to, 0, 0 };
    if (waiting(up))
        p[2].events |= POLLOUT;
    if (down->from_open && !waiting(down))
        p[2].events |= POLLIN;
    if (p[2].events == 0)
        p[2].fd = -1;
}

/* The server takes no more: what is left for it is dropped, and its last words are awaited. */
static void give_up(struct flow *up)
{
    up->from_open = false;
    up->begin = up->end = 0;
}

/* A reader that has gone is the normal end of a channel. */
static int ended(const char *what, struct airlock_error *err)
{
    if (errno == EPIPE || errno == ECONNRESET)
        return 0;
    return airlock_error_errno(err, errno, "%s", what);
}

static int run(struct flow *up, struct flow *down, int linger_ms, struct airlock_error *err)
{
    uint64_t deadline = 0;
    bool in_gone = false, told_end = false;
    while (down->from_open || waiting(down)) {
        struct pollfd p[3];
        ask(p, up, down, in_gone);
        int rc = poll(p, 3, milliseconds_until(deadline));
        if (rc < 0 && errno != EINTR)
            return airlock_error_errno(err, errno, "poll");
        if (rc == 0)
            return 0; /* nobody asks any more and the server has had its time */
        if (rc < 0)
            continue;
        if ((p[1].revents & (POLLERR | POLLNVAL)) || ((p[1].revents & POLLHUP) && !up->from_open))
            return 0; /* nobody reads */
        if (flow_step(up, p[0].revents, p[2].revents) < 0) {
            if (errno != EPIPE && errno != ECONNRESET)
                return ended("passing bytes to the server", err);
            give_up(up);
        }
        if (flow_step(down, p[2].revents, p[1].revents) < 0)
            return ended("passing bytes from the server", err);
        if (!up->from_open && !waiting(up) && !told_end) {
            shutdown(up->to, SHUT_WR);
            told_end = true;
        }
        in_gone = in_gone || !up->from_open || (p[0].revents & (POLLHUP | POLLERR));
        if (in_gone && deadline == 0)
            deadline = io_now_ns() + (uint64_t)linger_ms * 1000000u;
    }
    return 0;
}

int relay_run(int in, int out, int server, int linger_ms, struct airlock_error *err)
{
    static struct flow up, down; /* one relay in a process */
    flow_init(&up, in, server);
    flow_init(&down, server, out);
    return run(&up, &down, linger_ms, err);
}
