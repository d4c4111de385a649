/*
 * sdk_stub.h - a server that answers whatever a test of libairlock wants, and keeps what came.
 */
#ifndef AIRLOCK_TESTS_SDK_STUB_H
#define AIRLOCK_TESTS_SDK_STUB_H

#include <arpa/inet.h>
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { SEEN_MAX = 8 << 20 };

/* Accepts `times` connections one after the other, keeps what came, answers with fixed bytes. */
struct stub {
    const char *answer;
    size_t answer_size;
    int listener;
    atomic_int times, silent_ms; /* set while it serves */
    char host[128], path[108];
    char *seen;
    size_t n_seen;
    pthread_t thread;
};

/* The whole request has come: head, and as many bytes behind it as it promises. */
static inline int complete(const struct stub *s)
{
    const char *end = strstr(s->seen, "\r\n\r\n"), *length = strcasestr(s->seen, "Content-Length:");
    return end && length &&
           s->n_seen >= (size_t)(end + 4 - s->seen) + strtoul(length + 15, NULL, 10);
}

static inline void *serve(void *arg)
{
    struct stub *s = arg;
    for (int i = 0; i < s->times; i++) {
        int fd = accept(s->listener, NULL, NULL);
        s->n_seen = 0;
        s->seen[0] = 0;
        ssize_t n = 1;
        while (n > 0 && !complete(s) && s->n_seen < SEEN_MAX - 1) {
            n = recv(fd, s->seen + s->n_seen, SEEN_MAX - 1 - s->n_seen, 0);
            s->n_seen += n > 0 ? (size_t)n : 0;
            s->seen[s->n_seen] = 0;
        }
        usleep((useconds_t)s->silent_ms * 1000);
        for (size_t sent = 0; sent < s->answer_size && n >= 0;) {
            n = send(fd, s->answer + sent, s->answer_size - sent, MSG_NOSIGNAL);
            sent += n > 0 ? (size_t)n : 0;
        }
        close(fd);
    }
    return NULL;
}

static inline void stub_start(struct stub *s, const char *answer, int use_unix)
{
    *s = (struct stub){ .answer = answer, .answer_size = strlen(answer), .times = 1 };
    s->seen = malloc(SEEN_MAX);
    ck_assert_ptr_nonnull(s->seen);
    s->listener = socket(use_unix ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (use_unix) {
        struct sockaddr_un a = { .sun_family = AF_UNIX };
        snprintf(s->path, sizeof s->path, "/tmp/test_sdk-%d.sock", (int)getpid());
        unlink(s->path);
        strcpy(a.sun_path, s->path);
        ck_assert_int_eq(bind(s->listener, (struct sockaddr *)&a, sizeof a), 0);
        snprintf(s->host, sizeof s->host, "unix:%s", s->path);
    } else {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
        socklen_t n = sizeof a;
        ck_assert_int_eq(bind(s->listener, (struct sockaddr *)&a, sizeof a), 0);
        getsockname(s->listener, (struct sockaddr *)&a, &n);
        snprintf(s->host, sizeof s->host, "http://127.0.0.1:%d/", ntohs(a.sin_port));
    }
    ck_assert_int_eq(listen(s->listener, 8), 0);
    ck_assert_int_eq(pthread_create(&s->thread, NULL, serve, s), 0);
}

static inline void stub_stop(struct stub *s)
{
    pthread_join(s->thread, NULL);
    close(s->listener);
    if (s->path[0])
        unlink(s->path);
    free(s->seen);
}

static inline const char *body_of(const struct stub *s)
{
    const char *end = strstr(s->seen, "\r\n\r\n");
    return end ? end + 4 : "";
}

#endif
