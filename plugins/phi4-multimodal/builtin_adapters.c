/* builtin_adapters.c - loads the checkpoint's own LoRA adapters and applies them to their rows; see
 * builtin_adapters.h. */
#include "builtin_adapters.h"

#include "common/json.h"
#include "engine/tensor.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const names[BUILTIN_KINDS] = { "vision", "speech" };

/* ---- applying -------------------------------------------------------------------------------- */

static bool is_ours(const struct builtin_adapters *b, const void *adapter)
{
    for (size_t k = 0; k < BUILTIN_KINDS; k++)
        if (adapter == &b->of[k])
            return true;
    return false;
}

static int apply(void *ctx, size_t site, const void *x, void *y, size_t rows,
                 const struct linear_segment *segments, size_t n, struct airlock_error *err)
{
    struct builtin_adapters *b = ctx;
    size_t n_ours = 0, n_others = 0, in = 0, out = 0;
    for (size_t i = 0; i < n; i++) {
        if (!is_ours(b, segments[i].adapter)) {
            b->others[n_others++] = segments[i];
            continue;
        }
        const struct builtin_adapter *a = segments[i].adapter;
        const struct builtin_site *s = &a->sites[site];
        if (!s->a.data)
            continue;
        in = s->a.cols;
        out = s->b.rows;
        b->segments[n_ours++] = (struct ops_lora_segment){ .first_row = segments[i].first_row,
                                                           .rows = segments[i].rows,
                                                           .a = s->a.data,
                                                           .b = s->b.data,
                                                           .dtype = s->a.dtype,
                                                           .rank = s->a.rows,
                                                           .scale = s->scale };
    }
    if (n_ours > 0) {
        const enum ops_status status =
            b->ops->lora(b->dev, y, x, rows, in, out, b->segments, n_ours);
        if (status != OPS_OK)
            return airlock_error_set(
                err, status == OPS_E_MEMORY ? AIRLOCK_E_NO_MEMORY : AIRLOCK_E_DEVICE,
                "the model's own adapters: %s",
                status == OPS_E_MEMORY ? "out of memory" : "the device failed");
    }
    return n_others == 0 ? 0
                         : b->next->apply(b->next->ctx, site, x, y, rows, b->others, n_others, err);
}

static int begin(void *ctx, const void *const *adapters, size_t n, size_t rows, uint64_t *epoch,
                 struct airlock_error *err)
{
    struct builtin_adapters *b = ctx;
    const void *others[ENGINE_MAX_BATCH];
    size_t n_others = 0;
    *epoch = 0; /* the built-in ones stay where they are */
    if (!b->next->begin)
        return 0;
    for (size_t i = 0; i < n && n_others < ENGINE_MAX_BATCH; i++)
        if (!is_ours(b, adapters[i]))
            others[n_others++] = adapters[i];
    return b->next->begin(b->next->ctx, others, n_others, rows, epoch, err);
}

void builtin_adapters_init(struct builtin_adapters *b, const struct linear_hook *next)
{
    *b = (struct builtin_adapters){ .next = next,
                                    .hook = { .ctx = b, .apply = apply, .begin = begin } };
}

/* ---- loading --------------------------------------------------------------------------------- */

/* Loads A and B of a site.  1: there; 0: the checkpoint has none; -1 with err. */
static int load_site(struct builtin_adapters *b, const struct safetensors *st,
                     struct builtin_site *s, const char *module, const char *name, size_t in,
                     size_t out, struct airlock_error *err)
{
    char a_name[160], b_name[160];
    snprintf(a_name, sizeof a_name, "%s.lora_A.%s.weight", module, name);
    snprintf(b_name, sizeof b_name, "%s.lora_B.%s.weight", module, name);
    const struct safetensors_view *va = safetensors_find(st, a_name);
    const struct safetensors_view *vb = safetensors_find(st, b_name);
    if (!va && !vb)
        return 0;
    if (!va || !vb)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "tensor %s is missing",
                                 va ? b_name : a_name);
    const uint64_t rank = va->n_dims ? va->shape[0] : 0;
    const uint64_t a_shape[] = { rank, in }, b_shape[] = { out, rank };
    if (rank == 0 || rank > OPS_LORA_MAX_RANK)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "tensor %s: rank %llu is not 1 to %d",
                                 a_name, (unsigned long long)rank, OPS_LORA_MAX_RANK);
    if (tensor_load(&s->a, va, 2, a_shape, b->ops, b->dev, err) ||
        tensor_load(&s->b, vb, 2, b_shape, b->ops, b->dev, err))
        return -1;
    if (s->a.dtype != s->b.dtype)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "tensors %s and %s have different dtypes",
                                 a_name, b_name);
    return 1;
}

/* config.json: vision_lora { r, lora_alpha } or speech_lora. */
static int read_scale(struct json_object *config, const char *name, float *scale,
                      struct airlock_error *err)
{
    char key[32], where[64];
    struct json_object *lora = NULL;
    int64_t r = 0;
    double alpha = 0;
    snprintf(key, sizeof key, "%s_lora", name);
    snprintf(where, sizeof where, "config.json: %s.", key);
    int found = json_get_object(config, "config.json: ", key, &lora, err);
    if (json_require(found, "config.json: ", key, err) < 0)
        return -1;
    found = json_get_int(lora, where, "r", 1, OPS_LORA_MAX_RANK, &r, err);
    if (json_require(found, where, "r", err) < 0)
        return -1;
    found = json_get_double(lora, where, "lora_alpha", 0.0, 1e6, &alpha, err);
    if (json_require(found, where, "lora_alpha", err) < 0)
        return -1;
    *scale = (float)(alpha / (double)r);
    return 0;
}

