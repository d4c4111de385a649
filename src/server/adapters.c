/* adapters.c - see adapters.h. */
#include "server/adapters.h"

#include "common/io.h"
#include "common/log.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static llm_str str(const char *s)
{
    llm_str out = { s, strlen(s) };
    return out;
}

/* Where a loaded model computes; its adapters go there. */
static const char *device_of(const struct model *m)
{
    const char *device = m->cls->device ? m->cls->device(m->instance) : NULL;
    return device ? device : "cpu";
}

/* ---- holding --------------------------------------------------------------------------------- */

/* Lock held. */
static struct model_adapter *find(struct model *m, const char *name, size_t size)
{
    for (size_t i = 0; i < LIMIT_ADAPTERS; i++) {
        struct model_adapter *a = m->adapters[i];
        if (a && strlen(a->name) == size && memcmp(a->name, name, size) == 0)
            return a;
    }
    return NULL;
}

struct model_adapter *adapter_hold(struct model *m, const char *name, size_t size)
{
    pthread_mutex_lock(&m->lock);
    struct model_adapter *a = find(m, name, size);
    if (a && a->leaving)
        a = NULL;
    if (a)
        a->users++;
    pthread_mutex_unlock(&m->lock);
    return a;
}

void adapter_drop(struct model *m, struct model_adapter *a)
{
    if (!a)
        return;
    pthread_mutex_lock(&m->lock);
    if (--a->users == 0)
        pthread_cond_broadcast(&m->released);
    pthread_mutex_unlock(&m->lock);
}

/* ---- coming ---------------------------------------------------------------------------------- */

static void adapter_free(struct model *m, struct model_adapter *a)
{
    if (!a)
        return;
    if (a->attached && m->cls->detach)
        m->cls->detach(m->instance, &a->abi);
    if (a->abi.inst)
        m->adapter_cls->close(a->abi.inst);
    admission_destroy(&a->admission);
    free(a->name);
    free(a->path);
    free(a);
}

static struct model_adapter *adapter_new(struct model *m, const char *name, const char *path)
{
    struct model_adapter *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    plugin_host_init(&a->host, m->config->name, name);
    plugin_host_serve_sites(&a->host, m->cls, m->instance, m->config->written_path);
    admission_init(&a->admission, m->config->max_concurrent_per_adapter, m->config->queue);
    a->name = strdup(name);
    a->path = strdup(path);
    if (a->name && a->path)
        return a;
    adapter_free(m, a);
    return NULL;
}

/* A free slot for an adapter of that name.  Control held, so that the slot stays free. */
static int find_slot(struct model *m, const char *name, size_t *slot, struct airlock_error *err)
{
    pthread_mutex_lock(&m->lock);
    bool taken = find(m, name, strlen(name));
    *slot = 0;
    while (*slot < LIMIT_ADAPTERS && m->adapters[*slot])
        ++*slot;
    pthread_mutex_unlock(&m->lock);
    if (taken)
        return airlock_error_set(err, AIRLOCK_E_REQUEST,
                                 "The model has an adapter of this name: unload it first");
    if (*slot == LIMIT_ADAPTERS)
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "The model has %d adapters: unload one",
                                 LIMIT_ADAPTERS);
    return 0;
}

static int open_and_attach(struct model *m, struct model_adapter *a, size_t slot,
                           struct airlock_error *err)
{
    static atomic_ullong versions;
    const char *device = device_of(m);
    llm_config config = { .struct_size = sizeof config,
                          .name = str(a->name),
                          .path = str(a->path),
                          .device = str(device),
                          .threads = m->config->threads };
    llm_error why = { .struct_size = sizeof why };
    llm_adapter_inst *inst = NULL;
    llm_status status = m->adapter_cls->open(&a->host.abi, &config, &inst, &why);
    if (status != LLM_OK)
        return plugin_host_error(&a->host, status, &why, err);
    if (!inst)
        return airlock_error_set(err, AIRLOCK_E_INTERNAL, "%s: open() gave no instance",
                                 a->host.label);
    a->abi = (llm_adapter){ sizeof a->abi, (uint32_t)slot, atomic_fetch_add(&versions, 1) + 1,
                            a->name,       m->adapter_cls, inst };
    why = (llm_error){ .struct_size = sizeof why };
    status = m->cls->attach(m->instance, &a->abi, &why);
    if (status != LLM_OK)
        return plugin_host_error(&a->host, status, &why, err);
    a->attached = true;
    if (LLM_HAS(m->adapter_cls, llm_adapter_class, memory) && m->adapter_cls->memory)
        a->memory = m->adapter_cls->memory(inst);
    return 0;
}

