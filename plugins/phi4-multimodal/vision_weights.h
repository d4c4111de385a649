/*
 * vision_weights.h - the vision tower's tensors under the Hub's names or transformers' own, placed
 * on a device.
 *
 * Widths and layers are those of the tensors; an error names the tensor, its shape and the one that
 * the others call for.  Names are below model.embed_tokens_extend.image_embed.  The layers behind
 * the one whose output is used, and the pooling head, are in the checkpoint and are not read.
 */
#ifndef AIRLOCK_VISION_WEIGHTS_H
#define AIRLOCK_VISION_WEIGHTS_H

#include "engine/safetensors.h"
#include "ops/ops.h"
#include "vision_config.h"

/* y = x w^T + b, or the scale and shift of a LayerNorm. */
struct vision_linear {
    struct ops_matrix w, b; /* [out, in] or [1, n]; [1, out] */
};

struct vision_layer {
    struct vision_linear norm1, norm2;
    struct vision_linear q, k, v, out; /* [hidden, hidden] */
    struct vision_linear fc1, fc2;     /* [inner, hidden], [hidden, inner] */
};

struct vision_weights {
    size_t hidden, inner;
    struct vision_linear patch;  /* [hidden, 3 * 14 * 14] */
    struct ops_matrix position;  /* [32 * 32, hidden] */
    struct vision_layer *layers; /* [n_layers], those that are run */
    size_t n_layers;
    float *row_end, *between;      /* [hidden] host: sub_GN ends a row, glb_GN parts the views */
    struct vision_linear up, down; /* [text_hidden, hidden], [text_hidden, text_hidden] */
};

/* st must stay open until vision_weights_free().  0, or -1 with err and nothing to free. */
int vision_weights_load(struct vision_weights *w, const struct vision_config *config,
                        const struct safetensors *st, const struct ops *ops, struct ops_device *dev,
                        struct airlock_error *err);
void vision_weights_free(struct vision_weights *w, const struct ops *ops, struct ops_device *dev);

#endif
