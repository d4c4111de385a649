/* connect.c - parses numeric and unix addresses and connects with a deadline; see connect.h. */
#include "connect.h"

#include "common/io.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int wrong_address(const char *text, struct airlock_error *err)
{
    return airlock_error_set(err, AIRLOCK_E_CONFIG,
                             "'%.128s' is no address: expected 127.0.0.1:PORT, [::1]:PORT or "
                             "unix:PATH",
                             text);
}

/* 1 to 65535, digits only, or -1. */
static int parse_port(const char *text)
{
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 5 || text[n])
        return -1;
    int port = atoi(text);
    return port >= 1 && port <= 65535 ? port : -1;
}

static int parse_unix(const char *path, struct server_address *out, struct airlock_error *err)
{
    if (!*path || strlen(path) >= sizeof out->u.local.sun_path)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "the path of a unix socket has 1 to %zu bytes",
                                 sizeof out->u.local.sun_path - 1);
    out->u.local.sun_family = AF_UNIX;
    strcpy(out->u.local.sun_path, path);
    out->size = sizeof out->u.local;
    return 0;
}

int server_address_parse(const char *text, struct server_address *out, struct airlock_error *err)
{
    memset(out, 0, sizeof *out);
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(text + 5, out, err);

    const char *colon = strrchr(text, ':');
    int port = colon ? parse_port(colon + 1) : -1;
    char host[64];
    size_t n = colon ? (size_t)(colon - text) : 0;
    if (port < 0 || n == 0 || n >= sizeof host)
        return wrong_address(text, err);
    memcpy(host, text, n);
    host[n] = 0;

    struct sockaddr_in *in4 = (struct sockaddr_in *)&out->u.inet;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&out->u.inet;
    if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &in4->sin_addr) ==
        1) {
        in4->sin_family = AF_INET;
        in4->sin_port = htons((uint16_t)port);
        out->size = sizeof *in4;
        return 0;
    }
    if (host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = 0;
        if (inet_pton(AF_INET6, host + 1, &in6->sin6_addr) == 1) {
            in6->sin6_family = AF_INET6;
            in6->sin6_port = htons((uint16_t)port);
            out->size = sizeof *in6;
            return 0;
        }
    }
    return wrong_address(text, err);
}

int milliseconds_until(uint64_t deadline_ns)
{
    if (deadline_ns == 0)
        return -1;
    uint64_t now = io_now_ns();
    if (now >= deadline_ns)
        return 0;
    uint64_t ms = (deadline_ns - now + 999999) / 1000000;
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

/* Waits for a connect(2) in progress.  0, or an errno. */
static int finish_connect(int fd, uint64_t deadline_ns)
{
    struct pollfd p = { fd, POLLOUT, 0 };
    int rc;
    do
        rc = poll(&p, 1, milliseconds_until(deadline_ns));
    while (rc < 0 && errno == EINTR);
    if (rc == 0)
        return ETIMEDOUT;
    int reason = 0;
    socklen_t size = sizeof reason;
    if (rc < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &reason, &size) < 0)
        return errno;
    return reason;
}

int server_connect(const struct server_address *address, uint64_t deadline_ns,
                   struct airlock_error *err)
{
    int family = address->u.any.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return airlock_error_errno(err, errno, "socket");
    if (family != AF_UNIX) {
        int one = 1; /* a byte that arrives is passed at once */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    int reason = 0;
    if (connect(fd, &address->u.any, address->size) < 0)
        reason = errno == EINPROGRESS || errno == EINTR ? finish_connect(fd, deadline_ns) : errno;
    if (reason == 0)
        return fd;
    close(fd);
    airlock_error_errno(err, reason, "cannot connect to the server");
    return -1;
}
