/* pool.c - lends channels to requests, newest first, so that those not needed grow old. */
#include "pool.h"

#include "common/io.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum { GONE_CHECK_MS = 100 }; /* how late a waiter's hang-up may be noticed */

struct idle {
    struct channel *channel;
    uint64_t since_ns;
};

struct pool {
    const struct container *container;
    struct enrolment enrolment;
    const struct pool_limits *limits;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t back;  /* a channel, or the room for one, has come back */
    struct idle *idle;    /* the oldest first; limits->channels of room */
    unsigned n_idle, n_open, n_waiting;
    unsigned lost; /* broken channels that none was started for yet */
    uint64_t started, restarted, failed, broken, refused;
};

struct pool *pool_new(const struct container *container, const struct pool_limits *limits)
{
    struct pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    pool->container = container;
    pool->limits = limits;
    pool->idle = calloc(limits->channels, sizeof *pool->idle);
    if (!pool->idle) {
        free(pool);
        return NULL;
    }
    enrolment_init(&pool->enrolment);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->back, &attr);
    pthread_condattr_destroy(&attr);
    return pool;
}

void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    for (unsigned i = 0; i < pool->n_idle; i++)
        channel_free(pool->idle[i].channel);
    pthread_cond_destroy(&pool->back);
    pthread_mutex_destroy(&pool->lock);
    enrolment_free(&pool->enrolment);
    free(pool->idle);
    free(pool);
}

const struct container *pool_container(const struct pool *pool)
{
    return pool->container;
}

/* A channel is gone that was not closed for its age.  Lock held. */
static void count_broken(struct pool *pool, const struct channel *ch)
{
    pool->broken++;
    pool->lost++;
    pool->failed += ch && channel_relay_failed(ch);
}

static void count_started(struct pool *pool)
{
    pool->started++;
    pool->restarted += pool->lost > 0;
    pool->lost -= pool->lost > 0;
}

/* The newest idle channel that lives, or NULL.  Dead ones go to *dead, linked by nothing: at most
 * one a call, so that the lock is not held while libcurl cleans up.  Lock held. */
static struct channel *pop_idle(struct pool *pool, struct channel **dead)
{
    if (pool->n_idle == 0)
        return NULL;
    struct channel *ch = pool->idle[--pool->n_idle].channel;
    if (channel_alive(ch))
        return ch;
    pool->n_open--;
    count_broken(pool, ch);
    *dead = ch;
    return NULL;
}

/* Waits a little for the lock's condition.  Lock held. */
static void wait_a_little(struct pool *pool)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += GONE_CHECK_MS * 1000000L;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&pool->back, &pool->lock, &until);
}

/* Waits for a channel to come back.  0: look again; -1: not for this one.  Lock held. */
static int wait_turn(struct pool *pool, uint64_t until_ns, bool (*gone)(void *arg), void *gone_arg,
                     struct airlock_error *err)
{
    const char *name = pool->container->name;
    if (pool->n_waiting >= pool->limits->waiters) {
        pool->refused++;
        return airlock_error_set(err, AIRLOCK_E_BUSY,
                                 "Container '%s' has too many requests waiting", name);
    }
    if (io_now_ns() >= until_ns) {
        pool->refused++;
        return airlock_error_set(err, AIRLOCK_E_BUSY,
                                 "All channels to container '%s' have been busy for %u seconds",
                                 name, pool->limits->wait_seconds);
    }
    pool->n_waiting++;
    wait_a_little(pool);
    pool->n_waiting--;
    if (gone && gone(gone_arg))
        return airlock_error_set(err, AIRLOCK_E_CANCELLED, "the caller has gone");
    return 0;
}

struct channel *pool_take(struct pool *pool, bool (*gone)(void *arg), void *gone_arg,
                          struct airlock_error *err)
{
    uint64_t until_ns = io_now_ns() + pool->limits->wait_seconds * 1000000000ull;
    struct channel *ch = NULL;
    bool make = false;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        struct channel *dead = NULL;
        ch = pop_idle(pool, &dead);
        if (dead) {
            pthread_mutex_unlock(&pool->lock);
            channel_free(dead);
            pthread_mutex_lock(&pool->lock);
            continue;
        }
        if (ch)
            break;
        if (pool->n_open < pool->limits->channels) {
            pool->n_open++;
            count_started(pool);
            make = true;
            break;
        }
        if (wait_turn(pool, until_ns, gone, gone_arg, err) < 0)
            break;
    }
    pthread_mutex_unlock(&pool->lock);
    if (make && !(ch = channel_new(pool->container, &pool->enrolment, err)))
        pool_give(pool, NULL, false);
    return ch;
}

void pool_give(struct pool *pool, struct channel *channel, bool reusable)
{
    pthread_mutex_lock(&pool->lock);
    if (reusable) {
        pool->idle[pool->n_idle++] = (struct idle){ channel, io_now_ns() };
        channel = NULL;
    } else {
        pool->n_open--;
        count_broken(pool, channel);
    }
    pthread_cond_signal(&pool->back);
    pthread_mutex_unlock(&pool->lock);
    channel_free(channel);
}

/* Takes the first idle channel that is dead or too old off the list, or NULL.  Lock held. */
static struct channel *pick_old(struct pool *pool, uint64_t now)
{
    uint64_t age = pool->limits->idle_seconds * 1000000000ull;
    for (unsigned i = 0; i < pool->n_idle; i++) {
        struct idle *it = &pool->idle[i];
        bool dead = !channel_alive(it->channel);
        if (!dead && (now - it->since_ns < age || pool->n_open <= pool->limits->warm))
            continue;
        struct channel *ch = it->channel;
        pool->n_idle--;
        for (unsigned j = i; j < pool->n_idle; j++)
            pool->idle[j] = pool->idle[j + 1];
        pool->n_open--;
        if (dead)
            count_broken(pool, ch);
        return ch;
    }
    return NULL;
}

bool pool_tidy(struct pool *pool)
{
    uint64_t now = io_now_ns();
    for (;;) {
        pthread_mutex_lock(&pool->lock);
        struct channel *ch = pick_old(pool, now);
        bool cold = pool->n_open == 0 && pool->limits->warm > 0;
        if (ch)
            pthread_cond_signal(&pool->back);
        pthread_mutex_unlock(&pool->lock);
        if (!ch)
            return cold;
        channel_free(ch);
    }
}

void pool_count(struct pool *pool, struct pool_counts *out)
{
    pthread_mutex_lock(&pool->lock);
    *out = (struct pool_counts){ .open = pool->n_open,
                                 .idle = pool->n_idle,
                                 .waiting = pool->n_waiting,
                                 .started = pool->started,
                                 .restarted = pool->restarted,
                                 .failed = pool->failed,
                                 .broken = pool->broken,
                                 .refused = pool->refused };
    pthread_mutex_unlock(&pool->lock);
}
