/*
 * sample_batch.h - the choices of a step's rows, gathered for the device: parameters, biases, seen
 * tokens and masks of each row in lists that go up together.
 *
 * A row that has no room in the lists is left to the CPU: its logits come down.  One thread.
 */
#ifndef AIRLOCK_SAMPLE_BATCH_H
#define AIRLOCK_SAMPLE_BATCH_H

#include "phi4_forward.h"
#include "sampler.h"

struct sample_batch {
    struct forward_sampling sampling; /* of the rows added; its arrays are these */
    struct ops_choice *choices;       /* [max_rows] */
    struct ops_bias *bias;            /* [FORWARD_MAX_BIAS] */
    struct ops_seen *seen;            /* [FORWARD_MAX_SEEN] */
    uint32_t *masks;                  /* [max_rows, mask_words] */
    struct ops_chosen *chosen;        /* [max_rows] */
    bool *keep;                       /* [max_rows] */
    size_t n, mask_words;
};

/* limit: only ids below are chosen.  0, or -1: out of memory. */
int sample_batch_init(struct sample_batch *b, const struct phi4_config *config, size_t max_rows,
                      size_t limit);
void sample_batch_free(struct sample_batch *b); /* also of a zeroed one */

/* Forgets the rows. */
void sample_batch_clear(struct sample_batch *b);
/* Adds the next row of logits; at most max_rows.  allowed: bits of the ids below limit; NULL: all.
 * logprobs: as in ops_choice. */
void sample_batch_add(struct sample_batch *b, const struct sampler *s, const uint32_t *allowed,
                      int logprobs);

#endif
