/* adapters.c - binds adapters to the model's sites and applies them, each to its own rows. */
#include "adapters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- sites ----------------------------------------------------------------------------------- */

enum { SITE_PARTS = 3, SITE_NAME = 64 };

struct site_names {
    char module[SITE_NAME], part_module[SITE_PARTS][SITE_NAME];
    llm_site_part parts[SITE_PARTS];
    const llm_site_part *part_list[SITE_PARTS];
};

struct part {
    const char *name;
    size_t rows;
};

static void describe_site(struct model_sites *s, size_t layer, size_t kind, const char *name,
                          size_t out, size_t in, const struct part *parts, size_t n_parts)
{
    size_t i = layer * LINEAR_SITES + kind, row = 0;
    struct site_names *names = &s->names[i];
    snprintf(names->module, sizeof names->module, "model.layers.%zu.%s", layer, name);
    for (size_t p = 0; p < n_parts; p++) {
        char *module = names->part_module[p];
        snprintf(module, SITE_NAME, "model.layers.%zu.%s", layer, parts[p].name);
        names->parts[p] = (llm_site_part){ .struct_size = sizeof(llm_site_part),
                                           .first_row = (uint32_t)row,
                                           .rows = (uint32_t)parts[p].rows,
                                           .module = module };
        names->part_list[p] = &names->parts[p];
        row += parts[p].rows;
    }
    s->sites[i] = (llm_site){ .struct_size = sizeof(llm_site),
                              .n_parts = (uint32_t)n_parts,
                              .in_dim = (uint32_t)in,
                              .out_dim = (uint32_t)out,
                              .module = names->module,
                              .parts = n_parts ? names->part_list : NULL };
}

int model_sites_init(struct model_sites *s, const struct phi4_config *config)
{
    s->n = config->num_hidden_layers * LINEAR_SITES;
    s->sites = calloc(s->n, sizeof *s->sites);
    s->names = calloc(s->n, sizeof *s->names);
    if (!s->sites || !s->names) {
        model_sites_free(s);
        return -1;
    }
    size_t q = config->num_attention_heads * config->head_dim;
    size_t kv = config->num_key_value_heads * config->head_dim;
    size_t hidden = config->hidden_size, mlp = config->intermediate_size;
    const struct part qkv[] = { { "self_attn.q_proj", q },
                                { "self_attn.k_proj", kv },
                                { "self_attn.v_proj", kv } };
    const struct part gate_up[] = { { "mlp.gate_proj", mlp }, { "mlp.up_proj", mlp } };
    for (size_t l = 0; l < config->num_hidden_layers; l++) {
        describe_site(s, l, LINEAR_QKV, "self_attn.qkv_proj", q + 2 * kv, hidden, qkv, 3);
        describe_site(s, l, LINEAR_O, "self_attn.o_proj", hidden, q, NULL, 0);
        describe_site(s, l, LINEAR_GATE_UP, "mlp.gate_up_proj", 2 * mlp, hidden, gate_up, 2);
        describe_site(s, l, LINEAR_DOWN, "mlp.down_proj", hidden, mlp, NULL, 0);
    }
    return 0;
}

void model_sites_free(struct model_sites *s)
{
    free(s->sites);
    free(s->names);
    memset(s, 0, sizeof *s);
}

/* ---- the hook -------------------------------------------------------------------------------- */

struct lent_call {
    void (*fn)(void *arg, uint64_t i);
    void *arg;
};

static void lent_one(void *arg, size_t i)
{
    struct lent_call *call = arg;
    call->fn(call->arg, i);
}

/* llm_threads.run over the device's threads. */
static void lent_run(const llm_threads *threads, uint64_t n, void (*fn)(void *arg, uint64_t i),
                     void *arg)
{
    const struct ops_threads *own = threads->ctx;
    struct lent_call call = { fn, arg };
    own->run(own, (size_t)n, lent_one, &call);
}

static int applied(llm_status status, const llm_adapter *adapter, const llm_site *site,
                   const llm_error *why, struct airlock_error *err)
{
    if (status == LLM_OK)
        return 0;
    return airlock_error_set(err, status == LLM_E_DEVICE ? AIRLOCK_E_DEVICE : AIRLOCK_E_INTERNAL,
                             "adapter %s on %s: %.200s", adapter->name, site->module, why->text);
}

