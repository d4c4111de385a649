/* model.c - a Phi-4 model behind the ABI: configuration and the life cycle around the engine; what
 * the plugins of one text model have in common. */
#include "model.h"

#include "common/json.h"
#include "extensions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- errors ---------------------------------------------------------------------------------- */

static llm_status status_of(enum airlock_status code)
{
    switch (code) {
    case AIRLOCK_E_UNSUPPORTED:
        return LLM_E_UNSUPPORTED;
    case AIRLOCK_E_REQUEST:
        return LLM_E_REQUEST;
    case AIRLOCK_E_CONFIG:
    case AIRLOCK_E_SHAPE:
    case AIRLOCK_E_NOT_FOUND:
    case AIRLOCK_E_TOO_LARGE:
    case AIRLOCK_E_IO:
        return LLM_E_CONFIG;
    case AIRLOCK_E_NO_MEMORY:
        return LLM_E_NO_MEMORY;
    case AIRLOCK_E_DEVICE:
        return LLM_E_DEVICE;
    case AIRLOCK_E_CANCELLED:
        return LLM_E_CANCELLED;
    case AIRLOCK_E_INVALID:
        return LLM_E_INVALID;
    default:
        return LLM_E_INTERNAL;
    }
}

llm_status phi4_failed(const llm_model *m, llm_error *out, const struct airlock_error *err)
{
    llm_status status = status_of(err->code);
    if (out) {
        out->code = status;
        snprintf(out->text, sizeof out->text, "%s: %.480s", m->variant->name, err->text);
    }
    return status;
}

/* ---- configuration --------------------------------------------------------------------------- */

static bool is(llm_str s, const char *word)
{
    return s.len == strlen(word) && memcmp(s.ptr, word, s.len) == 0;
}

/* m->options.device.ordinal is set.  NULL: done.  Otherwise a sentence. */
static const char *choose_cuda(llm_model *m)
{
    const char *why = "this build has no CUDA operations";
    const struct ops *ops = ops_cuda(&why);
    if (ops)
        why = ops->missing(m->options.device.ordinal);
    if (why)
        return why;
    m->ops = ops;
    snprintf(m->device, sizeof m->device, "cuda:%d", m->options.device.ordinal);
    return NULL;
}

static void choose_auto(llm_model *m)
{
    char line[300];
    const char *why = choose_cuda(m);
    if (!why)
        return;
    snprintf(line, sizeof line, "device auto: the CPU, because %s", why);
    m->host->log(m->host, LLM_LOG_INFO, line, strlen(line));
}

static int choose_device(llm_model *m, llm_str device, struct airlock_error *err)
{
    m->ops = ops_cpu();
    snprintf(m->device, sizeof m->device, "cpu");
    if (is(device, "cpu"))
        return 0;
    if (device.len == 0 || is(device, "auto")) {
        choose_auto(m);
        return 0;
    }
    bool cuda = is(device, "cuda");
    if (!cuda && device.len == 6 && memcmp(device.ptr, "cuda:", 5) == 0 && device.ptr[5] >= '0' &&
        device.ptr[5] <= '9') {
        m->options.device.ordinal = device.ptr[5] - '0';
        cuda = true;
    }
    if (!cuda)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "device \"%.*s\" is not auto, cpu, cuda or cuda:N",
                                 (int)(device.len < 32 ? device.len : 32), device.ptr);
    const char *why = choose_cuda(m);
    return why ? airlock_error_set(err, AIRLOCK_E_CONFIG, "device cuda: %s", why) : 0;
}

struct dtype_name {
    const char *name;
    enum ops_dtype dtype;
};

/* 0, or -1: none of the names, of which the last is NULL. */
static int find_dtype(const struct dtype_name *known, llm_str name, enum ops_dtype *out)
{
    for (size_t i = 0; known[i].name; i++) {
        if (is(name, known[i].name)) {
            *out = known[i].dtype;
            return 0;
        }
    }
    return -1;
}

