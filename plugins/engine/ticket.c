/* ticket.c - makes and frees a request's state in the scheduler. */
#include "ticket.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TICKET_TEXT_MAX = 16 << 20 }; /* bytes that wait for a caller; an answer is smaller */

_Static_assert((int)SCHEDULER_MAX_SALT == PREFIX_MAX_SALT,
               "what a request may bring fits the prefix cache");

/* What its keys and values depend on besides tokens. */
static int copy_root(struct scheduler_ticket *t, const struct scheduler_request *r)
{
    for (size_t i = 0; i < r->n_adapters; i++) {
        t->adapters[i] = r->adapters[i];
        t->versions[i] = r->adapter_versions ? r->adapter_versions[i] : 0;
    }
    t->salt = malloc(r->n_salt + 1);
    t->media = malloc((r->n_media + 1) * sizeof *t->media);
    if (!t->salt || !t->media)
        return -1;
    if (r->n_salt > 0)
        memcpy(t->salt, r->salt, r->n_salt);
    if (r->n_media > 0)
        memcpy(t->media, r->media, r->n_media * sizeof *t->media);
    t->n_media = r->n_media;
    t->root = (struct prefix_root){ .adapters = t->adapters,
                                    .versions = t->versions,
                                    .n_adapters = r->n_adapters,
                                    .salt = t->salt,
                                    .n_salt = r->n_salt };
    return 0;
}

static int copy_request(struct scheduler_ticket *t, const struct scheduler_request *r)
{
    t->ids_capacity = r->n_prompt + 256;
    t->ids = malloc(t->ids_capacity * sizeof *t->ids);
    if (!t->ids)
        return -1;
    memcpy(t->ids, r->prompt, r->n_prompt * sizeof *t->ids);
    t->n_ids = r->n_prompt;
    t->n_eos = r->n_eos;
    for (size_t i = 0; i < r->n_eos; i++)
        t->eos[i] = r->eos[i];
    t->max_new_tokens = r->max_new_tokens;
    t->deadline_ns = r->deadline_ns;
    t->logprobs = r->logprobs > SAMPLER_MAX_LOGPROBS ? SAMPLER_MAX_LOGPROBS : r->logprobs;
    t->stats.tokens_in = r->n_prompt;
    t->constraint = constraint_hold(r->constraint);
    t->embeds = malloc((r->n_embeds + 1) * sizeof *t->embeds);
    if (!t->embeds)
        return -1;
    if (r->n_embeds > 0)
        memcpy(t->embeds, r->embeds, r->n_embeds * sizeof *t->embeds);
    t->n_embeds = r->n_embeds;
    if (copy_root(t, r) ||
        sampler_init(&t->sampler, &r->sampling, r->bias, r->n_bias, r->prompt, r->n_prompt))
        return -1;
    return stop_strings_init(&t->stop, r->stop, r->n_stop);
}

struct scheduler_ticket *ticket_new(struct scheduler *s, const struct scheduler_request *request)
{
    struct scheduler_ticket *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->scheduler = s;
    t->holders = 2;
    t->news.text = (struct bytes)BYTES_INIT(TICKET_TEXT_MAX);
    t->taken.text = (struct bytes)BYTES_INIT(TICKET_TEXT_MAX);
    atomic_init(&t->cancelled, false);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->changed, &attr);
    pthread_condattr_destroy(&attr);
    if (copy_request(t, request)) {
        ticket_free(t);
        return NULL;
    }
    return t;
}

void ticket_free(struct scheduler_ticket *t)
{
    pthread_cond_destroy(&t->changed);
    bytes_free(&t->news.text);
    bytes_free(&t->taken.text);
    free(t->news.tokens);
    free(t->taken.tokens);
    sampler_free(&t->sampler);
    stop_strings_free(&t->stop);
    constraint_release(t->constraint);
    free(t->ids);
    free(t->salt);
    free(t->media);
    for (size_t i = 0; t->owns_embeds && i < t->n_embeds; i++)
        free(t->embeds[i].data);
    free(t->embeds);
    free(t);
}

bool ticket_over(const struct scheduler_ticket *t, uint64_t now_ns)
{
    return atomic_load_explicit(&t->cancelled, memory_order_relaxed) ||
           (t->deadline_ns != 0 && now_ns >= t->deadline_ns);
}

int ticket_add_id(struct scheduler_ticket *t, int32_t id)
{
    if (t->n_ids == t->ids_capacity) {
        size_t capacity = 2 * t->ids_capacity;
        int32_t *ids = realloc(t->ids, capacity * sizeof *ids);
        if (!ids)
            return -1;
        t->ids = ids;
        t->ids_capacity = capacity;
    }
    t->ids[t->n_ids++] = id;
    return 0;
}

int ticket_tell_token(struct scheduler_ticket *t, const struct scheduler_token *token)
{
    struct ticket_output *o = &t->news;
    if (o->n_tokens == o->tokens_capacity) {
        size_t capacity = o->tokens_capacity ? 2 * o->tokens_capacity : 16;
        struct scheduler_token *tokens = realloc(o->tokens, capacity * sizeof *tokens);
        if (!tokens)
            return -1;
        o->tokens = tokens;
        o->tokens_capacity = capacity;
    }
    o->tokens[o->n_tokens++] = *token;
    return 0;
}
