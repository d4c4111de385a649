/* models.c - see models.h. */
#include "server/models.h"

#include "common/io.h"
#include "common/limits.h"
#include "common/log.h"
#include "server/adapters.h"
#include "server/options_schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char CLASS_PREFIX[] = "LLMModel"; /* of the original's class names */
static const char DEFAULT_ADAPTER_PLUGIN[] = "lora";

static llm_str str(const char *s)
{
    llm_str out = { s, strlen(s) };
    return out;
}

/* The llm_sink of load(): progress and cancellation, no output. */
struct load_sink {
    llm_sink abi;
    const struct models_watch *watch;
    const char *name;
};

static int32_t refuse_output(const llm_sink *sink, const char *bytes, uint64_t n)
{
    (void)sink, (void)bytes, (void)n;
    return 0;
}

static int32_t load_cancelled(const llm_sink *sink)
{
    const struct load_sink *s = sink->ctx;
    return s->watch->cancelled && s->watch->cancelled(s->watch->ctx);
}

static void load_progress(const llm_sink *sink, uint64_t done, uint64_t total)
{
    const struct load_sink *s = sink->ctx;
    if (s->watch->progress)
        s->watch->progress(s->watch->ctx, s->name, done, total);
}

static llm_config instance_config(const char *name, const char *path, const char *device)
{
    llm_config out = { .struct_size = sizeof out };
    out.name = str(name);
    out.path = str(path);
    out.device = str(device);
    return out;
}

/* ---- before anything is made: classes and options -------------------------------------------- */

static int find_model_class(struct model *m, struct plugin_loader *loader,
                            struct airlock_error *err)
{
    const struct model_config *c = m->config;
    m->described = plugin_loader_find(loader, c->plugin, c->has_sha256 ? c->sha256 : NULL,
                                      c->class_name, LLM_KIND_MODEL, &m->plugin, err);
    if (!m->described)
        return -1;
    m->cls = m->described->impl;
    return options_check(m->described->options_schema, c->options, "options.", err);
}

static int find_adapter_class(struct model *m, struct plugin_loader *loader, bool more_adapters,
                              struct airlock_error *err)
{
    const struct model_config *c = m->config;
    bool able = (m->cls->caps & LLM_CAP_ADAPTERS) && m->cls->attach;
    if (c->n_adapters && !able)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "adapter_map: class %s takes no adapters",
                                 c->class_name);
    if (!able || (!c->n_adapters && !more_adapters))
        return 0;
    const llm_class *found =
        plugin_loader_find(loader, c->adapter_plugin ? c->adapter_plugin : DEFAULT_ADAPTER_PLUGIN,
                           NULL, NULL, LLM_KIND_ADAPTER, &m->adapter_plugin, err);
    if (!found)
        return -1;
    m->adapter_cls = found->impl;
    return 0;
}

static int prepare(struct model *m, const struct model_config *c, struct plugin_loader *loader,
                   bool more_adapters, struct airlock_error *err)
{
    m->config = c;
    plugin_host_init(&m->host, c->name, NULL);
    pthread_mutex_init(&m->control, NULL);
    pthread_mutex_init(&m->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&m->released, &attr);
    pthread_condattr_destroy(&attr);
    admission_init(&m->base, c->max_concurrent_per_adapter, c->queue);
    admission_init(&m->instances, 0, LIMIT_QUEUE_MAX);
    if (find_model_class(m, loader, err) < 0)
        return -1;
    m->instances.max_running = m->cls->max_concurrent;
    return find_adapter_class(m, loader, more_adapters, err);
}

/* ---- making and loading ---------------------------------------------------------------------- */

