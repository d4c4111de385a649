/*
 * service.h - what all routes of the server share.
 */
#ifndef AIRLOCK_SERVICE_H
#define AIRLOCK_SERVICE_H

#include "common/bearer.h"
#include "server/models.h"

#include <stdatomic.h>
#include <time.h>

struct service {
    struct models models;
    struct metrics unknown;  /* requests that name no model of ours */
    atomic_bool draining;    /* SIGTERM came: /readyz says no */
    atomic_bool abort;       /* running requests stop */
    atomic_ullong ids;       /* of calls of models */
    unsigned answer_seconds; /* a request may take so long; 0: no limit */
    unsigned ping_seconds;   /* a stream is silent for so long at most */
    unsigned unload_seconds; /* an adapter's requests may take so long to end */
    const char *adapter_dir; /* real path of where adapters may be loaded from; NULL: nowhere */
    struct bearer admin;     /* token of the routes that change something; none: they are off */
    time_t started;
};

#endif
