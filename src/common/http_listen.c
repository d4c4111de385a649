/* http_listen.c - see http_listen.h. */
#include "http_listen.h"

#include "http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const char UNIX_PREFIX[] = "unix:";
enum { UNIX_PREFIX_SIZE = sizeof UNIX_PREFIX - 1, BACKLOG = 512 };

/* Splits "HOST:PORT" or "[V6]:PORT" and resolves it without asking anyone.  NULL with err. */
static struct addrinfo *resolve(const char *where, struct airlock_error *err)
{
    char host[80];
    const char *colon = strrchr(where, ':');
    size_t n = colon ? (size_t)(colon - where) : 0;
    bool bracketed = n > 2 && where[0] == '[' && where[n - 1] == ']';
    struct addrinfo hints = { .ai_family = AF_UNSPEC,
                              .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
    struct addrinfo *found = NULL;
    if (n && n < sizeof host && (bracketed || !memchr(where, ':', n))) {
        snprintf(host, sizeof host, "%.*s", (int)(bracketed ? n - 2 : n), where + bracketed);
        const char *name = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
        if (getaddrinfo(name, colon + 1, &hints, &found) == 0)
            return found;
    }
    airlock_error_set(err, AIRLOCK_E_CONFIG,
                      "%s is not an address to listen on: give ADDRESS:PORT or unix:PATH", where);
    return NULL;
}

static int fail(struct http_listener *out, const char *where, struct airlock_error *err)
{
    int errnum = errno;
    if (out->fd >= 0)
        close(out->fd);
    out->fd = -1;
    return airlock_error_errno(err, errnum, "cannot listen on %s", where);
}

/* Writes the address as bound, with the port that the kernel chose for 0. */
static void name_tcp(struct http_listener *out)
{
    struct sockaddr_storage bound;
    socklen_t size = sizeof bound;
    char host[64], port[8];
    if (getsockname(out->fd, (struct sockaddr *)&bound, &size) == 0 &&
        getnameinfo((struct sockaddr *)&bound, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        snprintf(out->address, sizeof out->address,
                 bound.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static int open_tcp(const char *where, struct http_listener *out, struct airlock_error *err)
{
    struct addrinfo *a = resolve(where, err);
    if (!a)
        return -1;
    int one = 1;
    out->fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool ok = out->fd >= 0 &&
              setsockopt(out->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
              setsockopt(out->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0 &&
              bind(out->fd, a->ai_addr, a->ai_addrlen) == 0 && listen(out->fd, BACKLOG) == 0;
    int errnum = errno;
    freeaddrinfo(a);
    errno = errnum;
    if (!ok)
        return fail(out, where, err);
    name_tcp(out);
    return 0;
}

/* Removes the socket of a process that is gone.  0: the path is free; -1 with err. */
static int remove_stale(const char *path, const struct sockaddr_un *addr, struct airlock_error *err)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : airlock_error_errno(err, errno, "%s", path);
    if (!S_ISSOCK(st.st_mode) || st.st_uid != geteuid())
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%s exists and is not a socket of this user: remove it or choose "
                                 "another path",
                                 path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return airlock_error_errno(err, errno, "%s", path);
    int rc = connect(fd, (const struct sockaddr *)addr, sizeof *addr);
    int errnum = rc < 0 ? errno : 0;
    close(fd);
    if (errnum != ECONNREFUSED)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s: another process listens there", path);
    if (unlink(path) < 0)
        return airlock_error_errno(err, errno, "%s", path);
    return 0;
}

static int open_unix(const char *where, mode_t mode, struct http_listener *out,
                     struct airlock_error *err)
{
    const char *path = where + UNIX_PREFIX_SIZE;
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    if (!*path || strlen(path) >= sizeof addr.sun_path)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%s: the path of a unix socket has 1 to %zu bytes", where,
                                 sizeof addr.sun_path - 1);
    strcpy(addr.sun_path, path);
    if (remove_stale(path, &addr, err) < 0)
        return -1;
    out->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (out->fd < 0)
        return fail(out, where, err);
    mode_t before = umask(0777 & ~mode); /* never open to more people, not even for a moment */
    int rc = bind(out->fd, (struct sockaddr *)&addr, sizeof addr);
    umask(before);
    struct stat st;
    if (rc < 0 || listen(out->fd, BACKLOG) < 0 || lstat(path, &st) < 0)
        return fail(out, where, err);
    out->device = st.st_dev;
    out->inode = st.st_ino;
    snprintf(out->address, sizeof out->address, "%s", where);
    return 0;
}

int http_listen_open(const char *where, mode_t mode, struct http_listener *out,
                     struct airlock_error *err)
{
    *out = (struct http_listener){ .fd = -1 };
    if (strncmp(where, UNIX_PREFIX, UNIX_PREFIX_SIZE) == 0)
        return open_unix(where, mode, out, err);
    return open_tcp(where, out, err);
}

void http_listen_close(struct http_listener *listener)
{
    if (listener->fd < 0)
        return;
    close(listener->fd);
    listener->fd = -1;
    const char *path = listener->address + UNIX_PREFIX_SIZE;
    struct stat st;
    if (listener->inode && lstat(path, &st) == 0 && st.st_dev == listener->device &&
        st.st_ino == listener->inode)
        unlink(path);
}

bool http_listen_is_local(const char *where)
{
    if (strncmp(where, UNIX_PREFIX, UNIX_PREFIX_SIZE) == 0)
        return true;
    struct addrinfo *a = resolve(where, NULL);
    if (!a)
        return false;
    bool local;
    if (a->ai_family == AF_INET6)
        local = IN6_IS_ADDR_LOOPBACK(&((struct sockaddr_in6 *)(void *)a->ai_addr)->sin6_addr);
    else
        local = ntohl(((struct sockaddr_in *)(void *)a->ai_addr)->sin_addr.s_addr) >> 24 == 127;
    freeaddrinfo(a);
    return local;
}
