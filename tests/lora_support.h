/* lora_support.h - opens one PEFT adapter through a LoRA plugin's own .so, as the server's host
 * does, for tests and tools. */
#ifndef AIRLOCK_TESTS_LORA_SUPPORT_H
#define AIRLOCK_TESTS_LORA_SUPPORT_H

#include "phi4-common/adapters.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lora_fixture {
    struct adapters adapters;
    struct model_sites sites;
    llm_host host;
    llm_svc_sites service;
    char base[512];
    const llm_adapter_class *cls;
    llm_adapter adapter;
    const struct adapter_binding *binding;
};

static inline const llm_site *lora_fixture_site(const llm_host *host, uint64_t i)
{
    const struct lora_fixture *f = host->ctx;
    return i < f->sites.n ? &f->sites.sites[i] : NULL;
}

static inline const char *lora_fixture_base(const llm_host *host)
{
    return ((const struct lora_fixture *)host->ctx)->base;
}

static inline void lora_fixture_log(const llm_host *host, int32_t level, const char *text,
                                    uint64_t size)
{
    (void)host, (void)level;
    fprintf(stderr, "adapter: %.*s\n", (int)size, text);
}

static inline const void *lora_fixture_service(const llm_host *host, const char *id)
{
    const struct lora_fixture *f = host->ctx;
    return strcmp(id, LLM_SVC_SITES) == 0 ? &f->service : NULL;
}

static inline int lora_fixture_init(struct lora_fixture *f, struct airlock_error *err)
{
    return adapters_init(&f->adapters)
               ? airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory")
               : 0;
}

static inline const llm_adapter_class *lora_fixture_class(const char *plugin,
                                                          struct airlock_error *err)
{
    void *so = dlopen(plugin, RTLD_NOW | RTLD_LOCAL);
    const llm_plugin *(*query)(void) =
        so ? (const llm_plugin *(*)(void))dlsym(so, "llm_plugin_query_1") : NULL;
    const llm_plugin *p = query ? query() : NULL;
    for (size_t i = 0; p && p->classes[i]; i++)
        if (p->classes[i]->kind == LLM_KIND_ADAPTER)
            return p->classes[i]->impl;
    airlock_error_set(err, AIRLOCK_E_CONFIG, "%s: no adapter class: %s", plugin,
                      so ? "not a LoRA plugin" : dlerror());
    return NULL;
}

/* Opens the adapter in dir and binds it: f->binding is what a sequence names. */
static inline int lora_fixture_open(struct lora_fixture *f, const char *plugin, const char *dir,
                                    const char *base, const struct phi4_config *config,
                                    const struct ops *ops, struct ops_device *dev,
                                    struct airlock_error *err)
{
    f->service = (llm_svc_sites){ .struct_size = sizeof f->service,
                                  .at = lora_fixture_site,
                                  .base_model = lora_fixture_base };
    f->host = (llm_host){ .struct_size = sizeof f->host,
                          .ctx = f,
                          .log = lora_fixture_log,
                          .service = lora_fixture_service };
    snprintf(f->base, sizeof f->base, "%s", base);
    if (model_sites_init(&f->sites, config))
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
    f->adapters.sites = &f->sites;
    f->adapters.act = (uint32_t)ops->act;
    f->adapters.threads = ops->threads(dev);
    f->adapters.stream = ops->stream(dev);
    const char *device = strcmp(ops->name, "cuda") == 0 ? "cuda:0" : ops->name;
    f->cls = lora_fixture_class(plugin, err);
    if (!f->cls)
        return -1;
    llm_config c = { .struct_size = sizeof c,
                     .name = { "test", 4 },
                     .path = { dir, strlen(dir) },
                     .device = { device, strlen(device) } };
    llm_error why = { .struct_size = sizeof why };
    if (f->cls->open(&f->host, &c, &f->adapter.inst, &why))
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%.480s", why.text);
    f->adapter.struct_size = sizeof f->adapter;
    f->adapter.version = 1;
    f->adapter.name = "test";
    f->adapter.cls = f->cls;
    if (adapters_attach(&f->adapters, &f->adapter, err))
        return -1;
    f->binding = adapters_find(&f->adapters, &f->adapter);
    return 0;
}

static inline void lora_fixture_close(struct lora_fixture *f)
{
    adapters_free(&f->adapters);
    if (f->adapter.inst)
        f->cls->close(f->adapter.inst);
    model_sites_free(&f->sites);
    memset(f, 0, sizeof *f);
}

#endif
