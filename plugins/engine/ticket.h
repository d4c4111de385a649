/*
 * ticket.h - one request inside the scheduler: its tokens, its blocks, and the text that waits for
 * its caller.
 *
 * Shared by the scheduler's files only.  Who may touch what is written at each group of members.
 */
#ifndef AIRLOCK_TICKET_H
#define AIRLOCK_TICKET_H

#include "prefix_cache.h"
#include "scheduler.h"
#include "wait_queue.h"

#include <pthread.h>
#include <stdatomic.h>

struct ticket_output {
    struct bytes text;
    struct scheduler_token *tokens;
    size_t n_tokens, tokens_capacity;
};

struct scheduler_ticket {
    struct scheduler *scheduler;
    atomic_bool cancelled; /* any thread */

    /* Under the scheduler's lock */
    struct wait_links links; /* among the waiting */
    unsigned holders;        /* caller and scheduler */
    pthread_cond_t changed;  /* news came, or done */
    struct ticket_output news;
    bool done, failed;
    struct airlock_error error; /* when failed */
    struct scheduler_stats stats;

    /* The caller's */
    struct ticket_output taken;

    /* The scheduler's thread's */
    int32_t *ids; /* prompt and answer */
    size_t n_ids, ids_capacity;
    size_t n_computed;       /* ids whose keys and values are in the cache ... */
    struct kv_table table;   /* ... in these blocks ... */
    struct prefix_root root; /* ... with these factors and adapters; its arrays are the ticket's */
    struct prefix_place place;
    size_t n_read; /* ids that were computed or found at least once */
    struct sampler sampler;
    struct stop_strings stop;
    struct constraint *constraint; /* held; NULL: none */
    int32_t eos[PHI4_MAX_EOS];
    size_t n_eos;
    const void *adapters[LINEAR_MAX_ADAPTERS];
    uint64_t versions[LINEAR_MAX_ADAPTERS];
    void *salt;
    struct prefix_media *media; /* [n_media] */
    size_t n_media;
    struct forward_embeds *embeds; /* [n_embeds] */
    size_t n_embeds;
    bool owns_embeds; /* their data too */
    size_t max_new_tokens;
    uint64_t deadline_ns;
    int logprobs;
    uint64_t submitted_ns, admitted_ns, first_token_ns;

    /* This step's */
    size_t rows;
    bool decodes; /* its one row follows the last token chosen */
    bool wants_logits;
};

/* A copy of the request.  NULL: out of memory. */
struct scheduler_ticket *ticket_new(struct scheduler *s, const struct scheduler_request *request);
/* Nobody holds it; its blocks are given back. */
void ticket_free(struct scheduler_ticket *t);

/* True when it was cancelled or its time is over. */
bool ticket_over(const struct scheduler_ticket *t, uint64_t now_ns);

/* Tokens that are to be computed before the next one can be chosen. */
static inline size_t ticket_remaining(const struct scheduler_ticket *t)
{
    return t->n_ids - t->n_computed;
}

/* Its prompt and answer as the prefix cache takes them. */
static inline struct prefix_tokens ticket_tokens(const struct scheduler_ticket *t)
{
    return (struct prefix_tokens){ t->ids, t->media, t->n_media };
}

int ticket_add_id(struct scheduler_ticket *t, int32_t id); /* 0, or -1: out of memory */
int ticket_tell_token(struct scheduler_ticket *t, const struct scheduler_token *token);

#endif
