/*
 * instance.c - plays the host: makes instances, asks them, records what they answer and what they
 * misuse.
 */
#include "check.h"
#include "common/io.h"

#include <stdio.h>
#include <string.h>

static llm_str text_of(struct arena *a, const char *text, size_t size)
{
    llm_str s = { NULL, size };
    if (text)
        s.ptr = arena_bytes(a, text, size);
    return s;
}

static llm_str string_of(struct arena *a, const char *text)
{
    return text_of(a, text, text ? strlen(text) : 0);
}

/* ---- the host ------------------------------------------------------------------------------- */

static void host_log(const llm_host *host, int32_t level, const char *text, uint64_t len)
{
    struct instance *m = host->ctx;
    if (!m->live)
        snprintf(m->misuse, sizeof m->misuse, "log() was called after destroy()");
    else if (level < LLM_LOG_DEBUG || level > LLM_LOG_ERROR || !text || memchr(text, '\n', len))
        snprintf(m->misuse, sizeof m->misuse, "log() was given a level or a text that is none");
}

static const llm_site *sites_at(const llm_host *host, uint64_t i)
{
    const struct instance *m = host->ctx;
    if (!m->base)
        return builtin_site(i);
    return m->base->subject->model->site(m->base->model, i);
}

static const char *sites_base_model(const llm_host *host)
{
    const struct instance *m = host->ctx;
    const char *path = m->base ? m->base->subject->options->model_path : NULL;
    return path ? path : "";
}

static const void *host_service(const llm_host *host, const char *id)
{
    static const llm_svc_sites sites = { sizeof sites, 0, sites_at, sites_base_model };
    const struct instance *m = host->ctx;
    return m->subject->adapter && strcmp(id, LLM_SVC_SITES) == 0 ? &sites : NULL;
}

/* ---- the sink ------------------------------------------------------------------------------- */

static void misuse(struct recorder *rec, const char *what)
{
    snprintf(rec->misuse, sizeof rec->misuse, "%s", what);
}

static int32_t say_stop(struct recorder *rec)
{
    uint_fast64_t never = 0;
    atomic_compare_exchange_strong(&rec->stop_ns, &never, io_now_ns());
    return 1;
}

/* False: the call may not be made at all. */
static bool enter(struct recorder *rec)
{
    if (!rec->live)
        misuse(rec, "its sink was used after the call had returned");
    else if (atomic_fetch_add(&rec->busy, 1) != 0)
        misuse(rec, "calls on one sink overlapped");
    else
        return true;
    return false;
}

static int32_t sink_emit(const llm_sink *sink, const char *bytes, uint64_t n)
{
    struct recorder *rec = sink->ctx;
    if (!enter(rec))
        return 1;
    bool stop = rec->stop || rec->stop_ns;
    if (rec->silent)
        misuse(rec, "emit() was called in load()");
    else if (!stop) {
        unsigned emits = ++rec->emits;
        stop = bytes_add(&rec->text, bytes, n) != 0 || emits == rec->stop_at;
    }
    rec->busy--;
    return stop ? say_stop(rec) : 0;
}

static int32_t sink_cancelled(const llm_sink *sink)
{
    struct recorder *rec = sink->ctx;
    if (!enter(rec))
        return 1;
    rec->polls++;
    bool stop = rec->stop || rec->stop_ns;
    rec->busy--;
    return stop ? say_stop(rec) : 0;
}

static void sink_token(const llm_sink *sink, const llm_token *token)
{
    struct recorder *rec = sink->ctx;
    (void)token;
    if (enter(rec)) {
        rec->tokens++;
        rec->busy--;
    }
}

static void sink_progress(const llm_sink *sink, uint64_t done, uint64_t total)
{
    struct recorder *rec = sink->ctx;
    if (enter(rec)) {
        if (done > total)
            misuse(rec, "progress() was told more bytes than there are");
        rec->busy--;
    }
}

static int32_t sink_tool_call(const llm_sink *sink, const llm_tool_call *call)
{
    struct recorder *rec = sink->ctx;
    (void)call;
    misuse(rec, "tool_call() was called though no tools were given");
    return 0;
}

