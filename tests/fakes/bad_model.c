/*
 * bad_model.c - a model plugin that breaks exactly one rule, chosen with -DBREAK=..., to see that
 * it is noticed.
 */
#include <airlock/llm_adapter.h>
#include <airlock/llm_model.h>
#include <fcntl.h>
#include <locale.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    NOTHING,
    EXPORTS_MORE,
    THREAD_AT_LOAD,
    OTHER_DESCRIPTOR,
    WRONG_SIZE,
    WRONG_SCHEMA,
    UNKNOWN_CAPS,
    CREATE_LEAKS,
    LOAD_LEAKS,
    ERROR_WITHOUT_TEXT,
    LOAD_GOES_ON,
    EXACT_SIZES,
    READS_BEYOND,
    WRITES_INPUT,
    RANDOM_ANSWER,
    TOO_MANY_TOKENS,
    CUT_UTF8,
    NO_MESSAGES_CRASH,
    IGNORES_EMIT,
    STOPS_LATE,
    IGNORES_DEADLINE,
    NOT_CONCURRENT,
    ACTIVE_ADAPTER,
    MERGES_ADAPTER,
    ANY_SHAPE,
    ATTACH_LEAKS,
    PRINTS,
    SETS_LOCALE,
    NEEDS_NEWER_HOST
};

struct llm_model {
    int tried, loaded;
    long base, attached;
    atomic_int running;
    _Atomic(const llm_adapter *) active;
    char path[64];
};

static const llm_site site = { sizeof site, 0, 1, 1, "bad.repeat", NULL };

#define SAYS(request, text_)                                                                       \
    ((request)->n_messages && (request)->messages[0]->content.len == sizeof(text_) - 1 &&          \
     memcmp((request)->messages[0]->content.ptr, text_, sizeof(text_) - 1) == 0)

static llm_status fail(llm_error *err, llm_status code, const char *text)
{
    if (BREAK != ERROR_WITHOUT_TEXT)
        snprintf(err->text, sizeof err->text, "%s", text);
    return err->code = code;
}

static llm_status create(const llm_host *host, const llm_config *config, llm_model **out,
                         llm_error *err)
{
    if (BREAK == EXACT_SIZES && host->struct_size != sizeof *host)
        return fail(err, LLM_E_INVALID, "bad: host of another size");
    llm_model *m = calloc(1, sizeof *m);
    if (!m)
        return fail(err, LLM_E_NO_MEMORY, "bad: out of memory");
    m->base = 1;
    if (config->path.len < sizeof m->path)
        memcpy(m->path, config->path.ptr ? config->path.ptr : "", config->path.len);
    *out = m;
    return LLM_OK;
}

static llm_status load(llm_model *m, const llm_sink *sink, llm_error *err)
{
    if (sink->cancelled(sink)) {
        if (BREAK == LOAD_GOES_ON)
            usleep(400000);
        return fail(err, LLM_E_CANCELLED, "bad: cancelled");
    }
    m->tried = 1;
    if (m->path[0] && access(m->path, R_OK) != 0)
        return fail(err, LLM_E_CONFIG, "bad: no such directory");
    m->loaded = 1;
    return LLM_OK;
}

static long repeats(llm_model *m, const llm_adapter *adapter, llm_error *err)
{
    float x = 1, y = (float)m->base;
    const llm_lora_target *t = adapter ? adapter->cls->target(adapter->inst, site.module) : NULL;
    llm_lora_io io = { .struct_size = sizeof io,
                       .dtype = LLM_F32,
                       .x = (uint64_t)(uintptr_t)&x,
                       .y = (uint64_t)(uintptr_t)&y,
                       .rows = 1 };
    if (t)
        adapter->cls->apply(adapter->inst, t, &io, err);
    return (long)(y + 0.5f);
}

static int go_on(const llm_sink *sink, const llm_request *r)
{
    if (!sink->cancelled(sink))
        return 1;
    if (BREAK == IGNORES_DEADLINE && r->deadline_ns)
        return 1;
    if (BREAK == STOPS_LATE)
        usleep(400000);
    return 0;
}

static llm_status say(const llm_request *r, const llm_sink *sink, long times, llm_stats *stats,
                      llm_error *err)
{
    uint64_t limit = (uint64_t)r->params->max_new_tokens;
    const llm_str *text = &r->messages[r->n_messages - 1]->content;
    const char *end = text->ptr + text->len;
    if (BREAK == TOO_MANY_TOKENS && limit == 5)
        limit++;
    stats->finish = LLM_FINISH_STOP;
    for (const char *p = text->ptr, *q; p < end; p = q) {
        q = memchr(p, ' ', (size_t)(end - p));
        q = q ? q + 1 : end;
        stats->tokens_in++;
        for (long i = 0; i < times && stats->finish == LLM_FINISH_STOP; i++) {
            int stop = 0;
            if (stats->tokens_out == limit) {
                stats->finish = LLM_FINISH_LENGTH;
                break;
            }
            stop = sink->emit(sink, p, (uint64_t)(q - p));
            if (stop && BREAK != IGNORES_EMIT && !(BREAK == IGNORES_DEADLINE && r->deadline_ns))
                return fail(err, LLM_E_CANCELLED, "bad: cancelled");
            stats->tokens_out++;
        }
    }
    if (BREAK == CUT_UTF8 && stats->finish == LLM_FINISH_STOP && limit == 64)
        sink->emit(sink, "\xe2\x82", 2);
    if (BREAK == RANDOM_ANSWER && SAYS(r, "tell me the same thing twice, please")) {
        static int times_said;
        sink->emit(sink, times_said++ ? "?" : "!", 1);
    }
    return LLM_OK;
}

