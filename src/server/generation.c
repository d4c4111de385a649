/* generation.c - see generation.h. */
#include "server/generation.h"

#include "common/io.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/utf8.h"

#include <pthread.h>

/* The llm_sink of one call.  A plugin may emit from any thread of its own. */
struct collector {
    llm_sink abi;
    pthread_mutex_t lock; /* of what follows */
    struct bytes text;
    struct utf8_cleaner cleaner;
    bool too_long;
    const struct generation_caller *caller; /* read only */
};

static bool past(uint64_t deadline_ns)
{
    return deadline_ns && io_now_ns() >= deadline_ns;
}

static int32_t cancelled(const llm_sink *sink)
{
    const struct collector *c = sink->ctx;
    return past(c->caller->deadline_ns) || c->caller->gone(c->caller->ctx);
}

static int32_t emit(const llm_sink *sink, const char *bytes, uint64_t n)
{
    struct collector *c = sink->ctx;
    pthread_mutex_lock(&c->lock);
    if (!c->too_long && utf8_clean(&c->cleaner, bytes, n, &c->text) < 0)
        c->too_long = true;
    bool stop = c->too_long;
    pthread_mutex_unlock(&c->lock);
    return stop || cancelled(sink);
}

static bool give_up(void *ctx)
{
    const struct generation_caller *caller = ctx;
    return past(caller->deadline_ns) || caller->gone(caller->ctx);
}

static int given_up(const struct generation_caller *caller, struct airlock_error *err)
{
    if (past(caller->deadline_ns))
        return airlock_error_set(err, AIRLOCK_E_TIMEOUT, "the request took too long");
    return airlock_error_set(err, AIRLOCK_E_CANCELLED, "the client hung up");
}

/* Calls the plugin; its turn has come. */
static int call(struct model *model, const llm_request *request,
                const struct generation_caller *caller, struct generation *out,
                struct airlock_error *err)
{
    struct collector c = { .text = BYTES_INIT(LIMIT_ANSWER_BYTES), .caller = caller };
    c.abi =
        (llm_sink){ .struct_size = sizeof c.abi, .ctx = &c, .emit = emit, .cancelled = cancelled };
    pthread_mutex_init(&c.lock, NULL);
    llm_error why = { .struct_size = sizeof why };
    out->stats.struct_size = sizeof out->stats;

    uint64_t start = io_now_ns();
    llm_status status = model->cls->generate(model->instance, request, &c.abi, &out->stats, &why);
    out->run_ns = io_now_ns() - start;

    pthread_mutex_lock(&c.lock);
    bool too_long = c.too_long || utf8_clean_end(&c.cleaner, &c.text) < 0;
    out->text = c.text;
    pthread_mutex_unlock(&c.lock);
    pthread_mutex_destroy(&c.lock);
    metrics_answer(&model->metrics, out->stats.tokens_in, out->stats.tokens_out,
                   out->stats.tokens_cached, out->run_ns);
    if (status == LLM_E_DEVICE && !atomic_exchange(&model->retired, true))
        log_error("%s: its device failed: it answers no more requests until the server restarts",
                  model->config->name);
    if (too_long && (status == LLM_OK || status == LLM_E_CANCELLED))
        return airlock_error_set(err, AIRLOCK_E_INTERNAL, "%s: an answer of more than %d bytes",
                                 model->config->name, LIMIT_ANSWER_BYTES);
    if (status == LLM_E_CANCELLED && give_up((void *)(uintptr_t)caller))
        return given_up(caller, err);
    if (status == LLM_E_CANCELLED) /* nobody asked it to stop */
        status = LLM_E_INTERNAL;
    return status == LLM_OK ? 0 : plugin_host_error(&model->host, status, &why, err);
}

static int no_place(enum admission_result result, const struct generation_caller *caller,
                    struct airlock_error *err)
{
    if (result == ADMISSION_FULL)
        return airlock_error_set(err, AIRLOCK_E_BUSY, "Too many requests are waiting");
    return given_up(caller, err);
}

int generation_run(struct model *model, struct model_adapter *adapter, llm_request *request,
                   const struct generation_caller *caller, struct generation *out,
                   struct airlock_error *err)
{
    *out = (struct generation){ .text = BYTES_INIT(LIMIT_ANSWER_BYTES) };
    struct admission *own = adapter ? &adapter->admission : &model->base;
    void *ctx = (void *)(uintptr_t)caller;
    uint64_t start = io_now_ns();
    enum admission_result result = admission_enter(own, give_up, ctx);
    if (result != ADMISSION_IN)
        return no_place(result, caller, err);
    result = admission_enter(&model->instances, give_up, ctx);
    if (result != ADMISSION_IN) {
        admission_leave(own);
        return no_place(result, caller, err);
    }
    out->wait_ns = io_now_ns() - start;
    request->struct_size = sizeof *request;
    request->adapter = adapter ? &adapter->abi : NULL;
    request->deadline_ns = caller->deadline_ns;
    int rc = atomic_load(&model->retired)
                 ? airlock_error_set(err, AIRLOCK_E_DEVICE, "%s: its device failed earlier",
                                     model->config->name)
                 : call(model, request, caller, out, err);
    admission_leave(&model->instances);
    admission_leave(own);
    return rc;
}