void recorder_start(struct recorder *rec)
{
    bytes_free(&rec->text);
    *rec = (struct recorder){ .text = BYTES_INIT(ANSWER_BYTES) };
    rec->live = true;
}

void recorder_free(struct recorder *rec)
{
    bytes_free(&rec->text);
}

const llm_sink *recorder_sink(struct recorder *rec, struct arena *arena)
{
    llm_sink sink = { sizeof sink,    0,          rec,           sink_emit,
                      sink_cancelled, sink_token, sink_progress, sink_tool_call };
    return arena_struct(arena, &sink, sizeof sink);
}

/* ---- the calls ------------------------------------------------------------------------------ */

/* Where a plugin writes its error and its statistics: after the inputs, never sealed. */
struct outputs {
    struct arena arena;
    llm_error *err;
    llm_stats *stats;
};

static void outputs_make(struct outputs *o, enum placement placement)
{
    llm_error err = { 0 };
    llm_stats stats = { 0 };
    o->arena = (struct arena){ placement, NULL };
    o->err = arena_struct(&o->arena, &err, sizeof err);
    o->stats = arena_struct(&o->arena, &stats, sizeof stats);
}

static void outputs_take(struct outputs *o, llm_status status, uint64_t start, struct recorder *rec,
                         struct verdict *v)
{
    uint64_t now = io_now_ns();
    *v = (struct verdict){ .status = status, .took_ns = now - start };
    memcpy(&v->err, o->err, sizeof v->err);
    memcpy(&v->stats, o->stats, sizeof v->stats);
    if (rec) {
        rec->live = false;
        v->after_stop_ns = rec->stop_ns ? now - rec->stop_ns : 0;
    }
    arena_release(&o->arena);
}

void instance_create(struct instance *m, const struct subject *s, enum placement placement,
                     const char *path, const struct instance *base, struct verdict *v)
{
    const struct check_options *opt = s->options;
    *m = (struct instance){ .subject = s, .base = base, .arena = { placement, NULL } };
    m->live = true;
    llm_host host = { sizeof host, LLM_ABI_MINOR, m, host_log, host_service };
    if (placement == LONGER)
        host.abi_minor++;
    m->host = arena_struct(&m->arena, &host, sizeof host);
    arena_seal(&m->arena);

    struct arena inputs = { placement, NULL };
    struct outputs out;
    const char *device = opt->device;
    if (base && base->subject->model->device)
        device = base->subject->model->device(base->model);
    llm_config config = { .struct_size = sizeof config,
                          .name = string_of(&inputs, "check"),
                          .path = string_of(&inputs, path ? path : opt->model_path),
                          .device = string_of(&inputs, device ? device : "cpu"),
                          .dtype = string_of(&inputs, opt->dtype),
                          .options_json = string_of(&inputs, opt->options),
                          .max_context = (uint64_t)opt->max_context };
    const llm_config *placed = arena_struct(&inputs, &config, sizeof config);
    arena_seal(&inputs);
    outputs_make(&out, placement);
    uint64_t start = io_now_ns();
    llm_status status = s->model ? s->model->create(m->host, placed, &m->model, out.err)
                                 : s->adapter->open(m->host, placed, &m->adapter, out.err);
    outputs_take(&out, status, start, NULL, v);
    arena_release(&inputs);
}

void instance_load(struct instance *m, struct recorder *rec, struct verdict *v)
{
    struct arena inputs = { m->arena.placement, NULL };
    struct outputs out;
    rec->silent = true;
    const llm_sink *sink = recorder_sink(rec, &inputs);
    arena_seal(&inputs);
    outputs_make(&out, m->arena.placement);
    uint64_t start = io_now_ns();
    llm_status status = m->subject->model->load(m->model, sink, out.err);
    outputs_take(&out, status, start, rec, v);
    arena_release(&inputs);
}

void instance_destroy(struct instance *m)
{
    if (m->model)
        m->subject->model->destroy(m->model);
    if (m->adapter)
        m->subject->adapter->close(m->adapter);
    m->live = false;
    m->model = NULL;
    m->adapter = NULL;
    arena_release(&m->arena);
}

