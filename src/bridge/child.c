/* child.c - spawns, drains, reaps and kills the processes behind channels; see child.h. */
#include "child.h"

#include "common/io.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    GRACE_MS = 3000,     /* from end of file to SIGTERM: a relay takes at most 2 s */
    TERM_MS = 2000,      /* from SIGTERM to SIGKILL */
    STOP_GRACE_MS = 300, /* the same when the bridge itself stops */
    STOP_TERM_MS = 1000,
    LOG_LINES_MAX = 20,   /* lines of standard error that a child may put in the log */
    LOG_LINE_BYTES = 512, /* longer lines are cut into pieces */
    NAME_MAX_BYTES = 129
};

enum stage { RUNNING, TOLD_END, TOLD_TERM, TOLD_KILL };

struct child {
    struct child *next;
    pid_t pid;
    int pidfd, err_fd; /* -1: closed */
    char name[NAME_MAX_BYTES];
    enum stage stage;
    uint64_t next_stage_ns; /* when the next stage is due */
    bool released;          /* its user has let go */
    bool ended;
    int status;
    unsigned lines;
    char line[LOG_LINE_BYTES];
    size_t line_size;
};

static struct {
    pthread_mutex_t lock; /* of everything here and in children, but the line buffers */
    pthread_cond_t changed;
    pthread_t thread;
    int wake; /* eventfd */
    bool stopping;
    struct child *children;
    unsigned n;
} warden = { .lock = PTHREAD_MUTEX_INITIALIZER, .wake = -1 };

static void wake_warden(void)
{
    uint64_t one = 1;
    if (write(warden.wake, &one, sizeof one) < 0) {
        /* full: it is awake already */
    }
}

/* ---- standard error -------------------------------------------------------------------------- */

static void flush_line(struct child *c)
{
    if (c->line_size == 0)
        return;
    c->line[c->line_size] = 0;
    c->line_size = 0;
    c->lines++;
    if (c->lines <= LOG_LINES_MAX)
        log_warning("channel to '%s': %s", c->name, c->line);
    if (c->lines == LOG_LINES_MAX)
        log_warning("channel to '%s': what more it says is dropped", c->name);
}

/* Takes what is there, without waiting: a child that floods must not keep us from the others. */
static void drain_stderr(struct child *c)
{
    char data[4096];
    ssize_t got = read(c->err_fd, data, sizeof data);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        flush_line(c);
        close(c->err_fd);
        c->err_fd = -1;
        return;
    }
    for (ssize_t i = 0; i < got && c->lines < LOG_LINES_MAX; i++) {
        if (data[i] == '\n') {
            flush_line(c);
        } else {
            c->line[c->line_size++] = data[i] ? data[i] : '?';
            if (c->line_size == sizeof c->line - 1)
                flush_line(c);
        }
    }
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void enter_stage(struct child *c, enum stage stage)
{
    static const int wait_ms[2][3] = { { 0, GRACE_MS, TERM_MS },
                                       { 0, STOP_GRACE_MS, STOP_TERM_MS } };
    c->stage = stage;
    if (stage == TOLD_TERM)
        kill(-c->pid, SIGTERM);
    if (stage == TOLD_KILL)
        kill(-c->pid, SIGKILL);
    c->next_stage_ns = stage == TOLD_KILL
                           ? UINT64_MAX
                           : io_now_ns() + (uint64_t)wait_ms[warden.stopping][stage] * 1000000u;
}

/* The child has ended: what it left in its group goes too, while its zombie still holds the
 * group's number. */
static void reap(struct child *c)
{
    kill(-c->pid, SIGKILL);
    int status = 0;
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
        ;
    close(c->pidfd);
    c->pidfd = -1;
    c->ended = true;
    c->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (c->err_fd >= 0)
        drain_stderr(c); /* its last words */
    pthread_cond_broadcast(&warden.changed);
    if (!c->released)
        log_warning("channel to '%s' ended by itself with status %d", c->name, c->status);
}

