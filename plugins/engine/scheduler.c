/* scheduler.c - the engine's thread, who waits and who runs, and the callers' side. */
#include "scheduler_state.h"

#include "common/io.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void waiting_add(struct scheduler *s, struct scheduler_ticket *t)
{
    t->next = NULL;
    *s->waiting_end = t;
    s->waiting_end = &t->next;
    s->n_waiting++;
}

void scheduler_waiting_add_front(struct scheduler *s, struct scheduler_ticket *t)
{
    t->next = s->waiting;
    if (!s->waiting)
        s->waiting_end = &t->next;
    s->waiting = t;
    s->n_waiting++;
}

struct scheduler_ticket *scheduler_waiting_take(struct scheduler *s, struct scheduler_ticket **link)
{
    struct scheduler_ticket *t = *link;
    *link = t->next;
    if (!t->next)
        s->waiting_end = link;
    s->n_waiting--;
    return t;
}

struct scheduler_ticket *scheduler_running_take(struct scheduler *s, size_t i)
{
    struct scheduler_ticket *t = s->running[i];
    memmove(&s->running[i], &s->running[i + 1], (s->n_running - i - 1) * sizeof *s->running);
    s->n_running--;
    return t;
}

static void drop_holder(struct scheduler_ticket *t)
{
    if (--t->holders == 0)
        ticket_free(t);
}

void scheduler_finish(struct scheduler *s, struct scheduler_ticket *t,
                      const struct airlock_error *err)
{
    uint64_t now = io_now_ns();
    kv_table_release(s->o.kv, &t->table);
    if (!t->admitted_ns)
        t->stats.queue_ns = now - t->submitted_ns;
    else if (!t->first_token_ns)
        t->stats.prefill_ns = now - t->admitted_ns;
    if (t->first_token_ns)
        t->stats.decode_ns = now - t->first_token_ns;
    t->done = true;
    if (err) {
        t->failed = true;
        t->error = *err;
    }
    pthread_cond_signal(&t->changed);
    drop_holder(t);
}

static void finish_over(struct scheduler *s, struct scheduler_ticket *t)
{
    struct airlock_error err;
    bool cancelled = atomic_load(&t->cancelled) || atomic_load(&s->stop);
    airlock_error_set(&err, AIRLOCK_E_CANCELLED,
                      cancelled ? "cancelled" : "the deadline has passed");
    scheduler_finish(s, t, &err);
}

/* Ends what was cancelled or is late; all, when the scheduler stops or the device is lost. */
static void sweep(struct scheduler *s)
{
    uint64_t now = io_now_ns();
    bool all = atomic_load(&s->stop);
    for (struct scheduler_ticket **link = &s->waiting; *link;) {
        if (all || ticket_over(*link, now))
            finish_over(s, scheduler_waiting_take(s, link));
        else if (s->dead)
            scheduler_finish(s, scheduler_waiting_take(s, link), &s->dead_because);
        else
            link = &(*link)->next;
    }
    for (size_t i = 0; i < s->n_running;) {
        if (all || ticket_over(s->running[i], now))
            finish_over(s, scheduler_running_take(s, i));
        else
            i++;
    }
    pthread_cond_broadcast(&s->swept);
}

