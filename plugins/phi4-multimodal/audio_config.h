/*
 * audio_config.h - the speech encoder's part of config.json, in the Hub's form and in that of
 * transformers.
 *
 * The Hub's form is audio_processor.config and embd_layer.audio_embd_layer; transformers writes an
 * audio_config, where a value left out is its class's default.  What the encoder does not
 * implement is refused, naming the key.
 */
#ifndef AIRLOCK_AUDIO_CONFIG_H
#define AIRLOCK_AUDIO_CONFIG_H

#include "common/error.h"

#include <stddef.h>

enum { AUDIO_CHUNK = 500 /* steps that attend to each other; fixed in the reference's code */ };

struct audio_config {
    size_t hidden_size; /* "attention_dim" at the Hub */
    size_t inner_size;  /* "linear_units": of the feed-forward modules */
    size_t num_heads;   /* divides hidden_size */
    size_t num_blocks;
    size_t kernel_size;   /* of the causal convolution over time */
    size_t conv_channels; /* of the subsampling convolutions */
    size_t reach;         /* "t5_bias_max_distance"; 0: not given, the tensor's shape says it */
    size_t text_hidden;   /* width of the text model's embeddings */
};

struct json_object;
/* config: the whole config.json.  0, or -1 with err AIRLOCK_E_CONFIG.  [any thread] */
int audio_config_parse(struct json_object *config, struct audio_config *out,
                       struct airlock_error *err);

#endif
