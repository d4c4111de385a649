/* scheduler_plan.c - who is admitted, who gives blocks back, and which rows the next step computes.
 */
#include "scheduler_state.h"

#include "common/io.h"

#include <stdlib.h>
#include <string.h>

/* First come, first served; whoever is first waits for blocks and lets nobody pass. */
void scheduler_admit(struct scheduler *s)
{
    while (s->waiting && s->n_running < s->o.max_batch) {
        struct scheduler_ticket *t = s->waiting;
        /* Its tokens, the next one, and a block for each that already runs to grow into. */
        size_t wanted = kv_cache_blocks_for(t->n_ids + 1) + s->n_running;
        if (s->n_running > 0 && wanted > s->o.kv->n_free)
            return;
        scheduler_waiting_take(s, &s->waiting);
        s->running[s->n_running++] = t;
        if (!t->admitted_ns) {
            t->admitted_ns = io_now_ns();
            t->stats.queue_ns = t->admitted_ns - t->submitted_ns;
        }
    }
}

/* Takes the blocks of the one that was admitted last; it will be computed again. */
static void preempt_last(struct scheduler *s)
{
    struct scheduler_ticket *t = scheduler_running_take(s, s->n_running - 1);
    kv_table_release(s->o.kv, &t->table);
    t->n_computed = 0;
    scheduler_waiting_add_front(s, t);
    s->preemptions++;
}

/* Sees that everyone who runs has blocks for all tokens and the right factors. */
static void make_room(struct scheduler *s)
{
    for (size_t i = 0; i < s->n_running;) {
        struct scheduler_ticket *t = s->running[i];
        bool is_long = rope_is_long(&s->rope, t->n_ids);
        if (is_long != t->long_rope) {
            /* The whole sequence changes its factors, as in transformers. */
            t->long_rope = is_long;
            t->n_computed = 0;
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

static int by_remaining(const void *a, const void *b)
{
    size_t x = ticket_remaining(*(struct scheduler_ticket *const *)a);
    size_t y = ticket_remaining(*(struct scheduler_ticket *const *)b);
    return (x > y) - (x < y);
}

/* Shares the step's prompt rows: as many for each, and what a short one leaves goes to the longer.
 */
static void share_rows(struct scheduler_ticket **prompts, size_t n, size_t budget)
{
    qsort(prompts, n, sizeof *prompts, by_remaining);
    for (size_t i = 0; i < n; i++) {
        size_t share = (budget + n - i - 1) / (n - i), want = ticket_remaining(prompts[i]);
        prompts[i]->rows = want < share ? want : share;
        budget -= prompts[i]->rows;
    }
}

void scheduler_plan(struct scheduler *s)
{
    make_room(s);
    size_t n_prompts = 0, n_decoding = 0;
    for (size_t i = 0; i < s->n_running; i++) {
        s->running[i]->rows = 1;
        if (ticket_remaining(s->running[i]) > 1)
            s->planned[n_prompts++] = s->running[i];
        else
            n_decoding++;
    }
    share_rows(s->planned, n_prompts,
               s->o.prefill_chunk * (n_decoding > 0 ? 1 : (size_t)ALONE_FACTOR));

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
                                  .long_rope = t->long_rope,
                                  .logits =
                                      t->wants_logits ? FORWARD_LAST_LOGITS : FORWARD_NO_LOGITS,
                                  .adapters = t->adapters,
                                  .n_adapters = t->n_adapters };
        s->rows += t->rows;
    }
    s->steps++;
}
