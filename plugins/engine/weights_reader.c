/* weights_reader.c - the thread that reads ahead of the copies to a device; see weights_reader.h.
 */
#include "weights_reader.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

enum { POLL_NS = 50 * 1000 * 1000 };

struct weights_reader {
    struct safetensors *st;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Under lock */
    uint64_t done; /* bytes */
    bool stop, over;
    int status; /* when over */
    struct airlock_error err;
};

static int advance(void *ctx, uint64_t done, uint64_t total)
{
    struct weights_reader *r = ctx;
    (void)total;
    pthread_mutex_lock(&r->lock);
    r->done = done;
    const bool stop = r->stop;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
    return stop;
}

static void *run(void *arg)
{
    struct weights_reader *r = arg;
    struct airlock_error err;
    int status = safetensors_prefault(r->st, advance, r, &err);
    pthread_mutex_lock(&r->lock);
    r->over = true;
    r->status = status;
    if (status)
        r->err = err;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* The thread takes no signals: they are the server's. */
static int start_thread(struct weights_reader *r)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int failed = pthread_create(&r->thread, NULL, run, r);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return failed;
}

static void reader_free(struct weights_reader *r)
{
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->changed);
    free(r);
}

struct weights_reader *weights_reader_start(struct safetensors *st, struct airlock_error *err)
{
    struct weights_reader *r = calloc(1, sizeof *r);
    if (!r) {
        airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for reading");
        return NULL;
    }
    r->st = st;
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->changed, &attr);
    pthread_condattr_destroy(&attr);
    int errnum = start_thread(r);
    if (errnum == 0)
        return r;
    airlock_error_errno(err, errnum, "reading thread");
    reader_free(r);
    return NULL;
}

/* Lock held. */
static void wait_a_little(struct weights_reader *r)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += POLL_NS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&r->changed, &r->lock, &until);
}

int weights_reader_wait(struct weights_reader *r, uint64_t end, int (*poll)(void *ctx), void *ctx,
                        struct airlock_error *err)
{
    int status = 0;
    pthread_mutex_lock(&r->lock);
    while (r->done < end && !r->over && status == 0) {
        wait_a_little(r);
        pthread_mutex_unlock(&r->lock);
        if (poll && poll(ctx))
            status = airlock_error_set(err, AIRLOCK_E_CANCELLED, "loading was cancelled");
        pthread_mutex_lock(&r->lock);
    }
    if (status == 0 && r->over && r->status) {
        if (err)
            *err = r->err;
        status = -1;
    }
    pthread_mutex_unlock(&r->lock);
    return status;
}

void weights_reader_stop(struct weights_reader *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    reader_free(r);
}
