/*
 * vision_encoder.h - the vision tower (SigLIP) and what the model makes of its features: a picture
 * becomes embeddings in the text model's space.
 *
 * Each crop is a sequence of 32 x 32 patches, rows [1024, hidden]:
 *
 *   x  = patches W^T + b + position[id of the patch]
 *   x += attention(layernorm(x))          bidirectional; patches of padding are seen by none
 *   x += fc2(gelu_tanh(fc1(layernorm(x))))     for each layer that is run
 *
 * Then 2 x 2 patches are averaged, giving 16 x 16 features a crop.  The features of the tiles are
 * laid out as the canvas is, cut to what is not padding, each row followed by sub_GN; behind them
 * glb_GN, then the rows of crop 0 likewise; and all go through down(gelu_erf(up(x))).
 *
 * The work is done in small steps, so that a scheduler can decode text in between.  One thread at a
 * time.
 */
#ifndef AIRLOCK_VISION_ENCODER_H
#define AIRLOCK_VISION_ENCODER_H

#include "image_crops.h"
#include "vision_weights.h"

#include <stdbool.h>

struct vision_encoder; /* buffers for activations, allocated once */

/* All four must outlive the encoder.  NULL: err says why. */
struct vision_encoder *vision_encoder_new(const struct vision_config *config,
                                          const struct vision_weights *weights,
                                          const struct ops *ops, struct ops_device *dev,
                                          struct airlock_error *err);
void vision_encoder_free(struct vision_encoder *e); /* NULL allowed */

/* A picture on its way; its members are the encoder's. */
struct vision_job {
    const struct image_canvas *canvas;
    void *out;
    float *features;             /* host: [n_crops, 16 x 16, hidden] */
    size_t next_crop, next_half; /* crop, and half layer of it, to be computed next */
    size_t next_token;           /* to be projected next */
    bool done;
};

/* Begins a picture.  canvas stays until the work is done.  out: device memory of
 * [canvas->plan.tokens, text_hidden] act.  0, or -1 with nothing to end and err. */
int vision_job_begin(struct vision_job *job, const struct vision_encoder *e,
                     const struct image_canvas *canvas, void *out, struct airlock_error *err);
void vision_job_end(struct vision_job *job); /* done, or given up */

/* Does the next piece of work: half a layer of a crop, or the projection of some rows.  1: there is
 * more; 0: out is complete; -1 with err. */
int vision_encoder_step(struct vision_encoder *e, struct vision_job *job,
                        struct airlock_error *err);

/* Whether the job leaves nothing in the encoder now, and enough is left to do that another may be
 * worked on first. */
static inline bool vision_job_between(const struct vision_job *job)
{
    return job->next_half == 0 && job->next_token == 0;
}

#endif