static void free_child(struct child *c)
{
    if (c->err_fd >= 0) {
        flush_line(c);
        close(c->err_fd);
    }
    free(c);
}

/* Forgets children that are over, moves on those that are late.  Milliseconds until one is due. */
static int look_after(void)
{
    uint64_t now = io_now_ns(), due = UINT64_MAX;
    for (struct child **link = &warden.children; *link;) {
        struct child *c = *link;
        if (c->ended && c->released) {
            *link = c->next;
            warden.n--;
            free_child(c);
            continue;
        }
        if (!c->ended && c->stage != RUNNING && now >= c->next_stage_ns)
            enter_stage(c, c->stage + 1);
        if (!c->ended && c->stage != RUNNING && c->next_stage_ns < due)
            due = c->next_stage_ns;
        link = &c->next;
    }
    if (due == UINT64_MAX)
        return -1;
    return due <= now ? 0 : (int)((due - now) / 1000000 + 1);
}

/* One round.  False: everything is over.  Called with the lock held, which it gives up while it
 * waits; only this function takes children off the list. */
static bool watch_once(struct pollfd **polls, struct child ***owners, unsigned *room)
{
    int wait_ms = look_after();
    if (warden.stopping && !warden.children)
        return false;
    if (*room < 2 * warden.n + 1) {
        unsigned want = 4 * warden.n + 16;
        void *p = realloc(*polls, want * sizeof **polls);
        if (p)
            *polls = p;
        void *o = p ? realloc(*owners, want * sizeof **owners) : NULL;
        if (o) {
            *owners = o;
            *room = want;
        }
    }
    unsigned n = 0;
    struct pollfd *all = *polls;
    if (*room)
        all[n++] = (struct pollfd){ warden.wake, POLLIN, 0 };
    for (struct child *c = warden.children; c && n + 2 <= *room; c = c->next) {
        if (c->ended && c->err_fd < 0)
            continue;
        (*owners)[n] = c;
        all[n++] = (struct pollfd){ c->pidfd, POLLIN, 0 };
        (*owners)[n] = c;
        all[n++] = (struct pollfd){ c->err_fd, POLLIN, 0 };
    }
    pthread_mutex_unlock(&warden.lock);
    poll(all, n, *room ? wait_ms : 100);
    pthread_mutex_lock(&warden.lock);

    uint64_t count;
    if (n && (all[0].revents & POLLIN) && read(warden.wake, &count, sizeof count) < 0)
        return true;
    for (unsigned i = 1; i < n; i++) {
        struct child *c = (*owners)[i];
        if (!all[i].revents)
            continue;
        if (i % 2 == 1)
            reap(c);
        else if (c->err_fd >= 0)
            drain_stderr(c);
    }
    return true;
}

static void *watch(void *arg)
{
    (void)arg;
    struct pollfd *polls = NULL;
    struct child **owners = NULL;
    unsigned room = 0;
    pthread_mutex_lock(&warden.lock);
    while (watch_once(&polls, &owners, &room))
        ;
    pthread_mutex_unlock(&warden.lock);
    free(polls);
    free(owners);
    return NULL;
}

int child_warden_start(struct airlock_error *err)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&warden.changed, &attr);
    pthread_condattr_destroy(&attr);
    warden.stopping = false;
    warden.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (warden.wake < 0)
        return airlock_error_errno(err, errno, "eventfd");

    sigset_t all, before; /* signals are the main thread's */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&warden.thread, NULL, watch, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        return 0;
    close(warden.wake);
    warden.wake = -1;
    return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "cannot start a thread for channels");
}

void child_warden_stop(void)
{
    if (warden.wake < 0)
        return;
    pthread_mutex_lock(&warden.lock);
    warden.stopping = true;
    for (struct child *c = warden.children; c; c = c->next) {
        c->released = true;
        if (!c->ended && c->stage < TOLD_TERM)
            enter_stage(c, TOLD_END);
    }
    wake_warden();
    pthread_mutex_unlock(&warden.lock);
    pthread_join(warden.thread, NULL);
    close(warden.wake);
    warden.wake = -1;
    pthread_cond_destroy(&warden.changed);
}

