/* scheduler_step.c - computes a planned step, chooses the next tokens, and ends what is done or
 * failed. */
#include "scheduler_state.h"

#include "common/io.h"

bool scheduler_nobody_waits(void *arg)
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

/* What follows from a choice.  0, or -1 with err. */
static int accept_choice(struct scheduler_ticket *t, int32_t id, bool constrained,
                         struct airlock_error *err)
{
    if (id == -1 && constrained)
        return airlock_error_set(err, AIRLOCK_E_INTERNAL,
                                 "no token that the constraint allows has a finite logit");
    if (id == -1)
        return airlock_error_set(err, AIRLOCK_E_INTERNAL,
                                 "the model computed no finite logit after %zu tokens", t->n_ids);
    if (id < 0)
        return no_memory(err);
    return t->constraint ? constraint_advance(t->constraint, id, err) : 0;
}

/* Takes the next token of t as the device chose it. */
static int take_chosen(struct scheduler_ticket *t, const struct ops_chosen *chosen,
                       bool constrained, struct scheduler_token *token, struct airlock_error *err)
{
    if (accept_choice(t, chosen->id, constrained, err))
        return -1;
    if (sampler_accept(&t->sampler, chosen->id, chosen->drawn))
        return no_memory(err);
    token->id = chosen->id;
    if (t->logprobs < 0)
        return 0;
    token->logprob = chosen->logprob;
    token->n_top = (size_t)chosen->n_top;
    for (size_t i = 0; i < token->n_top; i++)
        token->top[i] = (struct sampler_logprob){ chosen->top_id[i], chosen->top_logprob[i] };
    return 0;
}

/* Chooses the next token of t.  0, or -1 with err. */
static int choose(struct scheduler *s, struct scheduler_ticket *t, const float *logits,
                  struct scheduler_token *token, struct airlock_error *err)
{
    const uint32_t *allowed = NULL;
    if (t->constraint && constraint_mask(t->constraint, &allowed, err))
        return -1;
    int32_t id = sampler_pick(&t->sampler, logits, s->limit, allowed, &s->work_space);
    if (accept_choice(t, id, allowed != NULL, err))
        return -1;
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
            scheduler_finish(s, scheduler_running_take(s, i), err);
            return;
        }
}

static void observe(struct scheduler_histogram *h, double value)
{
    h->count++;
    h->sum += value;
    for (size_t i = 0; i < h->n_bounds; i++)
        h->buckets[i] += value <= h->bounds[i];
}

/* The keys and values of a step are there: counts them, and lets others find full blocks. */
static void keep_computed(struct scheduler *s, double seconds)
{
    size_t rows = 0;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->n_planned; i++) {
        struct scheduler_ticket *t = s->planned[i];
        rows += t->rows;
        *(t->decodes ? &s->counts.decode_rows : &s->counts.prefill_rows) += t->rows;
        t->n_computed += t->rows;
        if (t->n_computed > t->n_read)
            t->n_read = t->n_computed;
        const struct prefix_tokens tokens = ticket_tokens(t);
        prefix_cache_add(s->prefixes, &t->root, &tokens, t->n_computed / OPS_KV_BLOCK, &t->place,
                         &t->table);
    }
    s->counts.steps++;
    observe(&s->counts.step_seconds, seconds);
    observe(&s->counts.batch_rows, (double)rows);
    pthread_mutex_unlock(&s->lock);
}

/* Takes the results of a step that went well. */
static void collect(struct scheduler *s)
{
    size_t row = 0; /* of logits */
    for (size_t i = 0; i < s->n_planned; i++) {
        struct scheduler_ticket *t = s->planned[i];
        if (!t->wants_logits)
            continue;
        struct airlock_error err;
        struct scheduler_token token = { 0 };
        int status = s->device_chooses && !s->sample.keep[row]
                         ? take_chosen(t, &s->sample.chosen[row], s->sample.choices[row].mask >= 0,
                                       &token, &err)
                         : choose(s, t, s->logits + row * s->vocab, &token, &err);
        row++;

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
        adapters = adapters || s->planned[i]->root.n_adapters > 0;
    for (size_t i = 0; i < s->n_planned; i++)
        if (device || !adapters || s->planned[i]->root.n_adapters > 0)
            running_end(s, s->planned[i], err);
    while (device && s->n_running > 0)
        scheduler_finish(s, scheduler_running_take(s, 0), err);
    pthread_mutex_unlock(&s->lock);
}

/* Tells the device how to choose.  A mask that cannot be made is asked for again, and its error
 * told, when the token is chosen here. */
static void prepare_choices(struct scheduler *s)
{
    sample_batch_clear(&s->sample);
    for (size_t i = 0; i < s->n_planned; i++) {
        struct scheduler_ticket *t = s->planned[i];
        if (!t->wants_logits)
            continue;
        struct airlock_error err;
        const uint32_t *allowed = NULL;
        bool failed = t->constraint && constraint_mask(t->constraint, &allowed, &err);
        sample_batch_add(&s->sample, &t->sampler, allowed, t->logprobs);
        if (failed)
            s->sample.keep[s->sample.n - 1] = true;
    }
}

static int compute(struct scheduler *s, struct airlock_error *err)
{
    if (!s->device_chooses)
        return phi4_forward_step(s->forward, s->seqs, s->n_planned, s->logits, err);
    prepare_choices(s);
    return phi4_forward_choose(s->forward, s->seqs, s->n_planned, &s->sample.sampling, s->logits,
                               err);
}

void scheduler_step(struct scheduler *s)
{
    struct airlock_error err;
    uint64_t start = io_now_ns();
    if (compute(s, &err)) {
        step_failed(s, &err);
        return;
    }
    keep_computed(s, (double)(io_now_ns() - start) * 1e-9);
    collect(s);
}
