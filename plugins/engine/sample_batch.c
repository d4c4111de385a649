/* sample_batch.c - gathers the choices of a step's rows; see sample_batch.h. */
#include "sample_batch.h"

#include <stdlib.h>
#include <string.h>

int sample_batch_init(struct sample_batch *b, const struct phi4_config *config, size_t max_rows,
                      size_t limit)
{
    memset(b, 0, sizeof *b);
    b->mask_words = forward_mask_words(config);
    b->choices = calloc(max_rows, sizeof *b->choices);
    b->bias = calloc(FORWARD_MAX_BIAS, sizeof *b->bias);
    b->seen = calloc(FORWARD_MAX_SEEN, sizeof *b->seen);
    b->masks = calloc(max_rows * b->mask_words, sizeof *b->masks);
    b->chosen = calloc(max_rows, sizeof *b->chosen);
    b->keep = calloc(max_rows, sizeof *b->keep);
    b->sampling = (struct forward_sampling){ .limit = limit,
                                             .choices = b->choices,
                                             .bias = b->bias,
                                             .seen = b->seen,
                                             .masks = b->masks,
                                             .chosen = b->chosen,
                                             .keep = b->keep };
    return b->choices && b->bias && b->seen && b->masks && b->chosen && b->keep ? 0 : -1;
}

void sample_batch_free(struct sample_batch *b)
{
    free(b->choices);
    free(b->bias);
    free(b->seen);
    free(b->masks);
    free(b->chosen);
    free(b->keep);
    memset(b, 0, sizeof *b);
}

void sample_batch_clear(struct sample_batch *b)
{
    b->n = 0;
    b->sampling.n_bias = b->sampling.n_seen = b->sampling.n_masks = 0;
}

void sample_batch_add(struct sample_batch *b, const struct sampler *s, const uint32_t *allowed,
                      int logprobs)
{
    struct forward_sampling *all = &b->sampling;
    struct ops_choice *c = &b->choices[b->n];
    const size_t words = (all->limit + 31) / 32;
    *c = (struct ops_choice){ .logprobs = -1, .mask = -1 };
    b->keep[b->n] =
        s->n_bias > FORWARD_MAX_BIAS - all->n_bias || s->n_seen > FORWARD_MAX_SEEN - all->n_seen;
    if (b->keep[b->n++])
        return;
    sampler_describe(s, c, b->bias + all->n_bias, b->seen + all->n_seen);
    c->logprobs = logprobs;
    c->first_bias = (int32_t)all->n_bias;
    c->n_bias = (int32_t)s->n_bias;
    c->first_seen = (int32_t)all->n_seen;
    c->n_seen = (int32_t)s->n_seen;
    all->n_bias += s->n_bias;
    all->n_seen += s->n_seen;
    if (allowed) {
        c->mask = (int32_t)all->n_masks;
        memcpy(b->masks + all->n_masks++ * b->mask_words, allowed, words * sizeof *allowed);
    }
}
