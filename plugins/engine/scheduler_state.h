/*
 * scheduler_state.h - what the scheduler's files share: its state, and what each does to it.
 *
 * scheduler.c owns the thread and the callers' side, scheduler_plan.c chooses the rows of a step,
 * scheduler_step.c computes them and hands out the results.
 */
#ifndef AIRLOCK_SCHEDULER_STATE_H
#define AIRLOCK_SCHEDULER_STATE_H

#include "sample_batch.h"
#include "ticket.h"

enum {
    ALONE_FACTOR = 4, /* prompt rows of a step that makes nobody wait, in prefill_chunks */
    SPARE_PART = 4    /* part of a prefill_chunk that makes a step, which reads all weights anyway,
                         little slower */
};

struct scheduler {
    struct scheduler_options o;
    struct rope rope;
    struct phi4_forward *forward;
    pthread_t thread;

    pthread_mutex_t lock;
    pthread_cond_t work;  /* something was submitted, or stop */
    pthread_cond_t swept; /* a step is over and what was cancelled is gone */
    atomic_bool stop;
    bool dead; /* the device is lost */
    struct airlock_error dead_because;
    struct prefix_cache *prefixes; /* and o.kv */
    struct wait_queue waiting;
    struct scheduler_ticket **running; /* [max_batch], in order of admission */
    size_t n_running;
    struct scheduler_load counts; /* its counters; the rest is filled in when asked for */

    /* The thread's, for one step */
    struct scheduler_ticket **planned; /* [max_batch] */
    struct forward_seq *seqs;          /* [max_batch] */
    size_t n_planned;
    float *logits; /* [max_batch, vocab] */
    struct sampler_work work_space;
    bool device_chooses;        /* ops.sample is there */
    struct sample_batch sample; /* then: the choices of this step */
    size_t vocab, limit;        /* rows of the head; ids that may be chosen */
};

/* ---- scheduler.c; under the lock ---- */

/* Takes running[i] out of the list. */
struct scheduler_ticket *scheduler_running_take(struct scheduler *s, size_t i);
/* Gives its blocks back; what it needs of them is computed, or found, again. */
void scheduler_take_blocks(struct scheduler *s, struct scheduler_ticket *t);
/* The ticket is in no list any more: gives back its blocks and tells its caller.  err: NULL when it
 * ended well. */
void scheduler_finish(struct scheduler *s, struct scheduler_ticket *t,
                      const struct airlock_error *err);

/* ---- scheduler_plan.c; under the lock ---- */

/* Moves from the waiting to the running whom there is room for. */
void scheduler_admit(struct scheduler *s);
/* Fills planned, seqs and n_planned for the next step; 0 of them: plan again. */
void scheduler_plan(struct scheduler *s);

/* ---- scheduler_step.c; without the lock ---- */

/* phi4_forward_options.give_up: nobody in this step wants its result any more. */
bool scheduler_nobody_waits(void *scheduler);
/* Computes what was planned, chooses tokens, ends what is done. */
void scheduler_step(struct scheduler *s);

#endif
