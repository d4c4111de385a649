/*
 * vision_config.h - the vision tower's part of config.json, in the Hub's form and in that of
 * transformers.
 *
 * The Hub's form says nothing of the tower's size: its code builds SigLIP-so400m.  So widths and
 * the number of layers are read off the tensors (vision_weights.h), and what no tensor tells stands
 * here: the Hub's values, unless a vision_config (transformers) has others.  What is not
 * implemented is refused, naming the key.
 */
#ifndef AIRLOCK_VISION_CONFIG_H
#define AIRLOCK_VISION_CONFIG_H

#include "common/error.h"

#include <stddef.h>

struct vision_config {
    size_t num_heads;     /* 16 */
    float layer_norm_eps; /* 1e-6 */
    int feature_layer;    /* -2: the output of the last layer but one; below 0 */
    size_t text_hidden;   /* width of the text model's embeddings */
};

struct json_object;
/* config: the whole config.json.  0, or -1 with err AIRLOCK_E_CONFIG or _SHAPE.  [any
 * thread] */
int vision_config_parse(struct json_object *config, struct vision_config *out,
                        struct airlock_error *err);

#endif
