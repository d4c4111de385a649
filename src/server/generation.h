/*
 * generation.h - one call of a model: waits for its turn, calls the plugin, collects whole UTF-8
 * text, stops when nobody waits for it.
 *
 * Every route that makes text goes through here, so that admission, cancellation, metrics and
 * retiring a broken model are the same for all.
 */
#ifndef AIRLOCK_GENERATION_H
#define AIRLOCK_GENERATION_H

#include "common/bytes.h"
#include "server/models.h"

/* What the caller of a generation decides. */
struct generation_caller {
    /* [any] True: stop, nobody wants the answer.  Asked often; cheap. */
    bool (*gone)(void *ctx);
    void *ctx;
    uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0: none */
};

/* What came of it; valid also when it failed. */
struct generation {
    struct bytes text; /* valid UTF-8; the caller frees it */
    llm_stats stats;
    uint64_t wait_ns; /* for its turn */
    uint64_t run_ns;  /* in the plugin */
};

/*
 * Runs request (its adapter member is set from adapter, NULL: base).  0, or -1 with err:
 * AIRLOCK_E_REQUEST    the client's fault, text for the client
 * AIRLOCK_E_BUSY       the queue is full
 * AIRLOCK_E_CANCELLED  gone() said so
 * AIRLOCK_E_TIMEOUT    the deadline passed
 * anything else        text for the log only
 * [any]
 */
int generation_run(struct model *model, struct model_adapter *adapter, llm_request *request,
                   const struct generation_caller *caller, struct generation *out,
                   struct airlock_error *err);

#endif
