/*
 * adapters.h - the model's linear layers as ABI sites, the adapters attached to them, and the
 * engine's hook that calls them.
 */
#ifndef AIRLOCK_PHI4_ADAPTERS_H
#define AIRLOCK_PHI4_ADAPTERS_H

#include "engine/engine.h"
#include "residents.h"

#include <airlock/llm_adapter.h>
#include <pthread.h>

/* ---- sites ---- */

struct model_sites {
    llm_site *sites; /* [n]; site i is the engine's linear site i */
    size_t n;
    struct site_names *names; /* what the sites point to */
};

/* The four linear layers of each layer, q/k/v and gate/up as parts.  0, or -1: out of memory. */
int model_sites_init(struct model_sites *s, const struct phi4_config *config);
void model_sites_free(struct model_sites *s);

/* ---- attached adapters ---- */

/* What one adapter does on each site. */
struct adapter_binding {
    struct adapter_binding *next;
    const llm_adapter *adapter;
    uint64_t version;                /* never the same for two bindings of a model */
    const llm_lora_target **targets; /* [sites.n]; NULL: leaves the site alone */
    struct resident resident;        /* where a device of its own memory has them */
};

struct adapters {
    pthread_mutex_t lock;
    struct adapter_binding *list; /* under lock */
    uint64_t last_version;        /* under lock */
    const struct model_sites *sites;
    uint32_t act;                      /* LLM_F32, ...: of activations */
    const struct ops_threads *threads; /* NULL: none to lend */
    void *stream;                      /* CUDA: what the engine's ops are enqueued on */
    struct linear_hook hook;
    struct residents residents; /* ops NULL: the device's memory is the host's */
    /* The engine thread's */
    llm_lora_segment *segments; /* [ENGINE_MAX_BATCH] */
    const llm_lora_segment **batch;
    struct ops_lora_segment *direct; /* [ENGINE_MAX_BATCH] */
    struct resident **step;          /* [ENGINE_MAX_BATCH * LINEAR_MAX_ADAPTERS] */
};

/* hook can be handed to the engine at once; sites, act, threads and stream are filled in before the
 * first request.  0, or -1: out of memory. */
int adapters_init(struct adapters *a);
void adapters_free(struct adapters *a);

enum { ADAPTERS_DEFAULT_MIB = 1024 }; /* of the device's memory */

/* The device has memory of its own: matrices are copied there, up to budget bytes, and multiplied
 * by its own ops.  Before the first request; ops and dev outlive a. */
void adapters_use_device(struct adapters *a, const struct ops *ops, struct ops_device *dev,
                         uint64_t budget);

/* Checks the adapter's targets against the sites: AIRLOCK_E_CONFIG names module and shapes. */
int adapters_attach(struct adapters *a, const llm_adapter *adapter, struct airlock_error *err);
/* Takes the binding out of the list; the caller frees it with adapter_binding_free() when no
 * request uses it any more.  NULL: it was not attached. */
struct adapter_binding *adapters_detach(struct adapters *a, const llm_adapter *adapter);
void adapter_binding_free(struct adapters *a, struct adapter_binding *b);
/* NULL: not attached. */
const struct adapter_binding *adapters_find(struct adapters *a, const llm_adapter *adapter);

#endif
