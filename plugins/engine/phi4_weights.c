/* phi4_weights.c - finds each weight of the text model and checks its shape; see phi4_weights.h. */
#include "phi4_weights.h"

#include "tensor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NAME = 128 };

/* A tensor found that is to become a matrix. */
struct job {
    struct ops_matrix *m;
    const struct safetensors_view *v;
    uint64_t end; /* in the files */
    size_t n_dims;
    uint64_t shape[2];
    enum ops_dtype form; /* 0: as stored */
};

struct loader {
    const struct safetensors *st;
    const struct ops *ops;
    struct ops_device *dev;
    struct airlock_error *err;
    const struct phi4_weights_gate *gate;
    struct job *jobs; /* [n_jobs] */
    size_t n_jobs;
    const struct safetensors_view **used; /* [n_jobs] */
    enum ops_dtype dtype;                 /* of the linear layers; 0: as stored */
};

/* PREFIX.weight, or PREFIX.base_layer.weight beside built-in adapters. */
static const struct safetensors_view *find(struct loader *ld, const char *prefix)
{
    char name[MAX_NAME];
    snprintf(name, sizeof name, "%s.weight", prefix);
    const struct safetensors_view *v = safetensors_find(ld->st, name);
    if (!v) {
        snprintf(name, sizeof name, "%s.base_layer.weight", prefix);
        v = safetensors_find(ld->st, name);
    }
    if (!v)
        airlock_error_set(ld->err, AIRLOCK_E_CONFIG, "tensor %s.weight is missing", prefix);
    return v;
}

/* The embeddings and the head: few bits would cost most there, for bytes that are few. */
static enum ops_dtype ends_dtype(enum ops_dtype dtype)
{
    return dtype ? OPS_INT8 : dtype;
}

/* n_dims 1: a vector of cols numbers. */
static int load(struct loader *ld, struct ops_matrix *m, const char *prefix, size_t n_dims,
                size_t rows, size_t cols, enum ops_dtype form)
{
    const struct safetensors_view *v = find(ld, prefix);
    if (!v)
        return -1;
    ld->used[ld->n_jobs] = v;
    ld->jobs[ld->n_jobs++] = (struct job){
        m, v, safetensors_end_of(ld->st, v), n_dims, { n_dims == 1 ? cols : rows, cols }, form
    };
    return 0;
}

static int compare_jobs(const void *a, const void *b)
{
    const struct job *x = a, *y = b;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* In the order of the files, in which their pages are read. */
static int run_jobs(struct loader *ld)
{
    qsort(ld->jobs, ld->n_jobs, sizeof *ld->jobs, compare_jobs);
    for (size_t i = 0; i < ld->n_jobs; i++) {
        const struct job *j = &ld->jobs[i];
        if (ld->gate && ld->gate->ready(ld->gate->ctx, j->end, ld->err))
            return -1;
        if (tensor_load_as(j->m, j->v, j->n_dims, j->shape, j->form, ld->ops, ld->dev, ld->err) < 0)
            return -1;
    }
    return 0;
}

enum { LAYER_MATRICES = 6 };

struct layer_matrix {
    const char *name;
    struct ops_matrix *m;
    size_t n_dims, rows, cols;
};

/* The matrices of a layer: their names behind model.layers.N, and shapes. */
static void layer_matrices(struct layer_matrix out[LAYER_MATRICES], struct phi4_layer *layer,
                           const struct phi4_config *c)
{
    size_t heads = c->num_attention_heads * c->head_dim;
    size_t qkv = heads + 2 * c->num_key_value_heads * c->head_dim;
    size_t hidden = c->hidden_size, inner = c->intermediate_size;
    const struct layer_matrix all[LAYER_MATRICES] = {
        { "input_layernorm", &layer->input_layernorm, 1, 1, hidden },
        { "self_attn.qkv_proj", &layer->qkv_proj, 2, qkv, hidden },
        { "self_attn.o_proj", &layer->o_proj, 2, hidden, heads },
        { "post_attention_layernorm", &layer->post_attention_layernorm, 1, 1, hidden },
        { "mlp.gate_up_proj", &layer->gate_up_proj, 2, 2 * inner, hidden },
        { "mlp.down_proj", &layer->down_proj, 2, hidden, inner },
    };
    memcpy(out, all, sizeof all);
}

static int load_layer(struct loader *ld, struct phi4_layer *layer, size_t i,
                      const struct phi4_config *c)
{
    struct layer_matrix table[LAYER_MATRICES];
    layer_matrices(table, layer, c);
    for (size_t k = 0; k < LAYER_MATRICES; k++) {
        char prefix[MAX_NAME / 2];
        snprintf(prefix, sizeof prefix, "model.layers.%zu.%s", i, table[k].name);
        if (load(ld, table[k].m, prefix, table[k].n_dims, table[k].rows, table[k].cols,
                 table[k].n_dims == 1 ? 0 : ld->dtype) < 0)
            return -1;
    }
    return 0;
}

uint64_t phi4_weights_bytes(const struct phi4_config *c, enum ops_dtype dtype,
                            enum ops_dtype stored)
{
    struct layer_matrix table[LAYER_MATRICES];
    struct phi4_layer layer;
    const enum ops_dtype ends = dtype ? ends_dtype(dtype) : stored;
    uint64_t bytes = 0;
    layer_matrices(table, &layer, c);
    for (size_t k = 0; k < LAYER_MATRICES; k++)
        bytes += ops_matrix_bytes(dtype && table[k].n_dims == 2 ? dtype : stored, table[k].rows,
                                  table[k].cols);
    return bytes * c->num_hidden_layers + ops_matrix_bytes(stored, 1, c->hidden_size) +
           ops_matrix_bytes(ends, c->vocab_size, c->hidden_size) * (c->tie_word_embeddings ? 1 : 2);
}

static int load_all(struct loader *ld, struct phi4_weights *w, const struct phi4_config *c)
{
    size_t hidden = c->hidden_size, vocab = c->vocab_size;
    if (load(ld, &w->embed_tokens, "model.embed_tokens", 2, vocab, hidden, ends_dtype(ld->dtype)) <
            0 ||
        load(ld, &w->norm, "model.norm", 1, 1, hidden, 0) < 0)
        return -1;
    for (size_t i = 0; i < w->n_layers; i++)
        if (load_layer(ld, &w->layers[i], i, c) < 0)
            return -1;
    if (!c->tie_word_embeddings &&
        load(ld, &w->lm_head, "lm_head", 2, vocab, hidden, ends_dtype(ld->dtype)) < 0)
        return -1;
    if (run_jobs(ld) < 0)
        return -1;
    if (c->tie_word_embeddings)
        w->lm_head = w->embed_tokens;
    return 0;
}

static int compare_views(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t) * (const struct safetensors_view *const *)a;
    uintptr_t y = (uintptr_t) * (const struct safetensors_view *const *)b;
    return x < y ? -1 : x > y;
}

