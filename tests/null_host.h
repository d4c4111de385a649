/* null_host.h - a host and a sink that do nothing, for programs that open a model plugin
 * themselves. */
#ifndef NULL_HOST_H
#define NULL_HOST_H

#include <airlock/llm_model.h>

#include <dlfcn.h>
#include <string.h>

static inline llm_str str(const char *text)
{
    return (llm_str){ text, strlen(text) };
}

static inline void null_log(const llm_host *host, int32_t level, const char *text, uint64_t size)
{
    (void)host, (void)level, (void)text, (void)size;
}

static inline const void *null_service(const llm_host *host, const char *id)
{
    (void)host, (void)id;
    return NULL;
}

/* Of a sink: takes the text and forgets it; nobody wants the answer to end. */
static inline int32_t null_emit(const llm_sink *sink, const char *bytes, uint64_t n)
{
    (void)sink, (void)bytes, (void)n;
    return 0;
}

static inline int32_t never_cancelled(const llm_sink *sink)
{
    (void)sink;
    return 0;
}

/* The first class of the plugin in this file, which stays open; NULL: dlerror() says why. */
static inline const llm_model_class *model_class_of(const char *path)
{
    void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!so)
        return NULL;
    const llm_plugin *(*query)(void) = (const llm_plugin *(*)(void))dlsym(so, "llm_plugin_query_1");
    return query ? query()->classes[0]->impl : NULL;
}

#endif
