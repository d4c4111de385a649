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

/* Attention's geometry for a configuration. */
struct ops_heads phi4_heads(const struct phi4_config *config);

#endif