enum outcome instance_ready(struct instance *m, const struct subject *s, enum placement placement,
                            struct report *r)
{
    struct verdict v;
    struct recorder rec = { 0 };
    instance_create(m, s, placement, NULL, NULL, &v);
    if (v.status == LLM_OK) {
        recorder_start(&rec);
        instance_load(m, &rec, &v);
        recorder_free(&rec);
    }
    if (v.status == LLM_OK && rec.misuse[0])
        return failed(r, "load(): %s", rec.misuse);
    if (v.status == LLM_OK)
        return PASSED;
    instance_destroy(m);
    if (!s->options->model_path && v.status == LLM_E_CONFIG)
        return skipped(r, "needs a checkpoint: give --model DIR (%.200s)", v.err.text);
    return failed(r, "create() or load() returned %d: %.300s", (int)v.status, v.err.text);
}

void ask(const struct instance *m, enum placement placement, const struct question *q,
         struct recorder *rec, struct verdict *v)
{
    struct arena inputs = { placement, NULL };
    struct outputs out;
    llm_message message = { .struct_size = sizeof message,
                            .role = q->role,
                            .content = text_of(&inputs, q->text, q->size) };
    const llm_message *messages[1] = { arena_struct(&inputs, &message, sizeof message) };
    llm_params params = { .struct_size = sizeof params,
                          .set = LLM_P_DO_SAMPLE | LLM_P_MAX_NEW_TOKENS,
                          .max_new_tokens = q->max_new_tokens };
    llm_request request = { .struct_size = sizeof request,
                            .id = 1,
                            .deadline_ns = q->deadline_ns,
                            .messages = arena_bytes(&inputs, messages, sizeof messages),
                            .n_messages = q->no_messages ? 0 : 1,
                            .params = arena_struct(&inputs, &params, sizeof params),
                            .adapter = q->adapter };
    const llm_request *placed = arena_struct(&inputs, &request, sizeof request);
    const llm_sink *sink = recorder_sink(rec, &inputs);
    arena_seal(&inputs);
    outputs_make(&out, placement);
    uint64_t start = io_now_ns();
    llm_status status = m->subject->model->generate(m->model, placed, sink, out.stats, out.err);
    outputs_take(&out, status, start, rec, v);
    arena_release(&inputs);
}

enum outcome ask_well(const struct instance *m, const struct question *q, struct bytes *out,
                      llm_stats *stats, struct report *r)
{
    struct recorder rec = { 0 };
    struct verdict v;
    recorder_start(&rec);
    ask(m, PLAIN, q, &rec, &v);
    *out = rec.text;
    if (stats)
        *stats = v.stats;
    if (v.status != LLM_OK)
        return failed(r, "generate() returned %d: %.300s", (int)v.status, v.err.text);
    return judge_manners("generate()", &rec, m, r);
}

bool same_bytes(const struct bytes *a, const struct bytes *b)
{
    return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

/* ---- judgements that all checks share ---------------------------------------------------------
 */

enum outcome judge_error(const char *call, const struct verdict *v, struct report *r)
{
    size_t n = strnlen(v->err.text, sizeof v->err.text);
    if (v->status < LLM_OK || v->status > LLM_E_INTERNAL)
        return failed(r, "%s returned %d, which is no llm_status", call, (int)v->status);
    if (v->err.code != v->status)
        return failed(r, "%s returned %d but err->code is %d", call, (int)v->status,
                      (int)v->err.code);
    if (n == 0)
        return failed(r, "%s returned %d without a word of why in err->text", call, (int)v->status);
    if (n == sizeof v->err.text || memchr(v->err.text, '\n', n))
        return failed(r, "%s: err->text is not one NUL-terminated line", call);
    return PASSED;
}

enum outcome judge_manners(const char *call, const struct recorder *rec, const struct instance *m,
                           struct report *r)
{
    if (rec->misuse[0])
        return failed(r, "%s: %s", call, rec->misuse);
    if (m && m->misuse[0])
        return failed(r, "%s: %s", call, m->misuse);
    return PASSED;
}
