/*
 * scale_adapter.c - a whole adapter plugin: y += s * x on every square linear layer of a model.
 *
 * Valid C89 and C++98, needs the installed headers of Airlock and nothing else.  The number s is in
 * the file scale.txt of the adapter's directory.  It has no matrices A and B, so that its targets
 * give none and the model asks apply(), which works on the CPU.
 */
#include <airlock/llm_adapter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct scale_target {
    llm_lora_target target;
    const char *module; /* the model's own text, valid until close() */
} scale_target;

struct llm_adapter_inst {
    float scale;
    uint64_t n_targets;
    scale_target *targets;
};

enum { MAX_TARGETS = 100000, MAX_PATH = 4096 };

static llm_status fail(llm_error *err, llm_status code, const char *text)
{
    strncpy(err->text, text, sizeof err->text - 1);
    err->text[sizeof err->text - 1] = 0;
    return err->code = code;
}

static void scale_close(llm_adapter_inst *inst)
{
    free(inst->targets);
    free(inst);
}

static llm_status read_scale(const llm_config *config, float *out, llm_error *err)
{
    static const char file_name[] = "/scale.txt";
    char path[MAX_PATH];
    FILE *file;
    int found;
    if (config->path.len > sizeof path - sizeof file_name)
        return fail(err, LLM_E_CONFIG, "scale: the adapter's path is too long");
    memcpy(path, config->path.ptr, (size_t)config->path.len); /* an llm_str has no NUL */
    memcpy(path + config->path.len, file_name, sizeof file_name);
    file = fopen(path, "r");
    if (!file)
        return fail(err, LLM_E_CONFIG, "scale: cannot open scale.txt in the adapter's directory");
    found = fscanf(file, "%f", out);
    fclose(file);
    if (found != 1 || !(*out >= -100 && *out <= 100))
        return fail(err, LLM_E_CONFIG, "scale: scale.txt must hold one number from -100 to 100");
    return LLM_OK;
}

/* The square layers of the model that this adapter is opened for. */
static llm_status find_targets(const llm_host *host, llm_adapter_inst *inst, llm_error *err)
{
    const llm_svc_sites *sites = (const llm_svc_sites *)host->service(host, LLM_SVC_SITES);
    const llm_site *site;
    uint64_t i, n = 0;
    if (!sites)
        return fail(err, LLM_E_CONFIG, "scale: this host does not tell the model's layers");
    while (n < MAX_TARGETS && sites->at(host, n))
        n++;
    inst->targets = (scale_target *)calloc((size_t)n + 1, sizeof *inst->targets);
    if (!inst->targets)
        return fail(err, LLM_E_NO_MEMORY, "scale: out of memory");
    for (i = 0; i < n; i++) {
        scale_target *t = &inst->targets[inst->n_targets];
        site = sites->at(host, i);
        if (!site || site->in_dim != site->out_dim)
            continue;
        t->target.struct_size = sizeof t->target;
        t->target.in_dim = site->in_dim;
        t->target.out_dim = site->out_dim;
        t->target.scale = inst->scale;
        t->module = site->module;
        inst->n_targets++;
    }
    return LLM_OK;
}

static llm_status scale_open(const llm_host *host, const llm_config *config, llm_adapter_inst **out,
                             llm_error *err)
{
    llm_adapter_inst *inst;
    llm_status status;
    if (config->device.len >= 4 && memcmp(config->device.ptr, "cuda", 4) == 0)
        return fail(err, LLM_E_CONFIG, "scale: works on the CPU only");
    inst = (llm_adapter_inst *)calloc(1, sizeof *inst);
    if (!inst)
        return fail(err, LLM_E_NO_MEMORY, "scale: out of memory");
    status = read_scale(config, &inst->scale, err);
    if (status == LLM_OK)
        status = find_targets(host, inst, err);
    if (status != LLM_OK) {
        scale_close(inst);
        return status;
    }
    *out = inst;
    return LLM_OK;
}

static const llm_lora_target *scale_target_of(llm_adapter_inst *inst, const char *module)
{
    uint64_t i;
    for (i = 0; i < inst->n_targets; i++)
        if (strcmp(inst->targets[i].module, module) == 0)
            return &inst->targets[i].target;
    return NULL;
}

static float from_bf16(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint16_t to_bf16(float value) /* to nearest, ties to even; not for NaN */
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* Writes nothing but y, so that any number of calls may run at once. */
static llm_status scale_apply(llm_adapter_inst *inst, const llm_lora_target *target,
                              const llm_lora_io *io, llm_error *err)
{
    uint64_t i, n = io->rows * target->in_dim;
    (void)inst;
    if (io->dtype == LLM_F32) {
        const float *x = (const float *)(uintptr_t)io->x;
        float *y = (float *)(uintptr_t)io->y;
        for (i = 0; i < n; i++)
            y[i] += target->scale * x[i];
    } else if (io->dtype == LLM_BF16) {
        const uint16_t *x = (const uint16_t *)(uintptr_t)io->x;
        uint16_t *y = (uint16_t *)(uintptr_t)io->y;
        for (i = 0; i < n; i++)
            y[i] = to_bf16(from_bf16(y[i]) + target->scale * from_bf16(x[i]));
    } else {
        return fail(err, LLM_E_UNSUPPORTED, "scale: element type is neither f32 nor bf16");
    }
    return LLM_OK;
}

static const llm_adapter_class scale_adapter = {
    sizeof(llm_adapter_class), /* caps */ 0,     scale_open,
    scale_target_of,           scale_apply,      scale_close,
    /* apply_batch */ NULL,    /* memory */ NULL
};
static const llm_class scale_class = { sizeof(llm_class), LLM_KIND_ADAPTER, "ScaleAdapter",
                                       /* options_schema */ NULL, &scale_adapter };
static const llm_class *const classes[] = { &scale_class, NULL };
static const llm_plugin plugin = { LLM_PLUGIN_HEAD, "org.example.scale", "1.0.0", classes };

LLM_NOTE(LLM_KIND_ADAPTER);

const llm_plugin *llm_plugin_query_1(void)
{
    return &plugin;
}
