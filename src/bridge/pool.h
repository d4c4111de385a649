/*
 * pool.h - the channels to one container: kept open between requests, bounded in number, replaced
 * when they die.
 */
#ifndef AIRLOCK_BRIDGE_POOL_H
#define AIRLOCK_BRIDGE_POOL_H

#include "channel.h"

#include "common/error.h"

#include <stdbool.h>
#include <stdint.h>

struct pool_limits {
    unsigned channels;     /* open at once */
    unsigned waiters;      /* requests that wait for one; more are refused */
    unsigned wait_seconds; /* how long they wait */
    unsigned idle_seconds; /* an unused channel is closed after this time ... */
    unsigned warm;         /* ... unless only so many are open */
};

struct pool_counts {
    unsigned open, idle, waiting;
    /* since the start: */
    uint64_t started;   /* channels, a relay each */
    uint64_t restarted; /* of them: in the place of one that broke */
    uint64_t failed;    /* relays that did not start, or ended with a failure */
    uint64_t broken, refused;
};

struct pool;

/* container and limits are kept as pointers.  NULL: out of memory. */
struct pool *pool_new(const struct container *container, const struct pool_limits *limits);

/* Every channel must have been given back. */
void pool_free(struct pool *pool);

const struct container *pool_container(const struct pool *pool);

/*
 * A channel for one request: an idle one that still lives, else a new one, else the next that
 * comes back.  NULL: AIRLOCK_E_BUSY, AIRLOCK_E_CANCELLED (gone said so) or out of memory.
 * [any thread]
 */
struct channel *pool_take(struct pool *pool, bool (*gone)(void *arg), void *gone_arg,
                          struct airlock_error *err);

/* After channel_end(), whose verdict is `reusable`; the channel is the pool's again. */
void pool_give(struct pool *pool, struct channel *channel, bool reusable);

/* Closes idle channels that died or grew old.  True when not even one is open though `warm` asks
 * for it.  Every second or so. */
bool pool_tidy(struct pool *pool);

void pool_count(struct pool *pool, struct pool_counts *out);

#endif
