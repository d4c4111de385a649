/* adapter_plugin.c - an adapter plugin for the server's tests: opens any path but "broken", checks
 * the sites service. */
#include <airlock/llm_adapter.h>
#include <stdlib.h>
#include <string.h>

struct llm_adapter_inst {
    const llm_host *host;
};

static llm_status fake_open(const llm_host *host, const llm_config *config, llm_adapter_inst **out,
                            llm_error *err)
{
    const llm_svc_sites *sites = host->service(host, LLM_SVC_SITES);
    const char *why = NULL;
    if (!sites || !sites->at(host, 0) || sites->at(host, 1) || !sites->base_model(host))
        why = "fake adapter: the sites of the model are not told";
    else if (config->path.len >= 6 &&
             memcmp(config->path.ptr + config->path.len - 6, "broken", 6) == 0)
        why = "fake adapter: the checkpoint is broken";
    else if (config->device.len != 3 || memcmp(config->device.ptr, "cpu", 3) != 0)
        why = "fake adapter: the device is not the model's";
    if (why) {
        strcpy(err->text, why);
        return err->code = LLM_E_CONFIG;
    }
    *out = calloc(1, sizeof **out);
    if (!*out)
        return LLM_E_NO_MEMORY;
    (*out)->host = host;
    return LLM_OK;
}

static const llm_lora_target *fake_target(llm_adapter_inst *inst, const char *module)
{
    (void)inst, (void)module;
    return NULL;
}

static llm_status fake_apply(llm_adapter_inst *inst, const llm_lora_target *target,
                             const llm_lora_io *io, llm_error *err)
{
    (void)inst, (void)target, (void)io, (void)err;
    return LLM_OK;
}

static void fake_close(llm_adapter_inst *inst)
{
    inst->host->log(inst->host, LLM_LOG_INFO, "closed", 6);
    free(inst);
}

static uint64_t fake_memory(llm_adapter_inst *inst)
{
    (void)inst;
    return 4711;
}

static const llm_adapter_class adapter = { .struct_size = sizeof(llm_adapter_class),
                                           .open = fake_open,
                                           .target = fake_target,
                                           .apply = fake_apply,
                                           .close = fake_close,
                                           .memory = fake_memory };
static const llm_class adapter_class = { sizeof(llm_class), LLM_KIND_ADAPTER, "FakeAdapter", NULL,
                                         &adapter };
static const llm_class *const classes[] = { &adapter_class, NULL };
static const llm_plugin plugin = { LLM_PLUGIN_HEAD, "org.airlock.test.adapter", "1.0.0", classes };

const llm_plugin *llm_plugin_query_1(void)
{
    return &plugin;
}
