/*
 * models.h - the models and adapters that the configuration names, loaded, and how a request's name
 * finds them.
 */
#ifndef AIRLOCK_MODELS_H
#define AIRLOCK_MODELS_H

#include "common/limits.h"
#include "server/admission.h"
#include "server/model_config.h"
#include "server/metrics.h"
#include "server/plugin_host.h"
#include "server/plugin_loader.h"

#include <airlock/llm_adapter.h>
#include <airlock/llm_model.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* One adapter; made, attached and freed by adapters.c.  Does not move while it lives. */
struct model_adapter {
    char *name, *path; /* owned */
    struct plugin_host host;
    llm_adapter abi; /* inst NULL: not open */
    bool attached;
    uint64_t memory; /* bytes on its device; 0: its plugin does not say */
    struct admission admission;
    unsigned users; /* requests that hold it; under the model's lock, as leaving */
    bool leaving;   /* being unloaded: found by nobody */
};

struct model {
    const struct model_config *config;
    struct plugin_host host;
    const struct plugin *plugin;
    const llm_class *described;
    const llm_model_class *cls;
    llm_model *instance;                            /* NULL: not made */
    const struct plugin *adapter_plugin;            /* NULL: no adapters */
    const llm_adapter_class *adapter_cls;           /* of all its adapters */
    pthread_mutex_t control;                        /* held while an adapter comes or goes */
    pthread_mutex_t lock;                           /* of what follows */
    pthread_cond_t released;                        /* an adapter's last user went */
    struct model_adapter *adapters[LIMIT_ADAPTERS]; /* by slot; NULL: free */
    size_t n_adapters;
    /* --- no lock needed --- */
    struct admission base;      /* requests without adapter */
    struct admission instances; /* all requests: the class's max_concurrent */
    atomic_bool retired;        /* after LLM_E_DEVICE: no more requests */
    struct metrics metrics;
};

struct models {
    struct model *all;
    size_t n;
};

/* How loading tells about itself.  Members may be NULL. */
struct models_watch {
    void (*progress)(void *ctx, const char *name, uint64_t done, uint64_t total); /* [any] */
    bool (*cancelled)(void *ctx);                                                 /* [any] */
    void *ctx;
};

/*
 * Finds every class and checks every option first, then creates and loads model after model, opens
 * its adapters and attaches them.  more_adapters: adapters may come later, so the adapter plugin is
 * loaded for models that have none yet.  Main thread.  config and loader outlive the models.  0, or
 * -1 with nothing to free and err naming the model.
 */
int models_open(const struct server_config *config, struct plugin_loader *loader,
                bool more_adapters, const struct models_watch *watch, struct models *out,
                struct airlock_error *err);

/* Nothing is running. */
void models_close(struct models *models);

/* By a configured name, or by class: "Phi4MiniInstruct" is the last entry of class
 * LLMModelPhi4MiniInstruct, as in the original.  NULL: none. */
struct model *models_find(const struct models *models, const char *name, size_t size);

/* Of the model now: requests running, and waiting in any of its queues; adapters. */
void model_count(struct model *model, unsigned *running, unsigned *waiting, unsigned *adapters);

#endif
