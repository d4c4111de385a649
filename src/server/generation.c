/* generation.c - see generation.h. */
#include "server/generation.h"

#include "common/bytes.h"
#include "common/io.h"
#include "common/log.h"
#include "common/utf8.h"

/* The llm_sink of one call.  A plugin may emit from any thread of its own. */
struct collector {
    llm_sink abi;
    pthread_mutex_t lock; /* of what follows */
    struct bytes text;    /* of one emit() */
    struct utf8_cleaner cleaner;
    uint64_t raw;     /* bytes emitted so far */
    uint64_t last_ns; /* of the last emit(); 0: none yet */
    bool stopped;     /* output asked for it, or memory is out */
    bool no_memory;
    struct model *model;
    const struct generation_output *output; /* read only */
};

static bool past(uint64_t deadline_ns)
{
    return deadline_ns && io_now_ns() >= deadline_ns;
}

static bool give_up(void *ctx)
{
    const struct generation_output *output = ctx;
    return past(output->deadline_ns) || output->gone(output->ctx);
}

static int given_up(const struct generation_output *output, struct airlock_error *err)
{
    if (past(output->deadline_ns))
        return airlock_error_set(err, AIRLOCK_E_TIMEOUT, "the request took too long");
    return airlock_error_set(err, AIRLOCK_E_CANCELLED, "the client hung up");
}

/* ---- the sink -------------------------------------------------------------------------------- */

static int32_t cancelled(const llm_sink *sink)
{
    const struct collector *c = sink->ctx;
    return give_up((void *)(uintptr_t)c->output);
}

/* Lock held. */
static void measure(struct collector *c)
{
    uint64_t now = io_now_ns();
    if (c->last_ns)
        metrics_observe(&c->model->metrics.inter_token, now - c->last_ns);
    else
        metrics_observe(&c->model->metrics.first_token, now - c->output->start_ns);
    c->last_ns = now;
}

/* Lock held: hands on what is whole.  end: an incomplete character too. */
static void pass_on(struct collector *c, const char *bytes, uint64_t n, bool end)
{
    bytes_clear(&c->text);
    c->raw += n;
    if (utf8_clean(&c->cleaner, bytes, n, &c->text) < 0 ||
        (end && utf8_clean_end(&c->cleaner, &c->text) < 0)) {
        c->no_memory = c->stopped = true;
        return;
    }
    if (c->text.size &&
        c->output->text(c->output->ctx, c->text.data, c->text.size, c->raw - c->cleaner.n_tail))
        c->stopped = true;
}

static int32_t emit(const llm_sink *sink, const char *bytes, uint64_t n)
{
    struct collector *c = sink->ctx;
    pthread_mutex_lock(&c->lock);
    if (n && !c->stopped) {
        measure(c);
        pass_on(c, bytes, n, false);
    }
    bool stop = c->stopped;
    pthread_mutex_unlock(&c->lock);
    return stop || cancelled(sink);
}

static void token(const llm_sink *sink, const llm_token *told)
{
    struct collector *c = sink->ctx;
    pthread_mutex_lock(&c->lock);
    if (!c->stopped)
        c->output->token(c->output->ctx, told);
    pthread_mutex_unlock(&c->lock);
}

static int32_t tool_call(const llm_sink *sink, const llm_tool_call *call)
{
    struct collector *c = sink->ctx;
    pthread_mutex_lock(&c->lock);
    if (!c->stopped) {
        measure(c);
        c->stopped = c->output->tool_call(c->output->ctx, call) != 0;
    }
    bool stop = c->stopped;
    pthread_mutex_unlock(&c->lock);
    return stop || cancelled(sink);
}

/* ---- the call -------------------------------------------------------------------------------- */

