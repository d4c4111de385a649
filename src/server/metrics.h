/*
 * metrics.h - counters of what the server did, and their text for Prometheus.
 */
#ifndef AIRLOCK_METRICS_H
#define AIRLOCK_METRICS_H

#include "common/bytes.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { METRICS_STATUSES = 11, METRICS_BUCKETS = 14 };

/* One per model, one more for requests that name none of them.  Zero-initialise. */
struct metrics {
    atomic_ullong requests[METRICS_STATUSES]; /* by HTTP status */
    atomic_ullong tokens_in, tokens_out, tokens_cached;
    atomic_ullong seconds[METRICS_BUCKETS]; /* answered requests, by duration */
    atomic_ullong duration_ns, durations;
};

/* [any] */
void metrics_request(struct metrics *m, unsigned status);
void metrics_answer(struct metrics *m, uint64_t tokens_in, uint64_t tokens_out,
                    uint64_t tokens_cached, uint64_t duration_ns);

/* What is known of a model besides its counters, at this moment. */
struct metrics_row {
    const char *model; /* "" for requests without one */
    struct metrics *metrics;
    unsigned running, waiting, ready;
};

/* 0, or -1: out is full or out of memory. */
int metrics_write(const struct metrics_row *rows, size_t n, struct bytes *out);

#endif