/* One call for all segments from the first on whose adapters are of the same class. */
static int apply_class(struct adapters *a, const llm_site *site, const llm_lora_io *io,
                       const struct linear_segment *segments, size_t n, size_t first, bool *done,
                       struct airlock_error *err)
{
    size_t site_index = (size_t)(site - a->sites->sites), n_batch = 0;
    const llm_adapter *leader = ((const struct adapter_binding *)segments[first].adapter)->adapter;
    for (size_t i = first; i < n; i++) {
        const struct adapter_binding *b = segments[i].adapter;
        if (done[i] || b->adapter->cls != leader->cls)
            continue;
        done[i] = true;
        if (!b->targets[site_index])
            continue;
        a->segments[n_batch] = (llm_lora_segment){ .struct_size = sizeof(llm_lora_segment),
                                                   .first_row = segments[i].first_row,
                                                   .rows = segments[i].rows,
                                                   .inst = b->adapter->inst,
                                                   .target = b->targets[site_index] };
        a->batch[n_batch] = &a->segments[n_batch];
        n_batch++;
    }
    llm_error why = { .struct_size = sizeof why };
    if (n_batch == 0)
        return 0;
    return applied(leader->cls->apply_batch(io, a->batch, n_batch, &why), leader, site, &why, err);
}

/* One call for one segment: the rows alone. */
static int apply_one(struct adapters *a, const llm_site *site, const llm_lora_io *io,
                     const struct linear_segment *segment, struct airlock_error *err)
{
    const struct adapter_binding *b = segment->adapter;
    const llm_lora_target *target = b->targets[site - a->sites->sites];
    if (!target)
        return 0;
    size_t act = a->act == LLM_F32 ? 4 : 2;
    llm_lora_io part = *io;
    part.x += segment->first_row * site->in_dim * act;
    part.y += segment->first_row * site->out_dim * act;
    part.rows = segment->rows;
    llm_error why = { .struct_size = sizeof why };
    llm_status status = b->adapter->cls->apply(b->adapter->inst, target, &part, &why);
    return applied(status, b->adapter, site, &why, err);
}

/* Those whose matrices are known, in one call of the device's own op.  Marks them done. */
static int apply_direct(struct adapters *a, const llm_site *site, const llm_lora_io *io,
                        const struct linear_segment *segments, size_t n, bool *done,
                        struct airlock_error *err)
{
    const struct residents *r = &a->residents;
    const size_t site_index = (size_t)(site - a->sites->sites);
    size_t n_direct = 0;
    for (size_t i = 0; i < n; i++) {
        const struct adapter_binding *b = segments[i].adapter;
        const llm_lora_target *t = b->targets[site_index];
        if (!t || !t->a || !t->b)
            continue;
        struct ops_lora_segment *s = &a->direct[n_direct++];
        *s = (struct ops_lora_segment){ .first_row = segments[i].first_row,
                                        .rows = segments[i].rows,
                                        .dtype = (enum ops_dtype)t->dtype,
                                        .rank = t->rank,
                                        .scale = t->scale };
        resident_find(&b->resident, site_index, &s->a, &s->b);
        done[i] = true;
    }
    if (n_direct == 0)
        return 0;
    enum ops_status status =
        r->ops->lora(r->dev, (void *)(uintptr_t)io->y, (const void *)(uintptr_t)io->x, io->rows,
                     site->in_dim, site->out_dim, a->direct, n_direct);
    if (status == OPS_OK)
        return 0;
    return airlock_error_set(
        err, status == OPS_E_DEVICE ? AIRLOCK_E_DEVICE : AIRLOCK_E_NO_MEMORY, "adapters on %s: %s",
        site->module, status == OPS_E_DEVICE ? "the device is lost" : "no memory on the device");
}

/* linear_hook.begin */
static int hook_begin(void *ctx, const void *const *used, size_t n, size_t rows, uint64_t *epoch,
                      struct airlock_error *err)
{
    (void)rows, (void)err;
    struct adapters *a = ctx;
    for (size_t i = 0; i < n; i++)
        a->step[i] = &((struct adapter_binding *)(uintptr_t)used[i])->resident;
    *epoch = residents_begin(&a->residents, a->step, n);
    pthread_mutex_lock(&a->lock);
    *epoch += a->last_version; /* both only grow */
    pthread_mutex_unlock(&a->lock);
    return 0;
}

void adapters_use_device(struct adapters *a, const struct ops *ops, struct ops_device *dev,
                         uint64_t budget)
{
    residents_init(&a->residents, ops, dev, budget);
    a->hook.begin = hook_begin;
}

