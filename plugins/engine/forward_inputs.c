/* forward_inputs.c - what a step of the forward pass uploads: positions, blocks, and how tokens are
 * chosen. */
#include "phi4_forward_state.h"

#include <stdlib.h>
#include <string.h>

static size_t take(size_t *used, size_t bytes)
{
    size_t at = *used;
    *used = (at + bytes + 63) / 64 * 64;
    return at;
}

static void lay_out(struct forward_inputs *in, const struct step_shape *s, size_t pairs)
{
    size_t used = 0;
    in->cos = take(&used, s->rows * pairs * sizeof(float));
    in->sin = take(&used, s->rows * pairs * sizeof(float));
    in->ids = take(&used, s->rows * sizeof(int32_t));
    in->slot = take(&used, s->rows * sizeof(int32_t));
    in->gather = take(&used, s->n_logits * sizeof(int32_t));
    in->first_row = take(&used, (s->n_seqs + 1) * sizeof(int32_t));
    in->length = take(&used, s->n_seqs * sizeof(int32_t));
    in->choices = take(&used, s->n_logits * sizeof(struct ops_choice));
    in->block_table = take(&used, s->n_seqs * s->stride * sizeof(int32_t));
    in->bytes = used;
}

/* Host memory that the device copies from and to without another copy in between. */
static void *host_alloc(const struct phi4_forward_options *o, size_t bytes)
{
    return o->ops->host_alloc ? o->ops->host_alloc(o->dev, bytes) : calloc(1, bytes);
}

static void host_free(const struct phi4_forward_options *o, void *p)
{
    if (o->ops->host_free)
        o->ops->host_free(o->dev, p);
    else
        free(p);
}

static int sampling_init(struct phi4_forward *f)
{
    const struct phi4_forward_options *o = &f->o;
    struct forward_lists *l = &f->lists;
    size_t used = 0, masks = o->max_logits * forward_mask_words(o->config) * sizeof(uint32_t);
    size_t results = o->max_logits * sizeof *f->chosen;
    l->bias = take(&used, FORWARD_MAX_BIAS * sizeof(struct ops_bias));
    l->seen = take(&used, FORWARD_MAX_SEEN * sizeof(struct ops_seen));
    l->masks = take(&used, masks);
    l->host = host_alloc(o, used);
    l->device = o->ops->alloc(o->dev, used);
    f->host_chosen = host_alloc(o, results);
    f->chosen = o->ops->alloc(o->dev, results);
    return l->host && l->device && f->host_chosen && f->chosen ? 0 : -1;
}

int forward_inputs_init(struct phi4_forward *f)
{
    const struct phi4_forward_options *o = &f->o;
    const struct step_shape most = { .rows = o->max_rows,
                                     .n_seqs = o->max_seqs,
                                     .n_logits = o->max_logits,
                                     .stride = kv_cache_blocks_for(o->max_context) };
    lay_out(&f->in, &most, f->rope.pairs);
    f->in.host = host_alloc(o, f->in.bytes);
    f->in.device = o->ops->alloc(o->dev, f->in.bytes);
    if (!f->in.host || !f->in.device)
        return -1;
    return o->ops->sample ? sampling_init(f) : 0;
}

void forward_inputs_free(struct phi4_forward *f)
{
    const struct phi4_forward_options *o = &f->o;
    host_free(o, f->in.host);
    host_free(o, f->lists.host);
    host_free(o, f->host_chosen);
    o->ops->free(o->dev, f->in.device);
    o->ops->free(o->dev, f->lists.device);
    o->ops->free(o->dev, f->chosen);
}

static int measure_sampling(const struct phi4_forward *f, struct forward_step *step)
{
    const struct forward_sampling *s = step->sampling;
    if (s->n_bias > FORWARD_MAX_BIAS || s->n_seen > FORWARD_MAX_SEEN ||
        s->n_masks > f->o.max_logits)
        return -1;
    for (size_t i = 0; i < step->n_logits; i++) {
        const struct ops_choice *c = &s->choices[i];
        step->any_scores = step->any_scores || c->n_bias > 0 || c->n_seen > 0;
        step->any_draws = step->any_draws || c->sample;
        step->any_logprobs = step->any_logprobs || c->logprobs >= 0;
    }
    return 0;
}

