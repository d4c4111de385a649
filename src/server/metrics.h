/*
 * metrics.h - counters and histograms of what the server did, and their text for Prometheus.
 */
#ifndef AIRLOCK_METRICS_H
#define AIRLOCK_METRICS_H

#include "common/bytes.h"

#include <airlock/llm_model.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { METRICS_STATUSES = 13, METRICS_BUCKETS = 20 };

/* Durations by size; zero-initialise.  Every histogram has the same bounds, from 1 ms to 600 s. */
struct histogram {
    atomic_ullong buckets[METRICS_BUCKETS]; /* each with those below it */
    atomic_ullong sum_ns, count;
};

/* One per model, one more for requests that name none of them.  Zero-initialise. */
struct metrics {
    atomic_ullong requests[METRICS_STATUSES]; /* by HTTP status */
    atomic_ullong tokens_in, tokens_out, tokens_cached;
    atomic_ullong prefill_ns, decode_ns;
    struct histogram seconds;     /* calls of the plugin */
    struct histogram queue;       /* waiting for a turn */
    struct histogram first_token; /* from the request's arrival to its first text */
    struct histogram inter_token; /* between two pieces of text of one answer */
};

/* [any] */
void metrics_request(struct metrics *m, unsigned status);
void metrics_answer(struct metrics *m, const llm_stats *stats, uint64_t duration_ns);
void metrics_observe(struct histogram *h, uint64_t duration_ns);

/* What is known of a model besides its counters, at this moment. */
struct metrics_row {
    const char *model; /* "" for requests without one */
    struct metrics *metrics;
    unsigned running, waiting, ready, adapters;
};

/* Writing: 0, or -1: out is full or out of memory. */
int metrics_write(const struct metrics_row *rows, size_t n, struct bytes *out);

/* "# HELP" and "# TYPE" lines; name without the prefix airlock_. */
int metrics_write_head(const char *name, const char *type, const char *help, struct bytes *out);
/* key="value" with the value escaped as the exposition format says; the other one with the opening
 * brace in front. */
int metrics_write_value(const char *key, const char *value, struct bytes *out);
int metrics_write_label(const char *key, const char *value, struct bytes *out);

#endif