/* ---- starting -------------------------------------------------------------------------------- */

/* posix_spawn(3) with the three descriptors and defaults for everything we changed.  An errno. */
static int spawn(char *const *argv, char *const *envp, int socket, int err_fd, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    int rc = posix_spawn_file_actions_init(&actions);
    if (rc != 0)
        return rc;
    rc = posix_spawnattr_init(&attr);
    if (rc != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return rc;
    }
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    if ((rc = posix_spawn_file_actions_adddup2(&actions, socket, STDIN_FILENO)) == 0 &&
        (rc = posix_spawn_file_actions_adddup2(&actions, socket, STDOUT_FILENO)) == 0 &&
        (rc = posix_spawn_file_actions_adddup2(&actions, err_fd, STDERR_FILENO)) == 0 &&
        (rc = posix_spawn_file_actions_addclosefrom_np(&actions, 3)) == 0 &&
        (rc = posix_spawn_file_actions_addchdir_np(&actions, "/")) == 0 &&
        (rc = posix_spawnattr_setsigmask(&attr, &none)) == 0 &&
        (rc = posix_spawnattr_setsigdefault(&attr, &all)) == 0 &&
        (rc = posix_spawnattr_setpgroup(&attr, 0)) == 0 &&
        (rc = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                  POSIX_SPAWN_SETSIGDEF)) == 0)
        rc = posix_spawn(pid, argv[0], &actions, &attr, argv, envp);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

/* Puts a started child under the warden's care.  -1: it had to be killed at once. */
static int adopt(struct child *c, struct airlock_error *err)
{
    c->pidfd = pidfd_open(c->pid, 0);
    if (c->pidfd < 0) {
        int reason = errno;
        kill(-c->pid, SIGKILL);
        waitpid(c->pid, NULL, 0);
        return airlock_error_errno(err, reason, "pidfd_open");
    }
    pthread_mutex_lock(&warden.lock);
    if (warden.stopping)
        enter_stage(c, TOLD_KILL);
    c->next = warden.children;
    warden.children = c;
    warden.n++;
    wake_warden();
    pthread_mutex_unlock(&warden.lock);
    return 0;
}

int child_start(char *const *argv, char *const *envp, int socket, const char *name,
                struct child **out, struct airlock_error *err)
{
    struct child *c = calloc(1, sizeof *c);
    if (!c)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
    snprintf(c->name, sizeof c->name, "%s", name);
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) < 0) {
        free(c);
        return airlock_error_errno(err, errno, "pipe");
    }
    fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
    c->err_fd = pipe_fds[0];
    int rc = spawn(argv, envp, socket, pipe_fds[1], &c->pid);
    close(pipe_fds[1]);
    if (rc != 0)
        airlock_error_errno(err, rc, "cannot start %s", argv[0]);
    if (rc != 0 || adopt(c, err) < 0) {
        close(c->err_fd);
        free(c);
        return -1;
    }
    *out = c;
    return 0;
}

bool child_ended(struct child *child, int wait_ms, int *status)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += wait_ms % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&warden.lock);
    while (!child->ended &&
           pthread_cond_timedwait(&warden.changed, &warden.lock, &until) != ETIMEDOUT)
        ;
    bool ended = child->ended;
    if (ended)
        *status = child->status;
    pthread_mutex_unlock(&warden.lock);
    return ended;
}

void child_release(struct child *child)
{
    if (!child)
        return;
    pthread_mutex_lock(&warden.lock);
    child->released = true;
    if (!child->ended && child->stage == RUNNING)
        enter_stage(child, TOLD_END);
    wake_warden();
    pthread_mutex_unlock(&warden.lock);
}