int forward_measure(const struct phi4_forward *f, struct forward_step *step)
{
    struct step_shape *shape = &step->shape;
    memset(shape, 0, sizeof *shape);
    shape->n_seqs = step->n_seqs;
    if (step->n_seqs > f->o.max_seqs)
        return -1;
    for (size_t s = 0; s < step->n_seqs; s++) {
        const struct forward_seq *q = &step->seqs[s];
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
    step->n_logits = shape->n_logits;
    if (shape->rows > f->o.max_rows || shape->n_logits > f->o.max_logits)
        return -1;
    return step->sampling ? measure_sampling(f, step) : 0;
}

/* Where each array of the host's inputs begins. */
struct arrays {
    float *cos, *sin;
    int32_t *ids, *slot, *gather, *first_row, *length, *table;
};

static struct arrays arrays_of(const struct forward_inputs *in)
{
    return (struct arrays){ .cos = (float *)(in->host + in->cos),
                            .sin = (float *)(in->host + in->sin),
                            .ids = (int32_t *)(in->host + in->ids),
                            .slot = (int32_t *)(in->host + in->slot),
                            .gather = (int32_t *)(in->host + in->gather),
                            .first_row = (int32_t *)(in->host + in->first_row),
                            .length = (int32_t *)(in->host + in->length),
                            .table = (int32_t *)(in->host + in->block_table) };
}

/* Rows whose results nobody reads: they write no keys and see none. */
static void pad(const struct phi4_forward *f, const struct arrays *a,
                const struct forward_step *step, size_t row)
{
    size_t pairs = f->rope.pairs, stride = step->shape.stride;
    for (size_t s = step->n_seqs; s < step->shape.n_seqs; s++, row++) {
        memset(a->cos + row * pairs, 0, pairs * sizeof *a->cos);
        memset(a->sin + row * pairs, 0, pairs * sizeof *a->sin);
        memset(a->table + s * stride, 0, stride * sizeof *a->table);
        a->ids[row] = 0;
        a->slot[row] = -1;
        a->gather[s] = (int32_t)row;
        a->first_row[s + 1] = (int32_t)row + 1;
        a->length[s] = 0;
    }
}

static void fill_choices(struct phi4_forward *f, const struct forward_step *step)
{
    static const struct ops_choice nothing = {
        .temperature = 1, .top_p = 1, .repetition_penalty = 1, .logprobs = -1, .mask = -1
    };
    const struct forward_sampling *s = step->sampling;
    struct ops_choice *to = (struct ops_choice *)(f->in.host + f->in.choices);
    if (!s)
        return;
    memcpy(to, s->choices, step->n_logits * sizeof *to);
    for (size_t i = step->n_logits; i < step->shape.n_logits; i++)
        to[i] = nothing;
    if (s->n_bias > 0)
        memcpy(f->lists.host + f->lists.bias, s->bias, s->n_bias * sizeof *s->bias);
    if (s->n_seen > 0)
        memcpy(f->lists.host + f->lists.seen, s->seen, s->n_seen * sizeof *s->seen);
    if (s->n_masks > 0)
        memcpy(f->lists.host + f->lists.masks, s->masks,
               s->n_masks * forward_mask_words(f->o.config) * sizeof *s->masks);
}

void forward_fill(struct phi4_forward *f, struct forward_step *step)
{
    lay_out(&f->in, &step->shape, f->rope.pairs);
    const struct arrays a = arrays_of(&f->in);
    size_t row = 0, n_gather = 0, stride = step->shape.stride;
    f->levels = 0;
    a.first_row[0] = 0;
    for (size_t s = 0; s < step->n_seqs; s++) {
        const struct forward_seq *q = &step->seqs[s];
        for (size_t r = 0; r < q->rows; r++, row++) {
            size_t position = q->position + r;
            rope_row(&f->rope, q->long_rope, position, a.cos + row * f->rope.pairs,
                     a.sin + row * f->rope.pairs);
            a.ids[row] = q->ids[r];
            a.slot[row] = kv_table_slot(q->table, position);
            if (q->logits == FORWARD_ALL_LOGITS ||
                (q->logits == FORWARD_LAST_LOGITS && r + 1 == q->rows))
                a.gather[n_gather++] = (int32_t)row;
        }
        a.first_row[s + 1] = (int32_t)row;
        a.length[s] = (int32_t)(q->position + q->rows);
        size_t used = kv_cache_blocks_for(q->position + q->rows);
        memcpy(a.table + s * stride, q->table->blocks, used * sizeof *a.table);
        memset(a.table + s * stride + used, 0, (stride - used) * sizeof *a.table);
        f->rows[s] = (struct linear_rows){ q->rows, q->adapters, q->n_adapters };
        if (q->n_adapters > f->levels)
            f->levels = q->n_adapters;
    }
    pad(f, &a, step, row);
    fill_choices(f, step);
}

enum ops_status forward_upload(struct phi4_forward *f, const struct forward_step *step)
{
    const struct ops *ops = f->o.ops;
    const struct forward_sampling *s = step->sampling;
    enum ops_status status = ops->upload(f->o.dev, f->in.device, f->in.host, f->in.bytes);
    if (!s)
        return status;
    const struct {
        size_t at, bytes;
    } lists[] = { { f->lists.bias, s->n_bias * sizeof *s->bias },
                  { f->lists.seen, s->n_seen * sizeof *s->seen },
                  { f->lists.masks,
                    s->n_masks * forward_mask_words(f->o.config) * sizeof *s->masks } };
    for (size_t i = 0; i < sizeof lists / sizeof *lists && status == OPS_OK; i++)
        if (lists[i].bytes > 0)
            status = ops->upload(f->o.dev, f->lists.device + lists[i].at,
                                 f->lists.host + lists[i].at, lists[i].bytes);
    return status;
}
