/*
 * echo.c - a whole model plugin: says the last message back, and lets adapters repeat its words.
 *
 * Valid C89 and C++98, needs the installed headers of Airlock and nothing else.  A word is this
 * model's token.  Its one "linear layer", echo.repeat, is W = [1]: y = W x with x = 1 is how often
 * each word is said, so that an adapter that adds 1 to y makes it say every word twice.
 */
#include <airlock/llm_adapter.h>
#include <airlock/llm_model.h>
#include <stdlib.h>
#include <string.h>

struct llm_model {
    const llm_host *host;
    int loaded;
};

#define MAX_REPEAT 100.0f

static llm_status fail(llm_error *err, llm_status code, const char *text)
{
    strncpy(err->text, text, sizeof err->text - 1);
    err->text[sizeof err->text - 1] = 0;
    return err->code = code;
}

static llm_status echo_create(const llm_host *host, const llm_config *config, llm_model **out,
                              llm_error *err)
{
    llm_model *model = (llm_model *)calloc(1, sizeof *model);
    (void)config; /* echo has no checkpoint and no options */
    if (!model)
        return fail(err, LLM_E_NO_MEMORY, "echo: out of memory");
    model->host = host;
    *out = model;
    return LLM_OK;
}

static llm_status echo_load(llm_model *model, const llm_sink *sink, llm_error *err)
{
    static const char ready[] = "echo: ready";
    if (sink->cancelled(sink)) /* a real model asks at least every 100 ms while it reads weights */
        return fail(err, LLM_E_CANCELLED, "echo: loading was cancelled");
    model->loaded = 1;
    model->host->log(model->host, LLM_LOG_INFO, ready, sizeof ready - 1);
    return LLM_OK;
}

static void echo_destroy(llm_model *model)
{
    free(model);
}

/* ---- adapters ------------------------------------------------------------------------------- */

static const llm_site repeat_site = { sizeof(llm_site), 0, 1, 1, "echo.repeat", NULL };

static const llm_site *echo_site(llm_model *model, uint64_t i)
{
    (void)model;
    return i == 0 ? &repeat_site : NULL;
}

/* What the adapter does to us, asked once, when it is made usable. */
static llm_status echo_attach(llm_model *model, const llm_adapter *adapter, llm_error *err)
{
    const llm_lora_target *target = adapter->cls->target(adapter->inst, repeat_site.module);
    (void)model;
    if (target && (target->in_dim != 1 || target->out_dim != 1))
        return fail(err, LLM_E_CONFIG, "echo: echo.repeat: the adapter's shape is not 1x1");
    return LLM_OK;
}

static void echo_detach(llm_model *model, const llm_adapter *adapter)
{
    (void)model, (void)adapter; /* we keep nothing about it */
}

/* y = W x, then what the request's adapter adds. */
static llm_status repeats(const llm_adapter *adapter, long *out, llm_error *err)
{
    float x = 1, y = 1;
    if (adapter) {
        const llm_lora_target *target = adapter->cls->target(adapter->inst, repeat_site.module);
        llm_lora_io io;
        memset(&io, 0, sizeof io);
        io.struct_size = sizeof io;
        io.dtype = LLM_F32;
        io.x = (uint64_t)(uintptr_t)&x;
        io.y = (uint64_t)(uintptr_t)&y;
        io.rows = 1;
        if (target) {
            llm_status status = adapter->cls->apply(adapter->inst, target, &io, err);
            if (status != LLM_OK)
                return status;
        }
    }
    if (!(y >= 0)) /* also when y is not a number */
        y = 0;
    *out = (long)((y < MAX_REPEAT ? y : MAX_REPEAT) + 0.5f);
    return LLM_OK;
}

/* ---- answers -------------------------------------------------------------------------------- */

/* The end of the word that begins at p: behind its space. */
static const char *word_end(const char *p, const char *end)
{
    const char *space = (const char *)memchr(p, ' ', (size_t)(end - p));
    return space ? space + 1 : end;
}

static llm_status echo_generate(llm_model *model, const llm_request *request, const llm_sink *sink,
                                llm_stats *stats, llm_error *err)
{
    const llm_params *params = request->params;
    const llm_message *last;
    const char *p, *q, *end;
    uint64_t limit = UINT64_MAX;
    long times, i;
    llm_status status;

    if (!model->loaded)
        return fail(err, LLM_E_INVALID, "echo: generate before load");
    if (request->n_messages == 0)
        return fail(err, LLM_E_REQUEST, "echo: needs at least one message");
    if (params->set & LLM_P_MAX_NEW_TOKENS) {
        if (params->max_new_tokens < 1)
            return fail(err, LLM_E_REQUEST, "echo: max_new_tokens must be at least 1");
        limit = (uint64_t)params->max_new_tokens;
    }
    status = repeats(request->adapter, &times, err);
    if (status != LLM_OK)
        return status;

    last = request->messages[request->n_messages - 1];
    end = last->content.ptr + last->content.len;
    stats->finish = LLM_FINISH_STOP;
    for (p = last->content.ptr; p < end; p = q) {
        q = word_end(p, end);
        stats->tokens_in++;
        for (i = 0; i < times && stats->finish == LLM_FINISH_STOP; i++) {
            if (stats->tokens_out == limit) {
                stats->finish = LLM_FINISH_LENGTH;
                break;
            }
            if (sink->emit(sink, p, (uint64_t)(q - p)))
                return fail(err, LLM_E_CANCELLED, "echo: cancelled");
            stats->tokens_out++;
        }
    }
    return LLM_OK;
}

/* ---- the plugin ----------------------------------------------------------------------------- */

static const llm_model_class echo_model = { sizeof(llm_model_class),
                                            LLM_CAP_ADAPTERS,
                                            /* max_concurrent */ 0,
                                            0,
                                            echo_create,
                                            echo_load,
                                            echo_generate,
                                            echo_destroy,
                                            /* extension */ NULL,
                                            echo_site,
                                            echo_attach,
                                            echo_detach,
                                            /* device */ NULL };
static const llm_class echo_class = { sizeof(llm_class), LLM_KIND_MODEL, "EchoModel",
                                      /* options_schema */ NULL, &echo_model };
static const llm_class *const classes[] = { &echo_class, NULL };
static const llm_plugin plugin = { LLM_PLUGIN_HEAD, "org.example.echo", "1.0.0", classes };

LLM_NOTE(LLM_KIND_MODEL);

const llm_plugin *llm_plugin_query_1(void)
{
    return &plugin;
}
