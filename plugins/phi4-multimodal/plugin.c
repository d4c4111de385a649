/* plugin.c - the phi4-multimodal plugin: entry symbol and vtable around the text model, with
 * pictures and sounds. */
#include "config.h"

#include "common/json.h"
#include "media.h"
#include "media_bytes.h"
#include "phi4-common/extensions.h"
#include "phi4-common/model.h"

#include <stdlib.h>
#include <string.h>

LLM_NOTE(LLM_KIND_MODEL);

static const char options_schema[] =
    "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{" PHI4_OPTIONS_SCHEMA ","
    "\"media_worker\":{\"type\":\"string\",\"description\":\"absolute path of the program that "
    "decodes pictures and sounds (default: " AIRLOCK_LIBEXEC_DIR "/airlock-media-worker)\"},"
    "\"media_cache_mib\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":1048576,\"default\":256,"
    "\"description\":\"MiB of memory for the embeddings of pictures and sounds that may come "
    "again\"}}}";

static const char *const option_keys[] = { PHI4_OPTION_KEYS, "media_worker", "media_cache_mib",
                                           NULL };

/* The variant's own. */
struct multimodal {
    struct media *media;
    char worker[PATH_MAX];
    int64_t cache_mib;
};

static int init(llm_model *m, struct airlock_error *err)
{
    struct multimodal *own = calloc(1, sizeof *own);
    if (!own)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
    m->media = own;
    strcpy(own->worker, AIRLOCK_LIBEXEC_DIR "/airlock-media-worker");
    own->cache_mib = 256;
    own->media = media_new(&m->adapters.hook, err);
    if (!own->media)
        return -1;
    m->options.hook = media_hook(own->media);
    return 0;
}

static int read_options(llm_model *m, struct json_object *options, struct airlock_error *err)
{
    struct multimodal *own = m->media;
    const char *path = own->worker;
    if (json_get_string(options, "options.", "media_worker", &path, NULL, err) < 0)
        return -1;
    if (json_get_int(options, "options.", "media_cache_mib", 0, 1 << 20, &own->cache_mib, err) < 0)
        return -1;
    if (path[0] != '/' || strlen(path) >= sizeof own->worker)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "options.media_worker must be an absolute path");
    memmove(own->worker, path, strlen(path) + 1);
    return 0;
}

/* A checkpoint without them may be meant so, but mostly a folder was forgotten. */
static void warn_of_missing(const llm_model *m, const struct media *media)
{
    static const char *const lines[] = {
        [BUILTIN_VISION] = "the checkpoint has no vision adapter, neither among its weights nor in "
                           "vision-lora: pictures are read without it",
        [BUILTIN_SPEECH] = "the checkpoint has no speech adapter, neither among its weights nor in "
                           "speech-lora: sounds are heard without it"
    };
    for (size_t k = 0; k < BUILTIN_KINDS; k++)
        if (!media_has_adapter(media, (enum builtin_kind)k))
            m->host->log(m->host, LLM_LOG_WARNING, lines[k], strlen(lines[k]));
}

static uint64_t besides(void *ctx, const struct safetensors *st)
{
    const llm_model *m = ctx;
    return media_weights_bytes(st, m->dir, m->ops->act);
}

static int load(llm_model *m, struct airlock_error *err)
{
    struct multimodal *own = m->media;
    const struct media_source from = { .engine = m->engine,
                                       .ops = m->ops,
                                       .device = &m->options.device,
                                       .dir = m->dir,
                                       .sites = &m->sites,
                                       .worker = own->worker,
                                       .cache_bytes = (size_t)own->cache_mib << 20 };
    if (media_load(own->media, &from, err))
        return -1;
    warn_of_missing(m, own->media);
    return 0;
}

static void unload(llm_model *m)
{
    struct multimodal *own = m->media;
    if (own)
        media_free(own->media);
    free(own);
    m->media = NULL;
}

static int begin(void *ctx, const llm_request *r, struct chat_message *messages, size_t n,
                 struct generate_media *media, struct airlock_error *err)
{
    return media_calls.begin(((struct multimodal *)ctx)->media, r, messages, n, media, err);
}

static int embed(void *ctx, struct generate_media *media, struct airlock_error *err)
{
    return media_calls.embed(((struct multimodal *)ctx)->media, media, err);
}

static void end(void *ctx, struct generate_media *media)
{
    media_calls.end(((struct multimodal *)ctx)->media, media);
}

static const struct generate_media_calls calls = { begin, embed, end };

static const struct phi4_variant variant = { .name = "phi4-multimodal",
                                             .option_keys = option_keys,
                                             .init = init,
                                             .read_options = read_options,
                                             .besides = besides,
                                             .load = load,
                                             .unload = unload,
                                             .media = &calls };

static llm_status create(const llm_host *host, const llm_config *config, llm_model **out,
                         llm_error *error)
{
    return phi4_create(&variant, host, config, out, error);
}

static const llm_model_class multimodal_model = {
    .struct_size = sizeof(llm_model_class),
    .caps = LLM_CAP_IMAGES | LLM_CAP_AUDIOS | LLM_CAP_ADAPTERS | LLM_CAP_PROMPT | LLM_CAP_STOP |
            LLM_CAP_LOGIT_BIAS | LLM_CAP_LOGPROBS | LLM_CAP_SEED | LLM_CAP_MORE_ADAPTERS,
    .max_concurrent = 0,
    .create = create,
    .load = phi4_load,
    .generate = phi4_generate,
    .destroy = phi4_destroy,
    .extension = phi4_extension,
    .site = phi4_site,
    .attach = phi4_attach,
    .detach = phi4_detach,
    .device = phi4_device
};

static const llm_class multimodal_class = { .struct_size = sizeof(llm_class),
                                            .kind = LLM_KIND_MODEL,
                                            .name = "LLMModelPhi4MultimodalInstruct",
                                            .options_schema = options_schema,
                                            .impl = &multimodal_model };

static const llm_class *const classes[] = { &multimodal_class, NULL };

static const llm_plugin plugin = { LLM_PLUGIN_HEAD, "airlock.phi4-multimodal", PACKAGE_VERSION,
                                   classes };

const llm_plugin *llm_plugin_query_1(void)
{
    return &plugin;
}
