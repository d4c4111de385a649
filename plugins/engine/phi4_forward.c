/* phi4_forward.c - the Phi-4 transformer as a list of ops, with the shapes beside each line. */
#include "phi4_forward_state.h"

#include "ops_error.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct ops_heads phi4_heads(const struct phi4_config *config)
{
    return (struct ops_heads){ .n_heads = config->num_attention_heads,
                               .n_kv_heads = config->num_key_value_heads,
                               .head_dim = config->head_dim,
                               .rotary_dim = config->rotary_dim };
}

/* Runs an op or returns from the function with its failure. */
#define OP(name_, ...)                                                                             \
    do {                                                                                           \
        enum ops_status status_ = f->o.ops->name_(f->o.dev, __VA_ARGS__);                          \
        if (status_ != OPS_OK)                                                                     \
            return ops_error(status_, NULL, #name_, err);                                          \
    } while (0)

/* ---- set up ---------------------------------------------------------------------------------- */

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
            return ops_error(OPS_E_MEMORY, NULL, "activations", err);
    }
    f->logits = o->ops->alloc(o->dev, o->max_logits * c->vocab_size * sizeof(float));
    f->rows = calloc(o->max_seqs, sizeof *f->rows);
    f->segments = calloc(o->max_seqs, sizeof *f->segments);
    f->adapters = calloc(o->max_seqs * LINEAR_MAX_ADAPTERS, sizeof *f->adapters);
    if (!f->logits || !f->rows || !f->segments || !f->adapters)
        return ops_error(OPS_E_MEMORY, NULL, "logits", err);
    return 0;
}

uint64_t phi4_forward_memory(const struct phi4_forward_options *o)
{
    enum { CHUNK = 128 }; /* tokens whose attention is one part */
    const struct phi4_config *c = o->config;
    const struct ops_heads heads = phi4_heads(c);
    const uint64_t act = ops_dtype_size(o->ops->act), attention = heads.n_heads * heads.head_dim;
    const uint64_t qkv = attention + 2 * heads.n_kv_heads * heads.head_dim;
    const uint64_t row = (3 * c->hidden_size + qkv + attention + 3 * c->intermediate_size) * act +
                         c->head_dim * sizeof(float) + 2 * sizeof(int32_t);
    const uint64_t logit_row = 2 * c->hidden_size * act + c->vocab_size * sizeof(float);
    const uint64_t sampled_row = sizeof(struct ops_chosen) + sizeof(struct ops_choice) +
                                 c->vocab_size * sizeof(uint32_t) +
                                 forward_mask_words(c) * sizeof(uint32_t);
    const uint64_t seq =
        kv_cache_blocks_for(o->max_context) * sizeof(int32_t) +
        (o->max_context + CHUNK - 1) / CHUNK * heads.n_heads * (heads.head_dim + 2) * sizeof(float);
    const uint64_t lists = FORWARD_MAX_BIAS * (sizeof(struct ops_bias) + sizeof(float)) +
                           FORWARD_MAX_SEEN * (sizeof(struct ops_seen) + sizeof(float));
    return o->max_rows * row + o->max_seqs * seq + o->max_logits * logit_row +
           (o->ops->sample ? o->max_logits * sampled_row + lists : 0);
}

struct phi4_forward *phi4_forward_new(const struct phi4_forward_options *options,
                                      struct airlock_error *err)
{
    struct phi4_forward *f = calloc(1, sizeof *f);
    if (!f) {
        ops_error(OPS_E_MEMORY, NULL, "forward pass", err);
        return NULL;
    }
    f->o = *options;
    rope_init(&f->rope, options->config);
    f->heads = phi4_heads(options->config);
    f->attention_dim = f->heads.n_heads * f->heads.head_dim;
    f->qkv_dim = (f->heads.n_heads + 2 * f->heads.n_kv_heads) * f->heads.head_dim;
    if (forward_inputs_init(f)) {
        ops_error(OPS_E_MEMORY, NULL, "step inputs", err);
        phi4_forward_free(f);
        return NULL;
    }
    if (activations_init(f, err)) {
        phi4_forward_free(f);
        return NULL;
    }
    f->graphs = options->no_graphs ? NULL : decode_graphs_new(&f->o);
    return f;
}

