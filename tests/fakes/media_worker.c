/* media_worker.c - a media worker that does what the first byte of the file tells it to: mostly
 * what a decoder that was taken over would do. */
#include "phi4-multimodal/media_protocol.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static void answer(const int *fds, struct media_result result, const char *bytes)
{
    if (pwrite(fds[1], &result, sizeof result, 0) != sizeof result ||
        write(fds[2], bytes, strlen(bytes)) < 0)
        _exit(1);
}

/* 500 samples of sound that are no numbers. */
static void no_numbers(const int *fds)
{
    unsigned char samples[500 * 4];
    memset(samples, 0xff, sizeof samples);
    if (pwrite(fds[1], samples, sizeof samples, MEDIA_DATA_AT) == sizeof samples)
        answer(fds, (struct media_result){ .size = { 16000, 0 }, .bytes = sizeof samples }, "k");
}

static void act(char what, const int *fds)
{
    struct media_result good = { .size = { 2, 1 }, .bytes = 6 }, bad = good;
    switch (what) {
    case 'g':
        answer(fds, good, "k");
        break;
    case 's': /* to make the reader touch pages that are gone */
        if (ftruncate(fds[1], 0) == 0)
            fputs("the memfd shrank\n", stderr);
        answer(fds, good, "k");
        break;
    case 'b': /* more than there is room for */
        bad.bytes = UINT64_MAX;
        answer(fds, bad, "k");
        break;
    case 't': /* a text without an end, full of what a terminal or a log would obey */
        bad.refused = 1;
        memset(bad.text, '\x1b', sizeof bad.text);
        memcpy(bad.text, "odd\n\r<b>\x9b", 9);
        answer(fds, bad, "k");
        break;
    case 'w': /* two answers */
        answer(fds, good, "kk");
        break;
    case 'z': /* sound of no rate */
        answer(fds, (struct media_result){ .bytes = 2000 }, "k");
        break;
    case 'n':
        no_numbers(fds);
        break;
    case 'x': /* the whole worker is gone */
        _exit(3);
    default: /* no answer */
        break;
    }
}

int main(void)
{
    for (;;) {
        struct media_request r;
        char control[256], what = 0;
        struct iovec iov = { &r, sizeof r };
        struct msghdr m = { .msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = control,
                            .msg_controllen = sizeof control };
        if (recvmsg(MEDIA_WORKER_SOCKET, &m, 0) <= 0)
            return 0;
        int fds[3];
        memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fds);
        if (pread(fds[0], &what, 1, 0) == 1)
            act(what, fds);
        for (int i = 0; i < 3; i++)
            close(fds[i]);
    }
}
