/*
 * matrix_host.c - a host for the version matrix, built against the 1.0 headers or a made-up 1.1;
 * runs one plugin.
 *
 * With -DFORGETFUL it calls a newer function without LLM_HAS, as a careless host would.
 */
#include "common/plugin_descriptor.h"

#include <airlock/llm_model.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static int32_t print(const llm_sink *sink, const char *bytes, uint64_t n)
{
    (void)sink;
    fwrite(bytes, 1, n, stdout);
    return 0;
}

static int32_t go_on(const llm_sink *sink)
{
    (void)sink;
    return 0;
}

static int run(const llm_model_class *c)
{
    llm_host host = { .struct_size = sizeof host, .abi_minor = LLM_ABI_MINOR };
    llm_config config = { .struct_size = sizeof config };
    llm_error err = { .struct_size = sizeof err };
    llm_sink sink = { .struct_size = sizeof sink, .emit = print, .cancelled = go_on };
    llm_stats stats = { .struct_size = sizeof stats };
    llm_params params = { .struct_size = sizeof params };
    llm_request request = { .struct_size = sizeof request, .params = &params };
    llm_model *model = NULL;
    if (c->create(&host, &config, &model, &err) != LLM_OK || c->load(model, &sink, &err) != LLM_OK)
        return 3;
#if LLM_ABI_MINOR >= 1
    request.mood = 7;
#ifdef FORGETFUL
    if (c->warmup)
        c->warmup(model, &err);
#else
    if (LLM_HAS(c, llm_model_class, warmup) && c->warmup)
        c->warmup(model, &err);
#endif
#endif
    llm_status status = c->generate(model, &request, &sink, &stats, &err);
    c->destroy(model);
    return status == LLM_OK ? 0 : 3;
}

int main(int argc, char **argv)
{
    struct airlock_error err;
    void *object = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    const llm_plugin *(*query)(void);
    void *symbol = object ? dlsym(object, "llm_plugin_query_1") : NULL;
    if (!symbol) {
        fprintf(stderr, "%s\n", dlerror());
        return 2;
    }
    memcpy(&query, &symbol, sizeof query);
    if (plugin_descriptor_judge(query(), NULL, LLM_ABI_MINOR, &err) != 0) {
        puts(err.text);
        return 1;
    }
    return run(query()->classes[0]->impl);
}
