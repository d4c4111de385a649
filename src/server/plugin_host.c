/* plugin_host.c - see plugin_host.h. */
#include "server/plugin_host.h"

#include "common/log.h"

#include <airlock/llm_adapter.h>
#include <stdio.h>
#include <string.h>

enum { LOG_TEXT_MAX = 1024 };

static void host_log(const llm_host *abi, int32_t level, const char *text, uint64_t n)
{
    const struct plugin_host *host = abi->ctx;
    enum log_level own = level <= LLM_LOG_DEBUG     ? LOG_LEVEL_DEBUG
                         : level == LLM_LOG_INFO    ? LOG_LEVEL_INFO
                         : level == LLM_LOG_WARNING ? LOG_LEVEL_WARNING
                                                    : LOG_LEVEL_ERROR;
    log_line(own, "%s: %.*s", host->label, (int)(n < LOG_TEXT_MAX ? n : LOG_TEXT_MAX),
             n ? text : "");
}

static const llm_site *site_at(const llm_host *abi, uint64_t i)
{
    const struct plugin_host *host = abi->ctx;
    return host->site_class->site(host->site_model, i);
}

static const char *base_model(const llm_host *abi)
{
    const struct plugin_host *host = abi->ctx;
    return host->base_model;
}

static const void *host_service(const llm_host *abi, const char *id)
{
    static const llm_svc_sites sites = { sizeof sites, 0, site_at, base_model };
    const struct plugin_host *host = abi->ctx;
    return host->site_class && strcmp(id, LLM_SVC_SITES) == 0 ? &sites : NULL;
}

void plugin_host_init(struct plugin_host *host, const char *model, const char *adapter)
{
    *host = (struct plugin_host){ 0 };
    snprintf(host->label, sizeof host->label, adapter ? "%s[%s]" : "%s", model, adapter);
    host->abi.struct_size = sizeof host->abi;
    host->abi.abi_minor = LLM_ABI_MINOR;
    host->abi.ctx = host;
    host->abi.log = host_log;
    host->abi.service = host_service;
}

void plugin_host_serve_sites(struct plugin_host *host, const llm_model_class *cls, llm_model *model,
                             const char *path)
{
    host->site_class = cls->site ? cls : NULL;
    host->site_model = model;
    host->base_model = path;
}

int plugin_host_error(const struct plugin_host *host, llm_status status, const llm_error *from,
                      struct airlock_error *err)
{
    static const struct {
        enum airlock_status code;
        const char *text; /* when the plugin says nothing */
    } known[] = { [LLM_E_INVALID] = { AIRLOCK_E_INTERNAL, "it says that it was called wrongly" },
                  [LLM_E_UNSUPPORTED] = { AIRLOCK_E_UNSUPPORTED, "not supported" },
                  [LLM_E_REQUEST] = { AIRLOCK_E_REQUEST, "The request is not valid" },
                  [LLM_E_CONFIG] = { AIRLOCK_E_CONFIG, "wrong configuration" },
                  [LLM_E_NO_MEMORY] = { AIRLOCK_E_NO_MEMORY, "out of memory" },
                  [LLM_E_DEVICE] = { AIRLOCK_E_DEVICE, "its device failed" },
                  [LLM_E_CANCELLED] = { AIRLOCK_E_CANCELLED, "cancelled" },
                  [LLM_E_INTERNAL] = { AIRLOCK_E_INTERNAL, "it failed and does not say why" } };
    size_t n = sizeof known / sizeof *known;
    size_t i = status > 0 && (size_t)status < n ? (size_t)status : LLM_E_INTERNAL;
    size_t size = strnlen(from->text, sizeof from->text);
    airlock_error_set(err, known[i].code, "%.*s", (int)size, from->text);
    if (!size)
        airlock_error_set(err, known[i].code, "%s", known[i].text);
    /* a client's sentence stands alone; the operator wants to know whose it is */
    return known[i].code == AIRLOCK_E_REQUEST ? -1 : airlock_error_wrap(err, "%s", host->label);
}