/* From the tensors of the Hub's layout.  1: there; 0: there are none; -1 with err. */
static int load_tensors(struct builtin_adapters *b, struct engine *e, enum builtin_kind kind,
                        struct json_object *config, struct airlock_error *err)
{
    const struct phi4_config *c = engine_config(e);
    struct builtin_adapter *a = &b->of[kind];
    float scale = 0;
    const size_t hidden = c->hidden_size, inner = c->intermediate_size;
    const size_t heads = c->num_attention_heads * c->head_dim;
    const size_t qkv = heads + 2 * c->num_key_value_heads * c->head_dim;
    const struct {
        const char *name;
        size_t in, out;
    } table[LINEAR_SITES] = { [LINEAR_QKV] = { "self_attn.qkv_proj", hidden, qkv },
                              [LINEAR_O] = { "self_attn.o_proj", heads, hidden },
                              [LINEAR_GATE_UP] = { "mlp.gate_up_proj", hidden, 2 * inner },
                              [LINEAR_DOWN] = { "mlp.down_proj", inner, hidden } };
    size_t n = 0;
    for (size_t i = 0; i < b->n_sites; i++) {
        char module[96];
        const size_t k = i % LINEAR_SITES;
        snprintf(module, sizeof module, "model.layers.%zu.%s", i / LINEAR_SITES, table[k].name);
        int found = load_site(b, engine_checkpoint(e), &a->sites[i], module, names[kind],
                              table[k].in, table[k].out, err);
        if (found < 0)
            return -1;
        n += (size_t)found;
    }
    if (n == 0)
        return 0;
    if (read_scale(config, names[kind], &scale, err))
        return -1;
    for (size_t i = 0; i < b->n_sites; i++)
        a->sites[i].scale = scale;
    return 1;
}

static struct builtin_site *site_of(struct builtin_adapter *a, const struct builtin_source *from,
                                    const char *module)
{
    for (size_t i = 0; i < from->n_sites; i++)
        if (strcmp(from->sites[i]->module, module) == 0)
            return &a->sites[i];
    return NULL;
}

static int load_target(struct builtin_adapters *b, struct builtin_site *s,
                       const struct peft_target *t, struct airlock_error *err)
{
    if (!s || t->rank > OPS_LORA_MAX_RANK)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s: rank %u is not 1 to %d", t->module,
                                 t->rank, OPS_LORA_MAX_RANK);
    s->scale = t->scale;
    return b->ops->matrix_load(b->dev, &s->a, t->a, t->dtype, t->rank, t->in_dim) == OPS_OK &&
                   b->ops->matrix_load(b->dev, &s->b, t->b, t->dtype, t->out_dim, t->rank) == OPS_OK
               ? 0
               : airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
}

/* From the folder NAME-lora of transformers' layout.  1: there; 0: there is none; -1 with err. */
static int load_folder(struct builtin_adapters *b, const struct builtin_source *from,
                       enum builtin_kind kind, struct airlock_error *err)
{
    char path[PATH_MAX];
    struct builtin_adapter *a = &b->of[kind];
    if (snprintf(path, sizeof path, "%s/%s-lora", from->dir, names[kind]) >= (int)sizeof path)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "model_path is too long");
    if (access(path, F_OK) != 0)
        return 0;
    if (peft_adapter_read(&a->folder, path, from->sites, from->n_sites, NULL, err))
        return airlock_error_wrap(err, "%s-lora", names[kind]);
    for (size_t i = 0; i < a->folder.n; i++) {
        const struct peft_target *t = &a->folder.targets[i];
        if (load_target(b, site_of(a, from, t->module), t, err))
            return airlock_error_wrap(err, "%s-lora", names[kind]);
    }
    return 1;
}

static int load_one(struct builtin_adapters *b, const struct builtin_source *from,
                    enum builtin_kind kind, struct airlock_error *err)
{
    struct builtin_adapter *a = &b->of[kind];
    a->sites = calloc(b->n_sites, sizeof *a->sites);
    if (!a->sites)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
    int found = load_tensors(b, from->engine, kind, from->config, err);
    if (found == 0)
        found = load_folder(b, from, kind, err);
    if (found != 0)
        return found < 0 ? -1 : 0;
    free(a->sites); /* there is no such adapter */
    a->sites = NULL;
    return 0;
}

int builtin_adapters_load(struct builtin_adapters *b, const struct builtin_source *from,
                          const struct ops *ops, struct airlock_error *err)
{
    b->ops = ops;
    b->dev = engine_device(from->engine);
    b->n_sites = engine_config(from->engine)->num_hidden_layers * LINEAR_SITES;
    if (from->n_sites != b->n_sites)
        return airlock_error_set(err, AIRLOCK_E_INTERNAL, "%zu sites, not %zu", from->n_sites,
                                 b->n_sites);
    for (size_t k = 0; k < BUILTIN_KINDS; k++)
        if (load_one(b, from, (enum builtin_kind)k, err))
            return -1;
    return 0;
}

void builtin_adapters_free(struct builtin_adapters *b)
{
    for (size_t k = 0; k < BUILTIN_KINDS; k++) {
        for (size_t i = 0; b->of[k].sites && i < b->n_sites; i++) {
            struct builtin_site *s = &b->of[k].sites[i];
            if (s->a.data)
                b->ops->matrix_free(b->dev, &s->a);
            if (s->b.data)
                b->ops->matrix_free(b->dev, &s->b);
        }
        free(b->of[k].sites);
        b->of[k].sites = NULL;
        peft_adapter_free(&b->of[k].folder);
    }
}
