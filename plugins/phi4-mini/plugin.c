/* plugin.c - the phi4-mini plugin: entry symbol and vtable around the text model. */
#include "config.h"

#include "phi4-common/extensions.h"
#include "phi4-common/model.h"

LLM_NOTE(LLM_KIND_MODEL);

static const char options_schema[] =
    "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{" PHI4_OPTIONS_SCHEMA "}}";

static const char *const option_keys[] = { PHI4_OPTION_KEYS, NULL };

static const struct phi4_variant variant = { .name = "phi4-mini", .option_keys = option_keys };

static llm_status create(const llm_host *host, const llm_config *config, llm_model **out,
                         llm_error *error)
{
    return phi4_create(&variant, host, config, out, error);
}

static const llm_model_class phi4_mini_model = { .struct_size = sizeof(llm_model_class),
                                                 .caps = LLM_CAP_ADAPTERS | LLM_CAP_PROMPT |
                                                         LLM_CAP_STOP | LLM_CAP_LOGIT_BIAS |
                                                         LLM_CAP_LOGPROBS | LLM_CAP_SEED |
                                                         LLM_CAP_MORE_ADAPTERS |
                                                         LLM_CAP_CONSTRAINT | LLM_CAP_TOOLS,
                                                 .max_concurrent = 0,
                                                 .create = create,
                                                 .load = phi4_load,
                                                 .generate = phi4_generate,
                                                 .destroy = phi4_destroy,
                                                 .extension = phi4_extension,
                                                 .site = phi4_site,
                                                 .attach = phi4_attach,
                                                 .detach = phi4_detach,
                                                 .device = phi4_device };

static const llm_class phi4_mini_class = { .struct_size = sizeof(llm_class),
                                           .kind = LLM_KIND_MODEL,
                                           .name = "LLMModelPhi4MiniInstruct",
                                           .options_schema = options_schema,
                                           .impl = &phi4_mini_model };

static const llm_class *const classes[] = { &phi4_mini_class, NULL };

static const llm_plugin plugin = { LLM_PLUGIN_HEAD, "airlock.phi4-mini", PACKAGE_VERSION, classes };

const llm_plugin *llm_plugin_query_1(void)
{
    return &plugin;
}
