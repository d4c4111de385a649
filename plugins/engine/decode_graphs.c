/*
 * decode_graphs.c - records the ops of decode steps, one recording for each kind of step, and runs
 * them again with new inputs.
 *
 * A kind is: the number of rows rounded up to a power of two, the longest sequence likewise,
 * whether rows have adapters, and what sampling has to do.  Rows beyond the step's own are padding.
 * With these every launch parameter is fixed, and all that changes from step to step lies in the
 * inputs on the device.  What adapters enqueue depends on them, so a step with other adapters than
 * the last of its kind is recorded again, into the same graph.  The first step of a kind is not
 * recorded: it makes what the ops keep (plans, scratch memory), which recording must not.
 */
#include "phi4_forward_state.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_GRAPHS = 64,
    MIN_LENGTH = 1024, /* when graph_min_length says nothing */
    MAX_FAILURES = 3   /* then steps of the kind are never recorded again */
};

struct kind {
    uint32_t rows, max_length;
    bool adapters, any_scores, any_draws, any_logprobs;
};

struct entry {
    struct kind kind;
    struct ops_graph *graph; /* NULL: not recorded yet, or in vain */
    const void **adapters;   /* [max_seqs * LINEAR_MAX_ADAPTERS] of the rows that were recorded */
    uint64_t epoch;          /* of the hook at that time */
    uint64_t last_step;
    unsigned failures;
    bool warm; /* has been enqueued as it is */
};

struct decode_graphs {
    struct entry entries[MAX_GRAPHS];
    size_t n;
    uint64_t step;
    struct forward_graph_counts counts;
};

struct decode_graphs *decode_graphs_new(const struct phi4_forward_options *options)
{
    return options->ops->graph_begin ? calloc(1, sizeof(struct decode_graphs)) : NULL;
}

static void drop(struct phi4_forward *f, struct entry *e)
{
    if (e->graph)
        f->o.ops->graph_free(f->o.dev, e->graph);
    free(e->adapters);
    memset(e, 0, sizeof *e);
}

void decode_graphs_free(struct phi4_forward *f)
{
    for (size_t i = 0; f->graphs && i < f->graphs->n; i++)
        drop(f, &f->graphs->entries[i]);
    free(f->graphs);
    f->graphs = NULL;
}

struct forward_graph_counts phi4_forward_graph_counts(const struct phi4_forward *f)
{
    return f->graphs ? f->graphs->counts : (struct forward_graph_counts){ 0 };
}

/* ---- kinds ----------------------------------------------------------------------------------- */

static bool has_embeds(const struct forward_seq *q)
{
    for (size_t i = 0; i < q->n_embeds; i++)
        if (q->position < q->embeds[i].position + q->embeds[i].rows &&
            q->embeds[i].position <= q->position)
            return true;
    return false;
}

/* The next power of two, but most where that is less. */
static size_t round_up(size_t n, size_t least, size_t most)
{
    size_t up = least;
    while (up < n)
        up *= 2;
    return up < most ? up : most;
}

bool decode_graphs_take(const struct phi4_forward *f, struct forward_step *step)
{
    struct step_shape *shape = &step->shape;
    if (!f->graphs || !step->sampling || shape->most_rows != 1)
        return false;
    for (size_t s = 0; s < step->n_seqs; s++)
        if (step->seqs[s].logits == FORWARD_NO_LOGITS || has_embeds(&step->seqs[s]))
            return false;
    const size_t rows = round_up(step->n_seqs, 1, f->o.max_seqs);
    if (rows > f->o.max_rows || rows > f->o.max_logits)
        return false;
    shape->rows = shape->n_seqs = shape->n_logits = rows;
    const size_t least = f->o.graph_min_length ? f->o.graph_min_length : MIN_LENGTH;
    shape->max_length = round_up(shape->max_length, least, f->o.max_context);
    shape->stride = kv_cache_blocks_for(shape->max_length);
    return true;
}

static bool same_kind(const struct kind *a, const struct kind *b)
{
    return a->rows == b->rows && a->max_length == b->max_length && a->adapters == b->adapters &&
           a->any_scores == b->any_scores && a->any_draws == b->any_draws &&
           a->any_logprobs == b->any_logprobs;
}

