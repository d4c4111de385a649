/* enrolment.c - asks the engine for the id behind a name, once; see enrolment.h. */
#include "enrolment.h"

#include "child.h"

#include "common/io.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LOOKUP_MS = 10000 };

void enrolment_init(struct enrolment *e)
{
    *e = (struct enrolment){ .doubtful = false };
    pthread_mutex_init(&e->lock, NULL);
}

void enrolment_free(struct enrolment *e)
{
    pthread_mutex_destroy(&e->lock);
}

void enrolment_doubt(struct enrolment *e)
{
    pthread_mutex_lock(&e->lock);
    e->doubtful = true;
    pthread_mutex_unlock(&e->lock);
}

/* Reads to the end of file, at most max bytes and LOOKUP_MS.  The number of bytes. */
static size_t read_line(int fd, char *out, size_t max)
{
    uint64_t until_ns = io_now_ns() + LOOKUP_MS * 1000000ull;
    size_t have = 0;
    while (have < max) {
        uint64_t now = io_now_ns();
        struct pollfd p = { fd, POLLIN, 0 };
        if (now >= until_ns || poll(&p, 1, (int)((until_ns - now) / 1000000 + 1)) <= 0)
            break;
        ssize_t got = read(fd, out + have, max - have);
        if (got <= 0)
            break;
        have += (size_t)got;
    }
    return have;
}

/* 64 hexadecimal digits and a newline: what docker and podman call an id. */
static bool is_id(const char *text, size_t size)
{
    return size == 65 && strspn(text, "0123456789abcdef") == 64 && text[64] == '\n';
}

static int look_up(const struct container *c, const char *home, char id[ENROLMENT_TARGET_SIZE],
                   struct airlock_error *err)
{
    struct command command;
    struct child *child = NULL;
    int fds[2], status = -1;
    char text[ENROLMENT_TARGET_SIZE] = "";
    if (runtime_id_command(c, home, &command, err) < 0)
        return -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return airlock_error_set(err, AIRLOCK_E_INTERNAL, "no socket for the engine's answer");
    int rc = child_start(command.argv, command.envp, fds[1], c->name, &child, err);
    close(fds[1]);
    size_t size = rc == 0 ? read_line(fds[0], text, sizeof text - 1) : 0;
    close(fds[0]);
    if (rc < 0)
        return -1;
    bool ended = child_ended(child, LOOKUP_MS, &status);
    child_release(child);
    if (!ended || status != 0 || !is_id(text, size))
        return airlock_error_set(err, AIRLOCK_E_UPSTREAM,
                                 "There is no container '%s'; the bridge's log says what %s said",
                                 c->name, runtime_name(c->runtime));
    snprintf(id, ENROLMENT_TARGET_SIZE, "%.64s", text);
    return 0;
}

/* Under the lock: several channels that are opened at once wait for one look-up. */
static int settle(struct enrolment *e, const struct container *c, const char *home,
                  struct airlock_error *err)
{
    char now[ENROLMENT_TARGET_SIZE];
    if (e->id[0] && !e->doubtful)
        return 0;
    if (look_up(c, home, now, err) < 0)
        return -1;
    if (e->id[0] && strcmp(e->id, now) != 0)
        return airlock_error_set(err, AIRLOCK_E_UPSTREAM,
                                 "Container '%s' is not the one that was enrolled: another has its "
                                 "name now; restart airlock-bridge to enrol that one",
                                 c->name);
    memcpy(e->id, now, sizeof e->id);
    e->doubtful = false;
    return 0;
}

int enrolment_target(struct enrolment *e, const struct container *container, const char *home,
                     char out[ENROLMENT_TARGET_SIZE], struct airlock_error *err)
{
    if (!runtime_has_ids(container->runtime)) {
        snprintf(out, ENROLMENT_TARGET_SIZE, "%s", container->name);
        return 0;
    }
    pthread_mutex_lock(&e->lock);
    int rc = settle(e, container, home, err);
    memcpy(out, e->id, sizeof e->id);
    pthread_mutex_unlock(&e->lock);
    return rc;
}
