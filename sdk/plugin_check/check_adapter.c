/*
 * check_adapter.c - checks of an adapter plugin: targets that fit, rows that do not depend on each
 * other.
 */
#include "check.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 5, TARGETS_MAX = 64 };

/* The adapter opened for a model's layers: --model-plugin's, or the built-in ones. */
struct opened {
    struct subject model_subject;
    struct instance model, adapter;
};

static enum outcome open_first(struct opened *o, const struct subject *s, struct report *r)
{
    struct airlock_error err;
    struct verdict v;
    memset(o, 0, sizeof *o);
    if (s->options->n_adapters == 0)
        return skipped(r, "give --adapter DIR");
    const struct instance *base = NULL;
    if (s->options->model_plugin) {
        o->model_subject.options = s->options;
        if (subject_open(s->options->model_plugin, NULL, LLM_KIND_MODEL, &o->model_subject, &err) !=
            0)
            return failed(r, "--model-plugin: %s", err.text);
        enum outcome ready = instance_ready(&o->model, &o->model_subject, PLAIN, r);
        if (ready != PASSED)
            return ready;
        if (!o->model_subject.model->site)
            return failed(r, "--model-plugin takes no adapters");
        base = &o->model;
    }
    instance_create(&o->adapter, s, PLAIN, s->options->adapters[0], base, &v);
    if (v.status != LLM_OK)
        return failed(r, "open() returned %d: %.300s", (int)v.status, v.err.text);
    return PASSED;
}

static void close_both(struct opened *o)
{
    instance_destroy(&o->adapter);
    if (o->model.model)
        instance_destroy(&o->model);
}

static const llm_site *site_of(const struct opened *o, uint64_t i)
{
    return o->model.model ? o->model_subject.model->site(o->model.model, i) : builtin_site(i);
}

/* ---- targets -------------------------------------------------------------------------------- */

static enum outcome judge_target(const llm_lora_target *t, const llm_site *site, struct report *r)
{
    if (t->struct_size < sizeof *t)
        return failed(r, "%s: llm_lora_target.struct_size is %u", site->module, t->struct_size);
    if (t->in_dim != site->in_dim || t->out_dim != site->out_dim)
        return failed(r, "%s is %u -> %u, its target is %u -> %u", site->module, site->in_dim,
                      site->out_dim, t->in_dim, t->out_dim);
    if (!t->a != !t->b)
        return failed(r, "%s: a and b must both be there or both be 0", site->module);
    if (t->a && (t->rank == 0 || t->dtype < LLM_F32 || t->dtype > LLM_F16))
        return failed(r, "%s: rank %u or dtype %u is none", site->module, t->rank, t->dtype);
    if (!(t->scale - t->scale == 0))
        return failed(r, "%s: scale is not a finite number", site->module);
    return PASSED;
}

static enum outcome targets_fit(const struct subject *s, struct report *r)
{
    struct opened o;
    unsigned n = 0;
    enum outcome result = open_first(&o, s, r);
    if (result != PASSED)
        return result;
    const llm_site *site;
    for (uint64_t i = 0; (site = site_of(&o, i)) != NULL && result == PASSED; i++) {
        const llm_lora_target *t = s->adapter->target(o.adapter.adapter, site->module);
        if (!t)
            continue;
        n++;
        result = judge_target(t, site, r);
        if (result == PASSED && s->adapter->target(o.adapter.adapter, site->module) != t)
            result = failed(r, "%s: target() gives another address each time", site->module);
    }
    if (result == PASSED && s->adapter->target(o.adapter.adapter, "no.such.module"))
        result = failed(r, "target() of a module that the model does not have is not NULL");
    if (result == PASSED && n == 0)
        result = s->options->model_plugin
                     ? failed(r, "it changes no layer of the model")
                     : skipped(r, "it changes none of the built-in layers: give --model-plugin");
    note(r, "%u layers", n);
    close_both(&o);
    return result;
}

/* ---- apply ---------------------------------------------------------------------------------- */

/* One layer's rows as f32. */
struct rows {
    const struct subject *s;
    llm_adapter_inst *inst;
    const llm_lora_target *target;
    float *x, *y;
    uint64_t n;
    struct arena arena;
};

