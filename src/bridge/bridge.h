/*
 * bridge.h - what the bridge's handlers share.
 */
#ifndef AIRLOCK_BRIDGE_BRIDGE_H
#define AIRLOCK_BRIDGE_BRIDGE_H

#include "bridge_config.h"
#include "edge.h"
#include "metrics.h"
#include "pool.h"

#include <stdatomic.h>
#include <stdbool.h>

struct bridge {
    const struct bridge_config *config;
    struct edge edge;
    struct pool *pools[CONFIG_CONTAINERS_MAX]; /* one for each container, in its order */
    struct metrics metrics;
    atomic_bool stopping;
};

/* The pool of the enrolled container of that name, or NULL. */
struct pool *bridge_pool(const struct bridge *bridge, const char *name, size_t size);

#endif
