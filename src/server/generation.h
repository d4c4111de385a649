/*
 * generation.h - one call of a model: waits for its turn, calls the plugin, passes whole UTF-8
 * characters on as they come, stops when nobody waits for them.
 *
 * Every route that makes text goes through here, so that admission, cancellation, metrics and
 * retiring a broken model are the same for all.
 */
#ifndef AIRLOCK_GENERATION_H
#define AIRLOCK_GENERATION_H

#include "server/models.h"

/*
 * Where the output of one call goes.  text, token and tool_call are called by the plugin, from any
 * of its threads but never two at once; nonzero from text or tool_call: stop.
 */
struct generation_output {
    /* Whole characters; raw: how many of the plugin's bytes they and all before them stand for. */
    int (*text)(void *ctx, const char *text, size_t n, uint64_t raw);
    void (*token)(void *ctx, const llm_token *token);       /* NULL: not wanted */
    int (*tool_call)(void *ctx, const llm_tool_call *call); /* NULL: no tools were offered */
    bool (*gone)(void *ctx); /* [any] True: stop, nobody wants the answer.  Asked often; cheap. */
    void *ctx;
    const char *caller;   /* whose it is, for turns; "" if nobody says; borrowed */
    uint64_t start_ns;    /* when the request came: for the time to the first token */
    uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0: none */
};

/* What came of it; valid also when it failed. */
struct generation {
    llm_stats stats;
    uint64_t run_ns; /* in the plugin */
};

/*
 * Takes a place among the requests of the adapter (NULL: of the base model), waiting for its turn;
 * output says whose request it is.  0, then generation_leave() with the same place follows; or -1
 * with err: AIRLOCK_E_BUSY (the queue is full), AIRLOCK_E_CANCELLED, AIRLOCK_E_TIMEOUT.  [any]
 */
int generation_enter(struct model *model, struct model_adapter *adapter,
                     const struct generation_output *output, struct admission_place *place,
                     struct airlock_error *err);
void generation_leave(struct model *model, struct model_adapter *adapter,
                      struct admission_place *place);

/*
 * Runs request (its adapter member is set from adapter) inside such a place; several calls may
 * share one.  0, or -1 with err:
 * AIRLOCK_E_REQUEST    the client's fault, text for the client
 * AIRLOCK_E_CANCELLED  gone(), text() or tool_call() said so
 * AIRLOCK_E_TIMEOUT    the deadline passed
 * anything else        text for the log only
 * [any]
 */
int generation_run(struct model *model, struct model_adapter *adapter, llm_request *request,
                   const struct generation_output *output, struct generation *out,
                   struct airlock_error *err);

/* A plugin's other calls that count as one of max_concurrent: 0, or -1 as above. */
int generation_enter_instance(struct model *model, const struct generation_output *output,
                              struct admission_place *place, struct airlock_error *err);
void generation_leave_instance(struct model *model, struct admission_place *place);

#endif
