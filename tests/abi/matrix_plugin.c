/*
 * matrix_plugin.c - a model plugin for the version matrix, built against the 1.0 headers or a
 * made-up 1.1.
 */
#include <airlock/llm_model.h>
#include <stdlib.h>

struct llm_model {
    int nothing;
};

static struct llm_model the_model;

static llm_status create(const llm_host *host, const llm_config *config, llm_model **out,
                         llm_error *err)
{
    (void)host, (void)config, (void)err;
    *out = &the_model;
    return LLM_OK;
}

static llm_status load(llm_model *model, const llm_sink *sink, llm_error *err)
{
    (void)model, (void)sink, (void)err;
    return LLM_OK;
}

static llm_status generate(llm_model *model, const llm_request *request, const llm_sink *sink,
                           llm_stats *stats, llm_error *err)
{
    const char *answer = "old";
    (void)model, (void)err, (void)request;
#if LLM_ABI_TARGET >= 1 /* a member newer than the host: asked for before it is read */
    if (LLM_HAS(request, llm_request, mood) && request->mood == 7)
        answer = "new";
#endif
    stats->finish = LLM_FINISH_STOP;
    return sink->emit(sink, answer, 3) ? LLM_E_CANCELLED : LLM_OK;
}

static void destroy(llm_model *model)
{
    (void)model;
}

#if LLM_ABI_TARGET >= 1
static llm_status warmup(llm_model *model, llm_error *err)
{
    (void)model, (void)err;
    return LLM_OK;
}
#endif

static const llm_model_class model_class = { .struct_size = sizeof model_class,
                                             .create = create,
                                             .load = load,
                                             .generate = generate,
                                             .destroy = destroy,
#if LLM_ABI_TARGET >= 1
                                             .warmup = warmup
#endif
};
static const llm_class class = { sizeof class, LLM_KIND_MODEL, "Matrix", NULL, &model_class };
static const llm_class *const classes[] = { &class, NULL };
static const llm_plugin plugin = { LLM_PLUGIN_HEAD, "org.example.matrix", "1", classes };

const llm_plugin *llm_plugin_query_1(void)
{
    return &plugin;
}
