/* oneshot.c - posts one request as HTTP/1.0 and reads the answer to its end; see oneshot.h. */
#include "oneshot.h"

#include "connect.h"
#include "http_answer.h"

#include "common/io.h"
#include "common/limits.h"
#include "common/strip.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* Of a refusal's body, what becomes part of the reason. */
enum { REASON_TEXT_MAX = 300 };

/* Waits until the server's socket is ready.  0, or -1: too late, or `watch` has ended. */
static int wait_ready(int server, short events, uint64_t deadline_ns, int watch,
                      struct airlock_error *err)
{
    for (;;) {
        struct pollfd p[2] = { { server, events, 0 }, { watch, 0, 0 } };
        int rc = poll(p, 2, milliseconds_until(deadline_ns));
        if (rc < 0 && errno != EINTR)
            return airlock_error_errno(err, errno, "poll");
        if (rc == 0)
            return airlock_error_set(err, AIRLOCK_E_TIMEOUT, "timed out");
        if (rc > 0 && p[0].revents)
            return 0;
        if (rc > 0 && p[1].revents)
            return airlock_error_set(err, AIRLOCK_E_CANCELLED, "nobody reads the answer");
    }
}

static int send_all(int server, const char *data, size_t size, uint64_t deadline_ns, int watch,
                    struct airlock_error *err)
{
    while (size) {
        ssize_t put = send(server, data, size, MSG_NOSIGNAL);
        if (put > 0) {
            data += put;
            size -= (size_t)put;
        } else if (errno == EAGAIN) {
            if (wait_ready(server, POLLOUT, deadline_ns, watch, err) < 0)
                return -1;
        } else if (errno == EPIPE || errno == ECONNRESET) {
            return 0; /* a refusal may have come before the body was read: look at it */
        } else if (errno != EINTR) {
            return airlock_error_errno(err, errno, "sending the request");
        }
    }
    return 0;
}

/* Reads until the answer is whole.  0, or -1. */
static int receive(int server, uint64_t deadline_ns, int watch, struct bytes *raw,
                   struct http_answer *head, struct airlock_error *err)
{
    int parsed = 0;
    for (;;) {
        if (parsed == 0 &&
            (parsed = http_answer_parse(raw->data ? raw->data : "", raw->size, head, err)) < 0)
            return -1;
        if (parsed && head->has_length && head->length > LIMIT_ANSWER_BYTES)
            return airlock_error_set(err, AIRLOCK_E_UPSTREAM,
                                     "the answer has %zu bytes, at most %d are taken", head->length,
                                     LIMIT_ANSWER_BYTES);
        if (parsed && head->has_length && raw->size - head->head_size >= head->length)
            return 0;
        if (bytes_reserve(raw, 16 << 10) < 0)
            return airlock_error_set(err, AIRLOCK_E_UPSTREAM,
                                     "the answer is longer than %d bytes, or memory is short",
                                     LIMIT_ANSWER_BYTES);
        ssize_t got = recv(server, raw->data + raw->size, 16 << 10, 0);
        if (got > 0) {
            raw->size += (size_t)got;
        } else if (got == 0 && parsed && !head->has_length) {
            return 0;
        } else if (got == 0 || errno == ECONNRESET) {
            return airlock_error_set(err, AIRLOCK_E_UPSTREAM,
                                     "the server closed the connection before the answer was "
                                     "complete");
        } else if (errno == EAGAIN) {
            if (wait_ready(server, POLLIN, deadline_ns, watch, err) < 0)
                return -1;
        } else if (errno != EINTR) {
            return airlock_error_errno(err, errno, "reading the answer");
        }
    }
}

/* "HTTP 400: TEXT" with the text on one line. */
static int refused(const struct http_answer *head, const char *text, size_t size,
                   struct airlock_error *err)
{
    char line[REASON_TEXT_MAX + 1];
    strip_space(&text, &size);
    size_t n = size < REASON_TEXT_MAX ? size : REASON_TEXT_MAX;
    for (size_t i = 0; i < n; i++)
        line[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? ' ' : text[i];
    line[n] = 0;
    return airlock_error_set(err, AIRLOCK_E_UPSTREAM, "HTTP %d%s%s", head->status, n ? ": " : "",
                             line);
}

int oneshot_post(int server, const char *body, size_t size, uint64_t deadline_ns, int watch,
                 struct bytes *answer, struct airlock_error *err)
{
    char head[256];
    int n = snprintf(head, sizeof head,
                     "POST /generate HTTP/1.0\r\nHost: localhost\r\n"
                     "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                     size);
    if (send_all(server, head, (size_t)n, deadline_ns, watch, err) < 0 ||
        send_all(server, body, size, deadline_ns, watch, err) < 0)
        return -1;

    struct bytes raw = BYTES_INIT((size_t)LIMIT_ANSWER_BYTES + HTTP_ANSWER_HEAD_MAX + (16 << 10));
    struct http_answer parsed = { 0 };
    int rc = receive(server, deadline_ns, watch, &raw, &parsed, err);
    if (rc == 0) {
        const char *text = raw.data + parsed.head_size;
        size_t text_size = parsed.has_length ? parsed.length : raw.size - parsed.head_size;
        if (parsed.status != 200)
            rc = refused(&parsed, text, text_size, err);
        else if (bytes_add(answer, text, text_size) < 0)
            rc = airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
    }
    bytes_free(&raw);
    return rc;
}