/* The entry of the step's kind, made of the one unused for longest when there is no room. */
static struct entry *find(struct phi4_forward *f, const struct forward_step *step)
{
    struct decode_graphs *g = f->graphs;
    const struct kind kind = { .rows = (uint32_t)step->shape.rows,
                               .max_length = (uint32_t)step->shape.max_length,
                               .adapters = f->levels > 0,
                               .any_scores = step->any_scores,
                               .any_draws = step->any_draws,
                               .any_logprobs = step->any_logprobs };
    struct entry *oldest = &g->entries[0];
    for (size_t i = 0; i < g->n; i++) {
        if (same_kind(&g->entries[i].kind, &kind))
            return &g->entries[i];
        if (g->entries[i].last_step < oldest->last_step)
            oldest = &g->entries[i];
    }
    if (g->n < MAX_GRAPHS)
        oldest = &g->entries[g->n++];
    drop(f, oldest);
    oldest->kind = kind;
    return oldest;
}

/* ---- adapters -------------------------------------------------------------------------------- */

/* The i-th row's adapter of a level, padding included. */
static const void *adapter_of(const struct forward_step *step, size_t row, size_t level)
{
    return row < step->n_seqs && level < step->seqs[row].n_adapters
               ? step->seqs[row].adapters[level]
               : NULL;
}

static bool same_adapters(const struct entry *e, const struct forward_step *step)
{
    if (!e->kind.adapters)
        return true;
    for (size_t r = 0; r < step->shape.rows; r++)
        for (size_t l = 0; l < LINEAR_MAX_ADAPTERS; l++)
            if (e->adapters[r * LINEAR_MAX_ADAPTERS + l] != adapter_of(step, r, l))
                return false;
    return e->epoch == step->epoch;
}

/* 0, or -1: out of memory. */
static int remember_adapters(const struct phi4_forward *f, struct entry *e,
                             const struct forward_step *step)
{
    if (!e->kind.adapters)
        return 0;
    if (!e->adapters)
        e->adapters = calloc(f->o.max_seqs * LINEAR_MAX_ADAPTERS, sizeof *e->adapters);
    if (!e->adapters)
        return -1;
    for (size_t r = 0; r < step->shape.rows; r++)
        for (size_t l = 0; l < LINEAR_MAX_ADAPTERS; l++)
            e->adapters[r * LINEAR_MAX_ADAPTERS + l] = adapter_of(step, r, l);
    e->epoch = step->epoch;
    return 0;
}

/* ---- recording ------------------------------------------------------------------------------- */

/* 0, or -1: the device records nothing of this kind now, and e->graph is NULL. */
static int record(struct phi4_forward *f, struct entry *e, const struct forward_step *step)
{
    struct airlock_error err;
    const struct ops *ops = f->o.ops;
    if (remember_adapters(f, e, step) || ops->graph_begin(f->o.dev) != OPS_OK)
        return -1;
    int status = forward_enqueue(f, step, &err);
    if (ops->graph_end(f->o.dev, &e->graph) != OPS_OK)
        return -1;
    if (status == 0) {
        f->graphs->counts.recorded++;
        return 0;
    }
    ops->graph_free(f->o.dev, e->graph); /* of half a step */
    e->graph = NULL;
    return -1;
}

int decode_graphs_enqueue(struct phi4_forward *f, const struct forward_step *step,
                          struct airlock_error *err)
{
    struct decode_graphs *g = f->graphs;
    struct entry *e = find(f, step);
    const bool ready =
        e->graph && f->o.ops->graph_current(f->o.dev, e->graph) && same_adapters(e, step);
    bool run = ready;
    e->last_step = ++g->step;
    if (!ready && e->warm && e->failures < MAX_FAILURES) {
        run = record(f, e, step) == 0;
        e->failures = run ? 0 : e->failures + 1;
    }
    if (run) {
        const enum ops_status status = f->o.ops->graph_run(f->o.dev, e->graph);
        if (status == OPS_OK) {
            g->counts.replayed += ready;
            return 0;
        }
        return airlock_error_set(err, AIRLOCK_E_DEVICE, "decode step: the device is lost");
    }
    g->counts.plain++;
    e->warm = true;
    return forward_enqueue(f, step, err);
}
