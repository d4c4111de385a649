/*
 * builtin.c - an adapter and linear layers of the checker's own, for plugins that come without a
 * partner.
 *
 * The adapter's directory name is its number s: y += s * x[0] on every output.  "wrong" instead has
 * targets of a shape that no layer has.
 */
#include "check.h"

#include <stdlib.h>
#include <string.h>

enum { SITES_MAX = 4096 };

struct llm_adapter_inst {
    llm_lora_target targets[SITES_MAX];
    const char *modules[SITES_MAX];
    unsigned n;
};

static llm_status builtin_open(const llm_host *host, const llm_config *config,
                               llm_adapter_inst **out, llm_error *err)
{
    llm_adapter_inst *inst = calloc(1, sizeof *inst);
    const llm_svc_sites *sites = host->service(host, LLM_SVC_SITES);
    if (!inst || !sites) {
        free(inst);
        return err->code = LLM_E_INTERNAL;
    }
    bool wrong = config->path.len == 5 && memcmp(config->path.ptr, "wrong", 5) == 0;
    const llm_site *site;
    while (inst->n < SITES_MAX && (site = sites->at(host, inst->n)) != NULL) {
        inst->modules[inst->n] = site->module;
        inst->targets[inst->n++] = (llm_lora_target){
            .struct_size = sizeof(llm_lora_target),
            .dtype = LLM_F32,
            .in_dim = site->in_dim + wrong,
            .out_dim = site->out_dim + 2 * wrong,
            .scale = strtof(config->path.ptr, NULL),
        };
    }
    *out = inst;
    return LLM_OK;
}

static const llm_lora_target *builtin_target(llm_adapter_inst *inst, const char *module)
{
    for (unsigned i = 0; i < inst->n; i++)
        if (strcmp(inst->modules[i], module) == 0)
            return &inst->targets[i];
    return NULL;
}

static llm_status builtin_apply(llm_adapter_inst *inst, const llm_lora_target *target,
                                const llm_lora_io *io, llm_error *err)
{
    (void)inst;
    if (io->dtype != LLM_F32)
        return err->code = LLM_E_UNSUPPORTED;
    const float *x = (const float *)(uintptr_t)io->x;
    float *y = (float *)(uintptr_t)io->y;
    for (uint64_t row = 0; row < io->rows; row++)
        for (uint64_t i = 0; i < target->out_dim; i++)
            y[row * target->out_dim + i] += target->scale * x[row * target->in_dim];
    return LLM_OK;
}

static void builtin_close(llm_adapter_inst *inst)
{
    free(inst);
}

const llm_adapter_class builtin_adapter = {
    .struct_size = sizeof(llm_adapter_class),
    .open = builtin_open,
    .target = builtin_target,
    .apply = builtin_apply,
    .close = builtin_close,
};

/* Names as in Phi-4-mini, sizes small. */
const llm_site *builtin_site(uint64_t i)
{
    static const llm_site_part q = { sizeof q, 0, 64, 0, "model.layers.0.self_attn.q_proj" };
    static const llm_site_part k = { sizeof k, 64, 32, 0, "model.layers.0.self_attn.k_proj" };
    static const llm_site_part v = { sizeof v, 96, 32, 0, "model.layers.0.self_attn.v_proj" };
    static const llm_site_part *const qkv[] = { &q, &k, &v };
    static const llm_site sites[] = {
        { sizeof(llm_site), 3, 64, 128, "model.layers.0.self_attn.qkv_proj", qkv },
        { sizeof(llm_site), 0, 64, 64, "model.layers.0.self_attn.o_proj", NULL },
        { sizeof(llm_site), 0, 128, 64, "model.layers.0.mlp.down_proj", NULL },
    };
    return i < sizeof sites / sizeof *sites ? &sites[i] : NULL;
}
