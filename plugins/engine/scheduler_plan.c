/* scheduler_plan.c - who is admitted, who gives blocks back, and which rows the next step computes.
 */
#include "scheduler_state.h"

#include "common/io.h"

#include <stdlib.h>
#include <string.h>

/* ---- admission ------------------------------------------------------------------------------- */

/* Goes on in the prefix cache from where t is.  At least one token is left to compute: its logits
 * are wanted. */
static void find_prefix(struct scheduler *s, struct scheduler_ticket *t)
{
    const struct prefix_tokens tokens = ticket_tokens(t);
    size_t most = (t->n_ids - 1) / OPS_KV_BLOCK;
    prefix_cache_find(s->prefixes, &t->root, &tokens, most, &t->place, &t->table);
    size_t found = t->place.n * OPS_KV_BLOCK;
    if (found > t->n_computed)
        t->n_computed = found;
}

/* Counts what t need not compute for the first time. */
static void count_found(struct scheduler *s, struct scheduler_ticket *t)
{
    size_t prompt = t->stats.tokens_in, end = t->n_computed < prompt ? t->n_computed : prompt;
    if (end > t->n_read) {
        t->stats.tokens_cached += end - t->n_read;
        s->counts.prefix_hits += end - t->n_read;
        t->n_read = end;
    }
}

static void admit(struct scheduler *s, struct scheduler_ticket *t)
{
    s->running[s->n_running++] = t;
    if (!t->admitted_ns) {
        t->admitted_ns = io_now_ns();
        t->stats.queue_ns = t->admitted_ns - t->submitted_ns;
        s->counts.prefix_queried += t->stats.tokens_in;
    }
    count_found(s, t);
}

/* Who is first waits for blocks and lets nobody pass. */
void scheduler_admit(struct scheduler *s)
{
    while (s->waiting.n > 0 && s->n_running < s->o.max_batch) {
        struct scheduler_ticket *t = wait_queue_first(&s->waiting);
        t->root.long_rope = rope_is_long(&s->rope, t->n_ids);
        find_prefix(s, t);
        /* Its tokens, the next one, and a block for each that already runs to grow into. */
        size_t wanted = kv_cache_blocks_for(t->n_ids + 1) - t->table.n + s->n_running;
        if (s->n_running > 0 && wanted > kv_cache_available(s->o.kv)) {
            scheduler_take_blocks(s, t);
            return;
        }
        admit(s, wait_queue_take(&s->waiting));
    }
}

/* ---- room ------------------------------------------------------------------------------------ */

/* Takes the blocks of the one that was admitted last; it will be computed again. */
static void preempt_last(struct scheduler *s)
{
    struct scheduler_ticket *t = scheduler_running_take(s, s->n_running - 1);
    scheduler_take_blocks(s, t);
    wait_queue_add_preempted(&s->waiting, t);
    s->counts.preemptions++;
}

