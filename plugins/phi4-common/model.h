/*
 * model.h - a Phi-4 model behind the ABI: what the plugins of one text model have in common.
 *
 * A plugin's file says what is its own in a struct phi4_variant and puts the functions here into
 * its llm_model_class; their contracts are those of llm_model.h.
 */
#ifndef AIRLOCK_PHI4_MODEL_H
#define AIRLOCK_PHI4_MODEL_H

#include "generate.h"

#include <limits.h>

struct json_object;

/* What one plugin has that the other has not.  Functions may be NULL; each returns 0, or -1 with
 * err. */
struct phi4_variant {
    const char *name;                                     /* begins the errors, eg: "phi4-mini" */
    const char *const *option_keys;                       /* of "options", ends with NULL */
    int (*init)(llm_model *m, struct airlock_error *err); /* m is zeroed but for its host */
    int (*read_options)(llm_model *m, struct json_object *options, struct airlock_error *err);
    uint64_t (*besides)(void *m,
                        const struct safetensors *st);    /* of engine_options, m: llm_model */
    int (*load)(llm_model *m, struct airlock_error *err); /* the engine is open */
    void (*unload)(llm_model *m); /* after init, whatever failed; the engine is still open */
    const struct generate_media_calls *media;
};

struct llm_model {
    const llm_host *host;
    const struct phi4_variant *variant;
    void *media; /* the variant's own */
    char dir[PATH_MAX];
    char device[16]; /* what it computes on: "cpu" or "cuda:N" */
    const struct ops *ops;
    struct engine_options options;
    uint64_t adapter_memory; /* bytes of the device for adapters */
    bool original_prompt;
    struct engine *engine;
    struct model_sites sites;
    struct adapters adapters;
};

llm_status phi4_create(const struct phi4_variant *variant, const llm_host *host,
                       const llm_config *config, llm_model **out, llm_error *error);
llm_status phi4_load(llm_model *m, const llm_sink *sink, llm_error *error);
llm_status phi4_generate(llm_model *m, const llm_request *request, const llm_sink *sink,
                         llm_stats *stats, llm_error *error);
void phi4_destroy(llm_model *m);
const llm_site *phi4_site(llm_model *m, uint64_t i);
const char *phi4_device(llm_model *m);
llm_status phi4_attach(llm_model *m, const llm_adapter *adapter, llm_error *error);
void phi4_detach(llm_model *m, const llm_adapter *adapter);

/* What generate() works with.  0, or -1 with err: load() has not succeeded. */
int phi4_context(llm_model *m, struct generate_context *out, struct airlock_error *err);
/* Tells a failure as the ABI does; out: NULL allowed.  The status to return. */
llm_status phi4_failed(const llm_model *m, llm_error *out, const struct airlock_error *err);

/* Of every Phi-4 plugin's option_keys and options_schema. */
#define PHI4_OPTION_KEYS                                                                           \
    "kv_dtype", "original_prompt", "prefill_chunk", "device_memory", "adapter_memory",             \
        "fp8_activations"
#define PHI4_OPTIONS_SCHEMA                                                                        \
    "\"kv_dtype\":{\"enum\":[\"auto\",\"fp8\"],\"description\":\"keys and values as the weights "  \
    "are "                                                                                         \
    "stored, or in half the memory at a cost in quality\"},"                                       \
    "\"original_prompt\":{\"type\":\"boolean\",\"default\":false,\"description\":"                 \
    "\"recognise control tokens such as <|end|> in message content, as the original does\"},"      \
    "\"prefill_chunk\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":4096,\"default\":64,"       \
    "\"description\":\"prompt tokens computed per step while others wait for their next "          \
    "token\"},"                                                                                    \
    "\"device_memory\":{\"type\":[\"integer\",\"string\"],\"description\":\"most of a GPU's "      \
    "memory "                                                                                      \
    "that the model takes, e.g. 8GiB (default: what is free)\"},"                                  \
    "\"adapter_memory\":{\"type\":[\"integer\",\"string\"],\"description\":\"GPU memory for the "  \
    "adapters in use, e.g. 2GiB (default: 1GiB); the others wait in host memory\"},"               \
    "\"fp8_activations\":{\"type\":\"boolean\",\"default\":false,\"description\":\"with dtype "    \
    "fp8 on a GPU: steps of more than 8 rows multiply in fp8, faster and less exactly\"}"

#endif
