/* engine.c - opens a checkpoint in order, from what is quick to check to what is slow, and sizes
 * the KV cache. */
#include "engine.h"

#include "memory_plan.h"
#include "phi4_weights.h"
#include "tensor.h"
#include "weights_reader.h"

#include <stdio.h>
#include <stdlib.h>

struct engine {
    struct phi4_config config;
    struct tokenizer *tokenizer;
    struct safetensors *st;
    const struct ops *ops;
    struct ops_device *dev;
    struct phi4_weights weights;
    struct kv_cache kv;
    struct scheduler *scheduler;
    struct constraints *constraints;
    size_t max_context, max_batch, n_blocks;
    enum ops_dtype kv_dtype;
    enum ops_dtype stored; /* of the weights that are used as they are, on this device */
    enum ops_dtype dtype;  /* of the linear layers; 0: as stored */
    char description[256];
    struct turns turns; /* of the device */
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The longest sequence that the model itself allows.  Attention over a sliding window is the same
 * as full attention up to its length. */
static size_t model_context(const struct phi4_config *c)
{
    size_t most = c->max_position_embeddings;
    return c->sliding_window ? least(most, c->sliding_window) : most;
}

static int choose_context(struct engine *e, const struct engine_options *o,
                          struct airlock_error *err)
{
    size_t most = model_context(&e->config);
    e->max_context = o->max_context ? o->max_context : least(most, ENGINE_DEFAULT_CONTEXT);
    if (e->max_context > most || e->max_context < 2)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "max_context %zu: this model's is 2 to %zu tokens", e->max_context,
                                 most);
    e->max_batch = o->max_batch ? o->max_batch : ENGINE_DEFAULT_BATCH;
    if (e->max_batch > ENGINE_MAX_BATCH)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "max_batch %zu: at most %d", e->max_batch,
                                 ENGINE_MAX_BATCH);
    if (o->prefill_chunk > ENGINE_MAX_PREFILL_CHUNK)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "prefill_chunk %zu: at most %d",
                                 o->prefill_chunk, ENGINE_MAX_PREFILL_CHUNK);
    return 0;
}

/* How many blocks kv_memory gives; when max_context was left open, it gives way. */
static int choose_blocks(struct engine *e, const struct engine_options *o,
                         struct airlock_error *err)
{
    struct ops_heads heads = phi4_heads(&e->config);
    size_t block = kv_cache_block_bytes(e->config.num_hidden_layers, &heads, e->kv_dtype);
    size_t full = kv_cache_blocks_for(e->max_context); /* blocks of one longest sequence */
    e->n_blocks = full * least(e->max_batch, ENGINE_DEFAULT_FULL_CONTEXTS);
    if (o->kv_memory == 0)
        return 0;
    uint64_t given = o->kv_memory / block;
    e->n_blocks = given < full * e->max_batch ? (size_t)given : full * e->max_batch;
    if (e->n_blocks >= full)
        return 0;
    if (o->max_context || e->n_blocks == 0)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "kv_memory %llu bytes: one sequence of max_context %zu tokens "
                                 "needs %zu",
                                 (unsigned long long)o->kv_memory, e->max_context, full * block);
    e->max_context = e->n_blocks * OPS_KV_BLOCK;
    return 0;
}

static int open_files(struct engine *e, const struct engine_options *o, struct airlock_error *err)
{
    if (phi4_config_read(o->dir, &e->config, err) || choose_context(e, o, err))
        return -1;
    e->tokenizer = tokenizer_open(o->dir, err);
    if (!e->tokenizer)
        return -1;
    e->constraints = constraints_new(e->tokenizer, e->config.eos_token_id, e->config.n_eos);
    if (!e->constraints)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
    e->st = safetensors_open_dir(o->dir, err);
    return e->st ? 0 : -1;
}

static const char *dtype_name(enum ops_dtype t)
{
    static const char *const names[] = {
        [OPS_F32] = "f32", [OPS_BF16] = "bf16", [OPS_F16] = "f16",
        [OPS_FP8] = "fp8", [OPS_INT8] = "int8", [OPS_INT4] = "int4"
    };
    return names[t];
}