static llm_status generate(llm_model *m, const llm_request *r, const llm_sink *sink,
                           llm_stats *stats, llm_error *err)
{
    if (r->n_messages == 0 && BREAK != NO_MESSAGES_CRASH)
        return fail(err, LLM_E_REQUEST, "bad: no messages");
    if (!go_on(sink, r))
        return fail(err, LLM_E_CANCELLED, "bad: cancelled");
    const llm_adapter *adapter = r->adapter;
    if (BREAK == READS_BEYOND && r->messages[0]->content.ptr[r->messages[0]->content.len] == 'x')
        stats->tokens_in = 0;
    if (BREAK == WRITES_INPUT)
        *(volatile char *)r->messages[0]->content.ptr = 'h';
    if (BREAK == ACTIVE_ADAPTER) {
        m->active = r->adapter;
        usleep(2000);
        adapter = m->active;
    }
    if (BREAK == PRINTS)
        puts("bad: hello");
    if (BREAK == SETS_LOCALE)
        setlocale(LC_ALL, "C.UTF-8");
    int beside = m->running++;
    if (BREAK == NOT_CONCURRENT)
        usleep(2000);
    long times = repeats(m, adapter, err) + (BREAK == NOT_CONCURRENT && (beside || m->running > 1));
    llm_status status = say(r, sink, times, stats, err);
    m->running--;
    return status;
}

static void destroy(llm_model *m)
{
    if ((BREAK == CREATE_LEAKS && !m->tried) || (BREAK == LOAD_LEAKS && m->loaded))
        (void)!open("/dev/null", O_RDONLY);
    free(m);
}

static const llm_site *site_at(llm_model *m, uint64_t i)
{
    (void)m;
    return i == 0 ? &site : NULL;
}

static llm_status attach(llm_model *m, const llm_adapter *adapter, llm_error *err)
{
    const llm_lora_target *t = adapter->cls->target(adapter->inst, site.module);
    if (t && t->in_dim != 1 && BREAK != ANY_SHAPE)
        return fail(err, LLM_E_CONFIG, "bad: wrong shape");
    if (BREAK == MERGES_ADAPTER)
        m->base = 2;
    if (BREAK == ATTACH_LEAKS)
        (void)!open("/dev/null", O_RDONLY);
    return LLM_OK;
}

static void detach(llm_model *m, const llm_adapter *adapter)
{
    (void)m, (void)adapter;
}

static const llm_model_class model_class = {
    .struct_size = sizeof model_class + (BREAK == WRONG_SIZE ? 4 : 0),
    .caps =
        (BREAK == UNKNOWN_CAPS ? 1u << 30 : 0) | (BREAK == NOT_CONCURRENT ? 0 : LLM_CAP_ADAPTERS),
    .create = create,
    .load = load,
    .generate = generate,
    .destroy = destroy,
    .site = site_at,
    .attach = attach,
    .detach = detach,
};
static const llm_class class = { sizeof class, LLM_KIND_MODEL, "BadModel",
                                 BREAK == WRONG_SCHEMA ? "{\"type\": \"object\"" : NULL,
                                 &model_class };
static const llm_class *const classes[] = { &class, NULL };
static const llm_plugin plugins[2] = {
    { sizeof(llm_plugin), LLM_ABI_MAJOR, BREAK == NEEDS_NEWER_HOST ? 7 : 0,
      BREAK == NEEDS_NEWER_HOST ? 7 : 0, "org.example.bad", "1", classes },
    { LLM_PLUGIN_HEAD, "org.example.bad", "1", classes },
};

#if defined __GNUC__
static void *sleep_for_ever(void *arg)
{
    pause();
    return arg;
}

__attribute__((constructor)) static void at_load(void)
{
    pthread_t thread;
    if (BREAK == THREAD_AT_LOAD)
        pthread_create(&thread, NULL, sleep_for_ever, NULL);
}
#endif

#ifdef EXPORT_MORE
__attribute__((visibility("default"))) int more_than_allowed(void);
int more_than_allowed(void)
{
    return 1;
}
#endif

const llm_plugin *llm_plugin_query_1(void)
{
    static int asked;
    return &plugins[BREAK == OTHER_DESCRIPTOR ? asked++ % 2 : 0];
}