/* Sees that everyone who runs has blocks for all tokens and the right factors. */
static void make_room(struct scheduler *s)
{
    for (size_t i = 0; i < s->n_running;) {
        struct scheduler_ticket *t = s->running[i];
        bool is_long = rope_is_long(&s->rope, t->n_ids);
        if (is_long != t->root.long_rope) {
            /* The whole sequence changes its factors, as in transformers; its blocks so far may be
             * others' too. */
            scheduler_take_blocks(s, t);
            t->root.long_rope = is_long;
        }
        /* Somebody else may have computed the next blocks since. */
        if (ticket_remaining(t) > 1) {
            find_prefix(s, t);
            count_found(s, t);
        }
        enum kv_status status = kv_table_grow(s->o.kv, &t->table, t->n_ids);
        if (status == KV_OK) {
            i++;
        } else if (status == KV_FULL) {
            preempt_last(s); /* maybe t itself, which then is the last */
        } else {
            struct airlock_error err;
            airlock_error_set(&err, AIRLOCK_E_NO_MEMORY, "out of memory for a block table");
            scheduler_finish(s, scheduler_running_take(s, i), &err);
        }
    }
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* Whether a will compute, in its next rows, the very block that b needs next. */
static bool computes_for(const struct scheduler_ticket *a, const struct scheduler_ticket *b)
{
    const struct prefix_tokens x = ticket_tokens(a), y = ticket_tokens(b);
    const size_t next = b->place.n, end = (next + 1) * OPS_KV_BLOCK;
    return a->place.n == next && a->place.serial == b->place.serial && a->n_ids >= end &&
           b->n_ids > end && prefix_block_equal(&x, &y, next) &&
           (next > 0 || prefix_root_equal(&a->root, &b->root));
}

/* Of several who would compute the same block only the first does; the others find it later. */
static bool others_compute_it(struct scheduler_ticket *const *prompts, size_t n,
                              const struct scheduler_ticket *t)
{
    for (size_t i = 0; i < n; i++)
        if (computes_for(prompts[i], t))
            return true;
    return false;
}

static int by_remaining(const void *a, const void *b)
{
    size_t x = ticket_remaining(*(struct scheduler_ticket *const *)a);
    size_t y = ticket_remaining(*(struct scheduler_ticket *const *)b);
    return (x > y) - (x < y);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/*
 * Shares the step's prompt rows: as many for each, and what a short one leaves goes to the longer.
 * But where prompts come to their end in this step, those that do not get no more rows together
 * than those that do, or spare: a short prompt's first token comes after about twice its own rows.
 */
static void share_rows(struct scheduler_ticket **prompts, size_t n, size_t budget, size_t spare)
{
    size_t ending = 0;
    qsort(prompts, n, sizeof *prompts, by_remaining);
    for (size_t i = 0; i < n; i++) {
        size_t share = (budget + n - i - 1) / (n - i), want = ticket_remaining(prompts[i]);
        if (want > share && ending > 0) {
            budget = least(budget, ending > spare ? ending : spare);
            ending = 0; /* from here on all are longer */
            share = (budget + n - i - 1) / (n - i);
        }
        prompts[i]->rows = least(want, share);
        ending += want <= share ? want : 0;
        budget -= prompts[i]->rows;
    }
}

/* Chooses how many rows of each that runs the step computes. */
static void choose_rows(struct scheduler *s)
{
    size_t n_prompts = 0, n_decoding = 0;
    for (size_t i = 0; i < s->n_running; i++) {
        struct scheduler_ticket *t = s->running[i];
        t->decodes = ticket_remaining(t) == 1;
        t->rows = t->decodes;
        if (t->decodes)
            n_decoding++;
        else if (!others_compute_it(s->planned, n_prompts, t))
            s->planned[n_prompts++] = t;
    }
    size_t chunk = s->o.prefill_chunk;
    share_rows(s->planned, n_prompts, n_decoding > 0 ? chunk : ALONE_FACTOR * chunk,
               chunk / SPARE_PART);
}

void scheduler_plan(struct scheduler *s)
{
    make_room(s);
    choose_rows(s);
    s->n_planned = 0;
    for (size_t i = 0; i < s->n_running; i++) {
        struct scheduler_ticket *t = s->running[i];
        if (t->rows == 0)
            continue;
        t->wants_logits = t->rows == ticket_remaining(t);
        s->planned[s->n_planned] = t;
        s->seqs[s->n_planned++] =
            (struct forward_seq){ .ids = t->ids + t->n_computed,
                                  .rows = t->rows,
                                  .position = t->n_computed,
                                  .table = &t->table,
                                  .long_rope = t->root.long_rope,
                                  .logits =
                                      t->wants_logits ? FORWARD_LAST_LOGITS : FORWARD_NO_LOGITS,
                                  .adapters = t->adapters,
                                  .n_adapters = t->root.n_adapters,
                                  .embeds = t->embeds,
                                  .n_embeds = t->n_embeds };
    }
}