/* What types of numbers the weights and the cache will have. */
static int choose_dtypes(struct engine *e, const struct engine_options *o,
                         struct airlock_error *err)
{
    const struct safetensors_view *v = safetensors_find(e->st, "model.embed_tokens.weight");
    e->stored = OPS_BF16;
    if (v && !e->ops->memory && tensor_dtype(v, &e->stored, err)) /* else phi4_weights_load says */
        return -1;
    if (ops_quantized(o->dtype) && !e->ops->matrix_quantize)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "dtype %s: device %s has no compressed weights",
                                 dtype_name(o->dtype), e->ops->name);
    if (ops_quantized(o->dtype))
        e->dtype = o->dtype;
    else if (v && o->dtype && o->dtype != e->stored)
        return airlock_error_set(
            err, AIRLOCK_E_CONFIG,
            "dtype %s: the weights are %s on this device, and are used as they are, or compressed "
            "to fp8, int8 or int4",
            dtype_name(o->dtype), dtype_name(e->stored));
    e->kv_dtype = o->kv_dtype ? o->kv_dtype : e->stored;
    return 0;
}

/* ---- a device with memory of its own --------------------------------------------------------- */

static struct scheduler_options scheduler_options_of(struct engine *e,
                                                     const struct engine_options *o)
{
    return (struct scheduler_options){ .forward = { .config = &e->config,
                                                    .weights = &e->weights,
                                                    .ops = e->ops,
                                                    .dev = e->dev,
                                                    .hook = o->hook },
                                       .kv = &e->kv,
                                       .tokenizer = e->tokenizer,
                                       .turns = &e->turns,
                                       .max_context = e->max_context,
                                       .max_batch = e->max_batch,
                                       .prefill_chunk = o->prefill_chunk
                                                            ? o->prefill_chunk
                                                            : ENGINE_DEFAULT_PREFILL_CHUNK };
}

static unsigned long long mib(uint64_t bytes)
{
    return (unsigned long long)((bytes + (1 << 20) - 1) >> 20);
}

/* Whether weights, KV cache and the rest fit, said before the minute that copying may take.  A KV
 * cache that nobody asked for gives way, down to one longest sequence. */
static int check_memory(struct engine *e, const struct engine_options *o, struct airlock_error *err)
{
    uint64_t left, total;
    if (e->ops->memory(e->dev, &left, &total) != OPS_OK)
        return airlock_error_set(err, AIRLOCK_E_DEVICE, "device %s: the device is lost",
                                 e->ops->name);
    const struct scheduler_options options = scheduler_options_of(e, o);
    const struct memory_use use = { e->dtype, e->stored, e->kv_dtype, &options };
    const struct memory_plan plan = memory_plan_make(&e->config, &use);
    const size_t block = (size_t)plan.kv_block;
    const size_t least_blocks = kv_cache_blocks_for(e->max_context);
    const uint64_t weights = plan.weights + (o->besides ? o->besides(o->besides_ctx, e->st) : 0);
    const uint64_t rest = plan.buffers;
    const bool limited = o->device_memory && o->device_memory < left;
    const uint64_t most = limited ? o->device_memory : left;
    const uint64_t for_kv = most > weights + rest ? most - weights - rest : 0;
    if (o->kv_memory == 0 && e->n_blocks > for_kv / block && for_kv / block >= least_blocks)
        e->n_blocks = (size_t)(for_kv / block);
    const uint64_t kv = (uint64_t)e->n_blocks * block;
    if (kv <= for_kv)
        return 0;
    char limit[64] = "";
    if (limited)
        snprintf(limit, sizeof limit, ", device_memory allows %llu MiB", mib(most));
    return airlock_error_set(
        err, AIRLOCK_E_NO_MEMORY,
        "device %s: the model needs %llu MiB (weights %llu, KV cache for %zu tokens %llu, buffers "
        "%llu), and %llu of its %llu MiB are free%s: choose dtype int8 or int4, lower max_context, "
        "kv_memory or max_batch, end what else uses the device, or choose device \"cpu\"",
        e->ops->name, mib(weights + kv + rest), mib(weights), e->n_blocks * OPS_KV_BLOCK, mib(kv),
        mib(rest), mib(left), mib(total), limit);
}

