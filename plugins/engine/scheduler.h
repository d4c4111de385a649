/*
 * scheduler.h - one thread that computes all requests together: each step is one batch of every
 * running answer's next token and chunks of new prompts.
 *
 * A request waits for its caller's turn (wait_queue.h) and until there are blocks for its prompt,
 * runs, and ends.  What was computed before for the same beginning is found and not computed again
 * (prefix_cache.h).  When blocks run out, first those that nobody uses are given up, then the
 * request that was admitted last gives its own back, waits, and is computed again later: nothing
 * fails half-way.  All prompts that are being read share a step's rows fairly, so that a short one
 * does not wait for a long one.  The thread never waits for who reads an answer.
 *
 * The same bits: the tokens of a greedy request, or of one with a seed, and the log-probabilities
 * of all of them are the same to the last bit when it is computed alone, in any batch with others
 * of any adapters, with its prompt in chunks of any size, with any part of it found in the prefix
 * cache or none, after preemption, and with any number of threads.  This follows from row
 * invariance (ops.h): a row is computed from itself and its own sequence's keys and values in one
 * fixed order, so a key or value has the same bits whoever computed it and when.  It holds on one
 * device and instruction set, for adapters that keep the same rule (llm_adapter.h).
 */
#ifndef AIRLOCK_SCHEDULER_H
#define AIRLOCK_SCHEDULER_H

#include "constraint.h"
#include "phi4_forward.h"
#include "prefix_cache.h"
#include "sampler.h"
#include "stop_strings.h"
#include "tokenizer.h"
#include "turns.h"

struct scheduler;

struct scheduler_options {
    struct phi4_forward_options forward; /* its max_*, give_up are the scheduler's to fill in */
    struct kv_cache *kv;
    const struct tokenizer *tokenizer;
    struct turns *turns;  /* one for each step; NULL: the device is the scheduler's alone */
    size_t max_context;   /* tokens of a prompt and its answer; kv holds at least as many */
    size_t max_batch;     /* sequences in a step */
    size_t prefill_chunk; /* prompt rows in a step that also decodes; alone: four times that */
};

/* Starts the thread.  NULL: err says why. */
struct scheduler *scheduler_start(const struct scheduler_options *options,
                                  struct airlock_error *err);
/* The most rows of a step. */
size_t scheduler_max_rows(const struct scheduler_options *options);
/* Bytes of the device's memory that it will take, KV cache apart. */
uint64_t scheduler_memory(const struct scheduler_options *options);
/* Ends the thread; what still runs ends with AIRLOCK_E_CANCELLED.  NULL allowed.  Tickets are to be
 * released before. */
void scheduler_stop(struct scheduler *s);

enum { SCHEDULER_MAX_SALT = 1024 };

/* What to generate; copied by scheduler_submit(). */
struct scheduler_request {
    const int32_t *prompt; /* [n_prompt], at least 1 and below max_context */
    size_t n_prompt;
    struct sampler_params sampling;
    const struct sampler_bias *bias;
    size_t n_bias;
    size_t max_new_tokens; /* 0: to the end of the context */
    const int32_t *eos;
    size_t n_eos;
    const struct stop_string *stop;
    size_t n_stop;
    const void *const *adapters; /* for the hook; valid until scheduler_forget() */
    size_t n_adapters;
    /* [n_adapters], never the same for two adapters that have the same address one after the other;
     * NULL: all 0. */
    const uint64_t *adapter_versions;
    const void *salt; /* who asks: callers take turns, and share prefixes with themselves only */
    size_t n_salt;    /* bytes, at most SCHEDULER_MAX_SALT */
    /* What the placeholders in prompt stand for, in order; so that none is taken for another. */
    const struct prefix_media *media; /* [n_media] */
    size_t n_media;
    /* What takes the place of the placeholders' embeddings, in order, inside the prompt.  Their
     * data comes from malloc and belongs to the scheduler when scheduler_submit() succeeds. */
    const struct forward_embeds *embeds;
    size_t n_embeds;
    uint64_t deadline_ns;          /* CLOCK_MONOTONIC; 0: none */
    int logprobs;                  /* alternatives to tell per token; -1: tell no tokens */
    struct constraint *constraint; /* what the answer must be, from its start; NULL: anything */
};

enum scheduler_finish { SCHEDULER_FINISH_NONE, SCHEDULER_FINISH_STOP, SCHEDULER_FINISH_LENGTH };

struct scheduler_stats {
    enum scheduler_finish finish;
    size_t tokens_in, tokens_out; /* tokens_out: the end token included */
    size_t tokens_cached;         /* of tokens_in, never computed for this request */
    uint64_t queue_ns, prefill_ns, decode_ns;
};

/* One token, told when the request asked for logprobs. */
struct scheduler_token {
    int32_t id;
    float logprob;
    size_t n_top;
    struct sampler_logprob top[SAMPLER_MAX_LOGPROBS];
};

/* What is new; text and tokens live until the next call for the same ticket. */
struct scheduler_news {
    const char *text;
    size_t size;
    const struct scheduler_token *tokens;
    size_t n_tokens;
    bool done; /* nothing will follow */
};

struct scheduler_ticket; /* a caller's end of a request; one thread at a time */

/* Queues a request.  NULL: err says why (AIRLOCK_E_REQUEST with both numbers when the prompt is too
 * long).  Any thread. */
struct scheduler_ticket *scheduler_submit(struct scheduler *s,
                                          const struct scheduler_request *request,
                                          struct airlock_error *err);
/* Waits up to milliseconds for news; takes them. */
void scheduler_take(struct scheduler_ticket *t, unsigned milliseconds, struct scheduler_news *news);
/* Asks for the end; takes effect within a step. */
void scheduler_cancel(struct scheduler_ticket *t);
/* Counts so far, final once news said done.  0, or -1 with err: how it failed. */
int scheduler_result(struct scheduler_ticket *t, struct scheduler_stats *out,
                     struct airlock_error *err);
/* Gives the ticket back, at any time; a request that still runs is cancelled. */
void scheduler_release(struct scheduler_ticket *t);

/* Returns when no request, running or cancelled, uses this adapter any more, and all that was
 * computed with it is forgotten.  The caller makes sure that no new one comes. */
void scheduler_forget(struct scheduler *s, const void *adapter);

enum { SCHEDULER_MAX_BOUNDS = 14 };

struct scheduler_histogram {
    double bounds[SCHEDULER_MAX_BOUNDS];    /* [n_bounds], ascending */
    uint64_t buckets[SCHEDULER_MAX_BOUNDS]; /* [n_bounds], how many were at most bounds[i] */
    size_t n_bounds;
    uint64_t count;
    double sum;
};

/* What goes on, and counters since the start. */
struct scheduler_load {
    size_t waiting, running;
    size_t kv_blocks;
    size_t kv_blocks_free;   /* without content; more in kv_blocks_cached */
    size_t kv_blocks_cached; /* nobody uses them, but their content may be found again */
    uint64_t steps, prefill_rows, decode_rows, preemptions;
    uint64_t prefix_queried, prefix_hits; /* prompt tokens looked up; of them, not computed */
    uint64_t evictions;                   /* cached blocks given up for others */
    struct scheduler_histogram step_seconds, batch_rows;
};
/* Any thread. */
void scheduler_load(struct scheduler *s, struct scheduler_load *out);

#endif