static int hook_apply(void *ctx, size_t site_index, const void *x, void *y, size_t rows,
                      const struct linear_segment *segments, size_t n, struct airlock_error *err)
{
    struct adapters *a = ctx;
    const llm_site *site = &a->sites->sites[site_index];
    llm_threads threads = { .struct_size = sizeof threads,
                            .count = a->threads ? a->threads->count : 0,
                            .ctx = (void *)a->threads,
                            .run = lent_run };
    llm_lora_io io = { .struct_size = sizeof io,
                       .dtype = a->act,
                       .x = (uint64_t)(uintptr_t)x,
                       .y = (uint64_t)(uintptr_t)y,
                       .rows = rows,
                       .stream = a->stream,
                       .threads = a->threads ? &threads : NULL };
    bool done[ENGINE_MAX_BATCH] = { false };
    if (a->residents.ops && apply_direct(a, site, &io, segments, n, done, err))
        return -1;
    for (size_t i = 0; i < n; i++) {
        const struct adapter_binding *b = segments[i].adapter;
        const llm_adapter_class *cls = b->adapter->cls;
        int status = 0;
        if (done[i])
            continue;
        if (LLM_HAS(cls, llm_adapter_class, apply_batch) && cls->apply_batch)
            status = apply_class(a, site, &io, segments, n, i, done, err);
        else
            status = apply_one(a, site, &io, &segments[i], err);
        if (status)
            return -1;
    }
    return 0;
}

/* ---- attached adapters ----------------------------------------------------------------------- */

int adapters_init(struct adapters *a)
{
    memset(a, 0, sizeof *a);
    pthread_mutex_init(&a->lock, NULL);
    a->hook = (struct linear_hook){ .ctx = a, .apply = hook_apply };
    a->segments = calloc(ENGINE_MAX_BATCH, sizeof *a->segments);
    a->batch = calloc(ENGINE_MAX_BATCH, sizeof *a->batch);
    a->direct = calloc(ENGINE_MAX_BATCH, sizeof *a->direct);
    a->step = calloc((size_t)ENGINE_MAX_BATCH * LINEAR_MAX_ADAPTERS, sizeof *a->step);
    if (a->segments && a->batch && a->direct && a->step)
        return 0;
    adapters_free(a);
    return -1;
}

void adapters_free(struct adapters *a)
{
    while (a->list) {
        struct adapter_binding *b = a->list;
        a->list = b->next;
        adapter_binding_free(a, b);
    }
    if (a->residents.ops)
        residents_free(&a->residents);
    free(a->segments);
    free(a->batch);
    free(a->direct);
    free(a->step);
    pthread_mutex_destroy(&a->lock);
}

void adapter_binding_free(struct adapters *a, struct adapter_binding *b)
{
    if (!b)
        return;
    residents_drop(&a->residents, &b->resident);
    free(b->targets);
    free(b);
}

static int bind(const struct adapters *a, struct adapter_binding *b, struct airlock_error *err)
{
    for (size_t i = 0; i < a->sites->n; i++) {
        const llm_site *site = &a->sites->sites[i];
        const llm_lora_target *t = b->adapter->cls->target(b->adapter->inst, site->module);
        if (!t)
            continue;
        if (!LLM_HAS(t, llm_lora_target, out_dim))
            return airlock_error_set(err, AIRLOCK_E_CONFIG, "adapter %s: %s: target is too small",
                                     b->adapter->name, site->module);
        if (t->in_dim != site->in_dim || t->out_dim != site->out_dim)
            return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                     "adapter %s: %s: made for a layer of %ux%u, this one is %ux%u",
                                     b->adapter->name, site->module, t->out_dim, t->in_dim,
                                     site->out_dim, site->in_dim);
        b->targets[i] = t;
    }
    return 0;
}

int adapters_attach(struct adapters *a, const llm_adapter *adapter, struct airlock_error *err)
{
    if (adapters_find(a, adapter))
        return airlock_error_set(err, AIRLOCK_E_INVALID, "adapter %s is attached already",
                                 adapter->name);
    struct adapter_binding *b = calloc(1, sizeof *b);
    if (b)
        b->targets = calloc(a->sites->n, sizeof *b->targets);
    if (!b || !b->targets) {
        adapter_binding_free(a, b);
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for an adapter");
    }
    b->adapter = adapter;
    if (bind(a, b, err)) {
        adapter_binding_free(a, b);
        return -1;
    }
    if (resident_init(&b->resident, b->targets, a->sites->n)) {
        adapter_binding_free(a, b);
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for an adapter");
    }
    pthread_mutex_lock(&a->lock);
    b->version = ++a->last_version;
    b->next = a->list;
    a->list = b;
    pthread_mutex_unlock(&a->lock);
    return 0;
}

struct adapter_binding *adapters_detach(struct adapters *a, const llm_adapter *adapter)
{
    struct adapter_binding *found = NULL;
    pthread_mutex_lock(&a->lock);
    for (struct adapter_binding **link = &a->list; *link; link = &(*link)->next)
        if ((*link)->adapter == adapter) {
            found = *link;
            *link = found->next;
            break;
        }
    pthread_mutex_unlock(&a->lock);
    return found;
}

const struct adapter_binding *adapters_find(struct adapters *a, const llm_adapter *adapter)
{
    pthread_mutex_lock(&a->lock);
    const struct adapter_binding *b = a->list;
    while (b && b->adapter != adapter)
        b = b->next;
    pthread_mutex_unlock(&a->lock);
    return b;
}