static void rows_make(struct rows *rows, const struct subject *s, const struct opened *o,
                      const llm_lora_target *t, uint64_t n)
{
    *rows = (struct rows){ .s = s, .inst = o->adapter.adapter, .target = t, .n = n };
    float *values = calloc((size_t)(n * (t->in_dim + t->out_dim) + 1), sizeof *values);
    if (!values)
        abort();
    for (uint64_t i = 0; i < n * t->in_dim; i++)
        values[i] = (float)((i * 2654435761u >> 8) % 2001) / 1000.0f - 1.0f;
    rows->arena.placement = GUARDED;
    rows->x = arena_bytes(&rows->arena, values, (size_t)(n * t->in_dim) * sizeof *values);
    arena_seal(&rows->arena);
    for (uint64_t i = 0; i < n * t->out_dim; i++)
        values[i] = (float)(i % 7);
    rows->y = arena_bytes(&rows->arena, values, (size_t)(n * t->out_dim) * sizeof *values);
    free(values);
}

static llm_status rows_apply(const struct rows *rows, uint64_t first, uint64_t n, llm_error *err)
{
    llm_lora_io io = { .struct_size = sizeof io,
                       .dtype = LLM_F32,
                       .x = (uint64_t)(uintptr_t)(rows->x + first * rows->target->in_dim),
                       .y = (uint64_t)(uintptr_t)(rows->y + first * rows->target->out_dim),
                       .rows = n };
    return rows->s->adapter->apply(rows->inst, rows->target, &io, err);
}

/* y of all rows at once in a, of each row by itself in b; equal bit for bit. */
static enum outcome apply_target(const struct subject *s, const struct opened *o,
                                 const llm_site *site, const llm_lora_target *t, struct report *r)
{
    llm_error err = { .struct_size = sizeof err };
    struct rows together, alone;
    size_t size = (size_t)t->out_dim * ROWS * sizeof(float);
    rows_make(&together, s, o, t, ROWS);
    rows_make(&alone, s, o, t, ROWS);
    llm_status status = rows_apply(&together, 0, ROWS, &err);
    for (uint64_t i = 0; i < ROWS && status == LLM_OK; i++)
        status = rows_apply(&alone, ROWS - 1 - i, 1, &err);
    enum outcome result = PASSED;
    if (status == LLM_E_UNSUPPORTED)
        result = skipped(r, "%s: apply() does not work on f32: %.200s", site->module, err.text);
    else if (status != LLM_OK)
        result = failed(r, "%s: apply() returned %d: %.200s", site->module, (int)status, err.text);
    else if (memcmp(together.y, alone.y, size) != 0)
        result = failed(r, "%s: a row's result depends on the rows beside it", site->module);
    arena_release(&together.arena);
    arena_release(&alone.arena);
    return result;
}

static enum outcome apply_rows(const struct subject *s, struct report *r)
{
    struct opened o;
    enum outcome result = open_first(&o, s, r);
    if (result != PASSED)
        return result;
    const llm_site *site;
    unsigned n = 0;
    for (uint64_t i = 0; (site = site_of(&o, i)) != NULL && result == PASSED && n < TARGETS_MAX;
         i++) {
        const llm_lora_target *t = s->adapter->target(o.adapter.adapter, site->module);
        if (t) {
            result = apply_target(s, &o, site, t, r);
            n++;
        }
    }
    if (result == PASSED && n == 0)
        result = skipped(r, "it changes none of the layers");
    note(r, "%u layers", n);
    close_both(&o);
    return result;
}

struct applier {
    struct rows rows;
    llm_status status;
    pthread_t thread;
};

static void *apply_thread(void *arg)
{
    struct applier *a = arg;
    llm_error err = { .struct_size = sizeof err };
    for (uint64_t i = 0; i < a->rows.n && a->status == LLM_OK; i++)
        a->status = rows_apply(&a->rows, i, 1, &err);
    return NULL;
}

static const llm_lora_target *first_target(const struct subject *s, const struct opened *o)
{
    const llm_site *site;
    const llm_lora_target *t = NULL;
    for (uint64_t i = 0; !t && (site = site_of(o, i)) != NULL; i++)
        t = s->adapter->target(o->adapter.adapter, site->module);
    return t;
}

