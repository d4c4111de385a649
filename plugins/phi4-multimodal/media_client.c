/* media_client.c - starts the media worker, hands it files and takes results; see media_client.h.
 */
#include "media_client.h"

#include "common/io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    AT_ONCE = 4, /* files being decoded: bounds the memory of all */
    POLL_MS = 50 /* between two looks at whether somebody still wants the result */
};

struct media_worker {
    char *program;
    pthread_mutex_t lock;
    pthread_cond_t fewer; /* somebody is done */
    unsigned in_work;
    int socket;
    pid_t pid;
};

/* ---- the program ----------------------------------------------------------------------------- */

static int spawn(struct media_worker *w, int theirs, struct airlock_error *err)
{
    char *argv[] = { "airlock-media-worker", NULL }, *env[] = { NULL };
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&actions, 0, 1);
    posix_spawn_file_actions_adddup2(&actions, 0, 2); /* nothing it says comes into our log */
    posix_spawn_file_actions_adddup2(&actions, theirs, MEDIA_WORKER_SOCKET);
    posix_spawn_file_actions_addclosefrom_np(&actions, MEDIA_WORKER_SOCKET + 1);
    int failed = posix_spawn(&w->pid, w->program, &actions, &attr, argv, env);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    return failed ? airlock_error_errno(err, failed, "starting %s", w->program) : 0;
}

static int start(struct media_worker *w, struct airlock_error *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return airlock_error_errno(err, errno, "socketpair");
    /* dup2 onto itself would keep FD_CLOEXEC */
    int theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, MEDIA_WORKER_SOCKET + 1);
    close(pair[1]);
    if (theirs < 0) {
        airlock_error_errno(err, errno, "fcntl");
        close(pair[0]);
        return -1;
    }
    int status = spawn(w, theirs, err);
    close(theirs);
    if (status) {
        close(pair[0]);
        return -1;
    }
    w->socket = pair[0];
    return 0;
}

