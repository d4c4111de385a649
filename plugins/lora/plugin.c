/* plugin.c - the LoRA adapter plugin: entry, vtable, and rows of a model handed to the ops. */
#include "airlock/llm_adapter.h"
#include "config.h"
#include "peft_adapter.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SITES = 1 << 16 }; /* linear layers of one model */

/* What one call needs of the ops: a device that works with the threads lent for that call. */
struct worker {
    struct worker *next;
    struct ops_device *dev;
    struct ops_threads lent; /* ctx: the llm_threads of the present call, or NULL */
    unsigned most_threads;   /* that dev was opened for */
    void *stream;            /* CUDA: that dev enqueues on */
};

struct llm_adapter_inst {
    struct peft_adapter adapter;
    llm_lora_target *targets; /* of adapter.targets, in the same order */
    const struct ops *ops;
    int ordinal;            /* CUDA device */
    struct ops_device *dev; /* CUDA: what targets point to was made with it; CPU: NULL */
    pthread_mutex_t lock;
    struct worker *idle;
};

static llm_status fail(llm_error *err, llm_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static llm_status fail(llm_error *err, llm_status code, const char *format, ...)
{
    va_list args;
    if (err) {
        va_start(args, format);
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
        err->code = code;
    }
    return code;
}

/* ---- threads of the model, lent for one call ---- */

struct lent_work {
    void (*fn)(void *arg, size_t i);
    void *arg;
};

static void do_lent_work(void *arg, uint64_t i)
{
    const struct lent_work *work = arg;
    work->fn(work->arg, i);
}

static void run_lent(const struct ops_threads *threads, size_t n, void (*fn)(void *arg, size_t i),
                     void *arg)
{
    const llm_threads *from = threads->ctx;
    struct lent_work work = { fn, arg };
    if (from) {
        from->run(from, n, do_lent_work, &work);
        return;
    }
    for (size_t i = 0; i < n; i++)
        fn(arg, i);
}

static void worker_free(struct worker *w, const struct ops *ops)
{
    if (w)
        ops->close(w->dev);
    free(w);
}

static struct worker *worker_new(const llm_adapter_inst *inst, unsigned threads, void *stream)
{
    const char *why;
    struct worker *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->most_threads = threads;
    w->stream = stream;
    w->lent = (struct ops_threads){ threads, NULL, run_lent };
    w->dev = inst->ops->open(
        &(struct ops_open){
            .ordinal = inst->ordinal, .lent = &w->lent, .stream = stream, .no_products = true },
        &why);
    if (w->dev)
        return w;
    free(w);
    return NULL;
}

static struct worker *take_worker(llm_adapter_inst *inst, const llm_threads *threads, void *stream)
{
    unsigned count = threads && threads->count ? threads->count : 1;
    pthread_mutex_lock(&inst->lock);
    struct worker *w = inst->idle;
    if (w)
        inst->idle = w->next;
    pthread_mutex_unlock(&inst->lock);
    if (w && (w->most_threads < count || w->stream != stream)) {
        worker_free(w, inst->ops);
        w = NULL;
    }
    if (!w)
        w = worker_new(inst, count, stream);
    if (w) {
        w->lent.count = count;
        w->lent.ctx = (void *)(uintptr_t)threads; /* only read */
    }
    return w;
}

static void give_worker(llm_adapter_inst *inst, struct worker *w)
{
    pthread_mutex_lock(&inst->lock);
    w->next = inst->idle;
    inst->idle = w;
    pthread_mutex_unlock(&inst->lock);
}

/* ---- the vtable ---- */

static void lora_close(llm_adapter_inst *inst)
{
    if (!inst)
        return;
    while (inst->idle) {
        struct worker *w = inst->idle;
        inst->idle = w->next;
        worker_free(w, inst->ops);
    }
    pthread_mutex_destroy(&inst->lock);
    for (size_t i = 0; inst->dev && inst->targets && i < inst->adapter.n; i++) {
        inst->ops->host_free(inst->dev, (void *)(uintptr_t)inst->targets[i].a);
        inst->ops->host_free(inst->dev, (void *)(uintptr_t)inst->targets[i].b);
    }
    inst->ops->close(inst->dev);
    peft_adapter_free(&inst->adapter);
    free(inst->targets);
    free(inst);
}

/* The device is the model's: "cpu" or "cuda:N". */
static llm_status choose_device(llm_adapter_inst *inst, const llm_config *config, llm_error *err)
{
    const llm_str d = config->device;
    const char *why = "it is not cpu or cuda:N";
    inst->ops = ops_cpu();
    if (d.len == 0 || (d.len == 3 && memcmp(d.ptr, "cpu", 3) == 0) ||
        (d.len == 4 && memcmp(d.ptr, "auto", 4) == 0))
        return LLM_OK;
    if (d.len == 6 && memcmp(d.ptr, "cuda:", 5) == 0 && d.ptr[5] >= '0' && d.ptr[5] <= '9') {
        inst->ordinal = d.ptr[5] - '0';
        const struct ops *cuda = ops_cuda(&why);
        if (cuda) {
            inst->ops = cuda;
            inst->dev = cuda->open(
                &(struct ops_open){ .ordinal = inst->ordinal, .no_products = true }, &why);
        }
        if (inst->dev)
            return LLM_OK;
    }
    return fail(err, LLM_E_UNSUPPORTED, "lora: %.*s: device \"%.*s\": %s",
                (int)(config->name.len < 100 ? config->name.len : 100), config->name.ptr,
                (int)(d.len < 40 ? d.len : 40), d.ptr, why);
}

/* The model's layers.  *out is the caller's to free. */
static llm_status collect_sites(const llm_host *host, const llm_svc_sites *svc,
                                const llm_site ***out, size_t *n, llm_error *err)
{
    size_t room = 0;
    const llm_site *site;
    for (*n = 0; (site = svc->at(host, *n)) != NULL; ++*n) {
        if (*n == MAX_SITES)
            return fail(err, LLM_E_INTERNAL, "lora: the model has more than %d layers", MAX_SITES);
        if (*n == room) {
            room = room ? 2 * room : 256;
            const llm_site **more = realloc(*out, room * sizeof *more);
            if (!more)
                return fail(err, LLM_E_NO_MEMORY, "lora: out of memory");
            *out = more;
        }
        (*out)[*n] = site;
    }
    return LLM_OK;
}

static llm_status read_adapter(llm_adapter_inst *inst, const llm_host *host,
                               const llm_config *config, llm_error *err)
{
    char dir[PATH_MAX];
    const llm_site **sites = NULL;
    size_t n_sites = 0;
    struct airlock_error why = { 0 };
    const llm_svc_sites *svc = host->service ? host->service(host, LLM_SVC_SITES) : NULL;
    if (!svc || !svc->at)
        return fail(err, LLM_E_UNSUPPORTED,
                    "lora: this host does not say which layers the model has (%s)", LLM_SVC_SITES);
    if (config->path.len == 0 || config->path.len >= sizeof dir ||
        memchr(config->path.ptr, 0, config->path.len))
        return fail(err, LLM_E_CONFIG, "lora: the path is empty, too long or holds NUL");
    memcpy(dir, config->path.ptr, config->path.len);
    dir[config->path.len] = 0;
    llm_status status = collect_sites(host, svc, &sites, &n_sites, err);
    if (status == LLM_OK &&
        peft_adapter_read(&inst->adapter, dir, sites, n_sites,
                          svc->base_model ? svc->base_model(host) : NULL, &why) < 0)
        status = fail(err,
                      why.code == AIRLOCK_E_NO_MEMORY  ? LLM_E_NO_MEMORY
                      : why.code == AIRLOCK_E_INTERNAL ? LLM_E_INTERNAL
                                                       : LLM_E_CONFIG,
                      "lora: %.*s: %s", (int)(config->name.len < 100 ? config->name.len : 100),
                      config->name.ptr, why.text);
    free(sites);
    return status;
}

/* Moves A and B of all targets to host memory that the device reads by itself: the model keeps
 * those that are used in the device's own, as far as its budget goes. */
static llm_status place_targets(llm_adapter_inst *inst, llm_error *err)
{
    const struct ops *ops = inst->ops;
    for (size_t i = 0; i < inst->adapter.n; i++) {
        struct peft_target *t = &inst->adapter.targets[i];
        llm_lora_target *to = &inst->targets[i];
        const size_t number = ops_dtype_size(t->dtype);
        const size_t a = (size_t)t->rank * t->in_dim * number;
        const size_t b = (size_t)t->rank * t->out_dim * number;
        void *a_to = ops->host_alloc(inst->dev, a), *b_to = ops->host_alloc(inst->dev, b);
        to->a = (uint64_t)(uintptr_t)a_to;
        to->b = (uint64_t)(uintptr_t)b_to;
        if (!a_to || !b_to)
            return fail(err, LLM_E_NO_MEMORY,
                        "lora: no page-locked memory for the adapter's %zu MiB",
                        (size_t)inst->adapter.bytes >> 20);
        memcpy(a_to, t->a, a);
        memcpy(b_to, t->b, b);
        free(t->a);
        free(t->b);
        t->a = t->b = NULL;
    }
    return LLM_OK;
}

static llm_status make_targets(llm_adapter_inst *inst, llm_error *err)
{
    inst->targets = calloc(inst->adapter.n, sizeof *inst->targets);
    if (!inst->targets)
        return fail(err, LLM_E_NO_MEMORY, "lora: out of memory");
    for (size_t i = 0; i < inst->adapter.n; i++) {
        const struct peft_target *t = &inst->adapter.targets[i];
        inst->targets[i] = (llm_lora_target){ sizeof(llm_lora_target),
                                              (uint32_t)t->dtype,
                                              t->rank,
                                              t->in_dim,
                                              t->out_dim,
                                              t->scale,
                                              inst->dev ? 0 : (uint64_t)(uintptr_t)t->a,
                                              inst->dev ? 0 : (uint64_t)(uintptr_t)t->b };
    }
    return inst->dev ? place_targets(inst, err) : LLM_OK;
}

static llm_status lora_open(const llm_host *host, const llm_config *config, llm_adapter_inst **out,
                            llm_error *err)
{
    llm_adapter_inst *inst = calloc(1, sizeof *inst);
    if (!inst)
        return fail(err, LLM_E_NO_MEMORY, "lora: out of memory");
    pthread_mutex_init(&inst->lock, NULL);
    llm_status status = choose_device(inst, config, err);
    if (status == LLM_OK)
        status = read_adapter(inst, host, config, err);
    if (status == LLM_OK)
        status = make_targets(inst, err);
    if (status != LLM_OK) {
        lora_close(inst);
        return status;
    }
    *out = inst;
    return LLM_OK;
}

static int compare_module(const void *module, const void *target)
{
    return strcmp(module, ((const struct peft_target *)target)->module);
}

static const llm_lora_target *lora_target(llm_adapter_inst *inst, const char *module)
{
    const struct peft_target *t =
        bsearch(module, inst->adapter.targets, inst->adapter.n, sizeof *t, compare_module);
    return t ? &inst->targets[t - inst->adapter.targets] : NULL;
}

static uint64_t lora_memory(llm_adapter_inst *inst)
{
    return inst->adapter.bytes;
}

enum { BATCH = 64 }; /* segments handed to the ops at once */

static llm_status run_segments(llm_adapter_inst *inst, const llm_lora_io *io,
                               const struct ops_lora_segment *segments, size_t n, size_t in,
                               size_t out, llm_error *err)
{
    struct worker *w = take_worker(inst, io->threads, io->stream);
    if (!w)
        return fail(err, LLM_E_NO_MEMORY, "lora: out of memory");
    enum ops_status status =
        inst->ops->lora(w->dev, (void *)(uintptr_t)io->y, (const void *)(uintptr_t)io->x, io->rows,
                        in, out, segments, n);
    give_worker(inst, w);
    switch (status) {
    case OPS_OK:
        return LLM_OK;
    case OPS_E_MEMORY:
        return fail(err, LLM_E_NO_MEMORY, "lora: out of memory");
    case OPS_E_SHAPE:
        return fail(err, LLM_E_INVALID, "lora: rows outside the batch");
    case OPS_E_DEVICE:
        break;
    }
    return fail(err, LLM_E_DEVICE, "lora: the device failed");
}

static struct ops_lora_segment segment_of(const llm_lora_target *t, size_t first_row, size_t rows)
{
    return (struct ops_lora_segment){ first_row,
                                      rows,
                                      (const void *)(uintptr_t)t->a,
                                      (const void *)(uintptr_t)t->b,
                                      (enum ops_dtype)t->dtype,
                                      t->rank,
                                      t->scale };
}

static llm_status check_io(const llm_adapter_inst *inst, const llm_lora_io *io, llm_error *err)
{
    if (io->dtype == (uint32_t)inst->ops->act)
        return LLM_OK;
    return fail(err, LLM_E_INVALID, "lora: rows on the %s must be %s", inst->ops->name,
                inst->dev ? "bfloat16" : "float32");
}

static llm_status lora_apply(llm_adapter_inst *inst, const llm_lora_target *target,
                             const llm_lora_io *io, llm_error *err)
{
    llm_status status = check_io(inst, io, err);
    if (status != LLM_OK || io->rows == 0)
        return status;
    struct ops_lora_segment one = segment_of(target, 0, io->rows);
    return run_segments(inst, io, &one, 1, target->in_dim, target->out_dim, err);
}

static llm_status lora_apply_batch(const llm_lora_io *io, const llm_lora_segment *const *segments,
                                   uint64_t n_segments, llm_error *err)
{
    struct ops_lora_segment some[BATCH];
    llm_status status = n_segments ? check_io(segments[0]->inst, io, err) : LLM_OK;
    for (uint64_t i = 0; status == LLM_OK && i < n_segments;) {
        const llm_lora_target *first = segments[i]->target;
        size_t n = 0;
        uint64_t from = i;
        for (; n < BATCH && i < n_segments; i++) {
            const llm_lora_target *t = segments[i]->target;
            if (t->in_dim != first->in_dim || t->out_dim != first->out_dim)
                return fail(err, LLM_E_INVALID, "lora: segments of different layers in one call");
            some[n++] = segment_of(t, segments[i]->first_row, segments[i]->rows);
        }
        status =
            run_segments(segments[from]->inst, io, some, n, first->in_dim, first->out_dim, err);
    }
    return status;
}

static const llm_adapter_class lora_class = {
    .struct_size = sizeof(llm_adapter_class),
    .open = lora_open,
    .target = lora_target,
    .apply = lora_apply,
    .close = lora_close,
    .apply_batch = lora_apply_batch,
    .memory = lora_memory,
};
static const llm_class adapter_class = { sizeof(llm_class), LLM_KIND_ADAPTER, "LoraAdapter", NULL,
                                         &lora_class };
static const llm_class *const classes[] = { &adapter_class, NULL };
static const llm_plugin plugin = { LLM_PLUGIN_HEAD, "airlock.lora", PACKAGE_VERSION, classes };

LLM_NOTE(LLM_KIND_ADAPTER);

const llm_plugin *llm_plugin_query_1(void)
{
    return &plugin;
}
