/*
 * service.h - what all routes of the server share.
 */
#ifndef AIRLOCK_SERVICE_H
#define AIRLOCK_SERVICE_H

#include "server/models.h"

#include <stdatomic.h>
#include <time.h>

struct service {
    struct models models;
    struct metrics unknown;  /* requests that name no model of ours */
    atomic_bool draining;    /* SIGTERM came: /readyz says no */
    atomic_bool abort;       /* running requests stop */
    atomic_ullong ids;       /* of requests */
    unsigned answer_seconds; /* a request may take so long; 0: no limit */
    time_t started;
};

#endif