static void *run(void *arg)
{
    struct scheduler *s = arg;
    pthread_mutex_lock(&s->lock);
    while (!atomic_load(&s->stop)) {
        sweep(s);
        scheduler_admit(s);
        if (s->n_running == 0) {
            if (!s->waiting)
                pthread_cond_wait(&s->work, &s->lock);
            continue;
        }
        scheduler_plan(s);
        if (s->n_planned == 0)
            continue;
        pthread_mutex_unlock(&s->lock);
        scheduler_step(s);
        pthread_mutex_lock(&s->lock);
    }
    sweep(s);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- start and stop -------------------------------------------------------------------------- */

static int allocate(struct scheduler *s, struct airlock_error *err)
{
    const struct scheduler_options *o = &s->o;
    struct phi4_forward_options forward = o->forward;
    forward.max_rows = o->max_batch + ALONE_FACTOR * o->prefill_chunk;
    forward.max_seqs = o->max_batch;
    forward.max_logits = o->max_batch;
    forward.max_context = o->max_context;
    forward.kv = o->kv;
    forward.give_up = scheduler_nobody_waits;
    forward.give_up_ctx = s;
    s->forward = phi4_forward_new(&forward, err);
    if (!s->forward)
        return -1;
    s->running = calloc(o->max_batch, sizeof(struct scheduler_ticket *));
    s->planned = calloc(o->max_batch, sizeof(struct scheduler_ticket *));
    s->seqs = calloc(o->max_batch, sizeof *s->seqs);
    s->logits = calloc(o->max_batch * s->vocab, sizeof *s->logits);
    if (!s->running || !s->planned || !s->seqs || !s->logits ||
        sampler_work_init(&s->work_space, s->vocab))
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY,
                                 "out of memory for %zu sequences at once; lower max_batch",
                                 o->max_batch);
    return 0;
}

static void scheduler_free(struct scheduler *s)
{
    phi4_forward_free(s->forward);
    free(s->running);
    free(s->planned);
    free(s->seqs);
    free(s->logits);
    sampler_work_free(&s->work_space);
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->swept);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* The engine's thread takes no signals: they are the server's. */
static int start_thread(struct scheduler *s)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int failed = pthread_create(&s->thread, NULL, run, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return failed;
}

struct scheduler *scheduler_start(const struct scheduler_options *options,
                                  struct airlock_error *err)
{
    struct scheduler *s = calloc(1, sizeof *s);
    if (!s) {
        airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for a scheduler");
        return NULL;
    }
    s->o = *options;
    rope_init(&s->rope, options->forward.config);
    s->vocab = options->forward.config->vocab_size;
    size_t known = (size_t)tokenizer_size(options->tokenizer);
    s->limit = known < s->vocab ? known : s->vocab;
    s->waiting_end = &s->waiting;
    atomic_init(&s->stop, false);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    pthread_cond_init(&s->swept, NULL);
    int failed = allocate(s, err);
    if (!failed) {
        int errnum = start_thread(s);
        failed = errnum ? airlock_error_errno(err, errnum, "engine thread") : 0;
    }
    if (failed) {
        scheduler_free(s);
        return NULL;
    }
    return s;
}

void scheduler_stop(struct scheduler *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    atomic_store(&s->stop, true);
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    scheduler_free(s);
}

/* ---- the callers' side ----------------------------------------------------------------------- */

static int check_request(const struct scheduler *s, const struct scheduler_request *r,
                         struct airlock_error *err)
{
    if (r->n_prompt == 0)
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "the prompt is empty");
    if (r->n_prompt >= s->o.max_context)
        return airlock_error_set(
            err, AIRLOCK_E_REQUEST,
            "the prompt has %zu tokens; this model's context holds %zu, prompt "
            "and answer together",
            r->n_prompt, s->o.max_context);
    if (r->n_adapters > LINEAR_MAX_ADAPTERS)
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "%zu adapters at once; at most %d",
                                 r->n_adapters, LINEAR_MAX_ADAPTERS);
    if (r->n_eos > PHI4_MAX_EOS)
        return airlock_error_set(err, AIRLOCK_E_INVALID, "%zu end tokens; at most %d", r->n_eos,
                                 PHI4_MAX_EOS);
    for (size_t i = 0; i < r->n_prompt; i++)
        if (r->prompt[i] < 0 || (size_t)r->prompt[i] >= s->vocab)
            return airlock_error_set(err, AIRLOCK_E_REQUEST,
                                     "token id %d is not in the model's vocabulary of %zu",
                                     r->prompt[i], s->vocab);
    for (size_t i = 0; i < r->n_bias; i++)
        if (r->bias[i].id < 0 || (size_t)r->bias[i].id >= s->vocab)
            return airlock_error_set(err, AIRLOCK_E_REQUEST,
                                     "logit_bias: token id %d is not in the vocabulary of %zu",
                                     r->bias[i].id, s->vocab);
    return 0;
}