/* Copies wait for the reader, and tell how far they are. */
struct loading {
    const struct engine_options *o;
    struct weights_reader *reader;
    uint64_t done, total;
};

static int poll_progress(void *ctx)
{
    const struct loading *l = ctx;
    return l->o->progress ? l->o->progress(l->o->progress_ctx, l->done, l->total) : 0;
}

static int tensor_ready(void *ctx, uint64_t end, struct airlock_error *err)
{
    struct loading *l = ctx;
    if (weights_reader_wait(l->reader, end, poll_progress, l, err))
        return -1;
    /* The bytes before this tensor have been handed to the device. */
    if (poll_progress(l))
        return airlock_error_set(err, AIRLOCK_E_CANCELLED, "loading was cancelled");
    l->done = end;
    return 0;
}

static int copy_weights(struct engine *e, const struct engine_options *o, struct airlock_error *err)
{
    struct loading l = { .o = o, .total = safetensors_total_bytes(e->st) };
    const struct phi4_weights_gate gate = { &l, tensor_ready };
    l.reader = weights_reader_start(e->st, err);
    if (!l.reader)
        return -1;
    int status =
        phi4_weights_load_by(&e->weights, &e->config, e->dtype, e->st, e->ops, e->dev, &gate, err);
    if (status == 0)
        status = weights_reader_wait(l.reader, l.total, poll_progress, &l, err);
    weights_reader_stop(l.reader);
    if (status == 0 && e->ops->sync(e->dev) != OPS_OK)
        status =
            airlock_error_set(err, AIRLOCK_E_DEVICE, "device %s: the device is lost", e->ops->name);
    l.done = l.total;
    if (status == 0 && poll_progress(&l))
        status = airlock_error_set(err, AIRLOCK_E_CANCELLED, "loading was cancelled");
    return status;
}

/* All layers' matrices of one kind: their places in struct phi4_layer. */
static int tune_kind(struct engine *e, size_t offset, size_t max_rows, struct airlock_error *err)
{
    const struct ops_matrix *all[16];
    size_t n = least(e->weights.n_layers, sizeof all / sizeof *all);
    for (size_t i = 0; i < n; i++)
        all[i] = (const struct ops_matrix *)((const char *)&e->weights.layers[i] + offset);
    return e->ops->tune(e->dev, all, n, max_rows, false) == OPS_OK
               ? 0
               : airlock_error_set(err, AIRLOCK_E_DEVICE,
                                   "device %s: its products could not be timed", e->ops->name);
}

static int tune_products(struct engine *e, const struct engine_options *o,
                         struct airlock_error *err)
{
    static const size_t kinds[] = { offsetof(struct phi4_layer, qkv_proj),
                                    offsetof(struct phi4_layer, o_proj),
                                    offsetof(struct phi4_layer, gate_up_proj),
                                    offsetof(struct phi4_layer, down_proj) };
    const struct scheduler_options options = scheduler_options_of(e, o);
    const struct ops_matrix *head = &e->weights.lm_head;
    if (!e->ops->tune)
        return 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (tune_kind(e, kinds[i], scheduler_max_rows(&options), err))
            return -1;
    return e->ops->tune(e->dev, &head, 1, e->max_batch, true) == OPS_OK
               ? 0
               : airlock_error_set(err, AIRLOCK_E_DEVICE,
                                   "device %s: its products could not be timed", e->ops->name);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Where weights are used in place. */
static int page_in(struct engine *e, const struct engine_options *o, struct airlock_error *err)
{
    return o->progress ? safetensors_prefault(e->st, o->progress, o->progress_ctx, err) : 0;
}

/* On the host.  What is compressed is read once, and then needed no longer. */
static int load_in_place(struct engine *e, const struct engine_options *o,
                         struct airlock_error *err)
{
    if (e->dtype && page_in(e, o, err))
        return -1;
    if (phi4_weights_load(&e->weights, &e->config, e->dtype, e->st, e->ops, e->dev, err))
        return -1;
    if (!e->dtype)
        return page_in(e, o, err);
    safetensors_release(e->st);
    return 0;
}

static int open_device(struct engine *e, const struct engine_options *o, struct airlock_error *err)
{
    const char *why = "unknown reason";
    e->ops = o->ops;
    e->dev = o->ops->open(&o->device, &why);
    if (!e->dev)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "device %s: %s", o->ops->name, why);
    if (choose_dtypes(e, o, err) || choose_blocks(e, o, err))
        return -1;
    if (!e->ops->memory)
        return load_in_place(e, o, err);
    return check_memory(e, o, err) || copy_weights(e, o, err) || tune_products(e, o, err) ? -1 : 0;
}

