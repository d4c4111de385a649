/*
 * rope.h - the angles of rotary position embedding, plain or LongRoPE, for one row at a time.
 *
 * LongRoPE (Ding et al. 2024) has two sets of factors.  Which of them holds is a property of the
 * whole sequence: one that is longer than original_max_position_embeddings uses the long factors at
 * every position, from 0 on.  Immutable after rope_init(); any number of threads.
 */
#ifndef AIRLOCK_ROPE_H
#define AIRLOCK_ROPE_H

#include "phi4_config.h"

struct rope {
    size_t pairs; /* rotary_dim / 2 */
    double attention_factor;
    size_t long_above; /* longer sequences use long_inv_freq; SIZE_MAX: none does */
    float short_inv_freq[PHI4_MAX_ROTARY_PAIRS], long_inv_freq[PHI4_MAX_ROTARY_PAIRS];
};

void rope_init(struct rope *r, const struct phi4_config *config);

/* Whether a sequence of this many tokens, prompt and answer so far, uses the long factors. */
bool rope_is_long(const struct rope *r, size_t length);

/* cos, sin: [pairs], attention factor included.  The attention factor depends on the configuration
 * alone and holds for both sets. */
void rope_row(const struct rope *r, bool use_long, size_t position, float *cos_out, float *sin_out);

#endif
