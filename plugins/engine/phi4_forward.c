/* phi4_forward.c - the Phi-4 transformer as a list of ops, with the shapes beside each line. */
#include "phi4_forward.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What a step uploads: one piece of host memory and its twin on the device, cut into arrays. */
struct forward_inputs {
    char *host, *device;
    size_t cos, sin;    /* offsets: float [rows, pairs] */
    size_t ids, slot;   /* int32 [rows] */
    size_t gather;      /* int32 [max_logits]: rows that need logits */
    size_t first_row;   /* int32 [max_seqs + 1] */
    size_t length;      /* int32 [max_seqs] */
    size_t block_table; /* int32 [n_seqs, stride]; last, so that only what is used is copied */
    size_t bytes;
};

struct phi4_forward {
    struct phi4_forward_options o;
    struct rope rope;
    struct ops_heads heads;
    size_t qkv_dim, attention_dim; /* (n_heads + 2 n_kv_heads) head_dim; n_heads head_dim */
    struct forward_inputs in;
    struct linear_rows *rows; /* [max_seqs] adapters of this step's sequences */
    struct linear_segment *segments;
    size_t levels; /* most adapters on one sequence of this step */
    /* Activations on the device, [max_rows, ...] act */
    void *h;                 /* [rows, hidden] the residual stream */
    void *x;                 /* [rows, hidden] normalised */
    void *qkv;               /* [rows, qkv_dim] */
    void *o_in;              /* [rows, attention_dim] */
    void *delta;             /* [rows, hidden] what a block adds to h */
    void *gate_up;           /* [rows, 2 intermediate] */
    void *mlp;               /* [rows, intermediate] */
    void *top_h, *top_delta; /* [max_logits, hidden] the rows that need logits */
    float *logits;           /* [max_logits, vocab] on the device */
};

struct ops_heads phi4_heads(const struct phi4_config *config)
{
    return (struct ops_heads){ .n_heads = config->num_attention_heads,
                               .n_kv_heads = config->num_key_value_heads,
                               .head_dim = config->head_dim,
                               .rotary_dim = config->rotary_dim };
}

static int failed(enum ops_status status, const char *op, struct airlock_error *err)
{
    if (status == OPS_E_MEMORY)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "%s: out of memory", op);
    if (status == OPS_E_DEVICE)
        return airlock_error_set(err, AIRLOCK_E_DEVICE, "%s: the device is lost", op);
    return airlock_error_set(err, AIRLOCK_E_INTERNAL, "%s: shapes do not fit together", op);
}

