/*
 * bad_adapter.c - an adapter plugin that breaks exactly one rule, chosen with -DBREAK=..., to see
 * that it is noticed.
 */
#include <airlock/llm_adapter.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum { NOTHING, WRONG_TARGET, ROWS_TOGETHER, SHARED_SCRATCH, OTHER_BATCH, OPEN_LEAKS };

struct llm_adapter_inst {
    llm_lora_target target;
    volatile float scratch;
    char *leak;
};

static llm_status open_(const llm_host *host, const llm_config *config, llm_adapter_inst **out,
                        llm_error *err)
{
    if (config->path.len == 0 || memcmp(config->path.ptr, "/nonexistent", 12) == 0) {
        strcpy(err->text, "bad: no such directory");
        return err->code = LLM_E_CONFIG;
    }
    llm_adapter_inst *inst = calloc(1, sizeof *inst);
    const llm_svc_sites *sites = host->service(host, LLM_SVC_SITES);
    if (!inst || !sites)
        abort();
    const llm_site *site = sites->at(host, 0);
    inst->target = (llm_lora_target){ .struct_size = sizeof inst->target,
                                      .in_dim = site->in_dim + (BREAK == WRONG_TARGET),
                                      .out_dim = site->out_dim,
                                      .scale = 1 };
    if (BREAK == OPEN_LEAKS)
        inst->leak = calloc(1, 1000);
    *out = inst;
    return LLM_OK;
}

static const llm_lora_target *target(llm_adapter_inst *inst, const char *module)
{
    return strcmp(module, "model.layers.0.self_attn.qkv_proj") == 0 ? &inst->target : NULL;
}

static void add(llm_adapter_inst *inst, const llm_lora_target *t, const llm_lora_io *io,
                uint64_t first, uint64_t rows, float factor)
{
    const float *x = (const float *)(uintptr_t)io->x;
    float *y = (float *)(uintptr_t)io->y;
    for (uint64_t i = first; i < first + rows; i++) {
        float from = x[i * t->in_dim];
        if (BREAK == ROWS_TOGETHER)
            from += (float)rows;
        if (BREAK == SHARED_SCRATCH) {
            inst->scratch = from;
            sched_yield();
            from = inst->scratch;
        }
        for (uint64_t k = 0; k < t->out_dim; k++)
            y[i * t->out_dim + k] += factor * from;
    }
}

static llm_status apply(llm_adapter_inst *inst, const llm_lora_target *t, const llm_lora_io *io,
                        llm_error *err)
{
    (void)err;
    add(inst, t, io, 0, io->rows, 1);
    return LLM_OK;
}

static llm_status apply_batch(const llm_lora_io *io, const llm_lora_segment *const *segments,
                              uint64_t n, llm_error *err)
{
    (void)err;
    for (uint64_t i = 0; i < n; i++)
        add(segments[i]->inst, segments[i]->target, io, segments[i]->first_row, segments[i]->rows,
            BREAK == OTHER_BATCH ? 2 : 1);
    return LLM_OK;
}

static void close_(llm_adapter_inst *inst)
{
    free(inst);
}

static const llm_adapter_class adapter_class = {
    sizeof adapter_class, 0, open_, target, apply, close_, apply_batch, NULL
};
static const llm_class class = { sizeof class, LLM_KIND_ADAPTER, "BadAdapter", NULL,
                                 &adapter_class };
static const llm_class *const classes[] = { &class, NULL };
static const llm_plugin plugin = { LLM_PLUGIN_HEAD, "org.example.bad-adapter", "1", classes };

const llm_plugin *llm_plugin_query_1(void)
{
    return &plugin;
}
