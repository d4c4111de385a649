/*
 * phi4_forward.h - one step of the transformer for rows of many sequences: token ids in, logits
 * out.
 *
 * A step takes any mixture of prompt chunks and single tokens.  Because every op computes a row
 * from that row and its sequence alone, the logits of a row have the same bits whatever else is in
 * the step and however its prompt was cut into chunks.  The engine cannot tell devices apart here.
 * One thread at a time.
 */
#ifndef AIRLOCK_PHI4_FORWARD_H
#define AIRLOCK_PHI4_FORWARD_H

#include "kv_cache.h"
#include "linear_hook.h"
#include "phi4_config.h"
#include "phi4_weights.h"
#include "rope.h"

#include <stdbool.h>

struct phi4_forward; /* buffers for activations, allocated once */

struct phi4_forward_options {
    const struct phi4_config *config; /* what these five point to outlives the phi4_forward */
    const struct phi4_weights *weights;
    const struct kv_cache *kv;
    const struct ops *ops;
    struct ops_device *dev;
    size_t max_rows;                /* of a step */
    size_t max_seqs;                /* of a step */
    size_t max_logits;              /* rows of logits of a step */
    size_t max_context;             /* tokens of a sequence */
    const struct linear_hook *hook; /* NULL: no adapters */
    /* Asked before each layer; true: give the step up.  NULL: never. */
    bool (*give_up)(void *ctx);
    void *give_up_ctx;
    bool no_graphs;          /* decode steps are not recorded */
    size_t graph_min_length; /* tokens up to which recorded steps are of one kind; 0: 1024 */
};

enum forward_logits { FORWARD_NO_LOGITS, FORWARD_LAST_LOGITS, FORWARD_ALL_LOGITS };

/* Tokens position .. position + rows - 1 of a sequence whose embeddings are given instead of looked
 * up: what a picture or a sound became. */
struct forward_embeds {
    size_t position, rows;
    void *data; /* host, [rows, hidden_size] of ops.act */
};

/* Consecutive tokens of one sequence, whose earlier tokens have been computed with the same
 * long_rope and adapters. */
struct forward_seq {
    const int32_t *ids;           /* [rows], each below vocab_size */
    size_t rows;                  /* at least 1 */
    size_t position;              /* of the first row */
    const struct kv_table *table; /* has blocks for position + rows tokens */
    bool long_rope;
    enum forward_logits logits;
    const void *const *adapters;         /* [n_adapters] for the hook, in order of application */
    size_t n_adapters;                   /* at most LINEAR_MAX_ADAPTERS */
    const struct forward_embeds *embeds; /* [n_embeds] of the whole sequence; stay until the step is
                                            over */
    size_t n_embeds;
};

struct phi4_forward *phi4_forward_new(const struct phi4_forward_options *options,
                                      struct airlock_error *err);
void phi4_forward_free(struct phi4_forward *f); /* NULL allowed */

/* logits: host, [rows of logits in order of the sequences, vocab_size].  0, or -1 with err:
 * AIRLOCK_E_CANCELLED when give_up said so; what a failed step wrote to the cache is void and may
 * be computed again. */
int phi4_forward_step(struct phi4_forward *f, const struct forward_seq *seqs, size_t n_seqs,
                      float *logits, struct airlock_error *err);

/* How the next tokens are chosen on the device (ops.sample); all arrays are the host's. */
struct forward_sampling {
    size_t limit;                     /* only ids below are chosen */
    const struct ops_choice *choices; /* [rows of logits] */
    const struct ops_bias *bias;      /* [n_bias], at most FORWARD_MAX_BIAS */
    const struct ops_seen *seen;      /* [n_seen], at most FORWARD_MAX_SEEN */
    const uint32_t *masks;            /* [n_masks, forward_mask_words], at most max_logits */
    size_t n_bias, n_seen, n_masks;
    struct ops_chosen *chosen; /* [rows of logits] out */
    const bool *keep;          /* [rows of logits]: true: the row's logits are downloaded too */
};

enum { FORWARD_MAX_BIAS = 1 << 12, FORWARD_MAX_SEEN = 1 << 16 }; /* of a step */

static inline size_t forward_mask_words(const struct phi4_config *config)
{
    return (config->vocab_size + 31) / 32;
}

/* The same step, which also chooses the next token of each row of logits; only where ops.sample is
 * there.  logits: [rows of logits, vocab_size], of which only the rows to keep are written. */
int phi4_forward_choose(struct phi4_forward *f, const struct forward_seq *seqs, size_t n_seqs,
                        const struct forward_sampling *sampling, float *logits,
                        struct airlock_error *err);

/* How decode steps were enqueued, since the start. */
struct forward_graph_counts {
    uint64_t plain;    /* as they are */
    uint64_t recorded; /* recorded, and run for the first time */
    uint64_t replayed; /* by what an earlier step recorded */
};
struct forward_graph_counts phi4_forward_graph_counts(const struct phi4_forward *f);

/* Bytes of the device's memory that a forward pass takes, and its ops of it. */
uint64_t phi4_forward_memory(const struct phi4_forward_options *options);

/* Attention's geometry for a configuration. */
struct ops_heads phi4_heads(const struct phi4_config *config);

#endif
