/* scheduler.c - the engine's thread: admits requests, plans each step, runs it, and hands out what
 * it chose. */
#include "scheduler.h"

#include "common/io.h"
#include "ticket.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ALONE_FACTOR = 4 }; /* prompt rows of a step that makes nobody wait, in prefill_chunks */

struct scheduler {
    struct scheduler_options o;
    struct rope rope;
    struct phi4_forward *forward;
    pthread_t thread;

    pthread_mutex_t lock;
    pthread_cond_t work;  /* something was submitted, or stop */
    pthread_cond_t swept; /* a step is over and what was cancelled is gone */
    atomic_bool stop;
    bool dead; /* the device is lost */
    struct airlock_error dead_because;
    struct scheduler_ticket *waiting, **waiting_end;
    size_t n_waiting;
    struct scheduler_ticket **running; /* [max_batch], in order of admission */
    size_t n_running;
    uint64_t steps, rows, preemptions;

    /* The thread's, for one step */
    struct scheduler_ticket **planned; /* [max_batch] */
    struct forward_seq *seqs;          /* [max_batch] */
    size_t n_planned;
    float *logits; /* [max_batch, vocab] */
    struct sampler_work work_space;
    size_t vocab, limit; /* rows of the head; ids that may be chosen */
};

/* ---- lists; all under the lock --------------------------------------------------------------- */

static void waiting_add(struct scheduler *s, struct scheduler_ticket *t)
{
    t->next = NULL;
    *s->waiting_end = t;
    s->waiting_end = &t->next;
    s->n_waiting++;
}

static void waiting_add_front(struct scheduler *s, struct scheduler_ticket *t)
{
    t->next = s->waiting;
    if (!s->waiting)
        s->waiting_end = &t->next;
    s->waiting = t;
    s->n_waiting++;
}

/* Takes out *link; its successor moves there. */
static struct scheduler_ticket *waiting_take(struct scheduler *s, struct scheduler_ticket **link)
{
    struct scheduler_ticket *t = *link;
    *link = t->next;
    if (!t->next)
        s->waiting_end = link;
    s->n_waiting--;
    return t;
}

static struct scheduler_ticket *running_take(struct scheduler *s, size_t i)
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

/* The ticket is in no list any more: gives back its blocks and tells its caller.  err: NULL when it
 * ended well. */
static void finish(struct scheduler *s, struct scheduler_ticket *t, const struct airlock_error *err)
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
    finish(s, t, &err);
}

/* Ends what was cancelled or is late; all, when the scheduler stops or the device is lost. */
static void sweep(struct scheduler *s)
{
    uint64_t now = io_now_ns();
    bool all = atomic_load(&s->stop);
    for (struct scheduler_ticket **link = &s->waiting; *link;) {
        if (all || ticket_over(*link, now))
            finish_over(s, waiting_take(s, link));
        else if (s->dead)
            finish(s, waiting_take(s, link), &s->dead_because);
        else
            link = &(*link)->next;
    }
    for (size_t i = 0; i < s->n_running;) {
        if (all || ticket_over(s->running[i], now))
            finish_over(s, running_take(s, i));
        else
            i++;
    }
    pthread_cond_broadcast(&s->swept);
}

/* First come, first served; whoever is first waits for blocks and lets nobody pass. */
static void admit(struct scheduler *s)
{
    while (s->waiting && s->n_running < s->o.max_batch) {
        struct scheduler_ticket *t = s->waiting;
        /* Its tokens, the next one, and a block for each that already runs to grow into. */
        size_t wanted = kv_cache_blocks_for(t->n_ids + 1) + s->n_running;
        if (s->n_running > 0 && wanted > s->o.kv->n_free)
            return;
        waiting_take(s, &s->waiting);
        s->running[s->n_running++] = t;
        if (!t->admitted_ns) {
            t->admitted_ns = io_now_ns();
            t->stats.queue_ns = t->admitted_ns - t->submitted_ns;
        }
    }
}

/* ---- planning a step; under the lock --------------------------------------------------------- */

