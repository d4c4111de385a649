/*
 * sampler.h - chooses the next token from logits, with the parameters, order and meaning of Hugging
 * Face's generate().
 *
 * Order: logit bias, repetition penalty (over prompt and answer), frequency and presence penalty
 * (OpenAI's: over the answer only), then, when sampling, temperature, top_k, top_p, and a draw.
 * Without do_sample the likeliest token is taken (the lowest id of equals) and temperature, top_k
 * and top_p mean nothing, as in the original.  Tokens tied with the k-th stay, as there.  The draw
 * is by xoshiro256** (Blackman and Vigna 2018) from the seed, along the tokens left in order of
 * their ids: same seed, parameters and logits, same tokens.  One sampler per sequence; one thread
 * at a time.
 */
#ifndef AIRLOCK_SAMPLER_H
#define AIRLOCK_SAMPLER_H

#include "ops/ops.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sampler_params {
    bool do_sample;
    double temperature;                         /* > 0 */
    double top_p;                               /* (0, 1]; 1: no limit */
    int64_t top_k;                              /* 0: no limit */
    double repetition_penalty;                  /* > 0; 1: none */
    double presence_penalty, frequency_penalty; /* 0: none */
    uint64_t seed;
};

struct sampler_bias {
    int32_t id; /* 0 .. vocab - 1 */
    float bias;
};

/* What was seen of one token. */
struct sampler_seen {
    int32_t id;
    uint32_t generated; /* times in the answer; 0: in the prompt only */
};

struct sampler {
    struct sampler_params params;
    struct sampler_bias *bias;
    size_t n_bias;
    struct sampler_seen *seen; /* ascending ids */
    size_t n_seen, seen_capacity;
    uint64_t rng[4];
};

/* Memory for one choice, shared by all sequences of an engine. */
struct sampler_work {
    float *scores;                   /* [vocab] */
    struct sampler_candidate *order; /* [vocab] */
    size_t vocab;
};

int sampler_work_init(struct sampler_work *w, size_t vocab); /* 0, or -1: out of memory */
void sampler_work_free(struct sampler_work *w);

/* Copies what it is given.  prompt: what the repetition penalty counts from the start; ids of it
 * that are not below vocab were checked before.  0, or -1: out of memory. */
int sampler_init(struct sampler *s, const struct sampler_params *params,
                 const struct sampler_bias *bias, size_t n_bias, const int32_t *prompt,
                 size_t n_prompt);
void sampler_free(struct sampler *s);

/*
 * The next token, and remembers it.  logits: [vocab], not changed; only ids below limit (at most
 * vocab) are chosen.  allowed: bit id % 32 of word id / 32 permits id; NULL: all.  -1: no permitted
 * logit is a number; -2: out of memory.
 */
int32_t sampler_pick(struct sampler *s, const float *logits, size_t limit, const uint32_t *allowed,
                     struct sampler_work *work);

/*
 * The same choice made by ops.sample: describe it, and remember what came of it.  Fills in choice
 * but for logprobs, mask and where the lists begin; bias: [n_bias], seen: [n_seen].  The sampler
 * stays as it is until sampler_accept(): drawn tells that the choice used a random number.  0, or
 * -1: out of memory.
 */
void sampler_describe(const struct sampler *s, struct ops_choice *choice, struct ops_bias *bias,
                      struct ops_seen *seen);
int sampler_accept(struct sampler *s, int32_t id, bool drawn);

enum { SAMPLER_MAX_LOGPROBS = OPS_MAX_LOGPROBS };

struct sampler_logprob {
    int32_t id;
    float
        logprob; /* natural logarithm of the softmax over all vocab logits, before any parameter */
};

/* log of the sum of exponentials; the log-probability of id is logits[id] minus it. */
double sampler_log_sum_exp(const float *logits, size_t vocab);
/* The n (at most SAMPLER_MAX_LOGPROBS) likeliest ids below limit, best first, equals by id.  How
 * many there are. */
size_t sampler_top_logprobs(const float *logits, size_t limit, double log_sum_exp, size_t n,
                            struct sampler_logprob *out);

#endif