void phi4_forward_free(struct phi4_forward *f)
{
    if (!f)
        return;
    void *device[] = { f->h,       f->x,   f->qkv,   f->o_in,      f->delta,
                       f->gate_up, f->mlp, f->top_h, f->top_delta, f->logits };
    decode_graphs_free(f);
    for (size_t i = 0; i < sizeof device / sizeof device[0]; i++)
        f->o.ops->free(f->o.dev, device[i]);
    forward_inputs_free(f);
    free(f->rows);
    free(f->adapters);
    free(f->segments);
    free(f);
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

/* f->x: the layer's normalised input; leaves its last addition to h in f->delta.  n: sequences
 * without padding, which has no adapters. */
static int layer(struct phi4_forward *f, size_t l, const struct ops_batch *batch, size_t n,
                 struct airlock_error *err)
{
    const struct phi4_config *c = f->o.config;
    const struct phi4_layer *w = &f->o.weights->layers[l];
    const struct ops_kv *kv = &f->o.kv->layers[l];
    const char *in = f->in.device;
    size_t rows = batch->rows, site = l * LINEAR_SITES;
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

/* Chooses the next tokens from the logits. */
static int sample(struct phi4_forward *f, const struct forward_step *step,
                  struct airlock_error *err)
{
    const char *lists = f->lists.device;
    const struct ops_sampling sampling = {
        .rows = step->shape.n_logits,
        .vocab = f->o.config->vocab_size,
        .limit = step->sampling->limit,
        .logits = f->logits,
        .choices = (const struct ops_choice *)(f->in.device + f->in.choices),
        .bias = (const struct ops_bias *)(lists + f->lists.bias),
        .seen = (const struct ops_seen *)(lists + f->lists.seen),
        .masks = (const uint32_t *)(lists + f->lists.masks),
        .room_bias = FORWARD_MAX_BIAS,
        .room_seen = FORWARD_MAX_SEEN,
        .mask_words = forward_mask_words(f->o.config),
        .chosen = f->chosen,
        .any_scores = step->any_scores,
        .any_draws = step->any_draws,
        .any_logprobs = step->any_logprobs,
    };
    OP(sample, &sampling);
    return 0;
}

/* Picks the rows that need logits and computes them.  embedding() is the ops' exact copy of rows:
 * the activations stand in for its table. */
static int head(struct phi4_forward *f, const struct forward_step *step, struct airlock_error *err)
{
    const struct phi4_config *c = f->o.config;
    const struct phi4_weights *w = f->o.weights;
    const int32_t *gather = (const int32_t *)(f->in.device + f->in.gather);
    struct ops_matrix rows_of = { .dtype = f->o.ops->act,
                                  .rows = step->shape.rows,
                                  .cols = c->hidden_size };
    size_t n = step->shape.n_logits;

    rows_of.data = f->h;
    OP(embedding, f->top_h, &rows_of, gather, n);
    rows_of.data = f->delta;
    OP(embedding, f->top_delta, &rows_of, gather, n);
    OP(add_rmsnorm, f->top_h, f->top_delta, f->top_delta, &w->norm, n, c->hidden_size,
       c->rms_norm_eps);
    /* [n, hidden] -> [n, vocab] */
    OP(logits, f->logits, f->top_delta, &w->lm_head, n);
    return step->sampling ? sample(f, step, err) : 0;
}

/* Waits for the device and takes the results. */
static int results(struct phi4_forward *f, const struct forward_step *step, float *logits,
                   struct airlock_error *err)
{
    const struct forward_sampling *s = step->sampling;
    size_t n = step->n_logits, vocab = f->o.config->vocab_size;
    if (!s) {
        OP(download, logits, f->logits, n * vocab * sizeof *logits);
        return 0;
    }
    OP(download, f->host_chosen, f->chosen, n * sizeof *f->chosen);
    memcpy(s->chosen, f->host_chosen, n * sizeof *s->chosen);
    for (size_t i = 0; i < n; i++)
        if (s->keep[i])
            OP(download, logits + i * vocab, f->logits + i * vocab, vocab * sizeof *logits);
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

static int layers(struct phi4_forward *f, const struct forward_step *step,
                  const struct ops_batch *batch, struct airlock_error *err)
{
    const struct phi4_config *c = f->o.config;
    const struct phi4_weights *w = f->o.weights;
    size_t rows = batch->rows;

    /* [rows] -> [rows, hidden] */
    OP(embedding, f->h, &w->embed_tokens, (const int32_t *)(f->in.device + f->in.ids), rows);
    if (given_rows(f, step->seqs, step->n_seqs, err))
        return -1;
    OP(rmsnorm, f->x, f->h, &w->layers[0].input_layernorm, rows, c->hidden_size, c->rms_norm_eps);
    for (size_t l = 0; l < w->n_layers; l++) {
        if (f->o.give_up && f->o.give_up(f->o.give_up_ctx))
            return airlock_error_set(err, AIRLOCK_E_CANCELLED, "cancelled");
        if (layer(f, l, batch, step->n_seqs, err))
            return -1;
        if (l + 1 < w->n_layers)
            OP(add_rmsnorm, f->h, f->delta, f->x, &w->layers[l + 1].input_layernorm, rows,
               c->hidden_size, c->rms_norm_eps);
    }
    return 0;
}

int forward_enqueue(struct phi4_forward *f, const struct forward_step *step,
                    struct airlock_error *err)
{
    const char *in = f->in.device;
    const struct step_shape *shape = &step->shape;
    struct ops_batch batch = { .n_seqs = shape->n_seqs,
                               .first_row = (const int32_t *)(in + f->in.first_row),
                               .length = (const int32_t *)(in + f->in.length),
                               .block_table = (const int32_t *)(in + f->in.block_table),
                               .table_stride = shape->stride,
                               .rows = shape->rows,
                               .max_length = shape->max_length,
                               .most_rows = shape->most_rows };
    if (layers(f, step, &batch, err))
        return -1;
    return shape->n_logits > 0 ? head(f, step, err) : 0;
}

/* Tells the hook whose rows the step has. */
static int begin_hook(struct phi4_forward *f, struct forward_step *step, struct airlock_error *err)
{
    size_t n = 0;
    step->records = f->levels == 0 || (f->o.hook && f->o.hook->begin);
    if (f->levels == 0 || !f->o.hook || !f->o.hook->begin)
        return 0;
    for (size_t s = 0; s < step->n_seqs; s++)
        for (size_t i = 0; i < step->seqs[s].n_adapters; i++) {
            size_t k = 0;
            while (k < n && f->adapters[k] != step->seqs[s].adapters[i])
                k++;
            f->adapters[k] = step->seqs[s].adapters[i];
            n += k == n;
        }
    return f->o.hook->begin(f->o.hook->ctx, f->adapters, n, step->shape.rows, &step->epoch, err);
}

static int run_step(struct phi4_forward *f, struct forward_step *step, float *logits,
                    struct airlock_error *err)
{
    if (forward_measure(f, step))
        return airlock_error_set(err, AIRLOCK_E_INVALID,
                                 "a step of %zu sequences is beyond the forward pass's limits",
                                 step->n_seqs);
    if (step->shape.rows == 0)
        return 0;
    bool recorded = decode_graphs_take(f, step);
    forward_fill(f, step);
    enum ops_status uploaded = forward_upload(f, step);
    int status =
        uploaded == OPS_OK ? begin_hook(f, step, err) : ops_error(uploaded, NULL, "upload", err);
    if (status == 0)
        status = recorded && step->records ? decode_graphs_enqueue(f, step, err)
                                           : forward_enqueue(f, step, err);
    if (status == 0 && step->n_logits > 0)
        return results(f, step, logits, err); /* its download waits for the device */
    /* The host's inputs are rewritten by the next step. */
    enum ops_status synced = f->o.ops->sync(f->o.dev);
    if (status == 0 && synced != OPS_OK)
        return ops_error(synced, NULL, "sync", err);
    return status;
}

int phi4_forward_step(struct phi4_forward *f, const struct forward_seq *seqs, size_t n_seqs,
                      float *logits, struct airlock_error *err)
{
    struct forward_step step = { .seqs = seqs, .n_seqs = n_seqs };
    return run_step(f, &step, logits, err);
}

int phi4_forward_choose(struct phi4_forward *f, const struct forward_seq *seqs, size_t n_seqs,
                        const struct forward_sampling *sampling, float *logits,
                        struct airlock_error *err)
{
    struct forward_step step = { .seqs = seqs, .n_seqs = n_seqs, .sampling = sampling };
    if (!f->chosen)
        return airlock_error_set(err, AIRLOCK_E_INVALID, "the device %s does not choose tokens",
                                 f->o.ops->name);
    return run_step(f, &step, logits, err);
}
