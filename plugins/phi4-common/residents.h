/*
 * residents.h - adapters' matrices on the model's device, within a budget: the least recently used
 * make room for those that a step needs.
 *
 * An adapter's own matrices lie in host memory that the device can read by itself (llm_lora_target:
 * addresses on the model's device), so one that has no room is used from there: slow, not wrong.
 * Copies are enqueued on the device's stream before the step that needs them.  A mutex is inside:
 * adapters go while others are used.
 */
#ifndef AIRLOCK_PHI4_RESIDENTS_H
#define AIRLOCK_PHI4_RESIDENTS_H

#include "ops/ops.h"

#include <airlock/llm_adapter.h>
#include <pthread.h>
#include <stdbool.h>

/* One adapter. */
struct resident {
    const llm_lora_target *const *targets; /* [n_targets], some NULL; the adapter's */
    size_t n_targets;
    size_t *offsets;       /* [n_targets + 1] of each target's A; B follows */
    struct resident *next; /* more recently used */
    char *data;            /* on the device; NULL: not there */
    size_t room;           /* bytes of data */
    bool listed, wanted;   /* wanted: by the present step */
};

struct residents {
    pthread_mutex_t lock;
    const struct ops *ops;
    struct ops_device *dev;
    uint64_t budget, used;             /* bytes */
    uint64_t loads, evictions, misses; /* misses: steps' adapters that found no room */
    uint64_t moves;                    /* counts every change of an address */
    struct resident *oldest;
};

/* 0, or -1: out of memory. */
int resident_init(struct resident *adapter, const llm_lora_target *const *targets,
                  size_t n_targets);
/* budget: bytes.  ops and dev outlive it. */
void residents_init(struct residents *r, const struct ops *ops, struct ops_device *dev,
                    uint64_t budget);
void residents_free(struct residents *r); /* all were dropped */

/* Makes those of the step ready; the engine's thread.  Nothing fails: what cannot be copied is used
 * where it is.  A number that changes with every change of an address. */
uint64_t residents_begin(struct residents *r, struct resident *const *step, size_t n);
/* Where A and B of a target lie in this step.  The engine's thread. */
void resident_find(const struct resident *adapter, size_t target, const void **a, const void **b);
/* Gives its memory back: no step uses it any more. */
void residents_drop(struct residents *r, struct resident *adapter);

#endif
