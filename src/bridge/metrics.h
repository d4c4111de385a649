/*
 * metrics.h - what the bridge has done, counted, and written in Prometheus' text form.
 */
#ifndef AIRLOCK_BRIDGE_METRICS_H
#define AIRLOCK_BRIDGE_METRICS_H

#include "routes.h"

#include "common/bytes.h"

#include <stdatomic.h>
#include <stdint.h>

enum { STATUS_MAX = 600, TTFB_BUCKETS = 14 };

/* Why a stream that had begun did not end well. */
enum stream_abort { ABORT_CALLER, ABORT_CONTAINER, ABORT_TIMEOUT, ABORT_LIMIT, N_ABORTS };

/* Zero-initialise.  All functions are thread-safe. */
struct metrics {
    atomic_ulong answers[N_ROUTES + 1][STATUS_MAX]; /* the last: paths that there are not */
    atomic_ulong refused[STATUS_MAX];               /* at the edge, before any path was looked at */
    atomic_ulong ttfb[N_ROUTES][TTFB_BUCKETS + 1];  /* not cumulated; the last: longer than all */
    atomic_ulong ttfb_us[N_ROUTES];                 /* their sum */
    atomic_ulong bytes_in, bytes_out;
    atomic_ulong aborts[N_ABORTS];
};

void metrics_answer(struct metrics *m, enum bridge_route route, unsigned status);
void metrics_refused(struct metrics *m, unsigned status);
/* The first byte of an answer's body has come from the container. */
void metrics_first_byte(struct metrics *m, enum bridge_route route, uint64_t ns);

const char *stream_abort_name(enum stream_abort why); /* eg: "caller" */

/* Appends all of it; what does not fit below out->max is left out. */
void metrics_write(const struct metrics *m, struct bytes *out);

#endif