/* A plugin's "not valid" is about files here, so it is not the client's sentence. */
static int load_error(struct airlock_error *err)
{
    if (err && (err->code == AIRLOCK_E_REQUEST || err->code == AIRLOCK_E_UNSUPPORTED))
        err->code = AIRLOCK_E_CONFIG;
    return -1;
}

int adapter_load(struct model *m, const char *name, const char *path, struct airlock_error *err)
{
    size_t slot;
    if (!m->adapter_cls)
        return airlock_error_set(err, AIRLOCK_E_UNSUPPORTED, "This model takes no adapters");
    pthread_mutex_lock(&m->control);
    int rc = find_slot(m, name, &slot, err);
    if (rc == 0) {
        struct model_adapter *a = adapter_new(m, name, path);
        if (!a)
            rc = airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for an adapter");
        else if (open_and_attach(m, a, slot, err) < 0)
            rc = load_error(err);
        if (rc < 0) {
            adapter_free(m, a);
        } else {
            pthread_mutex_lock(&m->lock);
            m->adapters[slot] = a;
            m->n_adapters++;
            pthread_mutex_unlock(&m->lock);
        }
    }
    pthread_mutex_unlock(&m->control);
    return rc;
}

/* ---- going ----------------------------------------------------------------------------------- */

/* Lock held.  False: somebody still held it when the time was over. */
static bool wait_unused(struct model *m, struct model_adapter *a, uint64_t deadline_ns)
{
    struct timespec until = { (time_t)(deadline_ns / 1000000000u),
                              (long)(deadline_ns % 1000000000u) };
    while (a->users && io_now_ns() < deadline_ns)
        pthread_cond_timedwait(&m->released, &m->lock, &until);
    return a->users == 0;
}

int adapter_unload(struct model *m, const char *name, size_t size, uint64_t deadline_ns,
                   struct airlock_error *err)
{
    struct model_adapter *a;
    int rc = 0;
    pthread_mutex_lock(&m->lock);
    a = find(m, name, size);
    if (!a || a->leaving) {
        a = NULL;
        rc = airlock_error_set(err, AIRLOCK_E_NOT_FOUND, "The model has no adapter of this name");
    } else {
        a->leaving = true; /* nobody else takes it away now */
        if (!wait_unused(m, a, deadline_ns)) {
            a->leaving = false;
            a = NULL;
            rc = airlock_error_set(err, AIRLOCK_E_BUSY, "Requests still use the adapter");
        }
    }
    pthread_mutex_unlock(&m->lock);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&m->control);
    pthread_mutex_lock(&m->lock);
    m->adapters[a->abi.slot] = NULL;
    m->n_adapters--;
    pthread_mutex_unlock(&m->lock);
    adapter_free(m, a);
    pthread_mutex_unlock(&m->control);
    return 0;
}

/* ---- all of them ----------------------------------------------------------------------------- */

void adapters_each(struct model *m, void (*fn)(void *ctx, const struct model_adapter *adapter),
                   void *ctx)
{
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < LIMIT_ADAPTERS; i++)
        if (m->adapters[i] && !m->adapters[i]->leaving)
            fn(ctx, m->adapters[i]);
    pthread_mutex_unlock(&m->lock);
}

unsigned adapters_waiting(struct model *m)
{
    unsigned running, waiting, sum = 0;
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < LIMIT_ADAPTERS; i++) {
        if (!m->adapters[i])
            continue;
        admission_count(&m->adapters[i]->admission, &running, &waiting);
        sum += waiting;
    }
    pthread_mutex_unlock(&m->lock);
    return sum;
}

void adapters_close(struct model *m)
{
    for (size_t i = LIMIT_ADAPTERS; i > 0; i--) {
        adapter_free(m, m->adapters[i - 1]);
        m->adapters[i - 1] = NULL;
    }
}
