/* scheduler.c - the engine's thread, who waits and who runs, and the callers' side. */
#include "scheduler_state.h"

#include "common/io.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

void scheduler_take_blocks(struct scheduler *s, struct scheduler_ticket *t)
{
    kv_table_release(s->o.kv, &t->table);
    t->place = (struct prefix_place){ 0 };
    t->n_computed = 0;
}

void scheduler_finish(struct scheduler *s, struct scheduler_ticket *t,
                      const struct airlock_error *err)
{
    uint64_t now = io_now_ns();
    scheduler_take_blocks(s, t);
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

struct moment {
    const struct scheduler *s;
    uint64_t now_ns;
};

static bool is_over(const struct scheduler_ticket *t, void *ctx)
{
    const struct moment *at = ctx;
    return atomic_load(&at->s->stop) || at->s->dead || ticket_over(t, at->now_ns);
}

/* Ends what was cancelled or is late; all, when the scheduler stops or the device is lost. */
static void sweep(struct scheduler *s)
{
    struct moment at = { s, io_now_ns() };
    struct scheduler_ticket *t = wait_queue_take_if(&s->waiting, is_over, &at);
    for (struct scheduler_ticket *next; t; t = next) {
        next = t->links.next;
        if (s->dead && !atomic_load(&s->stop) && !ticket_over(t, at.now_ns))
            scheduler_finish(s, t, &s->dead_because);
        else
            finish_over(s, t);
    }
    for (size_t i = 0; i < s->n_running;) {
        if (is_over(s->running[i], &at))
            finish_over(s, scheduler_running_take(s, i));
        else
            i++;
    }
    pthread_cond_broadcast(&s->swept);
}

/* Waits for the device; the lock is free meanwhile. */
static void take_turn(struct scheduler *s)
{
    if (!s->o.turns)
        return;
    pthread_mutex_unlock(&s->lock);
    turns_take(s->o.turns);
    pthread_mutex_lock(&s->lock);
}

static void *run(void *arg)
{
    struct scheduler *s = arg;
    pthread_mutex_lock(&s->lock);
    while (!atomic_load(&s->stop)) {
        sweep(s);
        scheduler_admit(s);
        if (s->n_running == 0) {
            if (s->waiting.n == 0)
                pthread_cond_wait(&s->work, &s->lock);
            continue;
        }
        take_turn(s);
        scheduler_plan(s);
        pthread_mutex_unlock(&s->lock);
        if (s->n_planned > 0)
            scheduler_step(s);
        if (s->o.turns)
            turns_give(s->o.turns);
        pthread_mutex_lock(&s->lock);
    }
    sweep(s);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- start and stop -------------------------------------------------------------------------- */

size_t scheduler_max_rows(const struct scheduler_options *options)
{
    return options->max_batch + ALONE_FACTOR * options->prefill_chunk;
}

static struct phi4_forward_options forward_options(const struct scheduler_options *o)
{
    struct phi4_forward_options forward = o->forward;
    forward.max_rows = scheduler_max_rows(o);
    forward.max_seqs = o->max_batch;
    forward.max_logits = o->max_batch;
    forward.max_context = o->max_context;
    forward.kv = o->kv;
    return forward;
}

uint64_t scheduler_memory(const struct scheduler_options *options)
{
    const struct phi4_forward_options forward = forward_options(options);
    return phi4_forward_memory(&forward);
}

static int allocate(struct scheduler *s, struct airlock_error *err)
{
    const struct scheduler_options *o = &s->o;
    struct phi4_forward_options forward = forward_options(o);
    forward.give_up = scheduler_nobody_waits;
    forward.give_up_ctx = s;
    s->forward = phi4_forward_new(&forward, err);
    if (!s->forward)
        return -1;
    s->running = calloc(o->max_batch, sizeof(struct scheduler_ticket *));
    s->planned = calloc(o->max_batch, sizeof(struct scheduler_ticket *));
    s->seqs = calloc(o->max_batch, sizeof *s->seqs);
    s->logits = calloc(o->max_batch * s->vocab, sizeof *s->logits);
    s->prefixes = prefix_cache_new(o->kv);
    s->device_chooses = o->forward.ops->sample != NULL;
    if ((s->device_chooses &&
         sample_batch_init(&s->sample, o->forward.config, o->max_batch, s->limit)) ||
        !s->prefixes || !s->running || !s->planned || !s->seqs || !s->logits ||
        sampler_work_init(&s->work_space, s->vocab))
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY,
                                 "out of memory for %zu sequences at once; lower max_batch",
                                 o->max_batch);
    return 0;
}

static void scheduler_free(struct scheduler *s)
{
    prefix_cache_free(s->prefixes);
    phi4_forward_free(s->forward);
    free(s->running);
    free(s->planned);
    free(s->seqs);
    free(s->logits);
    sampler_work_free(&s->work_space);
    sample_batch_free(&s->sample);
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

static void init_histograms(struct scheduler_load *counts)
{
    static const double seconds[] = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                      0.25,  0.5,    1,     2.5,  5,     10 };
    struct scheduler_histogram *h = &counts->step_seconds;
    h->n_bounds = sizeof seconds / sizeof seconds[0];
    memcpy(h->bounds, seconds, sizeof seconds);
    h = &counts->batch_rows;
    for (h->n_bounds = 0; h->n_bounds <= 12; h->n_bounds++)
        h->bounds[h->n_bounds] = 1 << h->n_bounds;
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
    init_histograms(&s->counts);
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
    if (r->n_salt > SCHEDULER_MAX_SALT)
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "cache_salt has %zu bytes; at most %d",
                                 r->n_salt, SCHEDULER_MAX_SALT);
    for (size_t i = 0; i < r->n_media; i++)
        if (r->media[i].position >= r->n_prompt ||
            (i > 0 && r->media[i].position < r->media[i - 1].position))
            return airlock_error_set(err, AIRLOCK_E_INVALID,
                                     "media %zu is not behind the others and in the prompt", i);
    size_t end = 0;
    for (size_t i = 0; i < r->n_embeds; i++) {
        const struct forward_embeds *e = &r->embeds[i];
        if (e->position < end || e->rows > r->n_prompt || e->position > r->n_prompt - e->rows)
            return airlock_error_set(err, AIRLOCK_E_INVALID,
                                     "embeddings %zu are not behind the others and in the prompt",
                                     i);
        end = e->position + e->rows;
    }
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
        t->owns_embeds = true;
        wait_queue_add(&s->waiting, t);
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

static bool uses(const struct scheduler_ticket *t, void *adapter)
{
    for (size_t i = 0; i < t->root.n_adapters; i++)
        if (t->adapters[i] == adapter)
            return true;
    return false;
}

void scheduler_forget(struct scheduler *s, const void *adapter)
{
    void *which = (void *)(uintptr_t)adapter; /* compared only */
    pthread_mutex_lock(&s->lock);
    for (;;) {
        bool used = wait_queue_any(&s->waiting, uses, which);
        for (size_t i = 0; i < s->n_running && !used; i++)
            used = uses(s->running[i], which);
        if (!used)
            break;
        pthread_cond_wait(&s->swept, &s->lock);
    }
    prefix_cache_forget(s->prefixes, adapter);
    pthread_mutex_unlock(&s->lock);
}

void scheduler_load(struct scheduler *s, struct scheduler_load *out)
{
    struct prefix_counts prefixes;
    pthread_mutex_lock(&s->lock);
    prefix_cache_counts(s->prefixes, &prefixes);
    *out = s->counts;
    out->waiting = s->waiting.n;
    out->running = s->n_running;
    out->kv_blocks = s->o.kv->n_blocks;
    out->kv_blocks_free = s->o.kv->n_free;
    out->kv_blocks_cached = s->o.kv->n_kept;
    out->evictions = prefixes.evictions;
    pthread_mutex_unlock(&s->lock);
}