static void stop(struct media_worker *w)
{
    if (w->socket < 0)
        return;
    close(w->socket);
    w->socket = -1;
    while (waitpid(w->pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

struct media_worker *media_worker_start(const char *program, struct airlock_error *err)
{
    struct media_worker *w = calloc(1, sizeof *w);
    char *copy = strdup(program);
    if (!w || !copy) {
        free(w);
        free(copy);
        airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
        return NULL;
    }
    w->program = copy;
    w->socket = -1;
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->fewer, &attr);
    pthread_condattr_destroy(&attr);
    if (start(w, err)) {
        media_worker_stop(w);
        return NULL;
    }
    return w;
}

void media_worker_stop(struct media_worker *w)
{
    if (!w)
        return;
    stop(w);
    pthread_cond_destroy(&w->fewer);
    pthread_mutex_destroy(&w->lock);
    free(w->program);
    free(w);
}

/* ---- one file -------------------------------------------------------------------------------- */

struct job {
    int fds[3];  /* in, out, done: what the worker gets */
    int done[2]; /* the pipe; [0] is ours */
};

static void job_close(struct job *j)
{
    const int all[] = { j->fds[0], j->fds[1], j->done[0], j->done[1] };
    for (size_t i = 0; i < 4; i++)
        if (all[i] >= 0)
            close(all[i]);
}

static int make_input(const void *file, size_t size)
{
    int fd = memfd_create("airlock-media-in", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    const char *p = file;
    for (size_t n = 0; fd >= 0 && n < size;) {
        ssize_t wrote = write(fd, p + n, size - n);
        if (wrote > 0)
            n += (size_t)wrote;
        else if (errno != EINTR)
            break;
        if (n == size && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW) == 0)
            return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Cannot be made smaller by the other side: reading it is safe. */
static int make_output(size_t bytes)
{
    int fd = memfd_create("airlock-media-out", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && ftruncate(fd, (off_t)bytes) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static int job_open(struct job *j, const void *file, size_t size, size_t out_max,
                    struct airlock_error *err)
{
    *j = (struct job){ { -1, -1, -1 }, { -1, -1 } };
    j->fds[0] = make_input(file, size);
    j->fds[1] = make_output(MEDIA_DATA_AT + out_max);
    if (j->fds[0] < 0 || j->fds[1] < 0 || pipe2(j->done, O_CLOEXEC)) {
        job_close(j);
        return airlock_error_errno(err, errno, "memory for decoding");
    }
    j->fds[2] = j->done[1];
    return 0;
}

static int send_job(int socket, const struct media_request *r, const struct job *j)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof j->fds)];
    } control = { 0 };
    struct iovec iov = { (void *)r, sizeof *r };
    struct msghdr m = { .msg_iov = &iov,
                        .msg_iovlen = 1,
                        .msg_control = control.bytes,
                        .msg_controllen = sizeof control.bytes };
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof j->fds);
    memcpy(CMSG_DATA(c), j->fds, sizeof j->fds);
    ssize_t n;
    do
        n = sendmsg(socket, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof *r ? 0 : -1;
}

/* Sends, starting the program again when it is gone. */
static int hand_over(struct media_worker *w, const struct media_request *r, const struct job *j,
                     struct airlock_error *err)
{
    pthread_mutex_lock(&w->lock);
    int status = w->socket >= 0 ? send_job(w->socket, r, j) : -1;
    if (status) {
        stop(w);
        status = start(w, err);
        if (status == 0 && send_job(w->socket, r, j))
            status = airlock_error_errno(err, errno, "the media worker");
    }
    pthread_mutex_unlock(&w->lock);
    return status;
}

/* Waits for the end of the pipe; true: with the byte in it. */
static bool has_result(int pipe_end, const struct media_wish *wish)
{
    const uint64_t until = io_now_ns() + (MEDIA_WALL_SECONDS + 2) * (uint64_t)1000000000;
    bool byte = false;
    for (;;) {
        const uint64_t now = io_now_ns();
        struct pollfd p = { pipe_end, POLLIN, 0 };
        if (now >= until || media_given_up(wish))
            return false;
        if (poll(&p, 1, POLL_MS) <= 0)
            continue;
        char c[2];
        ssize_t n = read(pipe_end, c, sizeof c);
        if (n == 0)
            return byte;
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0) {
            if (byte || n != 1)
                return false;
            byte = true;
        }
    }
}

/* The text may be an attacker's: only what prints, and nothing that could be taken for markup. */
static void copy_text(char *out, const char *text, size_t size)
{
    size_t n = 0;
    for (; n + 1 < size && text[n]; n++)
        out[n] =
            text[n] >= ' ' && text[n] <= '~' && text[n] != '<' && text[n] != '>' ? text[n] : '?';
    out[n] = 0;
}

static int take_result(const struct job *j, size_t out_max, struct media_output *out,
                       struct airlock_error *err)
{
    struct media_result result;
    void *map = mmap(NULL, MEDIA_DATA_AT + out_max, PROT_READ, MAP_SHARED, j->fds[1], 0);
    if (map == MAP_FAILED)
        return airlock_error_errno(err, errno, "memory for decoding");
    memcpy(&result, map, sizeof result);
    if (!result.refused && result.bytes <= out_max) {
        *out = (struct media_output){ { result.size[0], result.size[1] },
                                      (const uint8_t *)map + MEDIA_DATA_AT,
                                      (size_t)result.bytes,
                                      map,
                                      MEDIA_DATA_AT + out_max };
        return 0;
    }
    munmap(map, MEDIA_DATA_AT + out_max);
    char text[sizeof result.text];
    copy_text(text, result.text, sizeof result.text);
    return airlock_error_set(err, AIRLOCK_E_REQUEST, "%s",
                             result.refused ? text : "the decoder gave too much");
}

/* 0, or -1: given up while others were in work. */
static int enter(struct media_worker *w, const struct media_wish *wish)
{
    bool over = false;
    pthread_mutex_lock(&w->lock);
    while (!over && w->in_work == AT_ONCE) {
        const uint64_t at = io_now_ns() + POLL_MS * (uint64_t)1000000;
        const struct timespec until = { .tv_sec = (time_t)(at / 1000000000),
                                        .tv_nsec = (long)(at % 1000000000) };
        pthread_cond_timedwait(&w->fewer, &w->lock, &until);
        pthread_mutex_unlock(&w->lock);
        over = media_given_up(wish);
        pthread_mutex_lock(&w->lock);
    }
    w->in_work += !over;
    pthread_mutex_unlock(&w->lock);
    return over ? -1 : 0;
}

static void leave(struct media_worker *w)
{
    pthread_mutex_lock(&w->lock);
    w->in_work--;
    pthread_cond_signal(&w->fewer);
    pthread_mutex_unlock(&w->lock);
}

/* The program itself, not only the process that decoded, has ended; the next job starts it again.
 */
static bool worker_is_gone(struct media_worker *w)
{
    pthread_mutex_lock(&w->lock);
    struct pollfd p = { w->socket, 0, 0 };
    bool gone = w->socket < 0 || (poll(&p, 1, 0) == 1 && p.revents & POLLHUP);
    if (gone)
        stop(w);
    pthread_mutex_unlock(&w->lock);
    return gone;
}

/* 0, or -1 with err; *lost: there was no answer. */
static int run_job(struct media_worker *w, enum media_kind kind, const void *file, size_t size,
                   size_t out_max, const struct media_wish *wish, struct media_output *out,
                   bool *lost, struct airlock_error *err)
{
    const struct media_request r = { .kind = kind, .in_bytes = size, .out_bytes = out_max };
    struct job j;
    if (job_open(&j, file, size, out_max, err))
        return -1;
    int status = hand_over(w, &r, &j, err);
    close(j.done[1]); /* or the pipe would never end */
    j.done[1] = -1;
    *lost = status == 0 && !has_result(j.done[0], wish);
    if (*lost && media_given_up(wish))
        status = airlock_error_set(err, AIRLOCK_E_CANCELLED, "cancelled");
    else if (*lost)
        status = airlock_error_set(err, AIRLOCK_E_REQUEST,
                                   "it cannot be decoded: its decoder crashed, or needed more than "
                                   "%d MiB or %d s",
                                   MEDIA_MEMORY_BYTES >> 20, MEDIA_CPU_SECONDS);
    if (status == 0)
        status = take_result(&j, out_max, out, err);
    job_close(&j);
    return status;
}

int media_worker_decode(struct media_worker *w, enum media_kind kind, const void *file, size_t size,
                        size_t out_max, const struct media_wish *wish, struct media_output *out,
                        struct airlock_error *err)
{
    *out = (struct media_output){ 0 };
    if (size == 0)
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "it is empty");
    if (size > MEDIA_FILE_BYTES_MAX)
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "it has %zu bytes; at most %d", size,
                                 MEDIA_FILE_BYTES_MAX);
    if (enter(w, wish))
        return airlock_error_set(err, AIRLOCK_E_CANCELLED, "cancelled");
    bool lost = false;
    int status = run_job(w, kind, file, size, out_max, wish, out, &lost, err);
    if (lost && err->code != AIRLOCK_E_CANCELLED &&
        worker_is_gone(w)) /* it may have died of something else */
        status = run_job(w, kind, file, size, out_max, wish, out, &lost, err);
    leave(w);
    return status;
}

void media_output_free(struct media_output *out)
{
    if (out->map)
        munmap(out->map, out->map_bytes);
    *out = (struct media_output){ 0 };
}
