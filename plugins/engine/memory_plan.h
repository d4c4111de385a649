/*
 * memory_plan.h - what a model needs of a device's memory, added up before any of it is taken.
 *
 * The loader compares it with what is free; tests/test_memory_plan holds Phi-4-mini to the cards of
 * 6 and 8 GB with it.
 */
#ifndef AIRLOCK_MEMORY_PLAN_H
#define AIRLOCK_MEMORY_PLAN_H

#include "phi4_config.h"
#include "scheduler.h"

/* How a model is to be run. */
struct memory_use {
    enum ops_dtype dtype;    /* of the linear layers; 0: as stored */
    enum ops_dtype stored;   /* of the weights that are not compressed, as the device has them */
    enum ops_dtype kv_dtype; /* of keys and values */
    const struct scheduler_options *scheduler; /* forward.config is the model's */
};

/* Bytes. */
struct memory_plan {
    uint64_t weights;
    uint64_t kv_block; /* of OPS_KV_BLOCK tokens */
    /* Activations, logits and what the device's libraries and kernels work in. */
    uint64_t buffers;
};

struct memory_plan memory_plan_make(const struct phi4_config *config, const struct memory_use *use);

#endif