static int choose_dtype(llm_model *m, llm_str dtype, struct airlock_error *err)
{
    static const struct dtype_name known[] = { { "auto", 0 },
                                               { "bf16", OPS_BF16 },
                                               { "bfloat16", OPS_BF16 },
                                               { "f16", OPS_F16 },
                                               { "float16", OPS_F16 },
                                               { "f32", OPS_F32 },
                                               { "float32", OPS_F32 },
                                               { "fp8", OPS_FP8 },
                                               { "int8", OPS_INT8 },
                                               { "int4", OPS_INT4 },
                                               { NULL, 0 } };
    if (dtype.len == 0 || find_dtype(known, dtype, &m->options.dtype) == 0)
        return 0;
    return airlock_error_set(err, AIRLOCK_E_CONFIG,
                             "dtype \"%.*s\" is not fp8, int8 or int4, nor bf16, f16 or f32 (the "
                             "weights' own; leave it out)",
                             (int)(dtype.len < 32 ? dtype.len : 32), dtype.ptr);
}

static int choose_kv_dtype(llm_model *m, const char *name, struct airlock_error *err)
{
    static const struct dtype_name known[] = { { "auto", 0 }, { "fp8", OPS_FP8 }, { NULL, 0 } };
    const llm_str text = { name, strlen(name) };
    if (find_dtype(known, text, &m->options.kv_dtype) == 0)
        return 0;
    return airlock_error_set(err, AIRLOCK_E_CONFIG,
                             "options.kv_dtype \"%.32s\" is neither auto nor fp8", name);
}

static int read_options(llm_model *m, llm_str text, struct airlock_error *err)
{
    if (text.len == 0)
        return 0;
    struct json_object *o = json_parse(text.ptr, text.len, err);
    int64_t chunk = 0;
    const char *kv_dtype = "auto";
    if (!o)
        return airlock_error_wrap(err, "options");
    int status = 0;
    if (!json_object_is_type(o, json_type_object))
        status = airlock_error_set(err, AIRLOCK_E_CONFIG, "options must be an object");
    else if (json_only_keys(o, "options.", m->variant->option_keys, err) ||
             json_get_string(o, "options.", "kv_dtype", &kv_dtype, NULL, err) < 0 ||
             choose_kv_dtype(m, kv_dtype, err) ||
             json_get_bool(o, "options.", "original_prompt", &m->original_prompt, err) < 0 ||
             json_get_int(o, "options.", "prefill_chunk", 1, ENGINE_MAX_PREFILL_CHUNK, &chunk,
                          err) < 0 ||
             json_get_size(o, "options.", "device_memory", &m->options.device_memory, err) < 0 ||
             json_get_size(o, "options.", "adapter_memory", &m->adapter_memory, err) < 0 ||
             json_get_bool(o, "options.", "fp8_activations", &m->options.device.fp8_activations,
                           err) < 0 ||
             (m->variant->read_options && m->variant->read_options(m, o, err)))
        status = -1;
    json_object_put(o);
    m->options.prefill_chunk = (size_t)chunk;
    return status;
}

static int configure(llm_model *m, const llm_config *c, struct airlock_error *err)
{
    char path[PATH_MAX];
    if (c->path.len == 0 || c->path.len >= sizeof path || memchr(c->path.ptr, 0, c->path.len))
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "model_path is empty or too long");
    memcpy(path, c->path.ptr, c->path.len);
    path[c->path.len] = 0;
    if (phi4_model_dir(path, m->dir, sizeof m->dir, err) || choose_device(m, c->device, err) ||
        choose_dtype(m, c->dtype, err) || read_options(m, c->options_json, err))
        return -1;
    if (m->options.device.fp8_activations && m->options.dtype != OPS_FP8)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "options.fp8_activations needs dtype fp8: leave it out");
    if (c->threads > 4096)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "threads %llu: at most 4096",
                                 (unsigned long long)c->threads);
    m->options.dir = m->dir;
    m->options.ops = m->ops;
    m->options.device.threads = (unsigned)c->threads;
    m->options.max_context = (size_t)c->max_context;
    m->options.max_batch = (size_t)c->max_batch;
    m->options.kv_memory = c->kv_memory;
    return 0;
}

/* ---- the vtable ------------------------------------------------------------------------------ */

void phi4_destroy(llm_model *m)
{
    if (!m)
        return;
    if (m->variant->unload)
        m->variant->unload(m);
    engine_stop(m->engine); /* adapters lie on its device */
    adapters_free(&m->adapters);
    engine_close(m->engine);
    model_sites_free(&m->sites);
    free(m);
}

