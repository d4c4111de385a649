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

struct vision_encoder; /* buffers for activations, allocated once */

/* All four must outlive the encoder.  NULL: err says why. */
struct vision_encoder *vision_encoder_new(const struct vision_config *config,
                                          const struct vision_weights *weights,
                                          const struct ops *ops, struct ops_device *dev,
                                          struct airlock_error *err);
void vision_encoder_free(struct vision_encoder *e); /* NULL allowed */

/* Begins a picture; what was begun before is given up.  canvas stays until the work is done.
 * out: device memory of [canvas->plan.tokens, text_hidden] act.  0, or -1 with err. */
int vision_encoder_begin(struct vision_encoder *e, const struct image_canvas *canvas, void *out,
                         struct airlock_error *err);

/* Does the next piece of work: a layer of a crop, or the projection of some rows.  1: there is
 * more; 0: out is complete; -1 with err. */
int vision_encoder_step(struct vision_encoder *e, struct airlock_error *err);

#endif