static void find_unused(struct loader *ld, struct phi4_weights *w)
{
    qsort(ld->used, ld->n_jobs, sizeof *ld->used, compare_views);
    for (size_t i = 0; i < safetensors_count(ld->st); i++) {
        const struct safetensors_view *v = safetensors_at(ld->st, i);
        if (bsearch(&v, ld->used, ld->n_jobs, sizeof *ld->used, compare_views))
            continue;
        if (w->n_unused++ == 0)
            w->first_unused = v->name;
    }
}

int phi4_weights_load(struct phi4_weights *w, const struct phi4_config *config,
                      enum ops_dtype dtype, const struct safetensors *st, const struct ops *ops,
                      struct ops_device *dev, struct airlock_error *err)
{
    return phi4_weights_load_by(w, config, dtype, st, ops, dev, NULL, err);
}

int phi4_weights_load_by(struct phi4_weights *w, const struct phi4_config *config,
                         enum ops_dtype dtype, const struct safetensors *st, const struct ops *ops,
                         struct ops_device *dev, const struct phi4_weights_gate *gate,
                         struct airlock_error *err)
{
    struct loader ld = { .st = st,
                         .ops = ops,
                         .dev = dev,
                         .err = err,
                         .gate = gate,
                         .dtype = ops_quantized(dtype) ? dtype : 0 };
    *w = (struct phi4_weights){ .n_layers = config->num_hidden_layers };
    w->layers = calloc(w->n_layers, sizeof *w->layers);
    ld.used = malloc((6 * w->n_layers + 3) * sizeof *ld.used);
    ld.jobs = malloc((6 * w->n_layers + 3) * sizeof *ld.jobs);
    int rc = w->layers && ld.used && ld.jobs
                 ? load_all(&ld, w, config)
                 : airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for %zu layers",
                                     w->n_layers);
    if (rc == 0)
        find_unused(&ld, w);
    else
        phi4_weights_free(w, ops, dev);
    free(ld.used);
    free(ld.jobs);
    return rc;
}

void phi4_weights_free(struct phi4_weights *w, const struct ops *ops, struct ops_device *dev)
{
    /* A tied head is the embedding's own matrix. */
    if (w->lm_head.data && w->lm_head.data != w->embed_tokens.data)
        ops->matrix_free(dev, &w->lm_head);
    if (w->embed_tokens.data)
        ops->matrix_free(dev, &w->embed_tokens);
    if (w->norm.data)
        ops->matrix_free(dev, &w->norm);
    for (size_t i = 0; w->layers && i < w->n_layers; i++) {
        struct phi4_layer *l = &w->layers[i];
        struct ops_matrix *all[] = {
            &l->input_layernorm,          &l->qkv_proj,     &l->o_proj,
            &l->post_attention_layernorm, &l->gate_up_proj, &l->down_proj
        };
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            if (all[k]->data)
                ops->matrix_free(dev, all[k]);
    }
    free(w->layers);
    *w = (struct phi4_weights){ 0 };
}