static llm_model *new_model(const struct phi4_variant *variant, const llm_host *host,
                            struct airlock_error *err)
{
    llm_model *m = calloc(1, sizeof *m);
    if (m && adapters_init(&m->adapters) == 0) {
        m->host = host;
        m->variant = variant;
        m->options.hook = &m->adapters.hook;
        m->adapter_memory = (uint64_t)ADAPTERS_DEFAULT_MIB << 20;
        return m;
    }
    free(m);
    airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
    return NULL;
}

llm_status phi4_create(const struct phi4_variant *variant, const llm_host *host,
                       const llm_config *config, llm_model **out, llm_error *error)
{
    struct airlock_error err;
    const llm_model nameless = { .variant = variant };
    llm_model *m = new_model(variant, host, &err);
    if (!m)
        return phi4_failed(&nameless, error, &err);
    if ((variant->init && variant->init(m, &err)) || configure(m, config, &err)) {
        phi4_destroy(m);
        return phi4_failed(&nameless, error, &err);
    }
    *out = m;
    return LLM_OK;
}

static int progress(void *ctx, uint64_t done, uint64_t total)
{
    const llm_sink *sink = ctx;
    if (LLM_HAS(sink, llm_sink, progress) && sink->progress)
        sink->progress(sink, done, total);
    return sink->cancelled(sink);
}

llm_status phi4_load(llm_model *m, const llm_sink *sink, llm_error *error)
{
    struct airlock_error err;
    m->options.progress = progress;
    m->options.progress_ctx = (void *)sink;
    m->options.besides = m->variant->besides;
    m->options.besides_ctx = m;
    m->engine = engine_open(&m->options, &err);
    if (!m->engine)
        return phi4_failed(m, error, &err);
    if (model_sites_init(&m->sites, engine_config(m->engine))) {
        airlock_error_set(&err, AIRLOCK_E_NO_MEMORY, "out of memory");
        return phi4_failed(m, error, &err);
    }
    m->adapters.sites = &m->sites;
    m->adapters.act = (uint32_t)m->ops->act; /* the same numbers: see the assertions below */
    m->adapters.threads = engine_threads(m->engine);
    m->adapters.stream = engine_stream(m->engine);
    if (m->ops->memory)
        adapters_use_device(&m->adapters, m->ops, engine_device(m->engine), m->adapter_memory);
    if (m->variant->load && m->variant->load(m, &err))
        return phi4_failed(m, error, &err);
    const char *line = engine_describe(m->engine);
    m->host->log(m->host, LLM_LOG_INFO, line, strlen(line));
    return LLM_OK;
}

_Static_assert((int)OPS_F32 == LLM_F32 && (int)OPS_BF16 == LLM_BF16 && (int)OPS_F16 == LLM_F16,
               "element types have the same numbers in ops.h and llm_adapter.h");

int phi4_context(llm_model *m, struct generate_context *out, struct airlock_error *err)
{
    if (!m->engine)
        return airlock_error_set(err, AIRLOCK_E_INVALID, "the model is not loaded");
    *out = (struct generate_context){ .engine = m->engine,
                                      .adapters = &m->adapters,
                                      .original_prompt = m->original_prompt,
                                      .media = m->variant->media,
                                      .media_ctx = m->media };
    return 0;
}

llm_status phi4_generate(llm_model *m, const llm_request *request, const llm_sink *sink,
                         llm_stats *stats, llm_error *error)
{
    struct generate_context g;
    struct airlock_error err;
    if (phi4_context(m, &g, &err) || generate_run(&g, request, sink, stats, &err))
        return phi4_failed(m, error, &err);
    return LLM_OK;
}

const llm_site *phi4_site(llm_model *m, uint64_t i)
{
    return i < m->sites.n ? &m->sites.sites[i] : NULL;
}

const char *phi4_device(llm_model *m)
{
    return m->device;
}

llm_status phi4_attach(llm_model *m, const llm_adapter *adapter, llm_error *error)
{
    struct airlock_error err = { .code = AIRLOCK_E_INVALID, .text = "attach() before load()" };
    if (!m->engine || adapters_attach(&m->adapters, adapter, &err))
        return phi4_failed(m, error, &err);
    return LLM_OK;
}

void phi4_detach(llm_model *m, const llm_adapter *adapter)
{
    struct adapter_binding *b = adapters_detach(&m->adapters, adapter);
    if (!b)
        return;
    /* A cancelled request may be in the running step for a moment after generate() returned. */
    scheduler_forget(engine_scheduler(m->engine), b);
    adapter_binding_free(&m->adapters, b);
}
