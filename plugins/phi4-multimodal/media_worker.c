/*
 * media_worker.c - airlock-media-worker: decodes pictures and sounds that nobody trusts, each in a
 * process of its own that can do nothing else.
 *
 * Started by the multimodal plugin while it loads, before the server gives up starting programs.
 * This process only forks: it never looks at what came.  Ends when the plugin's end of the socket
 * is closed.  media_protocol.h has the words they speak.
 */
#include "config.h"

#include "audio_decode.h"
#include "image_decode.h"
#include "media_protocol.h"
#include "media_seal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { N_FDS = 3 }; /* of a request: in, out, done */

static void refuse(struct media_result *result, const char *text)
{
    result->refused = 1;
    snprintf(result->text, sizeof result->text, "%.*s", (int)sizeof result->text - 1, text);
}

static void decode_picture(const struct media_request *r, const uint8_t *in,
                           struct media_result *result, uint8_t *data)
{
    char why[sizeof result->text] = "";
    if (image_decode(in, (size_t)r->in_bytes, data, (size_t)r->out_bytes, result->size, why,
                     sizeof why))
        refuse(result, why);
    else
        result->bytes = 3 * (uint64_t)result->size[0] * result->size[1];
}

/* The room for samples says how many seconds are wanted. */
static void decode_sound(const struct media_request *r, const uint8_t *in,
                         struct media_result *result, uint8_t *data)
{
    struct audio_clip clip;
    struct airlock_error err;
    const uint64_t seconds = r->out_bytes / sizeof(float) / AUDIO_RATE;
    const size_t most = seconds > AUDIO_MAX_SECONDS ? AUDIO_MAX_SECONDS : (size_t)seconds;
    if (most == 0 || audio_decode(in, (size_t)r->in_bytes, most, &clip, &err)) {
        refuse(result, most ? err.text : "there is no room for sound");
        return;
    }
    result->size[0] = clip.rate;
    result->bytes = clip.n_samples * sizeof *clip.samples;
    if (result->bytes <= r->out_bytes)
        memcpy(data, clip.samples, (size_t)result->bytes);
    else
        refuse(result, "the sound is too long");
}

static void decode(const struct media_request *r, const uint8_t *in, struct media_result *result,
                   uint8_t *data)
{
    if (r->kind == MEDIA_IMAGE)
        decode_picture(r, in, result, data);
    else if (r->kind == MEDIA_SOUND)
        decode_sound(r, in, result, data);
    else
        refuse(result, "the media worker does not know this kind of file");
}

/* The process that decodes; never returns. */
static _Noreturn void work(const struct media_request *r, const int *fds)
{
    struct stat in_stat, out_stat;
    if (fstat(fds[0], &in_stat) || fstat(fds[1], &out_stat) || r->in_bytes == 0 ||
        r->in_bytes > MEDIA_FILE_BYTES_MAX || (uint64_t)in_stat.st_size < r->in_bytes ||
        r->out_bytes > MEDIA_MEMORY_BYTES ||
        (uint64_t)out_stat.st_size < MEDIA_DATA_AT + r->out_bytes)
        _exit(2);
    const uint8_t *in = mmap(NULL, (size_t)r->in_bytes, PROT_READ, MAP_PRIVATE, fds[0], 0);
    uint8_t *out = mmap(NULL, MEDIA_DATA_AT + (size_t)r->out_bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED, fds[1], 0);
    if (in == MAP_FAILED || out == MAP_FAILED)
        _exit(2);
    close(fds[0]);
    close(fds[1]);
    close(MEDIA_WORKER_SOCKET);
    if (media_seal())
        _exit(2);
    struct media_result result = { 0 };
    decode(r, in, &result, out + MEDIA_DATA_AT);
    memcpy(out, &result, sizeof result);
    if (write(fds[2], "k", 1) != 1)
        _exit(2);
    _exit(0);
}

/* One request with its descriptors.  1: there it is; 0: the plugin is gone; -1: not a request (what
 * descriptors came are closed). */
static int receive(struct media_request *r, int *fds)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(N_FDS * sizeof(int))];
    } control = { 0 };
    struct iovec iov = { r, sizeof *r };
    struct msghdr m = { .msg_iov = &iov,
                        .msg_iovlen = 1,
                        .msg_control = control.bytes,
                        .msg_controllen = sizeof control.bytes };
    ssize_t n;
    do
        n = recvmsg(MEDIA_WORKER_SOCKET, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return 0;
    const struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    size_t count = 0;
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
        count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(fds, CMSG_DATA(c), count * sizeof(int));
    }
    if (n == (ssize_t)sizeof *r && count == N_FDS && !(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        return 1;
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
    return -1;
}

int main(int argc, char **argv)
{
    struct stat socket_stat;
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        puts("airlock-media-worker " PACKAGE_VERSION);
        return 0;
    }
    if (argc > 1 || fstat(MEDIA_WORKER_SOCKET, &socket_stat) || !S_ISSOCK(socket_stat.st_mode)) {
        fputs("airlock-media-worker is started by the phi4-multimodal plugin\n", stderr);
        return 2;
    }
    signal(SIGCHLD, SIG_IGN); /* nobody waits: children do not become zombies */
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    for (;;) {
        struct media_request r;
        int fds[N_FDS];
        const int got = receive(&r, fds);
        if (got == 0)
            return 0;
        if (got < 0)
            continue;
        if (fork() == 0)
            work(&r, fds);
        for (int i = 0; i < N_FDS; i++)
            close(fds[i]);
    }
}