static int start(struct engine *e, const struct engine_options *o, struct airlock_error *err)
{
    struct ops_heads heads = phi4_heads(&e->config);
    if (kv_cache_init(&e->kv, e->ops, e->dev, e->config.num_hidden_layers, &heads, e->kv_dtype,
                      e->n_blocks, err))
        return -1;
    const struct scheduler_options options = scheduler_options_of(e, o);
    e->scheduler = scheduler_start(&options, err);
    return e->scheduler ? 0 : -1;
}

static void describe(struct engine *e)
{
    struct ops_heads heads = phi4_heads(&e->config);
    size_t block = kv_cache_block_bytes(e->config.num_hidden_layers, &heads, e->kv_dtype);
    const uint64_t weights = e->dtype ? phi4_weights_bytes(&e->config, e->dtype, e->stored)
                                      : safetensors_total_bytes(e->st);
    snprintf(
        e->description, sizeof e->description,
        "%s; %zu layers, %llu MiB of weights as %s; context %zu, at most %zu at once, KV cache "
        "%zu tokens of %s (up to %zu MiB)",
        e->ops->describe(e->dev), e->config.num_hidden_layers, (unsigned long long)(weights >> 20),
        dtype_name(e->dtype ? e->dtype : e->stored), e->max_context, e->max_batch,
        e->n_blocks * OPS_KV_BLOCK, dtype_name(e->kv_dtype), e->n_blocks * block >> 20);
}

struct engine *engine_open(const struct engine_options *options, struct airlock_error *err)
{
    struct engine *e = calloc(1, sizeof *e);
    if (!e) {
        airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
        return NULL;
    }
    turns_init(&e->turns);
    if (open_files(e, options, err) || open_device(e, options, err) || start(e, options, err)) {
        engine_close(e);
        return NULL;
    }
    describe(e);
    return e;
}

void engine_stop(struct engine *e)
{
    if (!e)
        return;
    scheduler_stop(e->scheduler);
    e->scheduler = NULL;
}

void engine_close(struct engine *e)
{
    if (!e)
        return;
    engine_stop(e);
    turns_destroy(&e->turns);
    if (e->dev) {
        kv_cache_free(&e->kv);
        phi4_weights_free(&e->weights, e->ops, e->dev);
        e->ops->close(e->dev);
    }
    safetensors_close(e->st);
    constraints_free(e->constraints);
    tokenizer_close(e->tokenizer);
    free(e);
}

const struct phi4_config *engine_config(const struct engine *e)
{
    return &e->config;
}

const struct tokenizer *engine_tokenizer(const struct engine *e)
{
    return e->tokenizer;
}

struct scheduler *engine_scheduler(struct engine *e)
{
    return e->scheduler;
}

struct constraints *engine_constraints(struct engine *e)
{
    return e->constraints;
}

const struct safetensors *engine_checkpoint(const struct engine *e)
{
    return e->st;
}

struct ops_device *engine_device(struct engine *e)
{
    return e->dev;
}

struct turns *engine_turns(struct engine *e)
{
    return &e->turns;
}

size_t engine_max_context(const struct engine *e)
{
    return e->max_context;
}

const struct ops_threads *engine_threads(struct engine *e)
{
    return e->ops->threads(e->dev);
}

void *engine_stream(struct engine *e)
{
    return e->ops->stream(e->dev);
}

const char *engine_describe(const struct engine *e)
{
    return e->description;
}
