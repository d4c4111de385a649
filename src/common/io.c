/* io.c - see io.h. */
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

uint64_t io_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

ssize_t io_read(int fd, void *data, size_t n)
{
    ssize_t got;
    do
        got = read(fd, data, n);
    while (got < 0 && errno == EINTR);
    return got;
}

int io_write_all(int fd, const void *data, size_t n)
{
    const char *p = data;
    while (n) {
        ssize_t put = write(fd, p, n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -1;
        p += put;
        n -= (size_t)put;
    }
    return 0;
}

/* Reads fd to its end.  0, or -1 with err set. */
static int read_to_end(int fd, const char *path, struct bytes *out, struct airlock_error *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return airlock_error_errno(err, errno, "%s", path);
    if (!S_ISREG(st.st_mode))
        return airlock_error_set(err, AIRLOCK_E_IO, "%s: not a regular file", path);
    if ((uint64_t)st.st_size > out->max)
        return airlock_error_set(err, AIRLOCK_E_TOO_LARGE,
                                 "%s: %lld bytes, at most %zu are allowed", path,
                                 (long long)st.st_size, out->max);
    for (;;) {
        size_t room = (size_t)st.st_size > out->size ? (size_t)st.st_size - out->size : 4096;
        if (room > out->max - out->size)
            room = out->max - out->size;
        if (room == 0)
            return 0;
        if (bytes_reserve(out, room) < 0)
            return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "%s: out of memory", path);
        ssize_t got = io_read(fd, out->data + out->size, room);
        if (got < 0)
            return airlock_error_errno(err, errno, "%s", path);
        if (got == 0)
            return 0;
        out->size += (size_t)got;
        out->data[out->size] = 0;
    }
}

int io_read_file(const char *path, struct bytes *out, struct airlock_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a fifo must not hang us */
    if (fd < 0)
        return airlock_error_errno(err, errno, "%s", path);
    int rc = read_to_end(fd, path, out, err);
    close(fd);
    return rc;
}
