/*
 * measure.c - what the process holds (descriptors, threads, heap), to see whether a plugin gives it
 * back.
 */
#include "check.h"

#include <dirent.h>
#include <malloc.h>
#include <time.h>

/* Of heap: what the allocator itself keeps looks like growth. */
enum { NOISE_BYTES = 4096, NOISE_BYTES_A_ROUND = 16 };

static unsigned count_entries(const char *path)
{
    unsigned n = 0;
    DIR *dir = opendir(path);
    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n;
}

void footprint_take(struct footprint *f)
{
    /* a thread that was joined leaves /proc a moment later */
    for (int tries = 0; tries < 20; tries++) {
        f->threads = count_entries("/proc/self/task");
        if (f->threads <= 3) /* ".", ".." and this one */
            break;
        sleep_ms(5);
    }
    f->descriptors = count_entries("/proc/self/fd");
    f->heap = mallinfo2().uordblks; /* 0 under sanitizers, which find leaks themselves */
}

enum outcome footprint_compare(const struct footprint *before, const struct footprint *after,
                               unsigned rounds, struct report *r)
{
    if (after->threads > before->threads)
        return failed(r, "%u threads were left behind by %u lives",
                      after->threads - before->threads, rounds);
    if (after->descriptors > before->descriptors)
        return failed(r, "%u file descriptors were left open by %u lives",
                      after->descriptors - before->descriptors, rounds);
    if (after->heap > before->heap + NOISE_BYTES + (uint64_t)rounds * NOISE_BYTES_A_ROUND)
        return failed(r, "%llu bytes of heap were left by %u lives",
                      (unsigned long long)(after->heap - before->heap), rounds);
    return PASSED;
}

void sleep_ms(unsigned ms)
{
    nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000L }, NULL);
}