static enum outcome apply_at_once(const struct subject *s, struct report *r)
{
    enum { MANY = 200 };
    struct opened o;
    struct applier a[CALLERS_MAX] = { 0 };
    unsigned started = 0;
    enum outcome result = open_first(&o, s, r);
    if (result != PASSED)
        return result;
    const llm_lora_target *t = first_target(s, &o);
    if (!t) {
        close_both(&o);
        return skipped(r, "it changes none of the layers");
    }
    for (unsigned i = 0; i < CALLERS_MAX; i++)
        rows_make(&a[i].rows, s, &o, t, MANY);
    apply_thread(&a[0]); /* alone */
    for (unsigned i = 1; i < CALLERS_MAX; i++)
        if (pthread_create(&a[i].thread, NULL, apply_thread, &a[i]) == 0)
            started = i;
    for (unsigned i = 1; i <= started; i++)
        pthread_join(a[i].thread, NULL);
    for (unsigned i = 1; i <= started && result == PASSED; i++)
        if (a[i].status != a[0].status ||
            memcmp(a[i].rows.y, a[0].rows.y, sizeof(float) * MANY * t->out_dim) != 0)
            result = failed(r, "apply() beside other calls gave another result than alone");
    for (unsigned i = 0; i < CALLERS_MAX; i++)
        arena_release(&a[i].rows.arena);
    close_both(&o);
    return result;
}

static enum outcome batch_equals_apply(const struct subject *s, struct report *r)
{
    struct opened o;
    if (!LLM_HAS(s->adapter, llm_adapter_class, apply_batch) || !s->adapter->apply_batch)
        return skipped(r, "it has no apply_batch");
    enum outcome result = open_first(&o, s, r);
    if (result != PASSED)
        return result;
    const llm_lora_target *t = first_target(s, &o);
    if (!t) {
        close_both(&o);
        return skipped(r, "it changes none of the layers");
    }
    struct rows one, batch;
    llm_error err = { .struct_size = sizeof err };
    rows_make(&one, s, &o, t, ROWS);
    rows_make(&batch, s, &o, t, ROWS);
    llm_lora_segment head = { sizeof head, 0, 0, 1, o.adapter.adapter, t };
    llm_lora_segment tail = { sizeof tail, 0, 2, ROWS - 2, o.adapter.adapter, t };
    const llm_lora_segment *segments[] = { &head, &tail }; /* row 1 is nobody's */
    llm_lora_io io = { .struct_size = sizeof io,
                       .dtype = LLM_F32,
                       .x = (uint64_t)(uintptr_t)batch.x,
                       .y = (uint64_t)(uintptr_t)batch.y,
                       .rows = ROWS };
    llm_status a = rows_apply(&one, 0, 1, &err), b = rows_apply(&one, 2, ROWS - 2, &err);
    llm_status c = s->adapter->apply_batch(&io, segments, 2, &err);
    if (a != b || a != c)
        result =
            failed(r, "apply() returned %d, apply_batch() %d: %.200s", (int)a, (int)c, err.text);
    else if (memcmp(one.y, batch.y, sizeof(float) * ROWS * t->out_dim) != 0)
        result = failed(r, "apply_batch() gives another result than apply()");
    arena_release(&one.arena);
    arena_release(&batch.arena);
    close_both(&o);
    return result;
}

const struct check adapter_checks[] = {
    { "adapter: targets fit the layers they are for", TO_ADAPTER, targets_fit,
      "target() answers for llm_site.module names of this model only" },
    { "adapter: each row's result depends on that row alone, bit for bit", TO_ADAPTER, apply_rows,
      "sum in the same order whatever the number of rows; write y only" },
    { "adapter: apply may run many times at once", TO_ADAPTER, apply_at_once,
      "keep scratch memory out of the instance" },
    { "adapter: apply_batch equals apply", TO_ADAPTER, batch_equals_apply,
      "each segment as apply() would, all other rows untouched; or leave apply_batch NULL" },
    { 0 }
};