/* Calls the plugin; its turn has come. */
static int call(struct model *model, const llm_request *request,
                const struct generation_output *output, struct generation *out,
                struct airlock_error *err)
{
    struct collector c = { .text = BYTES_INIT(SIZE_MAX / 2), .model = model, .output = output };
    c.abi = (llm_sink){ .struct_size = sizeof c.abi,
                        .ctx = &c,
                        .emit = emit,
                        .cancelled = cancelled,
                        .token = output->token ? token : NULL,
                        .tool_call = output->tool_call ? tool_call : NULL };
    pthread_mutex_init(&c.lock, NULL);
    llm_error why = { .struct_size = sizeof why };
    uint64_t start = io_now_ns();
    llm_status status = model->cls->generate(model->instance, request, &c.abi, &out->stats, &why);
    out->run_ns = io_now_ns() - start;

    pthread_mutex_lock(&c.lock);
    if (!c.stopped && status == LLM_OK)
        pass_on(&c, "", 0, true);
    bool stopped = c.stopped, no_memory = c.no_memory;
    bytes_free(&c.text);
    pthread_mutex_unlock(&c.lock);
    pthread_mutex_destroy(&c.lock);
    metrics_answer(&model->metrics, &out->stats, out->run_ns);
    if (status == LLM_E_DEVICE && !atomic_exchange(&model->retired, true))
        log_error("%s: its device failed: it answers no more requests until the server restarts",
                  model->config->name);
    if (no_memory)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for an answer");
    if (stopped && (status == LLM_OK || status == LLM_E_CANCELLED))
        return airlock_error_set(err, AIRLOCK_E_CANCELLED, "its output was not wanted any more");
    if (status == LLM_E_CANCELLED && give_up((void *)(uintptr_t)output))
        return given_up(output, err);
    if (status == LLM_E_CANCELLED) /* nobody asked it to stop */
        status = LLM_E_INTERNAL;
    return status == LLM_OK ? 0 : plugin_host_error(&model->host, status, &why, err);
}

/* ---- its turn -------------------------------------------------------------------------------- */

static struct admission *queue_of(struct model *model, struct model_adapter *adapter)
{
    return adapter ? &adapter->admission : &model->base;
}

static int enter(struct admission *a, const struct generation_output *output,
                 struct admission_place *place, struct airlock_error *err)
{
    switch (admission_enter(a, place, output->caller, give_up, (void *)(uintptr_t)output)) {
    case ADMISSION_IN:
        return 0;
    case ADMISSION_FULL:
        return airlock_error_set(err, AIRLOCK_E_BUSY, "Too many requests are waiting");
    case ADMISSION_GAVE_UP:
        break;
    }
    return given_up(output, err);
}

int generation_enter(struct model *model, struct model_adapter *adapter,
                     const struct generation_output *output, struct admission_place *place,
                     struct airlock_error *err)
{
    uint64_t start = io_now_ns();
    int rc = enter(queue_of(model, adapter), output, place, err);
    if (rc == 0)
        metrics_observe(&model->metrics.queue, io_now_ns() - start);
    return rc;
}

void generation_leave(struct model *model, struct model_adapter *adapter,
                      struct admission_place *place)
{
    admission_leave(queue_of(model, adapter), place);
}

int generation_enter_instance(struct model *model, const struct generation_output *output,
                              struct admission_place *place, struct airlock_error *err)
{
    if (enter(&model->instances, output, place, err) < 0)
        return -1;
    if (!atomic_load(&model->retired))
        return 0;
    admission_leave(&model->instances, place);
    return airlock_error_set(err, AIRLOCK_E_DEVICE, "%s: its device failed earlier",
                             model->config->name);
}

void generation_leave_instance(struct model *model, struct admission_place *place)
{
    admission_leave(&model->instances, place);
}

int generation_run(struct model *model, struct model_adapter *adapter, llm_request *request,
                   const struct generation_output *output, struct generation *out,
                   struct airlock_error *err)
{
    *out = (struct generation){ .stats.struct_size = sizeof out->stats };
    struct admission_place place;
    if (generation_enter_instance(model, output, &place, err) < 0)
        return -1;
    request->struct_size = sizeof *request;
    request->adapter = adapter ? &adapter->abi : NULL;
    request->deadline_ns = output->deadline_ns;
    int rc = call(model, request, output, out, err);
    generation_leave_instance(model, &place);
    return rc;
}