/* Runs an op or returns from the function with its failure. */
#define OP(name_, ...)                                                                             \
    do {                                                                                           \
        enum ops_status status_ = f->o.ops->name_(f->o.dev, __VA_ARGS__);                          \
        if (status_ != OPS_OK)                                                                     \
            return failed(status_, #name_, err);                                                   \
    } while (0)

/* ---- set up ---------------------------------------------------------------------------------- */

static size_t take(size_t *used, size_t bytes)
{
    size_t at = *used;
    *used = (at + bytes + 63) / 64 * 64;
    return at;
}

static int inputs_init(struct phi4_forward *f, struct airlock_error *err)
{
    const struct phi4_forward_options *o = &f->o;
    struct forward_inputs *in = &f->in;
    size_t angles = o->max_rows * f->rope.pairs * sizeof(float);
    size_t table = o->max_seqs * kv_cache_blocks_for(o->max_context) * sizeof(int32_t);
    size_t used = 0;
    in->cos = take(&used, angles);
    in->sin = take(&used, angles);
    in->ids = take(&used, o->max_rows * sizeof(int32_t));
    in->slot = take(&used, o->max_rows * sizeof(int32_t));
    in->gather = take(&used, o->max_logits * sizeof(int32_t));
    in->first_row = take(&used, (o->max_seqs + 1) * sizeof(int32_t));
    in->length = take(&used, o->max_seqs * sizeof(int32_t));
    in->block_table = take(&used, table);
    in->bytes = used;
    in->host = calloc(1, used);
    in->device = o->ops->alloc(o->dev, used);
    if (!in->host || !in->device)
        return failed(OPS_E_MEMORY, "step inputs", err);
    return 0;
}

static int activations_init(struct phi4_forward *f, struct airlock_error *err)
{
    const struct phi4_forward_options *o = &f->o;
    const struct phi4_config *c = o->config;
    size_t act = ops_dtype_size(o->ops->act);
    struct {
        void **at;
        size_t rows, cols;
    } wanted[] = {
        { &f->h, o->max_rows, c->hidden_size },
        { &f->x, o->max_rows, c->hidden_size },
        { &f->qkv, o->max_rows, f->qkv_dim },
        { &f->o_in, o->max_rows, f->attention_dim },
        { &f->delta, o->max_rows, c->hidden_size },
        { &f->gate_up, o->max_rows, 2 * c->intermediate_size },
        { &f->mlp, o->max_rows, c->intermediate_size },
        { &f->top_h, o->max_logits, c->hidden_size },
        { &f->top_delta, o->max_logits, c->hidden_size },
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        *wanted[i].at = o->ops->alloc(o->dev, wanted[i].rows * wanted[i].cols * act);
        if (!*wanted[i].at)
            return failed(OPS_E_MEMORY, "activations", err);
    }
    f->logits = o->ops->alloc(o->dev, o->max_logits * c->vocab_size * sizeof(float));
    f->rows = calloc(o->max_seqs, sizeof *f->rows);
    f->segments = calloc(o->max_seqs, sizeof *f->segments);
    if (!f->logits || !f->rows || !f->segments)
        return failed(OPS_E_MEMORY, "logits", err);
    return 0;
}

struct phi4_forward *phi4_forward_new(const struct phi4_forward_options *options,
                                      struct airlock_error *err)
{
    struct phi4_forward *f = calloc(1, sizeof *f);
    if (!f) {
        failed(OPS_E_MEMORY, "forward pass", err);
        return NULL;
    }
    f->o = *options;
    rope_init(&f->rope, options->config);
    f->heads = phi4_heads(options->config);
    f->attention_dim = f->heads.n_heads * f->heads.head_dim;
    f->qkv_dim = (f->heads.n_heads + 2 * f->heads.n_kv_heads) * f->heads.head_dim;
    if (inputs_init(f, err) || activations_init(f, err)) {
        phi4_forward_free(f);
        return NULL;
    }
    return f;
}

void phi4_forward_free(struct phi4_forward *f)
{
    if (!f)
        return;
    void *device[] = { f->in.device, f->h,   f->x,     f->qkv,       f->o_in,  f->delta,
                       f->gate_up,   f->mlp, f->top_h, f->top_delta, f->logits };
    for (size_t i = 0; i < sizeof device / sizeof device[0]; i++)
        f->o.ops->free(f->o.dev, device[i]);
    free(f->in.host);
    free(f->rows);
    free(f->segments);
    free(f);
}

/* ---- the inputs of a step -------------------------------------------------------------------- */

struct step_shape {
    size_t rows, most_rows, n_logits, max_length, stride;
};

/* Sums up the sequences; -1: they do not fit the buffers. */
static int measure(const struct phi4_forward *f, const struct forward_seq *seqs, size_t n_seqs,
                   struct step_shape *shape)
{
    memset(shape, 0, sizeof *shape);
    if (n_seqs > f->o.max_seqs)
        return -1;
    for (size_t s = 0; s < n_seqs; s++) {
        const struct forward_seq *q = &seqs[s];
        size_t length = q->position + q->rows;
        if (q->rows == 0 || q->rows > f->o.max_rows || length > f->o.max_context ||
            q->table->n < kv_cache_blocks_for(length) || q->n_adapters > LINEAR_MAX_ADAPTERS)
            return -1;
        shape->rows += q->rows;
        if (q->rows > shape->most_rows)
            shape->most_rows = q->rows;
        if (q->logits != FORWARD_NO_LOGITS)
            shape->n_logits += q->logits == FORWARD_ALL_LOGITS ? q->rows : 1;
        if (length > shape->max_length)
            shape->max_length = length;
    }
    shape->stride = kv_cache_blocks_for(shape->max_length);
    return shape->rows > f->o.max_rows || shape->n_logits > f->o.max_logits ? -1 : 0;
}

/* Writes the inputs on the host.  The number of bytes to upload. */
static size_t fill_inputs(struct phi4_forward *f, const struct forward_seq *seqs, size_t n_seqs,
                          const struct step_shape *shape)
{
    char *host = f->in.host;
    float *cos_at = (float *)(host + f->in.cos), *sin_at = (float *)(host + f->in.sin);
    int32_t *ids = (int32_t *)(host + f->in.ids), *slot = (int32_t *)(host + f->in.slot);
    int32_t *gather = (int32_t *)(host + f->in.gather);
    int32_t *first_row = (int32_t *)(host + f->in.first_row);
    int32_t *length = (int32_t *)(host + f->in.length);
    int32_t *table = (int32_t *)(host + f->in.block_table);
    size_t row = 0, n_gather = 0;

    f->levels = 0;
    first_row[0] = 0;
    for (size_t s = 0; s < n_seqs; s++, table += shape->stride) {
        const struct forward_seq *q = &seqs[s];
        for (size_t r = 0; r < q->rows; r++, row++) {
            size_t position = q->position + r;
            rope_row(&f->rope, q->long_rope, position, cos_at + row * f->rope.pairs,
                     sin_at + row * f->rope.pairs);
            ids[row] = q->ids[r];
            slot[row] = kv_table_slot(q->table, position);
            if (q->logits == FORWARD_ALL_LOGITS ||
                (q->logits == FORWARD_LAST_LOGITS && r + 1 == q->rows))
                gather[n_gather++] = (int32_t)row;
        }
        first_row[s + 1] = (int32_t)row;
        length[s] = (int32_t)(q->position + q->rows);
        size_t used = kv_cache_blocks_for(q->position + q->rows);
        memcpy(table, q->table->blocks, used * sizeof *table);
        memset(table + used, 0, (shape->stride - used) * sizeof *table);
        f->rows[s] = (struct linear_rows){ q->rows, q->adapters, q->n_adapters };
        if (q->n_adapters > f->levels)
            f->levels = q->n_adapters;
    }
    return f->in.block_table + n_seqs * shape->stride * sizeof(int32_t);
}

/* ---- the layers ------------------------------------------------------------------------------ */

/* y = x W^T, then what the rows' adapters add.  x: [rows, W.cols], y: [rows, W.rows]. */
static int linear(struct phi4_forward *f, void *y, const void *x, const struct ops_matrix *w,
                  size_t site, size_t rows, size_t n_seqs, struct airlock_error *err)
{
    OP(matmul, y, x, w, rows);
    for (size_t level = 0; f->o.hook && level < f->levels; level++) {
        size_t n = linear_segments(f->rows, n_seqs, level, f->segments);
        if (n > 0 && f->o.hook->apply(f->o.hook->ctx, site, x, y, rows, f->segments, n, err))
            return -1;
    }
    return 0;
}

/* f->x: the layer's normalised input; leaves its last addition to h in f->delta. */
static int layer(struct phi4_forward *f, size_t l, const struct ops_batch *batch,
                 struct airlock_error *err)
{
    const struct phi4_config *c = f->o.config;
    const struct phi4_layer *w = &f->o.weights->layers[l];
    const struct ops_kv *kv = &f->o.kv->layers[l];
    const char *in = f->in.device;
    size_t rows = batch->rows, n = batch->n_seqs, site = l * LINEAR_SITES;
    float scale = 1 / sqrtf((float)f->heads.head_dim);

    /* [rows, hidden] -> [rows, qkv_dim] */
    if (linear(f, f->qkv, f->x, &w->qkv_proj, site + LINEAR_QKV, rows, n, err))
        return -1;
    /* Q and K turned in place, K and V to the cache */
    OP(rope_kv, f->qkv, (const float *)(in + f->in.cos), (const float *)(in + f->in.sin),
       (const int32_t *)(in + f->in.slot), rows, &f->heads, kv);
    /* [rows, n_heads head_dim] */
    OP(attention, f->o_in, f->qkv, batch, &f->heads, kv, scale);
    /* -> [rows, hidden] */
    if (linear(f, f->delta, f->o_in, &w->o_proj, site + LINEAR_O, rows, n, err))
        return -1;
    OP(add_rmsnorm, f->h, f->delta, f->x, &w->post_attention_layernorm, rows, c->hidden_size,
       c->rms_norm_eps);
    /* -> [rows, 2 intermediate] */
    if (linear(f, f->gate_up, f->x, &w->gate_up_proj, site + LINEAR_GATE_UP, rows, n, err))
        return -1;
    /* -> [rows, intermediate] */
    OP(swiglu, f->mlp, f->gate_up, rows, c->intermediate_size);
    /* -> [rows, hidden] */
    return linear(f, f->delta, f->mlp, &w->down_proj, site + LINEAR_DOWN, rows, n, err);
}

/* Picks the rows that need logits and computes them.  embedding() is the ops' exact copy of rows:
 * the activations stand in for its table. */
static int head(struct phi4_forward *f, const struct step_shape *shape, float *logits,
                struct airlock_error *err)
{
    const struct phi4_config *c = f->o.config;
    const struct phi4_weights *w = f->o.weights;
    const int32_t *gather = (const int32_t *)(f->in.device + f->in.gather);
    struct ops_matrix rows_of = { .dtype = f->o.ops->act,
                                  .rows = shape->rows,
                                  .cols = c->hidden_size };
    size_t n = shape->n_logits;

    rows_of.data = f->h;
    OP(embedding, f->top_h, &rows_of, gather, n);
    rows_of.data = f->delta;
    OP(embedding, f->top_delta, &rows_of, gather, n);
    OP(add_rmsnorm, f->top_h, f->top_delta, f->top_delta, &w->norm, n, c->hidden_size,
       c->rms_norm_eps);
    /* [n, hidden] -> [n, vocab] */
    OP(logits, f->logits, f->top_delta, &w->lm_head, n);
    OP(download, logits, f->logits, n * c->vocab_size * sizeof *logits);
    return 0;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Replaces the rows of h whose embeddings are given. */
static int given_rows(struct phi4_forward *f, const struct forward_seq *seqs, size_t n_seqs,
                      struct airlock_error *err)
{
    const size_t bytes = f->o.config->hidden_size * ops_dtype_size(f->o.ops->act);
    size_t first_row = 0;
    for (size_t s = 0; s < n_seqs; first_row += seqs[s].rows, s++) {
        const struct forward_seq *q = &seqs[s];
        for (size_t i = 0; i < q->n_embeds; i++) {
            const struct forward_embeds *e = &q->embeds[i];
            const size_t begin = larger(q->position, e->position);
            const size_t q_end = q->position + q->rows, e_end = e->position + e->rows;
            const size_t end = q_end < e_end ? q_end : e_end;
            if (begin < end)
                OP(upload, (char *)f->h + (first_row + begin - q->position) * bytes,
                   (const char *)e->data + (begin - e->position) * bytes, (end - begin) * bytes);
        }
    }
    return 0;
}

static int layers(struct phi4_forward *f, const struct forward_seq *seqs,
                  const struct ops_batch *batch, struct airlock_error *err)
{
    const struct phi4_config *c = f->o.config;
    const struct phi4_weights *w = f->o.weights;
    size_t rows = batch->rows;

    /* [rows] -> [rows, hidden] */
    OP(embedding, f->h, &w->embed_tokens, (const int32_t *)(f->in.device + f->in.ids), rows);
    if (given_rows(f, seqs, batch->n_seqs, err))
        return -1;
    OP(rmsnorm, f->x, f->h, &w->layers[0].input_layernorm, rows, c->hidden_size, c->rms_norm_eps);
    for (size_t l = 0; l < w->n_layers; l++) {
        if (f->o.give_up && f->o.give_up(f->o.give_up_ctx))
            return airlock_error_set(err, AIRLOCK_E_CANCELLED, "cancelled");
        if (layer(f, l, batch, err))
            return -1;
        if (l + 1 < w->n_layers)
            OP(add_rmsnorm, f->h, f->delta, f->x, &w->layers[l + 1].input_layernorm, rows,
               c->hidden_size, c->rms_norm_eps);
    }
    return 0;
}

int phi4_forward_step(struct phi4_forward *f, const struct forward_seq *seqs, size_t n_seqs,
                      float *logits, struct airlock_error *err)
{
    struct step_shape shape;
    if (measure(f, seqs, n_seqs, &shape))
        return airlock_error_set(err, AIRLOCK_E_INVALID,
                                 "a step of %zu sequences is beyond the forward pass's limits",
                                 n_seqs);
    if (shape.rows == 0)
        return 0;

    size_t bytes = fill_inputs(f, seqs, n_seqs, &shape);
    OP(upload, f->in.device, f->in.host, bytes);
    const char *in = f->in.device;
    struct ops_batch batch = { .n_seqs = n_seqs,
                               .first_row = (const int32_t *)(in + f->in.first_row),
                               .length = (const int32_t *)(in + f->in.length),
                               .block_table = (const int32_t *)(in + f->in.block_table),
                               .table_stride = shape.stride,
                               .rows = shape.rows,
                               .max_length = shape.max_length,
                               .most_rows = shape.most_rows };
    int status = layers(f, seqs, &batch, err);
    if (status == 0 && shape.n_logits > 0)
        return head(f, &shape, logits, err); /* its download waits for the device */
    /* The host's inputs are rewritten by the next step. */
    enum ops_status synced = f->o.ops->sync(f->o.dev);
    if (status == 0 && synced != OPS_OK)
        return failed(synced, "sync", err);
    return status;
}