static int load_model(struct model *m, const struct models_watch *watch, struct airlock_error *err)
{
    const struct model_config *c = m->config;
    llm_config config = instance_config(c->name, c->model_path, c->device);
    config.dtype = str(c->dtype);
    config.options_json = str(c->options_json);
    config.max_context = c->max_context;
    config.max_batch = c->max_batch;
    config.kv_memory = c->kv_memory;
    config.threads = c->threads;
    llm_error why = { .struct_size = sizeof why };
    llm_model *instance = NULL;
    llm_status status = m->cls->create(&m->host.abi, &config, &instance, &why);
    if (status != LLM_OK)
        return plugin_host_error(&m->host, status, &why, err);
    if (!instance)
        return airlock_error_set(err, AIRLOCK_E_INTERNAL, "%s: create() gave no instance", c->name);
    m->instance = instance;

    struct load_sink sink = { .watch = watch, .name = c->name };
    sink.abi = (llm_sink){ .struct_size = sizeof sink.abi,
                           .ctx = &sink,
                           .emit = refuse_output,
                           .cancelled = load_cancelled,
                           .progress = load_progress };
    why = (llm_error){ .struct_size = sizeof why };
    status = m->cls->load(instance, &sink.abi, &why);
    return status == LLM_OK ? 0 : plugin_host_error(&m->host, status, &why, err);
}

static int bring_up(struct model *m, const struct models_watch *watch, struct airlock_error *err)
{
    uint64_t start = io_now_ns();
    if (load_model(m, watch, err) < 0)
        return -1;
    for (size_t i = 0; i < m->config->n_adapters; i++)
        if (adapter_load(m, m->config->adapters[i].name, m->config->adapters[i].path, err) < 0)
            return -1;
    log_info("%s: %s from %s ready with %zu adapter%s after %.1f s", m->config->name,
             m->config->class_name, m->plugin->path, m->n_adapters, m->n_adapters == 1 ? "" : "s",
             (double)(io_now_ns() - start) / 1e9);
    return 0;
}

int models_open(const struct server_config *config, struct plugin_loader *loader,
                bool more_adapters, const struct models_watch *watch, struct models *out,
                struct airlock_error *err)
{
    static const struct models_watch unwatched;
    *out = (struct models){ 0 };
    out->all = calloc(config->n_models, sizeof *out->all);
    if (!out->all)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
    int rc = 0;
    for (size_t i = 0; i < config->n_models && rc == 0; i++) {
        out->n = i + 1;
        rc = prepare(&out->all[i], &config->models[i], loader, more_adapters, err);
        if (rc < 0)
            airlock_error_wrap(err, "model %s", config->models[i].name);
    }
    for (size_t i = 0; i < config->n_models && rc == 0; i++)
        rc = bring_up(&out->all[i], watch ? watch : &unwatched, err);
    if (rc < 0)
        models_close(out);
    return rc;
}

void models_close(struct models *models)
{
    while (models->n) {
        struct model *m = &models->all[--models->n];
        adapters_close(m);
        if (m->instance)
            m->cls->destroy(m->instance);
        admission_destroy(&m->base);
        admission_destroy(&m->instances);
        pthread_cond_destroy(&m->released);
        pthread_mutex_destroy(&m->lock);
        pthread_mutex_destroy(&m->control);
    }
    free(models->all);
    *models = (struct models){ 0 };
}

/* ---- looking up ------------------------------------------------------------------------------ */

static bool same(const char *known, const char *name, size_t size)
{
    return strlen(known) == size && memcmp(known, name, size) == 0;
}

struct model *models_find(const struct models *models, const char *name, size_t size)
{
    for (size_t i = 0; i < models->n; i++)
        if (same(models->all[i].config->name, name, size))
            return &models->all[i];
    size_t prefix = sizeof CLASS_PREFIX - 1;
    for (size_t i = models->n; i > 0; i--) {
        const char *class_name = models->all[i - 1].config->class_name;
        if (strncmp(class_name, CLASS_PREFIX, prefix) == 0 && same(class_name + prefix, name, size))
            return &models->all[i - 1];
    }
    return NULL;
}

void model_count(struct model *model, unsigned *running, unsigned *waiting, unsigned *adapters)
{
    unsigned r, w;
    admission_count(&model->instances, running, waiting);
    admission_count(&model->base, &r, &w);
    *waiting += w + adapters_waiting(model);
    pthread_mutex_lock(&model->lock);
    *adapters = (unsigned)model->n_adapters;
    pthread_mutex_unlock(&model->lock);
}