/* Takes the blocks of the one that was admitted last; it will be computed again. */
static void preempt_last(struct scheduler *s)
{
    struct scheduler_ticket *t = running_take(s, s->n_running - 1);
    kv_table_release(s->o.kv, &t->table);
    t->n_computed = 0;
    waiting_add_front(s, t);
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
            finish(s, running_take(s, i), &err);
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

static void plan(struct scheduler *s)
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

/* ---- running a step; without the lock -------------------------------------------------------- */

/* Nobody in this step wants its result any more. */
static bool nobody_waits(void *arg)
{
    struct scheduler *s = arg;
    if (atomic_load_explicit(&s->stop, memory_order_relaxed))
        return true;
    uint64_t now = io_now_ns();
    for (size_t i = 0; i < s->n_planned; i++)
        if (!ticket_over(s->planned[i], now))
            return false;
    return true;
}

static bool is_eos(const struct scheduler_ticket *t, int32_t id)
{
    for (size_t i = 0; i < t->n_eos; i++)
        if (t->eos[i] == id)
            return true;
    return false;
}

static int no_memory(struct airlock_error *err)
{
    return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for an answer");
}

/* Chooses the next token of t.  0, or -1 with err. */
static int choose(struct scheduler *s, struct scheduler_ticket *t, const float *logits,
                  struct scheduler_token *token, struct airlock_error *err)
{
    int32_t id = sampler_pick(&t->sampler, logits, s->limit, NULL, &s->work_space);
    if (id == -1)
        return airlock_error_set(err, AIRLOCK_E_INTERNAL,
                                 "the model computed no finite logit after %zu tokens", t->n_ids);
    if (id < 0)
        return no_memory(err);
    token->id = id;
    if (t->logprobs >= 0) {
        double sum = sampler_log_sum_exp(logits, s->vocab);
        token->logprob = (float)((double)logits[id] - sum);
        token->n_top = sampler_top_logprobs(logits, s->limit, sum, (size_t)t->logprobs, token->top);
    }
    return 0;
}

/* Adds the token to the answer; under the lock, because the caller reads along. */
static int add_token(struct scheduler *s, struct scheduler_ticket *t,
                     const struct scheduler_token *token, struct airlock_error *err)
{
    if (ticket_add_id(t, token->id) || (t->logprobs >= 0 && ticket_tell_token(t, token)))
        return no_memory(err);
    t->stats.tokens_out++;
    bool found = false;
    if (is_eos(t, token->id)) {
        t->stats.finish = SCHEDULER_FINISH_STOP;
    } else if (!tokenizer_is_special(s->o.tokenizer, token->id)) {
        size_t size = 0;
        const char *bytes = tokenizer_bytes(s->o.tokenizer, token->id, &size);
        if (bytes && stop_strings_add(&t->stop, bytes, size, &t->news.text, &found))
            return no_memory(err);
        if (found)
            t->stats.finish = SCHEDULER_FINISH_STOP;
    }
    if (t->stats.finish == SCHEDULER_FINISH_NONE &&
        (t->stats.tokens_out == t->max_new_tokens || t->n_ids >= s->o.max_context))
        t->stats.finish = SCHEDULER_FINISH_LENGTH;
    if (t->stats.finish != SCHEDULER_FINISH_NONE && !found &&
        stop_strings_flush(&t->stop, &t->news.text))
        return no_memory(err);
    return 0;
}

static void running_end(struct scheduler *s, struct scheduler_ticket *t,
                        const struct airlock_error *err)
{
    for (size_t i = 0; i < s->n_running; i++)
        if (s->running[i] == t) {
            finish(s, running_take(s, i), err);
            return;
        }
}

/* Takes the results of a step that went well. */
static void collect(struct scheduler *s)
{
    const float *logits = s->logits;
    for (size_t i = 0; i < s->n_planned; i++) {
        struct scheduler_ticket *t = s->planned[i];
        t->n_computed += t->rows;
        if (!t->wants_logits)
            continue;
        struct airlock_error err;
        struct scheduler_token token = { 0 };
        int status = choose(s, t, logits, &token, &err);
        logits += s->vocab;

        pthread_mutex_lock(&s->lock);
        if (!t->first_token_ns) {
            t->first_token_ns = io_now_ns();
            t->stats.prefill_ns = t->first_token_ns - t->admitted_ns;
        }
        if (status == 0)
            status = add_token(s, t, &token, &err);
        if (status || t->stats.finish != SCHEDULER_FINISH_NONE)
            running_end(s, t, status ? &err : NULL);
        else
            pthread_cond_signal(&t->changed);
        pthread_mutex_unlock(&s->lock);
    }
}

/* A step failed: ends those whom it concerns; the others are computed again. */
static void step_failed(struct scheduler *s, const struct airlock_error *err)
{
    if (err->code == AIRLOCK_E_CANCELLED)
        return; /* the sweep will find them */
    pthread_mutex_lock(&s->lock);
    bool device = err->code == AIRLOCK_E_DEVICE, adapters = false;
    if (device) {
        s->dead = true;
        s->dead_because = *err;
    }
    /* An adapter's failure is no business of rows without one. */
    for (size_t i = 0; i < s->n_planned; i++)
        adapters = adapters || s->planned[i]->n_adapters > 0;
    for (size_t i = 0; i < s->n_planned; i++)
        if (device || !adapters || s->planned[i]->n_adapters > 0)
            running_end(s, s->planned[i], err);
    while (device && s->n_running > 0)
        finish(s, running_take(s, 0), err);
    pthread_mutex_unlock(&s->lock);
}

static void step(struct scheduler *s)
{
    struct airlock_error err;
    if (phi4_forward_step(s->forward, s->seqs, s->n_planned, s->logits, &err))
        step_failed(s, &err);
    else
        collect(s);
}

static void *run(void *arg)
{
    struct scheduler *s = arg;
    pthread_mutex_lock(&s->lock);
    while (!atomic_load(&s->stop)) {
        sweep(s);
        admit(s);
        if (s->n_running == 0) {
            if (!s->waiting)
                pthread_cond_wait(&s->work, &s->lock);
            continue;
        }
        plan(s);
        if (s->n_planned == 0)
            continue;
        pthread_mutex_unlock(&s->lock);
        step(s);
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
    forward.give_up = nobody_waits;
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
        no_memory(err);
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