struct scheduler_ticket *scheduler_submit(struct scheduler *s,
                                          const struct scheduler_request *request,
                                          struct airlock_error *err)
{
    if (check_request(s, request, err))
        return NULL;
    struct scheduler_ticket *t = ticket_new(s, request);
    if (!t) {
        airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for a request");
        return NULL;
    }
    t->submitted_ns = io_now_ns();
    pthread_mutex_lock(&s->lock);
    bool dead = s->dead;
    if (dead && err)
        *err = s->dead_because;
    if (!dead) {
        waiting_add(s, t);
        pthread_cond_signal(&s->work);
    }
    pthread_mutex_unlock(&s->lock);
    if (dead) {
        ticket_free(t);
        return NULL;
    }
    return t;
}

static struct timespec after(unsigned milliseconds)
{
    uint64_t at = io_now_ns() + milliseconds * (uint64_t)1000000;
    return (struct timespec){ .tv_sec = (time_t)(at / 1000000000),
                              .tv_nsec = (long)(at % 1000000000) };
}

void scheduler_take(struct scheduler_ticket *t, unsigned milliseconds, struct scheduler_news *news)
{
    struct timespec until = after(milliseconds);
    bytes_clear(&t->taken.text);
    t->taken.n_tokens = 0;
    pthread_mutex_lock(&t->scheduler->lock);
    int late = 0;
    while (!late && !t->done && t->news.text.size == 0 && t->news.n_tokens == 0)
        late = pthread_cond_timedwait(&t->changed, &t->scheduler->lock, &until);
    struct ticket_output full = t->news;
    t->news = t->taken;
    t->taken = full;
    bool done = t->done;
    pthread_mutex_unlock(&t->scheduler->lock);
    *news = (struct scheduler_news){ .text = full.text.data,
                                     .size = full.text.size,
                                     .tokens = full.tokens,
                                     .n_tokens = full.n_tokens,
                                     .done = done };
}

void scheduler_cancel(struct scheduler_ticket *t)
{
    atomic_store(&t->cancelled, true);
}

int scheduler_result(struct scheduler_ticket *t, struct scheduler_stats *out,
                     struct airlock_error *err)
{
    pthread_mutex_lock(&t->scheduler->lock);
    *out = t->stats;
    bool failed = t->failed;
    if (failed && err)
        *err = t->error;
    pthread_mutex_unlock(&t->scheduler->lock);
    return failed ? -1 : 0;
}

void scheduler_release(struct scheduler_ticket *t)
{
    struct scheduler *s = t->scheduler;
    atomic_store(&t->cancelled, true);
    pthread_mutex_lock(&s->lock);
    drop_holder(t);
    pthread_mutex_unlock(&s->lock);
}

static bool uses(const struct scheduler_ticket *t, const void *adapter)
{
    for (size_t i = 0; i < t->n_adapters; i++)
        if (t->adapters[i] == adapter)
            return true;
    return false;
}

void scheduler_forget(struct scheduler *s, const void *adapter)
{
    pthread_mutex_lock(&s->lock);
    for (;;) {
        bool used = false;
        for (struct scheduler_ticket *t = s->waiting; t && !used; t = t->next)
            used = uses(t, adapter);
        for (size_t i = 0; i < s->n_running && !used; i++)
            used = uses(s->running[i], adapter);
        if (!used)
            break;
        pthread_cond_wait(&s->swept, &s->lock);
    }
    pthread_mutex_unlock(&s->lock);
}

void scheduler_load(struct scheduler *s, struct scheduler_load *out)
{
    pthread_mutex_lock(&s->lock);
    *out = (struct scheduler_load){ .waiting = s->n_waiting,
                                    .running = s->n_running,
                                    .kv_blocks = s->o.kv->n_blocks,
                                    .kv_blocks_free = s->o.kv->n_free,
                                    .steps = s->steps,
                                    .rows = s->rows,
                                    .preemptions = s->preemptions };
    pthread_mutex_unlock(&s->lock);
}
